//! The edge of a process, from outside: TLS, headers, origins, addresses, limits, and what it refuses to start with.

mod limits;
mod refusals;
mod tls;

use std::{
    collections::BTreeMap,
    fs,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use service_kit::testing::TestDatabase;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use ureq::{
    http::Request,
    tls::{Certificate, RootCerts, TlsConfig},
};
use uuid::Uuid;

use crate::support::{program, wait_until};

const READY_WITHIN: Duration = Duration::from_secs(60);

/// A database, and a folder, for processes started one after the other.
struct Place {
    runtime: Runtime,
    database: Option<TestDatabase>,
    service_url: String,
    secret: String,
    folder: TempDir,
}

/// A `command-api` of a test's own. Dropped, it is gone.
struct Started {
    child: Child,
    base: String,
    log: PathBuf,
}

struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Place {
    fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let database = runtime.block_on(TestDatabase::create());
        let service_url = runtime.block_on(database.service_url());
        Self {
            runtime,
            database: Some(database),
            service_url,
            secret: secret(),
            folder: tempfile::Builder::new().prefix("kinledger-edge-").tempdir().unwrap(),
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program();
        command
            .args(["serve", "command-api"])
            .args(arguments)
            .env("DATABASE_URL", &self.service_url)
            .env("KINLEDGER_SECRET", &self.secret)
            .stdin(Stdio::null());
        command
    }

    /// Starts it and waits until it listens.
    fn start(&self, scheme: &str, arguments: &[&str]) -> Started {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let log = self.folder.path().join(format!("{port}.log"));
        let mut command = self.command(arguments);
        command.args(["--listen", &format!("127.0.0.1:{port}")]);
        let child = command
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut started = Started {
            child,
            base: format!("{scheme}://127.0.0.1:{port}"),
            log,
        };
        let mut has_ended = false;
        wait_until(READY_WITHIN, || {
            has_ended = started.child.try_wait().unwrap().is_some();
            has_ended || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        assert!(!has_ended, "{}", fs::read_to_string(&started.log).unwrap());
        started
    }

    /// Starts what must not start; says why it did not.
    fn refusal(&self, change: impl FnOnce(&mut Command)) -> String {
        let mut command = self.command(&["--listen", "127.0.0.1:0"]);
        change(&mut command);
        refusal_of(command)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// The same of any command.
fn refusal_of(mut command: Command) -> String {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let has_ended = wait_until(READY_WITHIN, || child.try_wait().unwrap().is_some());
    if !has_ended {
        crate::support::signal("-TERM", child.id());
    }
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(has_ended, "it started: {said}");
    assert_eq!(output.status.code(), Some(1), "{said}");
    said
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(database) = self.database.take() {
            self.runtime.block_on(database.drop());
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            eprintln!("what it logged:\n{}", fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}

impl Started {
    fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.ask("GET", path, headers, None)
    }

    fn login(&self, headers: &[(&str, &str)]) -> Answer {
        let body = serde_json::json!({"email": "nobody@example.org", "password": "x"}).to_string();
        let headers: Vec<_> = [("content-type", "application/json")]
            .into_iter()
            .chain(headers.iter().copied())
            .collect();
        self.ask("POST", "/api/v1/auth/login", &headers, Some(&body))
    }

    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&str>) -> Answer {
        ask(&agent(None), &format!("{}{path}", self.base), method, headers, body).unwrap()
    }
}

fn secret() -> String {
    format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}

/// A client that trusts one certificate and no other.
fn agent(trusted: Option<&str>) -> ureq::Agent {
    let mut config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(20)));
    if let Some(pem) = trusted {
        let root = Certificate::from_pem(pem.as_bytes()).unwrap();
        config = config.tls_config(
            TlsConfig::builder()
                .root_certs(RootCerts::new_with_certs(&[root]))
                .build(),
        );
    }
    config.build().new_agent()
}

fn ask(
    agent: &ureq::Agent,
    url: &str,
    method: &str,
    headers: &[(&str, &str)],
    body: Option<&str>,
) -> Result<Answer, ureq::Error> {
    let mut request = Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut answer = match body {
        Some(body) => agent.run(request.body(body.to_owned())?)?,
        None => agent.run(request.body(())?)?,
    };
    let text = |value: &ureq::http::HeaderValue| value.to_str().unwrap_or_default().to_owned();
    Ok(Answer {
        status: answer.status().as_u16(),
        headers: answer
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), text(value)))
            .collect(),
        body: answer.body_mut().read_to_string()?,
    })
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    fn problem(&self) -> String {
        let body: Value = serde_json::from_str(&self.body).unwrap_or_default();
        body["type"].as_str().unwrap_or_default().to_owned()
    }
}
