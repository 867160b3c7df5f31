//! What was kept elsewhere: checkpoints, and beside them the hashes of the lanes' leaves.
//!
//! The sealer writes `lane-N/SIZE.note` and `lane-N/SIZE.leaves`; the latter has the hashes of all leaves after the file
//! before it up to SIZE. Nothing of it is trusted: a note needs a signature, and leaves count only as far as they lead to
//! the root of such a note.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    hash::Hash,
    note::{self, Checkpoint, NOTE_BYTES_MAX, NoteError, VerifierKey},
    tree::Frontier,
};

/// Files of a folder at most.
const FILES_MAX: usize = 10_000_000;

/// Notes and leaves, as they lie there.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    notes: Vec<(String, Vec<u8>)>,
    leaves: Vec<Vec<(u64, PathBuf)>>,
}

/// What of it is of one lane, and signed.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeptLane {
    /// By size.
    pub(crate) checkpoints: Vec<(String, Checkpoint)>,
    /// From position 1 on.
    pub(crate) leaves: Vec<Hash>,
    /// Notes that nobody trusted has signed.
    pub(crate) bad: Vec<(String, NoteError)>,
}

impl Kept {
    /// Adds a note, or a folder that the sealer wrote to: the whole, or that of one lane.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn add(&mut self, path: &Path) -> io::Result<()> {
        if !path.is_dir() {
            return self.add_note(path);
        }
        self.add_folder(path)?;
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                self.add_folder(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Adds a note that is in memory.
    pub fn add_note_bytes(&mut self, name: impl Into<String>, bytes: Vec<u8>) {
        self.notes.push((name.into(), bytes));
    }

    /// The notes, each with where it was found.
    pub fn notes(&self) -> &[(String, Vec<u8>)] {
        &self.notes
    }

    /// The sizes of the notes that claim to be checkpoints of this origin, ascending; signatures are not looked at.
    pub fn sizes(&self, origin: &str) -> Vec<u64> {
        let start = format!("{origin}\n");
        let size = |(_, bytes): &(String, Vec<u8>)| {
            let text = std::str::from_utf8(bytes).ok()?.strip_prefix(&start)?;
            text.lines().next()?.parse().ok()
        };
        let mut sizes: Vec<u64> = self.notes.iter().filter_map(size).collect();
        sizes.sort_unstable();
        sizes.dedup();
        sizes
    }

    fn add_note(&mut self, path: &Path) -> io::Result<()> {
        if fs::metadata(path)?.len() > NOTE_BYTES_MAX as u64 {
            return Err(io::Error::other("it is too long for a note"));
        }
        self.add_note_bytes(path.display().to_string(), fs::read(path)?);
        Ok(())
    }

    fn add_folder(&mut self, folder: &Path) -> io::Result<()> {
        let mut leaves = Vec::new();
        for (number, entry) in fs::read_dir(folder)?.enumerate() {
            if number > FILES_MAX {
                return Err(io::Error::other("the folder has too many files"));
            }
            let path = entry?.path();
            let size = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
            match (path.extension().and_then(|end| end.to_str()), size) {
                (Some("note"), _) => self.add_note(&path)?,
                (Some("leaves"), Some(size)) => leaves.push((size, path)),
                _ => {}
            }
        }
        leaves.sort();
        if !leaves.is_empty() {
            self.leaves.push(leaves);
        }
        Ok(())
    }

    /// What of it is of the lane with this origin.
    pub(crate) fn of_lane(&self, origin: &str, keys: &[VerifierKey], leaves_max: u64) -> io::Result<KeptLane> {
        let mut lane = KeptLane::default();
        for (name, bytes) in &self.notes {
            // A note of another lane or log is none of ours, signed or not.
            if !bytes.starts_with(format!("{origin}\n").as_bytes()) {
                continue;
            }
            match note::open(bytes, keys).and_then(Checkpoint::parse) {
                Ok(checkpoint) => lane.checkpoints.push((name.clone(), checkpoint)),
                Err(error) => lane.bad.push((name.clone(), error)),
            }
        }
        lane.checkpoints.sort_by_key(|(_, checkpoint)| checkpoint.size);
        for files in &self.leaves {
            let leaves = leaves(files, &lane.checkpoints, leaves_max)?;
            if leaves.len() > lane.leaves.len() {
                lane.leaves = leaves;
            }
        }
        Ok(lane)
    }
}

/// The leaves of a folder as far as they lead to signed roots.
fn leaves(files: &[(u64, PathBuf)], checkpoints: &[(String, Checkpoint)], leaves_max: u64) -> io::Result<Vec<Hash>> {
    let mut leaves: Vec<Hash> = Vec::new();
    let mut proven = 0;
    let mut tree = Frontier::default();
    let mut notes = checkpoints.iter().map(|(_, checkpoint)| checkpoint).peekable();
    for (size, path) in files {
        let whole = fs::metadata(path)?.len() == (size.saturating_sub(tree.size())).saturating_mul(32);
        if !whole || *size > leaves_max {
            break;
        }
        let bytes = fs::read(path)?;
        for leaf in bytes.chunks_exact(32) {
            let leaf: Hash = leaf.try_into().unwrap_or_default();
            tree.push(leaf);
            leaves.push(leaf);
            while let Some(note) = notes.next_if(|note| note.size <= tree.size()) {
                if note.size == tree.size() {
                    if note.root != tree.root() {
                        leaves.truncate(proven);
                        return Ok(leaves);
                    }
                    proven = leaves.len();
                }
            }
        }
    }
    leaves.truncate(proven);
    Ok(leaves)
}
