//! What happens to a journal entry. Every event carries its balanced postings, so a reader of balances needs nothing else.

use chrono::NaiveDate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Money,
    event::events,
    id::{AccountId, ChoreId, EntryId, ImportId, MemberId},
    posting::{Posting, PostingAccount},
};

events! {
    /// Facts of an `entry` stream.
    EntryEvent of "entry" {
        ExpenseAdded = "1" { payee: entered_by, note: entered_by },
        IncomeAdded = "1" { payee: entered_by, note: entered_by },
        TransferMade = "1" { note: earned_by },
        OpeningBalanceRecorded = "1",
        BankTransactionBooked = "1" { counterparty: owner, remittance: owner, reference.reference: owner, reference.source: plain },
        EntryReversed = "1" { reason: actor },
        EntryRecategorised = "1",
    }
}

impl EntryEvent {
    /// What this event adds to the ledger: balanced, debit positive.
    pub fn postings(&self) -> &[Posting] {
        match self {
            Self::ExpenseAdded(event) => &event.postings,
            Self::IncomeAdded(event) => &event.postings,
            Self::TransferMade(event) => &event.postings,
            Self::OpeningBalanceRecorded(event) => &event.postings,
            Self::BankTransactionBooked(event) => &event.postings,
            Self::EntryReversed(event) => &event.postings,
            Self::EntryRecategorised(event) => &event.postings,
        }
    }

    /// The entry it belongs to.
    pub fn entry_id(&self) -> EntryId {
        match self {
            Self::ExpenseAdded(event) => event.entry_id,
            Self::IncomeAdded(event) => event.entry_id,
            Self::TransferMade(event) => event.entry_id,
            Self::OpeningBalanceRecorded(event) => event.entry_id,
            Self::BankTransactionBooked(event) => event.entry_id,
            Self::EntryReversed(event) => event.entry_id,
            Self::EntryRecategorised(event) => event.entry_id,
        }
    }
}

/// Money left the family. Recorded by `add-expense`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExpenseAdded {
    /// The entry.
    pub entry_id: EntryId,
    /// The day it counts for.
    pub effective_on: NaiveDate,
    /// The account is credited (negative), the categories debited.
    pub postings: Vec<Posting>,
    /// Who was paid.
    #[serde(default)]
    pub payee: String,
    /// A free note.
    #[serde(default)]
    pub note: String,
    /// The member who entered it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entered_by: Option<MemberId>,
}

/// Money came to the family. Recorded by `add-income`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IncomeAdded {
    /// The entry.
    pub entry_id: EntryId,
    /// The day it counts for.
    pub effective_on: NaiveDate,
    /// The account is debited (positive), the category credited.
    pub postings: Vec<Posting>,
    /// Who paid.
    #[serde(default)]
    pub payee: String,
    /// A free note.
    #[serde(default)]
    pub note: String,
    /// The member who entered it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entered_by: Option<MemberId>,
}

/// Money moved between two of the family's accounts. Recorded by `transfer`, and by `approve-chore` for a reward.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TransferMade {
    /// The entry.
    pub entry_id: EntryId,
    /// The day it counts for.
    pub effective_on: NaiveDate,
    /// Source negative, destination positive; an exchange goes through the conversion account, so each currency balances.
    pub postings: Vec<Posting>,
    /// A free note.
    #[serde(default)]
    pub note: String,
    /// The member who entered it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entered_by: Option<MemberId>,
    /// The chore it is the reward of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chore_id: Option<ChoreId>,
    /// Who earned it, and so whose the note is: what the chore was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earned_by: Option<MemberId>,
}

/// What an account held when the ledger began to follow it. Recorded by `open-account` and by the first `sync-bank`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OpeningBalanceRecorded {
    /// The entry.
    pub entry_id: EntryId,
    /// The day it counts for.
    pub effective_on: NaiveDate,
    /// The account against opening balances.
    pub postings: Vec<Posting>,
}

/// How a bank itself names a row; only references of one source can be compared.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct BankReference {
    /// The kind of source: `ofx`, `camt`, `csv` …
    pub source: String,
    /// The reference as given.
    pub reference: String,
}

/// A row of a bank statement came into the ledger. Recorded by `sync-bank`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BankTransactionBooked {
    /// The entry.
    pub entry_id: EntryId,
    /// The account whose statement it is.
    pub account_id: AccountId,
    /// The member whose own account it is, and so whose the row's texts are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<MemberId>,
    /// The import that brought it.
    pub import_id: ImportId,
    /// When the bank recorded it; the day it counts for.
    pub booked_on: NaiveDate,
    /// When it counts for interest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_on: Option<NaiveDate>,
    /// Signed from the account's side.
    pub amount: Money,
    /// The account against a category or transfers in transit.
    pub postings: Vec<Posting>,
    /// Creditor or debtor.
    #[serde(default)]
    pub counterparty: String,
    /// Remittance information.
    #[serde(default)]
    pub remittance: String,
    /// The bank's own reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<BankReference>,
}

/// An entry was undone by its mirror image. Recorded by `reverse-entry` and `undo-import`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EntryReversed {
    /// The entry.
    pub entry_id: EntryId,
    /// The postings in force, with every sign turned.
    pub postings: Vec<Posting>,
    /// Why.
    #[serde(default)]
    pub reason: String,
}

/// An entry's amount in one category moved to another, or out of the categories as a transfer. Recorded by
/// `recategorise-entry`, and by `sync-bank` when a file names the category of a row that had none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EntryRecategorised {
    /// The entry.
    pub entry_id: EntryId,
    /// The category until now.
    pub from: PostingAccount,
    /// The category from now on, or an equity account.
    pub to: PostingAccount,
    /// Out of the one, into the other.
    pub postings: Vec<Posting>,
}
