//! A private Postgres for one run: initialised, started and removed here, with full durability.

use std::{
    fs,
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use sqlx::{Connection, Executor, PgConnection, PgPool, postgres::PgPoolOptions};
use tempfile::TempDir;
use tokio::process::Child;

const READY_WITHIN: Duration = Duration::from_secs(60);
const STOP_WITHIN: Duration = Duration::from_secs(60);

/// What is set beside Postgres' own defaults. Durability first: without it no figure here means anything.
const SETTINGS: &[(&str, &str)] = &[
    ("fsync", "on"),
    ("synchronous_commit", "on"),
    ("full_page_writes", "on"),
    ("shared_buffers", "1GB"),
    ("max_wal_size", "8GB"),
    ("max_connections", "400"),
    ("listen_addresses", ""),
    ("timezone", "UTC"),
];

/// A running server. [`Server::stop`] ends it and removes its data; dropped without, it is killed.
pub struct Server {
    process: Child,
    binaries: PathBuf,
    folder: TempDir,
}

impl Server {
    /// Starts a fresh cluster under `parent`, or the system's temporary folder.
    ///
    /// # Errors
    /// When no server is installed or it does not start.
    pub async fn start(parent: Option<&Path>) -> Result<Self> {
        let binaries = binaries()?;
        let parent = parent.map_or_else(std::env::temp_dir, Path::to_path_buf);
        let folder = tempfile::Builder::new()
            .prefix("kinledger-bench-")
            .tempdir_in(&parent)?;
        let user = unprivileged()?;
        if let Some((uid, gid)) = user {
            std::os::unix::fs::chown(folder.path(), Some(uid), Some(gid))?;
        }
        let cluster = folder.path().join("cluster");
        let initialised = as_user(&binaries.join("initdb"), user)
            .arg("-D")
            .arg(&cluster)
            .args([
                "-U",
                "bench",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--no-locale",
                "--data-checksums",
            ])
            .output()
            .context("cannot run initdb")?;
        if !initialised.status.success() {
            bail!("initdb failed: {}", String::from_utf8_lossy(&initialised.stderr));
        }
        let log = fs::File::create(folder.path().join("server.log"))?;
        let mut command = as_user(&binaries.join("postgres"), user);
        command.arg("-D").arg(&cluster).arg("-k").arg(folder.path());
        for (name, value) in SETTINGS {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0);
        let process = tokio::process::Command::from(command)
            .kill_on_drop(true)
            .spawn()
            .context("cannot start postgres")?;
        let mut server = Self {
            process,
            binaries,
            folder,
        };
        server.wait_until_ready().await?;
        Ok(server)
    }

    /// Where a database of this server is.
    pub fn url(&self, database: &str) -> String {
        let socket = self.sockets().as_os_str().as_encoded_bytes();
        let socket: String = socket.iter().map(|byte| format!("%{byte:02X}")).collect();
        format!("postgres://bench@localhost/{database}?host={socket}")
    }

    /// The folder of its Unix socket.
    pub fn sockets(&self) -> &Path {
        self.folder.path()
    }

    /// Where its binaries are.
    pub fn binaries(&self) -> &Path {
        &self.binaries
    }

    /// The postmaster's process id.
    pub fn process_id(&self) -> Option<u32> {
        self.process.id()
    }

    /// A pool that acts as the owner of everything, for preparing and counting.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn owner(&self, database: &str) -> Result<PgPool> {
        Ok(PgPoolOptions::new()
            .max_connections(4)
            .connect(&self.url(database))
            .await?)
    }

    /// Makes a database, as a copy of another when one is named; an older one of the name goes first.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn create_database(&self, name: &str, template: Option<&str>) -> Result<()> {
        let mut connection = PgConnection::connect(&self.url("postgres")).await?;
        connection
            .execute(format!("drop database if exists {name} with (force)").as_str())
            .await?;
        let copied = template
            .map(|template| format!("template {template} strategy file_copy"))
            .unwrap_or_default();
        connection
            .execute(format!("create database {name} {copied}").as_str())
            .await?;
        connection.close().await?;
        Ok(())
    }

    /// Writes everything out, so that no measurement pays for the one before it.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn checkpoint(&self) -> Result<()> {
        let mut connection = PgConnection::connect(&self.url("postgres")).await?;
        connection.execute("checkpoint").await?;
        connection.close().await?;
        Ok(())
    }

    /// Stops it in order.
    ///
    /// # Errors
    /// When it does not stop in time.
    pub async fn stop(mut self) -> Result<()> {
        let stopping = as_user(&self.binaries.join("pg_ctl"), unprivileged()?)
            .args(["stop", "-m", "fast", "-W", "-D"])
            .arg(self.folder.path().join("cluster"))
            .stdout(Stdio::null())
            .status()?;
        if !stopping.success() {
            bail!("pg_ctl stop failed");
        }
        tokio::time::timeout(STOP_WITHIN, self.process.wait())
            .await
            .context("postgres does not stop")??;
        Ok(())
    }

    async fn wait_until_ready(&mut self) -> Result<()> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait()? {
                bail!("postgres ended at once ({status}):\n{}", self.log());
            }
            if let Ok(connection) = PgConnection::connect(&self.url("postgres")).await {
                return Ok(connection.close().await?);
            }
            if began.elapsed() > READY_WITHIN {
                bail!("postgres is not ready after {READY_WITHIN:?}:\n{}", self.log());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("server.log")).unwrap_or_default()
    }
}

/// The folder of `initdb`, `postgres`, `pg_ctl` and `pgbench`: on the PATH, or Debian's newest.
fn binaries() -> Result<PathBuf> {
    let mut candidates: Vec<PathBuf> = std::env::var_os("PATH")
        .iter()
        .flat_map(std::env::split_paths)
        .collect();
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|folder| Some((folder.file_name().to_str()?.parse().ok()?, folder.path().join("bin"))))
        .collect();
    versions.sort_unstable_by(|a, b| b.cmp(a));
    candidates.extend(versions.into_iter().map(|(_, path)| path));
    let is_complete = |path: &PathBuf| {
        ["initdb", "postgres", "pg_ctl", "pgbench"]
            .iter()
            .all(|name| path.join(name).exists())
    };
    candidates.into_iter().find(is_complete).context(
        "no PostgreSQL server with pgbench found on this machine (Debian: apt-get install postgresql; Homebrew: brew install postgresql)",
    )
}

/// Whom Postgres runs as when we are root, which it refuses to be.
fn unprivileged() -> Result<Option<(u32, u32)>> {
    if fs::metadata("/proc/self")
        .map(|me| me.uid())
        .or_else(|_| id("-u", None).context("no id"))?
        != 0
    {
        return Ok(None);
    }
    let known = ["postgres", "kinledger", "nobody"].into_iter();
    let found = known
        .filter_map(|name| Some((id("-u", Some(name))?, id("-g", Some(name))?)))
        .next();
    Ok(Some(found.context(
        "Postgres does not run as root, and there is no user postgres or nobody",
    )?))
}

fn id(flag: &str, name: Option<&str>) -> Option<u32> {
    let output = Command::new("id")
        .arg(flag)
        .args(name)
        .stderr(Stdio::null())
        .output()
        .ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

fn as_user(program: &Path, user: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(program);
    command.env("LC_ALL", "C").current_dir("/");
    if let Some((uid, gid)) = user {
        command.uid(uid).gid(gid);
    }
    command
}
