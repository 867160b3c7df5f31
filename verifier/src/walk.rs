//! The walk over the events: each is held against its own hashes, and the lane's tree grows with them from left to right.

use std::io;

use crate::{
    checkpoints::Cut,
    event::{End, Event},
    hash::{Hash, ZERO},
    heads::Head,
    kept::KeptLane,
    manifest::{EVENTS, Seen},
    pack::Pack,
    postings::Postings,
    report::{Fault, Report, What},
    tree::{Frontier, heights},
};

/// Where the walk has come to.
pub(crate) struct Walk<'a> {
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

impl<'a> Walk<'a> {
    /// Before the first event of a family in a lane.
    pub(crate) fn new(
        family_id: [u8; 16],
        lane: u16,
        cuts: &'a [Cut],
        kept: &'a KeptLane,
        report: &'a mut Report,
    ) -> Self {
        Self {
            family_id,
            lane,
            cuts,
            kept,
            tree: Frontier::default(),
            family_seq: 0,
            position: 0,
            chain_hash: ZERO,
            good_until: 0,
            next_cut: 0,
            next_kept: 0,
            compared: vec![false; kept.checkpoints.len()],
            postings: Postings::default(),
            report,
        }
    }

    /// Where the events ended, and what they say of money.
    pub(crate) fn ended(self) -> (Head, Postings) {
        let head = Head {
            family_seq: self.family_seq,
            position: self.position,
            chain_hash: self.chain_hash,
        };
        (head, self.postings)
    }

    /// True when the walk came to its end without a fault.
    pub(crate) fn events(&mut self, pack: &mut Pack, seen: &mut Seen) -> io::Result<bool> {
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
            if *is_compared || kept.size > size {
                continue;
            }
            if kept.size == 0 || kept.size <= self.kept.leaves.len() as u64 {
                // Its leaves were compared one by one.
                self.report.kept_checkpoints += 1;
            } else {
                self.report.pass_over(Fault::file(name, What::NotCompared(kept.size)));
            }
        }
        // Of those that are newer than the pack, the newest says it all.
        if let Some((name, kept)) = self.kept.checkpoints.last().filter(|(_, kept)| kept.size > size) {
            let what = What::EndsBefore { size, kept: kept.size };
            self.report.pass_over(Fault::at(name, self.family_seq + 1, what));
        }
    }
}
