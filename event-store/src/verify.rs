//! Verifying a family's history: every hash made again from the stored bytes, every number in its place.
//!
//! What it finds: a changed byte in any hashed column, an event that is missing, added or moved, and a history cut short or
//! drawn out behind its last accepted command. What it cannot find alone: a tail rewritten together with all its hashes *and*
//! its commands by somebody who owns the database; for that, chain hashes must be kept elsewhere (receipts, exports, Kafka).
//!
//! The end is fixed before the first page: the head, and the last number any accepted command was given. A reading that
//! stops early therefore cannot look complete. Memory holds one page, whatever the history.

use domain::id::FamilyId;
use sqlx::Row;

use crate::{
    FamilyHead, Lane, Log, LogError, Record,
    chain::{chain, leaf_of},
    load::read_family_in,
};

/// Events read from the database at once.
const PAGE: i64 = 1_000;

/// A history found whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// How many events it has.
    pub events: i64,
    /// Where it ends: compare with a head that was kept elsewhere.
    pub head: FamilyHead,
}

/// How far a verification has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Events found whole.
    pub verified: i64,
    /// Events there are.
    pub total: i64,
}

/// What is wrong with the first bad event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// There is no event with this number.
    #[error("it is missing")]
    Missing,
    /// It stands behind the last accepted command.
    #[error("no accepted command has recorded it")]
    Unexplained,
    /// Its content does not give its leaf hash.
    #[error("its content was changed")]
    Content,
    /// Its leaf, place or time does not follow from its predecessor.
    #[error("it does not follow from its predecessor")]
    Chain,
    /// Its place in the lane is before its predecessor's.
    #[error("its position was changed")]
    Position,
}

/// Why a history cannot be called whole.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// It could not be read to the end.
    #[error("the history could not be read")]
    Log(#[source] LogError),
    /// It was altered.
    #[error("the history of {family_id} is broken at family_seq {family_seq}: {fault}")]
    Broken {
        /// Whose.
        family_id: FamilyId,
        /// The first bad event.
        family_seq: i64,
        /// What is wrong with it.
        fault: Fault,
    },
}

impl From<LogError> for ChainError {
    fn from(error: LogError) -> Self {
        Self::Log(error)
    }
}

/// Follows one family's chain. [`verify_family`] drives it over the log; an auditor's tool may drive it over a file.
#[derive(Clone, Copy, Debug)]
pub struct Chain {
    head: FamilyHead,
    position: i64,
}

impl Default for Chain {
    fn default() -> Self {
        Self {
            head: FamilyHead::EMPTY,
            position: 0,
        }
    }
}

impl Chain {
    /// Takes the next record.
    ///
    /// # Errors
    /// The first bad number, and what is wrong.
    pub fn next(&mut self, record: &Record) -> Result<(), (i64, Fault)> {
        let wanted = self.head.family_seq + 1;
        if record.family_seq != wanted {
            return Err((wanted, Fault::Missing));
        }
        if leaf_of(record) != record.leaf_hash {
            return Err((wanted, Fault::Content));
        }
        let hash = chain(
            &self.head.chain_hash,
            wanted,
            record.recorded_at_us(),
            &record.leaf_hash,
        );
        if hash != record.chain_hash {
            return Err((wanted, Fault::Chain));
        }
        if record.position <= self.position {
            return Err((wanted, Fault::Position));
        }
        self.head = FamilyHead {
            family_seq: wanted,
            chain_hash: hash,
        };
        self.position = record.position;
        Ok(())
    }

    /// Where the records taken so far end.
    pub fn head(&self) -> FamilyHead {
        self.head
    }
}

/// Verifies a family's whole history as it is when the call begins. `progress` hears of every page.
///
/// # Errors
/// [`ChainError::Broken`] names the first bad event; [`ChainError::Log`] when the log could not be read to the end, which says
/// nothing about the history.
pub async fn verify_family(
    log: &Log,
    lane: Lane,
    family: FamilyId,
    mut progress: impl FnMut(Progress),
) -> Result<Verified, ChainError> {
    let broken = |(family_seq, fault)| ChainError::Broken {
        family_id: family,
        family_seq,
        fault,
    };
    let end = end_mark(log, lane, family).await?;
    let mut chain = Chain::default();
    while chain.head.family_seq < end.last_event {
        let after = chain.head.family_seq;
        let limit = PAGE.min(end.last_event - after);
        let mut tx = log.about(family).await?;
        let page = read_family_in(&mut *tx, lane, family, after, limit).await?;
        drop(tx);
        if page.is_empty() {
            return Err(broken((after + 1, Fault::Missing)));
        }
        for record in &page {
            chain.next(record).map_err(broken)?;
            if chain.head.family_seq > end.last_commanded {
                return Err(broken((chain.head.family_seq, Fault::Unexplained)));
            }
        }
        progress(Progress {
            verified: chain.head.family_seq,
            total: end.last_event,
        });
    }
    if end.last_event < end.last_commanded {
        return Err(broken((end.last_event + 1, Fault::Missing)));
    }
    Ok(Verified {
        events: chain.head.family_seq,
        head: chain.head,
    })
}

/// Where a history has to end.
struct EndMark {
    last_event: i64,
    last_commanded: i64,
}

/// One statement: events and commands of the same moment.
async fn end_mark(log: &Log, lane: Lane, family: FamilyId) -> Result<EndMark, LogError> {
    let statement = "select \
             coalesce((select max(family_seq) from log.events where lane = $1 and family_id = $2), 0) as last_event, \
             coalesce((select max(last_family_seq) from log.commands where lane = $1 and family_id = $2), 0) as last_commanded";
    let row = sqlx::query(statement)
        .bind(lane.0)
        .bind(family.uuid())
        .fetch_one(&mut *log.about(family).await?)
        .await?;
    Ok(EndMark {
        last_event: row.try_get("last_event")?,
        last_commanded: row.try_get("last_commanded")?,
    })
}
