//! beancount's file. Passes `bean-check`. Source: beancount's language syntax.
//!
//! A balance directive tolerates a difference of two units of the last place unless told otherwise, so each of ours says
//! `~ 0`: a missing cent is an error. Directives are of the beginning of their day, hence the day after the last posting.

use std::fmt::Write;

use chrono::SecondsFormat;
use domain::{Money, aggregate::LedgerEvent};

use super::{Chart, ChartAccount, Exported, Format, Whole, chart::day_after, transaction::Transaction};
use crate::Record;

pub(super) struct Beancount;

impl Format for Beancount {
    fn name(&self) -> &'static str {
        "beancount"
    }

    fn content_type(&self) -> &'static str {
        "text/x-beancount; charset=utf-8"
    }

    fn extension(&self) -> &'static str {
        "beancount"
    }

    fn needs_chart(&self) -> bool {
        true
    }

    // Writing to a string cannot fail, here and below.
    fn head(&self, out: &mut String, whole: &Whole<'_>) {
        let chart = whole.chart;
        let _ = writeln!(out, "; A family's ledger, kept by Kinledger: {}\n", whole.family);
        let name = chart.book().family_name().unwrap_or_default();
        let _ = writeln!(out, "option \"title\" {}", quoted(name));
        if let Some(currency) = chart.book().currency() {
            let _ = writeln!(out, "option \"operating_currency\" \"{currency}\"");
        }
        out.push('\n');
        let Some(first_on) = chart.first_on() else { return };
        for currency in chart.currencies() {
            let _ = writeln!(out, "{first_on} commodity {currency}");
        }
        out.push('\n');
        for account in chart.accounts() {
            let currency = account
                .currency
                .map(|currency| format!(" {currency}"))
                .unwrap_or_default();
            let _ = writeln!(out, "{} open {}{currency}", account.first_on, account.name);
            let _ = writeln!(out, "  name: {}", quoted(&account.family_name));
        }
        out.push('\n');
    }

    fn record(&self, out: &mut String, record: &Record, event: &LedgerEvent, chart: &Chart) {
        let Some(transaction) = Transaction::of(event) else {
            return;
        };
        let _ = write!(out, "{} *", record.effective_on);
        if !transaction.payee.is_empty() {
            let _ = write!(out, " {}", quoted(transaction.payee));
        }
        let _ = writeln!(out, " {}", quoted(&transaction.narration));
        let _ = writeln!(out, "  entry: \"{}\"", transaction.entry_id);
        let _ = writeln!(out, "  family-seq: {}", record.family_seq);
        let _ = writeln!(out, "  event: \"{}\"", transaction.event_type);
        let recorded_at = record.recorded_at.to_rfc3339_opts(SecondsFormat::Micros, true);
        let _ = writeln!(out, "  recorded-at: \"{recorded_at}\"");
        for posting in transaction.postings {
            let _ = writeln!(out, "  {}  {}", chart.name(posting.ledger_account), posting.money);
        }
        out.push('\n');
    }

    fn end(&self, out: &mut String, whole: &Whole<'_>, exported: &Exported) {
        let chart = whole.chart;
        if let Some(balanced_on) = chart.balanced_on() {
            for (account, balance) in chart.balances() {
                let day = closing_day(account).unwrap_or(balanced_on);
                let _ = writeln!(out, "{day} balance {}  {}", account.name, exact(&balance));
            }
            out.push('\n');
            for account in chart.accounts() {
                if let Some(day) = closing_day(account) {
                    let _ = writeln!(out, "{day} close {}", account.name);
                }
            }
        }
        let chain_hash = exported.chain_hash.map(hex::encode).unwrap_or_default();
        let _ = writeln!(
            out,
            "; end: {} transactions of {} events, family_seq {}, chain_hash {chain_hash}",
            exported.written, exported.events, exported.family_seq
        );
    }
}

/// A closed account ends on the day it was closed, or on the day after its last posting where that is later: an account
/// may be closed while entries of days to come are already in it.
fn closing_day(account: &ChartAccount) -> Option<chrono::NaiveDate> {
    let closed_on = account.closed_on?;
    Some(
        closed_on
            .max(account.last_posting_on.map_or(closed_on, day_after))
            .max(day_after(account.first_on)),
    )
}

fn exact(balance: &Money) -> String {
    format!("{} ~ 0 {}", balance.amount(), balance.currency())
}

/// A string. Backslashes, quotes and line breaks are escaped; other control characters become spaces.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => quoted.push(' '),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_string_holds_whatever_people_write() {
        assert_eq!(quoted("a\"b\\c\nd;🍕\u{7}"), r#""a\"b\\c\nd;🍕 ""#);
    }
}
