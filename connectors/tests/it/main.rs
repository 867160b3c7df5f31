//! The ports as their callers meet them: bytes in, statements out; messages in, and what a server on loopback gets of them.

#![allow(
    clippy::unwrap_used,
    reason = "a test may expect what it has just arranged, also in its helpers"
)]

mod channels;
mod household;
mod no_panic;
mod round_trips;
mod samples;
