//! `kinledger audit verify`: the chain of every family, and with `--views` the rows that come of it.
//!
//! The two are told apart: rows that were altered leave the chain whole and the log right, and can be built again.

use std::{collections::BTreeSet, fmt, path::PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use domain::id::FamilyId;
use event_store::{
    Lane, Log,
    replay::families,
    seal::verify::{LaneFault, verify_lane},
    verify::{ChainError, verify_family},
};
use projectors::verify::{Difference, Verifier};
use serde_json::{Value, json};
use service_kit::database::{self, DatabaseRole};
use verifier::Kept;

use super::{Altered, advance, lane_of, open, pack, progress_bar, read_only};
use crate::keys::Ledger;

/// Whose chain to verify.
#[derive(Debug, Args)]
pub struct VerifyOptions {
    /// A family, or `all`.
    #[arg(long, value_name = "FAMILY|all", default_value = "all")]
    pub family: String,
    /// Fold the log afresh as well, and compare with the views' rows; names every view and family that differs.
    #[arg(long)]
    pub views: bool,
    /// Verify a pack instead of the database: a zip file or a folder that `audit export --pack` wrote.
    #[arg(long, value_name = "PACK", conflicts_with = "views")]
    pub pack: Option<PathBuf>,
    /// The public key of the log, as `audit key show` prints it; not from the pack. May be given more than once.
    #[arg(long, value_name = "KEY", requires = "pack")]
    pub key: Vec<String>,
    /// Checkpoints that were kept elsewhere: a note, or the folder they were written to. May be given more than once.
    #[arg(long, visible_alias = "checkpoints", value_name = "FILE|DIR")]
    pub checkpoint: Vec<PathBuf>,
    /// Print one line of JSON per family.
    #[arg(long)]
    pub json: bool,
}

/// The log is right; rows are not those of it.
#[derive(Debug)]
pub struct RowsDiffer {
    views: BTreeSet<&'static str>,
    families: usize,
}

impl fmt::Display for RowsDiffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let views: Vec<&str> = self.views.iter().copied().collect();
        write!(
            f,
            "the log was not altered, but the rows of {} differ from it, in {} families: `kinledger rebuild --replace-different` \
            builds them again",
            views.join(", "),
            self.families
        )
    }
}

impl std::error::Error for RowsDiffer {}

pub(super) async fn run(options: VerifyOptions, ledger: &Ledger) -> Result<()> {
    let wanted: Option<FamilyId> = match options.family.as_str() {
        "all" => None,
        family => Some(family.parse().context("--family takes a family's id, or all")?),
    };
    let log = open(ledger).await?;
    let mut tally = Tally {
        is_json: options.json,
        ..Tally::default()
    };
    if options.views {
        tally.rows = Some(open_rows(ledger).await?);
    }
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
            tally.strangers().await?;
        }
    }
    if wanted.is_none() {
        tally.lanes(&log, &pack::kept_at(&options.checkpoint)?).await?;
    }
    tally.verdict()
}

/// The rows, for folding beside them. Projectors may read both; every transaction of theirs is read-only here but the one that
/// makes temporary tables.
async fn open_rows(ledger: &Ledger) -> Result<Verifier> {
    let pool = database::connect(&read_only(&ledger.url), DatabaseRole::Projector, 2)
        .await
        .context("cannot open the views")?;
    let log = ledger.log(pool.clone());
    Verifier::open(&pool, &log).await.context("cannot open the views")
}

#[derive(Default)]
struct Tally {
    is_json: bool,
    rows: Option<Verifier>,
    differing: Vec<Difference>,
    families: u64,
    events: i64,
    bad: Vec<(FamilyId, i64, event_store::verify::Fault)>,
    bad_lanes: Vec<LaneFault>,
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
        let Some(rows) = &mut self.rows else { return Ok(()) };
        let verified = rows.verify(lane, family).await;
        let verified = verified.with_context(|| format!("cannot verify the rows of {family}"))?;
        self.differ(verified.differences);
        Ok(())
    }

    /// The trees of all lanes, their checkpoints, and those that were kept elsewhere.
    async fn lanes(&mut self, log: &Log, kept: &Kept) -> Result<()> {
        let (mut checkpoints, mut compared) = (0, 0);
        for lane in (0..log.lanes().await.context("cannot read the log")?).map(Lane) {
            let verified = verify_lane(log.pool(), lane, kept.notes()).await;
            match verified.with_context(|| format!("cannot verify lane {lane}"))? {
                Ok(verified) => {
                    checkpoints += verified.checkpoints;
                    compared += verified.kept;
                }
                Err(fault) if self.is_json => {
                    let what = &fault.what;
                    println!(
                        "{}",
                        json!({"lane": lane.0, "verified": false, "first_bad_position": fault.position, "fault": what})
                    );
                    self.bad_lanes.push(fault);
                }
                Err(fault) => {
                    println!("ALTERED: {fault}");
                    self.bad_lanes.push(fault);
                }
            }
        }
        eprintln!("{checkpoints} checkpoints verified, {compared} kept elsewhere compared");
        Ok(())
    }

    /// Rows of families that no log knows.
    async fn strangers(&mut self) -> Result<()> {
        if let Some(rows) = &mut self.rows {
            let found = rows.strangers().await.context("cannot verify the rows")?;
            self.differ(found);
        }
        Ok(())
    }

    fn differ(&mut self, found: Vec<Difference>) {
        for difference in &found {
            if self.is_json {
                println!(
                    "{}",
                    json!({
                        "family_id": difference.family_id, "view": difference.view, "table": difference.table,
                        "same": false, "rows_live": difference.rows_live, "rows_wanted": difference.rows_wanted,
                    })
                );
            } else {
                println!(
                    "{}: the view {} DIFFERS from the log ({}: {} rows, the log gives {})",
                    difference.family_id,
                    difference.view,
                    difference.table,
                    difference.rows_live,
                    difference.rows_wanted
                );
            }
        }
        self.differing.extend(found);
    }

    fn verdict(self) -> Result<()> {
        if !self.bad.is_empty() || !self.bad_lanes.is_empty() {
            bail!(Altered {
                families: self.bad,
                lanes: self.bad_lanes,
            });
        }
        if !self.differing.is_empty() {
            let families: BTreeSet<FamilyId> = self.differing.iter().map(|found| found.family_id).collect();
            bail!(RowsDiffer {
                views: self.differing.iter().map(|found| found.view).collect(),
                families: families.len(),
            });
        }
        if self.rows.is_some() {
            eprintln!("the views' rows are those of the log");
        }
        eprintln!(
            "{} families, {} events: nothing was altered",
            self.families, self.events
        );
        Ok(())
    }
}
