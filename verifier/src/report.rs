//! What a verification found.

use std::fmt;

use crate::note::NoteError;

/// Faults that are listed at most; what follows from a fault is no news.
pub(crate) const FAULTS_MAX: usize = 20;

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum What {
    /// The list of files is missing or not in its one form.
    #[error("the manifest is missing or damaged")]
    Manifest,
    /// A file is not the one that was exported.
    #[error("the file was changed since it was exported")]
    FileChanged,
    /// A file cannot be read.
    #[error("the file is missing or cannot be read: {0}")]
    FileUnreadable(String),
    /// A file that no pack has.
    #[error("the file does not belong to the pack")]
    FileForeign,
    /// A checkpoint, a transition or a kept note is not signed, or not of this log.
    #[error("{0}")]
    Note(NoteError),
    /// A checkpoint of another log or lane, out of order, or beyond the last.
    #[error("the checkpoint is not one of this lane, or out of order")]
    CheckpointPlace,
    /// There is no checkpoint to hold anything against.
    #[error(
        "there is no checkpoint that a trusted key has signed: it is altered, another log's, or signed by a key you did not name"
    )]
    NoCheckpoint,
    /// The pack is about somebody else.
    #[error("the pack is of another family than the one asked for")]
    OtherFamily,
    /// A line is no event.
    #[error("the line is no event")]
    NoEvent,
    /// An event is missing here.
    #[error("the event is missing, or not in its place")]
    Missing,
    /// An event of another family or lane.
    #[error("the event is of another family or lane")]
    ForeignEvent,
    /// Its fields do not give its leaf hash.
    #[error("its content was changed")]
    Content,
    /// It does not follow from its predecessor.
    #[error("it does not follow from its predecessor")]
    Chain,
    /// Its place in the lane is before its predecessor's, or behind the checkpoint.
    #[error("its position is impossible")]
    Position,
    /// It is not what the lane's tree has at its position.
    #[error("it is not what was sealed at its position")]
    Sealed,
    /// It is not what was kept elsewhere.
    #[error("it is not what the hashes kept elsewhere say was at its position")]
    Kept,
    /// The hashes before it do not fit its position.
    #[error("the hashes of the tree beside it are damaged")]
    Proof,
    /// The events do not lead to a signed root.
    #[error("the events do not lead to the root that was signed for {size} events of the lane ({whose})")]
    Root {
        /// The checkpoint's size.
        size: u64,
        /// Where the checkpoint comes from.
        whose: String,
    },
    /// A kept checkpoint is newer than the pack.
    #[error(
        "the pack ends at {size} events of the lane, before the checkpoint you hold for {kept}: what was recorded since is not in it"
    )]
    EndsBefore {
        /// The pack's checkpoint.
        size: u64,
        /// The kept one.
        kept: u64,
    },
    /// A kept checkpoint cannot be compared.
    #[error("the checkpoint you hold for {0} events is not among the pack's: export it again with --checkpoint")]
    NotCompared(u64),
    /// The end mark is missing or wrong.
    #[error("the end mark is missing or wrong: events may be cut off")]
    End,
    /// There was more when the checkpoint was signed, or less.
    #[error("the family had not ended here when the checkpoint was signed")]
    Head,
    /// An entry's postings do not sum to zero.
    #[error("its postings do not sum to zero, or cannot be read")]
    Unbalanced,
    /// A journal says something else.
    #[error("the journal says something else")]
    Journal,
    /// A journal's balance is not the sum of the postings.
    #[error("a balance of the journal is not the sum of the postings")]
    Balance,
}

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file it was found in.
    pub file: String,
    /// The first bad event, or the first that may be.
    pub family_seq: Option<u64>,
    /// The last that may be the first bad one; equal to `family_seq` when that is certain.
    pub until: Option<u64>,
    /// What is wrong.
    pub what: What,
}

impl Fault {
    pub(crate) fn file(file: &str, what: What) -> Self {
        Self {
            file: file.to_owned(),
            family_seq: None,
            until: None,
            what,
        }
    }

    pub(crate) fn at(file: &str, family_seq: u64, what: What) -> Self {
        Self {
            family_seq: Some(family_seq),
            until: Some(family_seq),
            ..Self::file(file, what)
        }
    }

    /// Is it certain which event is the first bad one?
    pub fn is_exact(&self) -> bool {
        self.family_seq.is_some() && self.family_seq == self.until
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.family_seq, self.until) {
            (Some(first), Some(last)) if first < last => write!(
                f,
                "{}: the first bad event is one of family_seq {first} to {last}: {}",
                self.file, self.what
            ),
            (Some(first), _) => write!(f, "{}: family_seq {first}: {}", self.file, self.what),
            (None, _) => write!(f, "{}: {}", self.file, self.what),
        }
    }
}

/// What was verified, and what is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The log's name, as the keys have it.
    pub log: String,
    /// The lane.
    pub lane: u16,
    /// The family's UUID.
    pub family_id: String,
    /// Events found whole.
    pub events: u64,
    /// The last one's chain hash, hex.
    pub chain_hash: String,
    /// Events of the lane that the last checkpoint covers.
    pub checkpoint: u64,
    /// Checkpoints of the pack whose roots the events lead to.
    pub checkpoints: usize,
    /// Checkpoints kept elsewhere that agree.
    pub kept_checkpoints: usize,
    /// Events compared one by one with hashes kept elsewhere.
    pub kept_events: u64,
    /// Entries whose postings sum to zero.
    pub entries: u64,
    /// Journals that say the same as the events.
    pub journals: usize,
    /// Notes kept elsewhere that no trusted key has signed, such as those of an earlier key. They show nothing, either way.
    pub unsigned: usize,
    /// What was kept elsewhere and could not be compared with this pack. None of it says that anything was altered.
    pub not_compared: Vec<Fault>,
    /// What is wrong; nothing, when the pack is whole.
    pub faults: Vec<Fault>,
}

impl Report {
    /// Is everything as it was recorded?
    pub fn is_whole(&self) -> bool {
        self.faults.is_empty()
    }

    /// Was everything compared that was kept elsewhere? Who holds a newer checkpoint than the pack's has to ask for a newer pack,
    /// for an old one says nothing of what came after it.
    pub fn is_all_compared(&self) -> bool {
        self.not_compared.is_empty()
    }

    /// The fault with the lowest event, exact ones first; without any, the first fault.
    pub fn first_bad(&self) -> Option<&Fault> {
        let placed = self.faults.iter().filter(|fault| fault.family_seq.is_some());
        placed
            .min_by_key(|fault| (fault.family_seq, !fault.is_exact()))
            .or(self.faults.first())
    }

    pub(crate) fn pass_over(&mut self, fault: Fault) {
        if self.not_compared.len() < FAULTS_MAX {
            self.not_compared.push(fault);
        }
    }

    pub(crate) fn blame(&mut self, fault: Fault) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(fault);
        }
    }
}
