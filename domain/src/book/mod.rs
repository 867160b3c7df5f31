//! The book: a family's whole ledger, folded from its events and nothing else.
//!
//! An auditor's answer to "what stood in the books as of …". It is computed without any read model, so it checks them all.
//! There are two clocks and a bound on each:
//! - **recorded** (an instant or a `family_seq`): the caller folds only that prefix; what was learned later is not in it;
//! - **effective** (a day): the book folds everything it is given, but what has a day of its own, that is postings, points
//!   and budgets, counts only when that day is not after the bound. Who and what there is (members, accounts, categories,
//!   chores, connections) stands as the fold knows it.
//!
//! Memory follows the number of accounts, members and chores, not of entries; only a book that [`Book::keeping_entries`]
//! holds those in force too. The same prefix always gives the same rows in the same order.

mod balances;
mod entries;
mod rows;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};

use crate::{
    Currency, MoneyError,
    aggregate::LedgerEvent,
    bank_connection::{BankConnection, BankConnectionEvent},
    budget::{BudgetEvent, BudgetSet},
    category::{CategoryAdded, CategoryEvent},
    chore::{Chore, ChoreEvent},
    entry::EntryEvent,
    family::{Family, FamilyCreated, FamilyEvent},
    id::{AccountId, BudgetId, CategoryId, ChoreId, ConnectionId, ImportId, MemberId},
    journal::PostingAccount,
    ledger_account::{AccountOpened, LedgerAccountEvent},
    rewards::RewardsEvent,
    statement_import::StatementImportEvent,
};

pub use balances::Balances;
pub use entries::EntryInForce;
pub use rows::{
    AccountRow, BalanceRow, BookRows, BudgetRow, CategoryRow, ChoreRow, ConnectionRow, EntryCounts, FamilyRow,
    ImportRow, MemberRow,
};

use entries::EntriesInForce;

/// Why a history cannot be folded. Neither happens to a log that is whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BookError {
    /// An event is missing, doubled or out of order.
    #[error("expected the event with family_seq {expected}, found {found}")]
    OutOfOrder {
        /// The next number of this ledger.
        expected: i64,
        /// The number that came.
        found: i64,
    },
    /// A balance grew beyond what can be held.
    #[error("the balance of {ledger_account} cannot be held after family_seq {family_seq}")]
    Sum {
        /// The account.
        ledger_account: PostingAccount,
        /// The event that brought it there.
        family_seq: i64,
        /// Why.
        #[source]
        cause: MoneyError,
    },
}

/// An account with the facts that balances do not say.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Account {
    pub(crate) opened: AccountOpened,
    pub(crate) closed_on: Option<NaiveDate>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Import {
    connection_id: Option<ConnectionId>,
    source: String,
    file_sha256: String,
    entries: usize,
    is_undone: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Earned {
    points: u64,
    badges: Vec<String>,
}

/// A family's ledger, folded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Book {
    effective_until: Option<NaiveDate>,
    family_seq: i64,
    recorded_at: Option<DateTime<Utc>>,
    created: Option<FamilyCreated>,
    family: Family,
    accounts: BTreeMap<AccountId, Account>,
    categories: BTreeMap<CategoryId, CategoryAdded>,
    balances: Balances,
    counts: EntryCounts,
    entries: Option<EntriesInForce>,
    earned: BTreeMap<MemberId, Earned>,
    chores: BTreeMap<ChoreId, Chore>,
    budgets: BTreeMap<BudgetId, (NaiveDate, BudgetSet)>,
    connections: BTreeMap<ConnectionId, BankConnection>,
    imports: BTreeMap<ImportId, Import>,
}

impl Book {
    /// An empty book that counts every day.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty book that counts what is effective on `day` or before.
    pub fn effective_until(day: NaiveDate) -> Self {
        Self {
            effective_until: Some(day),
            ..Self::default()
        }
    }

    /// The same, holding the entries in force as well. Memory then grows with their number.
    pub fn keeping_entries(mut self) -> Self {
        self.entries = Some(EntriesInForce::default());
        self
    }

    /// Folds the next event of the family in.
    ///
    /// # Errors
    /// [`BookError`] when the history is not whole. The book is of no use afterwards.
    pub fn apply(
        &mut self,
        event: &LedgerEvent,
        effective_on: NaiveDate,
        recorded_at: DateTime<Utc>,
        family_seq: i64,
    ) -> Result<(), BookError> {
        if family_seq != self.family_seq + 1 {
            return Err(BookError::OutOfOrder {
                expected: self.family_seq + 1,
                found: family_seq,
            });
        }
        self.family_seq = family_seq;
        self.recorded_at = Some(recorded_at);
        let counts = self.effective_until.is_none_or(|last| effective_on <= last);
        match event {
            LedgerEvent::BankConnection(event) => self.connection(event),
            LedgerEvent::Budget(BudgetEvent::BudgetSet(set)) if counts => self.budget(set, effective_on),
            LedgerEvent::Budget(_) => {}
            LedgerEvent::Category(CategoryEvent::CategoryAdded(added)) => {
                self.categories.insert(added.category_id, added.clone());
            }
            LedgerEvent::Chore(event) => self.chore(event, counts),
            LedgerEvent::Entry(event) if counts => self.entry(event, effective_on, family_seq)?,
            LedgerEvent::Entry(_) => {}
            LedgerEvent::Family(event) => self.family(event),
            LedgerEvent::Inbox(_) => {}
            LedgerEvent::LedgerAccount(event) => self.account(event, effective_on),
            LedgerEvent::Rewards(RewardsEvent::BadgeAwarded(awarded)) if counts => {
                let earned = self.earned.entry(awarded.member_id).or_default();
                earned.points += u64::from(awarded.points);
                earned.badges.push(awarded.badge.clone());
            }
            LedgerEvent::Rewards(_) => {}
            LedgerEvent::Spending(_) => {}
            LedgerEvent::StatementImport(event) => self.import(event),
        }
        Ok(())
    }

    /// The number of the last event folded; 0 before the first. Events are numbered without gaps, so it is also their count.
    pub fn family_seq(&self) -> i64 {
        self.family_seq
    }

    /// When the last event folded was recorded.
    pub fn recorded_at(&self) -> Option<DateTime<Utc>> {
        self.recorded_at
    }

    /// Balances by posting account and currency; debit positive.
    pub fn balances(&self) -> &Balances {
        &self.balances
    }

    /// An account as it was opened, with the day it was closed.
    pub fn account_of(&self, id: AccountId) -> Option<(&AccountOpened, Option<NaiveDate>)> {
        self.accounts
            .get(&id)
            .map(|account| (&account.opened, account.closed_on))
    }

    /// A category as it was added.
    pub fn category_of(&self, id: CategoryId) -> Option<&CategoryAdded> {
        self.categories.get(&id)
    }

    /// What the family calls itself, once it exists.
    pub fn family_name(&self) -> Option<&str> {
        self.created.as_ref().map(|created| created.name.as_str())
    }

    /// The currency of the family's reports, once it exists.
    pub fn currency(&self) -> Option<Currency> {
        self.created.as_ref().map(|created| created.currency)
    }

    /// The entries in force by day and number; none when the book does not keep them.
    pub fn entries(&self) -> Option<Vec<&EntryInForce>> {
        self.entries.as_ref().map(EntriesInForce::in_order)
    }

    fn family(&mut self, event: &FamilyEvent) {
        if let FamilyEvent::FamilyCreated(created) = event {
            self.created = Some(created.clone());
        }
        self.family.fold(event.clone());
    }

    fn account(&mut self, event: &LedgerAccountEvent, effective_on: NaiveDate) {
        match event {
            LedgerAccountEvent::AccountOpened(opened) => {
                self.accounts.insert(
                    opened.account_id,
                    Account {
                        opened: opened.clone(),
                        closed_on: None,
                    },
                );
            }
            LedgerAccountEvent::AccountClosed(closed) => {
                if let Some(account) = self.accounts.get_mut(&closed.account_id) {
                    account.closed_on = Some(effective_on);
                }
            }
            // The entry beside it carries the posting; counting both would double it.
            LedgerAccountEvent::AccountShared(_) | LedgerAccountEvent::WalletBalanceChanged(_) => {}
        }
    }

    fn entry(&mut self, event: &EntryEvent, effective_on: NaiveDate, family_seq: i64) -> Result<(), BookError> {
        for posting in event.postings() {
            let ledger_account = posting.ledger_account;
            let sum = |cause| BookError::Sum {
                ledger_account,
                family_seq,
                cause,
            };
            self.balances.add(posting).map_err(sum)?;
        }
        match event {
            EntryEvent::EntryReversed(_) => self.counts.reversed += 1,
            EntryEvent::EntryRecategorised(_) => self.counts.recategorised += 1,
            _ => self.counts.recorded += 1,
        }
        if let Some(entries) = &mut self.entries {
            entries.fold(event, effective_on, family_seq);
        }
        Ok(())
    }

    fn chore(&mut self, event: &ChoreEvent, counts: bool) {
        let chore_id = match event {
            ChoreEvent::ChoreOffered(event) => event.chore_id,
            ChoreEvent::ChoreClaimed(event) => event.chore_id,
            ChoreEvent::ChoreCompleted(event) => event.chore_id,
            ChoreEvent::ChoreApproved(event) => event.chore_id,
            ChoreEvent::ChoreRejected(event) => event.chore_id,
        };
        self.chores.entry(chore_id).or_default().fold(event.clone());
        if let ChoreEvent::ChoreApproved(approved) = event
            && counts
        {
            self.earned.entry(approved.member_id).or_default().points += u64::from(approved.points);
        }
    }

    /// A budget holds from the period of its own day on, so the latest day wins, and of one day the latest recorded.
    fn budget(&mut self, set: &BudgetSet, effective_on: NaiveDate) {
        if self
            .budgets
            .get(&set.budget_id)
            .is_none_or(|(since, _)| *since <= effective_on)
        {
            self.budgets.insert(set.budget_id, (effective_on, set.clone()));
        }
    }

    fn connection(&mut self, event: &BankConnectionEvent) {
        let connection_id = match event {
            BankConnectionEvent::BankConnected(event) => event.connection_id,
            BankConnectionEvent::BankSynced(event) => event.connection_id,
            BankConnectionEvent::BankSyncUndone(event) => event.connection_id,
        };
        self.connections.entry(connection_id).or_default().fold(event.clone());
    }

    fn import(&mut self, event: &StatementImportEvent) {
        match event {
            StatementImportEvent::StatementImported(imported) => {
                let import = self.imports.entry(imported.import_id).or_default();
                import.connection_id = Some(imported.connection_id);
                import.source.clone_from(&imported.source);
                import.file_sha256.clone_from(&imported.file_sha256);
            }
            StatementImportEvent::StatementEntriesListed(listed) => {
                self.imports.entry(listed.import_id).or_default().entries += listed.booked().count();
            }
            StatementImportEvent::StatementImportUndone(undone) => {
                self.imports.entry(undone.import_id).or_default().is_undone = true;
            }
        }
    }
}
