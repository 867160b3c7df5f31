//! Authenticators that are not ours, for whoever adds a passkey or signs in by one.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde_json::{Value, json};

/// Where the pages are that ask, as the configuration has it that nobody changed.
pub const ORIGIN: &str = "http://localhost:8080";

/// A process with software authenticators.
pub struct Authenticators {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// One request to an authenticator.
#[derive(Clone)]
pub struct Asked<'a> {
    pub device: &'a str,
    pub origin: &'a str,
    pub verified: bool,
    pub more: Value,
}

impl Default for Asked<'_> {
    fn default() -> Self {
        Self {
            device: "phone",
            origin: ORIGIN,
            verified: true,
            more: json!({}),
        }
    }
}

impl Authenticators {
    pub fn start() -> Self {
        let python = std::env::var("KINLEDGER_AUTHENTICATOR")
            .expect("KINLEDGER_AUTHENTICATOR: a Python with soft-webauthn; `scripts/setup.sh test` fetches it");
        let script = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../command-api/tests/it/identity/authenticator.py"
        );
        let mut child = Command::new(python)
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            requests: child.stdin.take().unwrap(),
            answers: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    pub fn ask(&mut self, what: &str, options: &Value, asked: &Asked) -> Value {
        let mut request = json!({
            "do": what,
            "options": options,
            "device": asked.device,
            "origin": asked.origin,
            "verified": asked.verified,
        });
        for (name, value) in asked.more.as_object().unwrap() {
            request[name] = value.clone();
        }
        writeln!(self.requests, "{request}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }
}

impl Drop for Authenticators {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
