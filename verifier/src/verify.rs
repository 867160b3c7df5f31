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
    event::{End, Event},
    hash::{Hash, ZERO, hex, unhex, uuid},
    heads::{Head, is_head},
    journal::{self, JOURNALS},
    kept::{Kept, KeptLane},
    note::{self, Checkpoint, NOTE_BYTES_MAX, VerifierKey},
    pack::Pack,
    postings::Postings,
    report::{Fault, Report, What},
    tree::{Frontier, heights},
};

const MANIFEST: &str = "manifest.json";
const EVENTS: &str = "events.ndjson";
const HEAD: &str = "head.json";
const README: &str = "README.txt";
const CHECKPOINTS: &str = "checkpoints/";
const KEYS: &str = "keys/";
const MANIFEST_BYTES_MAX: usize = 1 << 20;
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
struct Manifest {
    format: String,
    log: String,
    lane: u16,
    family_id: String,
    events: u64,
    checkpoint: u64,
    files: Vec<FileEntry>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct FileEntry {
    name: String,
    bytes: u64,
    sha256: String,
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
    let keys = trusted_keys(pack, &mut seen, trust, &manifest.log, &mut report);
    let origin = format!("{}/lane/{}", manifest.log, manifest.lane);
    let cuts = cuts(pack, &mut seen, &keys, &origin, &manifest, &mut report);
    let last = cuts.last().filter(|cut| cut.size == manifest.checkpoint);
    let Some(last) = last.and_then(|cut| cut.signed.clone()) else {
        report.blame(Fault::file(CHECKPOINTS, What::NoCheckpoint));
        return Ok(report);
    };
    report.checkpoint = last.size;
    let kept = trust.kept.of_lane(&origin, &keys, pack.limits().kept_leaves)?;
    for (name, error) in &kept.bad {
        report.blame(Fault::file(name, What::Note(error.clone())));
    }

    let mut walk = Walk {
        family_id,
        lane: manifest.lane,
        cuts: &cuts,
        kept: &kept,
        tree: Frontier::default(),
        family_seq: 0,
        position: 0,
        chain_hash: ZERO,
        good_until: 0,
        next_cut: 0,
        next_kept: 0,
        compared: vec![false; kept.checkpoints.len()],
        postings: Postings::default(),
        report: &mut report,
    };
    let is_walked = walk.events(pack, &mut seen)?;
    let (family_seq, position, chain_hash) = (walk.family_seq, walk.position, walk.chain_hash);
    let postings = std::mem::take(&mut walk.postings);
    report.events = family_seq;
    report.chain_hash = hex(&chain_hash);
    if is_walked {
        if manifest.events != family_seq {
            report.blame(Fault::at(MANIFEST, family_seq + 1, What::End));
        }
        let ended = Head {
            family_seq,
            position,
            chain_hash,
        };
        if let Some(fault) = head_fault(pack, &mut seen, &family_id, &ended, &last)? {
            report.blame(fault);
        }
        report.entries = postings.len() as u64;
        journals(pack, &mut seen, &postings, &ended, &mut report)?;
        seen.rest(pack, &mut report)?;
    }
    Ok(report)
}

fn read_manifest(pack: &mut Pack) -> io::Result<Option<Manifest>> {
    let Some(mut content) = pack.file(MANIFEST)? else {
        return Ok(None);
    };
    let Ok(bytes) = content.whole(MANIFEST_BYTES_MAX) else {
        return Ok(None);
    };
    let Ok(manifest) = serde_json::from_slice::<Manifest>(&bytes) else {
        return Ok(None);
    };
    let is_ours = manifest.format == "kinledger-pack/1" && one_spelling(&manifest, &bytes);
    Ok(is_ours.then_some(manifest))
}

/// Is this the one way to write it: no spaces, fields in order, a line feed at the end?
fn one_spelling(value: &impl Serialize, bytes: &[u8]) -> bool {
    serde_json::to_vec(value).is_ok_and(|mut written| {
        written.push(b'\n');
        written == bytes
    })
}

/// The files of the manifest, and which have been held against it.
struct Seen {
    files: Vec<(FileEntry, bool)>,
}

impl Seen {
    fn new(manifest: &Manifest, names: &[String], report: &mut Report) -> Self {
        let files: Vec<(FileEntry, bool)> = manifest
            .files
            .iter()
            .map(|file| {
                let entry = FileEntry {
                    name: file.name.clone(),
                    bytes: file.bytes,
                    sha256: file.sha256.clone(),
                };
                (entry, false)
            })
            .collect();
        for pair in manifest.files.windows(2) {
            if pair[0].name >= pair[1].name {
                report.blame(Fault::file(MANIFEST, What::Manifest));
            }
        }
        for name in names.iter().filter(|name| *name != MANIFEST) {
            let is_ours = [EVENTS, HEAD, README].contains(&name.as_str())
                || JOURNALS.iter().any(|(journal, _)| name == journal)
                || is_note(name, CHECKPOINTS)
                || is_note(name, KEYS);
            if !is_ours || !files.iter().any(|(file, _)| file.name == *name) {
                report.blame(Fault::file(name, What::FileForeign));
            }
        }
        Self { files }
    }

    /// Notes of a folder, in order of their names.
    fn notes(&self, folder: &str) -> Vec<String> {
        let names = self.files.iter().map(|(file, _)| file.name.clone());
        names.filter(|name| is_note(name, folder)).collect()
    }

    fn hold(&mut self, name: &str, (bytes, hash): (u64, Hash), report: &mut Report) {
        let entry = self.files.iter_mut().find(|(file, _)| file.name == name);
        let is_same = entry.is_some_and(|(file, is_held)| {
            *is_held = true;
            file.bytes == bytes && file.sha256 == hex(&hash)
        });
        if !is_same {
            report.blame(Fault::file(name, What::FileChanged));
        }
    }

    /// A small file, held against the manifest.
    fn small(&mut self, pack: &mut Pack, name: &str, bytes_max: usize, report: &mut Report) -> Option<Vec<u8>> {
        let read = pack.file(name).and_then(|content| {
            let mut content = content.ok_or_else(|| io::Error::other("there is no such file"))?;
            let bytes = content.whole(bytes_max)?;
            Ok((bytes, content.finish()?))
        });
        match read {
            Ok((bytes, found)) => {
                self.hold(name, found, report);
                Some(bytes)
            }
            Err(error) => {
                report.blame(Fault::file(name, What::FileUnreadable(error.to_string())));
                None
            }
        }
    }

    /// Files that nothing was read from so far.
    fn rest(&mut self, pack: &mut Pack, report: &mut Report) -> io::Result<()> {
        let names: Vec<String> = self
            .files
            .iter()
            .filter(|(_, is_held)| !is_held)
            .map(|(file, _)| file.name.clone())
            .collect();
        for name in names {
            match pack.file(&name)?.map(super::pack::Content::finish) {
                Some(Ok(found)) => self.hold(&name, found, report),
                Some(Err(error)) => report.blame(Fault::file(&name, What::FileUnreadable(error.to_string()))),
                None => report.blame(Fault::file(
                    &name,
                    What::FileUnreadable("there is no such file".to_owned()),
                )),
            }
        }
        for name in [EVENTS, HEAD, README]
            .into_iter()
            .chain(JOURNALS.iter().map(|(name, _)| *name))
        {
            if !self.files.iter().any(|(file, _)| file.name == name) {
                report.blame(Fault::file(
                    name,
                    What::FileUnreadable("there is no such file".to_owned()),
                ));
            }
        }
        Ok(())
    }
}

fn is_note(name: &str, folder: &str) -> bool {
    name.strip_prefix(folder)
        .and_then(|rest| rest.strip_suffix(".note"))
        .is_some_and(|stem| !stem.is_empty() && stem.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The trusted keys, and those they lead to: a key is trusted when a note signed by a trusted one names it.
fn trusted_keys(pack: &mut Pack, seen: &mut Seen, trust: &Trust, log: &str, report: &mut Report) -> Vec<VerifierKey> {
    let mut keys: Vec<VerifierKey> = trust.keys.iter().filter(|key| key.name() == log).cloned().collect();
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
struct Cut {
    size: u64,
    signed: Option<Checkpoint>,
}

fn cuts(
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

/// The walk over the events.
struct Walk<'a> {
    family_id: [u8; 16],
    lane: u16,
    cuts: &'a [Cut],
    kept: &'a KeptLane,
    tree: Frontier,
    family_seq: u64,
    position: u64,
    chain_hash: Hash,
    /// The last event that a signed root is known to cover.
    good_until: u64,
    next_cut: usize,
    next_kept: usize,
    compared: Vec<bool>,
    postings: Postings,
    report: &'a mut Report,
}

impl Walk<'_> {
    /// True when the walk came to its end without a fault.
    fn events(&mut self, pack: &mut Pack, seen: &mut Seen) -> io::Result<bool> {
        let content = match pack.file(EVENTS) {
            Ok(Some(content)) => content,
            Ok(None) | Err(_) => {
                self.report.blame(Fault::at(
                    EVENTS,
                    1,
                    What::FileUnreadable("there is no such file".to_owned()),
                ));
                return Ok(false);
            }
        };
        let mut content = content;
        let mut line = Vec::new();
        loop {
            let wanted = self.family_seq + 1;
            let step = match content.next_line(&mut line) {
                Err(error) => Err(Fault::at(EVENTS, wanted, What::FileUnreadable(error.to_string()))),
                Ok(false) => Err(Fault::at(EVENTS, wanted, What::End)),
                Ok(true) if End::is_meant(&line) => {
                    let ended = self.end(&line);
                    // Whatever comes behind the end was never recorded.
                    let is_last = ended.is_err() || matches!(content.next_line(&mut line), Ok(false));
                    match ended {
                        Ok(()) if is_last => break,
                        Ok(()) => Err(Fault::at(EVENTS, wanted, What::End)),
                        Err(fault) => Err(fault),
                    }
                }
                Ok(true) => self.event(&line),
            };
            if let Err(fault) = step {
                self.report.blame(fault);
                return Ok(false);
            }
        }
        match content.finish() {
            Ok(found) => seen.hold(EVENTS, found, self.report),
            Err(error) => self
                .report
                .blame(Fault::file(EVENTS, What::FileUnreadable(error.to_string()))),
        }
        self.kept_to_the_end();
        Ok(true)
    }

    fn event(&mut self, line: &[u8]) -> Result<(), Fault> {
        let wanted = self.family_seq + 1;
        let bad = |what| Fault::at(EVENTS, wanted, what);
        let event = Event::parse(line).ok_or_else(|| bad(What::NoEvent))?;
        if event.family_seq != wanted {
            return Err(bad(What::Missing));
        }
        if event.family_id != self.family_id || event.lane != self.lane {
            return Err(bad(What::ForeignEvent));
        }
        if event.made_leaf() != event.leaf_hash {
            return Err(bad(What::Content));
        }
        if event.made_chain(&self.chain_hash) != event.chain_hash {
            return Err(bad(What::Chain));
        }
        let size = self.cuts.last().map_or(0, |last| last.size);
        if event.position <= self.position || event.position > size {
            return Err(bad(What::Position));
        }
        let leaf = event.made_tree_leaf();
        let kept = usize::try_from(event.position - 1)
            .ok()
            .and_then(|index| self.kept.leaves.get(index));
        if let Some(kept) = kept {
            if *kept != leaf {
                return Err(bad(What::Kept));
            }
            self.report.kept_events += 1;
        }
        if leaf != event.tree_leaf {
            return Err(bad(What::Sealed));
        }
        self.grow(event.position - 1, &event.before)?;
        self.family_seq = wanted;
        self.position = event.position;
        self.chain_hash = event.chain_hash;
        self.tree.push(leaf);
        self.check_roots()?;
        if event.aggregate_type == "entry" {
            self.postings
                .event(wanted, &event.effective_on, &event.payload)
                .ok_or_else(|| bad(What::Unbalanced))?;
        }
        Ok(())
    }

    fn end(&mut self, line: &[u8]) -> Result<(), Fault> {
        let next = self.family_seq + 1;
        let end = End::parse(line).ok_or_else(|| Fault::at(EVENTS, next, What::End))?;
        let size = self.cuts.last().map_or(0, |last| last.size);
        if end.events != self.family_seq || end.chain_hash != self.chain_hash || end.lane_size != size {
            return Err(Fault::at(EVENTS, next, What::End));
        }
        self.grow(size, &end.after)
    }

    /// Grows the tree to this size with the subtrees that hold nothing of this family.
    fn grow(&mut self, to: u64, hashes: &[Hash]) -> Result<(), Fault> {
        let damaged = Fault::at(EVENTS, self.family_seq + 1, What::Proof);
        let mut hashes = hashes.iter();
        while self.tree.size() < to {
            let cut = self.cuts.get(self.next_cut).map_or(to, |cut| cut.size.min(to));
            for height in heights(self.tree.size(), cut) {
                let hash = hashes.next().ok_or_else(|| damaged.clone())?;
                self.tree.push_perfect(height, *hash);
            }
            self.check_roots()?;
        }
        if hashes.next().is_some() {
            return Err(damaged);
        }
        Ok(())
    }

    /// Where the tree has just reached a checkpoint's size, its root has to be the signed one.
    fn check_roots(&mut self) -> Result<(), Fault> {
        let size = self.tree.size();
        let mut is_known = false;
        while let Some((name, kept)) = self
            .kept
            .checkpoints
            .get(self.next_kept)
            .filter(|(_, kept)| kept.size <= size)
        {
            if kept.size == size {
                if kept.root != self.tree.root() {
                    return Err(self.root_fault(size, name.clone()));
                }
                self.compared[self.next_kept] = true;
                self.report.kept_checkpoints += 1;
                is_known = true;
            }
            self.next_kept += 1;
        }
        if let Some(cut) = self.cuts.get(self.next_cut).filter(|next| next.size == size) {
            self.next_cut += 1;
            if let Some(signed) = &cut.signed {
                if signed.root != self.tree.root() {
                    return Err(self.root_fault(size, "in the pack".to_owned()));
                }
                self.report.checkpoints += 1;
                is_known = true;
            }
        }
        if is_known {
            self.good_until = self.family_seq;
        }
        Ok(())
    }

    fn root_fault(&self, size: u64, whose: String) -> Fault {
        let first = self.good_until + 1;
        Fault {
            file: EVENTS.to_owned(),
            family_seq: Some(first),
            until: Some(self.family_seq.max(first)),
            what: What::Root { size, whose },
        }
    }

    /// Kept checkpoints that no size of the tree met.
    fn kept_to_the_end(&mut self) {
        let size = self.tree.size();
        for ((name, kept), is_compared) in self.kept.checkpoints.iter().zip(&self.compared) {
            if *is_compared {
                continue;
            }
            if kept.size > size {
                let what = What::EndsBefore { size, kept: kept.size };
                self.report.blame(Fault::at(name, self.family_seq + 1, what));
            } else if kept.size == 0 || kept.size <= self.kept.leaves.len() as u64 {
                // Its leaves were compared one by one.
                self.report.kept_checkpoints += 1;
            } else {
                self.report.blame(Fault::file(name, What::NotCompared(kept.size)));
            }
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

fn journals(
    pack: &mut Pack,
    seen: &mut Seen,
    postings: &Postings,
    ended: &Head,
    report: &mut Report,
) -> io::Result<()> {
    let end = format!(
        "; end: {} transactions of {} events, family_seq {}, chain_hash {}",
        postings.len(),
        ended.family_seq,
        ended.family_seq,
        hex(&ended.chain_hash)
    );
    for (name, kind) in JOURNALS {
        let Some(mut content) = pack.file(name)? else { continue };
        match journal::compare(&mut content, name, *kind, postings, &end) {
            Ok(Ok(())) => {
                report.journals += 1;
                match content.finish() {
                    Ok(found) => seen.hold(name, found, report),
                    Err(error) => report.blame(Fault::file(name, What::FileUnreadable(error.to_string()))),
                }
            }
            Ok(Err(fault)) => report.blame(fault),
            Err(error) => report.blame(Fault::file(name, What::FileUnreadable(error.to_string()))),
        }
    }
    Ok(())
}
