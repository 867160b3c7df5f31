//! What happens to a ledger account.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Currency, Money,
    event::events,
    id::{AccountId, EntryId, MemberId},
    ledger_account::ShareLevel,
};

events! {
    /// Facts of a `ledger-account` stream.
    LedgerAccountEvent of "ledger-account" {
        AccountOpened = "1" { name: owner },
        AccountClosed = "1",
        AccountShared = "1",
        WalletBalanceChanged = "1",
    }
}

/// What sort of account it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AccountKind {
    /// A current or savings account at a bank.
    Bank,
    /// Notes and coins.
    Cash,
    /// A credit or debit card; a debt is a negative balance.
    Card,
    /// A member's own pocket; never below zero.
    Wallet,
}

impl AccountKind {
    /// The word used in JSON and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bank => "bank",
            Self::Cash => "cash",
            Self::Card => "card",
            Self::Wallet => "wallet",
        }
    }
}

/// An account came into the ledger. Recorded by `open-account`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AccountOpened {
    /// The account.
    pub account_id: AccountId,
    /// What the family calls it.
    pub name: String,
    /// What sort it is.
    pub kind: AccountKind,
    /// The one currency it holds.
    pub currency: Currency,
    /// The member whose own it is; always set for a wallet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<MemberId>,
    /// What it held when it was opened, where that was said; the entry beside this event posts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opening_balance: Option<Money>,
}

/// An account takes no further postings; its history stays. Recorded by `close-account`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AccountClosed {
    /// The account.
    pub account_id: AccountId,
}

/// How much of an account a member sees and may do was said. Recorded by `share-account`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AccountShared {
    /// The account.
    pub account_id: AccountId,
    /// Of whom it was said.
    pub member_id: MemberId,
    /// How much from now on.
    pub level: ShareLevel,
    /// Who said it: the owner, or a parent for the family and the young. Of a word from before this was kept it counts as the
    /// owner's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<MemberId>,
}

/// An entry moved a wallet. Recorded beside that entry, in the same append, by every command that posts to a wallet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WalletBalanceChanged {
    /// The wallet's account.
    pub account_id: AccountId,
    /// The entry that moved it.
    pub entry_id: EntryId,
    /// Money in is positive.
    pub change: Money,
    /// What is in it now.
    pub balance: Money,
}
