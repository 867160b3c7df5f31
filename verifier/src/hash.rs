//! The five hashes of docs/proofs.md, written from that page and from nothing else.

use sha2::{Digest, Sha256};

/// A SHA-256 hash.
pub type Hash = [u8; 32];

/// What stands before the first event of a family, and for an empty part of the map of heads.
pub const ZERO: Hash = [0; 32];

/// The bytes that a lane tree's leaf begins with, so that it is no other hash's input.
const TREE_LEAF: &[u8; 4] = b"kle1";

/// The fields of an event that its leaf hash covers, in their order.
pub(crate) fn event_leaf(fields: &[&[u8]; 10]) -> Hash {
    let mut hash = Sha256::new();
    hash.update([0x00]);
    for field in fields {
        // A line is bounded far below 4 GiB.
        hash.update(u32::try_from(field.len()).unwrap_or(u32::MAX).to_be_bytes());
        hash.update(field);
    }
    hash.finalize().into()
}

/// The chain hash of an event.
pub fn chain(previous: &Hash, family_seq: u64, recorded_at_us: i64, leaf: &Hash) -> Hash {
    let mut hash = Sha256::new();
    hash.update([0x02]);
    hash.update(previous);
    hash.update(family_seq.to_be_bytes());
    hash.update(recorded_at_us.to_be_bytes());
    hash.update(leaf);
    hash.finalize().into()
}

/// The leaf of a lane's tree for one event: RFC 6962's leaf hash over 70 bytes.
pub fn tree_leaf(lane: u16, position: u64, family_id: &[u8; 16], family_seq: u64, chain_hash: &Hash) -> Hash {
    let mut hash = Sha256::new();
    hash.update([0x00]);
    hash.update(TREE_LEAF);
    hash.update(lane.to_be_bytes());
    hash.update(position.to_be_bytes());
    hash.update(family_id);
    hash.update(family_seq.to_be_bytes());
    hash.update(chain_hash);
    hash.finalize().into()
}

/// An inner node of a lane's tree (RFC 6962, section 2.1).
pub fn tree_node(left: &Hash, right: &Hash) -> Hash {
    node(0x01, left, right)
}

/// An inner node of the map of heads.
pub(crate) fn head_node(left: &Hash, right: &Hash) -> Hash {
    node(0x05, left, right)
}

fn node(prefix: u8, left: &Hash, right: &Hash) -> Hash {
    let mut hash = Sha256::new();
    hash.update([prefix]);
    hash.update(left);
    hash.update(right);
    hash.finalize().into()
}

/// A family's place in the map of heads.
pub(crate) fn head_key(family_id: &[u8; 16]) -> Hash {
    let mut hash = Sha256::new();
    hash.update([0x03]);
    hash.update(family_id);
    hash.finalize().into()
}

/// What stands at a family's place in the map of heads.
pub(crate) fn head_leaf(key: &Hash, family_seq: u64, position: u64, chain_hash: &Hash) -> Hash {
    let mut hash = Sha256::new();
    hash.update([0x04]);
    hash.update(key);
    hash.update(family_seq.to_be_bytes());
    hash.update(position.to_be_bytes());
    hash.update(chain_hash);
    hash.finalize().into()
}

/// The root of a tree without leaves (RFC 6962, section 2.1).
pub fn empty_root() -> Hash {
    Sha256::digest([]).into()
}

/// A hash as 64 lower-case hexadecimal digits.
pub fn hex(hash: &[u8]) -> String {
    use std::fmt::Write;
    hash.iter()
        .fold(String::with_capacity(hash.len() * 2), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// 64 lower-case hexadecimal digits as a hash; capitals are refused, so that a hash has one spelling.
pub fn unhex(text: &[u8]) -> Option<Hash> {
    let digits: &[u8; 64] = text.try_into().ok()?;
    let mut hash = ZERO;
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(hash)
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// A UUID in its usual spelling, lower case with dashes.
pub fn uuid(text: &[u8]) -> Option<[u8; 16]> {
    if text.len() != 36 || [8, 13, 18, 23].into_iter().any(|at| text[at] != b'-') {
        return None;
    }
    let mut digits = text.iter().copied().filter(|byte| *byte != b'-');
    let mut id = [0; 16];
    for byte in &mut id {
        *byte = nibble(digits.next()?)? << 4 | nibble(digits.next()?)?;
    }
    // A dash at a wrong place leaves too few digits or too many.
    digits.next().is_none().then_some(id)
}
