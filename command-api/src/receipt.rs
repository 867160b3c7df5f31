//! The answer to an accepted command, and the same answer again when it is repeated.

use domain::{
    aggregate::{LedgerEvent, aggregate_type},
    commands::AnyCommand,
    id::{CommandId, FamilyId},
    stream::StreamId,
};
use event_store::{Lane, Log, LogError, Record, RequestKey, StoredCommand};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Events up to which a receipt repeats their payloads.
const PAYLOADS_MAX: usize = 40;

/// What a command did, once it is durable.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Receipt {
    /// The `Idempotency-Key`.
    pub command_id: Uuid,
    /// The family.
    pub family_id: FamilyId,
    /// The family's head after this command: ask a view for `min_family_seq` of this to read your own write.
    pub family_seq: i64,
    /// The lane the family lives in.
    pub lane: i16,
    /// The last event's place in the lane.
    pub position: i64,
    /// The events, in order.
    pub events: Vec<EventReceipt>,
}

/// One event of a receipt.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct EventReceipt {
    /// The event's name.
    #[serde(rename = "type")]
    pub event_type: String,
    /// Its place in the family's ledger.
    pub family_seq: i64,
    /// What it is about, such as `acc_…`.
    pub aggregate_id: String,
    /// The event as stored, its texts readable; left out when the command had more than 40 events.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    pub payload: Option<Box<RawValue>>,
}

impl EventReceipt {
    /// Receipts of events just appended.
    pub(crate) fn of_appended<'a>(
        first_family_seq: i64,
        events: impl ExactSizeIterator<Item = (StreamId, &'a LedgerEvent)>,
    ) -> Vec<Self> {
        let with_payload = events.len() <= PAYLOADS_MAX;
        (first_family_seq..)
            .zip(events)
            .map(|(family_seq, (stream, event))| Self {
                event_type: event.kind().0.to_owned(),
                family_seq,
                aggregate_id: stream.public_id(),
                payload: with_payload.then(|| event.written_raw()).flatten(),
            })
            .collect()
    }
}

impl Receipt {
    /// The receipt of a command accepted earlier, made from the log itself, so it is the same as the first time.
    pub(crate) async fn of_stored(
        log: &Log,
        lane: Lane,
        family_id: FamilyId,
        command_id: CommandId,
        stored: &StoredCommand,
    ) -> Result<Self, LogError> {
        let records = match stored.events() {
            0 => Vec::new(),
            count => {
                log.read_family(lane, family_id, stored.first_family_seq - 1, count)
                    .await?
            }
        };
        Ok(Self::of_records(lane, family_id, command_id, stored, records))
    }

    /// The same from the command's own records.
    pub(crate) fn of_records(
        lane: Lane,
        family_id: FamilyId,
        command_id: CommandId,
        stored: &StoredCommand,
        records: Vec<Record>,
    ) -> Self {
        let with_payload = records.len() <= PAYLOADS_MAX;
        let events = records.into_iter().map(|record| {
            let stream = StreamId {
                kind: aggregate_type(&record.aggregate_type).unwrap_or("unknown"),
                id: record.aggregate_id,
            };
            // What cannot be opened is left out; whoever folds the event says what is wrong with it.
            let payload = if with_payload {
                record.opened_payload().ok()
            } else {
                None
            };
            EventReceipt {
                family_seq: record.family_seq,
                aggregate_id: stream.public_id(),
                payload: payload.and_then(|payload| RawValue::from_string(payload.into_owned()).ok()),
                event_type: record.event_type,
            }
        });
        Self {
            command_id: command_id.uuid(),
            family_id,
            family_seq: stored.last_family_seq,
            lane: lane.0,
            position: stored.last_position,
            events: events.collect(),
        }
    }
}

/// What is compared when an `Idempotency-Key` is used again: name and canonical body.
pub(crate) struct RequestHash {
    /// What the log keeps: it tells nobody without the installation's secret whether a text was in the request.
    pub(crate) kept: [u8; 32],
    /// What it kept before: rows of then are never changed, and are still repeats.
    of_before: [u8; 32],
}

impl RequestHash {
    pub(crate) fn of(command: &dyn AnyCommand, family: FamilyId, key: &RequestKey) -> Self {
        let (name, body) = (command.name().as_bytes(), command.canonical());
        let mut of_before = Sha256::new();
        of_before.update(name);
        of_before.update([0]);
        of_before.update(&body);
        Self {
            kept: key.hash(family, &[name, body.as_ref()]),
            of_before: of_before.finalize().into(),
        }
    }

    /// Is it the request that the log keeps this of?
    pub(crate) fn is(&self, kept: &[u8; 32]) -> bool {
        self.kept == *kept || self.of_before == *kept
    }
}

#[cfg(test)]
mod tests {
    use domain::family::commands::LeaveFamily;

    use super::*;

    #[test]
    fn a_request_is_known_by_its_keyed_hash_and_by_that_of_rows_from_before() {
        let [family, other] = [1, 2].map(|number| FamilyId::from_uuid(Uuid::from_u128(number)));
        let of = |family, key: u8| RequestHash::of(&LeaveFamily {}, family, &RequestKey::new([key; 32]));
        let request = of(family, 1);
        assert!(request.is(&of(family, 1).kept));
        assert!(request.is(&Sha256::digest(b"leave-family\0{}").into()));
        for another in [of(family, 2), of(other, 1)] {
            assert!(!request.is(&another.kept));
        }
        assert!(![request.kept, of(family, 2).kept].contains(&request.of_before));
    }
}
