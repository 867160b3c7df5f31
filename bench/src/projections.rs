//! Events to rows, statements to events to rows, and the whole history read again.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use async_trait::async_trait;
use command_api::{CommandApi, dispatch::Request};
use domain::{
    commands::find,
    id::{AccountId, CommandId, FamilyId},
};
use event_store::{
    Lane, Log, Wakeups,
    feed::{Feed, PostgresFeed},
    replay, verify,
};
use projectors::{Progress, apply::Applier, projections::PROJECTIONS};
use reactors::imports::{Caller, Commands, ImportState};
use serde_json::Value;
use service_kit::{
    database::{self, DatabaseRole},
    problem::Problem,
};
use sqlx::PgPool;
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
};

use crate::{
    base::{PROJECTED, Projected},
    big,
    driver::{Load, Until},
    generator::{self, Worth},
    http::{self, Http},
    ledger::{Family, Ledger, open_account},
    rebuilds, relaying,
    repetition::Session,
    server::Server,
    verification::{Heads, balances_cents},
    visible,
};

/// Records in one transaction of a projector.
const BATCH: i64 = 5_000;
/// The view that is also folded alone: one row an entry and one a posting.
const ONE_VIEW: &str = "entries";
/// Statement files of one measurement, each to an account of its own.
const FILES: usize = 8;
/// Rows of one file.
const FILE_ROWS: u32 = 2_000;
/// Entries of the longest history that is read again.
const REPLAYED_MAX: u32 = 100_000;
/// The views have to catch up within so long.
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(300);

/// All of it.
///
/// # Errors
/// When a part fails altogether.
pub async fn measure(session: &mut Session<'_>) -> Result<()> {
    history(session).await?;
    let Some(projected) = &session.base.projected else {
        return Ok(());
    };
    let owner = session.server.owner(PROJECTED).await?;
    let pool = database::connect(&session.server.url(PROJECTED), DatabaseRole::Projector, 12).await?;
    let log = crate::ledger::log(pool.clone());
    let heads = Heads::read(&owner).await?;

    // As the owner: emptying tables is not the projector's to do.
    projectors::reset(&owner).await?;
    if session.args.wants("projection/one") {
        let load = one_view(session, &pool, &log, &heads).await?;
        session.note("projection/one", "events/s", load, None);
        projectors::reset(&owner).await?;
    }
    let others = ["projection/all", "import", "visible", "rebuild", "relay"];
    if !others.iter().any(|name| session.args.wants_any(name)) {
        return Ok(());
    }
    let (cpu, began) = (session.clock.read(), Instant::now());
    let folding = Folding::start(session.server, PROJECTED).await?;
    folding.caught_up(&heads).await?;
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), session.clock.read() - cpu);
    session.note(
        "projection/all",
        "events/s",
        Load {
            done: heads.events(),
            seconds,
            cpu,
            ..Load::default()
        },
        None,
    );

    if session.args.wants_any("visible") {
        steady(session, projected, &owner, &folding).await?;
    }
    if session.args.wants_any("import") {
        import(session, projected, &owner, &folding).await?;
    }
    let (in_log, in_view) = balances_cents(&owner).await?;
    if in_log != in_view {
        session.fault(format!(
            "balances are {in_log} cents in the log and {in_view} in the view"
        ));
    }
    if session.args.wants_any("rebuild")
        && let Err(error) = rebuilds::measure(session, &owner).await
    {
        session.left_out("rebuild", error);
    }
    folding.stop().await?;
    if session.args.wants_any("relay")
        && let Err(error) = relaying::measure(session, &owner).await
    {
        session.left_out("relay", error);
    }
    pool.close().await;
    owner.close().await;
    Ok(())
}

/// The projectors of one process, at work on one database.
pub struct Folding {
    /// How far they are.
    pub progress: Progress,
    /// What tells them of appends in this process.
    pub wakeups: Wakeups,
    running: tokio::task::JoinHandle<()>,
    stop: watch::Sender<bool>,
    pool: PgPool,
}

impl Folding {
    /// Starts them as the service does.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn start(server: &Server, database: &str) -> Result<Self> {
        let pool = database::connect(&server.url(database), DatabaseRole::Projector, 12).await?;
        let log = crate::ledger::log(pool.clone());
        let lanes = log.lanes().await?;
        let (stop, shutdown) = service_kit::shutdown::channel();
        let progress = Progress::new();
        let feeds = (0..lanes)
            .map(|lane| (Lane(lane), Box::new(PostgresFeed::new(log.clone())) as Box<dyn Feed>))
            .collect();
        let wakeups = log.wakeups().clone();
        let settings = projectors::Settings {
            pool: pool.clone(),
            log,
            feeds,
            rows_changed: Arc::new(Notify::new()),
            progress: progress.clone(),
        };
        let running = tokio::spawn(projectors::run(settings, shutdown));
        Ok(Self {
            progress,
            wakeups,
            running,
            stop,
            pool,
        })
    }

    /// Waits until they are as far as the log was.
    ///
    /// # Errors
    /// When they do not get there.
    pub async fn caught_up(&self, heads: &Heads) -> Result<()> {
        caught_up(&self.progress, heads).await
    }

    /// Stops them.
    ///
    /// # Errors
    /// When they panicked.
    pub async fn stop(self) -> Result<()> {
        self.stop.send_replace(true);
        self.running.await?;
        self.pool.close().await;
        Ok(())
    }
}

/// A steady load over HTTP, and how long until it is in the views. The projectors hear of an append as they do in one process.
async fn steady(session: &mut Session<'_>, projected: &Projected, owner: &PgPool, folding: &Folding) -> Result<()> {
    let progress = &folding.progress;
    let ledger = Ledger::open_beside(session.server, PROJECTED, folding.wakeups.clone()).await?;
    let http = Http::serve(http::routes(&ledger)).await?;
    http::good_again(owner).await?;
    let tokens = http::access_tokens(http.address, &projected.refresh_token).await?;
    if let Err(error) = visible::measure(session, &http, tokens, &projected.families, progress).await {
        session.left_out("visible", error);
    }
    let heads = Heads::read(owner).await?;
    caught_up(progress, &heads).await?;
    http.stop();
    ledger.close().await;
    Ok(())
}

async fn caught_up(progress: &Progress, heads: &Heads) -> Result<()> {
    let began = Instant::now();
    loop {
        let positions = progress.positions();
        let is_done =
            |(lane, head): &(i16, i64)| *head == 0 || positions.get(lane).is_some_and(|(folded, _)| folded >= head);
        if heads.lanes().iter().all(is_done) {
            return Ok(());
        }
        if began.elapsed() > CAUGHT_UP_WITHIN {
            bail!("the views do not catch up");
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// One projection alone, all lanes side by side.
async fn one_view(session: &Session<'_>, pool: &PgPool, log: &Log, heads: &Heads) -> Result<Load> {
    let index = PROJECTIONS
        .iter()
        .position(|projection| projection.name() == ONE_VIEW)
        .context("no such view")?;
    let applier = Applier {
        projections: PROJECTIONS[index..=index].into(),
        ..Applier::new(pool.clone(), log.clone())
    };
    let (cpu, began) = (session.clock.read(), Instant::now());
    let mut tasks = JoinSet::new();
    for (lane, head) in heads.lanes().iter().copied() {
        let (applier, log) = (applier.clone(), log.clone());
        tasks.spawn(async move {
            let lane = Lane(lane);
            let mut checkpoint = applier.checkpoint(lane).await?;
            while checkpoint < head {
                let records = log.read_lane(lane, checkpoint, BATCH).await?;
                let to = records.last().map_or(head, |record| record.position);
                applier.apply(lane, checkpoint, to, records, false).await?;
                checkpoint = to;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(Load {
        done: heads.events(),
        seconds: began.elapsed().as_secs_f64(),
        cpu: session.clock.read() - cpu,
        ..Load::default()
    })
}

/// Statement files over HTTP, until their rows are in the views.
async fn import(session: &mut Session<'_>, projected: &Projected, owner: &PgPool, folding: &Folding) -> Result<()> {
    let progress = &folding.progress;
    let ledger = Ledger::open_beside(session.server, PROJECTED, folding.wakeups.clone()).await?;
    let imports = ImportState {
        log: ledger.api.log().clone(),
        commands: Arc::new(InProcess(ledger.api.clone())),
        verifier: Arc::clone(ledger.identity.verifier()),
    };
    let http = Http::serve(http::routes(&ledger).merge(reactors::imports::router(imports))).await?;
    http::good_again(owner).await?;
    let token = http::access_tokens(http.address, &projected.refresh_token).await?;
    let mut accounts: Vec<(FamilyId, AccountId)> = Vec::new();
    for Family { id, .. } in projected.families.iter().take(FILES) {
        let name = format!("Imported {}", uuid::Uuid::new_v4());
        accounts.push((*id, open_account(&ledger.api, projected.user_id, *id, &name).await?));
    }
    let (file, accounts) = (Arc::new(statement()), Arc::new(accounts));
    let before = Heads::read(owner).await?;
    let (cpu, began) = (session.clock.read(), Instant::now());
    let fill = {
        let accounts = Arc::clone(&accounts);
        move |connection: usize, _: u64, exchange: &mut generator::Exchange| {
            let (family, account) = accounts[connection % accounts.len()];
            exchange.path = format!("/api/v1/families/{family}/imports?account_id={account}");
            exchange.body.push_str(&file);
            exchange.worth = Worth::Fixed(1);
        }
    };
    let load = generator::load(session.clock, http.address, token, FILES, Until::Each(1), fill).await?;
    let durable = began.elapsed().as_secs_f64();
    let after = Heads::read(owner).await?;
    caught_up(progress, &after).await?;
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), session.clock.read() - cpu);
    let rows = load.done * u64::from(FILE_ROWS);
    let booked: i64 = sqlx::query_scalar(
        "select count(*) from log.events where event_type = 'BankTransactionBooked' and payload ->> 'account_id' = any($1)",
    )
    .bind(accounts.iter().map(|(_, account)| account.to_string()).collect::<Vec<_>>())
    .fetch_one(owner)
    .await?;
    if u64::try_from(booked)? != rows || after.events() < before.events() + rows {
        session.fault(format!(
            "import: {rows} rows sent, {booked} booked: {}",
            load.failure.unwrap_or_default()
        ));
    }
    session.note(
        "import/durable",
        "rows/s",
        Load {
            done: rows,
            seconds: durable,
            ..Load::default()
        },
        None,
    );
    session.note(
        "import/visible",
        "rows/s",
        Load {
            done: rows,
            seconds,
            cpu,
            ..Load::default()
        },
        None,
    );
    http.stop();
    ledger.close().await;
    Ok(())
}

/// A statement as banks write them, no two rows alike.
fn statement() -> String {
    let mut text = "Date,Payee,Memo,Amount\n".to_owned();
    for row in 0..FILE_ROWS {
        let (day, month, year) = (1 + row % 28, 1 + row / 28 % 12, 2014 + row / 336);
        text.push_str(&format!(
            "{year}-{month:02}-{day:02},Shop {},Purchase {row},-{}.{:02}\n",
            row % 97,
            1 + row % 400,
            row % 100
        ));
    }
    text
}

/// The command side of this process, for the importer.
struct InProcess(CommandApi);

#[async_trait]
impl Commands for InProcess {
    async fn execute(
        &self,
        caller: &Caller,
        family_id: FamilyId,
        command_id: CommandId,
        name: &str,
        body: Value,
    ) -> Result<Value, Problem> {
        let kind = find(name).ok_or_else(|| Problem::unknown("unknown-command", "there is no such command"))?;
        let body = body.to_string();
        let parsed = (kind.parse)(&body).map_err(|error| Problem::malformed(error.to_string()))?;
        let traceparent = command_api::dispatch::traceparent(&axum::http::HeaderMap::new());
        let request = Request {
            family_id,
            command_id,
            signed_in: caller.signed_in,
            command: Arc::from(parsed),
            if_match: None,
            traceparent,
            bytes: body.len(),
        };
        let receipt = self.0.execute(request).await?;
        serde_json::to_value(receipt).map_err(|error| Problem::ours(&error))
    }
}

/// The longest history read again: its hashes checked, its book folded, both.
async fn history(session: &mut Session<'_>) -> Result<()> {
    let mut grown = session.base.big.iter().flat_map(|big| &big.grown).rev();
    let Some((_, family)) = grown.find(|(entries, _)| *entries <= REPLAYED_MAX) else {
        return Ok(());
    };
    if !session.args.wants_any("replay") {
        return Ok(());
    }
    let pool = database::connect(&session.server.url(big::DATABASE), DatabaseRole::Writer, 2).await?;
    let log = crate::ledger::log(pool.clone());
    let lane = log.lane_of(family.id).await?.context("the family has no lane")?;
    for kind in ["fold", "verify", "book"] {
        let name = format!("replay/{kind}");
        if !session.args.wants(&name) {
            continue;
        }
        let (cpu, began) = (session.clock.read(), Instant::now());
        let events = match kind {
            "verify" => verify::verify_family(&log, lane, family.id, |_| ()).await?.events,
            "book" => {
                replay::replay(&log, lane, family.id, replay::AsOf::default(), false, |_| ())
                    .await?
                    .statement
                    .events
            }
            _ => fold(&log, lane, family.id).await?,
        };
        let load = Load {
            done: u64::try_from(events).map_err(|_| anyhow!("{events} events"))?,
            seconds: began.elapsed().as_secs_f64(),
            cpu: session.clock.read() - cpu,
            ..Load::default()
        };
        session.note(&name, "events/s", load, None);
    }
    pool.close().await;
    Ok(())
}

/// Read and folded typed, no hash looked at: what the check of the chain is compared with.
async fn fold(log: &Log, lane: Lane, family: FamilyId) -> Result<i64> {
    let mut book = domain::book::Book::new();
    loop {
        let page = log.read_family(lane, family, book.family_seq(), replay::PAGE).await?;
        if page.is_empty() {
            return Ok(book.family_seq());
        }
        for record in &page {
            replay::fold(&mut book, record)?;
        }
    }
}
