//! The map of heads: where each family of a lane ended when a checkpoint was signed.
//!
//! A binary trie over `key = SHA-256(0x03 ‖ family_id)`. A part of it with one family is that family's leaf, an empty part is
//! 32 zero bytes, every other part hashes its two halves. A key therefore has one place in the map, and what stands there is
//! all there is of that family.

use crate::hash::{Hash, head_key, head_leaf, head_node};

/// A key has so many bits.
const DEPTH_MAX: usize = 256;

/// Where a family ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its last event's number.
    pub family_seq: u64,
    /// That event's place in the lane.
    pub position: u64,
    /// That event's chain hash.
    pub chain_hash: Hash,
}

/// Does the path show that the family ended so in the map with this root? Siblings stand from the root down.
pub fn is_head(family_id: &[u8; 16], head: &Head, siblings: &[Hash], root: &Hash) -> bool {
    if siblings.len() > DEPTH_MAX {
        return false;
    }
    let key = head_key(family_id);
    let leaf = head_leaf(&key, head.family_seq, head.position, &head.chain_hash);
    let folded = siblings.iter().enumerate().rev().fold(leaf, |hash, (depth, sibling)| {
        let is_right = key[depth / 8] >> (7 - depth % 8) & 1 == 1;
        if is_right {
            head_node(sibling, &hash)
        } else {
            head_node(&hash, sibling)
        }
    });
    folded == *root
}
