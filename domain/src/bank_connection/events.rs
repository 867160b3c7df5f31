//! What happens to a bank connection.

use chrono::NaiveDate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Money,
    event::events,
    id::{AccountId, ConnectionId, EntryId, ImportId},
};

events! {
    /// Facts of a `bank-connection` stream.
    BankConnectionEvent of "bank-connection" {
        BankConnected = "1" { provider: plain, institution: family },
        BankSynced = "1",
        BankSyncUndone = "1",
    }
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

/// A provider may feed an account from now on. Recorded by `connect-bank`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BankConnected {
    /// The connection.
    pub connection_id: ConnectionId,
    /// The account it feeds.
    pub account_id: AccountId,
    /// The provider: `statement-file` for files.
    pub provider: String,
    /// The bank's name, as the family says it.
    #[serde(default)]
    pub institution: String,
}

/// A statement's rows came into the ledger, all together. Recorded by `sync-bank`, also when every row was known already.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BankSynced {
    /// The connection.
    pub connection_id: ConnectionId,
    /// The account.
    pub account_id: AccountId,
    /// This import; `undo-import` takes it back.
    pub import_id: ImportId,
    /// Rows in the statement.
    pub rows: u32,
    /// Rows that are new entries now.
    pub rows_booked: u32,
    /// Rows that were in the ledger already.
    pub rows_known: u32,
    /// Known rows that had no category until this file named one.
    #[serde(default)]
    pub rows_categorised: u32,
    /// Rows over nothing, which a ledger has no entry for.
    pub rows_zero: u32,
    /// The sum of the new rows, signed from the account's side.
    pub booked: Money,
    /// What the statements add up to after this one.
    pub ledger: Option<BankLedger>,
}

/// An import was taken back; its entries are reversed in the same append. Recorded by `undo-import`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BankSyncUndone {
    /// The connection.
    pub connection_id: ConnectionId,
    /// The import.
    pub import_id: ImportId,
    /// Entries reversed.
    pub entries_reversed: u32,
    /// What the statements add up to without it; none when it was the only one.
    pub ledger: Option<BankLedger>,
}
