//! How fast packs are verified: makes one in a temporary folder, verifies it, and tells events per second of processor time.
//!
//! `cargo run --release -p verifier --example throughput -- 300000`

use std::{fs, time::Instant};

use verifier::{Limits, Pack, Trust, verify};

#[path = "../tests/made/mod.rs"]
mod made;

/// Processor time of this process so far, in seconds; hundredths are what the kernel tells.
fn processor_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<f64> = stat
        .rsplit(") ")
        .next()
        .unwrap_or("")
        .split(' ')
        .map(|field| field.parse().unwrap_or(0.0))
        .collect();
    fields
        .get(11)
        .zip(fields.get(12))
        .map_or(0.0, |(user, system)| (user + system) / 100.0)
}

#[allow(clippy::cast_precision_loss, reason = "a rate")]
fn main() {
    let events = std::env::args()
        .nth(1)
        .and_then(|text| text.parse().ok())
        .unwrap_or(300_000);
    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
    let key = made::pack(folder.path(), events).unwrap_or_else(|error| panic!("{error}"));
    let mut pack = Pack::open(folder.path(), Limits::default()).unwrap_or_else(|error| panic!("{error}"));
    let trust = Trust {
        keys: vec![key],
        ..Trust::default()
    };
    let (began, before) = (Instant::now(), processor_seconds());
    let report = verify(&mut pack, &trust).unwrap_or_else(|error| panic!("{error}"));
    let (seconds, busy) = (began.elapsed().as_secs_f64(), processor_seconds() - before);
    assert!(report.is_whole() && report.journals == 2, "{:?}", report.faults);
    println!(
        "{events} events and two journals in {seconds:.2} s, {busy:.2} s of processor time: {:.0} events per second of processor time",
        events as f64 / busy
    );
}
