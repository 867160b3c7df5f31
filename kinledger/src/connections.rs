//! Connections: how many may be open at once, and how long each may keep a place without using it.
//!
//! - A connection has a place from its acceptance to its end, and one network address only its share of them. When all places are
//!   taken, connections that idle give theirs up (`places.rs`); when none idles, clients wait in the kernel's queue until a place
//!   is free, and the process never runs out of files.
//! - A client that does not send the head of its next request in time loses its connection, whether it sends slowly or nothing:
//!   places come back however many clients hold them on purpose.
//! - So does a client that takes nothing of its answer for as long. How long a handler may take is the handler's own matter, and
//!   so is how long it waits for a body.
//! - At shutdown nothing more is accepted, and requests in hand are finished.

mod in_hand;
mod patience;
mod places;

use std::{
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Request},
};
use clap::Args;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use service_kit::{
    address::Network,
    shutdown::{self, Shutdown},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tower::Service;

use self::{
    in_hand::Answering,
    patience::Patience,
    places::{Place, Places},
};
use crate::edge::{ByTls, tls::Tls};

/// How long open requests may take once the process should stop.
const DRAIN_WITHIN: Duration = Duration::from_secs(20);
/// What a connection buffers of a request at most: the limit of a request's head.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// Files that are not connections of clients: to the database, to Kafka, of exports.
const OTHER_FILES: usize = 256;
/// Full places are complained of so often at most.
const WARN_EVERY: Duration = Duration::from_secs(60);
/// An idle connection that was told to close is cut off after so long.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);
/// The pause after an acceptance that failed for want of something.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How many connections, and how long they may idle.
#[derive(Clone, Copy, Debug, Args)]
pub struct ConnectionOptions {
    /// HTTP connections open at once; further clients wait until one is closed. The default fits the usual limit of 1,024 files.
    #[arg(
        long,
        default_value = "768",
        env = "KINLEDGER_CONNECTIONS",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000)
    )]
    connections: u32,
    /// HTTP connections one network address may have open at once; three quarters of all unless said. Trusted proxies may have all.
    #[arg(
        long,
        env = "KINLEDGER_CONNECTIONS_PER_ADDRESS",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000)
    )]
    connections_per_address: Option<u32>,
    /// Seconds a client may take to send the head of its next request, or none of its answer, before its connection is closed.
    #[arg(
        long,
        default_value = "30",
        env = "KINLEDGER_CONNECTION_IDLE_SECONDS",
        value_parser = clap::value_parser!(u32).range(1..=3_600)
    )]
    connection_idle_seconds: u32,
}

/// What is served, and by what.
pub struct Server {
    /// The open port.
    pub listener: TcpListener,
    /// Everything that is asked for.
    pub router: Router,
    /// How many, and how long.
    pub options: ConnectionOptions,
    /// Whose connections are of many clients.
    pub trusted_proxies: Vec<Network>,
    /// HTTPS, or plain HTTP without it.
    pub tls: Option<Arc<Tls>>,
}

/// Serves until shutdown, then finishes open requests.
///
/// # Errors
/// When the listener has no address, which says that it is none.
pub async fn serve(server: Server, shutdown: Shutdown) -> Result<()> {
    let Server { listener, options, .. } = server;
    let address = listener.local_addr().context("the HTTP server failed")?;
    let count = places(options.connections, files_max());
    let share = options.connections_per_address.unwrap_or((count - count / 4).max(1));
    let places = Places::new(count, share, server.trusted_proxies);
    let each = Arc::new(Each {
        // Once and not for each request.
        router: server.router.with_state(()),
        idle: Duration::from_secs(u64::from(options.connection_idle_seconds)),
        tls: server.tls,
        shutdown: shutdown.clone(),
    });
    if let Some(tls) = each.tls.clone() {
        tokio::spawn(tls.keep_current(shutdown.clone()));
    }
    let mut stop = pin!(shutdown::requested(shutdown));
    let mut warned_at: Option<Instant> = None;
    loop {
        let (stream, client) = tokio::select! {
            () = &mut stop => break,
            accepted = accept(&listener) => accepted,
        };
        if places.are_full() {
            metrics::counter!("kinledger_http_connections_full_total").increment(1);
            if warned_at.is_none_or(|warned_at| warned_at.elapsed() > WARN_EVERY) {
                tracing::warn!(
                    connections = count,
                    "all connections are in use: idle ones are closed, or clients wait for one to end"
                );
                warned_at = Some(Instant::now());
            }
        }
        let place = tokio::select! {
            () = &mut stop => break,
            place = places.take(client.ip()) => place,
        };
        match place {
            Some(place) => drop(tokio::spawn(connection(stream, client, Arc::clone(&each), place))),
            // Without a word: who has so many connections open is no browser that would read one.
            None => metrics::counter!("kinledger_http_connections_refused_total").increment(1),
        }
    }
    drop(listener);
    tracing::debug!(listen = %address, "nothing more is accepted");
    if tokio::time::timeout(DRAIN_WITHIN, places.all_free(count))
        .await
        .is_err()
    {
        tracing::warn!("some requests did not end in time and were cut off");
    }
    Ok(())
}

/// The next client. One more than there are places is accepted at most: the one that waits for a place.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if is_of_one_client(&error) => {}
            Err(error) => {
                tracing::warn!(error = %error, "no connection can be accepted; trying again");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// A client that had gone before it was accepted.
fn is_of_one_client(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};

    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// What every connection is served with.
struct Each {
    router: Router,
    idle: Duration,
    tls: Option<Arc<Tls>>,
    shutdown: Shutdown,
}

/// One client, to its end.
async fn connection(stream: TcpStream, client: SocketAddr, each: Arc<Each>, place: Place) {
    let open = metrics::gauge!("kinledger_http_connections");
    open.increment(1.0);
    // Answers are written whole, so that holding back small packets would only delay their ends.
    drop(stream.set_nodelay(true));
    match each.tls.as_ref().map(|tls| tls.acceptor()) {
        None => requests(stream, client, &each, place, false).await,
        Some(acceptor) => {
            let shaken = tokio::select! {
                shaken = tokio::time::timeout(each.idle, acceptor.accept(stream)) => shaken.map_err(|_| ()),
                () = place.is_wanted() => Err(()),
                () = shutdown::requested(each.shutdown.clone()) => Err(()),
            };
            match shaken {
                Ok(Ok(stream)) => requests(stream, client, &each, place, true).await,
                Ok(Err(error)) => tracing::debug!(error = %error, "a client speaks no TLS of ours"),
                Err(()) => {}
            }
        }
    }
    open.decrement(1.0);
}

async fn requests<S>(stream: S, client: SocketAddr, each: &Each, place: Place, is_tls: bool)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let place = Arc::new(place);
    let (router, placed) = (each.router.clone(), Arc::clone(&place));
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let in_hand = placed.begin();
        let mut request: Request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(client));
        if is_tls {
            request.extensions_mut().insert(ByTls);
        }
        let answer = router.clone().call(request);
        async move {
            answer.await.map(|response| {
                response.map(|body| Answering {
                    body,
                    _request: in_hand,
                })
            })
        }
    });
    let mut serving = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(each.idle)
            .max_buf_size(BUFFER_BYTES_MAX)
            .serve_connection(TokioIo::new(Patience::new(stream, each.idle)), service)
    );
    let served = tokio::select! {
        served = &mut serving => served,
        () = shutdown::requested(each.shutdown.clone()) => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
        () = place.is_wanted() => {
            serving.as_mut().graceful_shutdown();
            match tokio::time::timeout(CLOSE_WITHIN, &mut serving).await {
                Ok(served) => served,
                // It had begun a request, perhaps half a head of one, or is slow to take the end of an answer.
                Err(_) if place.is_idle() => Ok(()),
                Err(_) => serving.await,
            }
        }
    };
    if let Err(error) = served {
        tracing::debug!(error = %error, "a connection ended early");
    }
}

/// How many connections there may be: what is asked for, but no more than files can be opened beside all others.
fn places(wanted: u32, files_max: Option<u64>) -> u32 {
    let Some(files_max) = files_max else { return wanted };
    let beside = files_max.saturating_sub(OTHER_FILES as u64).max(files_max / 4).max(1);
    let places = wanted.min(u32::try_from(beside).unwrap_or(u32::MAX));
    if places < wanted {
        tracing::warn!(
            files_max,
            connections = places,
            "fewer connections than asked for: raise the limit of open files"
        );
    }
    places
}

/// How many files the process may open, where the system says so.
fn files_max() -> Option<u64> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find(|line| line.starts_with("Max open files"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests;
