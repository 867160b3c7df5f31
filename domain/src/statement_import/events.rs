//! What happens to an import.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    aggregate::events,
    bank_connection::BankLedger,
    id::{ConnectionId, EntryId, ImportId},
};

events! {
    /// Facts of a `statement-import` stream.
    StatementImportEvent of "statement-import" {
        StatementImported = "1",
        StatementEntriesListed = "1",
        StatementImportUndone = "1",
    }
}

/// A statement was taken in. Recorded by `sync-bank`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StatementImported {
    /// The import.
    pub import_id: ImportId,
    /// Through which connection.
    pub connection_id: ConnectionId,
    /// The kind of source: `ofx`, `camt`, `mt940`, `csv`.
    #[serde(default)]
    pub source: String,
    /// SHA-256 of the file, hex; empty when there was no file.
    #[serde(default)]
    pub file_sha256: String,
    /// What the bank's side added up to before.
    pub ledger_before: Option<BankLedger>,
    /// What it adds up to after.
    pub ledger_after: Option<BankLedger>,
}

/// Some of the entries an import brought; at most 500 in one event, so that no event grows with the file. Recorded by `sync-bank`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StatementEntriesListed {
    /// The import.
    pub import_id: ImportId,
    /// Entries it brought.
    pub entries: Vec<EntryId>,
}

/// The import was taken back. Recorded by `undo-import`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StatementImportUndone {
    /// The import.
    pub import_id: ImportId,
}
