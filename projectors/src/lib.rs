//! Events to rows: one file per read model.
//!
//! [`run`] keeps one task per lane. A task reads a batch from its [`event_store::feed::Feed`], folds it and writes the rows of
//! every projection in one transaction; [`apply`] tells the protocol that makes the effect exactly-once. Where several processes
//! share the lanes, [`run_shared`] keeps this one's share ([`leases`]). A family whose event cannot be folded is parked alone
//! ([`parking`]); [`Progress`] says how far each lane is and whether one is stuck or halted because the log has forked.

pub mod apply;
mod causes;
pub mod copy;
mod erasure;
pub mod fold;
pub mod following;
pub mod forks;
pub mod generation;
pub mod leases;
pub mod parking;
mod progress;
pub mod projection;
pub mod projections;
pub mod rebuild;
mod reset;
mod runner;
mod upgrade;
pub mod verify;

pub use leases::run_shared;
pub use progress::Progress;
pub use reset::reset;
pub use runner::{LaneFeed, Settings, run};

/// The name under which this set of projections keeps its checkpoints.
pub const GROUP: &str = "views";

/// The version of the tables and of the folding. It goes up when rows have to be built again: projectors that start on rows of
/// an older one build theirs beside, and switch to them.
///
/// - 2: entries know the day from which they are reversed.
/// - 3: notices are not written for a teen or child who waits for consent.
/// - 4: adults are told who has joined.
/// - 5: shares know who said them.
pub const VERSION: i32 = 5;
