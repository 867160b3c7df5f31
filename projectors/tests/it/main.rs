//! Projections against a real database, fed by a real log.

mod conformance;
mod fold;
mod given;
mod ledger;
mod parking;
mod rows;
mod sameness;
mod stories;
