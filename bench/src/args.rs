//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::Parser;

/// Measure the append path and the HTTP path beside pgbench and stock cqrs-es, on a private Postgres with full durability.
///
/// Takes about fifteen minutes with the defaults on two quiet cores; --quick is for a look whether it runs. Nothing else should be busy on the
/// machine. Exits with an error when anything acknowledged is not in the log.
#[derive(Debug, Parser)]
#[command(name = "bench", version)]
pub struct Args {
    /// How often everything is measured; figures are medians
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    repetitions: u32,
    /// Seconds each measurement runs
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// One repetition, one second each, short histories: to see that it works, not to quote
    #[arg(long)]
    quick: bool,
    /// Measure only what begins with one of these, such as append/many or http,pgbench/64
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    only: Vec<String>,
    /// Measure cost per command at these many entries in one family
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "10000,100000,1000000",
        value_name = "ENTRIES"
    )]
    growth: Vec<u32>,
    /// Also write every figure of every repetition to this file
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Also write the tables to this file, as docs/benchmarks.md has them
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    /// Begin no further repetition that would not be over after so many minutes, preparation included
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=1440), value_name = "MINUTES")]
    within: u64,
    /// Put the database under this folder instead of the system's temporary one; its disk is what is measured
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

impl Args {
    /// How often everything is measured.
    pub fn repetitions(&self) -> u32 {
        if self.quick { 1 } else { self.repetitions }
    }

    /// When the last repetition should be over, counted from the start.
    pub fn within(&self) -> Duration {
        Duration::from_secs(60 * self.within)
    }

    /// How long one measurement runs.
    pub fn duration(&self) -> Duration {
        Duration::from_secs(u64::from(if self.quick { 1 } else { self.seconds }))
    }

    /// Is this measurement wanted?
    pub fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|prefix| name.starts_with(prefix.as_str()))
    }

    /// Is anything wanted that begins with this?
    pub fn wants_any(&self, prefix: &str) -> bool {
        self.only.is_empty()
            || self
                .only
                .iter()
                .any(|only| only.starts_with(prefix) || prefix.starts_with(only.as_str()))
    }

    /// Entries one family holds when the cost of a command is measured.
    pub fn growth(&self) -> Vec<u32> {
        let is_wanted = ["growth", "replay", "dashboard"]
            .iter()
            .any(|name| self.wants_any(name));
        match (is_wanted, self.quick) {
            (false, _) => Vec::new(),
            (true, true) => vec![1_000, 10_000],
            (true, false) => self.growth.clone(),
        }
    }

    /// Changes a wallet has seen when its first command after a start is measured.
    pub fn wallets(&self) -> Vec<u32> {
        match (self.wants_any("cold"), self.quick) {
            (false, _) => Vec::new(),
            (true, true) => vec![1_000],
            (true, false) => vec![1_000, 10_000, 100_000],
        }
    }

    /// Families, and aggregates of stock cqrs-es, that start with a thousand events each; one per connection of the measurement.
    pub fn long_histories(&self) -> usize {
        match (
            self.wants_any("http/long") || self.wants_any("stock/long") || self.wants_any("http-stock/long"),
            self.quick,
        ) {
            (false, _) => 0,
            (true, true) => 64,
            (true, false) => 256,
        }
    }

    /// Events that are folded in a measurement of projections.
    pub fn projected_events(&self) -> usize {
        let names = ["projection", "import", "visible", "rebuild", "relay"];
        match (names.iter().any(|name| self.wants_any(name)), self.quick) {
            (false, _) => 0,
            (true, true) => 20_000,
            (true, false) => 120_000,
        }
    }
}
