//! From delivered records to facts: each family's events once, in order, without a hole, each following from the last.

use std::{
    collections::{BTreeMap, BTreeSet},
    vec,
};

use domain::id::FamilyId;
use event_store::{Record, chain};
use uuid::Uuid;

use super::{ApplyError, Head};
use crate::{causes::causes, parking::Poison, projection::Fact};

/// Events read from the log in one go to fill a hole.
const PAGE: i64 = 1_000;

/// What a batch has to do.
#[derive(Debug, Default)]
pub struct Plan {
    /// To be folded, in the lane's order.
    pub facts: Vec<Fact>,
    /// At most one per family; nothing after it is among the facts.
    pub poisons: Vec<Poison>,
    /// Records that the rows hold already.
    pub duplicates: usize,
    /// Records read from the log.
    pub filled: usize,
}

/// What the sorting needs next.
#[derive(Debug)]
pub enum Step {
    /// At most `limit` records of a family above `after_seq`, from the log: the feed has left them out.
    ReadFamily {
        /// Whose.
        family_id: FamilyId,
        /// Above this `family_seq`.
        after_seq: i64,
        /// So many.
        limit: i64,
    },
    /// Nothing: the batch is sorted out.
    Sorted(Plan),
}

/// Sorts out a batch, step by step; it reads nothing itself.
#[derive(Debug)]
pub struct Sequencer {
    plan: Plan,
    records: vec::IntoIter<Record>,
    heads: BTreeMap<Uuid, Head>,
    /// Families whose later events wait in the log.
    waiting: BTreeSet<Uuid>,
    /// The record before which there is a hole, and what was read of the hole.
    hole: Option<(Record, Vec<Record>)>,
}

impl Sequencer {
    /// For the records of a batch, on families that stand at these heads and of which these are parked.
    pub fn new(records: Vec<Record>, heads: BTreeMap<Uuid, Head>, parked: BTreeSet<Uuid>) -> Self {
        Self {
            plan: Plan::default(),
            records: records.into_iter(),
            heads,
            waiting: parked,
            hole: None,
        }
    }

    /// Sorts until the log has to be read, or to the end.
    pub fn sort(&mut self) -> Step {
        while let Some(record) = self.records.next() {
            let family = record.family_id.uuid();
            if self.waiting.contains(&family) {
                continue;
            }
            let head = self.heads.entry(family).or_insert(Head::EMPTY);
            if record.family_seq <= head.family_seq {
                // The head's own record again must be the same record; another one with its number is a fork.
                if record.family_seq == head.family_seq && record.chain_hash != head.chain_hash {
                    self.waiting.insert(family);
                    self.plan.poisons.push(Poison::of(
                        &record,
                        "another event with this number was folded: the ledger has forked".to_owned(),
                    ));
                } else {
                    self.plan.duplicates += 1;
                }
            } else if record.family_seq > head.family_seq + 1 {
                let step = missing(head.family_seq, &record);
                self.hole = Some((record, Vec::new()));
                return step;
            } else {
                self.admit(vec![record]);
            }
        }
        Step::Sorted(std::mem::take(&mut self.plan))
    }

    /// Goes on with what was read to fill a hole.
    ///
    /// # Errors
    /// [`ApplyError::Hole`] when the log does not have it.
    pub fn read(&mut self, page: Vec<Record>) -> Result<Step, ApplyError> {
        let Some((record, mut filled)) = self.hole.take() else {
            return Ok(self.sort());
        };
        let head = self
            .heads
            .get(&record.family_id.uuid())
            .map_or(0, |head| head.family_seq);
        let reached = filled.last().map_or(head, |last: &Record| last.family_seq);
        let Some(last) = page.last().map(|last| last.family_seq) else {
            return Err(ApplyError::Hole {
                family_seq: reached + 1,
            });
        };
        filled.extend(page);
        if last + 1 < record.family_seq {
            let step = missing(last, &record);
            self.hole = Some((record, filled));
            return Ok(step);
        }
        self.plan.filled += filled.len();
        filled.push(record);
        self.admit(filled);
        Ok(self.sort())
    }

    /// Takes records of one family, up to the first that must not be.
    fn admit(&mut self, due: Vec<Record>) {
        for record in due {
            let family = record.family_id.uuid();
            let head = self.heads.entry(family).or_insert(Head::EMPTY);
            match admit(record, head) {
                Ok(fact) => self.plan.facts.push(fact),
                Err(poison) => {
                    self.waiting.insert(family);
                    self.plan.poisons.push(*poison);
                    break;
                }
            }
        }
    }
}

/// The next page of the hole that ends before a record.
fn missing(after_seq: i64, record: &Record) -> Step {
    Step::ReadFamily {
        family_id: record.family_id,
        after_seq,
        limit: PAGE.min(record.family_seq - 1 - after_seq),
    }
}

/// Takes the next record of a family: its hashes must follow, and it must decode.
pub(crate) fn admit(record: Record, head: &mut Head) -> Result<Fact, Box<Poison>> {
    if record.family_seq != head.family_seq + 1 {
        return Err(Box::new(Poison::of(
            &record,
            "the ledger has no event before this one".to_owned(),
        )));
    }
    if !follows(&record, head) {
        return Err(Box::new(Poison::of(
            &record,
            "the chain hash does not follow from the event before".to_owned(),
        )));
    }
    match record.decode() {
        Ok(event) => {
            *head = Head {
                family_seq: record.family_seq,
                chain_hash: record.chain_hash,
            };
            Ok(Fact { record, event })
        }
        Err(error) => Err(Box::new(Poison::of(&record, causes(&error)))),
    }
}

/// Do the record's own bytes give its leaf hash, and does its chain hash follow from the head's?
fn follows(record: &Record, head: &Head) -> bool {
    chain::leaf_of(record) == record.leaf_hash && chain::follows(&head.chain_hash, record)
}
