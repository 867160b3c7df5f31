//! Following a lane, as a state machine: no IO, no clock.
//!
//! 1. *Where are the rows?* The checkpoint, and whether the log still holds the record it stands at ([`crate::forks`]).
//! 2. *What comes next?* A batch from the feed, made whole: positions of a lane are contiguous, so what is missing was lost on
//!    the way and is read from the log, and what is known is dropped.
//! 3. *Is it of this log?* What comes from elsewhere may hold what the log has lost, so its last record is compared.
//! 4. *Apply it* ([`crate::apply`]), and go on with 2. A batch that fails because of its events is tried whole a few times,
//!    then family by family, which finds the event and parks it.
//!
//! There is no input for an outage: whatever fails otherwise, the driver drops the machine and begins with 1 again after a
//! pause. That is also what a crash does, so both are the same path.

use std::vec;

use event_store::{Lane, Record};

use crate::forks::Fork;

/// Records in one batch, and so in one transaction.
pub const BATCH_MAX: usize = 5_000;
/// Tries of a whole batch before the failing family is singled out.
const TRIES_MAX: u32 = 3;

/// What has to be done next.
#[derive(Debug)]
pub enum Effect {
    /// Read the checkpoint; make it when there is none.
    ReadCheckpoint,
    /// Does the log hold the record the rows end with?
    CompareCheckpoint,
    /// Ask the feed for what comes next.
    Next {
        /// Above this position.
        after: i64,
    },
    /// Read from the log what the feed has left out.
    ReadLog {
        /// Above this position.
        after: i64,
        /// So many.
        limit: i64,
    },
    /// Read the chain hash the log has at a position.
    HashAt {
        /// The position.
        position: i64,
    },
    /// Apply a batch: [`crate::apply::Applier::apply`].
    Apply {
        /// Where the checkpoint has to stand.
        from: i64,
        /// Where it goes.
        to: i64,
        /// The records between, without a hole.
        records: Vec<Record>,
        /// Is a failing family to be found and parked?
        isolates: bool,
    },
    /// A batch has failed so many times: wait a little.
    Rest {
        /// From 1.
        tries: u32,
    },
}

/// What came of it.
#[derive(Debug)]
pub enum Input {
    /// Of [`Effect::ReadCheckpoint`].
    Checkpoint(i64),
    /// Of [`Effect::CompareCheckpoint`]: the position of a record that the log does not hold.
    Differing(Option<i64>),
    /// Of [`Effect::Next`]; may be empty, and need not keep the feed's contract.
    Delivered(Vec<Record>),
    /// Of [`Effect::Next`]: the feed has only what begins at this position.
    Gap {
        /// The position.
        found: i64,
    },
    /// Of [`Effect::ReadLog`].
    Read(Vec<Record>),
    /// Of [`Effect::HashAt`]; none when the log does not reach so far.
    Hash(Option<[u8; 32]>),
    /// Of [`Effect::Apply`].
    Applied,
    /// Of [`Effect::Apply`]: [`crate::apply::ApplyError::is_about_events`].
    Failed,
    /// Of [`Effect::Rest`].
    Rested,
}

/// Why a lane cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FollowError {
    /// The log ends before a record that was delivered.
    #[error("the log has no record at position {position}, before one that was delivered")]
    Hole {
        /// The first position missing.
        position: i64,
    },
    /// The log is not the one that was folded or delivered.
    #[error("the log is not the one that was folded")]
    Fork(#[from] Fork),
    /// A batch failed family by family, which parks whatever fails because of its events.
    #[error("a batch failed even family by family")]
    Unfoldable,
}

#[derive(Debug)]
enum State {
    ReadingCheckpoint,
    ComparingCheckpoint,
    Waiting,
    /// Records made whole so far, and what was delivered after them.
    Filling(Vec<Record>, vec::IntoIter<Record>, Option<Box<Record>>),
    Comparing(Vec<Record>),
    Applying(i64),
    Resting,
}

/// One task's way through a lane, from its checkpoint to the first failure.
#[derive(Debug)]
pub struct Follower {
    lane: Lane,
    feeds_from_log: bool,
    batch_max: usize,
    checkpoint: i64,
    tries: u32,
    state: State,
}

impl Follower {
    /// A task that knows nothing yet. `feeds_from_log`: what it is fed is the log itself.
    pub fn new(lane: Lane, feeds_from_log: bool, batch_max: usize) -> Self {
        Self {
            lane,
            feeds_from_log,
            batch_max: batch_max.max(1),
            checkpoint: 0,
            tries: 0,
            state: State::ReadingCheckpoint,
        }
    }

    /// Up to where the rows are known to be folded.
    pub fn checkpoint(&self) -> i64 {
        self.checkpoint
    }

    /// The first thing to do.
    pub fn begin(&self) -> Effect {
        Effect::ReadCheckpoint
    }

    /// Takes in what came of the last effect, and says what to do next.
    ///
    /// # Errors
    /// [`FollowError`]. The machine is of no more use then.
    ///
    /// # Panics
    /// When the input belongs to another effect than the last one: that is a driver's mistake.
    pub fn handle(&mut self, input: Input) -> Result<Effect, FollowError> {
        match (std::mem::replace(&mut self.state, State::Resting), input) {
            (State::ReadingCheckpoint, Input::Checkpoint(position)) => {
                self.checkpoint = position;
                self.state = State::ComparingCheckpoint;
                Ok(Effect::CompareCheckpoint)
            }
            (State::ComparingCheckpoint, Input::Differing(Some(position))) => {
                Err(Fork::of_rows(self.lane, position).into())
            }
            (State::ComparingCheckpoint, Input::Differing(None)) => Ok(self.next()),
            (State::Waiting, Input::Delivered(records)) => {
                let room = records.len().min(self.batch_max);
                self.make_whole(Vec::with_capacity(room), records.into_iter())
            }
            (State::Waiting, Input::Gap { found }) => {
                let after = self.checkpoint;
                Ok(self.read_log(Vec::new(), Vec::new().into_iter(), None, after, found))
            }
            (State::Filling(whole, delivered, after_hole), Input::Read(page)) => {
                self.filled(whole, delivered, after_hole, page)
            }
            (State::Comparing(records), Input::Hash(ours)) => {
                let last = records.last().expect("only what is there is compared");
                if ours == Some(last.chain_hash) {
                    Ok(self.apply(records))
                } else {
                    Err(Fork::of_delivered(last).into())
                }
            }
            (State::Applying(to), Input::Applied) => {
                self.checkpoint = to;
                self.tries = 0;
                Ok(self.next())
            }
            (State::Applying(_), Input::Failed) => {
                if self.tries >= TRIES_MAX {
                    return Err(FollowError::Unfoldable);
                }
                self.tries += 1;
                self.state = State::Resting;
                let tries = self.tries;
                Ok(Effect::Rest { tries })
            }
            (State::Resting, Input::Rested) => Ok(self.next()),
            (state, input) => panic!("{input:?} is no answer to {state:?}"),
        }
    }

    fn next(&mut self) -> Effect {
        self.state = State::Waiting;
        Effect::Next { after: self.checkpoint }
    }

    /// Goes through what was delivered, up to the first hole.
    fn make_whole(
        &mut self,
        mut whole: Vec<Record>,
        mut delivered: vec::IntoIter<Record>,
    ) -> Result<Effect, FollowError> {
        while whole.len() < self.batch_max {
            let Some(record) = delivered.next() else { break };
            let last = self.last_of(&whole);
            if record.position > last + 1 {
                let before = record.position;
                return Ok(self.read_log(whole, delivered, Some(Box::new(record)), last, before));
            }
            if record.position == last + 1 {
                whole.push(record);
            }
        }
        Ok(self.compare(whole))
    }

    fn last_of(&self, whole: &[Record]) -> i64 {
        whole.last().map_or(self.checkpoint, |last| last.position)
    }

    /// Asks for the records between two positions, neither included; at least the first of them, no more than a batch takes.
    fn read_log(
        &mut self,
        whole: Vec<Record>,
        delivered: vec::IntoIter<Record>,
        after_hole: Option<Box<Record>>,
        after: i64,
        before: i64,
    ) -> Effect {
        let room = i64::try_from(self.batch_max - whole.len()).unwrap_or(i64::MAX);
        let limit = (before - after - 1).min(room);
        self.state = State::Filling(whole, delivered, after_hole);
        Effect::ReadLog { after, limit }
    }

    fn filled(
        &mut self,
        mut whole: Vec<Record>,
        delivered: vec::IntoIter<Record>,
        after_hole: Option<Box<Record>>,
        page: Vec<Record>,
    ) -> Result<Effect, FollowError> {
        let position = self.last_of(&whole) + 1;
        let is_whole = (position..)
            .zip(&page)
            .all(|(position, record)| record.position == position);
        if page.is_empty() || !is_whole {
            return Err(FollowError::Hole { position });
        }
        metrics::counter!("kinledger_projector_gaps_filled_total").increment(page.len() as u64);
        let (lane, events) = (self.lane.0, page.len());
        tracing::warn!(lane, events, "the feed left records out; read from the log");
        whole.extend(page);
        let Some(record) = after_hole else {
            return Ok(self.compare(whole));
        };
        let last = self.last_of(&whole);
        if whole.len() >= self.batch_max {
            // Enough for one transaction; the feed is asked for the rest again.
            Ok(self.compare(whole))
        } else if record.position > last + 1 {
            let before = record.position;
            Ok(self.read_log(whole, delivered, Some(record), last, before))
        } else {
            whole.push(*record);
            self.make_whole(whole, delivered)
        }
    }

    /// What is not from the log itself is compared with it: its last record, because whatever was lost, everything above it was
    /// lost with it.
    fn compare(&mut self, records: Vec<Record>) -> Effect {
        match records.last().map(|last| last.position) {
            None => self.next(),
            Some(_) if self.feeds_from_log => self.apply(records),
            Some(position) => {
                self.state = State::Comparing(records);
                Effect::HashAt { position }
            }
        }
    }

    fn apply(&mut self, records: Vec<Record>) -> Effect {
        let to = self.last_of(&records);
        self.state = State::Applying(to);
        Effect::Apply {
            from: self.checkpoint,
            to,
            records,
            isolates: self.tries >= TRIES_MAX,
        }
    }
}
