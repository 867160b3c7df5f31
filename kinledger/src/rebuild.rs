//! `kinledger rebuild`: every row made again from the log beside those that answer, compared with them, and switched to.
//!
//! What is said goes to stderr, the outcome to stdout; with `--json` every step is a line of JSON on stdout. Exit codes: 0 the
//! new rows answer, 1 it could not be done, 3 the new rows differ and the old ones stay.

use std::{
    io::IsTerminal,
    process::ExitCode,
    sync::Mutex,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use projectors::{
    generation,
    rebuild::{self, Progress, RebuildError, Report, Request},
};
use serde_json::{Value, json};
use service_kit::{
    database::{self, DatabaseRole},
    shutdown,
};
use sqlx::PgPool;

use crate::keys::Ledger;

/// The rows are not those of the log.
pub const EXIT_DIFFERENT: u8 = 3;
/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(2);
/// How long an interrupted rebuild tidies up.
const TIDY_WITHIN: Duration = Duration::from_secs(15);

/// What to build again.
#[derive(Debug, Args)]
#[command(
    after_help = "The rows that answer go on answering, and are compared with the new ones before the switch, table by table, at \
    the same checkpoints. When they differ, the old ones stay and the exit code is 3: find out why first. Rows were altered in \
    the database, or this release folds an event otherwise than an earlier one did; in both cases the log is right, and \
    --replace-different switches all the same. Interrupting it before the switch changes nothing, and it says which rows answer."
)]
pub struct RebuildOptions {
    /// Views to build; all when none is named.
    #[arg(value_name = "VIEW")]
    views: Vec<String>,
    /// Switch even if the new rows differ from the old ones.
    #[arg(long)]
    replace_different: bool,
    /// Keep the old rows on disk, until the next rebuild.
    #[arg(long)]
    keep_old: bool,
    /// Print every step as a line of JSON.
    #[arg(long)]
    json: bool,
}

/// Builds the views of a ledger again.
///
/// # Errors
/// When it could not be done; the old rows answer then as they did before.
pub async fn run(options: RebuildOptions, ledger: &Ledger) -> Result<ExitCode> {
    let request = Request {
        views: options.views,
        replaces_different: options.replace_different,
        keeps_old: options.keep_old,
        ..Request::default()
    };
    let connections = request.limits.connections();
    let pool = database::connect(&ledger.url, DatabaseRole::Projector, connections).await?;
    let log = ledger.log(pool.clone());
    let before = generation::live(&pool)
        .await
        .context("cannot ask which rows answer")?
        .number;
    let voice = Voice::new(options.json);
    let say = |progress| voice.say(&progress);
    let built = tokio::select! {
        built = rebuild::rebuild(&pool, &log, &request, &say) => Some(built),
        signal = shutdown::signal() => {
            signal.context("cannot listen for signals")?;
            None
        }
    };
    voice.bar.finish_and_clear();
    let code = match built {
        Some(Ok(report)) => {
            voice.report(&report, true);
            ExitCode::SUCCESS
        }
        Some(Err(RebuildError::Different(report))) => {
            voice.report(&report, false);
            ExitCode::from(EXIT_DIFFERENT)
        }
        Some(Err(error)) => return Err(error).context(rows_that_answer(&pool, before).await),
        None => {
            let tidied = tokio::time::timeout(TIDY_WITHIN, rebuild::tidy(&pool)).await;
            let left = match tidied {
                Ok(Ok(_)) => "nothing is left of what it made beside them",
                _ => "the next rebuild drops what is left beside them",
            };
            eprintln!("interrupted: {}; {left}", rows_that_answer(&pool, before).await);
            ExitCode::FAILURE
        }
    };
    pool.close().await;
    Ok(code)
}

/// Which rows answer after a rebuild that did not end well: it may have switched already, and only the database knows.
async fn rows_that_answer(pool: &PgPool, before: i64) -> &'static str {
    match tokio::time::timeout(TIDY_WITHIN, generation::live(pool)).await {
        Ok(Ok(live)) if live.number == before => "nothing was switched, the old rows answer as before",
        Ok(Ok(_)) => "the new rows answer already",
        _ => "which rows answer is not known, as the database does not say",
    }
}

/// Says how far it is: a bar on a terminal, lines elsewhere, JSON for machines.
struct Voice {
    is_json: bool,
    bar: ProgressBar,
    state: Mutex<State>,
}

struct State {
    began: Instant,
    said: Option<Instant>,
    total: i64,
    folded: i64,
}

impl Voice {
    fn new(is_json: bool) -> Self {
        let bar = if is_json || !std::io::stderr().is_terminal() {
            ProgressBar::hidden()
        } else {
            let style =
                ProgressStyle::with_template("{msg} {wide_bar} {human_pos}/{human_len} events, {per_sec}, {eta} left");
            ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        };
        let state = State {
            began: Instant::now(),
            said: None,
            total: 0,
            folded: 0,
        };
        Self {
            is_json,
            bar,
            state: Mutex::new(state),
        }
    }

    fn say(&self, progress: &Progress) {
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (text, value) = match progress {
            Progress::Cleared { generations } => (
                format!("dropped what {generations} earlier rebuilds had left"),
                json!({"step": "cleared", "generations": generations}),
            ),
            Progress::Begun { schema, events } => {
                (state.began, state.total) = (Instant::now(), *events);
                self.bar.set_length(unsigned(*events));
                self.bar.set_message("folding");
                (
                    format!("folding {events} events into {schema}"),
                    json!({"step": "begun", "schema": schema, "events": events}),
                )
            }
            Progress::Folded { events } => match state.folded(*events) {
                Some(said) => said,
                None => {
                    self.bar.set_position(unsigned(*events));
                    return;
                }
            },
            Progress::Indexing => ("making keys".to_owned(), json!({"step": "indexing"})),
            Progress::CatchingUp { lag } => (
                format!("catching up: {lag} events missing"),
                json!({"step": "catching-up", "lag": lag}),
            ),
            Progress::Comparing { table } => {
                self.bar.set_message(format!("comparing {table}"));
                (
                    format!("comparing {table}"),
                    json!({"step": "comparing", "table": table}),
                )
            }
            Progress::Switched { paused_ms } => (
                format!("switched; projectors waited for {paused_ms} ms, readers not at all"),
                json!({"step": "switched", "projectors_waited_ms": paused_ms}),
            ),
            Progress::ClearingAway => ("dropping the old rows".to_owned(), json!({"step": "clearing-away"})),
        };
        self.line(&text, &value);
    }

    fn line(&self, text: &str, value: &Value) {
        if self.is_json {
            println!("{value}");
        } else if self.bar.is_hidden() {
            eprintln!("{text}");
        } else {
            self.bar.println(text);
        }
    }

    /// What came of it.
    fn report(&self, report: &Report, is_switched: bool) {
        let seconds = report.built_in.as_secs_f64();
        let rate = if seconds > 0.0 {
            report.events as f64 / seconds
        } else {
            0.0
        };
        if self.is_json {
            println!("{}", outcome(report, is_switched, rate));
            return;
        }
        for table in report.tables.iter().filter(|table| !table.is_same()) {
            let first = table.first.map(|family| family.to_string()).unwrap_or_default();
            println!(
                "{}: {} differs: {} rows answer, {} are right, {} families differ, the first is {first}",
                table.view, table.table, table.rows_live, table.rows_new, table.families
            );
        }
        for family in &report.parked {
            println!("{family} would be parked: one of its events does not fold");
        }
        for family in &report.freed {
            println!("{family} is parked and would not be any more");
        }
        if let Some(version) = report.replaced_version {
            println!("the old rows were of version {version} and were not compared");
        } else if report.is_same() {
            println!("{} tables compared: all the same", report.tables.len());
        }
        println!(
            "{} events folded and indexed in {seconds:.1} s ({rate:.0}/s); {}",
            report.events,
            match (is_switched, report.left_over) {
                (true, false) => "the new rows answer",
                (true, true) => "the new rows answer; the old ones are still read and go with the next rebuild",
                (false, _) => "the old rows stay (--replace-different switches all the same)",
            }
        );
    }
}

impl State {
    /// Rate and time left, not more often than anybody would read them.
    fn folded(&mut self, events: i64) -> Option<(String, Value)> {
        let is_news = events > self.folded;
        self.folded = events;
        if !is_news || self.said.is_some_and(|said| said.elapsed() < LINE_EVERY) {
            return None;
        }
        self.said = Some(Instant::now());
        let rate = events as f64 / self.began.elapsed().as_secs_f64().max(0.001);
        let left = ((self.total - events).max(0) as f64 / rate.max(1.0)).round();
        Some((
            format!("{events}/{} events, {rate:.0}/s, {left:.0} s left", self.total),
            json!({"step": "folding", "events": events, "of": self.total, "events_per_second": rate.round(), "seconds_left": left}),
        ))
    }
}

fn outcome(report: &Report, is_switched: bool, rate: f64) -> Value {
    let tables = report.tables.iter().map(|table| {
        json!({
            "view": table.view, "table": table.table, "rows_live": table.rows_live, "rows_new": table.rows_new,
            "families_differing": table.families, "first_family_differing": table.first,
        })
    });
    json!({
        "step": "done", "switched": is_switched, "views": report.views, "same": report.is_same(), "events": report.events,
        "seconds": report.built_in.as_secs_f64(), "events_per_second": rate.round(),
        "projectors_waited_ms": u64::try_from(report.paused.as_millis()).unwrap_or(u64::MAX),
        "freed": report.freed, "parked": report.parked, "replaced_version": report.replaced_version,
        "old_rows_left": report.left_over, "tables": tables.collect::<Vec<_>>(),
    })
}

fn unsigned(events: i64) -> u64 {
    u64::try_from(events).unwrap_or(0)
}
