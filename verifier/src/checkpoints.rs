//! Who may have signed what: the trusted keys of a log, and the checkpoints of a pack.

use crate::{
    manifest::{CHECKPOINTS, KEYS, Manifest, Seen},
    note::{self, Checkpoint, NOTE_BYTES_MAX, VerifierKey},
    pack::Pack,
    report::{Fault, Report, What},
};

/// The trusted keys, and those they lead to: a key is trusted when a note signed by a trusted one names it.
pub(crate) fn trusted_keys(
    pack: &mut Pack,
    seen: &mut Seen,
    trusted: &[VerifierKey],
    log: &str,
    report: &mut Report,
) -> Vec<VerifierKey> {
    let mut keys: Vec<VerifierKey> = trusted.iter().filter(|key| key.name() == log).cloned().collect();
    for name in seen.notes(KEYS) {
        let Some(bytes) = seen.small(pack, &name, NOTE_BYTES_MAX, report) else {
            continue;
        };
        // A transition before the key one holds cannot be checked, and need not be.
        let Ok(text) = note::open(&bytes, &keys) else { continue };
        match note::transition(text) {
            Ok((named, key)) if named == log && key.name() == log => keys.push(key),
            Ok(_) => report.blame(Fault::file(&name, What::CheckpointPlace)),
            Err(error) => report.blame(Fault::file(&name, What::Note(error))),
        }
    }
    keys
}

/// A checkpoint of the pack. The tree is cut at its size whether or not a trusted key has signed it: those from before the
/// key one holds cannot be checked, and prove nothing.
pub(crate) struct Cut {
    pub(crate) size: u64,
    pub(crate) signed: Option<Checkpoint>,
}

/// The checkpoints of the pack, by size.
pub(crate) fn cuts(
    pack: &mut Pack,
    seen: &mut Seen,
    keys: &[VerifierKey],
    origin: &str,
    manifest: &Manifest,
    report: &mut Report,
) -> Vec<Cut> {
    let mut cuts: Vec<Cut> = Vec::new();
    for name in seen.notes(CHECKPOINTS) {
        let Some(bytes) = seen.small(pack, &name, NOTE_BYTES_MAX, report) else {
            continue;
        };
        let size = name[CHECKPOINTS.len()..].trim_end_matches(".note").parse::<u64>();
        let after = cuts.last().map_or(0, |last| last.size);
        let Some(size) = size.ok().filter(|size| *size > after && *size <= manifest.checkpoint) else {
            report.blame(Fault::file(&name, What::CheckpointPlace));
            continue;
        };
        let signed = match note::open(&bytes, keys).and_then(Checkpoint::parse) {
            Ok(checkpoint) if checkpoint.origin == origin && checkpoint.size == size => Some(checkpoint),
            Ok(_) => {
                report.blame(Fault::file(&name, What::CheckpointPlace));
                None
            }
            Err(note::NoteError::Unsigned) => None,
            Err(error) => {
                report.blame(Fault::file(&name, What::Note(error)));
                None
            }
        };
        cuts.push(Cut { size, signed });
    }
    cuts
}
