//! Crash drills: real processes and real servers, broken on purpose under load, and the books compared afterwards.
//!
//! Each drill puts clients to work ([`load`]), breaks something, waits until everything is well again, and compares what the
//! clients were told with the log ([`checker`]) and the log with the rows ([`oracle`]). It prints one line with its verdict:
//!
//! ```text
//! parts-die acked=812 stored=1431 … lost=0 doubled=0 … kills=70 recovery_max=1.2s seed=…
//! ```
//!
//! `KINLEDGER_SEED` repeats a run's choices. `KINLEDGER_DRILL=long`, which `make drill` sets, runs the long forms: more kills,
//! minutes of outage. A negative control (`postgres_dies`) and the checker's own tests show that faults would be seen.
//!
//! kill -9 of a process leaves the kernel and its cache of pages alive: it does not test the loss of power.

#![allow(
    clippy::unwrap_used,
    reason = "a drill may expect what it has just arranged, also in its helpers"
)]

mod checker;
mod clock;
mod disk;
mod erasures;
mod faults;
mod fleet;
mod forks;
mod history;
mod kafka_fails;
mod load;
mod oracle;
mod parts_die;
mod poison;
mod postgres_dies;
mod servers;
mod sharing;
#[allow(
    dead_code,
    unused_imports,
    reason = "shared with the tests of `it`, which use all of it"
)]
#[path = "../it/support/mod.rs"]
mod support;
mod topic;

use std::time::Duration;

use rand::{SeedableRng, rngs::StdRng};

/// How often something is done: in `make test`, and in the long form.
fn times(short: usize, long: usize) -> usize {
    if std::env::var("KINLEDGER_DRILL").is_ok_and(|form| form == "long") {
        long
    } else {
        short
    }
}

/// The choices of a run, and their seed.
fn chance() -> (StdRng, u64) {
    let seed = std::env::var("KINLEDGER_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(rand::random::<u64>);
    println!("KINLEDGER_SEED={seed}");
    (StdRng::seed_from_u64(seed), seed)
}

/// The line a drill ends with.
fn verdict(name: &str, report: &checker::Report, more: &str, recovery_max: Duration, seed: u64) {
    println!(
        "{name} {report} {more} recovery_max={:.1}s seed={seed}",
        recovery_max.as_secs_f64()
    );
}
