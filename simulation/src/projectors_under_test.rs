//! Projectors of the lane: several, each the real [`Follower`] and [`Batch`], on the simulated views and either feed.

use event_store::Record;
use projectors::{
    apply::batch::{self, Batch},
    following::{Effect, FollowError, Follower, Input},
};

use crate::{
    log::LANE,
    views::Moved,
    world::{BatchOutcome, Fate, Flight, Who, World},
};

/// Records in one batch.
const BATCH: usize = 9;

/// One instance.
pub(crate) struct Projector {
    number: usize,
    life: u32,
    follower: Option<Follower>,
    /// Is its feed the log itself, or Kafka?
    feeds_from_log: bool,
    /// The batch in its transaction, and whether it is the one that isolates.
    batch: Option<(Batch, u64)>,
    has_forked: bool,
}

impl Projector {
    pub(crate) fn new(number: usize) -> Self {
        Self {
            number,
            life: 0,
            follower: None,
            feeds_from_log: false,
            batch: None,
            has_forked: false,
        }
    }

    fn who(&self) -> Who {
        Who {
            number: self.number,
            life: self.life,
        }
    }
}

impl World {
    pub(crate) fn start_projector(&mut self, number: usize) {
        let feeds_from_log = self.chance.per_mille(400);
        let projector = &mut self.projectors[number];
        let follower = Follower::new(LANE, feeds_from_log, BATCH);
        let effect = follower.begin();
        projector.feeds_from_log = feeds_from_log;
        projector.follower = Some(follower);
        let who = projector.who();
        self.flights.push(Flight::ProjectorAsks(who, effect));
    }

    /// The process dies; its transaction may outlive it for a while.
    pub(crate) fn crash_projector(&mut self, number: usize) {
        self.crashes += 1;
        self.projector_fails(number);
    }

    fn projector_fails(&mut self, number: usize) {
        let projector = &mut self.projectors[number];
        if let Some((_, transaction)) = projector.batch.take() {
            self.flights.push(Flight::RollBack(transaction));
        }
        projector.follower = None;
        projector.life += 1;
        let who = projector.who();
        self.flights.push(Flight::ProjectorWakes(who));
    }

    pub(crate) fn projector_wakes(&mut self, who: Who) {
        if self.projectors[who.number].life == who.life {
            self.start_projector(who.number);
        }
    }

    pub(crate) fn projector_asks(&mut self, who: Who, effect: Effect) {
        if self.projectors[who.number].life != who.life {
            return;
        }
        if let Effect::Apply {
            from,
            to,
            records,
            isolates,
        } = effect
        {
            let batch = Batch::new(LANE, from, to, records, isolates);
            let (transaction, effect) = (self.views.begin(), batch.begin());
            self.projectors[who.number].batch = Some((batch, transaction));
            self.flights.push(Flight::BatchAsks(who, transaction, effect));
            return;
        }
        let fate = self.fate();
        let is_lost = matches!(fate, Fate::Lost | Fate::DoneInVain);
        let input = match effect {
            _ if is_lost => None,
            Effect::ReadCheckpoint => Some(Input::Checkpoint(self.views.checkpoint())),
            Effect::CompareCheckpoint => Some(Input::Differing(self.views.differing(&self.log))),
            Effect::Next { after } => Some(self.feed(who.number, after)),
            Effect::ReadLog { after, limit } => Some(Input::Read(self.log.read_lane(after, limit))),
            Effect::HashAt { position } => Some(Input::Hash(self.log.at(position).map(|record| record.chain_hash))),
            Effect::Rest { .. } => Some(Input::Rested),
            Effect::Apply { .. } => None,
        };
        self.flights.push(Flight::ProjectorHears(who, input));
    }

    /// What a feed delivers. Kafka's may repeat, leave out and mix up; it never says that there is nothing when there is.
    fn feed(&mut self, number: usize, after: i64) -> Input {
        let limit = self.chance.between(1, BATCH);
        if self.projectors[number].feeds_from_log {
            return Input::Delivered(self.log.read_lane(after, limit as i64));
        }
        let later = self.kafka.visible_from(after).filter(|record| record.position > after);
        let mut records: Vec<Record> = later.take(limit).map(|record| Record::clone(record)).collect();
        if self.is_calm || records.is_empty() {
            return Input::Delivered(records);
        }
        match self.chance.below(20) {
            0 => {
                let index = self.chance.below(records.len());
                records.remove(index);
            }
            1 => {
                let index = self.chance.below(records.len());
                records.push(records[index].clone());
            }
            2 => {
                let (one, other) = (self.chance.below(records.len()), self.chance.below(records.len()));
                records.swap(one, other);
            }
            3 if records[0].position > after + 1 => {
                return Input::Gap {
                    found: records[0].position,
                };
            }
            _ => {}
        }
        Input::Delivered(records)
    }

    pub(crate) fn projector_hears(&mut self, who: Who, input: Option<Input>) {
        if self.projectors[who.number].life != who.life {
            return;
        }
        let follower = self.projectors[who.number].follower.as_mut();
        match (follower, input) {
            (Some(follower), Some(input)) => match follower.handle(input) {
                Ok(effect) => self.flights.push(Flight::ProjectorAsks(who, effect)),
                Err(error) => self.projector_stops(who.number, &error),
            },
            _ => self.projector_fails(who.number),
        }
    }

    fn projector_stops(&mut self, number: usize, error: &FollowError) {
        match error {
            FollowError::Fork(_) if self.lost.is_none() => {
                self.violated(format!("a projector reports a fork and there is none: {error}"));
            }
            FollowError::Fork(_) => self.projectors[number].has_forked = true,
            FollowError::Unfoldable => self.violated("a batch fails even event by event"),
            FollowError::Hole { .. } => {}
        }
        self.projector_fails(number);
    }

    pub(crate) fn batch_asks(&mut self, who: Who, transaction: u64, effect: batch::Effect) {
        let begins = matches!(effect, batch::Effect::MoveCheckpoint { .. });
        let is_heard = self.projectors[who.number].life == who.life;
        if begins && !is_heard {
            // Nobody is there to go on with it; the connection's end rolls it back.
            return;
        }
        let fate = self.fate();
        if fate == Fate::Lost || (!begins && !self.views.is_open(transaction)) {
            self.flights
                .push(Flight::BatchHears(who, transaction, BatchOutcome::Failed));
            return;
        }
        let outcome = match effect {
            batch::Effect::MoveCheckpoint { from, to, chain_hash } => {
                match self
                    .views
                    .move_checkpoint(transaction, (from, to), chain_hash, &self.log)
                {
                    Moved::Waits => {
                        let again = batch::Effect::MoveCheckpoint { from, to, chain_hash };
                        self.flights.push(Flight::BatchAsks(who, transaction, again));
                        return;
                    }
                    Moved::Answer(is_moved) => BatchOutcome::Went(batch::Input::Moved(is_moved)),
                }
            }
            batch::Effect::LoadFamilies { families } => {
                let (heads, parked) = self.views.families(&families);
                BatchOutcome::Went(batch::Input::Families { heads, parked })
            }
            batch::Effect::ReadFamily {
                family_id,
                after_seq,
                limit,
            } => {
                // A page may be short: readers have to ask again.
                let limit = self.chance.between(1, usize::try_from(limit).unwrap_or(1)) as i64;
                BatchOutcome::Went(batch::Input::Read(self.log.read_family(family_id, after_seq, limit)))
            }
            batch::Effect::Fold { facts } => match self.views.fold(transaction, &facts) {
                Ok(()) => BatchOutcome::Went(batch::Input::Folded(facts)),
                Err(_) => BatchOutcome::AboutEvents,
            },
            batch::Effect::Try { facts } => {
                let failure = self.views.fold(transaction, &facts).err();
                BatchOutcome::Went(batch::Input::Tried { facts, failure })
            }
            batch::Effect::Commit { facts, poisons } => {
                let Some(written) = self.views.commit(transaction, &facts, &poisons) else {
                    return;
                };
                self.check_written(&written);
                BatchOutcome::Went(batch::Input::Committed)
            }
            batch::Effect::Done(_) => return,
        };
        let outcome = match fate {
            Fate::DoneInVain => BatchOutcome::Failed,
            _ => outcome,
        };
        self.flights.push(Flight::BatchHears(who, transaction, outcome));
    }

    pub(crate) fn batch_hears(&mut self, who: Who, transaction: u64, outcome: BatchOutcome) {
        let projector = &mut self.projectors[who.number];
        if projector.life != who.life {
            return;
        }
        let Some((batch, _)) = projector.batch.as_mut() else {
            return;
        };
        match outcome {
            BatchOutcome::Went(input) => match batch.handle(input) {
                Ok(batch::Effect::Done(_)) => {
                    projector.batch = None;
                    self.projector_hears(who, Some(Input::Applied));
                }
                Ok(effect) => self.flights.push(Flight::BatchAsks(who, transaction, effect)),
                Err(_) => self.projector_fails(who.number),
            },
            BatchOutcome::Failed => self.projector_fails(who.number),
            BatchOutcome::AboutEvents => {
                projector.batch = None;
                self.views.roll_back(transaction);
                self.projector_hears(who, Some(Input::Failed));
            }
        }
    }

    /// Rows that were just committed are of this log, and each family's in order, once.
    fn check_written(&mut self, written: &[Record]) {
        for record in written {
            let ours = self.log.at(record.position);
            if ours.is_none_or(|ours| ours.chain_hash != record.chain_hash) {
                self.violated(format!("rows hold record {}, which is not in the log", record.position));
            }
        }
        let families: std::collections::BTreeSet<_> = written.iter().map(|record| record.family_id).collect();
        for family in families {
            let Some(rows) = self.views.rows().get(&family.uuid()) else {
                continue;
            };
            let log = self.log.of_family(family).map(|record| record.chain_hash);
            let differs = rows.events.iter().zip(log).any(|(row, event)| *row != event);
            if differs || rows.events.len() as i64 > self.log.family_head(family) {
                self.violated(format!("rows of {family} are not the beginning of its ledger"));
            }
        }
    }
}
