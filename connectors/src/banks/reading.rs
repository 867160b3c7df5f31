//! What was read of a statement, and what of it could not be read.

use chrono::NaiveDate;
use domain::{Money, statement::Statement};
use schemars::JsonSchema;
use serde::Serialize;

use super::proof::Proof;

/// One statement as read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct StatementReading {
    /// The statement with every row that could be read.
    pub statement: Statement,
    /// Where the statement begins in its file, counted from 1.
    pub line: usize,
    /// Booked rows that the source holds: those in `statement` and those in `broken`.
    pub rows_read: usize,
    /// Rows announced but not booked; counted and left out.
    pub pending: usize,
    /// Booked rows that could not be read and were left out, in the order of the source.
    pub broken: Vec<BrokenRow>,
    /// What was odd but cost no row, in the order of the source.
    pub remarks: Vec<Remark>,
    /// The earliest booking date among the rows; none without rows.
    pub first_on: Option<NaiveDate>,
    /// The latest booking date among the rows, itself included; none without rows.
    pub last_on: Option<NaiveDate>,
    /// Do the stated balances agree with the rows?
    pub proof: Proof,
}

/// A booked row that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct BrokenRow {
    /// Where the row, or the field of it that is wrong, stands in its file, counted from 1.
    pub line: usize,
    /// The field by the file's own name: `TRNAMT`, `BookgDt`, `:61:`, a column's heading.
    pub field: String,
    /// What is wrong with it, in words.
    pub problem: String,
    /// The row's signed amount, where that much could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<Money>,
}

/// Something odd that cost no row: a balance in another currency, a field that stands in the wrong place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Remark {
    /// Where it stands in its file, counted from 1.
    pub line: usize,
    /// The field by the file's own name.
    pub field: String,
    /// What is odd about it, in words.
    pub problem: String,
}

/// A statement of which nothing can be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RefusedStatement {
    /// Where the statement begins in its file, counted from 1.
    pub line: usize,
    /// The account as the bank names it; empty when it was not said.
    pub bank_account: String,
    /// Why.
    pub refusal: StatementRefusal,
}

/// Why nothing of a statement can be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "reason")]
pub enum StatementRefusal {
    /// The bank reports its own failure instead of a statement.
    #[error("the bank answers with its own error {code}: {message}")]
    BankError {
        /// The bank's code.
        code: String,
        /// The bank's words.
        message: String,
    },
    /// Neither the file nor the options say which currency the amounts are in.
    #[error("the file does not say which currency its amounts are in; name it as `currency`")]
    NoCurrency,
    /// The currency is none of ISO 4217, or one that is no longer used.
    #[error("'{code}' is not a currency in use")]
    UnknownCurrency {
        /// The code as the file has it.
        code: String,
    },
}

impl StatementReading {
    /// Counts, dates and proves what was read.
    pub(crate) fn of(statement: Statement, found: Findings) -> Self {
        let proof = Proof::of(&statement, &found.broken);
        Self {
            line: found.line,
            rows_read: statement.rows.len() + found.broken.len(),
            pending: found.pending,
            first_on: statement.rows.iter().map(|row| row.booked_on).min(),
            last_on: statement.rows.iter().map(|row| row.booked_on).max(),
            broken: found.broken,
            remarks: found.remarks,
            proof,
            statement,
        }
    }
}

/// What a parser finds beside the statement itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings {
    /// Where the statement begins.
    pub(crate) line: usize,
    /// Rows not booked.
    pub(crate) pending: usize,
    /// Rows not readable.
    pub(crate) broken: Vec<BrokenRow>,
    /// What was odd.
    pub(crate) remarks: Vec<Remark>,
}

impl Findings {
    /// Notes something odd.
    pub(crate) fn remark(&mut self, line: usize, field: impl Into<String>, problem: impl Into<String>) {
        self.remarks.push(Remark {
            line,
            field: field.into(),
            problem: problem.into(),
        });
    }
}
