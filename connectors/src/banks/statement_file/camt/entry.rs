//! `Ntry`, one booked or announced entry, with the payments it stands for.

use std::collections::HashSet;

use chrono::NaiveDate;
use domain::{Currency, Money, statement::BankTransaction};

use super::{
    super::{
        decimal::{amount, iso_date},
        text::{self, quote},
    },
    xml::Element,
};
use crate::banks::reading::BrokenRow;

/// One `Ntry`, as text.
pub(super) struct Entry {
    amount: Place,
    /// The currency of its amount; empty when it is not said.
    pub(super) currency: String,
    direction: Place,
    status: String,
    booked: Place,
    value_on: Option<NaiveDate>,
    reference: Option<String>,
    counterparty: String,
    remittance: String,
}

/// A text and where it stands.
struct Place {
    line: usize,
    text: String,
}

impl Entry {
    /// Takes what a row needs out of an entry.
    pub(super) fn of(tree: &Element) -> Self {
        let place = |name: &str| {
            let element = tree.child(name);
            Place {
                line: element.map_or(tree.line, |element| element.line),
                text: element.map_or_else(String::new, |element| element.text.clone()),
            }
        };
        // `<Sts>BOOK</Sts>` up to version 7, `<Sts><Cd>BOOK</Cd></Sts>` from then on.
        let status = tree.text_at(&["Sts"]);
        let status = if status.is_empty() {
            tree.text_at(&["Sts", "Cd"])
        } else {
            status
        };
        let date = tree
            .child("BookgDt")
            .filter(|date| !date.children.is_empty())
            .or_else(|| tree.child("ValDt"));
        let direction = place("CdtDbtInd");
        let payments: Vec<&Element> = tree
            .children_of("NtryDtls")
            .flat_map(|details| details.children_of("TxDtls"))
            .collect();
        let is_reversal = matches!(tree.text_at(&["RvslInd"]), "true" | "1");
        Self {
            amount: place("Amt"),
            currency: tree
                .child("Amt")
                .map_or_else(String::new, |amount| amount.currency.clone()),
            status: status.to_owned(),
            booked: Place {
                line: date.map_or(tree.line, |date| date.line),
                text: date.map_or_else(String::new, |date| date_text(date).to_owned()),
            },
            value_on: date_of(tree.child("ValDt")),
            reference: reference(tree, &payments),
            // Who is on the other side of a reversal is who was on the other side of what it undoes.
            counterparty: counterparty(&payments, (direction.text == "CRDT") != is_reversal),
            remittance: remittance(tree, &payments),
            direction,
        }
    }

    /// Final with the bank? An entry that does not say so stands in a list of booked ones.
    pub(super) fn is_booked(&self) -> bool {
        matches!(self.status.as_str(), "" | "BOOK")
    }

    /// The row, or what is wrong with it.
    pub(super) fn row(self, currency: Currency) -> Result<BankTransaction, BrokenRow> {
        let broken = |line, field: &str, problem, amount| BrokenRow {
            line,
            field: field.to_owned(),
            problem,
            amount,
        };
        if !self.currency.is_empty() && self.currency != currency.code() {
            let problem = format!("the entry is in {}, the account in {currency}", quote(&self.currency));
            return Err(broken(self.amount.line, "Amt/Ccy", problem, None));
        }
        let unsigned = amount(&self.amount.text, currency);
        let unsigned = unsigned.map_err(|problem| broken(self.amount.line, "Amt", problem, None))?;
        let amount = signed(unsigned, &self.direction.text);
        let amount = amount.map_err(|problem| broken(self.direction.line, "CdtDbtInd", problem, None))?;
        let Some(booked_on) = iso_date(&self.booked.text) else {
            let problem = match self.booked.text.as_str() {
                "" => "there is no date".to_owned(),
                text => format!("'{}' is not a date", quote(text)),
            };
            return Err(broken(self.booked.line, "BookgDt", problem, Some(amount)));
        };
        let Self {
            value_on,
            reference,
            counterparty,
            remittance,
            ..
        } = self;
        Ok(BankTransaction {
            booked_on,
            value_on,
            amount,
            reference,
            counterparty,
            remittance,
            category: None,
        })
    }
}

/// The amount with the sign of its direction.
pub(super) fn signed(unsigned: Money, direction: &str) -> Result<Money, String> {
    match direction {
        "CRDT" => Ok(unsigned),
        "DBIT" => Ok(unsigned.negated()),
        other => Err(format!("'{}' is neither CRDT nor DBIT", quote(other))),
    }
}

/// The date that an element holds.
pub(super) fn date_of(element: Option<&Element>) -> Option<NaiveDate> {
    iso_date(date_text(element?))
}

/// `Dt` or `DtTm`, or the element's own text in home-made files.
fn date_text(element: &Element) -> &str {
    let children = ["Dt", "DtTm"].into_iter().map(|name| element.text_at(&[name]));
    children
        .chain([element.text.as_str()])
        .find(|text| !text.is_empty())
        .unwrap_or("")
}

/// The account servicer's reference of the entry, else the entry's own, else that of its only payment.
fn reference(entry: &Element, payments: &[&Element]) -> Option<String> {
    let of_payment = match payments {
        [payment] => payment.text_at(&["Refs", "AcctSvcrRef"]),
        _ => "",
    };
    let candidates = [entry.text_at(&["AcctSvcrRef"]), entry.text_at(&["NtryRef"]), of_payment];
    candidates
        .into_iter()
        .find_map(|candidate| text::clean_some(candidate, text::REFERENCE_CHARS_MAX))
}

/// The other side's names, each once: the debtors of money that came in, the creditors of money that went out.
fn counterparty(payments: &[&Element], is_from_debtor: bool) -> String {
    let sides: &[&str] = if is_from_debtor {
        &["Dbtr", "UltmtDbtr"]
    } else {
        &["Cdtr", "UltmtCdtr"]
    };
    let name = |payment: &Element| -> Option<String> {
        let parties = payment.child("RltdPties")?;
        // `Dbtr/Nm` up to version 7, `Dbtr/Pty/Nm` from then on.
        let names = sides
            .iter()
            .flat_map(|side| [parties.text_at(&[side, "Nm"]), parties.text_at(&[side, "Pty", "Nm"])]);
        names.into_iter().find(|name| !name.is_empty()).map(str::to_owned)
    };
    joined(
        payments.iter().filter_map(|payment| name(payment)),
        ", ",
        text::COUNTERPARTY_CHARS_MAX,
    )
}

/// What the payer wrote; else the structured references; else the bank's own words.
fn remittance(entry: &Element, payments: &[&Element]) -> String {
    let info = || payments.iter().flat_map(|payment| payment.children_of("RmtInf"));
    let unstructured = info()
        .flat_map(|info| info.children_of("Ustrd"))
        .map(|text| text.text.clone());
    let structured = info().flat_map(|info| info.children_of("Strd"));
    let references = structured.map(|structured| structured.text_at(&["CdtrRefInf", "Ref"]).to_owned());
    let words = payments
        .iter()
        .map(|payment| payment.text_at(&["AddtlTxInf"]).to_owned());
    let own = std::iter::once(entry.text_at(&["AddtlNtryInf"]).to_owned());
    let max = text::REMITTANCE_CHARS_MAX;
    let texts = [
        joined(unstructured, " ", max),
        joined(references, " ", max),
        joined(words, " ", max),
        joined(own, " ", max),
    ];
    texts.into_iter().find(|text| !text.is_empty()).unwrap_or_default()
}

/// Texts joined, each once, up to a number of characters.
fn joined(texts: impl Iterator<Item = String>, separator: &str, chars_max: usize) -> String {
    let mut seen = HashSet::new();
    let mut joined = String::new();
    for text in texts {
        if joined.len() > chars_max * 4 {
            break;
        }
        if !text.is_empty() && seen.insert(text.clone()) {
            joined.push_str(if joined.is_empty() { "" } else { separator });
            joined.push_str(&text);
        }
    }
    text::clean(&joined, chars_max)
}
