//! The verification of a pack, in one pass over its events.
//!
//! 1. Manifest; transitions from key to key; checkpoints, each signed by a trusted key.
//! 2. Every event: its number, its leaf hash, its chain hash, its place and leaf in the lane's tree, and, where leaves were
//!    kept elsewhere, what these say was at its position. The first that fails is the first bad event.
//! 3. Between events stand the hashes of the subtrees without events of this family, cut at every checkpoint. With them the
//!    lane's tree grows from left to right, and at every checkpoint's size its root has to be the signed one. Where it is not,
//!    the first bad event is behind the last checkpoint that agreed.
//! 4. The map of heads in the last checkpoint says where the family ended: nothing is cut off.
//! 5. The journals say the same as the events, entry by entry, and so do their balances.
//! 6. Every file is the one of the manifest, byte for byte.

use std::io;

use serde::{Deserialize, Serialize};

use crate::{
    checkpoints::{cuts, trusted_keys},
    hash::{Hash, hex, unhex, uuid},
    heads::{Head, is_head},
    journals,
    kept::{Kept, KeptLane},
    manifest::{CHECKPOINTS, HEAD, MANIFEST, Seen, one_spelling, read_manifest},
    note::{Checkpoint, NoteError, VerifierKey},
    pack::Pack,
    report::{Fault, Report, What},
    walk::Walk,
};

const HEAD_BYTES_MAX: usize = 64 << 10;

/// What a verification relies on. None of it comes from the pack.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Public keys of the log.
    pub keys: Vec<VerifierKey>,
    /// The family the pack has to be about.
    pub family_id: Option<[u8; 16]>,
    /// Checkpoints and leaves kept elsewhere.
    pub kept: Kept,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct HeadFile {
    family_seq: u64,
    position: u64,
    chain_hash: String,
    siblings: Vec<String>,
}

/// Verifies a pack. Every alteration is a fault of the report; an error says that the pack could not be read, which says
/// nothing about its content.
///
/// # Errors
/// When the disk fails.
pub fn verify(pack: &mut Pack, trust: &Trust) -> io::Result<Report> {
    let mut report = Report::default();
    let names = pack.names()?;
    let Some(manifest) = read_manifest(pack)? else {
        report.blame(Fault::file(MANIFEST, What::Manifest));
        return Ok(report);
    };
    report.log.clone_from(&manifest.log);
    report.lane = manifest.lane;
    report.family_id.clone_from(&manifest.family_id);
    let Some(family_id) = uuid(manifest.family_id.as_bytes()) else {
        report.blame(Fault::file(MANIFEST, What::Manifest));
        return Ok(report);
    };
    if trust.family_id.is_some_and(|wanted| wanted != family_id) {
        report.blame(Fault::file(MANIFEST, What::OtherFamily));
        return Ok(report);
    }
    let mut seen = Seen::new(&manifest, &names, &mut report);
    let keys = trusted_keys(pack, &mut seen, &trust.keys, &manifest.log, &mut report);
    let origin = format!("{}/lane/{}", manifest.log, manifest.lane);
    let cuts = cuts(pack, &mut seen, &keys, &origin, &manifest, &mut report);
    let last = cuts.last().filter(|cut| cut.size == manifest.checkpoint);
    let Some(last) = last.and_then(|cut| cut.signed.clone()) else {
        report.blame(Fault::file(CHECKPOINTS, What::NoCheckpoint));
        return Ok(report);
    };
    report.checkpoint = last.size;
    let kept = trust.kept.of_lane(&origin, &keys, pack.limits().kept_leaves)?;
    hold_notes(&kept, &mut report);

    let mut walk = Walk::new(family_id, manifest.lane, &cuts, &kept, &mut report);
    let is_walked = walk.events(pack, &mut seen)?;
    let (ended, postings) = walk.ended();
    report.events = ended.family_seq;
    report.chain_hash = hex(&ended.chain_hash);
    if is_walked {
        if manifest.events != ended.family_seq {
            report.blame(Fault::at(MANIFEST, ended.family_seq + 1, What::End));
        }
        if let Some(fault) = head_fault(pack, &mut seen, &family_id, &ended, &last)? {
            report.blame(fault);
        }
        report.entries = postings.len();
        journals::hold(pack, &mut seen, &postings, &ended, &mut report)?;
        seen.rest(pack, &mut report)?;
    }
    Ok(report)
}

/// Damaged notes are faults of the copy. One that no trusted key has signed shows nothing: it may be of an earlier key.
fn hold_notes(kept: &KeptLane, report: &mut Report) {
    for (name, error) in &kept.bad {
        let fault = Fault::file(name, What::Note(error.clone()));
        match error {
            NoteError::Unsigned => {
                report.unsigned += 1;
                if kept.checkpoints.is_empty() {
                    report.pass_over(fault);
                }
            }
            _ => report.blame(fault),
        }
    }
}

fn head_fault(
    pack: &mut Pack,
    seen: &mut Seen,
    family_id: &[u8; 16],
    ended: &Head,
    last: &Checkpoint,
) -> io::Result<Option<Fault>> {
    let mut found = Report::default();
    let bytes = seen.small(pack, HEAD, HEAD_BYTES_MAX, &mut found);
    if let Some(fault) = found.faults.pop() {
        return Ok(Some(fault));
    }
    let bytes = bytes.unwrap_or_default();
    let next = Fault::at(HEAD, ended.family_seq + 1, What::Head);
    let Ok(file) = serde_json::from_slice::<HeadFile>(&bytes) else {
        return Ok(Some(next));
    };
    let siblings: Option<Vec<Hash>> = file.siblings.iter().map(|hash| unhex(hash.as_bytes())).collect();
    let (Some(siblings), Some(chain_hash), true) =
        (siblings, unhex(file.chain_hash.as_bytes()), one_spelling(&file, &bytes))
    else {
        return Ok(Some(next));
    };
    let head = Head {
        family_seq: file.family_seq,
        position: file.position,
        chain_hash,
    };
    if !is_head(family_id, &head, &siblings, &last.heads) {
        return Ok(Some(next));
    }
    let first_bad = ended.family_seq.min(head.family_seq) + 1;
    Ok((head != *ended).then(|| Fault::at(HEAD, first_bad, What::Head)))
}
