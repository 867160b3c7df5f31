//! One batch on its way into the rows, as a state machine: no IO. The parent module tells the protocol.
//!
//! All effects of a batch happen in one transaction, one after another. There is no input for a failure of the database:
//! whatever fails, the driver rolls the transaction back and drops the machine.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map},
    vec,
};

use domain::id::FamilyId;
use event_store::{Lane, Record};
use uuid::Uuid;

use super::{
    Applied, ApplyError, Head,
    sequence::{Plan, Sequencer, Step},
};
use crate::{parking::Poison, projection::Fact};

/// What has to be done next, in the batch's transaction.
#[derive(Debug)]
pub enum Effect {
    /// Move the checkpoint, if it still stands at `from` and the log still holds the record it is moved to.
    MoveCheckpoint {
        /// Where it has to stand.
        from: i64,
        /// Where it is moved.
        to: i64,
        /// The chain hash of the record there; none when the batch does not end with it.
        chain_hash: Option<[u8; 32]>,
    },
    /// Read where these families stand, and which of them are parked.
    LoadFamilies {
        /// Sorted, each once.
        families: Vec<Uuid>,
    },
    /// Read records of a family from the log.
    ReadFamily {
        /// Whose.
        family_id: FamilyId,
        /// Above this `family_seq`.
        after_seq: i64,
        /// So many.
        limit: i64,
    },
    /// Fold facts into every read model; a failure is the batch's.
    Fold {
        /// In the lane's order; come back with the input.
        facts: Vec<Fact>,
    },
    /// Fold facts of one family behind a savepoint; a failure that is about the events undoes only this.
    Try {
        /// In the ledger's order; come back with the input.
        facts: Vec<Fact>,
    },
    /// Save the heads that these facts lead to, park these families, and commit.
    Commit {
        /// What was folded.
        facts: Vec<Fact>,
        /// What could not be.
        poisons: Vec<Poison>,
    },
    /// Nothing: it is committed.
    Done(Applied),
}

/// What came of it.
#[derive(Debug)]
pub enum Input {
    /// Of [`Effect::MoveCheckpoint`]: was it?
    Moved(bool),
    /// Of [`Effect::LoadFamilies`].
    Families {
        /// Those that have one.
        heads: BTreeMap<Uuid, Head>,
        /// Those that are.
        parked: BTreeSet<Uuid>,
    },
    /// Of [`Effect::ReadFamily`].
    Read(Vec<Record>),
    /// Of [`Effect::Fold`].
    Folded(Vec<Fact>),
    /// Of [`Effect::Try`].
    Tried {
        /// The effect's.
        facts: Vec<Fact>,
        /// Why not, with causes.
        failure: Option<String>,
    },
    /// Of [`Effect::Commit`].
    Committed,
}

#[derive(Debug)]
enum State {
    MovingCheckpoint(Vec<Record>),
    LoadingFamilies(Vec<Record>),
    Sequencing(Box<Sequencer>),
    Folding(Plan),
    Isolating(Isolation),
    Committing(Applied),
    Over,
}

/// Finding the event that cannot be folded: family by family, and in one that fails, event by event.
#[derive(Debug)]
struct Isolation {
    /// What is folded and what is not, so far.
    plan: Plan,
    families: btree_map::IntoValues<Uuid, Vec<Fact>>,
    /// The rest of a family that failed as a whole.
    one_by_one: Option<vec::IntoIter<Fact>>,
}

/// One batch of one lane.
#[derive(Debug)]
pub struct Batch {
    lane: Lane,
    from: i64,
    to: i64,
    isolates: bool,
    state: State,
}

impl Batch {
    /// The records of a lane that follow its checkpoint `from`, up to `to`. With `isolates`, a failing family is found and
    /// parked; without, its failure is the batch's.
    pub fn new(lane: Lane, from: i64, to: i64, records: Vec<Record>, isolates: bool) -> Self {
        Self {
            lane,
            from,
            to,
            isolates,
            state: State::MovingCheckpoint(records),
        }
    }

    /// The first thing to do: the checkpoint, which is also the lock.
    pub fn begin(&self) -> Effect {
        let last = match &self.state {
            State::MovingCheckpoint(records) => records.last(),
            _ => None,
        };
        Effect::MoveCheckpoint {
            from: self.from,
            to: self.to,
            chain_hash: last
                .filter(|record| record.position == self.to)
                .map(|record| record.chain_hash),
        }
    }

    /// Takes in what came of the last effect, and says what to do next.
    ///
    /// # Errors
    /// [`ApplyError::Zombie`] or [`ApplyError::Hole`]: to be rolled back.
    ///
    /// # Panics
    /// When the input belongs to another effect than the last one: that is a driver's mistake.
    pub fn handle(&mut self, input: Input) -> Result<Effect, ApplyError> {
        match (std::mem::replace(&mut self.state, State::Over), input) {
            (State::MovingCheckpoint(records), Input::Moved(true)) => {
                let mut families: Vec<Uuid> = records.iter().map(|record| record.family_id.uuid()).collect();
                families.sort_unstable();
                families.dedup();
                self.state = State::LoadingFamilies(records);
                Ok(Effect::LoadFamilies { families })
            }
            (State::MovingCheckpoint(_), Input::Moved(false)) => Err(ApplyError::Zombie { lane: self.lane.0 }),
            (State::LoadingFamilies(records), Input::Families { heads, parked }) => {
                let mut sequencer = Box::new(Sequencer::new(records, heads, parked));
                let step = sequencer.sort();
                Ok(self.sort(sequencer, step))
            }
            (State::Sequencing(mut sequencer), Input::Read(page)) => {
                let step = sequencer.read(page)?;
                Ok(self.sort(sequencer, step))
            }
            (State::Folding(plan), Input::Folded(facts)) => Ok(self.commit(Plan { facts, ..plan })),
            (State::Isolating(mut isolation), Input::Tried { facts, failure }) => {
                isolation.tried(facts, failure);
                Ok(self.isolate(isolation))
            }
            (State::Committing(applied), Input::Committed) => Ok(Effect::Done(applied)),
            (state, input) => panic!("{input:?} is no answer to {state:?}"),
        }
    }

    fn sort(&mut self, sequencer: Box<Sequencer>, step: Step) -> Effect {
        match step {
            Step::ReadFamily {
                family_id,
                after_seq,
                limit,
            } => {
                self.state = State::Sequencing(sequencer);
                Effect::ReadFamily {
                    family_id,
                    after_seq,
                    limit,
                }
            }
            Step::Sorted(plan) => self.fold(plan),
        }
    }

    fn fold(&mut self, mut plan: Plan) -> Effect {
        if plan.filled > 0 {
            metrics::counter!("kinledger_projector_gaps_filled_total").increment(plan.filled as u64);
            tracing::warn!(
                lane = self.lane.0,
                events = plan.filled,
                "the feed left events out; read them from the log"
            );
        }
        if plan.facts.is_empty() {
            return self.commit(plan);
        }
        let facts = std::mem::take(&mut plan.facts);
        if self.isolates {
            return self.isolate(Isolation::new(plan, facts));
        }
        self.state = State::Folding(plan);
        Effect::Fold { facts }
    }

    fn isolate(&mut self, mut isolation: Isolation) -> Effect {
        match isolation.next() {
            Some(facts) => {
                self.state = State::Isolating(isolation);
                Effect::Try { facts }
            }
            None => self.commit(isolation.plan),
        }
    }

    fn commit(&mut self, plan: Plan) -> Effect {
        self.state = State::Committing(Applied {
            events: plan.facts.len(),
            duplicates: plan.duplicates,
            filled: plan.filled,
            parked: plan.poisons.len(),
        });
        Effect::Commit {
            facts: plan.facts,
            poisons: plan.poisons,
        }
    }
}

impl Isolation {
    fn new(plan: Plan, facts: Vec<Fact>) -> Self {
        let mut families: BTreeMap<Uuid, Vec<Fact>> = BTreeMap::new();
        for fact in facts {
            families.entry(fact.family()).or_default().push(fact);
        }
        Self {
            plan,
            families: families.into_values(),
            one_by_one: None,
        }
    }

    fn next(&mut self) -> Option<Vec<Fact>> {
        let single = self.one_by_one.as_mut().and_then(Iterator::next).map(|fact| vec![fact]);
        if single.is_none() {
            self.one_by_one = None;
        }
        single.or_else(|| self.families.next())
    }

    fn tried(&mut self, facts: Vec<Fact>, failure: Option<String>) {
        match (failure, self.one_by_one.is_some()) {
            (None, _) => self.plan.facts.extend(facts),
            (Some(_), false) => self.one_by_one = Some(facts.into_iter()),
            (Some(failure), true) => {
                // What comes after it in the family waits in the log.
                self.one_by_one = None;
                for fact in facts {
                    // One poison a family: it came before whatever the sorting found in this family.
                    self.plan.poisons.retain(|poison| poison.family_id != fact.family());
                    self.plan.poisons.push(Poison::of(&fact.record, failure.clone()));
                }
            }
        }
    }
}
