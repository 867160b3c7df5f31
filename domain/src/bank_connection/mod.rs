//! A bank connection: which provider feeds which ledger account, and what the bank's side of it adds up to.

pub mod commands;
mod events;
mod refusals;

use serde::{Deserialize, Serialize};

use crate::id::AccountId;

pub use events::*;
pub use refusals::BankConnectionRefusal;

/// A bank connection's state. Its size does not depend on how many rows were imported.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BankConnection {
    connected: Option<BankConnected>,
    ledger: Option<BankLedger>,
}

impl BankConnection {
    pub(crate) fn fold(&mut self, event: BankConnectionEvent) {
        match event {
            BankConnectionEvent::BankConnected(connected) => self.connected = Some(connected),
            BankConnectionEvent::BankSynced(synced) => self.ledger = synced.ledger,
            BankConnectionEvent::BankSyncUndone(undone) => self.ledger = undone.ledger,
        }
    }

    /// The connection, or the refusal that says there is none.
    ///
    /// # Errors
    /// [`BankConnectionRefusal::UnknownConnection`].
    pub fn connected(&self) -> Result<&BankConnected, BankConnectionRefusal> {
        self.connected.as_ref().ok_or(BankConnectionRefusal::UnknownConnection)
    }

    /// The account it feeds, once connected.
    pub fn account_id(&self) -> Option<AccountId> {
        self.connected.as_ref().map(|connected| connected.account_id)
    }

    /// What the statements so far add up to; none before the first.
    pub fn ledger(&self) -> Option<&BankLedger> {
        self.ledger.as_ref()
    }
}
