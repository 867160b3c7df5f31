//! What a teen or child may spend by themselves, what they have spent of it, and what they have asked for beyond it.
//!
//! One stream per member, whose id is the member's; every decision about their spending reads it, and it is kept like every
//! other stream of the family, so parallel spending is decided one after another and a limit is never passed (ADR 0002, ADR 0041).
//!
//! - **Limit** ([`SpendingLimit`], [`limit`]): at most so much an entry, a day, a week, a month, in one currency.
//! - **Counting** ([`measure`]): whatever a member with a limit enters themselves is counted on the day it is for, in the same
//!   append as the entry; undoing the entry gives it back.
//! - **Requests** ([`requests`]): what is beyond the limit is asked for; another person, an adult, books exactly that or declines.

pub mod commands;
mod events;
pub mod limit;
pub(crate) mod measure;
mod refusals;
pub(crate) mod requests;

use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use crate::{
    Currency, Money,
    id::{AccountId, EntryId, SpendingRequestId},
};

pub use events::*;
pub use limit::LimitPeriod;
pub use refusals::SpendingRefusal;

/// One member's limit, what was spent under it, and their requests; the stream's id is the member's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spending {
    limit: Option<SpendingLimit>,
    counted: BTreeMap<NaiveDate, BTreeMap<EntryId, Money>>,
    standing: BTreeMap<SpendingRequestId, SpendingRequested>,
    done: BTreeMap<SpendingRequestId, AccountId>,
}

impl Spending {
    pub(crate) fn fold(&mut self, event: SpendingEvent) {
        match event {
            SpendingEvent::SpendingLimitSet(set) => self.limit = Some(set.limit),
            SpendingEvent::SpendingLimitRemoved(_) => self.limit = None,
            SpendingEvent::SpendingCounted(counted) => {
                self.counted
                    .entry(counted.spent_on)
                    .or_default()
                    .insert(counted.entry_id, counted.money);
            }
            SpendingEvent::SpendingGivenBack(back) => {
                if let Some(day) = self.counted.get_mut(&back.spent_on) {
                    day.remove(&back.entry_id);
                    if day.is_empty() {
                        self.counted.remove(&back.spent_on);
                    }
                }
            }
            SpendingEvent::SpendingRequested(requested) => {
                self.standing.insert(requested.request_id, requested);
            }
            SpendingEvent::SpendingApproved(approved) => self.end(approved.request_id),
            SpendingEvent::SpendingDeclined(declined) => self.end(declined.request_id),
            SpendingEvent::SpendingRequestCancelled(cancelled) => self.end(cancelled.request_id),
            SpendingEvent::SpendingRequestEnded(ended) => self.end(ended.request_id),
        }
    }

    fn end(&mut self, request_id: SpendingRequestId) {
        if let Some(requested) = self.standing.remove(&request_id) {
            self.done.insert(request_id, requested.account_id);
        }
    }

    /// The limit in force.
    pub fn limit(&self) -> Option<&SpendingLimit> {
        self.limit.as_ref()
    }

    /// What an entry was counted with on a day, when it was and nothing was given back.
    pub fn counted_with(&self, day: NaiveDate, entry_id: EntryId) -> Option<Money> {
        self.counted.get(&day)?.get(&entry_id).copied()
    }

    /// What was counted in a currency from one day to another, both included.
    fn spent(&self, currency: Currency, first: NaiveDate, last: NaiveDate) -> Money {
        self.counted
            .range(first..=last)
            .flat_map(|(_, day)| day.values())
            .filter(|money| money.currency() == currency)
            // A sum that no decimal holds would take more entries than a ledger can have.
            .fold(Money::zero(currency), |sum, money| {
                sum.checked_add(money).unwrap_or(sum)
            })
    }

    /// Requests that nobody has decided or ended, those whose time is over among them.
    pub fn standing(&self) -> impl Iterator<Item = &SpendingRequested> {
        self.standing.values()
    }

    /// One of them.
    pub fn standing_request(&self, request_id: SpendingRequestId) -> Option<&SpendingRequested> {
        self.standing.get(&request_id)
    }

    /// The account that a request of this member is or was about.
    pub fn account_of_request(&self, request_id: SpendingRequestId) -> Option<AccountId> {
        let standing = self.standing.get(&request_id).map(|request| request.account_id);
        standing.or_else(|| self.done.get(&request_id).copied())
    }
}
