//! A small HTTP/1.1 load generator: keep-alive connections with one request in flight each, on threads of their own.
//!
//! It knows as much of HTTP as our own server answers with: a status line, `content-length`, a body.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use anyhow::{Context, Result, bail};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Barrier,
    task::JoinSet,
};
use uuid::Uuid;

use crate::{
    driver::{Load, Until},
    machine::{CpuClock, GENERATOR_THREADS},
};

/// What to send next, and how to read the answer.
#[derive(Debug, Default)]
pub struct Exchange {
    /// The path, query included.
    pub path: String,
    /// The body.
    pub body: String,
    /// Only a question: a GET, without a body.
    pub is_question: bool,
    /// What a 2xx answer is worth.
    pub worth: Worth,
}

/// What an answer is worth.
#[derive(Clone, Copy, Debug)]
pub enum Worth {
    /// So much.
    Fixed(u64),
    /// As much as its body has this text.
    CountOf(&'static str),
}

impl Default for Worth {
    fn default() -> Self {
        Self::Fixed(1)
    }
}

/// One keep-alive connection.
pub struct Connection {
    stream: TcpStream,
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
}

impl Connection {
    /// Opens it.
    ///
    /// # Errors
    /// When nobody listens.
    pub async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            outgoing: Vec::new(),
            incoming: Vec::new(),
        })
    }

    /// Posts a body with a fresh `Idempotency-Key`; status and body of the answer.
    ///
    /// # Errors
    /// When the connection breaks or the answer is no HTTP.
    pub async fn post(&mut self, path: &str, token: &str, body: &str) -> Result<(u16, &str)> {
        self.ask("POST", path, token, body).await
    }

    /// Asks for a path.
    ///
    /// # Errors
    /// As [`Connection::post`].
    pub async fn get(&mut self, path: &str, token: &str) -> Result<(u16, &str)> {
        self.ask("GET", path, token, "").await
    }

    async fn ask(&mut self, method: &str, path: &str, token: &str, body: &str) -> Result<(u16, &str)> {
        use std::io::Write;

        self.outgoing.clear();
        write!(
            self.outgoing,
            "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {token}\r\nidempotency-key: {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            Uuid::now_v7(),
            body.len(),
        )?;
        self.stream.write_all(&self.outgoing).await?;
        self.incoming.clear();
        let head = loop {
            if self.stream.read_buf(&mut self.incoming).await? == 0 {
                bail!("the server closed the connection");
            }
            if let Some(end) = self.incoming.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
        };
        let text = std::str::from_utf8(&self.incoming[..head])?;
        let status = text.get(9..12).context("no status line")?.parse()?;
        let length = text.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse::<usize>().ok())?
        });
        let end = head + length.context("no content-length")?;
        while self.incoming.len() < end {
            if self.stream.read_buf(&mut self.incoming).await? == 0 {
                bail!("the server closed the connection");
            }
        }
        Ok((status, std::str::from_utf8(&self.incoming[head..end])?))
    }

    async fn exchange(&mut self, token: &str, exchange: &Exchange) -> Result<u64, String> {
        let method = if exchange.is_question { "GET" } else { "POST" };
        match self.ask(method, &exchange.path, token, &exchange.body).await {
            Ok((200..300, body)) => Ok(match exchange.worth {
                Worth::Fixed(worth) => worth,
                Worth::CountOf(text) => body.matches(text).count() as u64,
            }),
            Ok((status, body)) => Err(format!("{status}: {body}")),
            Err(error) => Err(format!("{error:#}")),
        }
    }
}

/// Runs `fill(connection, number, exchange)` and what it filled in, over and over, on so many connections.
///
/// # Errors
/// When a connection cannot be opened or nothing is acknowledged.
pub async fn load<F>(
    clock: CpuClock,
    address: SocketAddr,
    tokens: Arc<Vec<String>>,
    connections: usize,
    until: Until,
    fill: F,
) -> Result<Load>
where
    F: Fn(usize, u64, &mut Exchange) + Clone + Send + 'static,
{
    let threads = (std::thread::available_parallelism().map_or(1, usize::from) / 2).clamp(1, connections);
    let barrier = Arc::new(Barrier::new(threads + 1));
    let mut running = Vec::new();
    for thread in 0..threads {
        let mine: Vec<usize> = (thread..connections).step_by(threads).collect();
        let (barrier, tokens, fill) = (Arc::clone(&barrier), Arc::clone(&tokens), fill.clone());
        let worker = std::thread::Builder::new()
            .name(GENERATOR_THREADS.to_owned())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(thread_load(address, &tokens, mine, until, fill, &barrier))
            })?;
        running.push(tokio::task::spawn_blocking(move || worker.join()));
    }
    barrier.wait().await;
    let (cpu, began) = (clock.read(), Instant::now());
    // A second meeting, so that a thread's time is read before it ends and its counters go with it.
    barrier.wait().await;
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), clock.read() - cpu);
    barrier.wait().await;
    let mut whole = Load::default();
    for worker in running {
        whole.merge(
            worker
                .await?
                .map_err(|_| anyhow::anyhow!("a load generator panicked"))??,
        );
    }
    whole.seconds = seconds;
    whole.cpu = cpu;
    if whole.done == 0 {
        bail!("nothing was acknowledged: {}", whole.failure.unwrap_or_default());
    }
    Ok(whole)
}

async fn thread_load<F>(
    address: SocketAddr,
    tokens: &Arc<Vec<String>>,
    mine: Vec<usize>,
    until: Until,
    fill: F,
    barrier: &Barrier,
) -> Result<Load>
where
    F: Fn(usize, u64, &mut Exchange) + Clone + Send + 'static,
{
    let mut open = Vec::new();
    let mut failure = None;
    for number in mine {
        match Connection::open(address).await {
            Ok(connection) => open.push((number, connection)),
            Err(error) => failure = Some(error),
        }
    }
    barrier.wait().await;
    let began = Instant::now();
    let mut set = JoinSet::new();
    for (number, mut connection) in open {
        let (tokens, fill) = (Arc::clone(tokens), fill.clone());
        set.spawn(async move {
            let token = tokens.get(number % tokens.len().max(1)).map_or("", String::as_str);
            let mut load = Load::default();
            let mut exchange = Exchange::default();
            for round in 0_u64.. {
                let is_over = match until {
                    Until::Elapsed(duration) => began.elapsed() >= duration,
                    Until::Each(count) => round >= count,
                };
                if is_over {
                    break;
                }
                exchange.path.clear();
                exchange.body.clear();
                fill(number, round, &mut exchange);
                let started = Instant::now();
                let answer = connection.exchange(token, &exchange).await;
                load.note(started.elapsed(), answer);
            }
            load
        });
    }
    let mut whole = Load::default();
    while let Some(load) = set.join_next().await {
        whole.merge(load?);
    }
    barrier.wait().await;
    barrier.wait().await;
    match failure {
        Some(error) => Err(error.context("a connection could not be opened")),
        None => Ok(whole),
    }
}
