//! What the books say as of two bounds, computed from the raw events in the plainest way: read all, keep what is within, add up.
//! Nothing of it is shared with projections, views or the book.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, NaiveDate, Utc};
use domain::{
    aggregate::LedgerEvent,
    bank_connection::BankConnectionEvent,
    budget::BudgetEvent,
    calendar::Calendar,
    category::{CategoryEvent, CategoryKind},
    entry::EntryEvent,
    journal::{Posting, PostingAccount},
};
use rust_decimal::Decimal;

/// One event as a test keeps it.
#[derive(Clone)]
pub struct Kept {
    pub family_seq: i64,
    pub effective_on: NaiveDate,
    pub recorded_at: DateTime<Utc>,
    pub event: LedgerEvent,
}

/// A prefix of a history, and the last day that counts.
#[derive(Clone, Copy)]
pub struct Bounds<'a> {
    pub events: &'a [Kept],
    pub until: NaiveDate,
}

type Sums = BTreeMap<(String, String), Decimal>;

impl<'a> Bounds<'a> {
    fn entries_of_day(self) -> impl Iterator<Item = (&'a Kept, &'a EntryEvent)> {
        let until = self.until;
        self.events.iter().filter_map(move |kept| match &kept.event {
            LedgerEvent::Entry(event) if kept.effective_on <= until => Some((kept, event)),
            _ => None,
        })
    }

    fn postings(self) -> impl Iterator<Item = (NaiveDate, &'a Posting)> {
        self.entries_of_day()
            .flat_map(|(kept, event)| event.postings().iter().map(|posting| (kept.effective_on, posting)))
    }

    /// By account id and currency.
    pub fn balances(self) -> Sums {
        let mut sums = Sums::new();
        for (_, posting) in self.postings() {
            if let PostingAccount::Account(_) = posting.ledger_account {
                let key = (posting.ledger_account.to_string(), posting.money.currency().to_string());
                *sums.entry(key).or_default() += posting.money.amount();
            }
        }
        sums
    }

    fn kinds(self) -> BTreeMap<String, CategoryKind> {
        let of = |kept: &Kept| match &kept.event {
            LedgerEvent::Category(CategoryEvent::CategoryAdded(added)) => {
                Some((added.category_id.to_string(), added.kind))
            }
            _ => None,
        };
        self.events.iter().filter_map(of).collect()
    }

    /// Net spending by expense category and currency, of days from `from` to `to`; what comes to nothing left out.
    pub fn spending(self, from: NaiveDate, to: NaiveDate) -> Sums {
        let kinds = self.kinds();
        let mut sums = Sums::new();
        for (_, posting) in self.postings().filter(|(day, _)| (from..=to).contains(day)) {
            let category = posting.ledger_account.to_string();
            if kinds.get(&category) == Some(&CategoryKind::Expense) {
                *sums
                    .entry((category, posting.money.currency().to_string()))
                    .or_default() += posting.money.amount();
            }
        }
        sums.retain(|_, sum| !sum.is_zero());
        sums
    }

    /// What came in less what went out, by month and currency, as far as it is not nothing.
    pub fn net(self, first: NaiveDate, last: NaiveDate) -> Sums {
        let kinds = self.kinds();
        let mut sums = Sums::new();
        for (day, posting) in self.postings() {
            let month = day.with_day(1).unwrap();
            let is_category = kinds.contains_key(&posting.ledger_account.to_string());
            if is_category && (first..=last).contains(&month) {
                *sums
                    .entry((month.to_string(), posting.money.currency().to_string()))
                    .or_default() -= posting.money.amount();
            }
        }
        sums.retain(|_, sum| !sum.is_zero());
        sums
    }

    /// Entry ids with whether each is reversed, newest day first and within a day the last recorded first.
    pub fn entries(self) -> Vec<(String, bool)> {
        let mut recorded: Vec<(NaiveDate, i64, String)> = Vec::new();
        let mut reversed = Vec::new();
        for (kept, event) in self.entries_of_day() {
            let id = event.entry_id().to_string();
            match event {
                EntryEvent::EntryReversed(_) => reversed.push(id),
                EntryEvent::EntryRecategorised(_) => {}
                _ => recorded.push((kept.effective_on, kept.family_seq, id)),
            }
        }
        recorded.sort();
        let told = |(_, _, id): (_, _, String)| {
            let is_reversed = reversed.contains(&id);
            (id, is_reversed)
        };
        recorded.into_iter().rev().map(told).collect()
    }

    /// Budget ids with amount, currency and what is spent, of the periods that hold `on`.
    pub fn budgets(self, calendar: Calendar, on: NaiveDate) -> BTreeMap<String, (Decimal, Decimal)> {
        let mut held: BTreeMap<String, (NaiveDate, i64, &domain::budget::BudgetSet)> = BTreeMap::new();
        for kept in self.events.iter().filter(|kept| kept.effective_on <= self.until) {
            let LedgerEvent::Budget(BudgetEvent::BudgetSet(set)) = &kept.event else {
                continue;
            };
            let (since, _) = calendar.period_of(set.period, kept.effective_on);
            let (_, last) = calendar.period_of(set.period, on);
            let place = (since, kept.family_seq);
            let is_later = held
                .get(&set.budget_id.to_string())
                .is_none_or(|(day, seq, _)| (*day, *seq) < place);
            if kept.effective_on <= last && is_later {
                held.insert(set.budget_id.to_string(), (since, kept.family_seq, set));
            }
        }
        let spent = |set: &domain::budget::BudgetSet| {
            let (first, last) = calendar.period_of(set.period, on);
            let sums = self.spending(first, last);
            let key = (set.category_id.to_string(), set.amount.currency().to_string());
            sums.get(&key).copied().unwrap_or_default()
        };
        held.into_iter()
            .filter(|(_, (_, _, set))| set.amount.is_positive())
            .map(|(id, (_, _, set))| (id, (set.amount.amount(), spent(set))))
            .collect()
    }

    /// Import ids with the sum of their rows up to the day.
    pub fn imports(self) -> BTreeMap<String, Decimal> {
        let mut sums = BTreeMap::new();
        for kept in self.events {
            if let LedgerEvent::BankConnection(BankConnectionEvent::BankSynced(synced)) = &kept.event {
                sums.insert(synced.import_id.to_string(), Decimal::ZERO);
            }
        }
        for (_, event) in self.entries_of_day() {
            if let EntryEvent::BankTransactionBooked(booked) = event {
                // In the middle of the command that imports them, rows are booked and the import is not known yet.
                if let Some(sum) = sums.get_mut(&booked.import_id.to_string()) {
                    *sum += booked.amount.amount();
                }
            }
        }
        sums
    }

    /// Connection ids with the bank's balance at the end of the day: its opening one and the rows of imports that stand.
    pub fn banks(self) -> BTreeMap<String, Option<Decimal>> {
        let mut banks = BTreeMap::new();
        let mut of_import = BTreeMap::new();
        let mut undone = Vec::new();
        for kept in self.events {
            match &kept.event {
                LedgerEvent::BankConnection(BankConnectionEvent::BankConnected(connected)) => {
                    banks.insert(connected.connection_id.to_string(), None);
                }
                LedgerEvent::BankConnection(BankConnectionEvent::BankSynced(synced)) => {
                    of_import.insert(synced.import_id, synced.connection_id.to_string());
                    banks.insert(synced.connection_id.to_string(), synced.ledger.clone());
                }
                LedgerEvent::BankConnection(BankConnectionEvent::BankSyncUndone(gone)) => {
                    undone.push(gone.import_id);
                    banks.insert(gone.connection_id.to_string(), gone.ledger.clone());
                }
                _ => {}
            }
        }
        let rows_of = |connection: &str| {
            self.entries_of_day()
                .filter_map(|(_, event)| match event {
                    EntryEvent::BankTransactionBooked(booked) => Some(booked),
                    _ => None,
                })
                .filter(|booked| {
                    !undone.contains(&booked.import_id)
                        && of_import.get(&booked.import_id).is_some_and(|of| of == connection)
                })
                .map(|booked| booked.amount.amount())
                .sum::<Decimal>()
        };
        banks
            .into_iter()
            .map(|(id, ledger)| {
                let begun = ledger.filter(|ledger| ledger.first_on <= self.until);
                let balance = begun.map(|ledger| ledger.opening.amount() + rows_of(&id));
                (id, balance)
            })
            .collect()
    }
}

/// The weeks of a family that named no day to begin them with.
pub fn calendar(zone: &str) -> Calendar {
    Calendar {
        zone: zone.parse().unwrap(),
        ..Calendar::default()
    }
}
