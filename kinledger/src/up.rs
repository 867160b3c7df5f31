//! `kinledger up`: everything in one process, data in a folder.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Instant};

use anyhow::{Context, Result};
use command_api::identity::{IdentityConfig, Secret};
use event_store::{
    Lane,
    feed::{Feed, PostgresFeed},
    keys::encryption::KeyEncryptions,
    seal::SealSettings,
};
use reactors::imports::ImportState;
use service_kit::{
    database::{self, DatabaseRole},
    health::Health,
    shutdown::{self, Shutdown},
    telemetry,
};
use tokio::{sync::Notify, task::JoinHandle};

use crate::{
    accounts::AccountOptions,
    connections,
    edge::{Edge, tls::Tls},
    embedded::{DataFolder, Running, Server},
    erasures::ErasureOptions,
    http,
    keys::{KeyOptions, SECRET_FILE, log_to_read},
    parts,
    sealing::{self, SealOptions},
    serve::HttpOptions,
};

/// Runs until Ctrl-C or SIGTERM; stops everything in order.
///
/// # Errors
/// When the folder is in use, the port is taken, or Postgres cannot be started.
pub async fn run(
    data_dir: &Path,
    listen: SocketAddr,
    http: &HttpOptions,
    accounts: &AccountOptions,
    (seal, keys, erasures): (&SealOptions, &KeyOptions, &ErasureOptions),
) -> Result<()> {
    let began = Instant::now();
    let tls = Tls::open(&http.tls)?;
    let identity = accounts.config(&http.edge.trusted_proxies)?;
    let folder = DataFolder::open(data_dir)?;
    let seal = seal.settings(Some(folder.path()))?;
    let listener = http::bind(listen).await?;
    let address = listener.local_addr().context("the port has no address")?;
    let server = Server::start(&folder).await?;
    let ran = serve(
        &folder,
        &server,
        (listener, address, tls),
        began,
        http,
        &identity,
        (seal, keys, erasures),
    )
    .await;
    folder.withdraw();
    let stopped = server.stop().await;
    ran?;
    stopped?;
    println!("Kinledger has stopped; everything is on disk.");
    Ok(())
}

async fn serve(
    folder: &DataFolder,
    server: &Server,
    (listener, address, tls): (tokio::net::TcpListener, SocketAddr, Option<Arc<Tls>>),
    began: Instant,
    http: &HttpOptions,
    identity: &IdentityConfig,
    (seal, keys, erasures): (SealSettings, &KeyOptions, &ErasureOptions),
) -> Result<()> {
    let metrics = telemetry::start_metrics();
    database::migrate(server.url()).await?;
    let (stop, shutdown) = shutdown::channel();
    // Projectors go on while the last commands are answered, so they have a switch of their own.
    let (stop_projectors, projectors_shutdown) = shutdown::channel();
    // And so does the sealer: what the last commands recorded is sealed before the end.
    let (stop_sealer, sealer_shutdown) = shutdown::channel();
    let secret = Secret::new(folder.secret(SECRET_FILE)?);
    let encryptions = keys.required(Some(&secret))?;
    let health = Health::new(metrics);
    tokio::spawn(health.clone().keep_metrics(shutdown.clone()));

    let commands = parts::CommandSide::start(
        server.url(),
        (&secret, encryptions.clone()),
        identity,
        erasures.register(Some(folder.path()))?,
        shutdown.clone(),
    )
    .await?;
    let verifier = Arc::clone(commands.identity.verifier());
    let rows_changed = Arc::new(Notify::new());
    let projectors = start_projectors(
        server.url(),
        &commands,
        encryptions.clone(),
        Arc::clone(&rows_changed),
        &health,
        projectors_shutdown,
    )
    .await?;
    let sealer = sealing::start(server.url(), seal, &health, sealer_shutdown).await?;
    let reader = database::connect(server.url(), DatabaseRole::Reader, parts::READER_CONNECTIONS).await?;
    parts::watch_database(&health, reader.clone(), shutdown.clone());
    let mut query = query_api::QueryState::new(reader, Arc::clone(&verifier));
    query.rows_changed = Some(rows_changed);
    let imports = ImportState {
        log: commands.api.log().clone(),
        commands: Arc::new(parts::LocalCommands(commands.api.clone())),
        verifier: Arc::clone(&verifier),
    };
    let replayer = database::connect(server.url(), DatabaseRole::Replayer, replay_api::serve::CONNECTIONS).await?;
    let routes = commands
        .router()
        .merge(query_api::router(query))
        .merge(reactors::imports::router(imports))
        .merge(replay_api::router(replay_api::ReplayState::new(
            log_to_read(replayer, Some(encryptions)),
            Arc::clone(&verifier),
            replay_api::ReplayLimits::default(),
        )));
    let edge = Edge::try_new(&http.edge, Some(verifier), None)?;
    let router = http::finish(routes, health, "all parts in one process", edge);
    let scheme = if tls.is_some() { "https" } else { "http" };

    folder.announce(&Running {
        address: format!("{scheme}://{address}"),
        database_url: server.url().to_owned(),
    })?;
    println!(
        "Kinledger is ready after {:.1} s: open {scheme}://{address}",
        began.elapsed().as_secs_f64()
    );
    println!("  data in   {}", folder.path().display());
    println!("  stop with Ctrl-C");
    println!("  try next  \"A first session\" in README.md, or: kinledger import --help");

    let serving = tokio::spawn(connections::serve(http.server(listener, router, tls), shutdown));
    shutdown::signal().await.context("cannot listen for signals")?;
    println!("stopping: finishing what is in hand");
    stop.send_replace(true);
    let mut served = Ok(());
    let finish = async {
        served = serving.await.context("the HTTP server failed").flatten();
        commands.drain().await;
        stop_projectors.send_replace(true);
        drop(projectors.await);
        stop_sealer.send_replace(true);
        drop(sealer.await);
    };
    if !shutdown::finish(http::FINISH_WITHIN, finish).await {
        println!(
            "not everything could be finished; what was acknowledged is on disk, the rest is taken up at the next start"
        );
    }
    served
}

async fn start_projectors(
    url: &str,
    commands: &parts::CommandSide,
    encryptions: KeyEncryptions,
    rows_changed: Arc<Notify>,
    health: &Health,
    shutdown: Shutdown,
) -> Result<JoinHandle<()>> {
    let lanes = commands.api.log().lanes().await?;
    let connections = u32::try_from(lanes).unwrap_or(8) + 4;
    let pool = database::connect(url, DatabaseRole::Projector, connections).await?;
    let log = log_to_read(pool.clone(), Some(encryptions)).with_wakeups(commands.api.log().wakeups().clone());
    let feeds = (0..lanes)
        .map(|lane| (Lane(lane), Box::new(PostgresFeed::new(log.clone())) as Box<dyn Feed>))
        .collect();
    let progress = projectors::Progress::new();
    let watched = progress.clone();
    health.add("projectors", move || watched.check());
    let settings = projectors::Settings {
        pool,
        log,
        feeds,
        rows_changed,
        progress,
    };
    Ok(tokio::spawn(projectors::run(settings, shutdown)))
}
