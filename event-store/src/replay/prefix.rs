//! A prefix of one family's log, read page by page and held against the hash chain on the way.

use chrono::{DateTime, Utc};
use domain::{
    aggregate::LedgerEvent,
    family::{Family, FamilyEvent},
    id::FamilyId,
    stream::StreamId,
};
use sqlx::PgConnection;

use super::{AsOf, PAGE, ReplayError};
use crate::{
    Lane, Log, LogError, Record,
    load::{read_family_in, read_stream_in},
    verify::Chain,
};

/// The last event of a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Last {
    /// Its number, and so how many there are.
    pub family_seq: i64,
    /// When it was recorded.
    pub recorded_at: DateTime<Utc>,
    /// Its chain hash.
    pub chain_hash: [u8; 32],
}

impl Last {
    /// As the record has it.
    pub fn of(record: &Record) -> Self {
        Self {
            family_seq: record.family_seq,
            recorded_at: record.recorded_at,
            chain_hash: record.chain_hash,
        }
    }
}

/// Where the reading of a prefix has come to. Memory holds what it has given out, and no more.
#[derive(Clone, Debug)]
pub struct Prefix {
    log: Log,
    lane: Lane,
    family: FamilyId,
    as_of: AsOf,
    chain: Chain,
    last: Option<Last>,
    is_done: bool,
}

impl Prefix {
    /// Begins before the first event. The log opens sealed texts; what it reads comes through the caller's connections.
    pub fn new(log: &Log, lane: Lane, family: FamilyId, as_of: AsOf) -> Self {
        Self {
            log: log.clone(),
            lane,
            family,
            as_of,
            chain: Chain::default(),
            last: None,
            is_done: false,
        }
    }

    /// The next records within the recorded bounds, at most [`PAGE`]; none after the last. The effective bound is left to the
    /// reader. A prefix ends at exactly the event that was named, even in the middle of what one command recorded.
    ///
    /// # Errors
    /// [`ReplayError::Log`]; [`ReplayError::BeyondHead`] when the log ends before the number asked for;
    /// [`ReplayError::Altered`].
    pub async fn next(&mut self, connection: &mut PgConnection) -> Result<Option<Vec<Record>>, ReplayError> {
        if self.is_done {
            return Ok(None);
        }
        let after = self.last.map_or(0, |last| last.family_seq);
        let wanted = self.as_of.family_seq.map_or(PAGE, |until| PAGE.min(until - after));
        if wanted <= 0 {
            self.is_done = true;
            return Ok(None);
        }
        let mut records = read_family_in(&mut *connection, self.lane, self.family, after, wanted)
            .await
            .map_err(ReplayError::Log)?;
        for record in &records {
            self.chain
                .next(record)
                .map_err(|(family_seq, fault)| ReplayError::Altered { family_seq, fault })?;
        }
        let read = records.len();
        records.retain(|record| self.as_of.holds(record));
        self.last = records.last().map(Last::of).or(self.last);
        self.log
            .open_in(&mut records, connection)
            .await
            .map_err(ReplayError::Log)?;
        let is_short = i64::try_from(read).is_ok_and(|read| read < wanted);
        self.is_done = is_short || records.len() < read;
        if let (Some(asked), true, None) = (self.as_of.family_seq, is_short, self.as_of.recorded_at) {
            let head = self.last.map_or(0, |last| last.family_seq);
            return Err(ReplayError::BeyondHead { asked, head });
        }
        Ok(if records.is_empty() { None } else { Some(records) })
    }

    /// The last event read so far.
    pub fn last(&self) -> Option<Last> {
        self.last
    }
}

/// A [`Prefix`] read from the log's own pool.
pub struct Pages<'a> {
    log: &'a Log,
    prefix: Prefix,
}

impl<'a> Pages<'a> {
    /// Begins before the first event.
    pub fn new(log: &'a Log, lane: Lane, family: FamilyId, as_of: AsOf) -> Self {
        Self {
            log,
            prefix: Prefix::new(log, lane, family, as_of),
        }
    }

    /// As [`Prefix::next`].
    ///
    /// # Errors
    /// As [`Prefix::next`].
    pub async fn next(&mut self) -> Result<Option<Vec<Record>>, ReplayError> {
        let mut tx = self.log.about(self.prefix.family).await.map_err(ReplayError::Log)?;
        self.prefix.next(&mut tx).await
    }

    /// The last event read so far.
    pub fn last(&self) -> Option<Last> {
        self.prefix.last()
    }
}

/// The family as the log has it now: who belongs to it, in which role.
///
/// # Errors
/// [`LogError`].
pub async fn family_now(
    log: &Log,
    connection: &mut PgConnection,
    lane: Lane,
    family: FamilyId,
) -> Result<Family, LogError> {
    let mut state = Family::default();
    for (_, event) in family_events(log, connection, lane, family).await? {
        cqrs_es::Aggregate::apply(&mut state, event);
    }
    Ok(state)
}

/// What the log tells of the family itself, opened, in its order.
pub(super) async fn family_events(
    log: &Log,
    connection: &mut PgConnection,
    lane: Lane,
    family: FamilyId,
) -> Result<Vec<(Record, FamilyEvent)>, LogError> {
    let stream = StreamId {
        kind: "family",
        id: family.uuid(),
    };
    let mut records = read_stream_in(&mut *connection, lane, family, stream).await?;
    log.open_in(&mut records, connection).await?;
    let mut events = Vec::with_capacity(records.len());
    for record in records {
        let decoded = record.decode().map_err(|cause| LogError::Decode {
            family_id: family,
            family_seq: record.family_seq,
            cause,
        })?;
        match decoded {
            LedgerEvent::Family(event) => events.push((record, event)),
            _ => {
                return Err(LogError::Inconsistent(
                    "a family's stream is none of a family".to_owned(),
                ));
            }
        }
    }
    Ok(events)
}
