//! Replay: a family's ledger folded afresh from the log, up to any moment. Read models are never asked.
//!
//! A replay is bounded twice, see [`AsOf`]. Recorded bounds cut the log to a prefix. The log only grows, so the same prefix
//! is there for ever and its [`Statement`] prints the same bytes on every machine and every day.
//!
//! Every record is held against the family's hash chain on the way: a ledger that was altered is never replayed as if it were
//! not.

pub mod bounds;
mod prefix;
mod sharing;

use chrono::{DateTime, NaiveDate, Utc};
use domain::{
    MoneyError,
    aggregate::DecodeError,
    book::{Book, BookError, BookRows},
    id::FamilyId,
};
use serde::Serialize;
use uuid::Uuid;

use crate::{Lane, Log, LogError, Record, verify::Fault};

pub use prefix::{Last, Pages, Prefix, family_now};
pub use sharing::{PastPlace, Sight, hidden_now, hides_from, past_places, shares_told, sight_now};

/// Events read from the database at once.
pub const PAGE: i64 = 1_000;

/// Up to when. All bounds are included; none means up to now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AsOf {
    /// Nothing that was recorded after this instant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recorded_at: Option<DateTime<Utc>>,
    /// Nothing that was recorded after the event with this number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub family_seq: Option<i64>,
    /// Nothing that counts for a later day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effective_on: Option<NaiveDate>,
}

impl AsOf {
    /// Does what counts for `day` count?
    pub fn counts(&self, day: NaiveDate) -> bool {
        self.effective_on.is_none_or(|last| day <= last)
    }

    fn holds(&self, record: &Record) -> bool {
        self.recorded_at.is_none_or(|until| record.recorded_at <= until)
            && self.family_seq.is_none_or(|until| record.family_seq <= until)
    }
}

/// Why a ledger cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The log cannot be read.
    #[error("cannot read the log")]
    Log(#[source] LogError),
    /// The family's last event comes before the number that was asked for.
    #[error("the ledger ends at family_seq {head}; {asked} was asked for")]
    BeyondHead {
        /// The number asked for.
        asked: i64,
        /// The last there is.
        head: i64,
    },
    /// An event is not what was recorded.
    #[error("the log was altered at family_seq {family_seq}: {fault}")]
    Altered {
        /// The first bad event.
        family_seq: i64,
        /// What is wrong with it.
        fault: Fault,
    },
    /// An event does not read.
    #[error("the event with family_seq {family_seq} does not read")]
    Decode {
        /// Which.
        family_seq: i64,
        /// Why.
        #[source]
        cause: DecodeError,
    },
    /// The history is not whole.
    #[error("the history is not whole")]
    Book(#[source] BookError),
    /// A sum is beyond what can be held.
    #[error("the trial balance cannot be held")]
    Sum(#[source] MoneyError),
}

/// What stood in the books.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Statement {
    /// Whose.
    pub family_id: FamilyId,
    /// The bounds that were asked for.
    pub as_of: AsOf,
    /// The last event within them; 0 when there is none.
    pub family_seq: i64,
    /// When it was recorded.
    pub recorded_at: Option<DateTime<Utc>>,
    /// Its chain hash, hex: this statement is of that history and of no other.
    pub chain_hash: Option<String>,
    /// How many events that history has.
    pub events: i64,
    /// The book.
    #[serde(flatten)]
    pub rows: BookRows,
}

/// Families by id after `after`, with their lanes; for a walk over all of them, page by page.
///
/// # Errors
/// [`LogError::Database`].
pub async fn families(log: &Log, after: Option<FamilyId>) -> Result<Vec<(FamilyId, Lane)>, LogError> {
    let statement = "select family_id, lane from log.families where $1::uuid is null or family_id > $1 \
         order by family_id limit $2";
    let after = after.map(FamilyId::uuid);
    let rows: Vec<(Uuid, i16)> = sqlx::query_as(statement)
        .bind(after)
        .bind(PAGE)
        .fetch_all(log.pool())
        .await?;
    Ok(rows
        .into_iter()
        .map(|(family, lane)| (FamilyId::from_uuid(family), Lane(lane)))
        .collect())
}

/// Folds one record into a book.
///
/// # Errors
/// [`ReplayError::Decode`] or [`ReplayError::Book`].
pub fn fold(book: &mut Book, record: &Record) -> Result<domain::aggregate::LedgerEvent, ReplayError> {
    let event = record.decode().map_err(|cause| ReplayError::Decode {
        family_seq: record.family_seq,
        cause,
    })?;
    book.apply(&event, record.effective_on, record.recorded_at, record.family_seq)
        .map_err(ReplayError::Book)?;
    Ok(event)
}

/// What a replay came to: the book and the statement it makes.
pub struct Replayed {
    /// The book.
    pub book: Book,
    /// Its statement.
    pub statement: Statement,
}

/// Replays a family's ledger. `progress` hears how many events have been folded; `keeps_entries` as
/// [`Book::keeping_entries`].
///
/// # Errors
/// [`ReplayError`].
pub async fn replay(
    log: &Log,
    lane: Lane,
    family: FamilyId,
    as_of: AsOf,
    keeps_entries: bool,
    progress: impl Fn(i64),
) -> Result<Replayed, ReplayError> {
    let mut book = as_of.effective_on.map_or_else(Book::new, Book::effective_until);
    if keeps_entries {
        book = book.keeping_entries();
    }
    let mut pages = Pages::new(log, lane, family, as_of);
    while let Some(records) = pages.next().await? {
        for record in &records {
            fold(&mut book, record)?;
        }
        progress(book.family_seq());
    }
    let statement = Statement {
        family_id: family,
        as_of,
        family_seq: book.family_seq(),
        recorded_at: book.recorded_at(),
        chain_hash: pages.last().map(|last| hex::encode(last.chain_hash)),
        events: book.family_seq(),
        rows: book.rows().map_err(ReplayError::Sum)?,
    };
    Ok(Replayed { book, statement })
}
