//! What happens to an import.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    bank_connection::BankLedger,
    event::events,
    id::{ConnectionId, EntryId, ImportId},
    posting::PostingAccount,
};

events! {
    /// Facts of a `statement-import` stream.
    StatementImportEvent of "statement-import" {
        StatementImported = "1" { source: plain, file_sha256: plain },
        StatementEntriesListed = "2",
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

/// What an import did to an entry, so that `undo-import` can take it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum ListedEntry {
    /// The import brought it.
    Booked {
        /// The entry.
        entry_id: EntryId,
    },
    /// An earlier import had brought it without a category; this one named it.
    Categorised {
        /// The entry.
        entry_id: EntryId,
        /// The category until then.
        from: PostingAccount,
        /// The category the file named.
        to: PostingAccount,
    },
}

impl ListedEntry {
    /// The entry.
    pub fn entry_id(&self) -> EntryId {
        match self {
            Self::Booked { entry_id } | Self::Categorised { entry_id, .. } => *entry_id,
        }
    }

    /// The entry, when the import brought it.
    pub fn booked(&self) -> Option<EntryId> {
        match self {
            Self::Booked { entry_id } => Some(*entry_id),
            Self::Categorised { .. } => None,
        }
    }
}

/// Some of the entries an import brought or named the category of; at most 500 in one event, so that no event grows with the
/// file. Recorded by `sync-bank`.
///
/// Version 1 listed only the ids of the entries it brought. A reader that passed over the others would undo half an import,
/// so they came as a version of their own and not as one more field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StatementEntriesListed {
    /// The import.
    pub import_id: ImportId,
    /// Entries and what became of them.
    pub entries: Vec<ListedEntry>,
}

impl StatementEntriesListed {
    /// The entries the import brought.
    pub fn booked(&self) -> impl Iterator<Item = EntryId> {
        self.entries.iter().filter_map(ListedEntry::booked)
    }
}

/// The import was taken back. Recorded by `undo-import`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StatementImportUndone {
    /// The import.
    pub import_id: ImportId,
}
