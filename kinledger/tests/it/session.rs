//! The session a user has: everything README promises, in the order people do it.

mod auditor;
mod living;
mod proof;
mod restarts;
mod samples;
mod statements;

pub use statements::{APRIL, MARCH};
