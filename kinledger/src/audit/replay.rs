//! `kinledger audit replay`.

use std::io::{self, Write};

use anyhow::{Context, Result};
use clap::Args;
use domain::{book::EntryInForce, id::FamilyId};
use event_store::replay::{Statement, replay};
use serde_json::json;

use super::{AsOfOptions, advance, lane_of, open, progress_bar, replay_error};

/// Whose books, and as of when.
#[derive(Debug, Args)]
pub struct ReplayOptions {
    /// The family.
    #[arg(long, value_name = "FAMILY")]
    pub family: FamilyId,
    /// The bounds.
    #[command(flatten)]
    pub as_of: AsOfOptions,
    /// List the entries in force as well.
    #[arg(long)]
    pub entries: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

pub(super) async fn run(options: ReplayOptions, database_url: &str) -> Result<()> {
    let log = open(database_url).await?;
    let lane = lane_of(&log, options.family).await?;
    let bounds = options.as_of.bounds();
    let bar = progress_bar("replaying", None);
    let replayed = replay(&log, lane, options.family, bounds, options.entries, |folded| {
        advance(&bar, folded)
    })
    .await;
    bar.finish_and_clear();
    let replayed = replayed.map_err(|error| replay_error(options.family, error))?;
    let entries = replayed.book.entries();
    let mut out = io::stdout().lock();
    if options.json {
        let mut statement = serde_json::to_value(&replayed.statement)?;
        if let Some(entries) = entries {
            statement["entries_in_force"] = json!(entries);
        }
        writeln!(out, "{statement}").context("cannot write")
    } else {
        print(&mut out, &replayed.statement, entries.as_deref()).context("cannot write")
    }
}

fn print(out: &mut impl Write, statement: &Statement, entries: Option<&[&EntryInForce]>) -> io::Result<()> {
    let rows = &statement.rows;
    let name = rows
        .family
        .as_ref()
        .map_or("(no family yet)", |family| family.name.as_str());
    writeln!(out, "{name} ({})", statement.family_id)?;
    if let (Some(recorded_at), Some(chain_hash)) = (statement.recorded_at, &statement.chain_hash) {
        writeln!(
            out,
            "{} events, the last recorded at {}",
            statement.events,
            recorded_at.to_rfc3339()
        )?;
        writeln!(out, "chain hash {chain_hash}")?;
    }
    if let Some(day) = statement.as_of.effective_on {
        writeln!(out, "postings up to and including {day}")?;
    }
    writeln!(out, "\nBalances (debit positive)")?;
    for row in &rows.balances {
        let amount = row.balance.amount().to_string();
        writeln!(
            out,
            "{amount:>20} {}  {:<8} {}",
            row.balance.currency(),
            row.kind,
            row.name
        )?;
    }
    writeln!(out, "\nTrial balance")?;
    for sum in &rows.trial_balance {
        writeln!(out, "{:>20} {}", sum.amount().to_string(), sum.currency())?;
    }
    let counts = rows.entries;
    writeln!(
        out,
        "\n{} entries, {} of them reversed, {} recategorisations",
        counts.recorded, counts.reversed, counts.recategorised
    )?;
    for member in &rows.members {
        writeln!(out, "{:>20} points  {}", member.points, member.display_name)?;
    }
    for entry in entries.unwrap_or_default() {
        writeln!(
            out,
            "\n{} {} family_seq {}",
            entry.effective_on, entry.entry_id, entry.family_seq
        )?;
        for posting in &entry.postings {
            let amount = posting.money.amount().to_string();
            writeln!(
                out,
                "{amount:>20} {}  {}",
                posting.money.currency(),
                posting.ledger_account
            )?;
        }
    }
    Ok(())
}
