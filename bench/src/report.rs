//! What was found: one line each while it runs, a table at the end, JSON for machines.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use serde_json::{Value, json};

use crate::{
    driver::Load,
    machine::Machine,
    stats::{Spread, percentile},
    targets,
    verification::Batches,
};

/// One measurement of one repetition.
#[derive(Clone, Debug)]
pub struct Measured {
    /// What was measured, such as `append/many/512`.
    pub name: String,
    /// Of what the rate is.
    pub unit: &'static str,
    /// So many in a second.
    pub rate: f64,
    /// Half of all took at most so long, in milliseconds.
    pub p50_ms: Option<f64>,
    /// 95 in a hundred.
    pub p95_ms: Option<f64>,
    /// And 99 in a hundred.
    pub p99_ms: Option<f64>,
    /// Refused or failed.
    pub failed: u64,
    /// Why the first was.
    pub failure: Option<String>,
    /// Commands per append.
    pub batches: Option<Batches>,
    /// Processor time of each, in microseconds: Postgres, service, clients.
    pub cpu_us: [f64; 3],
}

impl Measured {
    /// Sums a load up.
    pub fn of(name: &str, unit: &'static str, mut load: Load, batches: Option<Batches>) -> Self {
        let milliseconds = |us: u32| f64::from(us) / 1_000.0;
        let each_us = |seconds: f64| seconds * 1e6 / load.done.max(1) as f64;
        Self {
            name: name.to_owned(),
            unit,
            rate: load.done as f64 / load.seconds,
            cpu_us: [
                each_us(load.cpu.postgres),
                each_us(load.cpu.service),
                each_us(load.cpu.clients),
            ],
            p50_ms: percentile(&mut load.latencies_us, 0.5).map(milliseconds),
            p95_ms: percentile(&mut load.latencies_us, 0.95).map(milliseconds),
            p99_ms: percentile(&mut load.latencies_us, 0.99).map(milliseconds),
            failed: load.failed,
            failure: load.failure,
            batches,
        }
    }

    /// A figure that is no rate.
    pub fn value(name: &str, unit: &'static str, value: f64) -> Self {
        Self {
            name: name.to_owned(),
            unit,
            rate: value,
            p50_ms: None,
            p95_ms: None,
            p99_ms: None,
            failed: 0,
            failure: None,
            batches: None,
            cpu_us: [0.0; 3],
        }
    }

    /// One line for people.
    pub fn line(&self) -> String {
        let mut line = format!("  {:<22} {:>9.0} {:<11}", self.name, self.rate, self.unit);
        if let (Some(p50), Some(p99)) = (self.p50_ms, self.p99_ms) {
            line += &format!(" p50 {p50:>8.2} p99 {p99:>8.2} ms");
        }
        if let Some(batches) = self.batches {
            line += &format!("  batch {:.1} / {} / {}", batches.mean, batches.p50, batches.max);
        }
        let [postgres, service, clients] = self.cpu_us;
        line += &format!("  cpu {postgres:.0}+{service:.0}+{clients:.0} us");
        if let Some(failure) = &self.failure {
            line += &format!("  {} FAILED: {failure}", self.failed);
        }
        line
    }

    fn to_json(&self) -> Value {
        json!({
            "name": self.name, "unit": self.unit, "rate": self.rate, "p50_ms": self.p50_ms, "p99_ms": self.p99_ms,
            "failed": self.failed, "failure": self.failure, "batch": self.batches,
            "cpu_us": {"postgres": self.cpu_us[0], "service": self.cpu_us[1], "clients": self.cpu_us[2]},
        })
    }
}

/// Everything of one repetition.
#[derive(Clone, Debug, Default)]
pub struct Repetition {
    /// The machine before it began: percent busy, percent stolen.
    pub busy_before: Option<(f64, f64)>,
    /// The measurements, in order.
    pub measured: Vec<Measured>,
    /// What did not add up.
    pub faults: Vec<String>,
    /// What could not be measured, and why.
    pub left_out: Vec<String>,
}

impl Repetition {
    /// A measurement by name.
    pub fn get(&self, name: &str) -> Option<&Measured> {
        self.measured.iter().find(|measured| measured.name == name)
    }
}

/// The whole run.
pub struct Report {
    machine: Machine,
    repetitions: Vec<Repetition>,
}

impl Report {
    /// Of nothing yet.
    pub fn new(machine: Machine) -> Self {
        Self {
            machine,
            repetitions: Vec::new(),
        }
    }

    /// Adds a repetition.
    pub fn add(&mut self, repetition: Repetition) {
        self.repetitions.push(repetition);
    }

    /// The tables, as docs/benchmarks.md has them.
    pub fn markdown(&self) -> String {
        let mut lines = vec![
            self.machine.describe(),
            String::new(),
            format!(
                "Medians of {} repetitions (min-max). Processor time per operation in us: Postgres + service + clients.",
                self.repetitions.len()
            ),
        ];
        let busy: Vec<f64> = self
            .repetitions
            .iter()
            .filter_map(|one| Some(one.busy_before?.0))
            .collect();
        if let Some(busy) = Spread::of(busy) {
            lines.push(format!(
                "Other work kept {:.0} to {:.0} % of the machine busy at the start of a repetition.",
                busy.min, busy.max
            ));
        }
        lines.push(String::new());
        lines.push(
            "| what | unit | median (min-max) | p50 / p99 ms | commands an append: mean / p50 / max | cpu us |"
                .to_owned(),
        );
        lines.push("|---|---|--:|--:|--:|--:|".to_owned());
        lines.extend(self.names().iter().map(|name| self.row(name)));
        lines.push(String::new());
        lines.push("| # | target | wanted | median (min-max) of the ratios | |".to_owned());
        lines.push("|---|---|--:|--:|---|".to_owned());
        lines.extend(
            targets::TARGETS
                .iter()
                .filter_map(|target| target.row(&self.repetitions)),
        );
        let left_out: BTreeSet<&String> = self.repetitions.iter().flat_map(|one| &one.left_out).collect();
        if !left_out.is_empty() {
            lines.push(String::new());
            lines.extend(left_out.iter().map(|line| format!("- not measured: {line}")));
        }
        lines.push(String::new());
        lines.join("\n")
    }

    /// All measurements, for machines.
    pub fn to_json(&self) -> Value {
        let repetitions: Vec<Value> = self
            .repetitions
            .iter()
            .map(|repetition| {
                let measured: Vec<Value> = repetition.measured.iter().map(Measured::to_json).collect();
                json!({
                    "busy_percent_before": repetition.busy_before.map(|(busy, _)| busy),
                    "stolen_percent_before": repetition.busy_before.map(|(_, stolen)| stolen),
                    "measured": measured, "faults": repetition.faults, "left_out": repetition.left_out,
                })
            })
            .collect();
        let targets: BTreeMap<&str, Value> = targets::TARGETS
            .iter()
            .filter_map(|target| Some((target.what, target.to_json(&self.repetitions)?)))
            .collect();
        json!({"machine": self.machine.to_json(), "repetitions": repetitions, "targets": targets})
    }

    /// Did everything add up?
    ///
    /// # Errors
    /// What did not.
    pub fn check(&self) -> Result<()> {
        let faults: Vec<&str> = self
            .repetitions
            .iter()
            .flat_map(|repetition| &repetition.faults)
            .map(String::as_str)
            .collect();
        if !faults.is_empty() {
            bail!("what was acknowledged is not what is stored:\n{}", faults.join("\n"));
        }
        println!("Everything acknowledged was counted in the log; all sums agree.");
        Ok(())
    }

    /// Names in the order they were first measured in.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for measured in self.repetitions.iter().flat_map(|one| &one.measured) {
            if !names.contains(&measured.name) {
                names.push(measured.name.clone());
            }
        }
        names
    }

    fn row(&self, name: &str) -> String {
        let all: Vec<&Measured> = self
            .repetitions
            .iter()
            .filter_map(|repetition| repetition.get(name))
            .collect();
        let spread =
            |value: fn(&Measured) -> Option<f64>| Spread::of(all.iter().filter_map(|measured| value(measured)));
        let median = |value: fn(&Measured) -> Option<f64>| spread(value).map(|spread| spread.median);
        let rate = spread(|measured| Some(measured.rate)).map_or_else(String::new, |rate| {
            // Seconds and mebibytes are small numbers.
            let digits = if rate.max < 20.0 { 2 } else { 0 };
            format!("{:.digits$} ({:.digits$}-{:.digits$})", rate.median, rate.min, rate.max)
        });
        let latency = match (median(|measured| measured.p50_ms), median(|measured| measured.p99_ms)) {
            (Some(p50), Some(p99)) => format!("{p50:.2} / {p99:.2}"),
            _ => String::new(),
        };
        let batches = match (
            median(|measured| measured.batches.map(|batches| batches.mean)),
            median(|measured| measured.batches.map(|batches| f64::from(batches.p50))),
            spread(|measured| measured.batches.map(|batches| f64::from(batches.max))),
        ) {
            (Some(mean), Some(p50), Some(max)) => format!("{mean:.1} / {p50:.0} / {:.0}", max.max),
            _ => String::new(),
        };
        let cpu = |index: usize| {
            Spread::of(all.iter().map(|measured| measured.cpu_us[index])).map_or(0.0, |spread| spread.median)
        };
        let unit = all.first().map_or("", |measured| measured.unit);
        format!(
            "| {name} | {unit} | {rate} | {latency} | {batches} | {:.0} + {:.0} + {:.0} |",
            cpu(0),
            cpu(1),
            cpu(2)
        )
    }
}
