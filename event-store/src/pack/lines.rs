//! The lines of `events.ndjson`. A line has one spelling: fields in this order, no spaces.

use std::fmt::Write;

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use domain::id::FamilyId;
use serde_json::json;
use sqlx::Row;
use uuid::Uuid;

use crate::{Lane, Log, LogError, seal::Hash};

/// An event as it is stored. Not a [`crate::Record`]: what does not read as one has to be shown, too.
pub(super) struct Line {
    pub(super) family_seq: i64,
    pub(super) position: u64,
    pub(super) chain_hash: Hash,
    lane: i16,
    family_id: Uuid,
    aggregate_type: String,
    aggregate_id: String,
    sequence: i64,
    event_type: String,
    event_version: String,
    command_id: Uuid,
    effective_on: NaiveDate,
    recorded_at: DateTime<Utc>,
    leaf_hash: Vec<u8>,
    metadata: String,
    payload: String,
}

/// Events of a family after a number, as far as the checkpoint goes.
pub(super) async fn read_page(
    log: &Log,
    lane: Lane,
    family: FamilyId,
    after: i64,
    size: u64,
    limit: i64,
) -> Result<Vec<Line>, LogError> {
    let statement = "select lane, position, family_id, family_seq, aggregate_type, aggregate_id, sequence, event_type, \
             event_version, payload::text as payload, metadata::text as metadata, command_id, effective_on, recorded_at, \
             leaf_hash, chain_hash \
         from log.events where lane = $1 and family_id = $2 and family_seq > $3 order by family_seq limit $4";
    let rows = sqlx::query(statement)
        .bind(lane.0)
        .bind(family.uuid())
        .bind(after)
        .bind(limit)
        .fetch_all(&mut *log.about(family).await?)
        .await?;
    let mut lines = Vec::with_capacity(rows.len());
    for row in rows {
        let position: i64 = row.try_get("position")?;
        // What comes after the checkpoint is not sealed yet.
        if position.unsigned_abs() > size {
            break;
        }
        let chain_hash: &[u8] = row.try_get("chain_hash")?;
        lines.push(Line {
            family_seq: row.try_get("family_seq")?,
            position: position.unsigned_abs(),
            chain_hash: chain_hash.try_into().unwrap_or_default(),
            lane: row.try_get("lane")?,
            family_id: row.try_get("family_id")?,
            aggregate_type: row.try_get("aggregate_type")?,
            aggregate_id: row.try_get("aggregate_id")?,
            sequence: row.try_get("sequence")?,
            event_type: row.try_get("event_type")?,
            event_version: row.try_get("event_version")?,
            command_id: row.try_get("command_id")?,
            effective_on: row.try_get("effective_on")?,
            recorded_at: row.try_get("recorded_at")?,
            leaf_hash: row.try_get("leaf_hash")?,
            metadata: row.try_get("metadata")?,
            payload: row.try_get("payload")?,
        });
    }
    Ok(lines)
}

impl Line {
    /// `leaf` is what the tree has at its position, `before` the hashes of the subtrees between its predecessor and it.
    // Writing to a string cannot fail, here and below.
    pub(super) fn write(&self, out: &mut String, leaf: &Hash, before: &[Hash]) {
        let text = |text: &str| json!(text).to_string();
        let _ = write!(
            out,
            "{{\"family_seq\":{},\"position\":{},\"lane\":{},\"family_id\":\"{}\",\"aggregate_type\":{},\"aggregate_id\":{},\
             \"sequence\":{},\"event_type\":{},\"event_version\":{},\"command_id\":\"{}\",\"effective_on\":\"{}\",\
             \"recorded_at\":\"{}\",\"leaf_hash\":\"{}\",\"chain_hash\":\"{}\",\"tree_leaf\":\"{}\",\"before\":",
            self.family_seq,
            self.position,
            self.lane,
            self.family_id,
            text(&self.aggregate_type),
            text(&self.aggregate_id),
            self.sequence,
            text(&self.event_type),
            text(&self.event_version),
            self.command_id,
            self.effective_on,
            self.recorded_at.to_rfc3339_opts(SecondsFormat::Micros, true),
            hex::encode(&self.leaf_hash),
            hex::encode(self.chain_hash),
            hex::encode(leaf),
        );
        write_hashes(out, before);
        let _ = writeln!(
            out,
            ",\"metadata\":{},\"payload\":{}}}",
            text(&self.metadata),
            text(&self.payload)
        );
    }
}

/// The end mark.
pub(super) fn write_end(out: &mut String, events: i64, chain_hash: &Hash, size: u64, after: &[Hash]) {
    let _ = write!(
        out,
        "{{\"end\":true,\"events\":{events},\"chain_hash\":\"{}\",\"lane_size\":{size},\"after\":",
        hex::encode(chain_hash)
    );
    write_hashes(out, after);
    out.push_str("}\n");
}

fn write_hashes(out: &mut String, hashes: &[Hash]) {
    out.push('[');
    for (number, hash) in hashes.iter().enumerate() {
        let comma = if number == 0 { "" } else { "," };
        let _ = write!(out, "{comma}\"{}\"", hex::encode(hash));
    }
    out.push(']');
}
