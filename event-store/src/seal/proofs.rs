//! What was sealed, and proofs of it: O(log n) reads each, and never a look at other events.

use sqlx::{PgExecutor, PgPool};
use uuid::Uuid;

use super::{
    Hash, hash_of,
    heads::Heads,
    tree::{self, cover, fold},
};
use crate::{Lane, LogError};

/// A checkpoint as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCheckpoint {
    /// Events of the lane.
    pub size: u64,
    /// The root of its tree.
    pub root: Hash,
    /// The signed note.
    pub note: String,
}

type Row = (i64, Vec<u8>, String);

fn stored((size, root, note): Row) -> Result<StoredCheckpoint, LogError> {
    Ok(StoredCheckpoint {
        size: size.unsigned_abs(),
        root: hash_of(&root, "a root")?,
        note,
    })
}

/// The newest checkpoint of a lane, or the one of this size.
///
/// # Errors
/// [`LogError`].
pub async fn checkpoint(
    executor: impl PgExecutor<'_>,
    lane: Lane,
    size: Option<u64>,
) -> Result<Option<StoredCheckpoint>, LogError> {
    let size = size.map(|size| i64::try_from(size).unwrap_or(i64::MAX));
    let statement = "select size, root, note from log.signed_checkpoints \
         where lane = $1 and ($2::bigint is null or size = $2) order by size desc limit 1";
    let row: Option<Row> = sqlx::query_as(statement)
        .bind(lane.0)
        .bind(size)
        .fetch_optional(executor)
        .await?;
    row.map(stored).transpose()
}

/// The sizes of a lane's checkpoints, ascending: all of them, or `most` spread evenly, the last always among them.
///
/// # Errors
/// [`LogError`].
pub async fn sizes(executor: impl PgExecutor<'_>, lane: Lane, until: u64, most: i64) -> Result<Vec<u64>, LogError> {
    let statement = "select size from ( \
             select size, row_number() over (order by size desc) - 1 as n, count(*) over () as total \
             from log.checkpoints where lane = $1 and size <= $2 \
         ) c where n % greatest((total + $3 - 1) / $3, 1) = 0 order by size";
    let sizes: Vec<i64> = sqlx::query_scalar(statement)
        .bind(lane.0)
        .bind(i64::try_from(until).unwrap_or(i64::MAX))
        .bind(most)
        .fetch_all(executor)
        .await?;
    Ok(sizes.into_iter().map(i64::unsigned_abs).collect())
}

/// The hashes of parts of a lane's tree, each given as a range of leaves.
///
/// # Errors
/// [`LogError`].
pub async fn parts(executor: impl PgExecutor<'_>, lane: Lane, parts: &[(u64, u64)]) -> Result<Vec<Hash>, LogError> {
    let covers: Vec<Vec<tree::Node>> = parts.iter().map(|(from, to)| cover(*from, *to)).collect();
    let hashes = tree::read(executor, lane, &covers.concat()).await?;
    let mut rest = hashes.as_slice();
    Ok(covers
        .iter()
        .map(|nodes| {
            let (mine, others) = rest.split_at(nodes.len());
            rest = others;
            fold(mine)
        })
        .collect())
}

/// The hashes that show the event at `position` in the tree of `size` leaves (RFC 6962, section 2.1.1).
///
/// # Errors
/// [`LogError`].
pub async fn inclusion(pool: &PgPool, lane: Lane, position: u64, size: u64) -> Result<Vec<Hash>, LogError> {
    parts(pool, lane, &tree::inclusion(position - 1, size)).await
}

/// The hashes that show the tree of `from` leaves to be the beginning of that of `to` (RFC 6962, section 2.1.2).
///
/// # Errors
/// [`LogError`].
pub async fn consistency(pool: &PgPool, lane: Lane, from: u64, to: u64) -> Result<Vec<Hash>, LogError> {
    parts(pool, lane, &tree::consistency(from, to)).await
}

/// How many events of a family come after a checkpoint of this size.
///
/// # Errors
/// [`LogError`].
pub async fn unsealed(pool: &PgPool, lane: Lane, family_id: Uuid, size: u64) -> Result<i64, LogError> {
    let statement = "select count(*) from log.events where lane = $1 and position > $3 and family_id = $2";
    let count = sqlx::query_scalar(statement)
        .bind(lane.0)
        .bind(family_id)
        .bind(i64::try_from(size).unwrap_or(i64::MAX));
    Ok(count.fetch_one(pool).await?)
}

/// The newest checkpoint of a lane, and the way to a family's head in its map, of the same moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenHead {
    /// The checkpoint.
    pub checkpoint: StoredCheckpoint,
    /// The family's last event under it: its number.
    pub family_seq: i64,
    /// Its position.
    pub position: i64,
    /// Its chain hash.
    pub chain_hash: Hash,
    /// The hashes beside the way from the root down to it.
    pub siblings: Vec<Hash>,
}

/// Where a family ended at the newest checkpoint; none while nothing of it is sealed.
///
/// # Errors
/// [`LogError`].
pub async fn head(pool: &PgPool, lane: Lane, family_id: Uuid) -> Result<Option<ProvenHead>, LogError> {
    let mut tx = pool.begin().await?;
    sqlx::query("set transaction isolation level repeatable read")
        .execute(&mut *tx)
        .await?;
    sqlx::query("select set_config('kinledger.family_id', $1, true)")
        .bind(family_id.to_string())
        .execute(&mut *tx)
        .await?;
    let Some(checkpoint) = checkpoint(&mut *tx, lane, None).await? else {
        return Ok(None);
    };
    let heads = Heads::load(&mut *tx, lane).await?;
    let Some(siblings) = heads.siblings(&mut *tx, family_id).await? else {
        return Ok(None);
    };
    // By number, from the end: what the checkpoint does not cover yet is passed over. What the map says is hashes only, so
    // the event itself is read from the log; if that is not what was sealed, the proof will not fit, as it should not.
    let statement = "select family_seq, position, chain_hash from log.events \
         where lane = $1 and family_id = $2 and position <= $3 order by family_seq desc limit 1";
    let last: Option<(i64, i64, Vec<u8>)> = sqlx::query_as(statement)
        .bind(lane.0)
        .bind(family_id)
        .bind(i64::try_from(checkpoint.size).unwrap_or(i64::MAX))
        .fetch_optional(&mut *tx)
        .await?;
    tx.commit().await?;
    let (family_seq, position, chain_hash) = last.unwrap_or((0, 0, vec![0; 32]));
    Ok(Some(ProvenHead {
        checkpoint,
        family_seq,
        position,
        chain_hash: hash_of(&chain_hash, "a chain hash")?,
        siblings,
    }))
}
