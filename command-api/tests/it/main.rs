//! The write side as a client meets it: HTTP in, HTTP out, each test on a database of its own.

#![allow(
    clippy::unwrap_used,
    reason = "a test may expect what it has just arranged, also in its helpers"
)]

mod audit;
mod cached_state;
mod identity;
mod limits;
mod restored;
mod statements;
mod support;
