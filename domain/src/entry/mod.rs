//! A journal entry: balanced when recorded, then never edited. What was wrong is reversed or recategorised by a further event.

pub mod commands;
mod events;
mod refusals;
mod sharing;

use std::collections::BTreeSet;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use crate::{
    id::{AccountId, ImportId, MemberId},
    journal::{Posting, PostingAccount},
};

pub use events::*;
pub use refusals::EntryRefusal;
pub use sharing::{check_consent_of_owners, shared_entry};

/// An entry's state: the postings now in force.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    postings: Vec<Posting>,
    #[serde(default)]
    accounts: BTreeSet<AccountId>,
    effective_on: Option<NaiveDate>,
    entered_by: Option<MemberId>,
    is_reversed: bool,
    bank_row: Option<BankRow>,
}

/// Which row of a bank's an entry stands for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BankRow {
    /// The import that brought it.
    pub import_id: ImportId,
    /// The bank's own reference, where it gave one.
    pub reference: Option<BankReference>,
}

impl Entry {
    pub(crate) fn fold(&mut self, event: EntryEvent) {
        match event {
            EntryEvent::ExpenseAdded(added) => self.begin(added.postings, added.effective_on, added.entered_by),
            EntryEvent::IncomeAdded(added) => self.begin(added.postings, added.effective_on, added.entered_by),
            EntryEvent::TransferMade(made) => self.begin(made.postings, made.effective_on, made.entered_by),
            EntryEvent::OpeningBalanceRecorded(opening) => self.begin(opening.postings, opening.effective_on, None),
            EntryEvent::BankTransactionBooked(booked) => {
                self.begin(booked.postings, booked.booked_on, None);
                self.bank_row = Some(BankRow {
                    import_id: booked.import_id,
                    reference: booked.reference,
                });
            }
            EntryEvent::EntryReversed(_) => {
                self.is_reversed = true;
                self.postings.clear();
            }
            EntryEvent::EntryRecategorised(moved) => {
                for posting in &mut self.postings {
                    if posting.ledger_account == moved.from {
                        posting.ledger_account = moved.to;
                    }
                }
            }
        }
    }

    fn begin(&mut self, postings: Vec<Posting>, effective_on: NaiveDate, entered_by: Option<MemberId>) {
        self.accounts = postings
            .iter()
            .filter_map(|posting| match posting.ledger_account {
                PostingAccount::Account(account_id) => Some(account_id),
                _ => None,
            })
            .collect();
        self.postings = postings;
        self.effective_on = Some(effective_on);
        self.entered_by = entered_by;
    }

    /// Has it been recorded?
    pub fn exists(&self) -> bool {
        self.effective_on.is_some()
    }

    /// Recorded, and not reversed since.
    pub fn is_in_force(&self) -> bool {
        self.exists() && !self.is_reversed
    }

    /// Reversed?
    pub fn is_reversed(&self) -> bool {
        self.is_reversed
    }

    /// The postings now in force; none after a reversal.
    pub fn postings(&self) -> &[Posting] {
        &self.postings
    }

    /// The family's own accounts that it moves; those it moved, when it is reversed.
    pub fn accounts(&self) -> impl Iterator<Item = AccountId> {
        self.accounts.iter().copied()
    }

    /// Is some of it in this ledger account now?
    pub fn is_in(&self, place: PostingAccount) -> bool {
        self.postings.iter().any(|posting| posting.ledger_account == place)
    }

    /// The day it counts for.
    pub fn effective_on(&self) -> Option<NaiveDate> {
        self.effective_on
    }

    /// The member who entered it by hand.
    pub fn entered_by(&self) -> Option<MemberId> {
        self.entered_by
    }

    /// The bank's row it stands for.
    pub fn bank_row(&self) -> Option<&BankRow> {
        self.bank_row.as_ref()
    }
}
