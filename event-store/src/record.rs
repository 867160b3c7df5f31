//! One event as the log keeps it: exact bytes, all its numbers, its hashes.

use std::{borrow::Cow, collections::BTreeSet, fmt, sync::Arc};

use chrono::{DateTime, NaiveDate, Utc};
use domain::{
    aggregate::{DecodeError, LedgerEvent},
    id::{CommandId, FamilyId},
};
use sqlx::{FromRow, Row, postgres::PgRow};
use uuid::Uuid;

use crate::{
    Lane,
    keys::{envelope::is_possible_in, opening::subjects},
};

/// One event of the log. Payload and metadata are the stored bytes; they are hashed, so nothing may re-serialise them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The lane its family lives in.
    pub lane: Lane,
    /// Place in the lane; contiguous from 1.
    pub position: i64,
    /// The family.
    pub family_id: FamilyId,
    /// Place in the family's ledger; contiguous from 1.
    pub family_seq: i64,
    /// The kind of aggregate.
    pub aggregate_type: String,
    /// Which one.
    pub aggregate_id: Uuid,
    /// Place in the aggregate's stream; contiguous from 1.
    pub sequence: i64,
    /// The event's name.
    pub event_type: String,
    /// Its version as written.
    pub event_version: String,
    /// The event as JSON, as written.
    pub payload: String,
    /// Who, why and in which trace: a flat JSON object of strings, as written.
    pub metadata: String,
    /// The command that recorded it.
    pub command_id: CommandId,
    /// The day it counts for, in the family's calendar.
    pub effective_on: NaiveDate,
    /// When the database took it (UTC, microseconds); never earlier than its predecessor in the lane.
    pub recorded_at: DateTime<Utc>,
    /// See [`crate::chain`].
    pub leaf_hash: [u8; 32],
    /// See [`crate::chain`].
    pub chain_hash: [u8; 32],
    /// What its sealed texts came to, once they were opened. No part of what is stored.
    pub opened: Opened,
}

/// The event with its texts opened; see [`crate::keys`]. Two records are the same whether or not they were opened.
#[derive(Clone, Default)]
pub struct Opened(Option<Arc<Result<LedgerEvent, DecodeError>>>);

impl Opened {
    pub(crate) fn new(event: Result<LedgerEvent, DecodeError>) -> Self {
        Self(Some(Arc::new(event)))
    }

    /// Were there sealed texts, and were they tried to be opened?
    pub fn is_opened(&self) -> bool {
        self.0.is_some()
    }
}

impl PartialEq for Opened {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Opened {}

impl fmt::Debug for Opened {
    /// Without the texts.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_opened() { "opened" } else { "as stored" })
    }
}

impl Record {
    /// The event, brought to today's version, with its texts readable.
    ///
    /// # Errors
    /// When this release does not know its name or version, the payload has another shape, or its texts are sealed and could
    /// not be opened, or nobody did.
    pub fn decode(&self) -> Result<LedgerEvent, DecodeError> {
        if let Some(opened) = &self.opened.0 {
            return Result::clone(opened);
        }
        let mut event = self.decode_stored()?;
        if is_possible_in(&self.payload) && subjects(&mut event, self.family_id.uuid(), &mut BTreeSet::new()) {
            return Err(DecodeError::Sealed {
                event_type: self.event_type.clone(),
                problem: "nobody has opened it".to_owned(),
            });
        }
        Ok(event)
    }

    /// The payload in words: as stored when nothing in it is sealed, else with its texts opened.
    ///
    /// # Errors
    /// As [`Record::decode`].
    pub fn opened_payload(&self) -> Result<Cow<'_, str>, DecodeError> {
        if self.opened.is_opened() || is_possible_in(&self.payload) {
            Ok(Cow::Owned(self.decode()?.written().payload))
        } else {
            Ok(Cow::Borrowed(&self.payload))
        }
    }

    /// The event as it is stored, its texts sealed.
    ///
    /// # Errors
    /// When this release does not know its name or version, or the payload has another shape.
    pub fn decode_stored(&self) -> Result<LedgerEvent, DecodeError> {
        LedgerEvent::decode(
            &self.aggregate_type,
            &self.event_type,
            &self.event_version,
            &self.payload,
        )
    }

    /// One entry of the metadata, such as `traceparent` or `role`; none when it is missing.
    pub fn metadata_entry(&self, name: &str) -> Option<String> {
        let entries: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&self.metadata).ok()?;
        entries.get(name)?.as_str().map(str::to_owned)
    }

    /// `recorded_at` as the chain hashes it: microseconds since 1970.
    pub fn recorded_at_us(&self) -> i64 {
        self.recorded_at.timestamp_micros()
    }
}

/// The columns of a [`Record`], for statements over `log.events e`.
pub(crate) const RECORD_COLUMNS: &str = "e.lane, e.position, e.family_id, e.family_seq, e.aggregate_type, e.aggregate_id, \
     e.sequence, e.event_type, e.event_version, e.payload::text as payload, e.metadata::text as metadata, e.command_id, \
     e.effective_on, e.recorded_at, e.leaf_hash, e.chain_hash";

/// By place, in the order of [`RECORD_COLUMNS`]: looking sixteen names up costs more than decoding most of the values.
impl FromRow<'_, PgRow> for Record {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let aggregate_id: &str = row.try_get(5)?;
        let aggregate_id = Uuid::try_parse(aggregate_id).map_err(|error| sqlx::Error::ColumnDecode {
            index: "aggregate_id".to_owned(),
            source: Box::new(error),
        })?;
        Ok(Self {
            lane: Lane(row.try_get(0)?),
            position: row.try_get(1)?,
            family_id: FamilyId::from_uuid(row.try_get(2)?),
            family_seq: row.try_get(3)?,
            aggregate_type: row.try_get(4)?,
            aggregate_id,
            sequence: row.try_get(6)?,
            event_type: row.try_get(7)?,
            event_version: row.try_get(8)?,
            payload: row.try_get(9)?,
            metadata: row.try_get(10)?,
            command_id: CommandId::from_uuid(row.try_get(11)?),
            effective_on: row.try_get(12)?,
            recorded_at: row.try_get(13)?,
            leaf_hash: row.try_get(14)?,
            chain_hash: row.try_get(15)?,
            opened: Opened::default(),
        })
    }
}
