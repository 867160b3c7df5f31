//! CSV, as banks, shops and spreadsheets write it.
//!
//! Nothing is known beforehand: encoding, delimiter, headings, the order of dates and the mark of decimals are told
//! from the whole file, or stated in [`CsvOptions`](super::CsvOptions). What reads both ways is an error that names the
//! option, never a guess. Rows of several accounts or currencies become a statement each.

mod amounts;
mod chain;
mod columns;
mod dates;
mod headings;
mod reader;
mod table;

use std::collections::HashMap;

use domain::{
    Currency,
    statement::{BankTransaction, Statement},
};

use self::{
    chain::{Chain, Link, chain},
    reader::Reader,
    table::table,
};
use super::{FILE_ROWS_MAX, Options, StatementError};
use crate::banks::{
    Feed,
    proof::Proof,
    reading::{Findings, StatementReading},
};

/// Reads the rows of a CSV file.
pub(super) fn read(text: &str, options: &Options) -> Result<Feed, StatementError> {
    let table = table(text, options)?;
    if table.records.len() > FILE_ROWS_MAX {
        return Err(StatementError::TooManyRows);
    }
    let reader = Reader::of(&table, options)?;
    let mut drafts: Vec<Draft> = Vec::new();
    let mut places = HashMap::<(String, Currency), usize>::new();
    for record in &table.records {
        let (bank_account, currency) = (
            reader.bank_account(record),
            reader.currency(record).unwrap_or(reader.default_currency),
        );
        let place = *places
            .entry((bank_account, currency))
            .or_insert_with_key(|(bank_account, currency)| {
                let found = Findings {
                    line: record.line,
                    ..Findings::default()
                };
                drafts.push(Draft {
                    bank_account: bank_account.clone(),
                    currency: *currency,
                    rows: Vec::new(),
                    links: Vec::new(),
                    found,
                });
                drafts.len() - 1
            });
        reader.take(record, &mut drafts[place]);
    }
    let statements = drafts
        .into_iter()
        .filter(|draft| !draft.is_bare())
        .map(|draft| draft.finish(reader.has_balances()));
    Ok(Feed {
        statements: statements.collect(),
        refused: Vec::new(),
    })
}

/// A statement while its file is being read.
struct Draft {
    bank_account: String,
    currency: Currency,
    rows: Vec<BankTransaction>,
    links: Vec<Link>,
    found: Findings,
}

impl Draft {
    /// Neither a row nor the trace of one?
    fn is_bare(&self) -> bool {
        self.rows.is_empty() && self.found.broken.is_empty() && self.found.pending == 0
    }

    fn finish(self, has_balances: bool) -> StatementReading {
        let Chain {
            opening,
            closing,
            closing_on,
            gap,
            ..
        } = if has_balances {
            chain(&self.links)
        } else {
            Chain::default()
        };
        let closing_on = closing.and(closing_on);
        let statement = Statement {
            bank_account: self.bank_account,
            currency: self.currency,
            opening,
            closing,
            closing_on,
            rows: self.rows,
        };
        let mut reading = StatementReading::of(statement, self.found);
        if let Some(gap) = gap {
            reading.proof = Proof::failed_at(&reading.statement, gap);
        }
        reading
    }
}

#[cfg(test)]
mod tests;
