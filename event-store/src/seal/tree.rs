//! The tree of a lane (RFC 6962): how it grows, and which of its nodes a proof needs.
//!
//! Nodes of perfect subtrees are stored once, when the subtree is full. Everything else, the roots and the right edge of
//! proofs, is made from at most 64 of them.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use sqlx::{PgExecutor, Row};

use super::{Hash, hash_of};
use crate::{Lane, LogError, Record};

/// Heights a tree may have.
const HEIGHTS: u32 = 63;

/// The leaf of an event: RFC 6962's leaf hash over 70 bytes that name its lane and place, its family and place there, and
/// its chain hash. What an event says is in the chain hash.
pub fn leaf(lane: Lane, position: i64, family_id: uuid::Uuid, family_seq: i64, chain_hash: &Hash) -> Hash {
    let mut hash = Sha256::new();
    hash.update(b"\0kle1");
    hash.update(lane.0.to_be_bytes());
    hash.update(position.to_be_bytes());
    hash.update(family_id.as_bytes());
    hash.update(family_seq.to_be_bytes());
    hash.update(chain_hash);
    hash.finalize().into()
}

/// The leaf of a record.
pub fn leaf_of(record: &Record) -> Hash {
    leaf(
        record.lane,
        record.position,
        record.family_id.uuid(),
        record.family_seq,
        &record.chain_hash,
    )
}

/// An inner node.
pub fn node(left: &Hash, right: &Hash) -> Hash {
    let mut hash = Sha256::new();
    hash.update([0x01]);
    hash.update(left);
    hash.update(right);
    hash.finalize().into()
}

/// A perfect subtree: `2^height` leaves, the `index`-th of that height.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Node {
    /// How high.
    pub height: u32,
    /// Which of that height.
    pub index: u64,
}

/// The largest perfect subtrees that cover the leaves `from..to`, left to right.
pub fn cover(from: u64, to: u64) -> Vec<Node> {
    let mut nodes = Vec::new();
    let mut at = from;
    while at < to {
        let fits = (to - at).ilog2();
        let height = if at == 0 { fits } else { fits.min(at.trailing_zeros()) };
        nodes.push(Node {
            height,
            index: at >> height,
        });
        at += 1 << height;
    }
    nodes
}

/// The parts of the tree, as ranges of leaves, whose hashes prove that `index` is in the tree of `size` leaves: from the leaf
/// to the root.
pub fn inclusion(index: u64, size: u64) -> Vec<(u64, u64)> {
    let mut parts = Vec::new();
    let (mut from, mut to) = (0, size);
    while to - from > 1 {
        let middle = from + largest_power_below(to - from);
        if index < middle {
            parts.push((middle, to));
            to = middle;
        } else {
            parts.push((from, middle));
            from = middle;
        }
    }
    parts.reverse();
    parts
}

/// The parts whose hashes prove that the tree of `old` leaves is the beginning of that of `new` leaves.
pub fn consistency(old: u64, new: u64) -> Vec<(u64, u64)> {
    if old == 0 || old == new {
        return Vec::new();
    }
    let mut parts = Vec::new();
    let (mut from, mut to) = (0, new);
    while to > old {
        let middle = from + largest_power_below(to - from);
        if old <= middle {
            parts.push((middle, to));
            to = middle;
        } else {
            parts.push((from, middle));
            from = middle;
        }
    }
    // The old tree itself is known to whoever asks; a part of it is not.
    if from > 0 {
        parts.push((from, to));
    }
    parts.reverse();
    parts
}

/// The largest power of two below `leaves`, which are two at least.
fn largest_power_below(leaves: u64) -> u64 {
    1 << (leaves - 1).ilog2()
}

/// The hash of a part, from the hashes that cover it.
pub fn fold(cover: &[Hash]) -> Hash {
    let mut from_right = cover.iter().rev();
    match from_right.next() {
        None => Sha256::digest([]).into(),
        Some(last) => from_right.fold(*last, |right, left| node(left, &right)),
    }
}

/// The right edge of a tree that grows: the perfect subtrees that its size is made of.
#[derive(Clone, Debug, Default)]
pub struct Edge {
    size: u64,
    // By height.
    perfect: BTreeMap<u32, Hash>,
}

/// Nodes of one height that a growth has filled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filled {
    /// Their height.
    pub height: u32,
    /// The first one's index.
    pub first_index: u64,
    /// Their hashes, 32 bytes each.
    pub hashes: Vec<u8>,
}

impl Edge {
    /// The edge of a tree of `size` leaves, from the hashes of [`cover`]`(0, size)`.
    pub fn new(size: u64, covering: &[Hash]) -> Self {
        let heights = cover(0, size).into_iter().map(|node| node.height);
        Self {
            size,
            perfect: heights.zip(covering.iter().copied()).collect(),
        }
    }

    /// How many leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root.
    pub fn root(&self) -> Hash {
        fold(&self.perfect.values().rev().copied().collect::<Vec<_>>())
    }

    /// Appends leaves. Says which nodes are full now, by height.
    pub fn grow(&mut self, leaves: &[Hash]) -> Vec<Filled> {
        let mut filled = Vec::new();
        let mut level: Vec<Hash> = leaves.to_vec();
        let mut first_index = self.size;
        self.size += leaves.len() as u64;
        for height in 0..=HEIGHTS {
            if level.is_empty() {
                break;
            }
            filled.push(Filled {
                height,
                first_index,
                hashes: level.concat(),
            });
            // A left neighbour from before this growth makes a pair with the first new one.
            if first_index % 2 == 1
                && let Some(left) = self.perfect.remove(&height)
            {
                level.insert(0, left);
                first_index -= 1;
            }
            let pairs = level.chunks_exact(2);
            if let [alone] = pairs.remainder() {
                self.perfect.insert(height, *alone);
            }
            level = pairs.map(|pair| node(&pair[0], &pair[1])).collect();
            first_index /= 2;
        }
        filled
    }
}

/// Reads nodes of a lane's tree, in the order asked for.
///
/// # Errors
/// [`LogError::Inconsistent`] when one is not there.
pub async fn read(executor: impl PgExecutor<'_>, lane: Lane, nodes: &[Node]) -> Result<Vec<Hash>, LogError> {
    if nodes.is_empty() {
        return Ok(Vec::new());
    }
    let heights: Vec<i16> = nodes
        .iter()
        .map(|node| i16::try_from(node.height).unwrap_or(i16::MAX))
        .collect();
    let indexes: Vec<i64> = nodes
        .iter()
        .map(|node| i64::try_from(node.index).unwrap_or(i64::MAX))
        .collect();
    let statement = "select substring(c.hashes from ((w.index - c.first_index) * 32 + 1)::int for 32) as hash \
         from unnest($2::smallint[], $3::bigint[]) with ordinality w (height, index, n) \
         cross join lateral ( \
             select t.first_index, t.hashes from log.tree_nodes t \
             where t.lane = $1 and t.height = w.height and t.first_index <= w.index \
             order by t.first_index desc limit 1 \
         ) c order by w.n";
    let rows = sqlx::query(statement)
        .bind(lane.0)
        .bind(heights)
        .bind(indexes)
        .fetch_all(executor)
        .await?;
    let missing = || LogError::Inconsistent(format!("the tree of lane {lane} has lost nodes"));
    if rows.len() != nodes.len() {
        return Err(missing());
    }
    rows.iter()
        .map(|row| {
            let hash: &[u8] = row.try_get("hash")?;
            hash.try_into().map_err(|_| missing())
        })
        .collect()
}

/// The root of the tree when it had `size` leaves, not more than it has now.
///
/// # Errors
/// [`LogError::Inconsistent`] when a node is not there.
pub(super) async fn root_at(executor: impl PgExecutor<'_>, lane: Lane, size: u64) -> Result<Hash, LogError> {
    Ok(fold(&read(executor, lane, &cover(0, size)).await?))
}

/// Stores nodes.
pub(super) async fn write(executor: impl PgExecutor<'_>, lane: Lane, filled: &[Filled]) -> Result<(), LogError> {
    let heights: Vec<i16> = filled
        .iter()
        .map(|row| i16::try_from(row.height).unwrap_or(i16::MAX))
        .collect();
    let first: Vec<i64> = filled
        .iter()
        .map(|row| i64::try_from(row.first_index).unwrap_or(i64::MAX))
        .collect();
    let hashes: Vec<&[u8]> = filled.iter().map(|row| row.hashes.as_slice()).collect();
    let statement = "insert into log.tree_nodes (lane, height, first_index, hashes) \
         select $1, f.height, f.first_index, f.hashes from unnest($2::smallint[], $3::bigint[], $4::bytea[]) f (height, first_index, hashes)";
    sqlx::query(statement)
        .bind(lane.0)
        .bind(heights)
        .bind(first)
        .bind(hashes)
        .execute(executor)
        .await?;
    Ok(())
}

/// Hashes of leaves from position `after + 1` to `to`, as they were sealed.
///
/// # Errors
/// [`LogError`].
pub async fn leaves(executor: impl PgExecutor<'_>, lane: Lane, after: u64, to: u64) -> Result<Vec<u8>, LogError> {
    let (from, until) = (
        i64::try_from(after).unwrap_or(i64::MAX),
        i64::try_from(to).unwrap_or(i64::MAX),
    );
    let statement = "select first_index, hashes from log.tree_nodes where lane = $1 and height = 0 \
         and first_index >= coalesce((select max(first_index) from log.tree_nodes where lane = $1 and height = 0 and first_index <= $2), 0) \
         and first_index < $3 order by first_index";
    let rows: Vec<(i64, Vec<u8>)> = sqlx::query_as(statement)
        .bind(lane.0)
        .bind(from)
        .bind(until)
        .fetch_all(executor)
        .await?;
    let mut leaves = Vec::new();
    for (first, hashes) in rows {
        let row = hashes.chunks_exact(32).zip(first..);
        for (hash, _) in row.filter(|(_, index)| (from..until).contains(index)) {
            leaves.extend_from_slice(&hash_of(hash, "a leaf")?);
        }
    }
    if leaves.len() as u64 != (to - after) * 32 {
        return Err(LogError::Inconsistent(format!(
            "the tree of lane {lane} has lost leaves"
        )));
    }
    Ok(leaves)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(count: u64) -> Vec<Hash> {
        (0..count).map(|n| Sha256::digest(n.to_be_bytes()).into()).collect()
    }

    /// RFC 6962's definition, word for word.
    fn by_definition(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => Sha256::digest([]).into(),
            [leaf] => *leaf,
            _ => {
                let middle = usize::try_from(largest_power_below(leaves.len() as u64)).expect("small");
                node(&by_definition(&leaves[..middle]), &by_definition(&leaves[middle..]))
            }
        }
    }

    #[test]
    fn an_edge_has_the_root_of_the_definition_however_it_grew() {
        let all = leaves(70);
        for size in 0..=70_usize {
            for step in [1, 2, 3, 7, 64] {
                let mut edge = Edge::default();
                for part in all[..size].chunks(step) {
                    edge.grow(part);
                }
                assert_eq!(edge.root(), by_definition(&all[..size]), "{size} by {step}");
            }
        }
    }

    #[test]
    fn every_full_node_is_told_once() {
        let all = leaves(100);
        let mut edge = Edge::default();
        let mut told = BTreeMap::new();
        for part in all.chunks(9) {
            for filled in edge.grow(part) {
                for (hash, index) in filled.hashes.chunks_exact(32).zip(filled.first_index..) {
                    assert!(told.insert((filled.height, index), hash.to_vec()).is_none());
                }
            }
        }
        let expected: usize = (0..7).map(|height| 100 >> height).sum();
        assert_eq!(told.len(), expected);
        for ((height, index), hash) in told {
            let from = usize::try_from(index << height).expect("small");
            assert_eq!(
                hash,
                by_definition(&all[from..from + (1 << height)]),
                "{height} {index}"
            );
        }
    }

    #[test]
    fn parts_of_proofs_are_those_of_the_rfc() {
        // RFC 6962, section 2.1.3: the tree of seven leaves.
        assert_eq!(inclusion(0, 7), [(1, 2), (2, 4), (4, 7)]);
        assert_eq!(inclusion(3, 7), [(2, 3), (0, 2), (4, 7)]);
        assert_eq!(inclusion(4, 7), [(5, 6), (6, 7), (0, 4)]);
        assert_eq!(inclusion(6, 7), [(4, 6), (0, 4)]);
        assert_eq!(consistency(3, 7), [(2, 3), (3, 4), (0, 2), (4, 7)]);
        assert_eq!(consistency(4, 7), [(4, 7)]);
        assert_eq!(consistency(6, 7), [(4, 6), (6, 7), (0, 4)]);
    }
}
