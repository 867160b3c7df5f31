//! Double entry: every money event is a balanced whole of postings.
//!
//! Signs are those of a bookkeeper's debit column: positive is a debit, negative a credit. For the family's own accounts that
//! reads as money in (positive) and money out (negative); an expense category grows positive, an income category negative.
//! Postings of one entry sum to zero in every currency; [`post`] is the only way an entry gets into a decision, so an
//! unbalanced entry, a posting to a closed account or a wallet below zero cannot be recorded.

use std::collections::BTreeMap;

use chrono::NaiveDate;

use crate::{
    Currency, Money,
    aggregate::LedgerEvent,
    decide::{Context, Decision, Stop},
    entry::{Entry, EntryEvent},
    id::{AccountId, EntryId},
    ledger_account::{
        AccountKind, LedgerAccount, LedgerAccountRefusal, ShareLevel, WalletBalanceChanged, shared_account,
    },
    spending::measure::measure,
};

pub use crate::posting::{Equity, Posting, PostingAccount};

/// The postings with every sign turned.
pub fn reversed(postings: &[Posting]) -> Vec<Posting> {
    postings
        .iter()
        .map(|p| Posting {
            ledger_account: p.ledger_account,
            money: p.money.negated(),
        })
        .collect()
}

/// Do the postings sum to zero in every currency?
pub fn is_balanced(postings: &[Posting]) -> bool {
    let mut sums: BTreeMap<Currency, Money> = BTreeMap::new();
    for posting in postings {
        let sum = sums
            .entry(posting.money.currency())
            .or_insert_with(|| Money::zero(posting.money.currency()));
        match sum.checked_add(&posting.money) {
            Ok(next) => *sum = next,
            Err(_) => return false,
        }
    }
    sums.values().all(Money::is_zero)
}

/// Several entries about to be recorded by one command, with the wallets they move.
#[derive(Default)]
pub struct Poster {
    wallets: BTreeMap<AccountId, Money>,
}

impl Poster {
    /// Records an entry's event, and beside it one `WalletBalanceChanged` per wallet it moves, and what it uses up of a limit or
    /// gives back to it.
    ///
    /// # Errors
    /// A refusal when a posting names an unknown or closed account or another currency, when the entry is not balanced, or
    /// when it would take a wallet below zero or its member beyond their limit; [`Stop::Load`] as usual.
    pub fn post(
        &mut self,
        context: &Context<'_>,
        decision: &mut Decision,
        entry_id: EntryId,
        event: impl Into<EntryEvent>,
        effective_on: NaiveDate,
    ) -> Result<(), Stop> {
        let event = event.into();
        let postings = event.postings().to_vec();
        if !is_balanced(&postings) {
            return Err(LedgerAccountRefusal::NotBalanced.into());
        }
        decision.record::<Entry>(entry_id.uuid(), event.clone(), effective_on);
        for posting in &postings {
            let PostingAccount::Account(account_id) = posting.ledger_account else {
                continue;
            };
            let account = context.get::<LedgerAccount>(account_id.uuid())?;
            let currency = account.open_currency(account_id)?;
            if let Some(owner) = account.owner() {
                context.family()?.check_consent(owner)?;
            }
            if posting.money.currency() != currency {
                return Err(LedgerAccountRefusal::OtherCurrency {
                    account: currency,
                    given: posting.money.currency(),
                }
                .into());
            }
            if account.kind() == Some(AccountKind::Wallet) {
                let before = self
                    .wallets
                    .get(&account_id)
                    .copied()
                    .unwrap_or_else(|| account.wallet_balance(currency));
                let after = before
                    .checked_add(&posting.money)
                    .map_err(|_| LedgerAccountRefusal::NotBalanced)?;
                if after.is_negative() && posting.money.is_negative() {
                    return Err(LedgerAccountRefusal::WalletTooLow { balance: before }.into());
                }
                self.wallets.insert(account_id, after);
                let changed = WalletBalanceChanged {
                    account_id,
                    entry_id,
                    change: posting.money,
                    balance: after,
                };
                decision.record::<LedgerAccount>(account_id.uuid(), changed.into(), effective_on);
            }
        }
        measure(context, decision, entry_id, &event, effective_on)
    }
}

/// Records one entry; see [`Poster::post`].
///
/// # Errors
/// As [`Poster::post`].
pub fn post(
    context: &Context<'_>,
    decision: &mut Decision,
    entry_id: EntryId,
    event: impl Into<EntryEvent>,
    effective_on: NaiveDate,
) -> Result<(), Stop> {
    Poster::default().post(context, decision, entry_id, event, effective_on)
}

/// An account whose money the person who asks may move.
///
/// # Errors
/// A refusal when it is unknown, closed, hidden from them (which reads as unknown) or shared with them as less than full; [`Stop::Load`] as usual.
pub fn usable_account<'a>(context: &Context<'a>, account_id: AccountId) -> Result<(&'a LedgerAccount, Currency), Stop> {
    let account = shared_account(context, account_id, ShareLevel::Full)?;
    let currency = account.open_currency(account_id)?;
    Ok((account, currency))
}

/// Postings of an event of any aggregate; empty when it moves no money.
pub fn postings_of(event: &LedgerEvent) -> &[Posting] {
    match event {
        LedgerEvent::Entry(event) => event.postings(),
        _ => &[],
    }
}
