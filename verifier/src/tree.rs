//! RFC 6962's tree: folding it from the left, and checking proofs (RFC 9162, sections 2.1.3.2 and 2.1.4.2).

use crate::hash::{Hash, empty_root, tree_node};

/// A tree that grows on its right: only the roots of its perfect subtrees are kept, at most 64.
#[derive(Clone, Debug, Default)]
pub struct Frontier {
    size: u64,
    // Heights strictly fall from left to right.
    perfect: Vec<(u32, Hash)>,
}

impl Frontier {
    /// How many leaves it has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds one leaf.
    pub fn push(&mut self, leaf: Hash) {
        self.push_perfect(0, leaf);
    }

    /// Adds a perfect subtree of `2^height` leaves. The size so far has to be a multiple of that, as it is for the heights
    /// that [`heights`] names.
    pub fn push_perfect(&mut self, height: u32, root: Hash) {
        debug_assert!(self.size.trailing_zeros() >= height || self.size == 0);
        self.size += 1 << height;
        let (mut height, mut root) = (height, root);
        while let Some((last, left)) = self.perfect.last().copied().filter(|(last, _)| *last == height) {
            self.perfect.pop();
            root = tree_node(&left, &root);
            height = last + 1;
        }
        self.perfect.push((height, root));
    }

    /// The root.
    pub fn root(&self) -> Hash {
        let mut from_right = self.perfect.iter().rev().map(|(_, root)| *root);
        let Some(last) = from_right.next() else {
            return empty_root();
        };
        from_right.fold(last, |right, left| tree_node(&left, &right))
    }
}

/// The heights of the largest aligned perfect subtrees that cover the leaves from `from` up to `to`, left to right.
pub fn heights(from: u64, to: u64) -> impl Iterator<Item = u32> {
    let mut at = from;
    std::iter::from_fn(move || {
        let left = to.checked_sub(at).filter(|left| *left > 0)?;
        let fits = 63 - left.leading_zeros();
        let height = if at == 0 { fits } else { fits.min(at.trailing_zeros()) };
        at += 1 << height;
        Some(height)
    })
}

/// Does `proof` show that `leaf` is at `index` of the tree of this size and root?
pub fn is_included(leaf: &Hash, index: u64, size: u64, proof: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut node, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for sibling in proof {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            hash = tree_node(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = tree_node(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// Does `proof` show that the tree of size `from` is the beginning of the tree of size `to`?
pub fn is_consistent(from: (u64, &Hash), to: (u64, &Hash), proof: &[Hash]) -> bool {
    let ((from, from_root), (to, to_root)) = (from, to);
    if from > to {
        return false;
    }
    if from == to {
        return proof.is_empty() && from_root == to_root;
    }
    if from == 0 {
        return proof.is_empty() && *from_root == empty_root();
    }
    let mut rest = proof.iter();
    let first = if from.is_power_of_two() {
        Some(from_root)
    } else {
        rest.next()
    };
    let Some(first) = first else { return false };
    let (mut node, mut last) = (from - 1, to - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    let (mut old, mut new) = (*first, *first);
    for hash in rest {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            old = tree_node(hash, &old);
            new = tree_node(hash, &new);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new = tree_node(&new, hash);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && old == *from_root && new == *to_root
}
