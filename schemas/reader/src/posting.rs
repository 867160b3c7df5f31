//! One line of a journal entry, as events carry it: which ledger account, how much, on which side.

use std::{fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{
    Money,
    id::{AccountId, CategoryId},
};

/// Equity accounts that every ledger has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Equity {
    /// What was there before the ledger began.
    OpeningBalances,
    /// The far side of a transfer whose other leg is not (yet) matched, as in a statement that names another own account.
    TransfersInTransit,
    /// Holds both sides of an exchange, so that each currency balances on its own.
    Conversion,
}

impl Equity {
    const ALL: [Equity; 3] = [Equity::OpeningBalances, Equity::TransfersInTransit, Equity::Conversion];

    /// The name in JSON and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Equity::OpeningBalances => "equity:opening-balances",
            Equity::TransfersInTransit => "equity:transfers-in-transit",
            Equity::Conversion => "equity:conversion",
        }
    }
}

/// Where a posting goes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PostingAccount {
    /// An account of the family's own.
    Account(AccountId),
    /// An income or expense category.
    Category(CategoryId),
    /// An equity account.
    Equity(Equity),
}

impl fmt::Display for PostingAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account(id) => id.fmt(f),
            Self::Category(id) => id.fmt(f),
            Self::Equity(equity) => f.write_str(equity.as_str()),
        }
    }
}

impl fmt::Debug for PostingAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PostingAccount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(equity) = Equity::ALL.into_iter().find(|equity| equity.as_str() == text) {
            return Ok(Self::Equity(equity));
        }
        let parsed = match text.split_once('_') {
            Some((AccountId::PREFIX, _)) => text.parse().map(Self::Account).ok(),
            // A bare UUID can only be meant as a category's: clients name their accounts as accounts.
            Some((CategoryId::PREFIX, _)) | None => text.parse().map(Self::Category).ok(),
            _ => None,
        };
        parsed.ok_or_else(|| "expected acc_…, cat_… or equity:…".to_owned())
    }
}

impl Serialize for PostingAccount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PostingAccount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for PostingAccount {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PostingAccount".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "description": "acc_…, cat_… or an equity account", "examples": ["equity:opening-balances"]})
    }
}

/// One line of a journal entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Posting {
    /// The ledger account.
    pub ledger_account: PostingAccount,
    /// Debit positive, credit negative.
    pub money: Money,
}

impl Posting {
    /// A posting to one of the family's accounts.
    pub fn account(id: AccountId, money: Money) -> Self {
        Self {
            ledger_account: PostingAccount::Account(id),
            money,
        }
    }

    /// A posting to a category.
    pub fn category(id: CategoryId, money: Money) -> Self {
        Self {
            ledger_account: PostingAccount::Category(id),
            money,
        }
    }

    /// A posting to an equity account.
    pub fn equity(equity: Equity, money: Money) -> Self {
        Self {
            ledger_account: PostingAccount::Equity(equity),
            money,
        }
    }
}
