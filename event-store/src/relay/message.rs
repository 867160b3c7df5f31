//! A record as a Kafka message and back: CloudEvents in binary mode.
//!
//! The value is the stored payload, byte for byte; the key is the family id; the partition is the lane. Headers `ce_…` are for
//! any CloudEvents consumer. The others hold the rest of the record, so that a consumer of ours gets exactly the record that
//! Postgres would have given it, hashes included.

use std::str::FromStr;

use chrono::{DateTime, SecondsFormat};
use domain::id::{CommandId, FamilyId};
use rdkafka::{
    Message,
    message::{BorrowedMessage, Header, Headers, OwnedHeaders},
    producer::FutureRecord,
};
use uuid::Uuid;

use crate::{Lane, Opened, Record};

/// What `ce_source` says.
const SOURCE: &str = "/kinledger/log";

/// The headers of every message, in order; `traceparent` is left out when the command had none.
pub const HEADERS: &[&str] = &[
    "content-type",
    "ce_specversion",
    "ce_id",
    "ce_source",
    "ce_type",
    "ce_subject",
    "ce_time",
    "ce_partitionkey",
    "lane",
    "position",
    "family_seq",
    "aggregate_type",
    "aggregate_id",
    "sequence",
    "event_type",
    "event_version",
    "command_id",
    "effective_on",
    "recorded_at_us",
    "leaf_hash",
    "chain_hash",
    "metadata",
    "traceparent",
];

/// Why a message is no record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// A part is missing or not text.
    #[error("it has no readable {0}")]
    Missing(&'static str),
    /// A part does not parse.
    #[error("its {0} does not parse")]
    Malformed(&'static str),
}

/// A record about to be produced.
pub(crate) struct OutgoingMessage {
    pub(crate) lane: i32,
    pub(crate) key: String,
    pub(crate) payload: String,
    timestamp_ms: i64,
    headers: OwnedHeaders,
}

impl OutgoingMessage {
    pub(crate) fn of(record: Record) -> Self {
        Self {
            lane: i32::from(record.lane.0),
            key: record.family_id.uuid().to_string(),
            timestamp_ms: record.recorded_at.timestamp_millis(),
            headers: headers(&record),
            payload: record.payload,
        }
    }

    pub(crate) fn to_record<'a>(&'a self, topic: &'a str) -> FutureRecord<'a, str, str> {
        FutureRecord::to(topic)
            .partition(self.lane)
            .key(self.key.as_str())
            .payload(self.payload.as_str())
            .timestamp(self.timestamp_ms)
            .headers(self.headers.clone())
    }
}

fn headers(record: &Record) -> OwnedHeaders {
    let with_value = |name: &&'static str| Some((*name, header(record, name)?));
    HEADERS
        .iter()
        .filter_map(with_value)
        .fold(OwnedHeaders::new_with_capacity(HEADERS.len()), |all, (key, value)| {
            all.insert(Header {
                key,
                value: Some(value.as_bytes()),
            })
        })
}

fn header(record: &Record, name: &str) -> Option<String> {
    Some(match name {
        "content-type" => "application/json".to_owned(),
        "ce_specversion" => "1.0".to_owned(),
        "ce_id" => format!("{}:{}", record.family_id.uuid(), record.family_seq),
        "ce_source" => SOURCE.to_owned(),
        "ce_type" => format!(
            "family.{}.{}.v{}",
            record.aggregate_type, record.event_type, record.event_version
        ),
        "ce_subject" => format!("{}/{}", record.aggregate_type, record.aggregate_id),
        "ce_time" => record.recorded_at.to_rfc3339_opts(SecondsFormat::Micros, true),
        "ce_partitionkey" => record.family_id.uuid().to_string(),
        "lane" => record.lane.0.to_string(),
        "position" => record.position.to_string(),
        "family_seq" => record.family_seq.to_string(),
        "aggregate_type" => record.aggregate_type.clone(),
        "aggregate_id" => record.aggregate_id.to_string(),
        "sequence" => record.sequence.to_string(),
        "event_type" => record.event_type.clone(),
        "event_version" => record.event_version.clone(),
        "command_id" => record.command_id.uuid().to_string(),
        "effective_on" => record.effective_on.to_string(),
        "recorded_at_us" => record.recorded_at_us().to_string(),
        "leaf_hash" => hex::encode(record.leaf_hash),
        "chain_hash" => hex::encode(record.chain_hash),
        "metadata" => record.metadata.clone(),
        _ => return record.metadata_entry(name),
    })
}

/// The record a message holds.
pub(crate) fn record_of(message: &BorrowedMessage<'_>) -> Result<Record, MessageError> {
    let payload = message
        .payload_view::<str>()
        .and_then(Result::ok)
        .ok_or(MessageError::Missing("value"))?;
    let family_id = message
        .key_view::<str>()
        .and_then(Result::ok)
        .ok_or(MessageError::Missing("key"))?;
    let recorded_at_us: i64 = parsed(message, "recorded_at_us")?;
    Ok(Record {
        lane: Lane(parsed(message, "lane")?),
        position: parsed(message, "position")?,
        family_id: FamilyId::from_uuid(Uuid::try_parse(family_id).map_err(|_| MessageError::Malformed("key"))?),
        family_seq: parsed(message, "family_seq")?,
        aggregate_type: text(message, "aggregate_type")?.to_owned(),
        aggregate_id: parsed(message, "aggregate_id")?,
        sequence: parsed(message, "sequence")?,
        event_type: text(message, "event_type")?.to_owned(),
        event_version: text(message, "event_version")?.to_owned(),
        payload: payload.to_owned(),
        metadata: text(message, "metadata")?.to_owned(),
        command_id: CommandId::from_uuid(parsed(message, "command_id")?),
        effective_on: parsed(message, "effective_on")?,
        recorded_at: DateTime::from_timestamp_micros(recorded_at_us)
            .ok_or(MessageError::Malformed("recorded_at_us"))?,
        leaf_hash: hash(message, "leaf_hash")?,
        chain_hash: hash(message, "chain_hash")?,
        opened: Opened::default(),
    })
}

fn text<'m>(message: &'m BorrowedMessage<'_>, name: &'static str) -> Result<&'m str, MessageError> {
    let headers = message.headers().ok_or(MessageError::Missing(name))?;
    let value = headers
        .iter()
        .find(|header| header.key == name)
        .and_then(|header| header.value);
    value
        .and_then(|bytes| std::str::from_utf8(bytes).ok())
        .ok_or(MessageError::Missing(name))
}

fn parsed<T: FromStr>(message: &BorrowedMessage<'_>, name: &'static str) -> Result<T, MessageError> {
    text(message, name)?.parse().map_err(|_| MessageError::Malformed(name))
}

fn hash(message: &BorrowedMessage<'_>, name: &'static str) -> Result<[u8; 32], MessageError> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text(message, name)?, &mut bytes).map_err(|_| MessageError::Malformed(name))?;
    Ok(bytes)
}
