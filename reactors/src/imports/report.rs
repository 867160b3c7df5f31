//! What an import answers.

use connectors::banks::{
    proof::Proof,
    reading::{BrokenRow, RefusedStatement, Remark, StatementReading},
};
use domain::{Money, id::AccountId};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use service_kit::problem::Problem;

/// What became of a file.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ImportReport {
    /// The account it was booked to.
    pub account_id: AccountId,
    /// This import; `undo-import` takes it back.
    pub import_id: Option<String>,
    /// How the file was read: ofx, csv, camt or mt940.
    pub format: String,
    /// SHA-256 of the file, hex.
    pub file_sha256: String,
    /// The statement.
    pub statement: StatementReport,
    /// Rows that are new entries now.
    pub rows_booked: u64,
    /// Rows that were in the ledger already.
    pub rows_known: u64,
    /// Known rows that had no category until this file named one.
    pub rows_categorised: u64,
    /// Rows over nothing, which a ledger has no entry for.
    pub rows_zero: u64,
    /// Statements of the file that cannot be used, with the reason.
    pub refused: Vec<RefusedStatement>,
    /// The family's head after the import: ask a view for `min_family_seq` of this.
    pub family_seq: i64,
}

/// What the statement says.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct StatementReport {
    /// The account as the bank names it.
    pub bank_account: String,
    /// Booked rows in the file: those read and those broken.
    pub rows: usize,
    /// Rows announced but not booked; left out.
    pub rows_pending: usize,
    /// Rows that could not be read, by line and field; left out.
    pub rows_broken: Vec<BrokenRow>,
    /// What was odd but cost no row.
    pub remarks: Vec<Remark>,
    /// Balance before the first row, where stated.
    pub opening: Option<Money>,
    /// Balance after the last row, where stated.
    pub closing: Option<Money>,
    /// Do the stated balances agree with the rows?
    pub proof: Proof,
    /// The earliest booking date.
    pub first_on: Option<chrono::NaiveDate>,
    /// The latest booking date.
    pub last_on: Option<chrono::NaiveDate>,
}

impl ImportReport {
    pub(super) fn of(
        account_id: AccountId,
        format: String,
        file_sha256: String,
        reading: StatementReading,
        refused: Vec<RefusedStatement>,
        receipt: &Value,
    ) -> Result<Self, Problem> {
        let events = receipt
            .get("events")
            .and_then(Value::as_array)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let count = |kind: &str| {
            events
                .iter()
                .filter(|event| event.get("type").is_some_and(|name| name == kind))
                .count()
        };
        let import = events
            .iter()
            .find(|event| event.get("type").is_some_and(|name| name == "StatementImported"));
        let import_id = import
            .and_then(|event| event.get("aggregate_id"))
            .and_then(Value::as_str)
            .map(str::to_owned);
        let rows_booked = count("BankTransactionBooked");
        let rows_zero = reading.statement.rows.iter().filter(|row| row.amount.is_zero()).count();
        let statement = StatementReport {
            bank_account: reading.statement.bank_account,
            rows: reading.rows_read,
            rows_pending: reading.pending,
            rows_broken: reading.broken,
            remarks: reading.remarks,
            opening: reading.statement.opening,
            closing: reading.statement.closing,
            proof: reading.proof,
            first_on: reading.first_on,
            last_on: reading.last_on,
        };
        Ok(Self {
            account_id,
            import_id,
            format,
            file_sha256,
            rows_booked: rows_booked as u64,
            rows_known: (reading.statement.rows.len() - rows_booked - rows_zero) as u64,
            rows_categorised: count("EntryRecategorised") as u64,
            rows_zero: rows_zero as u64,
            statement,
            refused,
            family_seq: receipt.get("family_seq").and_then(Value::as_i64).unwrap_or_default(),
        })
    }
}
