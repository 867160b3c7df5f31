//! Balances: one sum per posting account and currency, debit positive.

use std::collections::BTreeMap;

use crate::{
    Currency, Money, MoneyError,
    journal::{Posting, PostingAccount},
};

/// Sums of postings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Balances {
    sums: BTreeMap<(PostingAccount, Currency), Money>,
}

impl Balances {
    /// Adds a posting.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`] when the sum cannot be held.
    pub fn add(&mut self, posting: &Posting) -> Result<(), MoneyError> {
        let currency = posting.money.currency();
        let sum = self
            .sums
            .entry((posting.ledger_account, currency))
            .or_insert_with(|| Money::zero(currency));
        *sum = sum.checked_add(&posting.money)?;
        Ok(())
    }

    /// Every account and currency that was ever posted to, in a stable order; zero sums included.
    pub fn iter(&self) -> impl Iterator<Item = (PostingAccount, Money)> + '_ {
        self.sums
            .iter()
            .map(|((ledger_account, _), sum)| (*ledger_account, *sum))
    }

    /// The balance of one account in one currency; nothing when it was never posted to.
    pub fn of(&self, ledger_account: PostingAccount, currency: Currency) -> Money {
        self.sums
            .get(&(ledger_account, currency))
            .copied()
            .unwrap_or_else(|| Money::zero(currency))
    }

    /// The trial balance: per currency the sum over all accounts. Double entry makes each of them zero.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`] when a sum cannot be held.
    pub fn trial(&self) -> Result<Vec<Money>, MoneyError> {
        let mut totals: BTreeMap<Currency, Money> = BTreeMap::new();
        for ((_, currency), sum) in &self.sums {
            let total = totals.entry(*currency).or_insert_with(|| Money::zero(*currency));
            *total = total.checked_add(sum)?;
        }
        Ok(totals.into_values().collect())
    }
}
