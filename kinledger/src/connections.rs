//! Connections: how many may be open at once, and how long each may keep a place without using it.
//!
//! - A connection has a place from its acceptance to its end. When all places are taken, nothing more is accepted: clients wait
//!   in the kernel's queue until a place is free, and the process never runs out of files.
//! - A client that does not send the head of its next request in time loses its connection, whether it sends slowly or nothing:
//!   places come back however many clients hold them on purpose.
//! - So does a client that takes nothing of its answer for as long. How long a handler may take is the handler's own matter, and
//!   so is how long it waits for a body.
//! - At shutdown nothing more is accepted, and requests in hand are finished.

mod patience;

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
use service_kit::shutdown::{self, Shutdown};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tower::Service;

use self::patience::Patience;

/// How long open requests may take once the process should stop.
const DRAIN_WITHIN: Duration = Duration::from_secs(20);
/// What a connection buffers of a request at most: the limit of a request's head.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// Files that are not connections of clients: to the database, to Kafka, of exports.
const OTHER_FILES: usize = 256;
/// Full places are complained of so often at most.
const WARN_EVERY: Duration = Duration::from_secs(60);
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
    /// Seconds a client may take to send the head of its next request, or none of its answer, before its connection is closed.
    #[arg(
        long,
        default_value = "30",
        env = "KINLEDGER_CONNECTION_IDLE_SECONDS",
        value_parser = clap::value_parser!(u32).range(1..=3_600)
    )]
    connection_idle_seconds: u32,
}

/// Serves until shutdown, then finishes open requests.
///
/// # Errors
/// When the listener has no address, which says that it is none.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    options: ConnectionOptions,
    shutdown: Shutdown,
) -> Result<()> {
    let address = listener.local_addr().context("the HTTP server failed")?;
    let places_count = places(options.connections, files_max());
    let idle = Duration::from_secs(u64::from(options.connection_idle_seconds));
    let places = Arc::new(Semaphore::new(places_count as usize));
    // Once and not for each request.
    let router = router.with_state(());
    let mut stop = pin!(shutdown::requested(shutdown.clone()));
    let mut warned_at: Option<Instant> = None;
    loop {
        if places.available_permits() == 0 {
            metrics::counter!("kinledger_http_connections_full_total").increment(1);
            if warned_at.is_none_or(|warned_at| warned_at.elapsed() > WARN_EVERY) {
                tracing::warn!(
                    connections = places_count,
                    "all connections are in use: clients wait for one to be closed"
                );
                warned_at = Some(Instant::now());
            }
        }
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = accept(&listener, &places) => accepted,
        };
        let (stream, client, place) = accepted;
        tokio::spawn(connection(
            stream,
            client,
            router.clone(),
            idle,
            place,
            shutdown.clone(),
        ));
    }
    drop(listener);
    tracing::debug!(listen = %address, "nothing more is accepted");
    if tokio::time::timeout(DRAIN_WITHIN, places.acquire_many(places_count))
        .await
        .is_err()
    {
        tracing::warn!("some requests did not end in time and were cut off");
    }
    Ok(())
}

/// The next client, once there is a place for one.
async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    loop {
        let Ok(place) = Arc::clone(places).acquire_owned().await else {
            // The places are never closed.
            std::future::pending::<()>().await;
            continue;
        };
        match listener.accept().await {
            Ok((stream, client)) => return (stream, client, place),
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

/// One client, to its end.
async fn connection(
    stream: TcpStream,
    client: SocketAddr,
    router: Router,
    idle: Duration,
    _place: OwnedSemaphorePermit,
    shutdown: Shutdown,
) {
    let open = metrics::gauge!("kinledger_http_connections");
    open.increment(1.0);
    // Answers are written whole, so that holding back small packets would only delay their ends.
    drop(stream.set_nodelay(true));
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request: Request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(client));
        router.clone().call(request)
    });
    let mut serving = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(idle)
            .max_buf_size(BUFFER_BYTES_MAX)
            .serve_connection(TokioIo::new(Patience::new(stream, idle)), service)
    );
    let served = tokio::select! {
        served = &mut serving => served,
        () = shutdown::requested(shutdown) => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(error = %error, "a connection ended early");
    }
    open.decrement(1.0);
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
