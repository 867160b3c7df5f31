//! Side by side in one run: pgbench, stock cqrs-es with postgres-es, our append path and our HTTP path.
//!
//! Everything talks to one private Postgres with full durability. A repetition starts from the same databases as every other
//! and goes through all measurements once, so that a machine which slows down slows all of them; figures are medians over the
//! repetitions, and ratios are taken inside each. What was acknowledged is counted in the log afterwards.
//! `docs/benchmarks.md` has the figures and where the targets stand.

mod appends;
mod args;
mod base;
mod big;
mod copy;
mod dashboard;
mod driver;
mod fsync;
mod generator;
mod growth;
mod http;
mod kafka;
mod ledger;
mod machine;
mod pgbench;
mod process;
mod projections;
mod rebuilds;
mod relaying;
mod repetition;
mod report;
mod server;
mod stats;
mod stock;
mod targets;
mod verification;
mod visible;

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;

use crate::{args::Args, report::Report, server::Server};

/// As the service itself has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<()> {
    let args = Args::parse();
    service_kit::telemetry::start_logging(service_kit::telemetry::LogFormat::Text, "warn,sqlx=error");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name(machine::SERVER_THREADS)
        .enable_all()
        .build()?;
    runtime.block_on(run(&args))
}

async fn run(args: &Args) -> Result<()> {
    let metrics = service_kit::telemetry::start_metrics().context("metrics are recorded already")?;
    machine::drain_metrics(metrics);
    let server = Server::start(args.data_dir.as_deref()).await?;
    let measured = measure(args, &server).await;
    let stopped = server.stop().await;
    let report = measured?;
    stopped?;
    println!("\n{}", report.markdown());
    if let Some(path) = &args.markdown {
        std::fs::write(path, report.markdown()).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if let Some(path) = &args.json {
        std::fs::write(path, serde_json::to_vec_pretty(&report.to_json())?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    report.check()
}

async fn measure(args: &Args, server: &Server) -> Result<Report> {
    let began = Instant::now();
    let machine = machine::Machine::look(server).await?;
    machine.print();
    let base = base::Base::prepare(args, server).await?;
    println!("prepared after {:.0} s", began.elapsed().as_secs_f64());
    let mut report = Report::new(machine);
    let mut longest = Duration::ZERO;
    for number in 1..=args.repetitions() {
        if number > 1 && began.elapsed() + longest > args.within() {
            println!("no further repetition: it would not be over in time (--within)");
            break;
        }
        let repetition = Instant::now();
        let measured = repetition::run(args, server, &base, number).await?;
        longest = longest.max(repetition.elapsed());
        report.add(measured);
    }
    base.end();
    Ok(report)
}
