//! The hash chain of a family: what makes an alteration of the log visible.
//!
//! Every event has a leaf hash over everything it says, and a chain hash over its predecessor's chain hash, its own place and
//! time, and its leaf:
//!
//! ```text
//! leaf  = SHA-256( 0x00 ‖ field(family_id) ‖ field(aggregate_type) ‖ field(aggregate_id) ‖ field(sequence)
//!                       ‖ field(event_type) ‖ field(event_version) ‖ field(command_id) ‖ field(effective_on)
//!                       ‖ field(payload) ‖ field(metadata) )
//! field(x) = length of x in bytes, u32 big-endian ‖ x
//! chain = SHA-256( 0x02 ‖ previous (32 bytes) ‖ family_seq (u64 big-endian) ‖ recorded_at (microseconds since 1970,
//!                       i64 big-endian) ‖ leaf (32 bytes) )
//! ```
//!
//! - `family_id` and `command_id` are the 16 bytes of the UUID; `aggregate_id` is its text, as stored; `sequence` is an i64,
//!   big-endian; `effective_on` is `YYYY-MM-DD`; all text is UTF-8. Payload and metadata are the stored bytes, never
//!   serialised anew.
//! - The first event's `previous` is 32 zero bytes.
//! - 0x00 and 0x02 keep leaf and chain apart from each other and from 0x01, the inner node of an RFC 6962 tree.
//!
//! Rust makes the leaf before the lane lock is taken; the database makes the chain under it (`log.chain_hash`), because only
//! there place and time are known. `log.leaf_hash` says the leaf once more in SQL. The vectors in
//! `tests/vectors/chain.json` hold both languages to the same bytes.

use chrono::NaiveDate;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::Record;

/// What the first event of a family is chained to.
pub const GENESIS: [u8; 32] = [0; 32];

/// Everything a leaf hash covers.
#[derive(Clone, Copy, Debug)]
pub struct Leaf<'a> {
    /// The family.
    pub family_id: Uuid,
    /// The kind of aggregate.
    pub aggregate_type: &'a str,
    /// The aggregate, as text.
    pub aggregate_id: &'a str,
    /// Place in the aggregate's stream.
    pub sequence: i64,
    /// The event's name.
    pub event_type: &'a str,
    /// Its version.
    pub event_version: &'a str,
    /// The command that recorded it.
    pub command_id: Uuid,
    /// The day it counts for.
    pub effective_on: NaiveDate,
    /// The stored bytes of the event.
    pub payload: &'a str,
    /// The stored bytes of the metadata.
    pub metadata: &'a str,
}

impl Leaf<'_> {
    /// The leaf hash.
    pub fn hash(&self) -> [u8; 32] {
        let effective_on = self.effective_on.to_string();
        let fields: [&[u8]; 10] = [
            self.family_id.as_bytes(),
            self.aggregate_type.as_bytes(),
            self.aggregate_id.as_bytes(),
            &self.sequence.to_be_bytes(),
            self.event_type.as_bytes(),
            self.event_version.as_bytes(),
            self.command_id.as_bytes(),
            effective_on.as_bytes(),
            self.payload.as_bytes(),
            self.metadata.as_bytes(),
        ];
        let mut hash = Sha256::new();
        hash.update([0x00]);
        for field in fields {
            let length = u32::try_from(field.len()).expect("Postgres holds no value of 4 GiB");
            hash.update(length.to_be_bytes());
            hash.update(field);
        }
        hash.finalize().into()
    }
}

/// The leaf hash that a record's own bytes give.
pub fn leaf_of(record: &Record) -> [u8; 32] {
    let mut buffer = Uuid::encode_buffer();
    Leaf {
        family_id: record.family_id.uuid(),
        aggregate_type: &record.aggregate_type,
        aggregate_id: record.aggregate_id.hyphenated().encode_lower(&mut buffer),
        sequence: record.sequence,
        event_type: &record.event_type,
        event_version: &record.event_version,
        command_id: record.command_id.uuid(),
        effective_on: record.effective_on,
        payload: &record.payload,
        metadata: &record.metadata,
    }
    .hash()
}

/// The chain hash of an event at `family_seq`, recorded at `recorded_at_us` (microseconds since 1970).
pub fn chain(previous: &[u8; 32], family_seq: i64, recorded_at_us: i64, leaf: &[u8; 32]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update([0x02]);
    hash.update(previous);
    // Never negative, so the bytes of i64 and u64 are the same.
    hash.update(family_seq.to_be_bytes());
    hash.update(recorded_at_us.to_be_bytes());
    hash.update(leaf);
    hash.finalize().into()
}

/// Does `record` follow an event whose chain hash was `previous`? Readers of a feed check this per family.
pub fn follows(previous: &[u8; 32], record: &Record) -> bool {
    chain(previous, record.family_seq, record.recorded_at_us(), &record.leaf_hash) == record.chain_hash
}
