//! hledger's journal. Passes `hledger check --strict`: accounts and commodities are declared, and the last transaction
//! asserts every balance. Source: hledger's manual, "Journal".
//!
//! What people wrote goes into descriptions only, never into comments: a comment's `date:` or `type:` means something.

use std::fmt::Write;

use chrono::{NaiveDate, SecondsFormat};
use domain::{Currency, aggregate::LedgerEvent};

use super::{Chart, Exported, Format, Whole, transaction::Transaction};
use crate::Record;

pub(super) struct Hledger;

impl Format for Hledger {
    fn name(&self) -> &'static str {
        "hledger"
    }

    fn content_type(&self) -> &'static str {
        "text/x-hledger; charset=utf-8"
    }

    fn extension(&self) -> &'static str {
        "journal"
    }

    fn needs_chart(&self) -> bool {
        true
    }

    // Writing to a string cannot fail, here and below.
    fn head(&self, out: &mut String, whole: &Whole<'_>) {
        let _ = writeln!(out, "; A family's ledger, kept by Kinledger: {}", whole.family);
        let _ = writeln!(
            out,
            "; Each transaction's code is the number of its event in the family's log.\n"
        );
        let _ = writeln!(out, "decimal-mark .\n");
        for currency in whole.chart.currencies() {
            let _ = writeln!(out, "commodity {} {currency}", example_of(currency));
        }
        out.push('\n');
        for account in whole.chart.accounts() {
            let _ = writeln!(out, "; {}", quoted(&account.family_name));
            let _ = writeln!(out, "account {}", account.name);
        }
        out.push('\n');
    }

    fn record(&self, out: &mut String, record: &Record, event: &LedgerEvent, chart: &Chart) {
        let Some(transaction) = Transaction::of(event) else {
            return;
        };
        let _ = write!(out, "{} * ({})", record.effective_on, record.family_seq);
        let payee = one_line(transaction.payee).replace('|', "/");
        let narration = one_line(&transaction.narration);
        match (payee.as_str(), narration.as_str()) {
            ("", "") => {}
            ("", narration) => {
                let _ = write!(out, " {narration}");
            }
            (payee, "") => {
                let _ = write!(out, " {payee}");
            }
            (payee, narration) => {
                let _ = write!(out, " {payee} | {narration}");
            }
        }
        out.push('\n');
        let recorded_at = record.recorded_at.to_rfc3339_opts(SecondsFormat::Micros, true);
        let _ = writeln!(
            out,
            "    ; entry:{}, family-seq:{}, event:{}, recorded-at:{recorded_at}",
            transaction.entry_id, record.family_seq, transaction.event_type
        );
        for posting in transaction.postings {
            let _ = writeln!(out, "    {}  {}", chart.name(posting.ledger_account), posting.money);
        }
        out.push('\n');
    }

    fn end(&self, out: &mut String, whole: &Whole<'_>, exported: &Exported) {
        if let Some(day) = whole.chart.balanced_on() {
            write_assertions(out, whole.chart, day);
        }
        let chain_hash = exported.chain_hash.map(hex::encode).unwrap_or_default();
        let _ = writeln!(
            out,
            "; end: {} transactions of {} events, family_seq {}, chain_hash {chain_hash}",
            exported.written, exported.events, exported.family_seq
        );
    }
}

fn write_assertions(out: &mut String, chart: &Chart, day: NaiveDate) {
    let balances = chart.balances();
    if balances.is_empty() {
        return;
    }
    let _ = writeln!(out, "{day} * Balances by Kinledger's own count");
    for (account, balance) in balances {
        let currency = balance.currency();
        let _ = writeln!(out, "    {}  0 {currency} = {balance}", account.name);
    }
    out.push('\n');
}

/// An amount that shows a currency's decimal places; hledger wants the mark even where nothing follows.
fn example_of(currency: Currency) -> String {
    let places = usize::try_from(currency.scale()).unwrap_or(0);
    format!("1000.{}", "0".repeat(places))
}

/// Text that ends neither the line nor the description, and that no reader takes for a comment.
fn one_line(text: &str) -> String {
    let text: String = text
        .chars()
        .map(|c| match c {
            ';' => ',',
            c if c.is_control() || c.is_whitespace() => ' ',
            c => c,
        })
        .collect();
    text.trim().to_owned()
}

/// A family's own words in a line that is a comment as a whole.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text.replace(['\u{85}', '\u{2028}', '\u{2029}'], " ")).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_one_line_without_comments() {
        assert_eq!(one_line(" a;b\nc\u{2028}d 🍕 "), "a,b c d 🍕");
    }

    #[test]
    fn an_example_shows_the_currencys_places() {
        let example = |code: &str| example_of(code.parse().expect("a code"));
        assert_eq!(
            (example("EUR"), example("JPY"), example("KWD")),
            ("1000.00".into(), "1000.".into(), "1000.000".into())
        );
    }
}
