//! `kinledger audit verify`.

use anyhow::{Context, Result, bail};
use clap::Args;
use domain::id::FamilyId;
use event_store::{
    Lane, Log,
    replay::families,
    verify::{ChainError, verify_family},
};
use serde_json::{Value, json};

use super::{Altered, advance, lane_of, open, progress_bar};

/// Whose chain to verify.
#[derive(Debug, Args)]
pub struct VerifyOptions {
    /// A family, or `all`.
    #[arg(long, value_name = "FAMILY|all", default_value = "all")]
    pub family: String,
    /// Print one line of JSON per family.
    #[arg(long)]
    pub json: bool,
}

pub(super) async fn run(options: VerifyOptions, database_url: &str) -> Result<()> {
    let wanted: Option<FamilyId> = match options.family.as_str() {
        "all" => None,
        family => Some(family.parse().context("--family takes a family's id, or all")?),
    };
    let log = open(database_url).await?;
    let mut tally = Tally {
        is_json: options.json,
        ..Tally::default()
    };
    match wanted {
        Some(family) => tally.verify(&log, lane_of(&log, family).await?, family).await?,
        None => {
            let mut after = None;
            loop {
                let page = families(&log, after).await.context("cannot read the log")?;
                let Some((last, _)) = page.last() else { break };
                after = Some(*last);
                for (family, lane) in page {
                    tally.verify(&log, lane, family).await?;
                }
            }
        }
    }
    tally.verdict()
}

#[derive(Default)]
struct Tally {
    is_json: bool,
    families: u64,
    events: i64,
    bad: Vec<(FamilyId, i64, event_store::verify::Fault)>,
}

impl Tally {
    async fn verify(&mut self, log: &Log, lane: Lane, family: FamilyId) -> Result<()> {
        let bar = progress_bar("verifying", Some(0));
        let verdict = verify_family(log, lane, family, |progress| {
            bar.set_length(u64::try_from(progress.total).unwrap_or(0));
            advance(&bar, progress.verified);
        })
        .await;
        bar.finish_and_clear();
        self.families += 1;
        let line = match verdict {
            Ok(verified) => {
                self.events += verified.events;
                let chain_hash = hex::encode(verified.head.chain_hash);
                if self.is_json {
                    json!({"family_id": family, "verified": true, "events": verified.events, "chain_hash": chain_hash})
                } else {
                    Value::String(format!("{family}: {} events, chain hash {chain_hash}", verified.events))
                }
            }
            Err(ChainError::Broken {
                family_id,
                family_seq,
                fault,
            }) => {
                self.bad.push((family_id, family_seq, fault));
                if self.is_json {
                    let fault = fault.to_string();
                    json!({"family_id": family, "verified": false, "first_bad_family_seq": family_seq, "fault": fault})
                } else {
                    Value::String(format!(
                        "{family}: ALTERED, the first bad event is family_seq {family_seq}: {fault}"
                    ))
                }
            }
            Err(error @ ChainError::Log(_)) => return Err(error).with_context(|| format!("cannot verify {family}")),
        };
        println!("{}", line.as_str().map_or_else(|| line.to_string(), str::to_owned));
        Ok(())
    }

    fn verdict(self) -> Result<()> {
        if !self.bad.is_empty() {
            bail!(Altered { families: self.bad });
        }
        eprintln!(
            "{} families, {} events: nothing was altered",
            self.families, self.events
        );
        Ok(())
    }
}
