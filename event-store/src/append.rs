//! Appending: one round trip for a whole batch, a verdict per command.
//!
//! The protocol, told once. `log.append_batch` (the SQL is in `migrations/…_log.sql`) runs as one statement and so as one
//! transaction:
//!
//! 1. It takes the lane's advisory lock. The lock is released after the commit is visible, so whoever holds it next sees
//!    everything this lane ever held.
//! 2. In the *next* statement it reads the lane's head. One statement for both would read with a snapshot from before the
//!    lock, and give positions twice.
//! 3. Command by command, a family's together and in order: a command id seen before is a *duplicate* and gets the first result; a family whose head
//!    is not the one the command was decided on is a *conflict*; a claim that is held is *claim taken*; all else is *ok*.
//!    Once a command is not ok, the family's later commands of the batch are conflicts (or duplicates): they were decided on
//!    a state that did not happen. Other families of the batch never notice.
//! 4. It chains the hashes, stamps one `recorded_at`, and inserts commands, events and claims, each in one statement.
//!
//! No client round trip happens while the lock is held, positions have no gaps, and nothing depends on unique violations; the
//! unique keys stand behind as a wall. What can be done before the lock (encoding, leaf hashes, claim hashes) is done here.
//!
//! A command may be accepted without events: it is stored, so that its repetition is a duplicate.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, NaiveDate, Utc};
use domain::{
    aggregate::{LedgerEvent, Written},
    decide::Claim,
    id::{CommandId, FamilyId},
    stream::StreamId,
};
use sqlx::{Row, postgres::PgRow};
use uuid::Uuid;

use crate::{Lane, Log, LogError, StoredCommand, chain::Leaf};

/// One accepted decision about to become durable.
#[derive(Clone, Debug)]
pub struct AppendCommand {
    /// Whose ledger.
    pub family_id: FamilyId,
    /// The client's `Idempotency-Key`.
    pub command_id: CommandId,
    /// SHA-256 of the request, returned with a duplicate so that the caller can tell a repeat from a reused key.
    pub request_hash: [u8; 32],
    /// The family's head this was decided on, counting the events of earlier commands of the same batch.
    pub expected_family_seq: i64,
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
    /// Appends a batch to a lane; the verdicts come in the order of the commands.
    ///
    /// # Errors
    /// [`LogError::Database`]. A command that the database itself refuses (it writes to a stream of another family, say)
    /// fails the whole batch and nothing is written: [`LogError::is_refused_by_database`], append the families apart. When the
    /// connection broke, it is unknown whether the batch was written; sending it again is safe, because what was written
    /// comes back as duplicates.
    pub async fn append(&self, lane: Lane, batch: &[AppendCommand]) -> Result<Vec<Verdict>, LogError> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let order = by_family(batch);
        let rows = Arrays::of(self, order.iter().map(|index| &batch[*index]))
            .send(self, lane)
            .await?;
        if rows.len() != batch.len() {
            return Err(LogError::Inconsistent(format!(
                "{} verdicts on {} commands",
                rows.len(),
                batch.len()
            )));
        }
        let mut verdicts = vec![Verdict::Conflict; batch.len()];
        for (index, row) in order.into_iter().zip(&rows) {
            verdicts[index] = verdict(row)?;
        }
        if verdicts.iter().any(|verdict| matches!(verdict, Verdict::Ok(_))) {
            self.wakeups().notify(lane);
        }
        Ok(verdicts)
    }
}

/// The batch's indices with each family's commands together, families and commands in order of appearance.
fn by_family(batch: &[AppendCommand]) -> Vec<usize> {
    let mut first = HashMap::new();
    for (index, command) in batch.iter().enumerate() {
        first.entry(command.family_id).or_insert(index);
    }
    let mut order: Vec<usize> = (0..batch.len()).collect();
    order.sort_by_key(|index| first[&batch[*index].family_id]);
    order
}

/// The batch as the columns that `log.append_batch` takes.
#[derive(Default)]
struct Arrays<'a> {
    family_id: Vec<Uuid>,
    command_id: Vec<Uuid>,
    /// The same command earlier in the batch, from 1 as Postgres counts; 0 for none.
    same_as: Vec<i32>,
    request_hash: Vec<&'a [u8]>,
    expected_family_seq: Vec<i64>,
    creates_family: Vec<bool>,
    metadata: Vec<&'a str>,
    /// Which command an event belongs to, from 1 as Postgres counts.
    event_command: Vec<i32>,
    aggregate_type: Vec<&'static str>,
    aggregate_id: Vec<String>,
    sequence: Vec<i64>,
    event_type: Vec<&'static str>,
    event_version: Vec<&'static str>,
    payload: Vec<String>,
    effective_on: Vec<NaiveDate>,
    leaf_hash: Vec<[u8; 32]>,
    claim_command: Vec<i32>,
    claim_scope: Vec<&'static str>,
    claim_hash: Vec<[u8; 32]>,
}

impl<'a> Arrays<'a> {
    fn of(log: &Log, batch: impl Iterator<Item = &'a AppendCommand>) -> Self {
        let mut arrays = Self::default();
        let mut numbers = HashMap::new();
        for (number, command) in (1..).zip(batch) {
            let first = *numbers.entry((command.family_id, command.command_id)).or_insert(number);
            arrays.family_id.push(command.family_id.uuid());
            arrays.command_id.push(command.command_id.uuid());
            arrays.same_as.push(if first < number { first } else { 0 });
            arrays.request_hash.push(&command.request_hash);
            arrays.expected_family_seq.push(command.expected_family_seq);
            arrays.creates_family.push(command.creates_family);
            arrays.metadata.push(&command.metadata);
            for new in &command.events {
                arrays.event(number, command, new);
            }
            let mut seen = HashSet::new();
            for claim in &command.claims {
                let hash = log.claim_hash(command.family_id, claim.scope, &claim.value);
                if seen.insert(hash) {
                    arrays.claim_command.push(number);
                    arrays.claim_scope.push(claim.scope);
                    arrays.claim_hash.push(hash);
                }
            }
        }
        arrays
    }

    fn event(&mut self, number: i32, command: &AppendCommand, new: &AppendEvent) {
        let Written {
            event_type,
            event_version,
            payload,
        } = new.event.written();
        let aggregate_id = new.stream.id.to_string();
        let leaf = Leaf {
            family_id: command.family_id.uuid(),
            aggregate_type: new.stream.kind,
            aggregate_id: &aggregate_id,
            sequence: new.sequence,
            event_type,
            event_version,
            command_id: command.command_id.uuid(),
            effective_on: new.effective_on,
            payload: &payload,
            metadata: &command.metadata,
        };
        self.leaf_hash.push(leaf.hash());
        self.event_command.push(number);
        self.aggregate_type.push(new.stream.kind);
        self.aggregate_id.push(aggregate_id);
        self.sequence.push(new.sequence);
        self.event_type.push(event_type);
        self.event_version.push(event_version);
        self.payload.push(payload);
        self.effective_on.push(new.effective_on);
    }

    async fn send(&self, log: &Log, lane: Lane) -> Result<Vec<PgRow>, LogError> {
        let statement = "select verdict, first_seq, last_seq, end_position, head_chain, stored_request, stored_at, taken_scope \
             from log.append_batch($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)";
        let rows = sqlx::query(statement)
            .bind(lane.0)
            .bind(&self.family_id)
            .bind(&self.command_id)
            .bind(&self.same_as)
            .bind(&self.request_hash)
            .bind(&self.expected_family_seq)
            .bind(&self.creates_family)
            .bind(&self.metadata)
            .bind(&self.event_command)
            .bind(&self.aggregate_type)
            .bind(&self.aggregate_id)
            .bind(&self.sequence)
            .bind(&self.event_type)
            .bind(&self.event_version)
            .bind(&self.payload)
            .bind(&self.effective_on)
            .bind(&self.leaf_hash)
            .bind(&self.claim_command)
            .bind(&self.claim_scope)
            .bind(&self.claim_hash)
            .fetch_all(&log.pool)
            .await?;
        Ok(rows)
    }
}

fn verdict(row: &PgRow) -> Result<Verdict, LogError> {
    match row.try_get("verdict")? {
        "ok" => Ok(Verdict::Ok(Appended {
            first_family_seq: row.try_get("first_seq")?,
            last_family_seq: row.try_get("last_seq")?,
            last_position: row.try_get("end_position")?,
            chain_hash: row.try_get("head_chain")?,
            recorded_at: row.try_get("stored_at")?,
        })),
        "duplicate" => Ok(Verdict::Duplicate(StoredCommand {
            request_hash: row.try_get("stored_request")?,
            first_family_seq: row.try_get("first_seq")?,
            last_family_seq: row.try_get("last_seq")?,
            last_position: row.try_get("end_position")?,
            recorded_at: row.try_get("stored_at")?,
        })),
        "conflict" => Ok(Verdict::Conflict),
        "claim_taken" => Ok(Verdict::ClaimTaken {
            scope: row.try_get("taken_scope")?,
        }),
        other => Err(LogError::Inconsistent(format!("verdict '{other}'"))),
    }
}
