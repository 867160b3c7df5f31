//! The targets, each as a ratio taken inside one repetition.

use serde_json::{Value, json};

use crate::{
    report::{Measured, Repetition},
    stats::Spread,
};

/// What a ratio is between.
#[derive(Clone, Copy, Debug)]
pub enum Figure {
    /// A rate; of several names, the best.
    Rate(&'static [&'static str]),
    /// A p50, in milliseconds.
    P50(&'static str),
    /// A p95, in milliseconds.
    P95(&'static str),
    /// A p99, in milliseconds.
    P99(&'static str),
    /// Nothing: the figure above the line is the answer.
    One,
    /// The cost of a command at the longest history measured.
    CostAtLongest,
    /// The cost of a command of a family without a history.
    CostAtFirst,
}

/// One target.
pub struct Target {
    /// Its number in the list of targets; empty for a ratio that only explains.
    pub number: &'static str,
    /// In words.
    pub what: &'static str,
    /// Above the line.
    pub over: Figure,
    /// Below it.
    pub under: Figure,
    /// What the ratio should be.
    pub wanted: Wanted,
}

/// What a ratio should be.
#[derive(Clone, Copy, Debug)]
pub enum Wanted {
    /// At least this.
    AtLeast(f64),
    /// At most this.
    AtMost(f64),
    /// It is only shown.
    Shown,
}

const PGBENCH: Figure = Figure::Rate(&["pgbench/1", "pgbench/8", "pgbench/64", "pgbench/256"]);

/// The list.
pub const TARGETS: &[Target] = &[
    Target {
        number: "1",
        what: "HTTP, 256 connections, many families / pgbench's best",
        over: Figure::Rate(&["http/many/256"]),
        under: PGBENCH,
        wanted: Wanted::AtLeast(1.5),
    },
    Target {
        number: "1",
        what: "the same / HTTP on stock, new aggregates",
        over: Figure::Rate(&["http/many/256"]),
        under: Figure::Rate(&["http-stock/new/256"]),
        wanted: Wanted::AtLeast(7.0),
    },
    Target {
        number: "",
        what: "HTTP, 256 connections / the route without a store",
        over: Figure::Rate(&["http/many/256"]),
        under: Figure::Rate(&["http/no-store/256"]),
        wanted: Wanted::Shown,
    },
    Target {
        number: "2",
        what: "HTTP, histories of 1,000, 256 connections / HTTP on stock",
        over: Figure::Rate(&["http/long/256"]),
        under: Figure::Rate(&["http-stock/long/256"]),
        wanted: Wanted::AtLeast(80.0),
    },
    Target {
        number: "3",
        what: "cost of a command at the longest history / at none",
        over: Figure::CostAtLongest,
        under: Figure::CostAtFirst,
        wanted: Wanted::AtMost(1.5),
    },
    Target {
        number: "4",
        what: "append without HTTP, 512 in flight / pgbench's best",
        over: Figure::Rate(&["append/many/512"]),
        under: PGBENCH,
        wanted: Wanted::AtLeast(3.0),
    },
    Target {
        number: "",
        what: "append without HTTP, 64 in flight / stock, 64 tasks",
        over: Figure::Rate(&["append/many/64"]),
        under: Figure::Rate(&["stock/new/64"]),
        wanted: Wanted::Shown,
    },
    Target {
        number: "5",
        what: "batch endpoint / COPY over 2 connections",
        over: Figure::Rate(&["batch/8"]),
        under: Figure::Rate(&["copy/2"]),
        wanted: Wanted::AtLeast(0.4),
    },
    Target {
        number: "6",
        what: "one hot family, 64 connections / measure 1",
        over: Figure::Rate(&["http/hot/64"]),
        under: Figure::Rate(&["http/many/256"]),
        wanted: Wanted::AtLeast(0.5),
    },
    Target {
        number: "7",
        what: "p50 at 64 connections / pgbench's at 64 clients",
        over: Figure::P50("http/many/64"),
        under: Figure::P50("pgbench/64"),
        wanted: Wanted::AtMost(1.0),
    },
    Target {
        number: "7",
        what: "p99 at 64 connections / pgbench's at 64 clients",
        over: Figure::P99("http/many/64"),
        under: Figure::P99("pgbench/64"),
        wanted: Wanted::AtMost(1.0),
    },
    Target {
        number: "8",
        what: "projection of one view / COPY over 1 connection",
        over: Figure::Rate(&["projection/one"]),
        under: Figure::Rate(&["copy/1"]),
        wanted: Wanted::AtLeast(0.5),
    },
    Target {
        number: "8",
        what: "projection of all views / measure 1",
        over: Figure::Rate(&["projection/all"]),
        under: Figure::Rate(&["http/many/256"]),
        wanted: Wanted::AtLeast(1.0),
    },
    Target {
        number: "9",
        what: "rebuild beside the live view / COPY of the same rows, then indexes",
        over: Figure::Rate(&["rebuild/built"]),
        under: Figure::Rate(&["rebuild/copy-then-index"]),
        wanted: Wanted::AtLeast(0.8),
    },
    Target {
        number: "10",
        what: "replay with chain verification / read and folded typed",
        over: Figure::Rate(&["replay/book"]),
        under: Figure::Rate(&["replay/fold"]),
        wanted: Wanted::AtLeast(0.6),
    },
    Target {
        number: "11",
        what: "relay to Kafka / a relay that waits for acks per 500",
        over: Figure::Rate(&["relay/ours"]),
        under: Figure::Rate(&["relay/acks-per-500"]),
        wanted: Wanted::AtLeast(1.3),
    },
    Target {
        number: "12",
        what: "dashboard of the longest family, 64 connections / the JWT no-op",
        over: Figure::Rate(&["dashboard/64"]),
        under: Figure::Rate(&["dashboard/no-op/64"]),
        wanted: Wanted::AtLeast(0.4),
    },
    Target {
        number: "12",
        what: "its p95, ms",
        over: Figure::P95("dashboard/64"),
        under: Figure::One,
        wanted: Wanted::AtMost(10.0),
    },
    Target {
        number: "13",
        what: "import, durable and visible / batch endpoint",
        over: Figure::Rate(&["import/visible"]),
        under: Figure::Rate(&["batch/8"]),
        wanted: Wanted::AtLeast(0.3),
    },
    Target {
        number: "14",
        what: "commit to visible at half of measure 1's load, p99, ms",
        over: Figure::P99("visible/half"),
        under: Figure::One,
        wanted: Wanted::AtMost(100.0),
    },
    Target {
        number: "15",
        what: "second start to ready, s",
        over: Figure::Rate(&["process/second-start"]),
        under: Figure::One,
        wanted: Wanted::AtMost(2.0),
    },
    Target {
        number: "15",
        what: "resident memory of the process idle, MiB",
        over: Figure::Rate(&["process/idle"]),
        under: Figure::One,
        wanted: Wanted::AtMost(100.0),
    },
    Target {
        number: "15",
        what: "its largest under measure 1's load, MiB",
        over: Figure::Rate(&["process/under-load"]),
        under: Figure::One,
        wanted: Wanted::AtMost(300.0),
    },
];

impl Figure {
    fn value(self, repetition: &Repetition) -> Option<f64> {
        let serial = || {
            repetition
                .measured
                .iter()
                .filter(|measured| measured.name.starts_with("growth/serial/"))
        };
        let cost = |measured: &Measured| 1.0 / measured.rate;
        match self {
            Self::Rate(names) => names
                .iter()
                .filter_map(|name| Some(repetition.get(name)?.rate))
                .max_by(f64::total_cmp),
            Self::P50(name) => repetition.get(name)?.p50_ms,
            Self::P95(name) => repetition.get(name)?.p95_ms,
            Self::P99(name) => repetition.get(name)?.p99_ms,
            Self::One => Some(1.0),
            Self::CostAtLongest => serial().next_back().map(cost),
            Self::CostAtFirst => serial().next().map(cost),
        }
    }
}

impl Target {
    fn ratios(&self, repetitions: &[Repetition]) -> Option<Spread> {
        Spread::of(
            repetitions
                .iter()
                .filter_map(|one| Some(self.over.value(one)? / self.under.value(one)?)),
        )
    }

    fn verdict(&self, ratio: f64) -> &'static str {
        match self.wanted {
            Wanted::AtLeast(wanted) if ratio >= wanted => "met",
            Wanted::AtMost(wanted) if ratio <= wanted => "met",
            Wanted::Shown => "",
            _ => "missed",
        }
    }

    /// A line of the table; a ratio that only explains has none when it was not measured.
    pub fn row(&self, repetitions: &[Repetition]) -> Option<String> {
        let ratios = self.ratios(repetitions);
        let wanted = match self.wanted {
            Wanted::AtLeast(wanted) => format!(">= {wanted}"),
            Wanted::AtMost(wanted) => format!("<= {wanted}"),
            Wanted::Shown => String::new(),
        };
        let Some(ratios) = ratios else {
            let is_target = !self.number.is_empty();
            return is_target.then(|| format!("| {} | {} | {wanted} |  | not measured |", self.number, self.what));
        };
        let verdict = self.verdict(ratios.median);
        Some(format!(
            "| {} | {} | {wanted} | {:.2} ({:.2}-{:.2}) | {verdict} |",
            self.number, self.what, ratios.median, ratios.min, ratios.max
        ))
    }

    /// The same for machines.
    pub fn to_json(&self, repetitions: &[Repetition]) -> Option<Value> {
        let ratios = self.ratios(repetitions)?;
        Some(json!({"number": self.number, "ratio": ratios, "verdict": self.verdict(ratios.median)}))
    }
}
