//! Checkpoints as signed notes (c2sp.org/signed-note, c2sp.org/tlog-checkpoint).
//!
//! ```text
//! kinledger/0b5e…/lane/3                                   the origin
//! 4242                                                     events of the lane
//! CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=             the root of the lane's tree
//! heads b1Xl3QIgLWrZIDtVOxtdh4XARzcMEqZmnSGS4YWbFmU=       the root of the lane's map of heads
//!
//! — kinledger/0b5e… Az3grlgt…                              Ed25519
//! ```

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{Hash, KeyError, SealingKey};
use crate::Lane;

/// The origin of a lane's checkpoints.
pub fn origin(log: &str, lane: Lane) -> String {
    format!("{log}/lane/{lane}")
}

/// A signed checkpoint.
///
/// # Errors
/// [`KeyError::Sign`].
pub fn checkpoint(key: &SealingKey, lane: Lane, size: u64, root: &Hash, heads: &Hash) -> Result<String, KeyError> {
    let text = format!(
        "{}\n{size}\n{}\nheads {}\n",
        origin(key.log(), lane),
        STANDARD.encode(root),
        STANDARD.encode(heads)
    );
    key.sign(&text)
}

/// One more signature under a note, as its line; none when it is no note.
pub(super) fn cosignature(key: &SealingKey, note: &str) -> Option<String> {
    let (text, _) = note.rsplit_once("\n\n")?;
    Some(key.signature(&note[..=text.len()]))
}

/// Size and root of a checkpoint, without looking at its signatures; none when it is of another origin or no checkpoint.
pub(super) fn claims(note: &str, origin: &str) -> Option<(u64, Hash)> {
    let mut lines = note.strip_prefix(origin)?.strip_prefix('\n')?.lines();
    let size = lines.next()?.parse().ok()?;
    let root = STANDARD.decode(lines.next()?).ok()?.try_into().ok()?;
    Some((size, root))
}

/// The root of the map of heads that a checkpoint names.
pub(super) fn heads(note: &str) -> Option<Hash> {
    let line = note.lines().nth(3)?.strip_prefix("heads ")?;
    STANDARD.decode(line).ok()?.try_into().ok()
}

/// Do two notes say the same? Signatures may have come to one of them.
pub(super) fn say_the_same(one: &str, other: &str) -> bool {
    let text = |note: &str| note.rsplit_once("\n\n").map(|(text, _)| text.to_owned());
    text(one).is_some() && text(one) == text(other)
}
