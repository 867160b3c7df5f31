//! MT940 statements and MT942 reports, as banks really write them.
//!
//! A file is a run of fields, `:61:` and the like, each with its continuation lines. SWIFT envelopes (`{1:…}{4:`), page
//! headers and trailers (`-`, `-}`, `-XXX`) only say where a message ends. A statement too long for one message goes on
//! in the next one (`62M`, then `60M`): such pages are one statement when their balances meet.
//! Source: SWIFT User Handbook, category 9, MT940; the Dutch and German banks' own guides for `:86:`.

mod details;
mod entry;
mod fields;

use chrono::NaiveDate;
use domain::{Currency, Money, statement::Statement};

use self::{
    entry::RawEntry,
    fields::{Field, Fields},
};
use super::{
    FILE_ROWS_MAX, Options, StatementError, decimal,
    text::{self, quote},
};
use crate::banks::{
    Feed,
    reading::{Findings, RefusedStatement, StatementReading, StatementRefusal},
};

/// Does a text begin like MT940: with an envelope, a field, or a page header and then a field that every statement has?
pub(super) fn is_mt940(head: &str) -> bool {
    const TELLING: &[&str] = &["20", "25", "28", "28C", "60F", "60M", "61", "62F", "62M", "86"];
    let starts = head.starts_with("{1:") || head.lines().next().is_some_and(|line| fields::tag(line).is_some());
    starts
        || head
            .lines()
            .take(30)
            .filter_map(fields::tag)
            .any(|(tag, _)| TELLING.contains(&tag))
}

/// Reads the statements of an MT940 file.
pub(super) fn read(text: &str, options: &Options) -> Result<Feed, StatementError> {
    let mut feed = Feed::default();
    for draft in pages_joined(drafts(text)?) {
        let (line, bank_account) = (draft.found.line, draft.bank_account.clone());
        match draft.currency(options) {
            Ok(currency) => feed.statements.push(draft.finish(currency)),
            Err(refusal) => feed.refused.push(RefusedStatement {
                line,
                bank_account,
                refusal,
            }),
        }
    }
    Ok(feed)
}

/// One message's statement while its file is being read.
#[derive(Default)]
struct Draft {
    bank_account: String,
    /// From `:34F:`, the floor limit of an MT942, which has no balances.
    floor_currency: String,
    opening: Option<Balance>,
    closing: Option<Balance>,
    entries: Vec<RawEntry>,
    found: Findings,
}

/// A `:60:` or `:62:`, as text.
struct Balance {
    line: usize,
    tag: String,
    text: String,
}

/// The statement of each message.
fn drafts(text: &str) -> Result<Vec<Draft>, StatementError> {
    let mut drafts: Vec<Draft> = Vec::new();
    let mut open: Option<Draft> = None;
    let mut previous = "";
    let mut rows = 0;
    for field in Fields::new(text) {
        let begin = |bank_account: String| Draft {
            bank_account,
            found: Findings {
                line: field.line,
                ..Findings::default()
            },
            ..Draft::default()
        };
        let starts_anew = match field.tag {
            "20" | fields::END => true,
            "25" | "25P" => open.as_ref().is_some_and(|draft| draft.closing.is_some()),
            "60F" | "60M" => open.as_ref().is_some_and(|draft| draft.opening.is_some()),
            _ => false,
        };
        if starts_anew {
            let ended = open.take();
            let keeps_account = field.tag.starts_with("60");
            let bank_account = ended
                .as_ref()
                .filter(|_| keeps_account)
                .map(|draft| draft.bank_account.clone());
            drafts.extend(ended);
            open = bank_account.map(begin);
        }
        if field.tag != fields::END {
            rows += usize::from(open.is_none() || field.tag == "61");
            open.get_or_insert_with(|| begin(String::new()))
                .take_in(&field, previous);
        }
        previous = field.tag;
        if rows > FILE_ROWS_MAX {
            return Err(StatementError::TooManyRows);
        }
    }
    drafts.extend(open);
    drafts.retain(|draft| draft.opening.is_some() || draft.closing.is_some() || !draft.entries.is_empty());
    Ok(drafts)
}

/// Pages of one statement as one, where the second opens at what the first closes with.
fn pages_joined(drafts: Vec<Draft>) -> Vec<Draft> {
    let mut joined: Vec<Draft> = Vec::with_capacity(drafts.len());
    for page in drafts {
        match joined.last_mut() {
            Some(statement) if statement.goes_on_in(&page) => {
                statement.entries.extend(page.entries);
                statement.closing = page.closing;
                statement.found.remarks.extend(page.found.remarks);
            }
            _ => joined.push(page),
        }
    }
    joined
}

impl Draft {
    fn take_in(&mut self, field: &Field<'_>, previous: &str) {
        let first = field.lines.first().copied().unwrap_or_default().trim();
        match field.tag {
            "25" | "25P" if previous == "61" => {
                // Some bank's slip: the details of a row under the tag of the account.
                self.found.remark(
                    field.line,
                    ":25:",
                    "it stands where the row's :86: belongs and is read as that",
                );
                self.give_details(field);
            }
            "25" | "25P" => self.bank_account = text::clean(first, text::BANK_ACCOUNT_CHARS_MAX),
            "34F" => self.floor_currency = first.chars().take(3).collect(),
            "60F" | "60M" => self.opening = Some(Balance::of(field)),
            "61" => self.entries.push(RawEntry::of(field)),
            "62F" | "62M" => self.closing = Some(Balance::of(field)),
            "86" if previous == "61" => self.give_details(field),
            _ => {}
        }
    }

    fn give_details(&mut self, field: &Field<'_>) {
        if let Some(entry) = self.entries.last_mut() {
            entry.details = details::read(&field.lines);
        }
    }

    fn goes_on_in(&self, page: &Self) -> bool {
        let (Some(closing), Some(opening)) = (&self.closing, &page.opening) else {
            return false;
        };
        closing.tag == "62M" && opening.tag == "60M" && self.bank_account == page.bank_account && closing.meets(opening)
    }

    /// The balances' currency, else the floor limit's.
    fn currency(&self, options: &Options) -> Result<Currency, StatementRefusal> {
        let balances = [&self.opening, &self.closing].into_iter().flatten();
        let codes = balances.filter_map(|balance| balance.parts().map(|(_, _, code, _)| code));
        let codes = codes.chain([self.floor_currency.as_str()]);
        let looks_like_code = |code: &&str| code.len() == 3 && code.bytes().all(|b| b.is_ascii_alphabetic());
        match codes.into_iter().find(looks_like_code) {
            Some(code) => {
                let code = code.to_uppercase();
                code.parse()
                    .map_err(|_| StatementRefusal::UnknownCurrency { code: quote(&code) })
            }
            None => options.currency.ok_or(StatementRefusal::NoCurrency),
        }
    }

    fn finish(mut self, currency: Currency) -> StatementReading {
        let opening = self
            .opening
            .take()
            .and_then(|balance| balance.read(currency, &mut self.found));
        let closing = self
            .closing
            .take()
            .and_then(|balance| balance.read(currency, &mut self.found));
        let mut rows = Vec::with_capacity(self.entries.len());
        for entry in std::mem::take(&mut self.entries) {
            if entry.is_expected() {
                self.found.pending += 1;
                continue;
            }
            match entry.row(currency) {
                Ok(row) => rows.push(row),
                Err(broken) => self.found.broken.push(broken),
            }
        }
        let statement = Statement {
            bank_account: self.bank_account,
            currency,
            opening: opening.map(|(money, _)| money),
            closing: closing.map(|(money, _)| money),
            closing_on: closing.and_then(|(_, day)| day),
            rows,
        };
        StatementReading::of(statement, self.found)
    }
}

impl Balance {
    fn of(field: &Field<'_>) -> Self {
        let text = field.lines.iter().map(|line| line.trim()).collect::<String>();
        Self {
            line: field.line,
            tag: field.tag.to_owned(),
            text,
        }
    }

    /// Mark, date, currency and amount: `C`, `100722`, `EUR`, `0,00`.
    fn parts(&self) -> Option<(&str, &str, &str, &str)> {
        let text = self.text.as_str();
        Some((text.get(..1)?, text.get(1..7)?, text.get(7..10)?, text.get(10..)?))
    }

    fn meets(&self, other: &Self) -> bool {
        let parts = |balance: &Self| {
            balance
                .parts()
                .map(|(mark, _, code, amount)| format!("{mark}{code}{amount}"))
        };
        parts(self).is_some() && parts(self) == parts(other)
    }

    fn read(&self, currency: Currency, found: &mut Findings) -> Option<(Money, Option<NaiveDate>)> {
        let read = self.money(currency);
        read.map_err(|problem| found.remark(self.line, format!(":{}:", self.tag), problem))
            .ok()
    }

    fn money(&self, currency: Currency) -> Result<(Money, Option<NaiveDate>), String> {
        let no_balance = || format!("'{}' is not a balance", quote(&self.text));
        let (mark, day, code, amount) = self.parts().ok_or_else(no_balance)?;
        if !code.eq_ignore_ascii_case(currency.code()) {
            return Err(format!(
                "the balance is in {}, the statement in {currency}; it is left out",
                quote(code)
            ));
        }
        let money = decimal::amount(amount, currency)?;
        match mark {
            "C" => Ok((money, entry::short_date(day))),
            "D" => Ok((money.negated(), entry::short_date(day))),
            _ => Err(no_balance()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::banks::proof::Proof;

    fn feed(text: &str) -> Feed {
        read(text, &Options::default()).expect("readable")
    }

    #[test]
    fn a_statement_in_its_envelope_is_read_and_proved() {
        let text = "{1:F01BANKXX}{2:O940}{4:\r\n:20:1\r\n:25:NL1\r\n:28C:1/1\r\n:60F:C200101EUR10,00\r\n\
            :61:2001020102D2,5NTRFNONREF//B7\r\nmore\r\n:86:/NAME/Ann/REMI/Rent\r\n:62F:C200102EUR7,50\r\n:86:a footer\r\n-}{5:}\r\n";
        let feed = feed(text);
        let reading = &feed.statements[0];
        assert_eq!(
            (feed.statements.len(), &reading.proof, reading.line),
            (1, &Proof::Proved, 2)
        );
        assert_eq!(
            (reading.statement.bank_account.as_str(), reading.statement.rows.len()),
            ("NL1", 1)
        );
        assert_eq!(
            reading.statement.closing_on.map(|day| day.to_string()).as_deref(),
            Some("2020-01-02")
        );
        let row = &reading.statement.rows[0];
        assert_eq!(
            (
                row.counterparty.as_str(),
                row.remittance.as_str(),
                row.reference.as_deref()
            ),
            ("Ann", "Rent", Some("B7"))
        );
    }

    #[test]
    fn pages_become_one_statement_when_their_balances_meet() {
        let page = |from: &str, to: &str, open: &str, close: &str| {
            format!(":20:1\n:25:1\n:{open}:C200101EUR{from}\n:61:200101C1,NTRF\n:{close}:C200101EUR{to}\n-\n")
        };
        let joined = feed(&(page("0,", "1,", "60F", "62M") + &page("1,", "2,", "60M", "62F")));
        assert_eq!(
            (
                joined.statements.len(),
                joined.statements[0].rows_read,
                &joined.statements[0].proof
            ),
            (1, 2, &Proof::Proved)
        );
        let apart = feed(&(page("0,", "1,", "60F", "62M") + &page("3,", "4,", "60M", "62F")));
        assert_eq!(apart.statements.len(), 2);
        assert!(
            crate::banks::proof::join_by_account(apart.statements)[0]
                .proof
                .is_failed()
        );
    }

    #[test]
    fn a_currency_no_longer_used_refuses_its_statement_only() {
        let feed = feed(
            ":20:1\n:25:7\n:60F:C131016DEM1,\n:62F:C131016DEM1,\n-\n:20:2\n:60F:C131016EUR1,\n:62F:C131016EUR1,\n-",
        );
        assert_eq!(
            (
                feed.statements.len(),
                feed.refused[0].line,
                feed.refused[0].bank_account.as_str()
            ),
            (1, 1, "7")
        );
        assert_eq!(
            feed.refused[0].refusal,
            StatementRefusal::UnknownCurrency { code: "DEM".into() }
        );
    }

    #[test]
    fn broken_balances_are_told() {
        let reading = &feed(":20:1\n:60F:X131016EUR1,\n:61:131016C1,NTRF\n:62F:C131016USD1,\n").statements[0];
        assert_eq!(
            (
                reading.statement.opening,
                reading.statement.closing,
                reading.remarks.len()
            ),
            (None, None, 2)
        );
        assert_eq!(
            (reading.remarks[0].line, reading.remarks[0].field.as_str()),
            (2, ":60F:")
        );
    }

    #[test]
    fn a_report_without_balances_takes_the_currency_of_its_floor_limit() {
        let reading =
            &feed(":20:1\n:25:1\n:34F:CHFD0,\n:61:200101C1,NTRF\n:61:200101EC1,NTRF\n:90D:0CHF0,\n-").statements[0];
        assert_eq!(
            (reading.statement.currency.code(), reading.rows_read, reading.pending),
            ("CHF", 1, 1)
        );
    }
}
