//! Verifies an auditor's pack: what a family's ledger says is what was recorded, all of it, and nothing else.
//!
//! It needs the pack and the log's public key, and, against somebody who owns the database *and* the signing key, checkpoints
//! that were kept elsewhere. It is written from docs/proofs.md and shares no code with the programs that write the log, so
//! that one mistake cannot be in both. Nothing of the pack is trusted: every length is bounded, nothing panics, nothing is
//! written.

mod checkpoints;
mod event;
mod hash;
mod heads;
mod journal;
mod journals;
mod kept;
mod manifest;
mod note;
mod pack;
mod postings;
mod report;
mod tree;
mod verify;
mod walk;

pub use hash::{Hash, chain, empty_root, hex, tree_leaf, tree_node, unhex, uuid};
pub use heads::{Head, is_head};
pub use kept::Kept;
pub use note::{Checkpoint, NoteError, VerifierKey, open as open_note};
pub use pack::{Limits, Pack, ReadSeek};
pub use report::{Fault, Report, What};
pub use tree::{Frontier, heights, is_consistent, is_included};
pub use verify::{Trust, verify};

use std::io::{self, Read};

/// Verifies a zipped pack from its bytes. The entry point for fuzzing: whatever the bytes, it returns.
///
/// # Errors
/// When they are no zip file, or more than 1 GiB.
pub fn verify_pack(reader: impl Read, keys: &[VerifierKey], notes: &[Vec<u8>]) -> io::Result<Report> {
    const BYTES_MAX: u64 = 1 << 30;
    let mut bytes = Vec::new();
    reader.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(io::Error::other("the pack is too long to be held in memory"));
    }
    let limits = Limits {
        file_bytes: BYTES_MAX,
        ..Limits::default()
    };
    let mut pack = Pack::zip(Box::new(io::Cursor::new(bytes)), limits)?;
    let mut kept = Kept::default();
    for (number, note) in notes.iter().enumerate() {
        kept.add_note_bytes(format!("note {number}"), note.clone());
    }
    let trust = Trust {
        keys: keys.to_vec(),
        family_id: None,
        kept,
    };
    verify(&mut pack, &trust)
}
