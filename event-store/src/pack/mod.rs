//! The auditor's pack: a family's sealed history with everything that is needed to verify it without us. docs/proofs.md is
//! its specification; the crate `verifier` reads it.
//!
//! It holds what is stored, not what should be: a ledger that was altered is packed as it is, and the verifier names the
//! event. Only the journals are left out then, for nobody can keep books on it.
//!
//! What is written is read in pages and goes through a bounded channel, so memory does not grow with the history. The pack
//! ends at the newest checkpoint: events after it are not sealed yet.

mod container;
mod lines;

use std::{collections::BTreeSet, fmt::Write};

use domain::id::FamilyId;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

pub use container::{write_folder, write_zip};
use lines::read_page;

use crate::{
    Lane, Log, LogError,
    export::{self, ExportError},
    replay::{AsOf, ReplayError},
    seal::{
        self, Hash,
        proofs::{self, ProvenHead},
        tree::{self, Node, cover},
    },
};

/// Events read from the database at once.
const PAGE: i64 = 1_000;
/// Checkpoints in a pack at most, beside those that were asked for.
const CHECKPOINTS_MAX: i64 = 512;
/// Checkpoints that may be asked for.
pub const WANTED_MAX: usize = 256;
/// Pages on their way at most.
pub const PARTS_MAX: usize = 4;

/// A piece of a pack on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// A file begins; the one before is over.
    File(String),
    /// The next bytes of the file.
    Bytes {
        /// The bytes.
        bytes: Vec<u8>,
        /// Events of the history written so far.
        events: i64,
    },
    /// The pack is whole. Without this mark it is not.
    End,
}

/// What a pack came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// Events in it.
    pub events: i64,
    /// Events of the lane that its checkpoint covers.
    pub checkpoint: u64,
    /// The last event's chain hash.
    pub chain_hash: Hash,
    /// Why the journals were left out, when the ledger cannot be read.
    pub without_journals: Option<String>,
}

/// Why there is no pack.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The log cannot be read.
    #[error("cannot read the log")]
    Log(#[from] LogError),
    /// Nothing of the family is under a checkpoint yet.
    #[error("nothing of this family has been sealed yet; is a sealer running?")]
    NotSealed,
    /// Nobody reads it any more.
    #[error("the reader went away")]
    ReaderGone,
    /// The journals could not be written, for another reason than the ledger.
    #[error("cannot write the journals")]
    Journal(#[source] ExportError),
}

/// Writes a family's pack into `out`, piece by piece. `wanted` are sizes of checkpoints that the reader has kept and wants to
/// compare. The pack is whole only if this returns without an error.
///
/// # Errors
/// [`PackError`].
pub async fn pack(
    log: &Log,
    lane: Lane,
    family: FamilyId,
    wanted: &[u64],
    out: mpsc::Sender<Part>,
) -> Result<Packed, PackError> {
    let head = proofs::head(log.pool(), lane, family.uuid())
        .await?
        .ok_or(PackError::NotSealed)?;
    let log_name = seal::log_name(log.pool()).await?;
    let mut writing = Writing {
        out,
        files: Vec::new(),
        events: 0,
    };
    writing
        .whole("README.txt", readme(&log_name, family).into_bytes())
        .await?;
    for key in seal::known_keys(log.pool()).await? {
        if let Some(transition) = key.transition {
            writing
                .whole(&format!("keys/{:04}.note", key.number), transition.into_bytes())
                .await?;
        }
    }
    let cuts = checkpoints(log, lane, &head, wanted, &mut writing).await?;
    writing.whole("head.json", head_file(&head).into_bytes()).await?;
    let (events, chain_hash) = write_events(log, lane, family, &cuts, &mut writing).await?;
    let mut without_journals = None;
    for (name, format) in [("ledger.beancount", "beancount"), ("ledger.journal", "hledger")] {
        if without_journals.is_none() {
            without_journals = journal(log, lane, family, events, name, format, &mut writing).await?;
        }
    }
    writing
        .end(&log_name, lane, family, events, head.checkpoint.size)
        .await?;
    Ok(Packed {
        events,
        checkpoint: head.checkpoint.size,
        chain_hash,
        without_journals,
    })
}

/// Writes the checkpoints, and says at which sizes the tree is cut: at each of theirs.
async fn checkpoints(
    log: &Log,
    lane: Lane,
    head: &ProvenHead,
    wanted: &[u64],
    writing: &mut Writing,
) -> Result<Vec<u64>, PackError> {
    let size = head.checkpoint.size;
    let mut cuts: BTreeSet<u64> = proofs::sizes(log.pool(), lane, size, CHECKPOINTS_MAX)
        .await?
        .into_iter()
        .collect();
    cuts.extend(wanted.iter().copied().filter(|wanted| *wanted < size).take(WANTED_MAX));
    cuts.insert(size);
    let mut there = Vec::new();
    for cut in cuts {
        let Some(found) = proofs::checkpoint(log.pool(), lane, Some(cut)).await? else {
            continue;
        };
        writing
            .whole(&format!("checkpoints/{cut:020}.note"), found.note.into_bytes())
            .await?;
        there.push(cut);
    }
    Ok(there)
}

fn head_file(head: &ProvenHead) -> String {
    let siblings: Vec<String> = head.siblings.iter().map(hex::encode).collect();
    format!(
        "{{\"family_seq\":{},\"position\":{},\"chain_hash\":\"{}\",\"siblings\":{}}}\n",
        head.family_seq,
        head.position,
        hex::encode(head.chain_hash),
        json!(siblings)
    )
}

async fn write_events(
    log: &Log,
    lane: Lane,
    family: FamilyId,
    cuts: &[u64],
    writing: &mut Writing,
) -> Result<(i64, Hash), PackError> {
    let size = cuts.last().copied().unwrap_or(0);
    let mut at = 0;
    let mut last = (0, [0; 32]);
    writing.file("events.ndjson").await?;
    loop {
        let page = read_page(log, lane, family, last.0, size, PAGE).await?;
        let mut gaps = Vec::with_capacity(page.len());
        for line in &page {
            // A position that cannot be is written as it is; the verifier stops there.
            let is_next = line.position > at && line.position <= size;
            gaps.push(if is_next {
                let mut nodes = cover_cut(at, line.position - 1, cuts);
                nodes.push(Node {
                    height: 0,
                    index: line.position - 1,
                });
                at = line.position;
                nodes
            } else {
                Vec::new()
            });
        }
        let hashes = tree::read(log.pool(), lane, &gaps.concat()).await?;
        let mut rest = hashes.as_slice();
        let mut text = String::new();
        for (line, nodes) in page.iter().zip(&gaps) {
            let (mine, others) = rest.split_at(nodes.len());
            rest = others;
            let (leaf, before) = mine
                .split_last()
                .map_or(([0; 32], mine), |(leaf, before)| (*leaf, before));
            line.write(&mut text, &leaf, before);
            last = (line.family_seq, line.chain_hash);
        }
        let is_last = page.len() < usize::try_from(PAGE).unwrap_or(0);
        writing.events = last.0;
        if is_last {
            let after = tree::read(log.pool(), lane, &cover_cut(at, size, cuts)).await?;
            lines::write_end(&mut text, last.0, &last.1, size, &after);
        }
        writing.bytes(text.into_bytes()).await?;
        if is_last {
            return Ok(last);
        }
    }
}

/// The nodes that cover `from..to`, cut at every checkpoint.
fn cover_cut(from: u64, to: u64, cuts: &[u64]) -> Vec<Node> {
    let mut nodes = Vec::new();
    let mut at = from;
    let first = cuts.partition_point(|cut| *cut <= from);
    for cut in cuts[first..].iter().copied().take_while(|cut| *cut < to).chain([to]) {
        nodes.extend(cover(at, cut));
        at = cut;
    }
    nodes
}

/// Writes a journal. Says why, when the ledger does not let itself be read.
async fn journal(
    log: &Log,
    lane: Lane,
    family: FamilyId,
    events: i64,
    name: &str,
    format: &str,
    writing: &mut Writing,
) -> Result<Option<String>, PackError> {
    let Some(format) = export::format(format) else {
        return Ok(Some(format!("there is no format {format}")));
    };
    let as_of = AsOf {
        family_seq: Some(events),
        ..AsOf::default()
    };
    let (sender, mut chunks) = mpsc::channel(PARTS_MAX);
    let export = export::export(log, lane, family, format, as_of, sender);
    let forward = async {
        let mut is_begun = false;
        while let Some(chunk) = chunks.recv().await {
            if chunk.text.is_empty() {
                continue;
            }
            // Nothing is written while the first pass may still find the ledger unreadable.
            if !is_begun {
                writing.file(name).await?;
                is_begun = true;
            }
            writing.bytes(chunk.text.into_bytes()).await?;
        }
        Ok::<_, PackError>(())
    };
    let (exported, forwarded) = tokio::join!(export, forward);
    match exported {
        Ok(_) => forwarded.map(|()| None),
        Err(ExportError::ReaderGone) => forwarded.and(Err(PackError::ReaderGone)),
        Err(ExportError::Replay(ReplayError::Log(error)))
            if !matches!(error, LogError::Inconsistent(_) | LogError::Decode { .. }) && error.is_unavailable() =>
        {
            Err(PackError::Log(error))
        }
        Err(ExportError::Replay(error)) => forwarded.map(|()| Some(error.to_string())),
        Err(error) => Err(PackError::Journal(error)),
    }
}

/// Files on their way, each hashed for the manifest.
struct Writing {
    out: mpsc::Sender<Part>,
    files: Vec<(String, u64, Sha256)>,
    events: i64,
}

impl Writing {
    async fn send(&mut self, part: Part) -> Result<(), PackError> {
        self.out.send(part).await.map_err(|_| PackError::ReaderGone)
    }

    async fn file(&mut self, name: &str) -> Result<(), PackError> {
        self.files.push((name.to_owned(), 0, Sha256::new()));
        self.send(Part::File(name.to_owned())).await
    }

    async fn bytes(&mut self, bytes: Vec<u8>) -> Result<(), PackError> {
        if let Some((_, length, hash)) = self.files.last_mut() {
            *length += bytes.len() as u64;
            hash.update(&bytes);
        }
        let events = self.events;
        self.send(Part::Bytes { bytes, events }).await
    }

    async fn whole(&mut self, name: &str, bytes: Vec<u8>) -> Result<(), PackError> {
        self.file(name).await?;
        self.bytes(bytes).await
    }

    /// The manifest, which names all files before it.
    async fn end(
        &mut self,
        log: &str,
        lane: Lane,
        family: FamilyId,
        events: i64,
        checkpoint: u64,
    ) -> Result<(), PackError> {
        let mut files = std::mem::take(&mut self.files);
        files.sort_by(|(a, ..), (b, ..)| a.cmp(b));
        let mut text = format!(
            "{{\"format\":\"kinledger-pack/1\",\"log\":{},\"lane\":{lane},\"family_id\":\"{}\",\"events\":{events},\"checkpoint\":{checkpoint},\"files\":[",
            json!(log),
            family.uuid()
        );
        for (number, (name, bytes, hash)) in files.into_iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            let sha256 = hex::encode(hash.finalize());
            // Writing to a string cannot fail.
            let _ = write!(
                text,
                "{comma}{{\"name\":{},\"bytes\":{bytes},\"sha256\":\"{sha256}\"}}",
                json!(name)
            );
        }
        text.push_str("]}\n");
        self.send(Part::File("manifest.json".to_owned())).await?;
        let (bytes, events) = (text.into_bytes(), self.events);
        self.send(Part::Bytes { bytes, events }).await?;
        self.send(Part::End).await
    }
}

fn readme(log: &str, family: FamilyId) -> String {
    include_str!("README.txt")
        .replace("{log}", log)
        .replace("{family}", &family.uuid().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cover_is_cut_at_every_checkpoint() {
        let ends = |nodes: Vec<Node>| {
            nodes
                .iter()
                .map(|node| (node.index + 1) << node.height)
                .collect::<Vec<_>>()
        };
        assert_eq!(ends(cover_cut(0, 8, &[8])), [8]);
        assert_eq!(ends(cover_cut(0, 8, &[3, 8])), [2, 3, 4, 8]);
        assert_eq!(ends(cover_cut(3, 8, &[3, 8])), [4, 8]);
        assert_eq!(ends(cover_cut(5, 5, &[3, 5, 8])), [0; 0]);
    }
}
