//! A bank connection: which provider feeds which ledger account, and what the bank's side of it adds up to.

pub mod commands;
mod events;
mod refusals;

use chrono::NaiveDate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Money,
    id::{AccountId, EntryId},
};

pub use events::*;
pub use refusals::BankConnectionRefusal;

/// A bank connection's state. Its size does not depend on how many rows were imported.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BankConnection {
    connected: Option<BankConnected>,
    ledger: Option<BankLedger>,
}

/// What the statements so far add up to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BankLedger {
    /// Booked balance before the earliest row.
    pub opening: Money,
    /// The entry that records that opening balance, when it is not zero.
    pub opening_entry: Option<EntryId>,
    /// The earliest day with a row.
    pub first_on: NaiveDate,
    /// The latest day with a row.
    pub last_on: NaiveDate,
    /// Booked balance after the latest row.
    pub balance: Money,
    /// Was `balance` ever confirmed by a closing balance the bank stated?
    pub is_proved: bool,
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
