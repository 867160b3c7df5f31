//! The append-only log in Postgres: append, load, feed, verify, replay, and the relay to Kafka.
//!
//! A family lives in one *lane* for ever. A lane is one ordered feed, one Postgres partition and one Kafka partition. Three
//! numbers name an event: `position` in its lane (the feed), `family_seq` in its family (the ledger people see) and `sequence`
//! in its aggregate's stream (optimistic concurrency). All three are contiguous from 1.
//!
//! [`append`] tells the protocol that makes this so, [`chain`] what is hashed, [`verify`] how an alteration is found,
//! [`feed`] how readers follow the log, [`relay`] how it gets to Kafka.

pub mod append;
pub mod by_family;
pub mod chain;
pub mod cqrs;
pub mod export;
pub mod feed;
pub mod keys;
pub mod load;
mod log;
pub mod pack;
mod record;
pub mod relay;
pub mod replay;
pub mod seal;
pub mod verify;
mod wakeups;

pub use append::{AppendCommand, AppendEvent, Appended, Verdict};
pub use load::{EventSummary, FamilyHead, Loaded, StoredCommand};
pub use log::{LANES_DEFAULT, Lane, Log, LogError, RequestKey};
pub use record::{Opened, Record};
pub use wakeups::{Wakeup, Wakeups};
