//! Appending: one round trip for whatever is in flight, a verdict per command.
//!
//! The protocol, told once. `log.append_lanes` (the SQL is in `migrations/…_expected_chain.sql`) runs as one statement and so as
//! one transaction, over the commands of one lane or of several:
//!
//! 1. It takes the lanes' advisory locks. A lock is released after the commit is visible, so whoever holds it next sees
//!    everything this lane ever held.
//! 2. In the *next* statements it reads the heads of lanes and families. One statement for both would read with a snapshot
//!    from before the lock, and give positions twice.
//! 3. Command by command, a family's together and in order: a command id seen before is a *duplicate* and gets the first result; a family whose head
//!    is not the one the command was decided on, in number and in chain hash, is a *conflict*; a claim that is held is *claim taken*; all else is *ok*.
//!    Once a command is not ok, the family's later commands of the batch are conflicts (or duplicates): they were decided on
//!    a state that did not happen. Other families of the batch never notice.
//! 4. It chains the hashes, stamps one `recorded_at`, and inserts commands, events and claims, each in one statement.
//!
//! No client round trip happens while a lock is held, positions have no gaps, and nothing depends on unique violations; the
//! unique keys stand behind as a wall. What can be done before the lock (sealing, encoding, leaf hashes, claim hashes) is done
//! here.
//!
//! Lanes append together: [`together`] tells how, and why no lane waits for another's lock or pays for another's fault.
//!
//! A command may be accepted without events: it is stored, so that its repetition is a duplicate.

mod columns;
mod statement;
pub(crate) mod together;

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};
use domain::{
    aggregate::LedgerEvent,
    decide::Claim,
    id::{CommandId, FamilyId},
    stream::StreamId,
};

use self::columns::Share;
use crate::{Lane, Log, LogError, StoredCommand, keys::sealing::Sealing};

/// One accepted decision about to become durable.
#[derive(Clone, Debug)]
pub struct AppendCommand {
    /// Whose ledger.
    pub family_id: FamilyId,
    /// The client's `Idempotency-Key`.
    pub command_id: CommandId,
    /// What the request was, by [`crate::RequestKey::hash`]; returned with a duplicate so that the caller can tell a repeat from a
    /// reused key.
    pub request_hash: [u8; 32],
    /// The family's head this was decided on, counting the events of earlier commands of the same batch.
    pub expected_family_seq: i64,
    /// The chain hash of that head, so that another history of the same length is not taken for it. None when it follows another
    /// command of its family in the batch, for then that head is yet to be made; otherwise only the number is compared.
    pub expected_chain_hash: Option<[u8; 32]>,
    /// Does it bring the family into being? Then the family must not exist; otherwise it must, in this lane.
    pub creates_family: bool,
    /// A flat JSON object of strings, stored with every event of the command.
    pub metadata: String,
    /// The events, in order. May be empty.
    pub events: Vec<AppendEvent>,
    /// Values that must not be held yet in their scope.
    pub claims: Vec<Claim>,
}

/// One event about to become durable.
#[derive(Clone, Debug)]
pub struct AppendEvent {
    /// The aggregate's stream.
    pub stream: StreamId,
    /// Its place in that stream, from 1.
    pub sequence: i64,
    /// The fact.
    pub event: LedgerEvent,
    /// The day it counts for, in the family's calendar.
    pub effective_on: NaiveDate,
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is durable.
    Ok(Appended),
    /// The command id was used before in this family; this is the first result. Compare the request hash.
    Duplicate(StoredCommand),
    /// The family has moved on since the decision, or an earlier command of the batch did not happen. Decide again.
    Conflict,
    /// A value it claims is held already.
    ClaimTaken {
        /// What kind of value.
        scope: String,
    },
}

/// Where a command's events stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The first event's place in the family.
    pub first_family_seq: i64,
    /// The last one's; one less than the first when there are no events. This is the family's head now.
    pub last_family_seq: i64,
    /// The lane's head right after the command.
    pub last_position: i64,
    /// The family's chain hash at its head.
    pub chain_hash: [u8; 32],
    /// When the database took it.
    pub recorded_at: DateTime<Utc>,
}

impl Log {
    /// Appends a batch to a lane; the verdicts come in the order of the commands. What other lanes of this process have to
    /// append at the same moment goes along in the same statement.
    ///
    /// Once called, the batch is appended whether or not the future is awaited to its end.
    ///
    /// # Errors
    /// [`LogError::Keys`] when texts cannot be sealed; then nothing was sent. [`LogError::Database`]. A command that the database itself refuses (it writes to a stream of another family, say)
    /// fails the whole batch and nothing is written: [`LogError::is_refused_by_database`], append the families apart. When the
    /// connection broke, and once more on a fresh one, it is unknown whether the batch was written; sending it again is safe,
    /// because what was written comes back as duplicates.
    pub async fn append(&self, lane: Lane, batch: &[AppendCommand]) -> Result<Vec<Verdict>, LogError> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        match self.keys.in_memory_for(batch) {
            Some(sealing) => self.append_sealed(lane, batch, &sealing).await,
            None => {
                // The database is asked first, in a task of its own, so that a caller who goes away meanwhile changes nothing.
                let (log, batch) = (self.clone(), batch.to_vec());
                let appending = tokio::spawn(async move {
                    let sealing = log.keys.for_batch(&batch).await?;
                    log.append_sealed(lane, &batch, &sealing).await
                });
                appending
                    .await
                    .unwrap_or(Err(LogError::Database(sqlx::Error::WorkerCrashed)))
            }
        }
    }

    async fn append_sealed(
        &self,
        lane: Lane,
        batch: &[AppendCommand],
        sealing: &Sealing,
    ) -> Result<Vec<Verdict>, LogError> {
        let order = by_family(batch);
        let share = Share::of(self, lane, order.iter().map(|index| &batch[*index]), sealing);
        let judged = self.together.append(share).await?;
        let mut verdicts = vec![Verdict::Conflict; batch.len()];
        for (index, verdict) in order.into_iter().zip(judged) {
            verdicts[index] = verdict;
        }
        Ok(verdicts)
    }
}

/// The batch's indices with each family's commands together, families and commands in order of appearance.
fn by_family(batch: &[AppendCommand]) -> Vec<usize> {
    let mut first = HashMap::with_capacity(batch.len());
    for (index, command) in batch.iter().enumerate() {
        first.entry(command.family_id).or_insert(index);
    }
    let mut order: Vec<usize> = (0..batch.len()).collect();
    if first.len() < batch.len() {
        order.sort_by_key(|index| first[&batch[*index].family_id]);
    }
    order
}
