//! `kinledger serve PART`: one part in a process of its own, against Postgres, Kafka and Redis given by address.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use command_api::identity::Secret;
use event_store::{
    Lane, Log,
    feed::{Feed, KafkaFeed, PostgresFeed},
    relay,
};
use reactors::imports::ImportState;
use service_kit::{
    auth::TokenVerifier,
    database::{self, DatabaseRole},
    health::Health,
    shutdown::{self, Shutdown},
    telemetry,
};
use tokio::{net::TcpListener, sync::Notify, task::JoinHandle};

use crate::{
    accounts::AccountOptions,
    connections::{self, ConnectionOptions},
    edge::{
        Edge, EdgeOptions,
        tls::{Tls, TlsOptions},
    },
    erasures::ErasureOptions,
    http,
    keys::{KeyOptions, log_to_read},
    parts, sealing,
    weak::{refuse_mighty_login, refuse_weak_password},
};

/// How often a relay that has halted looks whether it may begin again.
const RELAY_LOOKS_EVERY: Duration = Duration::from_secs(5);

/// The parts there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Commands, identity, audit.
    CommandApi,
    /// Views.
    QueryApi,
    /// Events to rows, from Kafka or straight from Postgres.
    Projectors,
    /// Statement files to commands.
    Reactors,
    /// The log to Kafka.
    Relay,
    /// Trees and signed checkpoints over the log.
    Sealer,
    /// Past views, replayed from the log.
    ReplayApi,
}

/// How HTTP is spoken, the same for every process.
#[derive(Clone, Debug, Args)]
pub struct HttpOptions {
    #[command(flatten)]
    connections: ConnectionOptions,
    #[command(flatten)]
    pub edge: EdgeOptions,
    #[command(flatten)]
    pub tls: TlsOptions,
}

impl HttpOptions {
    /// What serves the routes on an open port.
    pub fn server(&self, listener: TcpListener, router: axum::Router, tls: Option<Arc<Tls>>) -> connections::Server {
        connections::Server {
            listener,
            router,
            options: self.connections,
            trusted_proxies: self.edge.trusted_proxies.clone(),
            tls,
        }
    }
}

/// Where the part listens and what it talks to.
#[derive(Clone, Debug, Args)]
pub struct ServeOptions {
    /// Where HTTP listens; every part answers /healthz, /readyz and /metrics there.
    #[arg(long, default_value = "127.0.0.1:8080", env = "KINLEDGER_LISTEN")]
    listen: SocketAddr,
    /// The database, brought up to date by `kinledger migrate`.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: String,
    /// Kafka, for the relay, and for projectors that follow it; without it projectors follow Postgres.
    #[arg(long, env = "KAFKA_BROKERS")]
    kafka_brokers: Option<String>,
    /// The topic the relay writes and projectors follow; every log needs one of its own.
    #[arg(long, env = "KINLEDGER_TOPIC", default_value = relay::TOPIC)]
    topic: String,
    /// Redis, for the query side's cache and the counts of rate limits; without it each process has its own.
    #[arg(long, env = "REDIS_URL", hide_env_values = true)]
    redis_url: Option<String>,
    /// The command side, for reactors.
    #[arg(long, env = "COMMAND_API_URL", default_value = "http://command-api:8080")]
    command_api_url: String,
    /// 32 random bytes as 64 hexadecimal digits, the same for every command-api: seals signing keys. Make one with
    /// `openssl rand -hex 32`.
    #[arg(long, env = "KINLEDGER_SECRET", hide_env_values = true)]
    secret: Option<String>,
    #[command(flatten)]
    http: HttpOptions,
    #[command(flatten)]
    accounts: AccountOptions,
    #[command(flatten)]
    seal: sealing::SealOptions,
    #[command(flatten)]
    keys: KeyOptions,
    #[command(flatten)]
    erasures: ErasureOptions,
}

impl ServeOptions {
    fn secret(&self) -> Result<Option<Secret>> {
        Ok(self.secret.as_deref().map(Secret::parse).transpose()?)
    }

    /// A log to read, with the keys to its texts.
    async fn log_to_read(&self, pool: sqlx::PgPool) -> Result<Log> {
        let encryptions = self.keys.required(self.secret()?.as_ref())?;
        let log = log_to_read(pool, Some(encryptions));
        log.check_keys().await?;
        Ok(log)
    }
}

/// Runs a part until Ctrl-C or SIGTERM.
///
/// # Errors
/// When it cannot start, or fails for good.
pub async fn run(part: Part, options: ServeOptions) -> Result<()> {
    let tls = Tls::open(&options.http.tls)?;
    refuse_weak_settings(&options).await?;
    let listener = http::bind(options.listen).await?;
    let health = Health::new(telemetry::start_metrics());
    let (stop, shutdown) = shutdown::channel();
    tokio::spawn(health.clone().keep_metrics(shutdown.clone()));
    let running = match part {
        Part::CommandApi => command_api(&options, shutdown.clone()).await?,
        Part::QueryApi => query_api(&options, &health, shutdown.clone()).await?,
        Part::Projectors => projectors(&options, &health, shutdown.clone()).await?,
        Part::Reactors => reactors(&options, &health, shutdown.clone()).await?,
        Part::Relay => relay(&options, &health, shutdown.clone()).await?,
        Part::Sealer => sealer(&options, &health, shutdown.clone()).await?,
        Part::ReplayApi => replay_api(&options, &health, shutdown.clone()).await?,
    };
    if part == Part::CommandApi {
        let pool = database::connect(&options.database_url, DatabaseRole::Writer, 1).await?;
        parts::watch_database(&health, pool, shutdown.clone());
    }
    let name = part
        .to_possible_value()
        .map(|value| value.get_name().to_owned())
        .unwrap_or_default();
    tracing::info!(part = name, listen = %options.listen, "ready");
    let edge = Edge::try_new(&options.http.edge, running.verifier, options.redis_url.as_deref())?;
    let router = http::finish(running.routes, health, "one part of several", edge);
    let serving = tokio::spawn(connections::serve(options.http.server(listener, router, tls), shutdown));
    let mut work = running.work;
    let ended = match work.as_mut() {
        Some(work) => tokio::select! {
            signal = shutdown::signal() => signal.context("cannot listen for signals"),
            ended = work => ended.context("the part failed")?,
        },
        None => shutdown::signal().await.context("cannot listen for signals"),
    };
    stop.send_replace(true);
    let mut served = Ok(());
    let mut worked = Ok(());
    let finish = async {
        served = serving.await.context("the HTTP server failed").flatten();
        if let Some(commands) = running.commands {
            commands.drain().await;
        }
        if let Some(work) = work.filter(|work| !work.is_finished()) {
            worked = work.await.context("the part failed").flatten();
        }
    };
    if !shutdown::finish(http::FINISH_WITHIN, finish).await {
        tracing::warn!(
            "not everything could be finished; what was acknowledged is on disk, the rest is taken up at the next start"
        );
    }
    worked?;
    ended?;
    served
}

/// Refuses what would protect nobody, before anything is opened.
async fn refuse_weak_settings(options: &ServeOptions) -> Result<()> {
    refuse_weak_password("DATABASE_URL", &options.database_url)?;
    if let Some(url) = &options.redis_url {
        refuse_weak_password("REDIS_URL", url)?;
    }
    let pool = database::connect(&options.database_url, DatabaseRole::Reader, 1).await?;
    let refused = refuse_mighty_login(&pool).await;
    pool.close().await;
    refused
}

struct RunningPart {
    routes: axum::Router,
    /// What tells signed-in people, for parts that people ask.
    verifier: Option<Arc<TokenVerifier>>,
    commands: Option<parts::CommandSide>,
    work: Option<JoinHandle<Result<()>>>,
}

async fn command_api(options: &ServeOptions, shutdown: Shutdown) -> Result<RunningPart> {
    let secret = options
        .secret()?
        .context("KINLEDGER_SECRET is not set: 64 hexadecimal digits, the same for every command-api")?;
    let encryptions = options.keys.required(Some(&secret))?;
    let config = options.accounts.config(&options.http.edge.trusted_proxies)?;
    let commands = parts::CommandSide::start(
        &options.database_url,
        (&secret, encryptions),
        &config,
        options.erasures.register(None)?,
        shutdown,
    )
    .await?;
    Ok(RunningPart {
        routes: commands.router(),
        verifier: Some(Arc::clone(commands.identity.verifier())),
        commands: Some(commands),
        work: None,
    })
}

async fn query_api(options: &ServeOptions, health: &Health, shutdown: Shutdown) -> Result<RunningPart> {
    let pool = database::connect(&options.database_url, DatabaseRole::Reader, parts::READER_CONNECTIONS).await?;
    parts::watch_database(health, pool.clone(), shutdown.clone());
    let verifier = verifier(&pool, shutdown).await?;
    let mut state = query_api::QueryState::new(pool, Arc::clone(&verifier));
    if let Some(url) = &options.redis_url {
        state.cache = Arc::new(query_api::cache::RedisCache::try_new(url).context("REDIS_URL is no address of Redis")?);
    }
    Ok(RunningPart {
        routes: query_api::router(state),
        verifier: Some(verifier),
        commands: None,
        work: None,
    })
}

async fn projectors(options: &ServeOptions, health: &Health, shutdown: Shutdown) -> Result<RunningPart> {
    let pool = database::connect(&options.database_url, DatabaseRole::Projector, 16).await?;
    parts::watch_database(health, pool.clone(), shutdown.clone());
    let log = options.log_to_read(pool.clone()).await?;
    let lanes = log.lanes().await?;
    let feed = || -> Box<dyn Feed> {
        match &options.kafka_brokers {
            Some(brokers) => Box::new(KafkaFeed::new(brokers, &options.topic)),
            None => Box::new(PostgresFeed::new(log.clone())),
        }
    };
    let feeds = (0..lanes).map(|lane| (Lane(lane), feed())).collect();
    let progress = projectors::Progress::new();
    let watched = progress.clone();
    health.add("projectors", move || watched.check());
    let settings = projectors::Settings {
        pool,
        log: log.clone(),
        feeds,
        rows_changed: Arc::new(Notify::new()),
        progress,
    };
    let work = tokio::spawn(async move {
        projectors::run_shared(settings, shutdown).await;
        Ok(())
    });
    Ok(RunningPart {
        routes: axum::Router::new(),
        verifier: None,
        commands: None,
        work: Some(work),
    })
}

async fn reactors(options: &ServeOptions, health: &Health, shutdown: Shutdown) -> Result<RunningPart> {
    let pool = database::connect(&options.database_url, DatabaseRole::Reactor, 8).await?;
    parts::watch_database(health, pool.clone(), shutdown.clone());
    let verifier = verifier(&pool, shutdown).await?;
    let state = ImportState {
        log: options.log_to_read(pool).await?,
        commands: Arc::new(parts::RemoteCommands {
            base_url: options.command_api_url.clone(),
        }),
        verifier: Arc::clone(&verifier),
    };
    Ok(RunningPart {
        routes: reactors::imports::router(state),
        verifier: Some(verifier),
        commands: None,
        work: None,
    })
}

async fn relay(options: &ServeOptions, health: &Health, shutdown: Shutdown) -> Result<RunningPart> {
    let brokers = options.kafka_brokers.clone().context("KAFKA_BROKERS is not set")?;
    let pool = database::connect(&options.database_url, DatabaseRole::Relay, 24).await?;
    parts::watch_database(health, pool.clone(), shutdown.clone());
    let log = Log::new(pool, [0; 32]);
    let settings = relay::RelaySettings {
        topic: options.topic.clone(),
        ..relay::RelaySettings::new(brokers)
    };
    let halted = Arc::new(Mutex::new(None));
    let why = Arc::clone(&halted);
    health.add("relay", move || {
        let why: MutexGuard<'_, Option<String>> = why.lock().unwrap_or_else(PoisonError::into_inner);
        why.clone().map_or(Ok(()), Err)
    });
    let say = move |why: Option<String>| {
        metrics::gauge!("kinledger_relay_halted").set(if why.is_some() { 1.0 } else { 0.0 });
        *halted.lock().unwrap_or_else(PoisonError::into_inner) = why;
    };
    let work = tokio::spawn(async move {
        while let Err(error) = relay::run(log.clone(), settings.clone(), shutdown.clone()).await {
            // It stays, unready and with the reason, for an operator to find, and publishes nothing until the log fits.
            say(Some(error.to_string()));
            let fits = async {
                while relay::fits(&log, &settings).await.is_err() {
                    tokio::time::sleep(RELAY_LOOKS_EVERY).await;
                }
            };
            tokio::select! {
                () = fits => {}
                () = shutdown::requested(shutdown.clone()) => return Err(error).context("the relay had stopped"),
            }
            tracing::warn!("the log fits what Kafka holds; the relay begins again");
            say(None);
        }
        Ok(())
    });
    Ok(RunningPart {
        routes: axum::Router::new(),
        verifier: None,
        commands: None,
        work: Some(work),
    })
}

async fn replay_api(options: &ServeOptions, health: &Health, shutdown: Shutdown) -> Result<RunningPart> {
    let connections = replay_api::serve::CONNECTIONS;
    let pool = database::connect(&options.database_url, DatabaseRole::Replayer, connections).await?;
    parts::watch_database(health, pool.clone(), shutdown.clone());
    let verifier = verifier(&pool, shutdown).await?;
    Ok(RunningPart {
        routes: replay_api::router(replay_api::ReplayState::new(
            options.log_to_read(pool).await?,
            Arc::clone(&verifier),
            replay_api::ReplayLimits::default(),
        )),
        verifier: Some(verifier),
        commands: None,
        work: None,
    })
}

async fn sealer(options: &ServeOptions, health: &Health, shutdown: Shutdown) -> Result<RunningPart> {
    let pool = database::connect(&options.database_url, DatabaseRole::Sealer, 1).await?;
    parts::watch_database(health, pool, shutdown.clone());
    let work = sealing::start(&options.database_url, options.seal.settings(None)?, health, shutdown).await?;
    Ok(RunningPart {
        routes: axum::Router::new(),
        verifier: None,
        commands: None,
        work: Some(work),
    })
}

/// Public keys and ended sessions, kept current from the database.
async fn verifier(pool: &sqlx::PgPool, shutdown: Shutdown) -> Result<Arc<TokenVerifier>> {
    let verifier = TokenVerifier::load(pool).await.context("cannot read the public keys")?;
    tokio::spawn(Arc::clone(&verifier).watch_revocations(pool.clone(), shutdown));
    Ok(verifier)
}
