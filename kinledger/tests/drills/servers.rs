//! Servers of a drill's own, which it may break: a Postgres that is durable as in earnest, and Kafka brokers.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use sqlx::{Connection, PgConnection};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use uuid::Uuid;

use crate::support::{pause, signal, wait_until};

const STARTS_WITHIN: Duration = Duration::from_secs(120);

/// A runtime for a drill's own questions to the database.
pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// A server by its variable: a missing one fails the drill, it does not skip it.
pub fn named(variable: &str, server: &str) -> String {
    std::env::var(variable)
        .unwrap_or_else(|_| panic!("{variable} is not set: run the drills with `make drill`, which starts {server}"))
}

/// A folder that unprivileged servers get through to.
pub fn folder() -> TempDir {
    let folder = tempfile::Builder::new().prefix("kinledger-drill-").tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711)).unwrap();
    folder
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts").join(name)
}

/// Runs one of the scripts; says what it printed, or what it complained of.
fn run(name: &str, arguments: &[&str], environment: &[(String, String)]) -> Result<String, String> {
    let output = Command::new(script(name))
        .args(arguments)
        .envs(environment.iter().map(|(key, value)| (key.as_str(), value.as_str())))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// Below the range that systems hand to outgoing connections, so that it is still free when the server takes it.
fn free_port() -> u16 {
    loop {
        let port = rand::random_range(15_000..30_000);
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A Postgres of the drill's own. Dropped, it is gone.
pub struct Postgres {
    home: PathBuf,
    port: u16,
    /// Of the server's processes, such as a library to load before others.
    environment: Vec<(String, String)>,
    _folder: Option<TempDir>,
}

impl Postgres {
    /// A new cluster, started.
    pub fn start() -> Self {
        let folder = folder();
        let home = folder.path().join("postgres");
        Self::start_in(home, Some(folder), Vec::new(), "")
    }

    /// The same, in a place of the drill's choosing and with settings of its own, one a line.
    pub fn start_in(
        home: PathBuf,
        folder: Option<TempDir>,
        environment: Vec<(String, String)>,
        settings: &str,
    ) -> Self {
        let postgres = Self {
            home,
            port: free_port(),
            environment,
            _folder: folder,
        };
        postgres.start_again();
        // The script makes clusters that nobody minds losing. This one is to keep its word.
        let conf = postgres.home.join("data/postgresql.conf");
        let mut text = fs::read_to_string(&conf).unwrap();
        text += "fsync = on\nfull_page_writes = on\nsynchronous_commit = on\nshared_buffers = '32MB'\n";
        text += settings;
        fs::write(&conf, text).unwrap();
        postgres.stop_immediate();
        postgres.start_again();
        postgres
    }

    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The superuser's address of the database `postgres`.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Starts it until it answers; says how long that took.
    pub fn start_again(&self) -> Duration {
        let began = Instant::now();
        loop {
            match self.try_start() {
                Ok(()) => return began.elapsed(),
                // What a killed server left in memory is still in use until the last of its processes has seen it.
                Err(error) => assert!(
                    began.elapsed() < STARTS_WITHIN,
                    "Postgres does not start: {error}\n{}",
                    self.logged()
                ),
            }
            pause(Duration::from_millis(100));
        }
    }

    pub fn try_start(&self) -> Result<(), String> {
        let (home, port) = (self.home.to_str().unwrap(), self.port.to_string());
        run("postgres.sh", &["start", home, &port], &self.environment).map(|_| ())
    }

    /// The first of its processes.
    pub fn pid(&self) -> Option<u32> {
        let text = fs::read_to_string(self.home.join("data/postmaster.pid")).ok()?;
        let pid = text.lines().next()?.trim().parse().ok()?;
        let cmdline = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        String::from_utf8_lossy(&cmdline)
            .contains(self.home.to_str()?)
            .then_some(pid)
    }

    /// All of its processes, the first first.
    pub fn pids(&self) -> Vec<u32> {
        let Some(first) = self.pid() else { return Vec::new() };
        let children = fs::read_to_string(format!("/proc/{first}/task/{first}/children")).unwrap_or_default();
        let children = children.split_whitespace().filter_map(|pid| pid.parse().ok());
        std::iter::once(first).chain(children).collect()
    }

    /// kill -9 of every process of it, as when the power fails.
    pub fn kill(&self) {
        let pids = self.pids();
        assert!(!pids.is_empty(), "it does not run");
        for pid in &pids {
            signal("-KILL", *pid);
        }
        let are_gone = wait_until(STARTS_WITHIN, || !pids.iter().any(|pid| signal("-0", *pid)));
        assert!(are_gone, "{pids:?} cannot be killed");
    }

    /// `pg_ctl stop -m immediate`.
    pub fn stop_immediate(&self) {
        if let Some(pid) = self.pid() {
            signal("-QUIT", pid);
            let is_gone = wait_until(STARTS_WITHIN, || !signal("-0", pid));
            assert!(is_gone, "{pid} does not stop");
        }
    }

    /// `pg_ctl stop -m fast`: everything is on disk.
    pub fn stop_in_order(&self) {
        if let Some(pid) = self.pid() {
            signal("-INT", pid);
            let is_gone = wait_until(STARTS_WITHIN, || !signal("-0", pid));
            assert!(is_gone, "{pid} does not stop");
        }
    }

    /// Stops all of its processes where they are, or lets them go on.
    pub fn freeze(&self, is_frozen: bool) {
        for pid in self.pids() {
            signal(if is_frozen { "-STOP" } else { "-CONT" }, pid);
        }
    }

    /// The end of its log.
    pub fn logged(&self) -> String {
        let text = fs::read_to_string(self.home.join("postgres.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let pids = self.pids();
        for pid in &pids {
            signal("-CONT", *pid);
        }
        for pid in &pids {
            signal("-KILL", *pid);
        }
        wait_until(Duration::from_secs(10), || !pids.iter().any(|pid| signal("-0", *pid)));
    }
}

/// An empty database, on a server of the drill's own or on the one the test command started. Dropped, it is gone.
pub struct Database {
    server: String,
    name: String,
}

impl Database {
    pub fn create(server: &str) -> Self {
        let database = Self {
            server: server.to_owned(),
            name: format!("kinledger_drill_{}", Uuid::new_v4().simple()),
        };
        database.on_server("create database").unwrap();
        let migrated = crate::support::program()
            .arg("migrate")
            .env("DATABASE_URL", database.url())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&migrated.stderr);
        assert!(migrated.status.success(), "{said}");
        database
    }

    /// On the server that the test command started.
    pub fn shared() -> Self {
        Self::create(&named("KINLEDGER_TEST_DATABASE_URL", "Postgres"))
    }

    /// Another one in its place, with nothing in it.
    pub fn empty(&self) {
        self.on_server("drop database").unwrap();
        self.on_server("create database").unwrap();
    }

    /// The superuser's address.
    pub fn url(&self) -> String {
        let (base, _) = self.server.rsplit_once('/').unwrap();
        format!("{base}/{}", self.name)
    }

    fn on_server(&self, action: &str) -> Result<(), sqlx::Error> {
        let suffix = if action.starts_with("drop") {
            " with (force)"
        } else {
            ""
        };
        runtime().block_on(async {
            let mut admin = PgConnection::connect(&self.server).await?;
            sqlx::query(&format!("{action} {}{suffix}", self.name))
                .execute(&mut admin)
                .await?;
            admin.close().await
        })
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // A server that the drill has stopped takes its databases along.
        drop(self.on_server("drop database if exists"));
    }
}

/// A Kafka broker of the drill's own. Dropped, it is gone.
pub struct Kafka {
    folder: TempDir,
    port: u16,
    /// The folder of the broker it has joined.
    peer: PathBuf,
}

impl Kafka {
    pub fn start() -> Self {
        Self::start_with(PathBuf::new())
    }

    /// A second broker of the same cluster.
    pub fn start_beside(&self) -> Self {
        Self::start_with(self.folder.path().to_owned())
    }

    fn start_with(peer: PathBuf) -> Self {
        let kafka = Self {
            folder: folder(),
            port: free_port(),
            peer,
        };
        kafka.start_again();
        kafka
    }

    pub fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn start_again(&self) {
        let (home, port) = (self.folder.path().to_str().unwrap(), self.port.to_string());
        let peer = self.peer.to_str().unwrap();
        run("kafka.sh", &["start", home, &port, peer], &[]).unwrap_or_else(|error| panic!("{error}"));
    }

    pub fn pid(&self) -> u32 {
        let text = fs::read_to_string(self.folder.path().join("kafka.pid")).unwrap();
        text.trim().parse().unwrap()
    }

    /// kill -9.
    pub fn kill(&self) {
        let pid = self.pid();
        signal("-KILL", pid);
        assert!(
            wait_until(Duration::from_secs(20), || !signal("-0", pid)),
            "{pid} cannot be killed"
        );
    }

    /// Stops it where it is: connections stay open and nobody answers. Or lets it go on.
    pub fn freeze(&self, is_frozen: bool) {
        assert!(signal(if is_frozen { "-STOP" } else { "-CONT" }, self.pid()));
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        // One that did not start has none, and says so by itself.
        if self.folder.path().join("kafka.pid").exists() {
            signal("-KILL", self.pid());
        }
    }
}
