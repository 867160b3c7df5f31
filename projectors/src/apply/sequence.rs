//! From delivered records to facts: each family's events once, in order, without a hole, each following from the last.

use std::collections::{BTreeMap, BTreeSet};

use event_store::{Lane, Log, Record, chain};
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

/// Sorts out a batch.
///
/// # Errors
/// When a hole cannot be filled from the log.
pub async fn sequence(
    log: &Log,
    lane: Lane,
    records: Vec<Record>,
    mut heads: BTreeMap<Uuid, Head>,
    parked: &BTreeSet<Uuid>,
) -> Result<Plan, ApplyError> {
    let mut plan = Plan::default();
    let mut waiting = parked.clone();
    for record in records {
        let family = record.family_id.uuid();
        if waiting.contains(&family) {
            continue;
        }
        let head = heads.entry(family).or_insert(Head {
            family_seq: 0,
            chain_hash: chain::GENESIS,
        });
        if record.family_seq <= head.family_seq {
            // The head's own record again must be the same record; another one with its number is a fork.
            if record.family_seq == head.family_seq && record.chain_hash != head.chain_hash {
                waiting.insert(family);
                plan.poisons.push(Poison::of(
                    &record,
                    "another event with this number was folded: the ledger has forked".to_owned(),
                ));
            } else {
                plan.duplicates += 1;
            }
            continue;
        }
        let mut due = fill(log, lane, head, &record).await?;
        plan.filled += due.len();
        due.push(record);
        for record in due {
            match admit(record, head) {
                Ok(fact) => plan.facts.push(fact),
                Err(poison) => {
                    waiting.insert(family);
                    plan.poisons.push(*poison);
                    break;
                }
            }
        }
    }
    if plan.filled > 0 {
        metrics::counter!("kinledger_projector_gaps_filled_total").increment(plan.filled as u64);
        tracing::warn!(
            lane = lane.0,
            events = plan.filled,
            "the feed left events out; read them from the log"
        );
    }
    Ok(plan)
}

/// The events between a family's head and a record.
async fn fill(log: &Log, lane: Lane, head: &Head, record: &Record) -> Result<Vec<Record>, ApplyError> {
    let mut missing = Vec::new();
    let mut after = head.family_seq;
    while after + 1 < record.family_seq {
        let limit = PAGE.min(record.family_seq - 1 - after);
        let page = log.read_family(lane, record.family_id, after, limit).await?;
        match page.last() {
            Some(last) => after = last.family_seq,
            None => return Err(ApplyError::Hole { family_seq: after + 1 }),
        }
        missing.extend(page);
    }
    Ok(missing)
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
