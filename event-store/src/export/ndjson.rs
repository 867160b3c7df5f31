//! ndjson: the log itself, one event a line, and an end mark as the last line.
//!
//! `payload` and `metadata` are the stored bytes, not a rendering of them, and `payload` stands last on its line, so that
//! whoever holds the file can compute the leaf and chain hashes again. A bound by effective day leaves lines out; the end
//! mark's `family_seq` and `chain_hash` are those of the whole prefix all the same.

use std::fmt::Write;

use chrono::SecondsFormat;
use domain::aggregate::LedgerEvent;
use serde_json::{Value, json};

use super::{Chart, Exported, Format, Whole};
use crate::Record;

pub(super) struct Ndjson;

impl Format for Ndjson {
    fn name(&self) -> &'static str {
        "ndjson"
    }

    fn content_type(&self) -> &'static str {
        "application/x-ndjson"
    }

    fn extension(&self) -> &'static str {
        "ndjson"
    }

    fn needs_chart(&self) -> bool {
        false
    }

    fn head(&self, _: &mut String, _: &Whole<'_>) {}

    fn record(&self, out: &mut String, record: &Record, _: &LedgerEvent, _: &Chart) {
        out.push_str(&event_json(record));
        out.push('\n');
    }

    fn end(&self, out: &mut String, whole: &Whole<'_>, exported: &Exported) {
        let mark = json!({
            "end": true,
            "events": exported.written,
            "family_id": whole.family,
            "as_of": whole.as_of,
            "family_seq": exported.family_seq,
            "recorded_at": exported.recorded_at.map(|at| at.to_rfc3339_opts(SecondsFormat::Micros, true)),
            "chain_hash": exported.chain_hash.map_or(Value::Null, |hash| Value::String(hex::encode(hash))),
        });
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{mark}");
    }
}

/// One event as one line of JSON, without the line's end.
pub fn event_json(record: &Record) -> String {
    let numbers = json!({
        "family_id": record.family_id,
        "family_seq": record.family_seq,
        "lane": record.lane.0,
        "position": record.position,
        "aggregate_type": record.aggregate_type,
        "aggregate_id": record.aggregate_id,
        "sequence": record.sequence,
        "event_type": record.event_type,
        "event_version": record.event_version,
        "command_id": record.command_id,
        "effective_on": record.effective_on,
        "recorded_at": record.recorded_at.to_rfc3339_opts(SecondsFormat::Micros, true),
        "leaf_hash": hex::encode(record.leaf_hash),
        "chain_hash": hex::encode(record.chain_hash),
    })
    .to_string();
    // Stored JSON may hold line breaks between its tokens, never within them. We write none; a stranger might have.
    let metadata = record.metadata.replace(['\n', '\r'], " ");
    let payload = record.payload.replace(['\n', '\r'], " ");
    format!(
        r#"{},"metadata":{metadata},"payload":{payload}}}"#,
        numbers.trim_end_matches('}')
    )
}
