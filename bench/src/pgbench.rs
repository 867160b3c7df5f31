//! The yardstick: pgbench inserting single rows of our log's shape, each its own commit.
//!
//! The table has the columns and keys of one lane of `log.events`, and nothing else of ours: no hash to compute, no command to
//! remember, no row-level security, no trigger.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, bail};
use sqlx::{Executor, PgPool};

use crate::{driver::Load, machine::CpuClock, server::Server};

/// Its database.
pub const DATABASE: &str = "bench_rows";
/// pgbench notes one transaction in so many for percentiles, to spend its time on the others.
const SAMPLING: f64 = 0.2;

/// Makes the tables.
///
/// # Errors
/// When the server refuses.
pub async fn create_tables(pool: &PgPool) -> Result<()> {
    for table in ["inserted", "copied"] {
        pool.execute(table_of_events(table).as_str()).await?;
    }
    pool.execute("create sequence inserted_position").await?;
    Ok(())
}

/// A table with the columns and keys of a lane of the log.
fn table_of_events(name: &str) -> String {
    format!(
        "create table {name} (
            aggregate_type text not null,
            aggregate_id text not null,
            sequence bigint not null check (sequence > 0),
            event_type text not null,
            event_version text not null,
            payload json not null,
            metadata json not null,
            lane smallint not null,
            position bigint not null check (position > 0),
            family_id uuid not null,
            family_seq bigint not null check (family_seq > 0),
            command_id uuid not null,
            effective_on date not null,
            recorded_at timestamptz not null,
            leaf_hash bytea not null,
            chain_hash bytea not null,
            primary key (lane, position),
            unique (aggregate_type, aggregate_id, sequence, lane),
            unique (family_id, family_seq, lane)
        )"
    )
}

fn script(payload: &str, metadata: &str) -> String {
    format!(
        "\\set family random(1, 1000)\n\
         insert into inserted values ('entry', gen_random_uuid()::text, 1, 'ExpenseAdded', '1', '{payload}', '{metadata}', 0, \
         nextval('inserted_position'), ('00000000-0000-4000-8000-' || lpad(:family::text, 12, '0'))::uuid, \
         currval('inserted_position'), gen_random_uuid(), '2025-03-03', clock_timestamp(), \
         '\\x{hash}', '\\x{hash}');\n",
        hash = "5a".repeat(32),
    )
}

/// Runs pgbench with so many clients.
///
/// # Errors
/// When it is not installed or fails.
pub async fn measure(
    server: &Server,
    clock: CpuClock,
    clients: usize,
    duration: Duration,
    payload: &str,
    metadata: &str,
) -> Result<Load> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("insert.sql");
    std::fs::write(&path, script(payload, metadata))?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(clients);
    let before = clock.read();
    let output = tokio::process::Command::new(server.binaries().join("pgbench"))
        .args(["-n", "-M", "prepared", "-U", "bench", "-h"])
        .arg(server.sockets())
        .args([
            "-c",
            &clients.to_string(),
            "-j",
            &threads.to_string(),
            "-T",
            &duration.as_secs().max(1).to_string(),
        ])
        .args(["-l", &format!("--sampling-rate={SAMPLING}"), "--log-prefix"])
        .arg(folder.path().join("log"))
        .arg("-f")
        .arg(&path)
        .arg(DATABASE)
        .output()
        .await
        .context("cannot run pgbench")?;
    // The last backends leave a moment after their clients.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let cpu = clock.read() - before;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("pgbench failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let done: u64 = field(&text, "number of transactions actually processed:").context("pgbench counted nothing")?;
    let rate: f64 = field(&text, "tps =").context("pgbench gave no rate")?;
    let failed: u64 = field(&text, "number of failed transactions:").unwrap_or_default();
    Ok(Load {
        done,
        failed,
        // Without the time it takes to connect, as pgbench itself reports it.
        seconds: done as f64 / rate,
        latencies_us: latencies(folder.path())?,
        cpu,
        ..Load::default()
    })
}

fn field<T: std::str::FromStr>(text: &str, name: &str) -> Option<T> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().split([' ', '/']).next()?.parse().ok()
}

/// The third field of every line of pgbench's logs, one file a thread, in microseconds.
fn latencies(folder: &Path) -> Result<Vec<u32>> {
    let mut latencies = Vec::new();
    for file in std::fs::read_dir(folder)? {
        let path = file?.path();
        if path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("log."))
        {
            let text = std::fs::read_to_string(path)?;
            latencies.extend(
                text.lines()
                    .filter_map(|line| line.split(' ').nth(2)?.parse::<u32>().ok()),
            );
        }
    }
    Ok(latencies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pgbench_s_report_is_read() {
        let text = "number of transactions actually processed: 2412\nnumber of failed transactions: 3 (0.1%)\ntps = 1206.5 (without initial connection time)\n";
        assert_eq!(
            field::<u64>(text, "number of transactions actually processed:"),
            Some(2412)
        );
        assert_eq!(field::<u64>(text, "number of failed transactions:"), Some(3));
        assert_eq!(field::<f64>(text, "tps ="), Some(1206.5));
    }
}
