//! `kinledger audit replay`.

use std::io::{self, Write};

use anyhow::{Context, Result};
use clap::{Args, builder::PossibleValuesParser};
use domain::{
    book::EntryInForce,
    id::{FamilyId, MemberId},
};
use event_store::replay::{Statement, replay};
use query_api::views::VIEWS;
use serde_json::json;

use super::{AsOfOptions, advance, lane_of, open, past, progress_bar, replay_error, told::tell_family};
use crate::keys::Ledger;

/// Whose books, and as of when.
#[derive(Debug, Args)]
pub struct ReplayOptions {
    /// The family.
    #[arg(long, value_name = "FAMILY")]
    pub family: FamilyId,
    /// The bounds.
    #[command(flatten)]
    pub as_of: AsOfOptions,
    /// List the entries in force as well. Memory then grows with their number.
    #[arg(long, conflicts_with_all = ["view", "dump"])]
    pub entries: bool,
    /// Print what this view said, such as `accounts`, byte for byte as over HTTP.
    #[arg(long, value_parser = PossibleValuesParser::new(VIEWS.iter().map(|view| view.name)), conflicts_with = "dump")]
    pub view: Option<String>,
    /// The view's own parameters, as in its URL: `from=2026-01-01&limit=5`.
    #[arg(long, value_name = "QUERY", requires = "view")]
    pub query: Option<String>,
    /// Print every view and the book, a line each, and an end mark.
    #[arg(long)]
    pub dump: bool,
    /// Whose eyes the views are seen with; an auditor's when absent.
    #[arg(long, value_name = "MEMBER")]
    pub member: Option<MemberId>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

pub(super) async fn run(options: ReplayOptions, ledger: &Ledger) -> Result<()> {
    if options.view.is_some() || options.dump {
        return past::run(options, ledger).await;
    }
    let log = open(ledger).await?;
    let lane = lane_of(&log, options.family).await?;
    tell_family(ledger, options.family, "replay").await?;
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
