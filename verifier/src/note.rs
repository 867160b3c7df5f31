//! Signed notes and checkpoints: c2sp.org/signed-note and c2sp.org/tlog-checkpoint.

use base64::{Engine, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest, Sha256};

use crate::hash::{Hash, hex};

/// Bytes a note has at most.
pub const NOTE_BYTES_MAX: usize = 64 * 1024;
/// Signatures a note has at most.
const SIGNATURES_MAX: usize = 100;
/// The signature type of Ed25519 (signed-note).
const ED25519: u8 = 0x01;

/// Why a note, a key or a checkpoint cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// No key of the form `name+hash+key`.
    #[error("a verifier key looks like name+1a2b3c4d+base64, with the hash that belongs to its name and key")]
    Key,
    /// No text, empty line and signatures.
    #[error("it is no signed note")]
    Form,
    /// No trusted key has signed it.
    #[error("no signature by a trusted key")]
    Unsigned,
    /// A trusted key's signature does not fit the text.
    #[error("the signature by {0} does not fit the text")]
    Forged(String),
    /// The text is no checkpoint of ours.
    #[error("its text is no checkpoint")]
    Checkpoint,
}

/// A public key under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: [u8; 4],
    key: VerifyingKey,
}

impl VerifierKey {
    /// Reads `name+hash+key`, the form of Go's `note` package.
    ///
    /// # Errors
    /// [`NoteError::Key`].
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let mut parts = text.trim().splitn(3, '+');
        let (name, id, key) = (parts.next(), parts.next(), parts.next());
        let (Some(name), Some(id), Some(key)) = (name, id, key) else {
            return Err(NoteError::Key);
        };
        let bytes = STANDARD.decode(key).map_err(|_| NoteError::Key)?;
        let public: &[u8; 32] = match bytes.split_first() {
            Some((&ED25519, public)) => public.try_into().map_err(|_| NoteError::Key)?,
            _ => return Err(NoteError::Key),
        };
        let made = key_id(name, &bytes);
        if !is_name(name) || hex(&made) != id {
            return Err(NoteError::Key);
        }
        Ok(Self {
            name: name.to_owned(),
            id: made,
            key: VerifyingKey::from_bytes(public).map_err(|_| NoteError::Key)?,
        })
    }

    /// The key's name: the log it belongs to.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// The first four bytes of SHA-256 over name, line feed, type and key.
fn key_id(name: &str, typed_key: &[u8]) -> [u8; 4] {
    let mut hash = Sha256::new();
    hash.update(name);
    hash.update(b"\n");
    hash.update(typed_key);
    let hash: Hash = hash.finalize().into();
    [hash[0], hash[1], hash[2], hash[3]]
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == '+')
}

/// Opens a note: its text, if a key of `keys` has signed it. Signatures by others are passed over.
///
/// # Errors
/// [`NoteError::Form`], [`NoteError::Unsigned`] or [`NoteError::Forged`].
pub fn open<'a>(note: &'a [u8], keys: &[VerifierKey]) -> Result<&'a str, NoteError> {
    if note.len() > NOTE_BYTES_MAX {
        return Err(NoteError::Form);
    }
    let note = std::str::from_utf8(note).map_err(|_| NoteError::Form)?;
    if note.chars().any(|c| c != '\n' && c.is_control()) {
        return Err(NoteError::Form);
    }
    let (text, signatures) = note.rsplit_once("\n\n").ok_or(NoteError::Form)?;
    let text = &note[..=text.len()];
    let signatures = signatures.strip_suffix('\n').ok_or(NoteError::Form)?;
    if text == "\n" || signatures.lines().count() > SIGNATURES_MAX {
        return Err(NoteError::Form);
    }
    let mut is_signed = false;
    for line in signatures.split('\n') {
        let (name, blob) = line
            .strip_prefix("— ")
            .and_then(|rest| rest.split_once(' '))
            .ok_or(NoteError::Form)?;
        let blob = STANDARD.decode(blob).map_err(|_| NoteError::Form)?;
        if !is_name(name) || blob.len() < 5 {
            return Err(NoteError::Form);
        }
        let (id, signature) = blob.split_at(4);
        let known = keys.iter().find(|key| key.name == name && key.id == id);
        let Some(known) = known else { continue };
        let forged = || NoteError::Forged(name.to_owned());
        let signature = Signature::from_slice(signature).map_err(|_| forged())?;
        known
            .key
            .verify_strict(text.as_bytes(), &signature)
            .map_err(|_| forged())?;
        is_signed = true;
    }
    if is_signed { Ok(text) } else { Err(NoteError::Unsigned) }
}

/// What a checkpoint says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Log and lane: `kinledger/…/lane/3`.
    pub origin: String,
    /// Events of the lane.
    pub size: u64,
    /// The root of the lane's tree.
    pub root: Hash,
    /// The root of the lane's map of heads.
    pub heads: Hash,
}

impl Checkpoint {
    /// Reads a note's text.
    ///
    /// # Errors
    /// [`NoteError::Checkpoint`].
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let bad = NoteError::Checkpoint;
        let lines: Vec<&str> = text.strip_suffix('\n').unwrap_or(text).split('\n').collect();
        let [origin, size, root, heads] = lines[..] else {
            return Err(bad);
        };
        let number: u64 = size.parse().map_err(|_| bad.clone())?;
        let heads = heads.strip_prefix("heads ").ok_or(bad.clone())?;
        if origin.is_empty() || number.to_string() != size {
            return Err(bad);
        }
        Ok(Self {
            origin: origin.to_owned(),
            size: number,
            root: base64_hash(root).ok_or(bad.clone())?,
            heads: base64_hash(heads).ok_or(bad)?,
        })
    }
}

fn base64_hash(text: &str) -> Option<Hash> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

/// The first line of a note by which a key names its successor.
const TRANSITION: &str = "kinledger key transition v1";

/// Reads a transition: the log's name and the new key.
///
/// # Errors
/// [`NoteError::Form`] or [`NoteError::Key`].
pub(crate) fn transition(text: &str) -> Result<(String, VerifierKey), NoteError> {
    let lines: Vec<&str> = text.strip_suffix('\n').unwrap_or(text).split('\n').collect();
    let [TRANSITION, log, key] = lines[..] else {
        return Err(NoteError::Form);
    };
    Ok((log.to_owned(), VerifierKey::parse(key)?))
}
