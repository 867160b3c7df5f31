//! Projections against a real database, fed by a real log.

mod conformance;
mod copy;
mod erasure;
mod fold;
mod forks;
mod given;
mod histories;
mod ledger;
mod parking;
mod rebuild;
mod rows;
mod sameness;
mod sharing;
mod stories;
mod verify;
mod versions;
