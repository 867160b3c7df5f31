//! `kinledger audit`: replay, verify and export, straight from the log.
//!
//! Results go to stdout, progress and messages to stderr. Exit codes: 0 all is well, 1 it could not be done, 2 the log was
//! altered, 3 rows of views are not those of the log, or a pack is whole but older than what was kept elsewhere. The log is only
//! read; what is read of a family's books, its parents are told ([`told`]).

mod check;
mod export;
mod key;
mod pack;
mod past;
mod replay;
mod told;
mod verify;

use std::{fmt, path::Path, process::ExitCode};

use anyhow::{Context, Result, anyhow};
use chrono::{DateTime, NaiveDate, Utc};
use clap::{Args, Subcommand};
use domain::id::FamilyId;
use event_store::{
    Lane, Log,
    replay::{AsOf, ReplayError},
    seal::verify::LaneFault,
    verify::Fault,
};
use indicatif::{ProgressBar, ProgressStyle};
use service_kit::database::{self, DatabaseRole};

use crate::{keys::Ledger, rebuild::EXIT_DIFFERENT};

pub use check::CheckOptions;
pub use export::ExportOptions;
pub use key::KeyOptions;
pub use replay::ReplayOptions;
pub use verify::VerifyOptions;

/// The log was altered.
const EXIT_ALTERED: u8 = 2;
/// A pack is whole, but not everything that was kept elsewhere could be compared with it.
const EXIT_NOT_COMPARED: u8 = 3;

/// What an auditor may ask for.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Say whether a stream of lines (an ndjson export, a dump) is whole: its end mark, and all that it counts.
    Check(CheckOptions),
    /// Write a family's whole ledger to a file that hledger, beancount or a program can read and check.
    Export(ExportOptions),
    /// Show or change the key that checkpoints are signed with.
    Key(KeyOptions),
    /// Say what stood in a family's books as of any moment.
    Replay(ReplayOptions),
    /// Make every hash again, and name the first event that was altered.
    Verify(VerifyOptions),
}

/// Up to when to read.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct AsOfOptions {
    /// Leave out what was recorded after this instant, such as 2026-11-21T12:00:00Z.
    #[arg(
        long,
        visible_alias = "recorded-at",
        value_name = "INSTANT",
        conflicts_with = "as_of_seq"
    )]
    pub as_of_recorded: Option<DateTime<Utc>>,
    /// Leave out what was recorded after the event with this number.
    #[arg(long, visible_alias = "family-seq", value_name = "FAMILY_SEQ", value_parser = clap::value_parser!(i64).range(0..))]
    pub as_of_seq: Option<i64>,
    /// Count no posting of a later day, such as 2026-11-21.
    #[arg(long, visible_alias = "effective-on", value_name = "DAY")]
    pub as_of_effective: Option<NaiveDate>,
}

impl AsOfOptions {
    fn bounds(self) -> AsOf {
        AsOf {
            recorded_at: self.as_of_recorded,
            family_seq: self.as_of_seq,
            effective_on: self.as_of_effective,
        }
    }
}

/// Runs an auditor's command against a ledger.
pub async fn run(command: AuditCommand, ledger: &Ledger, data_dir: &Path) -> ExitCode {
    let done = match command {
        AuditCommand::Key(options) => key::run(options, ledger, data_dir).await,
        AuditCommand::Check(options) => check::run(&options),
        AuditCommand::Export(options) => export::run(options, ledger).await,
        AuditCommand::Replay(options) => replay::run(options, ledger).await,
        AuditCommand::Verify(options) => verify::run(options, ledger).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kinledger audit: {error:#}");
            if error.is::<Altered>() {
                ExitCode::from(EXIT_ALTERED)
            } else if error.is::<verify::RowsDiffer>() {
                ExitCode::from(EXIT_DIFFERENT)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

/// Verifies a pack, for which no database is needed. None when the command asks for something else.
pub fn run_without_database(command: &AuditCommand) -> Option<ExitCode> {
    let AuditCommand::Verify(options) = command else {
        return None;
    };
    let pack = options.pack.as_deref()?;
    let verdict = pack::verify(pack, &options.key, &options.family, &options.checkpoint, options.json);
    Some(match verdict {
        Ok(report) if report.is_whole() && report.is_all_compared() => ExitCode::SUCCESS,
        Ok(report) if report.is_whole() => ExitCode::from(EXIT_NOT_COMPARED),
        Ok(_) => ExitCode::from(EXIT_ALTERED),
        Err(error) => {
            eprintln!("kinledger audit: {error:#}");
            ExitCode::FAILURE
        }
    })
}

/// The log is not what was recorded.
#[derive(Debug)]
struct Altered {
    families: Vec<(FamilyId, i64, Fault)>,
    lanes: Vec<LaneFault>,
}

impl fmt::Display for Altered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the log was altered")?;
        for (family, family_seq, fault) in &self.families {
            write!(f, "; {family}: the first bad event is family_seq {family_seq}: {fault}")?;
        }
        for fault in &self.lanes {
            write!(f, "; {fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Altered {}

/// The error of a replay, told apart when the log was altered.
fn replay_error(family: FamilyId, error: ReplayError) -> anyhow::Error {
    match error {
        ReplayError::Altered { family_seq, fault } => anyhow::Error::new(Altered {
            families: vec![(family, family_seq, fault)],
            lanes: Vec::new(),
        }),
        error => error.into(),
    }
}

/// The same database, in sessions whose transactions are read-only unless they say otherwise.
fn read_only(database_url: &str) -> String {
    let separator = if database_url.contains('?') { '&' } else { '?' };
    format!("{database_url}{separator}options=-c%20default_transaction_read_only%3Don")
}

/// The log, for reading alone, in the role of audits and in sessions whose every transaction is read-only.
async fn open(ledger: &Ledger) -> Result<Log> {
    let pool = database::connect(&read_only(&ledger.url), DatabaseRole::Auditor, 2)
        .await
        .context("cannot open the ledger")?;
    Ok(ledger.log(pool))
}

async fn lane_of(log: &Log, family: FamilyId) -> Result<Lane> {
    let lane = log.lane_of(family).await.context("cannot read the log")?;
    lane.ok_or_else(|| anyhow!("there is no family {family}"))
}

/// A bar over events on stderr; hidden when stderr is no terminal.
fn progress_bar(what: &'static str, total: Option<i64>) -> ProgressBar {
    let total = total.and_then(|total| u64::try_from(total).ok());
    let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    let template = if total.is_some() {
        "{msg} {wide_bar} {human_pos}/{human_len} events {eta}"
    } else {
        "{msg} {human_pos} events {per_sec}"
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style);
    bar.set_message(what);
    bar
}

/// Moves a bar; positions are never negative.
fn advance(bar: &ProgressBar, to: i64) {
    bar.set_position(u64::try_from(to).unwrap_or(0));
}
