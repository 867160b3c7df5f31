//! The map of heads: where each family of a lane ended when a checkpoint was signed.
//!
//! A tree shows that an event is in the log, not that no later one was there. So a checkpoint also holds the root of a binary
//! trie over `key = SHA-256(0x03 ‖ family_id)`:
//!
//! ```text
//! leaf  = SHA-256( 0x04 ‖ key ‖ family_seq ‖ position ‖ chain_hash )      numbers: u64, big-endian
//! node  = SHA-256( 0x05 ‖ left ‖ right )                                  an empty half: 32 zero bytes
//! ```
//!
//! A part with one family is that family's leaf, however deep the trie could go. A key has one place, so a family has one
//! head; and a proof shows nothing of other families but hashes.
//!
//! It is stored in 1,024 buckets, by the first ten bits of the key; only the buckets that a checkpoint touches are rewritten.
//! What the buckets are has no influence on the root.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use super::{Hash, hash_of};
use crate::{Lane, LogError};

/// The bits of a key that choose its bucket.
const BUCKET_BITS: usize = 10;
const BUCKETS: usize = 1 << BUCKET_BITS;

/// Where a family ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its last event's number.
    pub family_seq: i64,
    /// That event's place in the lane.
    pub position: i64,
    /// That event's chain hash.
    pub chain_hash: Hash,
}

/// A part of the trie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// No family.
    Empty,
    /// One family.
    Leaf(Hash),
    /// Several.
    Node(Hash),
}

impl Part {
    fn hash(self) -> Hash {
        match self {
            Self::Empty => [0; 32],
            Self::Leaf(hash) | Self::Node(hash) => hash,
        }
    }

    fn join(left: Self, right: Self) -> Self {
        match (left, right) {
            (Self::Empty, Self::Empty) => Self::Empty,
            (Self::Empty, Self::Leaf(hash)) | (Self::Leaf(hash), Self::Empty) => Self::Leaf(hash),
            _ => {
                let mut hash = Sha256::new();
                hash.update([0x05]);
                hash.update(left.hash());
                hash.update(right.hash());
                Self::Node(hash.finalize().into())
            }
        }
    }

    fn to_bytes(self) -> Vec<u8> {
        let kind = match self {
            Self::Empty => 0,
            Self::Leaf(_) => 1,
            Self::Node(_) => 2,
        };
        [&[kind], self.hash().as_slice()].concat()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, LogError> {
        let wrong = || LogError::Inconsistent("a bucket of heads is damaged".to_owned());
        let (kind, hash) = bytes.split_first().ok_or_else(wrong)?;
        let hash = hash_of(hash, "the summary of a bucket")?;
        match kind {
            0 => Ok(Self::Empty),
            1 => Ok(Self::Leaf(hash)),
            2 => Ok(Self::Node(hash)),
            _ => Err(wrong()),
        }
    }
}

fn key_of(family_id: Uuid) -> Hash {
    let mut hash = Sha256::new();
    hash.update([0x03]);
    hash.update(family_id.as_bytes());
    hash.finalize().into()
}

fn leaf_of(key: &Hash, head: &Head) -> Hash {
    let mut hash = Sha256::new();
    hash.update([0x04]);
    hash.update(key);
    hash.update(head.family_seq.to_be_bytes());
    hash.update(head.position.to_be_bytes());
    hash.update(head.chain_hash);
    hash.finalize().into()
}

fn bucket_of(key: &Hash) -> usize {
    usize::from(key[0]) << 2 | usize::from(key[1] >> 6)
}

fn bit(key: &Hash, depth: usize) -> bool {
    key[depth / 8] >> (7 - depth % 8) & 1 == 1
}

/// Key and leaf of the families of a bucket, by key.
type Entries = BTreeMap<Hash, Hash>;

fn entries_of(bytes: &[u8]) -> Result<Entries, LogError> {
    bytes
        .chunks(64)
        .map(|entry| {
            let (key, leaf) = entry.split_at(32.min(entry.len()));
            Ok((hash_of(key, "a key of a bucket")?, hash_of(leaf, "a head of a bucket")?))
        })
        .collect()
}

/// The part of the trie from `depth` on that holds these entries, which agree on all bits before.
fn part_of(entries: &[(Hash, Hash)], depth: usize) -> Part {
    match entries {
        [] => Part::Empty,
        [(_, leaf)] => Part::Leaf(*leaf),
        _ => {
            let middle = entries.partition_point(|(key, _)| !bit(key, depth));
            let (left, right) = entries.split_at(middle);
            Part::join(part_of(left, depth + 1), part_of(right, depth + 1))
        }
    }
}

/// The map of a lane, as far as it is held in memory: one summary per bucket.
#[derive(Clone, Debug)]
pub struct Heads {
    lane: Lane,
    summaries: Vec<Part>,
}

impl Heads {
    /// Reads the summaries.
    ///
    /// # Errors
    /// [`LogError`].
    pub async fn load(executor: impl PgExecutor<'_>, lane: Lane) -> Result<Self, LogError> {
        let rows: Vec<(i16, Vec<u8>)> = sqlx::query_as("select bucket, summary from log.head_buckets where lane = $1")
            .bind(lane.0)
            .fetch_all(executor)
            .await?;
        let mut summaries = vec![Part::Empty; BUCKETS];
        for (bucket, summary) in rows {
            let place = usize::try_from(bucket)
                .ok()
                .and_then(|bucket| summaries.get_mut(bucket));
            let place = place.ok_or_else(|| LogError::Inconsistent(format!("there is no bucket {bucket}")))?;
            *place = Part::from_bytes(&summary)?;
        }
        Ok(Self { lane, summaries })
    }

    /// The root.
    pub fn root(&self) -> Hash {
        join_all(&self.summaries).hash()
    }

    /// Moves heads, and writes the buckets they are in. Call it inside the transaction of the checkpoint, on a copy that is
    /// kept only if that commits.
    ///
    /// # Errors
    /// [`LogError`].
    pub(super) async fn update(
        &mut self,
        connection: &mut PgConnection,
        heads: &BTreeMap<Uuid, Head>,
    ) -> Result<(), LogError> {
        let mut touched: BTreeMap<usize, Entries> = BTreeMap::new();
        for (family_id, head) in heads {
            let key = key_of(*family_id);
            touched
                .entry(bucket_of(&key))
                .or_default()
                .insert(key, leaf_of(&key, head));
        }
        let numbers: Vec<i16> = touched
            .keys()
            .map(|bucket| i16::try_from(*bucket).unwrap_or(i16::MAX))
            .collect();
        let rows: Vec<(i16, Vec<u8>)> =
            sqlx::query_as("select bucket, entries from log.head_buckets where lane = $1 and bucket = any ($2)")
                .bind(self.lane.0)
                .bind(&numbers)
                .fetch_all(&mut *connection)
                .await?;
        for (bucket, bytes) in rows {
            let new = usize::try_from(bucket).ok().and_then(|bucket| touched.get_mut(&bucket));
            if let Some(new) = new {
                let mut all = entries_of(&bytes)?;
                all.append(new);
                *new = all;
            }
        }
        let mut summaries = Vec::new();
        let mut entries = Vec::new();
        for (bucket, all) in touched {
            let list: Vec<(Hash, Hash)> = all.into_iter().collect();
            let part = part_of(&list, BUCKET_BITS);
            self.summaries[bucket] = part;
            summaries.push(part.to_bytes());
            entries.push(
                list.iter()
                    .flat_map(|(key, leaf)| [*key, *leaf])
                    .collect::<Vec<_>>()
                    .concat(),
            );
        }
        let statement = "insert into log.head_buckets (lane, bucket, summary, entries) \
             select $1, b.bucket, b.summary, b.entries from unnest($2::smallint[], $3::bytea[], $4::bytea[]) b (bucket, summary, entries) \
             on conflict (lane, bucket) do update set summary = excluded.summary, entries = excluded.entries";
        sqlx::query(statement)
            .bind(self.lane.0)
            .bind(&numbers)
            .bind(summaries)
            .bind(entries)
            .execute(connection)
            .await?;
        Ok(())
    }

    /// The hashes beside the way from the root to a family's leaf, from the root down; none when the map does not hold it.
    ///
    /// # Errors
    /// [`LogError`].
    pub async fn siblings(
        &self,
        executor: impl PgExecutor<'_>,
        family_id: Uuid,
    ) -> Result<Option<Vec<Hash>>, LogError> {
        let key = key_of(family_id);
        let bucket = bucket_of(&key);
        let bytes: Option<Vec<u8>> =
            sqlx::query_scalar("select entries from log.head_buckets where lane = $1 and bucket = $2")
                .bind(self.lane.0)
                .bind(i16::try_from(bucket).unwrap_or(i16::MAX))
                .fetch_optional(executor)
                .await?;
        let entries = entries_of(&bytes.unwrap_or_default())?;
        if !entries.contains_key(&key) {
            return Ok(None);
        }
        let mut siblings = Vec::new();
        let (mut from, mut to) = (0, BUCKETS);
        for depth in 0..BUCKET_BITS {
            if matches!(join_all(&self.summaries[from..to]), Part::Leaf(_)) {
                return Ok(Some(siblings));
            }
            let middle = (from + to) / 2;
            let (left, right) = (from..middle, middle..to);
            let (mine, other) = if bit(&key, depth) { (right, left) } else { (left, right) };
            siblings.push(join_all(&self.summaries[other]).hash());
            (from, to) = (mine.start, mine.end);
        }
        let list: Vec<(Hash, Hash)> = entries.into_iter().collect();
        let mut rest = list.as_slice();
        for depth in BUCKET_BITS..256 {
            if rest.len() <= 1 {
                break;
            }
            let (left, right) = rest.split_at(rest.partition_point(|(other, _)| !bit(other, depth)));
            let (mine, other) = if bit(&key, depth) { (right, left) } else { (left, right) };
            siblings.push(part_of(other, depth + 1).hash());
            rest = mine;
        }
        Ok(Some(siblings))
    }
}

fn join_all(parts: &[Part]) -> Part {
    match parts {
        [] => Part::Empty,
        [part] => *part,
        _ => {
            let (left, right) = parts.split_at(parts.len() / 2);
            Part::join(join_all(left), join_all(right))
        }
    }
}
