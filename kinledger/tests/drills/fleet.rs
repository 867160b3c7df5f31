//! The parts as processes of their own, any number of each; started, killed, frozen and looked at one by one.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    net::TcpListener,
    path::PathBuf,
    process::{Child, Stdio},
    sync::{Arc, PoisonError, RwLock},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;
use uuid::Uuid;

use crate::{
    servers::folder,
    support::{Client, Entrance, Route, program, signal, wait_until},
};

const READY_WITHIN: Duration = Duration::from_secs(60);
const STOPPED_WITHIN: Duration = Duration::from_secs(60);

/// The secret of every fleet, so that who checks a log can open its texts.
pub const SECRET: &str = "4d1f0a8ce2b75396f1083bd7a45ce6920b8f7e3d1c6a5948273605f4e3d2c1b0";

/// The same database, with the login that services use.
fn service_url(owner_url: &str) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(service_kit::testing::service_url(owner_url))
}

/// Processes on one database, and on one topic when there is Kafka. Dropped, they are gone.
pub struct Fleet {
    running: BTreeMap<String, Child>,
    addresses: Arc<Addresses>,
    environment: Vec<(String, String)>,
    folder: TempDir,
}

impl Fleet {
    /// No process yet.
    pub fn new(database_url: &str) -> Self {
        let environment = [
            ("DATABASE_URL", service_url(database_url)),
            ("KINLEDGER_SECRET", SECRET.to_owned()),
        ];
        Self {
            running: BTreeMap::new(),
            addresses: Arc::default(),
            environment: environment.map(|(key, value)| (key.to_owned(), value)).into(),
            folder: folder(),
        }
    }

    /// Relay and projectors go by way of Kafka, on a topic of their own.
    pub fn with_kafka(mut self, brokers: &str) -> Self {
        self.set("KAFKA_BROKERS", brokers);
        self.set(
            "KINLEDGER_TOPIC",
            &format!("kinledger.drill.{}", Uuid::new_v4().simple()),
        );
        self
    }

    /// Sealers have their key in the fleet's folder, and give checkpoints to a place there.
    pub fn with_sealing(mut self) -> Self {
        let key = self.folder.path().join("sealing-key");
        let kept = format!("file://{}", self.kept().display());
        self.set("KINLEDGER_SEALING_KEY_FILE", key.to_str().unwrap());
        self.set("KINLEDGER_CHECKPOINTS_TO", &kept);
        self
    }

    /// A command-api keeps who was erased in the fleet's folder.
    pub fn with_register(mut self) -> Self {
        let register = self.register();
        self.set("KINLEDGER_ERASURES_FILE", register.to_str().unwrap());
        self
    }

    /// The register of erasures.
    pub fn register(&self) -> PathBuf {
        self.folder.path().join("erasures")
    }

    /// Where checkpoints are kept.
    pub fn kept(&self) -> PathBuf {
        self.folder.path().join("kept")
    }

    /// A variable of every process started from now on.
    pub fn set(&mut self, key: &str, value: &str) {
        self.environment.push((key.to_owned(), value.to_owned()));
    }

    /// A variable of every process, as it was set last.
    pub fn get(&self, key: &str) -> String {
        let found = self.environment.iter().rev().find(|(name, _)| name == key);
        found.unwrap_or_else(|| panic!("no {key}")).1.clone()
    }

    /// Starts a process and waits until it is ready; says how long that took. A name is a part's, perhaps with a number:
    /// `projectors-2`.
    pub fn start(&mut self, name: &str) -> Duration {
        let began = Instant::now();
        self.launch(name);
        let client = self.client_of(name);
        let is_ready = wait_until(READY_WITHIN, || {
            client
                .try_send("GET", "/readyz", &[], None)
                .is_ok_and(|reply| reply.status == 200)
        });
        assert!(
            is_ready,
            "{name} was not ready in time; its log:\n{}",
            self.logged(name)
        );
        began.elapsed()
    }

    /// Starts several, one after the other.
    pub fn start_all(&mut self, names: &[&str]) {
        for name in names {
            self.start(name);
        }
    }

    /// Starts a process and waits for nothing.
    pub fn launch(&mut self, name: &str) {
        assert!(!self.running.contains_key(name), "{name} is running already");
        let part = name
            .trim_end_matches(|c: char| c.is_ascii_digit())
            .trim_end_matches('-');
        // Held until just before the process takes it.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log(name))
            .unwrap();
        let mut command = program();
        command
            .args(["serve", part, "--listen", &format!("127.0.0.1:{port}")])
            .envs(
                self.environment
                    .iter()
                    .map(|(key, value)| (key.as_str(), value.as_str())),
            )
            .stdout(Stdio::null())
            .stderr(log);
        drop(listener);
        let child = command.spawn().unwrap();
        self.addresses.set(name, format!("http://127.0.0.1:{port}"));
        self.running.insert(name.to_owned(), child);
    }

    /// kill -9.
    pub fn kill(&mut self, name: &str) {
        let mut child = self
            .running
            .remove(name)
            .unwrap_or_else(|| panic!("{name} is not running"));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGTERM, and its exit code.
    pub fn stop(&mut self, name: &str) -> Option<i32> {
        let mut child = self
            .running
            .remove(name)
            .unwrap_or_else(|| panic!("{name} is not running"));
        assert!(signal("-TERM", child.id()));
        let has_ended = wait_until(STOPPED_WITHIN, || child.try_wait().unwrap().is_some());
        if !has_ended {
            drop(child.kill());
            panic!("{name} did not stop in time; its log:\n{}", self.logged(name));
        }
        child.wait().unwrap().code()
    }

    /// SIGSTOP or SIGCONT.
    pub fn freeze(&self, name: &str, is_frozen: bool) {
        let signal_name = if is_frozen { "-STOP" } else { "-CONT" };
        assert!(signal(signal_name, self.running[name].id()));
    }

    /// Who runs.
    pub fn names(&self) -> Vec<String> {
        self.running.keys().cloned().collect()
    }

    pub fn is_running(&mut self, name: &str) -> bool {
        self.running
            .get_mut(name)
            .is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    /// Somebody who asks one process.
    pub fn client_of(&self, name: &str) -> Client {
        let route = RwLock::new(self.addresses.of(name));
        Client::new(Arc::new(route)).impatient(Duration::from_secs(5))
    }

    /// What `/readyz` of a process says; nothing while it does not answer.
    pub fn readiness(&self, name: &str) -> Option<(u16, Value)> {
        let reply = self.client_of(name).try_send("GET", "/readyz", &[], None).ok()?;
        Some((reply.status, reply.json()))
    }

    /// A figure of a process's metrics, summed over its labels.
    pub fn metric(&self, name: &str, metric: &str) -> f64 {
        let text = self.client_of(name).get("/metrics").text();
        text.lines()
            .filter(|line| {
                line.strip_prefix(metric)
                    .is_some_and(|rest| rest.starts_with(' ') || rest.starts_with('{'))
            })
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// What a process said on standard error, over all its lives.
    pub fn logged(&self, name: &str) -> String {
        fs::read_to_string(self.log(name)).unwrap_or_default()
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.log"))
    }
}

impl Entrance for Fleet {
    fn client(&self) -> Client {
        Client::new(self.addresses.clone())
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for child in self.running.values_mut() {
            drop(child.kill());
            drop(child.wait());
        }
        if thread::panicking() {
            for file in fs::read_dir(self.folder.path()).into_iter().flatten().flatten() {
                let text = fs::read_to_string(file.path()).unwrap_or_default();
                let lines: Vec<&str> = text.lines().collect();
                let end = lines[lines.len().saturating_sub(15)..].join("\n");
                eprintln!("the end of {}:\n{end}", file.path().display());
            }
        }
    }
}

/// Where each process listens, and which part a request is for: what the gateway does in earnest.
#[derive(Default)]
struct Addresses(RwLock<BTreeMap<String, String>>);

impl Addresses {
    fn set(&self, name: &str, address: String) {
        let mut addresses = self.0.write().unwrap_or_else(PoisonError::into_inner);
        addresses.insert(name.to_owned(), address);
    }

    fn of(&self, name: &str) -> String {
        let addresses = self.0.read().unwrap_or_else(PoisonError::into_inner);
        addresses.get(name).cloned().unwrap_or_default()
    }
}

impl Route for Addresses {
    fn base(&self, method: &str, path: &str) -> String {
        let path = path.split('?').next().unwrap_or_default();
        let of_family = path
            .strip_prefix("/api/v1/families/")
            .and_then(|rest| rest.split('/').nth(1));
        let is_of_the_log = matches!(of_family, Some("commands" | "audit")) || path.starts_with("/api/v1/auth/");
        self.of(match (method, of_family) {
            ("GET", _) if !is_of_the_log => "query-api",
            _ => "command-api",
        })
    }
}
