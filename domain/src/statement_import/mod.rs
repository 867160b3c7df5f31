//! One import of one statement: which entries it brought, so that one command can take all of them back.

pub mod commands;
mod events;

use serde::{Deserialize, Serialize};

use crate::{
    bank_connection::BankLedger,
    id::{ConnectionId, EntryId, ImportId},
};

pub use events::*;

/// An import's state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StatementImport {
    started: Option<StatementImported>,
    entries: Vec<ListedEntry>,
    is_undone: bool,
}

impl StatementImport {
    pub(crate) fn fold(&mut self, event: StatementImportEvent) {
        match event {
            StatementImportEvent::StatementImported(started) => self.started = Some(started),
            StatementImportEvent::StatementEntriesListed(listed) => self.entries.extend(listed.entries),
            StatementImportEvent::StatementImportUndone(_) => self.is_undone = true,
        }
    }

    /// Which import it is, once made.
    pub fn import_id(&self) -> Option<ImportId> {
        self.started.as_ref().map(|started| started.import_id)
    }

    /// The connection it came through.
    pub fn connection_id(&self) -> Option<ConnectionId> {
        self.started.as_ref().map(|started| started.connection_id)
    }

    /// What the bank's side added up to before it.
    pub fn ledger_before(&self) -> Option<&BankLedger> {
        self.started.as_ref().and_then(|started| started.ledger_before.as_ref())
    }

    /// What the bank's side added up to after it.
    pub fn ledger_after(&self) -> Option<&BankLedger> {
        self.started.as_ref().and_then(|started| started.ledger_after.as_ref())
    }

    /// The entries it brought, opening balance included, and those whose category it named.
    pub fn entries(&self) -> &[ListedEntry] {
        &self.entries
    }

    /// The entries it brought, opening balance included.
    pub fn booked(&self) -> impl Iterator<Item = EntryId> {
        self.entries.iter().filter_map(ListedEntry::booked)
    }

    /// Taken back?
    pub fn is_undone(&self) -> bool {
        self.is_undone
    }
}
