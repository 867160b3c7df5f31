//! One repetition: fresh copies of the databases, then everything once, yardsticks and ours by turns.

use std::sync::Arc;

use anyhow::{Context, Result, bail};

use crate::{
    appends,
    args::Args,
    base::{self, Base},
    copy, dashboard,
    driver::Load,
    fsync, growth,
    http::{self, Http},
    ledger::Ledger,
    machine::{self, CpuClock},
    pgbench, process, projections,
    report::{Measured, Repetition},
    server::Server,
    stock::{self, Stock},
    verification::{self, Batches, Heads},
};

/// The ledger of a repetition.
pub const LEDGER: &str = "bench_ledger";

/// What the measurements of one repetition share.
pub struct Session<'a> {
    /// What was asked for.
    pub args: &'a Args,
    /// Postgres.
    pub server: &'a Server,
    /// Processor time.
    pub clock: CpuClock,
    /// Who the families are.
    pub base: &'a Base,
    /// What has been found.
    pub found: Repetition,
}

impl Session<'_> {
    /// Notes a measurement.
    pub fn note(&mut self, name: &str, unit: &'static str, load: Load, batches: Option<Batches>) {
        let measured = Measured::of(name, unit, load, batches);
        println!("{}", measured.line());
        self.found.measured.push(measured);
    }

    /// Notes a figure that is no rate.
    pub fn value(&mut self, name: &str, unit: &'static str, value: f64) {
        println!("  {name:<22} {value:>9.2} {unit}");
        self.found.measured.push(Measured::value(name, unit, value));
    }

    /// Notes that something could not be measured, and goes on.
    pub fn left_out(&mut self, name: &str, reason: impl std::fmt::Display) {
        println!("LEFT OUT  {name}: {reason:#}");
        self.found.left_out.push(format!("{name}: {reason:#}"));
    }

    /// Notes that something does not add up.
    pub fn fault(&mut self, fault: String) {
        println!("FAULT     {fault}");
        self.found.faults.push(fault);
    }
}

/// Runs it.
///
/// # Errors
/// When a part fails altogether; what does not add up is noted instead.
pub async fn run(args: &Args, server: &Server, base: &Base, number: u32) -> Result<Repetition> {
    server.create_database(LEDGER, Some(base::LEDGER)).await?;
    server.create_database(stock::DATABASE, Some(base::STOCK)).await?;
    server.create_database(pgbench::DATABASE, None).await?;
    let rows = server.owner(pgbench::DATABASE).await?;
    pgbench::create_tables(&rows).await?;
    server.checkpoint().await?;
    let busy = machine::busy_percent().await;
    let busy_text = busy.map_or_else(String::new, |(busy, stolen)| {
        format!("; other work {busy:.0} %, stolen {stolen:.0} %")
    });
    println!("repetition {number} of {}{busy_text}", args.repetitions());
    let found = Repetition {
        busy_before: busy,
        ..Repetition::default()
    };
    let mut session = Session {
        args,
        server,
        clock: CpuClock::new(server),
        base,
        found,
    };

    if args.wants("fsync") {
        let folder = server.sockets().to_path_buf();
        let load =
            tokio::task::spawn_blocking(move || fsync::measure(&folder, std::time::Duration::from_secs(1))).await??;
        session.note("fsync", "flushes/s", load, None);
    }
    for clients in [1, 8, 64, 256] {
        let name = format!("pgbench/{clients}");
        if args.wants(&name) {
            let (payload, metadata) = &base.sample;
            let load = pgbench::measure(server, session.clock, clients, args.duration(), payload, metadata).await?;
            session.note(&name, "commits/s", load, None);
        }
    }
    ours_and_stock(&mut session).await?;
    copy::measure(&mut session, &rows).await?;
    rows.close().await;
    if let Err(error) = growth::measure(&mut session).await {
        session.left_out("growth", error);
    }
    if let Err(error) = dashboard::measure(&mut session).await {
        session.left_out("dashboard", error);
    }
    projections::measure(&mut session).await?;
    // A process of its own with a database of its own: once is enough, and the last repetition is not held up by it.
    if number == 1
        && args.wants_any("process")
        && let Err(error) = process::measure(&mut session).await
    {
        session.left_out("process", error);
    }
    if session.found.measured.is_empty() {
        bail!("nothing is called like that; names are those of the table, such as append/many");
    }
    Ok(session.found)
}

async fn ours_and_stock(session: &mut Session<'_>) -> Result<()> {
    let base = session.base;
    let owner = session.server.owner(LEDGER).await?;
    let stock_owner = session.server.owner(stock::DATABASE).await?;
    let before = Heads::read(&owner).await?;
    let stock_before = stock::stored(&stock_owner).await?;
    let ledger = Ledger::open(session.server, LEDGER).await?;
    let stock = Stock::connect(session.server).await?;
    let ours = Http::serve(http::routes(&ledger)).await?;
    let yardsticks = Http::serve(http::yardsticks(&ledger, stock.clone(), &base.hot)).await?;
    let tokens = http::access_tokens(ours.address, &base.refresh_token).await?;

    let mut loads = appends::Loads {
        ledger: &ledger,
        owner: &owner,
        stock: &stock,
        tokens: Arc::clone(&tokens),
        spent: 0,
        stock_done: 0,
    };
    loads.warm(session).await?;
    loads.stock(session).await?;
    loads.in_process(session).await?;
    loads.over_http(session, ours.address, yardsticks.address).await?;
    loads.batch_endpoint(session, ours.address).await?;
    let spent = loads.spent;
    let stock_done = loads.stock_done;

    ours.stop();
    yardsticks.stop();
    ledger.close().await;
    let stored = verification::cents_spent(&owner, &before).await?;
    if i64::try_from(spent).context("too many cents")? != stored {
        session.fault(format!("acknowledged {spent} cents, the log holds {stored}"));
    }
    let stock_stored = stock::stored(&stock_owner).await? - stock_before;
    if stock_stored != stock_done {
        session.fault(format!(
            "stock acknowledged {stock_done} events, its table holds {stock_stored}"
        ));
    }
    owner.close().await;
    stock_owner.close().await;
    Ok(())
}
