//! Verifying a lane in the database: its events against its tree, its tree against its checkpoints, and all of it against
//! checkpoints that were kept elsewhere.

use std::collections::BTreeMap;

use sqlx::PgPool;
use uuid::Uuid;

use super::{
    Hash, hash_of, keys, known_keys, log_name, note, proofs,
    tree::{self, Edge},
};
use crate::{Lane, LogError};

/// Events read at once.
const PAGE: u64 = 4_096;

/// What is wrong with a lane.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("lane {lane}, position {position}: {what}")]
pub struct LaneFault {
    /// Which lane.
    pub lane: Lane,
    /// The first bad position, or where a bad checkpoint stands.
    pub position: u64,
    /// What is wrong.
    pub what: String,
}

/// A lane found whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneVerified {
    /// Events under checkpoints.
    pub sealed: u64,
    /// Checkpoints whose root and signature are right.
    pub checkpoints: usize,
    /// Checkpoints kept elsewhere that agree.
    pub kept: usize,
}

/// Verifies a lane up to its newest checkpoint. `kept` are notes with a name for each; those of other lanes are passed over.
///
/// # Errors
/// [`LogError`] when the log cannot be read, which says nothing about it.
pub async fn verify_lane(
    pool: &PgPool,
    lane: Lane,
    kept: &[(String, Vec<u8>)],
) -> Result<Result<LaneVerified, LaneFault>, LogError> {
    let keys: Vec<String> = known_keys(pool)
        .await?
        .into_iter()
        .map(|key| key.verifier_key)
        .collect();
    let origin = note::origin(&log_name(pool).await?, lane);
    let is_ours = |note: &str| keys.iter().any(|key| keys::is_signed(note, key));
    let fault = |position: u64, what: String| Ok(Err(LaneFault { lane, position, what }));
    let size = proofs::checkpoint(pool, lane, None)
        .await?
        .map_or(0, |newest| newest.size);
    let mut known: BTreeMap<u64, Vec<(Hash, String)>> = BTreeMap::new();
    for (name, bytes) in kept {
        let note = String::from_utf8_lossy(bytes);
        let Some((claimed, root)) = note::claims(&note, &origin) else {
            continue;
        };
        if !is_ours(&note) {
            return fault(claimed, format!("{name} is not signed by a key of this log"));
        }
        if claimed > size {
            return fault(
                size + 1,
                format!("{name} is a checkpoint for {claimed} events, {size} are sealed here"),
            );
        }
        known.entry(claimed).or_default().push((root, name.clone()));
    }
    let mut verified = LaneVerified {
        sealed: size,
        checkpoints: 0,
        kept: 0,
    };
    let mut edge = Edge::default();
    while edge.size() < size {
        let (from, to) = (edge.size(), (edge.size() + PAGE).min(size));
        let events = read(pool, lane, from, to).await?;
        let sealed = tree::leaves(pool, lane, from, to).await?;
        let checkpoints = checkpoints(pool, lane, from, to).await?;
        for (position, sealed) in (from + 1..=to).zip(sealed.chunks_exact(32)) {
            match events.get(&position) {
                None => return fault(position, "the event is missing".to_owned()),
                Some(leaf) if leaf.as_slice() != sealed => {
                    return fault(position, "the event is not what was sealed".to_owned());
                }
                Some(leaf) => edge.grow(&[*leaf]),
            };
            if let Some((root, note)) = checkpoints.get(&position) {
                let is_right = *root == edge.root() && note::claims(note, &origin) == Some((position, *root));
                if !is_right || !is_ours(note) {
                    return fault(
                        position,
                        "the checkpoint here is not over these events, or not signed".to_owned(),
                    );
                }
                verified.checkpoints += 1;
            }
            for (root, name) in known.get(&position).into_iter().flatten() {
                if *root != edge.root() {
                    return fault(
                        position,
                        format!("{name} has another root: something up to here was rewritten"),
                    );
                }
                verified.kept += 1;
            }
        }
    }
    Ok(Ok(verified))
}

/// Leaves of the events there are, by position.
async fn read(pool: &PgPool, lane: Lane, from: u64, to: u64) -> Result<BTreeMap<u64, Hash>, LogError> {
    let statement = "select position, family_id, family_seq, chain_hash from log.events \
         where lane = $1 and position > $2 and position <= $3";
    let rows: Vec<(i64, Uuid, i64, Vec<u8>)> = sqlx::query_as(statement)
        .bind(lane.0)
        .bind(i64::try_from(from).unwrap_or(i64::MAX))
        .bind(i64::try_from(to).unwrap_or(i64::MAX))
        .fetch_all(pool)
        .await?;
    rows.into_iter()
        .map(|(position, family_id, family_seq, chain_hash)| {
            let chain_hash = hash_of(&chain_hash, "a chain hash")?;
            let leaf = tree::leaf(lane, position, family_id, family_seq, &chain_hash);
            Ok((position.unsigned_abs(), leaf))
        })
        .collect()
}

async fn checkpoints(pool: &PgPool, lane: Lane, from: u64, to: u64) -> Result<BTreeMap<u64, (Hash, String)>, LogError> {
    let statement = "select size, root, note from log.signed_checkpoints where lane = $1 and size > $2 and size <= $3";
    let rows: Vec<(i64, Vec<u8>, String)> = sqlx::query_as(statement)
        .bind(lane.0)
        .bind(i64::try_from(from).unwrap_or(i64::MAX))
        .bind(i64::try_from(to).unwrap_or(i64::MAX))
        .fetch_all(pool)
        .await?;
    rows.into_iter()
        .map(|(size, root, note)| Ok((size.unsigned_abs(), (hash_of(&root, "a root")?, note))))
        .collect()
}
