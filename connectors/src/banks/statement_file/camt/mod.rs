//! CAMT.052 reports, CAMT.053 statements and CAMT.054 notifications, any version.
//!
//! One row per `Ntry`, as the account is booked, however many payments a batch holds. Only booked entries are rows;
//! pending and informational ones are counted. `CdtDbtInd` is the direction of the entry as it stands: `RvslInd` says
//! that the entry undoes another, and does not turn the sign. Opening is `OPBD`, else `PRCD`; closing is `CLBD`; the
//! interim `ITBD` stands in for whichever of the two is missing, as on the pages of a long statement.
//! Source: ISO 20022 message definition report, Bank-to-Customer Cash Management.

mod entry;
mod xml;

use chrono::NaiveDate;
use domain::{Currency, Money, statement::Statement};

use self::{
    entry::{Entry, date_of, signed},
    xml::{Element, Piece, Stream},
};
use super::{
    FILE_ROWS_MAX, Options, StatementError,
    decimal::amount,
    text::{self, quote},
};
use crate::banks::{
    Feed,
    reading::{Findings, RefusedStatement, StatementReading, StatementRefusal},
};

/// Is this XML a message of the bank to its customer?
pub(super) fn is_camt(text: &str) -> bool {
    ["BkToCstmrStmt", "BkToCstmrAcctRpt", "BkToCstmrDbtCdtNtfctn"]
        .iter()
        .any(|message| text.contains(message))
}

/// Most balances kept of one statement; the rest is passed over. Source: ours; the standard knows ten kinds.
const BALANCES_MAX: usize = 64;

/// Reads the statements, reports or notifications of a CAMT file.
pub(super) fn read(text: &str, options: &Options) -> Result<Feed, StatementError> {
    let mut stream = Stream::new(text);
    let mut feed = Feed::default();
    let mut draft: Option<Draft> = None;
    let mut rows = 0;
    loop {
        match (stream.next()?, &mut draft) {
            (Piece::Open { name, line }, None) if is_statement(&name) => {
                rows += 1;
                draft = Some(Draft {
                    line,
                    ..Draft::default()
                });
            }
            // Whatever stands directly in a statement is taken as a tree, so that nothing deeper is mistaken for it.
            (Piece::Open { name, .. }, Some(draft)) => {
                rows += usize::from(name == "Ntry");
                draft.take_in(stream.tree()?);
            }
            (Piece::Close { name }, _) if is_statement(&name) => {
                if let Some(draft) = draft.take() {
                    draft.finish(options, &mut feed);
                }
            }
            (Piece::End, _) => return Ok(feed),
            _ => {}
        }
        if rows > FILE_ROWS_MAX {
            return Err(StatementError::TooManyRows);
        }
    }
}

fn is_statement(name: &str) -> bool {
    matches!(name, "Stmt" | "Rpt" | "Ntfctn")
}

/// A statement while its file is being read.
#[derive(Default)]
struct Draft {
    line: usize,
    account: Element,
    balances: Vec<Balance>,
    entries: Vec<Entry>,
}

/// One `Bal`, as text.
struct Balance {
    line: usize,
    code: String,
    amount: String,
    currency: String,
    direction: String,
    date: Option<NaiveDate>,
}

impl Balance {
    fn of(tree: &Element) -> Self {
        let code = tree.text_at(&["Tp", "CdOrPrtry", "Cd"]);
        let code = if code.is_empty() {
            tree.text_at(&["Tp", "CdOrPrtry", "Prtry"])
        } else {
            code
        };
        Self {
            line: tree.line,
            code: code.to_owned(),
            amount: tree.text_at(&["Amt"]).to_owned(),
            currency: tree
                .child("Amt")
                .map_or_else(String::new, |amount| amount.currency.clone()),
            direction: tree.text_at(&["CdtDbtInd"]).to_owned(),
            date: date_of(tree.child("Dt")),
        }
    }

    /// The signed balance.
    fn money(&self, currency: Currency) -> Result<Money, String> {
        if !self.currency.is_empty() && self.currency != currency.code() {
            return Err(format!(
                "the balance is in {}, the account in {currency}; it is left out",
                quote(&self.currency)
            ));
        }
        signed(amount(&self.amount, currency)?, &self.direction)
    }
}

impl Draft {
    fn take_in(&mut self, tree: Element) {
        match tree.name.as_str() {
            "Acct" => self.account = tree,
            "Bal" if self.balances.len() < BALANCES_MAX => self.balances.push(Balance::of(&tree)),
            "Ntry" => self.entries.push(Entry::of(&tree)),
            _ => {}
        }
    }

    fn finish(self, options: &Options, feed: &mut Feed) {
        // Version 1 has `BBAN` and `PrtryAcct` for what is `Othr` since.
        let ids: [&[&str]; 4] = [&["IBAN"], &["Othr", "Id"], &["BBAN"], &["PrtryAcct", "Id"]];
        let texts = ids
            .into_iter()
            .filter_map(|path| self.account.child("Id").map(|id| id.text_at(path)));
        let bank_account = texts
            .into_iter()
            .find_map(|text| text::clean_some(text, text::BANK_ACCOUNT_CHARS_MAX))
            .unwrap_or_default();
        match self.currency(options) {
            Ok(currency) => feed.statements.push(self.finish_in(currency, bank_account)),
            Err(refusal) => feed.refused.push(RefusedStatement {
                line: self.line,
                bank_account,
                refusal,
            }),
        }
    }

    /// The account's currency; when it is not stated, that of the booked balances, then of the entries.
    fn currency(&self, options: &Options) -> Result<Currency, StatementRefusal> {
        let stated = self.account.text_at(&["Ccy"]);
        let of_balance = |code: &str| self.balance(code).map(|balance| balance.currency.as_str());
        let balances = ["OPBD", "PRCD", "CLBD", "ITBD"].into_iter().filter_map(of_balance);
        let booked = self
            .entries
            .iter()
            .filter(|entry| entry.is_booked())
            .map(|entry| entry.currency.as_str());
        let pending = self.entries.iter().map(|entry| entry.currency.as_str());
        let mut codes = std::iter::once(stated).chain(balances).chain(booked);
        let code = codes.find(|code| !code.is_empty());
        let code = code.or_else(|| {
            pending
                .into_iter()
                .find(|code| options.currency.is_none() && !code.is_empty())
        });
        match code {
            Some(code) => code
                .parse()
                .map_err(|_| StatementRefusal::UnknownCurrency { code: quote(code) }),
            None => options.currency.ok_or(StatementRefusal::NoCurrency),
        }
    }

    fn balance(&self, code: &str) -> Option<&Balance> {
        self.balances.iter().find(|balance| balance.code == code)
    }

    fn finish_in(self, currency: Currency, bank_account: String) -> StatementReading {
        let mut found = Findings {
            line: self.line,
            ..Findings::default()
        };
        let interim: Vec<&Balance> = self.balances.iter().filter(|balance| balance.code == "ITBD").collect();
        let stated_opening = self.balance("OPBD").or_else(|| self.balance("PRCD"));
        let stated_closing = self.balance("CLBD");
        let opening = stated_opening.or_else(|| {
            interim
                .first()
                .copied()
                .filter(|_| stated_closing.is_some() || interim.len() > 1)
        });
        let closing = stated_closing.or_else(|| interim.last().copied());
        let closing_on = closing.and_then(|balance| balance.date);
        let mut money = |balance: Option<&Balance>| {
            let balance = balance?;
            let field = format!("Bal/{}", balance.code);
            balance
                .money(currency)
                .map_err(|problem| found.remark(balance.line, field, problem))
                .ok()
        };
        let (opening, closing) = (money(opening), money(closing));
        let closing_on = closing.and(closing_on);
        let mut rows = Vec::with_capacity(self.entries.len());
        for entry in self.entries {
            if !entry.is_booked() {
                found.pending += 1;
                continue;
            }
            match entry.row(currency) {
                Ok(row) => rows.push(row),
                Err(broken) => found.broken.push(broken),
            }
        }
        StatementReading::of(
            Statement {
                bank_account,
                currency,
                opening,
                closing,
                closing_on,
                rows,
            },
            found,
        )
    }
}

#[cfg(test)]
mod tests;
