//! Proofs: the signed checkpoint of a family's lane, that an event is under it, that one checkpoint begins another, and the
//! whole pack. Hashes are hexadecimal; docs/proofs.md says what they are of.
//!
//! A checkpoint tells how many events its lane has, of all families in it, and nothing else of them.

use std::{
    io,
    time::{Duration, Instant},
};

use axum::{
    Json,
    body::Body,
    extract::{Path, Query, State, rejection::QueryRejection},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use domain::{access::route, id::FamilyId};
use event_store::{
    Lane, Log, LogError,
    pack::{PARTS_MAX, pack, write_zip},
    seal::{
        Hash, known_keys, log_name,
        proofs::{self, StoredCheckpoint},
        tree,
    },
};
use serde::Deserialize;
use serde_json::{Value, json};
use service_kit::{auth::SignedIn, problem::Problem};
use tokio::sync::mpsc;

use super::{
    AuditState,
    query::{number, parameters},
};
use crate::{delivery::Delivery, log_problem};

/// How long a request waits for the first checkpoint over a family.
const SEALED_WITHIN: Duration = Duration::from_secs(5);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CheckpointQuery {
    size: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InclusionQuery {
    family_seq: Option<String>,
    size: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConsistencyQuery {
    from: Option<String>,
    to: Option<String>,
}

/// A checkpoint of the family's lane, as the signed note it is.
pub(super) async fn checkpoint(
    State(state): State<AuditState>,
    Path(family_id): Path<String>,
    signed_in: SignedIn,
    query: Result<Query<CheckpointQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let (_, lane) = state.opened(route("checkpoint"), &family_id, signed_in).await?;
    let size = size_of("size", parameters(query)?.size.as_deref())?;
    let found = checkpoint_of(&state.log, lane, size).await?;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, plain)], found.note).into_response())
}

/// That an event, the last sealed one unless asked for another, is under a checkpoint, the newest unless asked for another.
pub(super) async fn inclusion(
    State(state): State<AuditState>,
    Path(family_id): Path<String>,
    signed_in: SignedIn,
    query: Result<Query<InclusionQuery>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let (family, lane) = state.opened(route("proof-inclusion"), &family_id, signed_in).await?;
    let query = parameters(query)?;
    let size = size_of("size", query.size.as_deref())?;
    let family_seq = query
        .family_seq
        .as_deref()
        .map(|text| number("family_seq", text))
        .transpose()?;
    // In this order: what is sealed now is under every checkpoint that is newest afterwards.
    let family_seq = match family_seq {
        Some(family_seq) => family_seq,
        None => head_of(&state.log, lane, family).await?.family_seq,
    };
    let checkpoint = checkpoint_of(&state.log, lane, size).await?;
    let page = state
        .log
        .read_family(lane, family, family_seq - 1, 1)
        .await
        .map_err(|error| log_problem(&error))?;
    let record = page.into_iter().find(|record| record.family_seq == family_seq);
    let record = record.ok_or_else(|| Problem::malformed(format!("there is no event with family_seq {family_seq}")))?;
    let position = record.position.unsigned_abs();
    if position > checkpoint.size {
        let detail = format!(
            "the event is not under the checkpoint for {} events of its lane",
            checkpoint.size
        );
        return Err(Problem::malformed(detail).with("checkpoint", checkpoint.size));
    }
    let hashes = proofs::inclusion(state.log.pool(), lane, position, checkpoint.size)
        .await
        .map_err(|error| log_problem(&error))?;
    Ok(Json(json!({
        "family_id": family,
        "family_seq": family_seq,
        "lane": lane.0,
        "position": position,
        "chain_hash": hex::encode(record.chain_hash),
        "tree_leaf": hex::encode(tree::leaf_of(&record)),
        "hashes": hex_all(&hashes),
        "checkpoint": checkpoint.note,
    })))
}

/// That the tree of `from` leaves is the beginning of that of `to`: the newest checkpoint, unless asked otherwise, and the
/// same for `from`.
pub(super) async fn consistency(
    State(state): State<AuditState>,
    Path(family_id): Path<String>,
    signed_in: SignedIn,
    query: Result<Query<ConsistencyQuery>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let (_, lane) = state.opened(route("proof-consistency"), &family_id, signed_in).await?;
    let query = parameters(query)?;
    let (from, to) = (
        size_of("from", query.from.as_deref())?,
        size_of("to", query.to.as_deref())?,
    );
    let to = checkpoint_of(&state.log, lane, to).await?;
    let from = checkpoint_of(&state.log, lane, Some(from.unwrap_or(to.size))).await?;
    if from.size > to.size {
        return Err(Problem::malformed("from is after to"));
    }
    let hashes = proofs::consistency(state.log.pool(), lane, from.size, to.size)
        .await
        .map_err(|error| log_problem(&error))?;
    Ok(Json(json!({
        "lane": lane.0,
        "from": from.size,
        "to": to.size,
        "hashes": hex_all(&hashes),
        "from_checkpoint": from.note,
        "to_checkpoint": to.note,
    })))
}

/// Where the family ended at the newest checkpoint, and the proof from its map of heads.
pub(super) async fn head(
    State(state): State<AuditState>,
    Path(family_id): Path<String>,
    signed_in: SignedIn,
) -> Result<Json<Value>, Problem> {
    let (family, lane) = state.opened(route("proof-head"), &family_id, signed_in).await?;
    let head = head_of(&state.log, lane, family).await?;
    Ok(Json(json!({
        "family_id": family,
        "family_seq": head.family_seq,
        "position": head.position,
        "chain_hash": hex::encode(head.chain_hash),
        "siblings": hex_all(&head.siblings),
        "checkpoint": head.checkpoint.note,
    })))
}

/// The log's public keys, for everybody: the newest last, with the notes by which they name each other.
pub(super) async fn keys(State(state): State<AuditState>) -> Result<Json<Value>, Problem> {
    let problem = |error: LogError| log_problem(&error);
    let log = log_name(state.log.pool()).await.map_err(problem)?;
    let keys = known_keys(state.log.pool()).await.map_err(problem)?;
    let keys: Vec<Value> = keys
        .iter()
        .map(|key| json!({"number": key.number, "verifier_key": key.verifier_key, "transition": key.transition}))
        .collect();
    Ok(Json(json!({"log": log, "keys": keys})))
}

/// The auditor's pack as a zip file, streamed. Broken off, it has no end, and no program opens it.
pub(super) async fn download(
    State(state): State<AuditState>,
    Path(family_id): Path<String>,
    signed_in: SignedIn,
) -> Result<Response, Problem> {
    let row = route("pack");
    let (family, lane) = state.opened(row, &family_id, signed_in).await?;
    let leave = state.leave(row, family, signed_in);
    let delivering = state.deliveries.begin(signed_in.user_id)?;
    // What would fail at once still gets a proper answer.
    head_of(&state.log, lane, family).await?;
    state.tell_exported(family, signed_in, "pack").await?;
    let (sender, parts) = mpsc::channel(PARTS_MAX);
    let (delivery, pieces) = Delivery::new(state.stalled_after());
    let delivery = delivery.while_there_is(leave);
    let log = state.log.clone();
    tokio::spawn(async move {
        let _delivering = delivering;
        let writer = delivery.clone().writer();
        let zipping = tokio::task::spawn_blocking(move || write_zip(parts, writer, |_| ())?.end());
        let packed = pack(&log, lane, family, &[], sender).await;
        let zipped = zipping.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        let failure = packed
            .err()
            .map(|error| error.to_string())
            .or(zipped.err().map(|error| error.to_string()));
        match failure {
            Some(error) => tracing::warn!(error, "a pack did not come to its end"),
            None => delivery.complete(),
        }
    });
    let mut response = Body::from_stream(pieces.body()).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/zip"));
    let filename = format!("attachment; filename=\"kinledger-{}.zip\"", family.uuid());
    if let Ok(filename) = HeaderValue::from_str(&filename) {
        headers.insert(header::CONTENT_DISPOSITION, filename);
    }
    Ok(response)
}

fn hex_all(hashes: &[Hash]) -> Vec<String> {
    hashes.iter().map(hex::encode).collect()
}

fn size_of(name: &'static str, text: Option<&str>) -> Result<Option<u64>, Problem> {
    let size = text.map(|text| number(name, text)).transpose()?;
    Ok(size.map(i64::unsigned_abs))
}

fn not_yet() -> Problem {
    Problem::unavailable(5, "nothing of this family has been sealed yet")
}

/// The checkpoint asked for; the newest is waited for a little, for a family that was founded a moment ago.
async fn checkpoint_of(log: &Log, lane: Lane, size: Option<u64>) -> Result<StoredCheckpoint, Problem> {
    let began = Instant::now();
    loop {
        let found = proofs::checkpoint(log.pool(), lane, size)
            .await
            .map_err(|error| log_problem(&error))?;
        match (found, size) {
            (Some(found), _) => return Ok(found),
            (None, Some(size)) => {
                return Err(Problem::malformed(format!("there is no checkpoint for {size} events")));
            }
            (None, None) if began.elapsed() > SEALED_WITHIN => return Err(not_yet()),
            (None, None) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn head_of(log: &Log, lane: Lane, family: FamilyId) -> Result<proofs::ProvenHead, Problem> {
    let began = Instant::now();
    loop {
        let head = proofs::head(log.pool(), lane, family.uuid())
            .await
            .map_err(|error| log_problem(&error))?;
        match head {
            Some(head) => return Ok(head),
            None if began.elapsed() > SEALED_WITHIN => return Err(not_yet()),
            None => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}
