//! What every repetition starts from: databases that are made once and copied.

use anyhow::{Context, Result, anyhow};
use domain::id::UserId;
use service_kit::database;

use crate::{
    args::Args,
    big::Big,
    driver::{Until, closed_loop},
    http::{self, Http},
    kafka::Kafka,
    ledger::{Expense, Family, Ledger, found, spend},
    machine::CpuClock,
    server::Server,
    stock,
};

/// The ledger that is copied for every repetition.
pub const LEDGER: &str = "bench_ledger_base";
/// Stock's tables, copied likewise.
pub const STOCK: &str = "bench_stock_base";
/// The ledger whose events are projected.
pub const PROJECTED: &str = "bench_projected";
/// Families that share the load where it is spread.
const FAMILIES: u64 = 1_000;
/// Families whose events are projected.
const PROJECTED_FAMILIES: u64 = 200;
/// Tasks that write histories.
const WRITERS: usize = 500;

/// Who the families are.
pub struct Base {
    /// The one person who signs in.
    pub user_id: UserId,
    /// Their refresh token, good once in every copy.
    pub refresh_token: String,
    /// Families that share the load.
    pub many: Vec<Family>,
    /// The one family that gets all of it.
    pub hot: Family,
    /// Families with a thousand events and more.
    pub long: Vec<Family>,
    /// Families with long histories, in a database that is not copied.
    pub big: Option<Big>,
    /// A broker, when there is one to be had.
    pub kafka: Result<Kafka, String>,
    /// Families of the projected ledger, and its own person.
    pub projected: Option<Projected>,
    /// One event's payload and metadata as stored.
    pub sample: (String, String),
}

/// The ledger whose events are projected.
pub struct Projected {
    /// Who signs in.
    pub user_id: UserId,
    /// Their refresh token.
    pub refresh_token: String,
    /// Its families.
    pub families: Vec<Family>,
}

impl Base {
    /// Makes the databases.
    ///
    /// # Errors
    /// When the server or the service declines.
    pub async fn prepare(args: &Args, server: &Server) -> Result<Self> {
        println!("preparing families and histories");
        let clock = CpuClock::new(server);
        let (ledger, user_id, refresh_token) = fresh_ledger(server, LEDGER).await?;
        let many = families(&ledger, user_id, 0, FAMILIES).await?;
        let hot = found(&ledger.api, user_id, 1_000_000).await?;
        let long = families(&ledger, user_id, 2_000_000, args.long_histories() as u64).await?;
        write_history(clock, &ledger, user_id, &long, stock::HISTORY * long.len()).await?;
        let spent = spend(&ledger.api, user_id, &hot, Expense::of(0)).await;
        spent.map_err(|reason| anyhow!("the first expense: {reason}"))?;
        ledger.close().await;
        let sample = sample(server).await?;
        settle(server, LEDGER).await?;

        server.create_database(STOCK, None).await?;
        let pool = server.owner(STOCK).await?;
        stock::create_tables(&pool, args.long_histories(), &sample.0, &sample.1).await?;
        pool.close().await;
        let projected = projected(args, server, clock).await?;
        let big = Big::prepare(args, server, clock).await?;
        let kafka = if args.wants_any("relay") {
            tokio::task::spawn_blocking(Kafka::start).await?
        } else {
            Err("not asked for".to_owned())
        };
        Ok(Self {
            user_id,
            refresh_token,
            many,
            hot,
            long,
            big,
            kafka,
            projected,
            sample,
        })
    }

    /// Stops what was started beside Postgres.
    pub fn end(self) {
        if let Ok(kafka) = self.kafka {
            kafka.stop();
        }
    }
}

/// A ledger on an empty database, and the one person who is registered there.
pub async fn fresh_ledger(server: &Server, database: &str) -> Result<(Ledger, UserId, String)> {
    server.create_database(database, None).await?;
    database::migrate(&server.url(database)).await?;
    let ledger = Ledger::open(server, database).await?;
    let http = Http::serve(http::routes(&ledger)).await?;
    let (user_id, refresh_token) = http::register(http.address).await?;
    http.stop();
    Ok((ledger, user_id, refresh_token))
}

async fn families(ledger: &Ledger, user_id: UserId, first: u64, count: u64) -> Result<Vec<Family>> {
    use futures::{StreamExt, TryStreamExt, stream};

    let api = &ledger.api;
    stream::iter(first..first + count)
        .map(|number| found(api, user_id, number))
        .buffered(64)
        .try_collect()
        .await
}

/// Books so many expenses in all, the families taking turns.
pub async fn write_history(
    clock: CpuClock,
    ledger: &Ledger,
    user_id: UserId,
    families: &[Family],
    entries: usize,
) -> Result<()> {
    if entries == 0 {
        return Ok(());
    }
    let each = Until::Each(entries.div_ceil(WRITERS) as u64);
    let (api, families) = (ledger.api.clone(), std::sync::Arc::new(families.to_vec()));
    let load = closed_loop(clock, WRITERS, each, move |task, number| {
        let (api, families) = (api.clone(), families.clone());
        async move {
            let turn = task + number as usize * WRITERS;
            spend(
                &api,
                user_id,
                &families[turn % families.len()],
                Expense::of(turn as u64),
            )
            .await
        }
    })
    .await?;
    match load.failure {
        Some(reason) => Err(anyhow!("a history could not be written: {reason}")),
        None => Ok(()),
    }
}

/// An expense as the log keeps it.
async fn sample(server: &Server) -> Result<(String, String)> {
    let pool = server.owner(LEDGER).await?;
    let statement = "select payload::text, metadata::text from log.events where event_type = 'ExpenseAdded' limit 1";
    let sample = sqlx::query_as(statement)
        .fetch_one(&pool)
        .await
        .context("the log holds no expense")?;
    pool.close().await;
    Ok(sample)
}

/// Statistics and visibility as they are after a while.
pub async fn settle(server: &Server, database: &str) -> Result<()> {
    let pool = server.owner(database).await?;
    sqlx::query("vacuum analyze").execute(&pool).await?;
    pool.close().await;
    Ok(())
}

async fn projected(args: &Args, server: &Server, clock: CpuClock) -> Result<Option<Projected>> {
    let events = args.projected_events();
    if events == 0 {
        return Ok(None);
    }
    let (ledger, user_id, refresh_token) = fresh_ledger(server, PROJECTED).await?;
    let families = families(&ledger, user_id, 0, PROJECTED_FAMILIES).await?;
    write_history(clock, &ledger, user_id, &families, events).await?;
    ledger.close().await;
    settle(server, PROJECTED).await?;
    Ok(Some(Projected {
        user_id,
        refresh_token,
        families,
    }))
}
