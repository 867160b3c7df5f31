//! `kinledger parked`: families whose next event could not be folded, and taking them up again.
//!
//! Safe beside running projectors: the lane's checkpoint is locked while a family is taken up. Nothing personal is shown: the
//! raw event stays in the database. Exit codes: 0 done, 1 it could not be done, 3 a family stays parked.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use domain::id::FamilyId;
use projectors::{
    apply::Applier,
    parking::{self, RetryError},
};
use serde_json::json;
use service_kit::database::{self, DatabaseRole};

use crate::keys::Ledger;

/// A family stays parked.
const EXIT_STILL_PARKED: u8 = 3;

/// What to do with parked families.
#[derive(Debug, Subcommand)]
pub enum ParkedCommand {
    /// Name them, and the event that each waits at.
    List {
        /// Print one line of JSON per family.
        #[arg(long)]
        json: bool,
    },
    /// Fold a family's waiting events again, once the cause is mended.
    Retry(RetryOptions),
}

/// Whom to take up.
#[derive(Debug, Args)]
pub struct RetryOptions {
    /// The family.
    #[arg(required_unless_present = "all")]
    family: Option<FamilyId>,
    /// All of them.
    #[arg(long, conflicts_with = "family")]
    all: bool,
    /// Print one line of JSON per family.
    #[arg(long)]
    json: bool,
}

/// Runs it against a ledger.
///
/// # Errors
/// When the database cannot be used, or the family is not parked.
pub async fn run(command: ParkedCommand, ledger: &Ledger) -> Result<ExitCode> {
    let pool = database::connect(&ledger.url, DatabaseRole::Projector, 4).await?;
    let log = ledger.log(pool.clone());
    let applier = Applier::new(pool.clone(), log);
    let code = match command {
        ParkedCommand::List { json } => list(&applier, json).await,
        ParkedCommand::Retry(options) => retry(&applier, &options).await,
    };
    pool.close().await;
    code
}

async fn list(applier: &Applier, is_json: bool) -> Result<ExitCode> {
    let parked = parking::list(applier)
        .await
        .context("cannot read the parked families")?;
    for family in &parked {
        if is_json {
            println!(
                "{}",
                json!({
                    "family_id": family.family_id, "family_seq": family.family_seq, "event_type": family.event_type,
                    "event_version": family.event_version, "parked_at": family.parked_at, "waiting": family.waiting,
                    "error": family.error,
                })
            );
        } else {
            println!(
                "{} waits at {} ({} version {}) since {}, {} events: {}",
                family.family_id,
                family.family_seq,
                family.event_type,
                family.event_version,
                family.parked_at.to_rfc3339(),
                family.waiting,
                family.error
            );
        }
    }
    if !is_json {
        eprintln!("{} families are parked", parked.len());
    }
    Ok(ExitCode::SUCCESS)
}

async fn retry(applier: &Applier, options: &RetryOptions) -> Result<ExitCode> {
    let families = match options.family {
        Some(family) => vec![family],
        None => {
            let parked = parking::list(applier)
                .await
                .context("cannot read the parked families")?;
            parked.into_iter().map(|family| family.family_id).collect()
        }
    };
    let (mut freed, mut still) = (0, 0);
    for family in families {
        let line = match parking::retry_parked(applier, family).await {
            Ok(done) => {
                freed += 1;
                json!({"family_id": family, "freed": true, "events": done.events, "family_seq": done.family_seq})
            }
            Err(RetryError::Still {
                family_seq,
                events,
                error,
            }) => {
                still += 1;
                json!({"family_id": family, "freed": false, "events": events, "family_seq": family_seq, "error": error})
            }
            // Somebody else has freed it since it was listed.
            Err(RetryError::NotParked) if options.all => continue,
            Err(RetryError::NotParked) => bail!("{family} is not parked"),
            Err(error) => return Err(error).with_context(|| format!("cannot take up {family}")),
        };
        if options.json {
            println!("{line}");
        } else if line["freed"] == true {
            println!(
                "{family}: {} events folded, up to {}",
                line["events"], line["family_seq"]
            );
        } else {
            println!(
                "{family}: {} events folded, stays parked at {}: {}",
                line["events"],
                line["family_seq"],
                line["error"].as_str().unwrap_or_default()
            );
        }
    }
    eprintln!("{freed} families taken up, {still} stay parked");
    Ok(if still == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(EXIT_STILL_PARKED)
    })
}
