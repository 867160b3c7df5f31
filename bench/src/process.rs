//! The one process of an installation: how fast it is ready when it starts a second time, and how much memory it takes idle and
//! under the load of measure 1. It is the program itself, on a folder of its own, with the Postgres it brings up.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::{
    driver::Until,
    generator::{self, Connection, Exchange, Worth},
    ledger::{Expense, Family},
    repetition::Session,
};

/// The program, beside this one.
const PROGRAM: &str = "kinledger";
/// It has to be ready within so long, the first start with its initdb included.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// It has to end within so long.
const STOP_WITHIN: Duration = Duration::from_secs(60);
/// Families that share the load.
const FAMILIES: usize = 200;
/// Connections of measure 1.
const CONNECTIONS: usize = 256;
/// How long memory is watched under load, at least.
const LOAD_FOR: Duration = Duration::from_secs(5);

/// All of it, once.
///
/// # Errors
/// When the program is not there or does not get ready.
pub async fn measure(session: &mut Session<'_>) -> Result<()> {
    let program = program()?;
    let folder = tempfile::Builder::new().prefix("kinledger-bench-").tempdir()?;
    let (first, _) = Running::start(&program, &folder).await?;
    first.stop().await?;
    let (running, ready_after) = Running::start(&program, &folder).await?;
    session.value("process/second-start", "s", ready_after.as_secs_f64());
    // What a start leaves behind is given back or used within a moment.
    tokio::time::sleep(Duration::from_secs(2)).await;
    session.value("process/idle", "MiB", running.memory_mib()?);
    let (tokens, families) = founded(running.address).await?;
    let largest = running.largest_while(load(session, &running, tokens, families)).await?;
    session.value("process/under-load", "MiB", largest);
    running.stop().await
}

/// Beside this program, where `make bench` builds it too.
fn program() -> Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name(PROGRAM);
    ensure!(
        program.is_file(),
        "{} is not there: cargo build --release -p kinledger",
        program.display()
    );
    Ok(program)
}

/// The program at work.
struct Running {
    process: Child,
    address: SocketAddr,
}

impl Running {
    /// Starts it, and waits until it says that it is ready.
    async fn start(program: &Path, folder: &TempDir) -> Result<(Self, Duration)> {
        let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let began = Instant::now();
        let process = Command::new(program)
            .arg("up")
            .arg("--data-dir")
            .arg(folder.path().join("data"))
            .args(["--listen", &address.to_string()])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("the program cannot be started")?;
        let mut running = Self { process, address };
        loop {
            if let Some(status) = running.process.try_wait()? {
                bail!("the program ended at once ({status})");
            }
            if running.is_ready().await {
                return Ok((running, began.elapsed()));
            }
            ensure!(began.elapsed() < READY_WITHIN, "the program does not get ready");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn is_ready(&self) -> bool {
        let Ok(mut connection) = Connection::open(self.address).await else {
            return false;
        };
        matches!(connection.get("/readyz", "").await, Ok((200, _)))
    }

    /// Resident memory of the process alone, without its Postgres.
    fn memory_mib(&self) -> Result<f64> {
        let id = self.process.id().context("the program has ended")?;
        memory_mib(id)
    }

    /// The most memory it takes while something goes on.
    async fn largest_while(&self, work: impl Future<Output = Result<()>>) -> Result<f64> {
        let id = self.process.id().context("the program has ended")?;
        let (is_over, largest_kib) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let watching = {
            let (is_over, largest_kib) = (Arc::clone(&is_over), Arc::clone(&largest_kib));
            tokio::spawn(async move {
                while !is_over.load(Ordering::Relaxed) {
                    if let Ok(mib) = memory_mib(id) {
                        largest_kib.fetch_max((mib * 1024.0) as u64, Ordering::Relaxed);
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            })
        };
        let done = work.await;
        is_over.store(true, Ordering::Relaxed);
        watching.await?;
        done?;
        Ok(largest_kib.load(Ordering::Relaxed) as f64 / 1024.0)
    }

    async fn stop(mut self) -> Result<()> {
        let id = self.process.id().context("the program has ended by itself")?;
        let asked = Command::new("kill").arg(id.to_string()).status().await?;
        ensure!(asked.success(), "the program cannot be asked to end");
        tokio::time::timeout(STOP_WITHIN, self.process.wait())
            .await
            .context("the program does not end")??;
        Ok(())
    }
}

fn memory_mib(process: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).context("no /proc here")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1024.0)
}

/// A person and families, made over HTTP.
async fn founded(address: SocketAddr) -> Result<(Vec<String>, Vec<Family>)> {
    let mut connection = Connection::open(address).await?;
    let mut call = async |path: String, token: String, body: Value| -> Result<Value> {
        let (status, answer) = connection.post(&path, &token, &body.to_string()).await?;
        ensure!((200..300).contains(&status), "{path}: {status} {answer}");
        Ok(serde_json::from_str(answer)?)
    };
    let person = json!({"email": "ada@example.org", "password": "correct horse battery staple", "display_name": "Ada"});
    let registered = call("/api/v1/auth/register".to_owned(), String::new(), person).await?;
    let token = registered["access_token"]
        .as_str()
        .context("no access_token")?
        .to_owned();
    let mut families = Vec::new();
    for number in 0..FAMILIES {
        let create = json!({"name": format!("Family {number}"), "currency": "EUR"});
        let made = call("/api/v1/families".to_owned(), token.clone(), create).await?;
        let id = made["family_id"].as_str().context("no family_id")?.parse()?;
        let open = json!({"name": "Current account", "kind": "bank"});
        let opened = call(
            format!("/api/v1/families/{id}/commands/open-account"),
            token.clone(),
            open,
        )
        .await?;
        let account = opened["events"][0]["aggregate_id"]
            .as_str()
            .context("no account")?
            .parse()?;
        families.push(Family::of(id, account));
    }
    Ok((vec![token], families))
}

async fn load(session: &Session<'_>, running: &Running, tokens: Vec<String>, families: Vec<Family>) -> Result<()> {
    let families = Arc::new(families);
    let fill = move |connection: usize, number: u64, exchange: &mut Exchange| {
        let family = &families[(connection * 31 + number as usize * 7) % families.len()];
        exchange.path = format!("/api/v1/families/{}/commands/add-expense", family.id);
        Expense::of(number).write_body(family, &mut exchange.body);
        exchange.worth = Worth::Fixed(1);
    };
    let until = Until::Elapsed(session.args.duration().max(LOAD_FOR));
    let load = generator::load(
        session.clock,
        running.address,
        Arc::new(tokens),
        CONNECTIONS,
        until,
        fill,
    )
    .await?;
    match load.failure {
        Some(reason) => bail!("{} commands failed: {reason}", load.failed),
        None => Ok(()),
    }
}
