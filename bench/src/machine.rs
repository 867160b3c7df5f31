//! The machine, and where its time goes: Postgres, our server, the load generator.

use std::{
    fs,
    ops::Sub,
    time::{Duration, Instant},
};

use anyhow::Result;
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::{Value, json};

use crate::server::Server;

/// Name of the threads that act as the service.
pub const SERVER_THREADS: &str = "service";
/// Name of the threads that act as its clients.
pub const GENERATOR_THREADS: &str = "generator";
/// How often recorded metrics are folded, as a scraper would have it.
const DRAIN_EVERY: Duration = Duration::from_secs(5);
/// What one tick of `/proc` is, in seconds.
const TICK_S: f64 = 0.01;
/// Settings that are printed with the figures.
const SHOWN: &[&str] = &[
    "server_version",
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "wal_sync_method",
    "data_checksums",
    "shared_buffers",
    "max_wal_size",
];

/// What the figures were measured on.
#[derive(Clone, Debug)]
pub struct Machine {
    cores: usize,
    memory_gib: Option<u64>,
    filesystem: Option<String>,
    settings: Vec<(String, String)>,
}

impl Machine {
    /// Looks around.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn look(server: &Server) -> Result<Self> {
        let pool = server.owner("postgres").await?;
        let mut settings = Vec::new();
        for name in SHOWN {
            settings.push((
                (*name).to_owned(),
                sqlx::query_scalar("select current_setting($1)")
                    .bind(name)
                    .fetch_one(&pool)
                    .await?,
            ));
        }
        pool.close().await;
        Ok(Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gib: memory_gib(),
            filesystem: filesystem(server.sockets()),
            settings,
        })
    }

    /// What it is, in one line.
    pub fn describe(&self) -> String {
        let memory = self
            .memory_gib
            .map_or_else(|| "memory unknown".to_owned(), |gib| format!("{gib} GiB"));
        let filesystem = self.filesystem.as_deref().unwrap_or("unknown file system");
        let settings: Vec<String> = self
            .settings
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        format!(
            "{} cores, {memory}, database on {filesystem}; clients, service and Postgres share the cores; {}.",
            self.cores,
            settings.join(" ")
        )
    }

    /// One paragraph for people.
    pub fn print(&self) {
        println!("machine   {}", self.describe());
        if self.filesystem.as_deref() == Some("tmpfs") {
            println!(
                "WARNING   the database is in memory, a flush costs nothing: name a folder on a disk with --data-dir"
            );
        }
    }

    /// The same for machines.
    pub fn to_json(&self) -> Value {
        let settings: serde_json::Map<String, Value> = self
            .settings
            .iter()
            .map(|(name, value)| (name.clone(), value.clone().into()))
            .collect();
        json!({"cores": self.cores, "memory_gib": self.memory_gib, "filesystem": self.filesystem, "postgres": settings})
    }
}

fn memory_gib() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let kib: u64 = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?
        .trim()
        .strip_suffix(" kB")?
        .parse()
        .ok()?;
    Some((kib + 512 * 1024) / (1024 * 1024))
}

/// The type of the file system that holds a folder.
fn filesystem(folder: &std::path::Path) -> Option<String> {
    let mounts = fs::read_to_string("/proc/mounts").ok()?;
    let fields = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        Some((fields.next()?, fields.next()?))
    });
    fields
        .filter(|(at, _)| folder.starts_with(at))
        .max_by_key(|(at, _)| at.len())
        .map(|(_, kind)| kind.to_owned())
}

/// Processor time, in seconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuTime {
    /// Of all Postgres processes.
    pub postgres: f64,
    /// Of the threads that act as the service.
    pub service: f64,
    /// Of the threads that act as its clients.
    pub clients: f64,
}

impl Sub for CpuTime {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            postgres: (self.postgres - before.postgres).max(0.0),
            service: (self.service - before.service).max(0.0),
            clients: (self.clients - before.clients).max(0.0),
        }
    }
}

/// Reads processor time where the system tells it (Linux); elsewhere all is zero.
#[derive(Clone, Copy, Debug)]
pub struct CpuClock {
    postmaster: Option<u32>,
}

impl CpuClock {
    /// A clock for this process and this server.
    pub fn new(server: &Server) -> Self {
        Self {
            postmaster: server.process_id(),
        }
    }

    /// Time used so far.
    pub fn read(&self) -> CpuTime {
        let mut time = CpuTime::default();
        for entry in entries("/proc") {
            let Some(stat) = Stat::read(&format!("/proc/{entry}/stat")) else {
                continue;
            };
            if Some(entry) == self.postmaster {
                time.postgres += stat.seconds + stat.ended_children_seconds;
            } else if Some(stat.parent) == self.postmaster {
                time.postgres += stat.seconds;
            }
        }
        // Programs that were run as clients, pgbench first of all.
        time.clients += Stat::read("/proc/self/stat").map_or(0.0, |stat| stat.ended_children_seconds);
        for entry in entries("/proc/self/task") {
            let Some(stat) = Stat::read(&format!("/proc/self/task/{entry}/stat")) else {
                continue;
            };
            match stat.name.as_str() {
                GENERATOR_THREADS => time.clients += stat.seconds,
                _ => time.service += stat.seconds,
            }
        }
        time
    }
}

fn entries(folder: &str) -> Vec<u32> {
    let found = fs::read_dir(folder).into_iter().flatten().flatten();
    found
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

struct Stat {
    name: String,
    parent: u32,
    seconds: f64,
    ended_children_seconds: f64,
}

impl Stat {
    fn read(path: &str) -> Option<Self> {
        let text = fs::read_to_string(path).ok()?;
        let (head, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        // Counted from the state, the third field of proc(5): the parent is the fourth, user and system time the 14th and
        // 15th, those of children that have ended the 16th and 17th.
        let seconds = |first: usize| -> Option<f64> {
            let ticks = fields.get(first)?.parse::<u64>().ok()? + fields.get(first + 1)?.parse::<u64>().ok()?;
            Some(ticks as f64 * TICK_S)
        };
        Some(Self {
            name: head.split_once('(')?.1.to_owned(),
            parent: fields.get(1)?.parse().ok()?,
            seconds: seconds(11)?,
            ended_children_seconds: seconds(13)?,
        })
    }
}

/// The share of all cores that is busy while we only look, and the share a hypervisor takes, in percent.
pub async fn busy_percent() -> Option<(f64, f64)> {
    let before = cpu_line()?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let after = cpu_line()?;
    let spent: Vec<f64> = after
        .iter()
        .zip(&before)
        .map(|(after, before)| after.saturating_sub(*before) as f64)
        .collect();
    let all: f64 = spent.iter().take(8).sum();
    let idle = spent.get(3)? + spent.get(4)?;
    (all > 0.0).then(|| {
        (
            100.0 * (all - idle) / all,
            100.0 * spent.get(7).copied().unwrap_or_default() / all,
        )
    })
}

fn cpu_line() -> Option<Vec<u64>> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    text.lines()
        .next()?
        .split_whitespace()
        .skip(1)
        .map(|field| field.parse().ok())
        .collect()
}

/// Folds recorded metrics now and then, as a scraper would.
pub fn drain_metrics(handle: PrometheusHandle) {
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval_at((Instant::now() + DRAIN_EVERY).into(), DRAIN_EVERY);
        loop {
            ticks.tick().await;
            handle.run_upkeep();
        }
    });
}
