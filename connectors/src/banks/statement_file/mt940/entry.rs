//! `:61:`, a row: value date, entry date, mark, amount, type and references on one line, the bank's words on the next.

use chrono::{Datelike, NaiveDate};
use domain::{Currency, statement::BankTransaction};

use super::{
    super::{
        decimal,
        text::{self, quote},
    },
    details::Details,
    fields::Field,
};
use crate::banks::reading::BrokenRow;

/// A row as text, with the details of its `:86:`.
#[derive(Debug, Default)]
pub(super) struct RawEntry {
    line: usize,
    text: String,
    supplementary: String,
    /// From the `:86:` that follows.
    pub(super) details: Details,
}

/// The parts of a row's first line.
#[derive(Debug, PartialEq, Eq)]
struct Parts<'a> {
    /// `YYMMDD`.
    value_on: &'a str,
    /// `MMDD`; empty when it is left out.
    entered_on: &'a str,
    /// `C`, `D`, `RC` or `RD`; `EC` or `ED` when only expected.
    mark: &'a str,
    amount: &'a str,
    /// The bank's reference, after `//`.
    reference: &'a str,
}

impl RawEntry {
    /// Takes a `:61:`.
    pub(super) fn of(field: &Field<'_>) -> Self {
        let mut lines = field.lines.iter().copied();
        let mut text = lines.next().unwrap_or_default().to_owned();
        // An amount that fell onto the next line belongs to the first one.
        if parts(&text).is_none_or(|parts| parts.amount.is_empty()) {
            text.push_str(lines.next().unwrap_or_default().trim());
        }
        Self {
            line: field.line,
            text,
            supplementary: lines.collect::<Vec<_>>().join(" "),
            details: Details::default(),
        }
    }

    /// Announced for later, as an MT942 may?
    pub(super) fn is_expected(&self) -> bool {
        parts(&self.text).is_some_and(|parts| parts.mark.starts_with('E'))
    }

    /// The row, or what is wrong with it.
    pub(super) fn row(self, currency: Currency) -> Result<BankTransaction, BrokenRow> {
        let broken = |problem: String, amount| BrokenRow {
            line: self.line,
            field: ":61:".into(),
            problem,
            amount,
        };
        let Some(parts) = parts(&self.text) else {
            return Err(broken(format!("'{}' is not a row", quote(&self.text)), None));
        };
        let unsigned = decimal::amount(parts.amount, currency).map_err(|problem| broken(problem, None))?;
        // `RC` takes back what came in, `RD` gives back what went out.
        let amount = if matches!(parts.mark, "D" | "RC") {
            unsigned.negated()
        } else {
            unsigned
        };
        let Some(value_on) = value_date(parts.value_on) else {
            return Err(broken(
                format!("'{}' is not a date", quote(parts.value_on)),
                Some(amount),
            ));
        };
        let Some(booked_on) = entered_on(parts.entered_on, value_on) else {
            return Err(broken(
                format!("'{}' is not a date", quote(parts.entered_on)),
                Some(amount),
            ));
        };
        let reference = text::clean_some(parts.reference, text::REFERENCE_CHARS_MAX);
        let Details {
            counterparty,
            remittance,
        } = self.details;
        let has_details = !counterparty.is_empty() || !remittance.is_empty();
        let remittance = if has_details {
            remittance
        } else {
            text::clean(&self.supplementary, text::REMITTANCE_CHARS_MAX)
        };
        Ok(BankTransaction {
            booked_on,
            value_on: Some(value_on),
            amount,
            reference,
            counterparty,
            remittance,
            category: None,
        })
    }
}

/// `YYMMDD`, of the years 1980 to 2079.
pub(super) fn short_date(digits: &str) -> Option<NaiveDate> {
    if digits.len() != 6 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let year: i32 = digits[..2].parse().ok()?;
    let year = if year < 80 { 2000 + year } else { 1900 + year };
    decimal::date(year, digits[2..4].parse().ok()?, digits[4..].parse().ok()?)
}

/// As [`short_date`]. Where interest is counted in months of thirty days, value dates of 30 February exist: that
/// month's last day.
fn value_date(digits: &str) -> Option<NaiveDate> {
    let first = || short_date(&format!("{}01", digits.get(..4)?));
    let is_february_end = matches!(digits.get(2..), Some("0229" | "0230"));
    short_date(digits).or_else(|| {
        if is_february_end {
            first()?.checked_add_months(chrono::Months::new(1))?.pred_opt()
        } else {
            None
        }
    })
}

/// `MMDD` in the year that brings it nearest to the value date; the value date itself when it is left out.
fn entered_on(digits: &str, value_on: NaiveDate) -> Option<NaiveDate> {
    if digits.is_empty() {
        return Some(value_on);
    }
    let (month, day) = (digits.get(..2)?.parse().ok()?, digits.get(2..)?.parse().ok()?);
    let years = value_on.year() - 1..=value_on.year() + 1;
    let dates = years.filter_map(|year| decimal::date(year, month, day));
    dates.min_by_key(|date| (*date - value_on).num_days().abs())
}

/// Takes a row's first line apart. The entry date may be missing or blank, a funds code may follow the mark.
fn parts(line: &str) -> Option<Parts<'_>> {
    let (value_on, rest) = line.trim_start().split_at_checked(6)?;
    let is_dated = rest.bytes().take(4).filter(u8::is_ascii_digit).count() == 4;
    let (entered_on, rest) = rest.split_at(if is_dated { 4 } else { 0 });
    let rest = rest.trim_start();
    let marks = ["RC", "RD", "EC", "ED", "C", "D"];
    let mark = marks.into_iter().find(|mark| rest.starts_with(mark))?;
    let rest = &rest[mark.len()..];
    let rest = rest
        .strip_prefix(|c: char| c.is_ascii_alphabetic())
        .unwrap_or(rest)
        .trim_start();
    let end = rest
        .find(|c: char| !(c.is_ascii_digit() || c == ',' || c == '.'))
        .unwrap_or(rest.len());
    let (amount, rest) = rest.split_at(end);
    let reference = rest.split_once("//").map_or("", |(_, reference)| reference);
    Some(Parts {
        value_on,
        entered_on,
        mark,
        amount,
        reference,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(line: &str) -> String {
        let (first, second) = line.split_once('\n').unwrap_or((line, ""));
        let entry = RawEntry::of(&Field {
            tag: "61",
            line: 3,
            lines: vec![first, second],
        });
        match entry.row("EUR".parse().expect("known")) {
            Ok(row) => {
                format!(
                    "{} {} {} {}",
                    row.booked_on,
                    row.amount.amount(),
                    row.reference.unwrap_or_default(),
                    row.remittance
                )
            }
            Err(broken) => format!("{} {}: {}", broken.line, broken.field, broken.problem),
        }
    }

    #[test]
    fn rows_of_every_habit_are_read() {
        assert_eq!(told("131017D6800,NCHK16703074"), "2013-10-17 -6800.00  ");
        assert_eq!(
            told("0709040904CR915311,55NTRFTF 4 MSGID//R72\nfrom Ann"),
            "2007-09-04 915311.55 R72 from Ann"
        );
        assert_eq!(told("0709040904RCR204,88NRTINONREF"), "2007-09-04 -204.88  ");
        assert_eq!(told("070904RD,5NRTI"), "2007-09-04 0.50  ");
        assert_eq!(
            told("240312    DD212,39NMSCNONREF//\n/ABC/"),
            "2024-03-12 -212.39  /ABC/"
        );
        assert_eq!(told("1811261126CR\n30,00N062NONREF"), "2018-11-26 30.00  ");
    }

    #[test]
    fn the_thirtieth_of_february_is_the_last() {
        assert_eq!(told("1602300301DR6,00N024NONREF"), "2016-03-01 -6.00  ");
        assert_eq!(told("230230D6,N024NONREF"), "2023-02-28 -6.00  ");
        assert_eq!(told("230231D6,N024NONREF"), "3 :61:: '230231' is not a date");
    }

    #[test]
    fn the_entry_date_takes_the_year_nearest_to_the_value_date() {
        assert_eq!(told("2401021229C1,N"), "2023-12-29 1.00  ");
        assert_eq!(told("2312310102C1,N"), "2024-01-02 1.00  ");
    }

    #[test]
    fn a_broken_row_is_named() {
        assert_eq!(told("139917D1,NTRF"), "3 :61:: '139917' is not a date");
        assert_eq!(told("1310179917D1,NTRF"), "3 :61:: '9917' is not a date");
        assert_eq!(
            told("131017D1,001NTRF"),
            "3 :61:: EUR has 2 decimal places; '1.001' has more"
        );
        assert_eq!(told("131017D1,2,3NTRF"), "3 :61:: '1,2,3' is not an amount");
        assert_eq!(told("131017X1,NTRF"), "3 :61:: '131017X1,NTRF' is not a row");
        assert_eq!(told(""), "3 :61:: '' is not a row");
    }
}
