//! A Kafka broker for one run, started and stopped by the script that the tests use.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

/// The script, where this crate was built.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/kafka.sh");

/// A running broker.
pub struct Kafka {
    /// Where it listens.
    pub brokers: String,
    folder: TempDir,
}

impl Kafka {
    /// Starts one.
    ///
    /// # Errors
    /// Why there is none, in a sentence.
    pub fn start() -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        if !run(&["is-fetched"]) {
            return Err("Apache Kafka is not fetched: scripts/kafka.sh fetch".to_owned());
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .map_err(|error| error.to_string())?
            .port();
        let place = place(folder.path());
        if !run(&["start", &place.to_string_lossy(), &port.to_string()]) {
            return Err("the broker did not start".to_owned());
        }
        Ok(Self {
            brokers: format!("127.0.0.1:{port}"),
            folder,
        })
    }

    /// Stops it.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        run(&["stop", &place(self.folder.path()).to_string_lossy()]);
    }
}

fn place(folder: &Path) -> PathBuf {
    folder.join("kafka")
}

fn run(arguments: &[&str]) -> bool {
    let status = Command::new("bash")
        .arg(SCRIPT)
        .args(arguments)
        .stdout(std::process::Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}
