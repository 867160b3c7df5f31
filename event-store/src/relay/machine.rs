//! One ownership of a lane by a relay, as a state machine: no IO, no clock. The parent module tells the protocol.
//!
//! One step at a time: [`RelayMachine::begin`] and [`RelayMachine::handle`] say what to do next, the driver does it and brings
//! back what came of it. There is no input for a failure: whatever fails, the driver drops the machine, lets go of the lane and
//! begins with a new one, which asks Kafka where it is. That is also what a crash does, so both are the same path.

use super::RelayError;
use crate::{Lane, Record, chain::GENESIS};

/// Where a partition ends.
#[derive(Clone, Debug)]
pub enum End {
    /// Nothing was ever written.
    Empty,
    /// Something was, but nothing is left of it.
    Expired,
    /// The last record.
    At(Box<Record>),
}

/// A place in a lane, with the chain hash of the event there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The position; 0 before the first event.
    pub position: i64,
    /// The event's chain hash; zeros before the first event.
    pub chain_hash: [u8; 32],
}

impl Place {
    /// Before the first event.
    pub const START: Self = Self {
        position: 0,
        chain_hash: GENESIS,
    };
}

/// What the relay wants done next.
#[derive(Debug)]
pub enum Effect {
    /// Try to get the lane's lock, held by a connection of its own.
    Own,
    /// Another relay owns the lane: wait a while.
    StandBy,
    /// Raise the epoch, in `log.relay_checkpoints`.
    BeginEpoch,
    /// Ask Kafka where the partition ends.
    AskEnd,
    /// Read the checkpoint of the relays before.
    ReadCheckpoint,
    /// Read the chain hash the log has at a position.
    HashAt {
        /// The position.
        position: i64,
    },
    /// Save the checkpoint, if the epoch is still this one.
    Save {
        /// The epoch this ownership began.
        epoch: i64,
        /// What Kafka has acknowledged.
        place: Place,
    },
    /// Read the next records of the log.
    ReadPage {
        /// Above this position.
        after: i64,
    },
    /// Hand the records to the producer in order and await every acknowledgement.
    Publish {
        /// The page just read, handed on.
        records: Vec<Record>,
    },
    /// The lane is quiet: wait until it may have grown.
    Rest,
}

/// What came of it.
#[derive(Debug)]
pub enum Input {
    /// Of [`Effect::Own`]: is it ours?
    Owned(bool),
    /// Of [`Effect::StandBy`] and [`Effect::Rest`].
    Waited,
    /// Of [`Effect::BeginEpoch`].
    Epoch(i64),
    /// Of [`Effect::AskEnd`].
    End(End),
    /// Of [`Effect::ReadCheckpoint`].
    Checkpoint(Place),
    /// Of [`Effect::HashAt`]; none when the log does not reach so far.
    Hash(Option<[u8; 32]>),
    /// Of [`Effect::Save`]: was there a row of this epoch?
    Saved(bool),
    /// Of [`Effect::ReadPage`].
    Page(Vec<Record>),
    /// Of [`Effect::Publish`], once all of it is acknowledged.
    Published,
}

/// What the machine waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Owning,
    StandingBy,
    BeginningEpoch,
    AskingEnd,
    ReadingCheckpoint,
    /// Is this, which Kafka has, in the log too?
    Comparing(Place),
    Saving(Place),
    Reading,
    Publishing(Place),
    Resting,
}

/// One ownership of a lane, from asking for the lock to the first failure.
#[derive(Debug)]
pub struct RelayMachine {
    lane: Lane,
    state: State,
    epoch: i64,
    position: i64,
    is_owner: bool,
}

impl RelayMachine {
    /// A relay that owns nothing yet.
    pub fn new(lane: Lane) -> Self {
        Self {
            lane,
            state: State::Owning,
            epoch: 0,
            position: 0,
            is_owner: false,
        }
    }

    /// The last position Kafka has acknowledged; 0 until that is known.
    pub fn position(&self) -> i64 {
        self.position
    }

    /// The epoch of this ownership; 0 until it has begun.
    pub fn epoch(&self) -> i64 {
        self.epoch
    }

    /// Does it own the lane, with Kafka's end compared with the log?
    pub fn is_owner(&self) -> bool {
        self.is_owner
    }

    /// The first thing to do.
    pub fn begin(&self) -> Effect {
        Effect::Own
    }

    /// Takes in what came of the last effect, and says what to do next.
    ///
    /// # Errors
    /// [`RelayError::Fork`] when Kafka holds what the log does not; [`RelayError::Fenced`] when another relay has begun an
    /// epoch. The machine is of no more use then.
    ///
    /// # Panics
    /// When the input belongs to another effect than the last one: that is a driver's mistake.
    pub fn handle(&mut self, input: Input) -> Result<Effect, RelayError> {
        match (self.state, input) {
            (State::Owning, Input::Owned(true)) => Ok(self.go(State::BeginningEpoch, Effect::BeginEpoch)),
            (State::Owning, Input::Owned(false)) => Ok(self.go(State::StandingBy, Effect::StandBy)),
            (State::StandingBy, Input::Waited) => Ok(self.go(State::Owning, Effect::Own)),
            (State::BeginningEpoch, Input::Epoch(epoch)) => {
                self.epoch = epoch;
                Ok(self.go(State::AskingEnd, Effect::AskEnd))
            }
            (State::AskingEnd, Input::End(End::Empty)) => Ok(self.save(Place::START)),
            (State::AskingEnd, Input::End(End::Expired)) => {
                Ok(self.go(State::ReadingCheckpoint, Effect::ReadCheckpoint))
            }
            (State::AskingEnd, Input::End(End::At(record))) => self.compare(&record),
            (State::ReadingCheckpoint, Input::Checkpoint(place)) => Ok(self.save(place)),
            (State::Comparing(theirs), Input::Hash(ours)) if ours == Some(theirs.chain_hash) => Ok(self.save(theirs)),
            (State::Comparing(theirs), Input::Hash(_)) => Err(self.fork(theirs.position)),
            (State::Saving(place), Input::Saved(true)) => {
                self.is_owner = true;
                let after = place.position;
                Ok(self.go(State::Reading, Effect::ReadPage { after }))
            }
            (State::Saving(_), Input::Saved(false)) => Err(RelayError::Fenced(self.lane)),
            (State::Reading, Input::Page(records)) => Ok(self.publish(records)),
            (State::Publishing(place), Input::Published) => Ok(self.save(place)),
            (State::Resting, Input::Waited) => {
                let after = self.position;
                Ok(self.go(State::Reading, Effect::ReadPage { after }))
            }
            (state, input) => panic!("{input:?} is no answer to {state:?}"),
        }
    }

    fn go(&mut self, state: State, effect: Effect) -> Effect {
        self.state = state;
        effect
    }

    fn compare(&mut self, last: &Record) -> Result<Effect, RelayError> {
        let position = last.position;
        if last.lane != self.lane {
            return Err(self.fork(position));
        }
        let theirs = Place {
            position,
            chain_hash: last.chain_hash,
        };
        Ok(self.go(State::Comparing(theirs), Effect::HashAt { position }))
    }

    fn publish(&mut self, records: Vec<Record>) -> Effect {
        match records.last() {
            None => self.go(State::Resting, Effect::Rest),
            Some(last) => {
                let place = Place {
                    position: last.position,
                    chain_hash: last.chain_hash,
                };
                self.go(State::Publishing(place), Effect::Publish { records })
            }
        }
    }

    /// What Kafka has is known: say so, which also finds out whether another relay has taken over.
    fn save(&mut self, place: Place) -> Effect {
        self.position = place.position;
        let epoch = self.epoch;
        self.go(State::Saving(place), Effect::Save { epoch, place })
    }

    fn fork(&self, position: i64) -> RelayError {
        RelayError::Fork {
            lane: self.lane,
            position,
        }
    }
}
