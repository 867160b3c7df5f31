//! Kinledger: a family's money, chores and rewards as one ledger. One binary that runs all parts, and the operator's command line.

mod accounts;
mod audit;
mod cli;
mod connections;
mod contracts;
mod drain;
mod edge;
mod embedded;
mod erasures;
mod http;
mod import;
mod keys;
mod openapi;
mod parked;
mod parts;
mod rebuild;
mod sealing;
mod serve;
mod up;
mod weak;

use std::process::ExitCode;

/// A command allocates some two hundred small values; the C library's allocator took a quarter of the service's time for them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run()
}
