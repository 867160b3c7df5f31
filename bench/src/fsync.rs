//! What the disk charges for durability: one WAL page written and flushed, again and again.

use std::{
    fs::OpenOptions,
    io::{Seek, SeekFrom, Write},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::{driver::Load, machine::CpuTime};

/// One page of Postgres' write-ahead log, in bytes.
const PAGE_BYTES: usize = 8 * 1024;
/// Written over in turn, as WAL segments are.
const PAGES: u64 = 2_048;

/// Writes and flushes pages of a preallocated file beside the database for `duration`.
///
/// # Errors
/// When the file cannot be written.
pub fn measure(folder: &Path, duration: Duration) -> Result<Load> {
    let path = folder.join("fsync-cost");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).open(&path)?;
    let page = [7_u8; PAGE_BYTES];
    for _ in 0..PAGES {
        file.write_all(&page)?;
    }
    file.sync_all()?;
    let mut latencies = Vec::new();
    let began = Instant::now();
    for number in 0_u64.. {
        let started = Instant::now();
        if started - began >= duration {
            break;
        }
        file.seek(SeekFrom::Start((number % PAGES) * PAGE_BYTES as u64))?;
        file.write_all(&page)?;
        file.sync_data()?;
        latencies.push(u32::try_from(started.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
    let seconds = began.elapsed().as_secs_f64();
    drop(file);
    std::fs::remove_file(&path)?;
    Ok(Load {
        done: latencies.len() as u64,
        seconds,
        latencies_us: latencies,
        cpu: CpuTime::default(),
        ..Load::default()
    })
}
