//! OFX 1.x (SGML) and 2.x (XML), read by one tolerant tokenizer.
//!
//! Banks mix the two: unclosed tags under an XML header, closed ones under an SGML header, empty values, missing
//! headers, stray ampersands. So nothing is parsed into a tree. An element's value is the text up to the next tag; of
//! the aggregates only those in [`AGGREGATES`] count, and an element belongs to the innermost of them that is open. OFX
//! states the closing balance at most (`LEDGERBAL`), never the opening one, so an OFX file alone proves nothing.
//! Source: OFX 2.3, sections 11.2 to 11.4 and 13.9.

mod tokens;

use std::collections::HashMap;

use domain::{
    Currency, Money,
    statement::{BankTransaction, Statement},
};

use self::tokens::{Token, Tokens};
use super::{
    FILE_ROWS_MAX, Options, StatementError,
    decimal::{amount, compact_date, iso_date},
    text,
};
use crate::banks::{
    Feed,
    reading::{BrokenRow, Findings, RefusedStatement, StatementReading, StatementRefusal},
};

/// The aggregates that give an element its meaning, sorted. None of them nests in itself.
const AGGREGATES: &[&str] = &[
    "AVAILBAL",
    "BAL",
    "BANKACCTFROM",
    "BANKACCTTO",
    "BANKTRANLIST",
    "BANKTRANLISTP",
    "CCACCTFROM",
    "CCACCTTO",
    "CCSTMTRS",
    "CCSTMTTRNRS",
    "CURRENCY",
    "INVACCTFROM",
    "INVBAL",
    "INVPOSLIST",
    "INVSTMTRS",
    "INVSTMTTRNRS",
    "INVTRAN",
    "LEDGERBAL",
    "ORIGCURRENCY",
    "PAYEE",
    "SECINFO",
    "SONRS",
    "STATUS",
    "STMTRS",
    "STMTTRN",
    "STMTTRNP",
    "STMTTRNRS",
];

/// Reads the statements of an OFX file.
pub(super) fn read(text: &str, options: &Options) -> Result<Feed, StatementError> {
    let mut reader = Reader::new(options);
    for token in Tokens::new(text) {
        match token {
            Token::Open { name, value, line } => reader.open(&name, value, line)?,
            Token::Close { name } => reader.close(&name)?,
        }
    }
    while let Some(innermost) = reader.stack.pop() {
        reader.finish(innermost)?;
    }
    Ok(reader.feed)
}

struct Reader<'a> {
    options: &'a Options,
    feed: Feed,
    rows: usize,
    stack: Vec<&'static str>,
    statement: Option<Draft>,
    row: Fields,
    status: Fields,
}

/// The elements of one aggregate, by name, each with its line. The first of a name counts.
type Fields = HashMap<String, Field>;

struct Field {
    value: String,
    line: usize,
}

/// A statement while its file is being read.
#[derive(Default)]
struct Draft {
    bank_account: String,
    currency: String,
    closing: Fields,
    rows: Vec<Fields>,
    /// The line of each row.
    row_lines: Vec<usize>,
    /// Trades of an investment account: their number and first line.
    trades: (usize, usize),
    found: Findings,
}

impl<'a> Reader<'a> {
    fn new(options: &'a Options) -> Self {
        let (feed, stack) = (Feed::default(), Vec::new());
        Self {
            options,
            feed,
            rows: 0,
            stack,
            statement: None,
            row: Fields::new(),
            status: Fields::new(),
        }
    }

    fn open(&mut self, name: &str, value: String, line: usize) -> Result<(), StatementError> {
        let Ok(place) = AGGREGATES.binary_search(&name) else {
            self.element(name, value, line);
            return Ok(());
        };
        // An aggregate never holds itself: the one before was left unclosed.
        self.close(name)?;
        self.stack.push(AGGREGATES[place]);
        match AGGREGATES[place] {
            "STMTRS" | "CCSTMTRS" | "INVSTMTRS" => {
                self.count_row()?;
                let found = Findings {
                    line,
                    ..Findings::default()
                };
                self.statement = Some(Draft {
                    found,
                    ..Draft::default()
                });
            }
            "STMTTRN" => self.begin_row(line)?,
            "STMTTRNP" => self.count_pending()?,
            "STATUS" => {
                self.status = Fields::from([(
                    String::new(),
                    Field {
                        value: String::new(),
                        line,
                    },
                )])
            }
            "INVTRAN" => {
                if let Some(statement) = &mut self.statement {
                    let (count, first) = statement.trades;
                    statement.trades = (count + 1, if count == 0 { line } else { first });
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn begin_row(&mut self, line: usize) -> Result<(), StatementError> {
        self.row = Fields::new();
        self.count_row()?;
        if let Some(statement) = &mut self.statement {
            statement.row_lines.push(line);
        }
        Ok(())
    }

    fn count_pending(&mut self) -> Result<(), StatementError> {
        if let Some(statement) = &mut self.statement {
            statement.found.pending += 1;
        }
        self.count_row()
    }

    fn count_row(&mut self) -> Result<(), StatementError> {
        self.rows += 1;
        if self.rows > FILE_ROWS_MAX {
            Err(StatementError::TooManyRows)
        } else {
            Ok(())
        }
    }

    fn element(&mut self, name: &str, value: String, line: usize) {
        let Some(innermost) = self.stack.last() else { return };
        let field = Field { value, line };
        match (*innermost, name, &mut self.statement) {
            ("STATUS", ..) => keep(&mut self.status, name, field),
            ("STMTTRN", ..) => keep(&mut self.row, name, field),
            ("PAYEE", "NAME", _) if self.stack.contains(&"STMTTRN") => keep(&mut self.row, "PAYEE/NAME", field),
            ("CURRENCY", "CURSYM", _) if self.stack.contains(&"STMTTRN") => keep(&mut self.row, "CURSYM", field),
            ("LEDGERBAL", _, Some(statement)) => keep(&mut statement.closing, name, field),
            ("STMTRS" | "CCSTMTRS" | "INVSTMTRS", "CURDEF", Some(statement)) => statement.currency = field.value,
            ("BANKACCTFROM" | "CCACCTFROM" | "INVACCTFROM", "ACCTID", Some(statement))
                if statement.bank_account.is_empty() =>
            {
                statement.bank_account = text::clean(&field.value, text::BANK_ACCOUNT_CHARS_MAX);
            }
            _ => {}
        }
    }

    /// Closes an aggregate and what was left open within it. A close of what is not open is ignored.
    fn close(&mut self, name: &str) -> Result<(), StatementError> {
        let Some(place) = self.stack.iter().rposition(|open| *open == name) else {
            return Ok(());
        };
        for innermost in self.stack.split_off(place).into_iter().rev() {
            self.finish(innermost)?;
        }
        Ok(())
    }

    fn finish(&mut self, aggregate: &'static str) -> Result<(), StatementError> {
        match aggregate {
            "STATUS" => return self.finish_status(),
            "STMTTRN" => {
                if let Some(statement) = &mut self.statement {
                    statement.rows.push(std::mem::take(&mut self.row));
                }
            }
            "STMTRS" | "CCSTMTRS" | "INVSTMTRS" => {
                if let Some(draft) = self.statement.take() {
                    self.finish_statement(draft);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The bank's own error: of the whole file when it concerns the sign-on, else of one statement.
    fn finish_status(&mut self) -> Result<(), StatementError> {
        let status = std::mem::take(&mut self.status);
        let value = |name: &str| status.get(name).map_or("", |field| field.value.as_str());
        if !value("SEVERITY").eq_ignore_ascii_case("ERROR") {
            return Ok(());
        }
        let refusal = StatementRefusal::BankError {
            code: text::quote(value("CODE")),
            message: text::clean(value("MESSAGE"), 200),
        };
        if self.stack.contains(&"SONRS") {
            return Err(refusal.into());
        }
        self.count_row()?;
        let line = status.get("").map_or(1, |field| field.line);
        self.feed.refused.push(RefusedStatement {
            line,
            bank_account: String::new(),
            refusal,
        });
        Ok(())
    }

    fn finish_statement(&mut self, draft: Draft) {
        let (line, bank_account) = (draft.found.line, draft.bank_account.clone());
        match self.currency_of(&draft) {
            Ok(currency) => self.feed.statements.push(draft.finish(currency)),
            Err(refusal) => self.feed.refused.push(RefusedStatement {
                line,
                bank_account,
                refusal,
            }),
        }
    }

    /// The account's currency; when the bank leaves it empty, that of the rows.
    fn currency_of(&self, draft: &Draft) -> Result<Currency, StatementRefusal> {
        let of_rows = || {
            draft
                .rows
                .iter()
                .find_map(|row| row.get("CURSYM"))
                .map_or("", |field| field.value.as_str())
        };
        let code = if draft.currency.is_empty() {
            of_rows()
        } else {
            draft.currency.as_str()
        };
        if code.is_empty() {
            return self.options.currency.ok_or(StatementRefusal::NoCurrency);
        }
        let code = code.to_uppercase();
        code.parse().map_err(|_| StatementRefusal::UnknownCurrency {
            code: text::quote(&code),
        })
    }
}

fn keep(fields: &mut Fields, name: &str, field: Field) {
    fields.entry(name.to_owned()).or_insert(field);
}

impl Draft {
    fn finish(mut self, currency: Currency) -> StatementReading {
        let mut rows = Vec::with_capacity(self.rows.len());
        for (fields, line) in self.rows.iter().zip(&self.row_lines) {
            match row(fields, *line, currency) {
                Ok(row) => rows.push(row),
                Err(broken) => self.found.broken.push(broken),
            }
        }
        if self.trades.0 > 0 {
            let problem = format!(
                "{} trades of an investment account are no bank transactions and are left out",
                self.trades.0
            );
            self.found.remark(self.trades.1, "INVTRAN", problem);
        }
        let closing = self.closing(currency);
        let closing_on = self.closing.get("DTASOF").and_then(|field| compact_date(&field.value));
        let closing_on = closing.and(closing_on);
        let statement = Statement {
            bank_account: self.bank_account,
            currency,
            opening: None,
            closing,
            closing_on,
            rows,
        };
        StatementReading::of(statement, self.found)
    }

    fn closing(&mut self, currency: Currency) -> Option<Money> {
        let field = self.closing.get("BALAMT")?;
        amount(&field.value, currency)
            .map_err(|problem| self.found.remark(field.line, "LEDGERBAL/BALAMT", problem))
            .ok()
    }
}

/// One `STMTTRN`. The first field that is wrong names the broken row; the others that are wrong are told with it.
fn row(fields: &Fields, line: usize, currency: Currency) -> Result<BankTransaction, BrokenRow> {
    let value = |name: &str| fields.get(name).map_or("", |field| field.value.as_str());
    let line_of = |name: &str| fields.get(name).map_or(line, |field| field.line);
    let mut wrong = Vec::new();

    // `YYYYMMDD` by the standard, `YYYY-MM-DD` by some who write OFX themselves.
    let booked_on = compact_date(value("DTPOSTED")).or_else(|| iso_date(value("DTPOSTED")));
    if booked_on.is_none() {
        wrong.push(("DTPOSTED", not_a_date(value("DTPOSTED"))));
    }
    let amount = amount(value("TRNAMT"), currency)
        .map_err(|problem| wrong.push(("TRNAMT", problem)))
        .ok();
    // `CURRENCY` says that the amounts of this row are in another currency; `ORIGCURRENCY` that they were and are
    // converted.
    let row_currency = value("CURSYM");
    let is_foreign = !row_currency.is_empty() && !row_currency.eq_ignore_ascii_case(currency.code());
    if is_foreign {
        wrong.push((
            "CURSYM",
            format!("the row is in {}, the account in {currency}", text::quote(row_currency)),
        ));
    }
    match (booked_on, amount, wrong.is_empty()) {
        (Some(booked_on), Some(amount), true) => Ok(BankTransaction {
            booked_on,
            value_on: compact_date(value("DTAVAIL")),
            amount,
            reference: text::clean_some(value("FITID"), text::REFERENCE_CHARS_MAX),
            counterparty: text::clean_some(value("NAME"), text::COUNTERPARTY_CHARS_MAX)
                .unwrap_or_else(|| text::clean(value("PAYEE/NAME"), text::COUNTERPARTY_CHARS_MAX)),
            remittance: text::clean(value("MEMO"), text::REMITTANCE_CHARS_MAX),
            category: None,
        }),
        _ => {
            let mut wrong = wrong.into_iter();
            let (field, first) = wrong.next().unwrap_or_default();
            let problem = wrong.fold(first, |told, (field, problem)| format!("{told}; {field}: {problem}"));
            Err(BrokenRow {
                line: line_of(field),
                field: field.into(),
                problem,
                amount: amount.filter(|_| !is_foreign),
            })
        }
    }
}

fn not_a_date(value: &str) -> String {
    if value.is_empty() {
        "there is no date".into()
    } else {
        format!("'{}' is not a date", text::quote(value))
    }
}

#[cfg(test)]
mod tests;
