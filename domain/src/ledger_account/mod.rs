//! A ledger account of the family's own: a bank account, cash, a card, or a child's wallet.
//!
//! Its stream stays short for everything but wallets: balances of bank, cash and card accounts are read from the entries, so
//! the cost of an expense does not grow with the account's history. A wallet must never go below zero, so its stream carries
//! the balance, and every entry that moves it appends there too.

pub mod commands;
mod events;
mod refusals;
mod sharing;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    Currency, Money,
    id::{AccountId, MemberId},
};

pub use events::*;
pub use refusals::LedgerAccountRefusal;
pub use sharing::{Held, ShareLevel, enough, hidden_from, shared_account};

/// A ledger account's state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LedgerAccount {
    opened: Option<AccountOpened>,
    is_closed: bool,
    wallet_balance: Option<Money>,
    #[serde(default)]
    shares: BTreeMap<MemberId, ShareLevel>,
    /// Of whom the owner said last that they see nothing of it.
    #[serde(default)]
    hidden_by_owner_from: BTreeSet<MemberId>,
}

impl LedgerAccount {
    pub(crate) fn fold(&mut self, event: LedgerAccountEvent) {
        match event {
            LedgerAccountEvent::AccountOpened(opened) => self.opened = Some(opened),
            LedgerAccountEvent::AccountClosed(_) => self.is_closed = true,
            LedgerAccountEvent::AccountShared(shared) => {
                let is_owners_word = shared.by.is_none() || shared.by == self.owner();
                if is_owners_word && shared.level == ShareLevel::None {
                    self.hidden_by_owner_from.insert(shared.member_id);
                } else {
                    self.hidden_by_owner_from.remove(&shared.member_id);
                }
                self.shares.insert(shared.member_id, shared.level);
            }
            LedgerAccountEvent::WalletBalanceChanged(changed) => self.wallet_balance = Some(changed.balance),
        }
    }

    /// Has it been opened?
    pub fn exists(&self) -> bool {
        self.opened.is_some()
    }

    /// The level that was last said of a member; see [`Held`] for what it counts.
    pub fn said_of(&self, member_id: MemberId) -> Option<ShareLevel> {
        self.shares.get(&member_id).copied()
    }

    /// Did its owner last say of anybody that they see nothing of it?
    pub fn is_hidden_by_its_owner(&self) -> bool {
        !self.hidden_by_owner_from.is_empty()
    }

    /// What sort of account, once opened.
    pub fn kind(&self) -> Option<AccountKind> {
        self.opened.as_ref().map(|opened| opened.kind)
    }

    /// The member whose own it is.
    pub fn owner(&self) -> Option<MemberId> {
        self.opened.as_ref().and_then(|opened| opened.owner)
    }

    /// Its currency, when it is open.
    ///
    /// # Errors
    /// [`LedgerAccountRefusal::UnknownAccount`] or [`LedgerAccountRefusal::AccountClosed`].
    pub fn open_currency(&self, account_id: AccountId) -> Result<Currency, LedgerAccountRefusal> {
        let opened = self.opened.as_ref().ok_or(LedgerAccountRefusal::UnknownAccount)?;
        if self.is_closed {
            Err(LedgerAccountRefusal::AccountClosed { account_id })
        } else {
            Ok(opened.currency)
        }
    }

    /// What was said to be in it when it was opened.
    pub fn opening_balance(&self, currency: Currency) -> Money {
        self.opened
            .as_ref()
            .and_then(|opened| opened.opening_balance)
            .unwrap_or_else(|| Money::zero(currency))
    }

    /// What is in the wallet; nothing for other kinds of account.
    pub fn wallet_balance(&self, currency: Currency) -> Money {
        self.wallet_balance.unwrap_or_else(|| Money::zero(currency))
    }
}
