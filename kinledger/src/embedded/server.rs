//! The server itself: initialised once, started, kept running, stopped.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use sqlx::{Connection, PgConnection};
use tokio::{process::Child, sync::watch, task::JoinHandle};

use super::{
    DataFolder,
    binaries::{binaries, cluster_version},
    user::{RunAs, cluster_home, run_as},
};

const READY_WITHIN: Duration = Duration::from_secs(120);
const STOP_WITHIN: Duration = Duration::from_secs(60);
/// Waited before a server that ended by itself is started again; doubles while it does not come up.
const RESTART_PAUSE: Duration = Duration::from_millis(100);
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(10);
/// Longest path of a Unix socket that every system takes, in bytes; Postgres appends 17 more.
const SOCKET_FOLDER_BYTES_MAX: usize = 80;
const SETTINGS: [&str; 8] = [
    "listen_addresses=",
    "max_connections=100",
    "shared_buffers=128MB",
    "max_wal_size=2GB",
    "fsync=on",
    "synchronous_commit=on",
    "full_page_writes=on",
    "timezone=UTC",
];

/// A running private server, kept running. [`Server::stop`] ends it in order; dropped without, it is left to the next start.
pub struct Server {
    cluster: Cluster,
    stop: watch::Sender<bool>,
    keeper: JoinHandle<()>,
}

/// A cluster on this machine, and how it is started.
#[derive(Clone)]
struct Cluster {
    binaries: PathBuf,
    folder: PathBuf,
    sockets: PathBuf,
    log: PathBuf,
    run_as: Option<RunAs>,
    url: String,
}

impl Server {
    /// Finds, initialises when new, and starts the server; ready when this returns. From then on a server that ends by itself
    /// (out of memory, a slip of the operator) is started again, and recovers what was committed.
    ///
    /// # Errors
    /// When no server is installed, or it does not start; the end of its own log is part of the message.
    pub async fn start(folder: &DataFolder) -> Result<Self> {
        let run_as = run_as();
        let home = cluster_home(folder.path(), run_as)?;
        let data = home.join("cluster");
        let binaries = binaries(folder.path(), cluster_version(&data).as_deref()).await?;
        let password = hex::encode(folder.secret("database-secret")?);
        if !data.join("PG_VERSION").exists() {
            initialise(&binaries, &home, &data, run_as, &password)?;
        }
        let sockets = socket_folder(&home, run_as)?;
        let url = format!(
            "postgres://kinledger:{password}@localhost/kinledger?host={}",
            encoded(&sockets)
        );
        let cluster = Cluster {
            binaries,
            folder: data,
            sockets,
            log: home.join("server.log"),
            run_as,
            url,
        };
        let process = cluster.start().await?;
        let (stop, stopping) = watch::channel(false);
        let keeper = tokio::spawn(keep(cluster.clone(), process, stopping));
        Ok(Self { cluster, stop, keeper })
    }

    /// Where to connect; with the password, so it is not for logs.
    pub fn url(&self) -> &str {
        &self.cluster.url
    }

    /// Stops the server in order: open connections end, everything is on disk.
    ///
    /// # Errors
    /// When it does not stop in time.
    pub async fn stop(self) -> Result<()> {
        self.stop.send_replace(true);
        self.cluster.stop_leftover()?;
        tokio::time::timeout(STOP_WITHIN, self.keeper)
            .await
            .context("postgres does not stop")??;
        // One that was about to be started again.
        self.cluster.stop_leftover().map(drop)
    }
}

/// Starts the server again whenever it ends by itself, until told to stop.
async fn keep(cluster: Cluster, mut process: Child, mut stopping: watch::Receiver<bool>) {
    let mut pause = RESTART_PAUSE;
    loop {
        let started = Instant::now();
        let ended = process.wait().await;
        if *stopping.borrow() {
            return;
        }
        tracing::error!(
            status = ended.map_or_else(|error| error.to_string(), |status| status.to_string()),
            log = %cluster.log.display(),
            "the private database ended by itself; starting it again"
        );
        if started.elapsed() > RESTART_PAUSE_MAX {
            pause = RESTART_PAUSE;
        }
        process = loop {
            // A sender that is gone means the end as well.
            if tokio::time::timeout(pause, stopping.wait_for(|is_stopping| *is_stopping))
                .await
                .is_ok()
            {
                return;
            }
            pause = (pause * 2).min(RESTART_PAUSE_MAX);
            let again = tokio::select! {
                again = cluster.start() => again,
                _ = stopping.wait_for(|is_stopping| *is_stopping) => return,
            };
            match again {
                Ok(process) => {
                    tracing::info!("the private database answers again");
                    break process;
                }
                Err(error) => tracing::error!(
                    error = format!("{error:#}"),
                    "the private database does not start; trying again"
                ),
            }
        };
    }
}

impl Cluster {
    /// Starts the server, after one that a killed process may have left, and waits until it answers.
    async fn start(&self) -> Result<Child> {
        if self.stop_leftover()? {
            tracing::info!("the last run did not end in order: stopped the server it left");
        }
        let log = fs::OpenOptions::new().create(true).append(true).open(&self.log)?;
        let mut command = as_user(&self.binaries.join("postgres"), self.run_as);
        command.arg("-D").arg(&self.folder).arg("-k").arg(&self.sockets);
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // A group of its own, so that Ctrl-C at the terminal reaches us alone and we stop it after our own work.
            .process_group(0);
        let mut process = tokio::process::Command::from(command)
            .spawn()
            .context("cannot start postgres")?;
        self.wait_until_ready(&mut process).await?;
        Ok(process)
    }

    async fn wait_until_ready(&self, process: &mut Child) -> Result<()> {
        let began = Instant::now();
        let maintenance = self.url.replacen("/kinledger?", "/postgres?", 1);
        loop {
            if let Some(status) = process.try_wait()? {
                bail!(
                    "postgres ended at once ({status}); the end of its log {}:\n{}",
                    self.log.display(),
                    tail(&self.log)
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
                    self.log.display(),
                    tail(&self.log)
                );
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Stops the server in order if one runs, and says whether one did; it may have outlived its kinledger (kill -9).
    fn stop_leftover(&self) -> Result<bool> {
        if !self.folder.join("postmaster.pid").exists() || !self.is_running()? {
            return Ok(false);
        }
        // It may be dying of what ended the last run, and be gone before it can be told to stop.
        if self.control("fast").is_err() && self.is_running()? {
            let stopped = self.control("immediate");
            if self.is_running()? {
                return stopped.map(|()| true);
            }
        }
        Ok(true)
    }

    fn is_running(&self) -> Result<bool> {
        let status = as_user(&self.binaries.join("pg_ctl"), self.run_as)
            .arg("status")
            .arg("-D")
            .arg(&self.folder)
            .current_dir("/")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        Ok(status.success())
    }

    fn control(&self, mode: &str) -> Result<()> {
        let output = as_user(&self.binaries.join("pg_ctl"), self.run_as)
            .args(["stop", "-w", "-t", "30", "-m", mode, "-D"])
            .arg(&self.folder)
            .current_dir("/")
            .output()
            .context("cannot run pg_ctl")?;
        if !output.status.success() {
            bail!("pg_ctl stop failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }
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
