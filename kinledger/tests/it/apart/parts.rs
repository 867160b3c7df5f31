//! The parts as processes of their own, against the servers the test command started.

use std::{
    collections::HashMap,
    fs::{self, OpenOptions},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Arc, PoisonError, RwLock},
    thread,
    time::Duration,
};

use event_store::{
    Lane, Record,
    feed::{Feed, KafkaFeed},
};
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use uuid::Uuid;

use crate::support::{Client, Entrance, Route, program, signal, wait_until};

/// Every part, in the order they start here: the relay makes the topic. Views are there before command-api makes the first key,
/// and take its first token all the same.
pub const PARTS: [&str; 7] = [
    "relay",
    "projectors",
    "query-api",
    "replay-api",
    "command-api",
    "reactors",
    "sealer",
];

const READY_WITHIN: Duration = Duration::from_secs(60);
const STOPPED_WITHIN: Duration = Duration::from_secs(60);
const KAFKA_WITHIN: Duration = Duration::from_secs(30);

/// All parts on a database and a topic of their own. Dropped, the processes and the database are gone.
pub struct Parts {
    running: HashMap<&'static str, Child>,
    addresses: Arc<Addresses>,
    topic: String,
    secret: String,
    service_url: String,
    checkpoints: PathBuf,
    variables: Vec<(String, String)>,
    folder: TempDir,
    // Goes after the processes that use it.
    database: Database,
}

impl Parts {
    /// Brings a new database up to date and starts every part.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with variables in the environment of every part.
    pub fn start_with(variables: &[(&str, String)]) -> Self {
        let run = Uuid::new_v4().simple();
        let mut parts = Self {
            running: HashMap::new(),
            addresses: Arc::default(),
            topic: format!("kinledger.test.{run}"),
            secret: hex_of(Uuid::new_v4(), Uuid::new_v4()),
            service_url: String::new(),
            checkpoints: PathBuf::new(),
            variables: variables
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect(),
            folder: tempfile::Builder::new().prefix("kinledger-it-").tempdir().unwrap(),
            database: Database::create(),
        };
        let migrated = program()
            .arg("migrate")
            .env("DATABASE_URL", parts.database.url())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&migrated.stderr);
        assert_eq!(migrated.status.code(), Some(0), "{said}");
        parts.service_url = parts.database.service_url();
        parts.keep_checkpoints_in("checkpoints");
        for part in PARTS {
            parts.start_part(part);
        }
        parts
    }

    /// Starts a part at a free port and waits until it is ready.
    pub fn start_part(&mut self, part: &'static str) {
        // A free port may be taken by somebody else before the part opens it.
        let is_ready = (0..5).any(|_| self.try_start(part));
        assert!(is_ready, "{part} does not start; its log:\n{}", self.logged(part));
    }

    fn try_start(&mut self, part: &'static str) -> bool {
        assert!(!self.running.contains_key(part), "{part} is running already");
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log(part))
            .unwrap();
        let mut child = self
            .serve(part)
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.addresses.set(part, format!("http://127.0.0.1:{port}"));
        let client = self.client_of(part);
        let mut has_ended = false;
        let is_ready = wait_until(READY_WITHIN, || {
            has_ended = child.try_wait().unwrap().is_some();
            has_ended
                || client
                    .try_send("GET", "/readyz", &[], None)
                    .is_ok_and(|reply| reply.status == 200)
        });
        if has_ended {
            return false;
        }
        self.running.insert(part, child);
        assert!(
            is_ready,
            "{part} was not ready in time; its log:\n{}",
            self.logged(part)
        );
        true
    }

    /// `kinledger serve PART`, told of the servers as in earnest: by its environment.
    fn serve(&self, part: &str) -> Command {
        let mut command = program();
        command
            .args(["serve", part])
            .env("DATABASE_URL", &self.service_url)
            .env("KAFKA_BROKERS", brokers())
            .env("KINLEDGER_TOPIC", &self.topic)
            .env("REDIS_URL", named("KINLEDGER_TEST_REDIS_URL", "Redis"))
            .env("KINLEDGER_SECRET", &self.secret)
            .env("KINLEDGER_ERASURES_FILE", self.register())
            .env("KINLEDGER_SEALING_KEY_FILE", self.folder().join("sealing-key"))
            .env(
                "KINLEDGER_CHECKPOINTS_TO",
                format!("file://{}", self.checkpoints.display()),
            )
            .env("COMMAND_API_URL", self.addresses.of("command-api"))
            .envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Another command of the binary on the same database, as its owner runs it.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let mut command = program();
        command
            .args(arguments)
            .env("DATABASE_URL", self.database_url())
            .env("KINLEDGER_SECRET", &self.secret);
        command.stdin(Stdio::null()).output().unwrap()
    }

    /// The sealer gives checkpoints to this place from its next start on.
    pub fn keep_checkpoints_in(&mut self, name: &str) {
        self.checkpoints = self.folder().join(name);
    }

    /// The register of erasures of the one command-api.
    pub fn register(&self) -> PathBuf {
        self.folder().join("erasures")
    }

    /// The database as its owner.
    pub fn database_url(&self) -> String {
        self.database.url()
    }

    /// An empty database in the place of this one.
    pub fn empty_database(&self) {
        self.database.drop_it().unwrap();
        self.database.create_it().unwrap();
    }

    /// What the database server has logged, of all its databases.
    pub fn logged_by_postgres(&self) -> Vec<u8> {
        self.database.server_log()
    }

    /// Where the log is published.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// A folder for files of the parts, and of the test.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// kill -9.
    pub fn kill(&mut self, part: &str) {
        let mut child = self.running.remove(part).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGTERM to every part at once, and each one's exit code.
    pub fn terminate(&mut self) -> Vec<(&'static str, Option<i32>)> {
        for child in self.running.values() {
            assert!(signal("-TERM", child.id()));
        }
        let mut codes = Vec::new();
        for part in PARTS {
            let child = self.running.get_mut(part).unwrap();
            let has_ended = wait_until(STOPPED_WITHIN, || child.try_wait().unwrap().is_some());
            assert!(
                has_ended,
                "{part} did not stop in time; its log:\n{}",
                self.logged(part)
            );
            codes.push((part, self.running.remove(part).unwrap().wait().unwrap().code()));
        }
        codes
    }

    /// Somebody who asks one part, past the routes.
    pub fn client_of(&self, part: &str) -> Client {
        Client::new(Arc::new(RwLock::new(self.addresses.of(part))))
    }

    /// What a part said on standard error, over all its lives.
    pub fn logged(&self, part: &str) -> String {
        fs::read_to_string(self.log(part)).unwrap_or_default()
    }

    /// Every record of the topic, lane by lane, up to where the log ends. Holes and a time-out are failures.
    pub fn records_in_kafka(&self) -> Vec<Record> {
        self.database.runtime.block_on(async {
            let mut feed = KafkaFeed::new(&brokers(), &self.topic);
            let mut records = Vec::new();
            for (lane, head) in self.database.heads().await {
                let mut after = 0;
                while after < head {
                    let page = feed.next(lane, after, 1_000, KAFKA_WITHIN).await.unwrap();
                    let Some(last) = page.last() else {
                        panic!("lane {lane}: Kafka has nothing after {after} of {head}");
                    };
                    after = last.position;
                    records.extend(page);
                }
            }
            records
        })
    }

    fn log(&self, part: &str) -> PathBuf {
        self.folder.path().join(format!("{part}.log"))
    }
}

impl Entrance for Parts {
    fn client(&self) -> Client {
        Client::new(self.addresses.clone())
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        for child in self.running.values_mut() {
            drop(child.kill());
            drop(child.wait());
        }
        if thread::panicking() {
            for part in PARTS {
                eprintln!("what {part} logged:\n{}", self.logged(part));
            }
        }
    }
}

/// Where each part listens, and which one a request is for: what the gateway does in earnest.
#[derive(Default)]
struct Addresses(RwLock<HashMap<&'static str, String>>);

impl Addresses {
    fn set(&self, part: &'static str, address: String) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(part, address);
    }

    fn of(&self, part: &str) -> String {
        let addresses = self.0.read().unwrap_or_else(PoisonError::into_inner);
        addresses.get(part).cloned().unwrap_or_default()
    }
}

impl Route for Addresses {
    fn base(&self, method: &str, path: &str) -> String {
        let path = path.split('?').next().unwrap_or_default();
        let of_family = path
            .strip_prefix("/api/v1/families/")
            .and_then(|rest| rest.split('/').nth(1));
        let is_of_the_log = matches!(
            of_family,
            Some("commands" | "audit" | "invitations" | "security-events")
        ) || path.ends_with("/export")
            || path.starts_with("/api/v1/auth/");
        self.of(match (method, of_family) {
            ("POST", Some("imports")) => "reactors",
            ("GET", Some("as-of")) => "replay-api",
            ("GET", _) if !is_of_the_log => "query-api",
            _ => "command-api",
        })
    }
}

/// An empty database on the test server. Dropped, it is gone, whoever still uses it.
struct Database {
    runtime: Runtime,
    server: String,
    name: String,
}

impl Database {
    fn create() -> Self {
        let database = Self {
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap(),
            server: named("KINLEDGER_TEST_DATABASE_URL", "Postgres"),
            name: format!("kinledger_test_{}", Uuid::new_v4().simple()),
        };
        database
            .create_it()
            .expect("a database can be created on the test server");
        database
    }

    fn create_it(&self) -> Result<(), sqlx::Error> {
        self.on_server(&format!("create database {}", self.name))
    }

    fn drop_it(&self) -> Result<(), sqlx::Error> {
        self.on_server(&format!("drop database if exists {} with (force)", self.name))
    }

    fn server_log(&self) -> Vec<u8> {
        self.runtime.block_on(async {
            let mut admin = PgConnection::connect(&self.server).await.unwrap();
            let read = "select pg_read_binary_file(current_setting('data_directory') || '/../postgres.log')";
            sqlx::query_scalar(read).fetch_one(&mut admin).await.unwrap()
        })
    }

    fn url(&self) -> String {
        let (base, _) = self
            .server
            .rsplit_once('/')
            .expect("an address ends in a database name");
        format!("{base}/{}", self.name)
    }

    /// With the login that services use.
    fn service_url(&self) -> String {
        self.runtime.block_on(service_kit::testing::service_url(&self.url()))
    }

    /// Where each lane that has events ends.
    async fn heads(&self) -> Vec<(Lane, i64)> {
        let mut connection = PgConnection::connect(&self.url()).await.unwrap();
        let heads: Vec<(i16, i64)> = sqlx::query_as("select lane, max(position) from log.events group by lane")
            .fetch_all(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
        heads.into_iter().map(|(lane, head)| (Lane(lane), head)).collect()
    }

    fn on_server(&self, statement: &str) -> Result<(), sqlx::Error> {
        self.runtime.block_on(async {
            let mut admin = PgConnection::connect(&self.server).await?;
            sqlx::query(statement).execute(&mut admin).await?;
            admin.close().await
        })
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Err(error) = self.drop_it() {
            eprintln!("the database {} is left over: {error}", self.name);
        }
    }
}

/// 64 hexadecimal digits.
fn hex_of(first: Uuid, second: Uuid) -> String {
    format!("{}{}", first.simple(), second.simple())
}

pub fn brokers() -> String {
    named("KINLEDGER_TEST_KAFKA_BROKERS", "Kafka")
}

/// A server by its variable: a missing one fails the test, it does not skip it.
pub fn named(variable: &str, server: &str) -> String {
    std::env::var(variable)
        .unwrap_or_else(|_| panic!("{variable} is not set: run the tests with `make test`, which starts {server}"))
}
