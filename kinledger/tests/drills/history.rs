//! What clients did and were told: the history that the checker compares with the log.

use uuid::Uuid;

/// One thing a client did. Times are microseconds of one clock that only goes forward, shared by all clients.
#[derive(Clone, Debug)]
pub struct Operation {
    /// When it was first sent.
    pub invoked_us: u64,
    /// When its last answer had come.
    pub completed_us: u64,
    /// What it was.
    pub what: What,
}

/// What a client did.
#[derive(Clone, Debug)]
pub enum What {
    /// It posted a command under a key, perhaps several times.
    Command {
        /// The key.
        id: Uuid,
        /// What it knows of it in the end.
        outcome: Outcome,
    },
    /// It read a view.
    Read {
        /// The event up to which the answer was true.
        family_seq: i64,
        /// The event it insisted on, if any.
        min_family_seq: Option<i64>,
    },
}

/// What a client knows of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Accepted, as events with these numbers.
    Accepted {
        /// The first one's `family_seq`.
        first: i64,
        /// The last one's.
        last: i64,
    },
    /// Declined: it must have left nothing.
    Refused,
    /// No answer, or one that leaves it open, however often it was sent.
    Unknown,
}

/// An event of the family's log, as far as the checker cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number in the family.
    pub family_seq: i64,
    /// The command that recorded it.
    pub command_id: Uuid,
}
