//! A teen or child asks to spend more than they may by themselves.

use chrono::{Days, NaiveDate};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Money,
    category::{Category, CategoryKind, CategoryRefusal},
    decide::{Context, Decide, Decision, Stop},
    entry::EntryRefusal,
    id::{AccountId, CategoryId, SpendingRequestId},
    journal::usable_account,
    ledger_account::LedgerAccountRefusal,
    spending::{
        EndedBecause, Spending, SpendingRefusal, SpendingRequested,
        requests::{STANDING_MAX, UNTIL_DAYS_MAX, end_some, is_over},
    },
    text,
};

/// A teen or child asks to spend more than they may by themselves. What is asked for is never changed: cancel it and ask anew.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestSpending {
    /// The account it would be paid from; one that is shared with the asking member in full, as their own wallet is.
    pub account_id: AccountId,
    /// How much exactly, positive, in the account's currency.
    pub money: Money,
    /// What it would be for: a category of expenses.
    pub category_id: CategoryId,
    /// Who would be paid.
    #[serde(default)]
    #[schemars(length(max = 500))]
    pub payee: String,
    /// A free note.
    #[serde(default)]
    #[schemars(length(max = 500))]
    pub note: String,
    /// The last day on which it may be approved, in the family's calendar: today or up to seven days later; the last of these
    /// when absent.
    #[serde(default)]
    pub until_on: Option<NaiveDate>,
}

impl Decide for RequestSpending {
    const NAME: &'static str = "request-spending";
    const SUMMARY: &'static str = "Ask an adult to approve spending beyond your limit";

    fn decide(&self, context: &Context<'_>) -> Result<Decision, Stop> {
        let member_id = context.asking_member()?.member_id;
        let (_, currency) = usable_account(context, self.account_id)?;
        if self.money.currency() != currency {
            return Err(LedgerAccountRefusal::OtherCurrency {
                account: currency,
                given: self.money.currency(),
            }
            .into());
        }
        if !self.money.is_positive() {
            return Err(EntryRefusal::NotPositive.into());
        }
        let kind = CategoryKind::Expense;
        if context.get::<Category>(self.category_id.uuid())?.kind()? != kind {
            return Err(CategoryRefusal::WrongKind { wanted: kind.as_str() }.into());
        }
        let (spending, today) = (context.get::<Spending>(member_id.uuid())?, context.today()?);
        let calendar = context.family()?.calendar();
        let is_beyond = |limit| spending.check(limit, calendar, today, &self.money).is_err();
        if !spending.limit().is_some_and(is_beyond) {
            return Err(SpendingRefusal::ApprovalNotNeeded.into());
        }
        let last = today.checked_add_days(Days::new(UNTIL_DAYS_MAX)).unwrap_or(today);
        let until_on = self.until_on.unwrap_or(last);
        if !(today..=last).contains(&until_on) {
            return Err(SpendingRefusal::UntilOutOfRange { days: UNTIL_DAYS_MAX }.into());
        }
        let mut decision = Decision::default();
        let is_pointless = |request: &SpendingRequested| is_over(context, request);
        end_some(context, &mut decision, member_id, EndedBecause::TimeOver, is_pointless)?;
        if spending.standing().count() - decision.events.len() >= STANDING_MAX {
            return Err(SpendingRefusal::RequestsMax { max: STANDING_MAX }.into());
        }
        let requested = SpendingRequested {
            request_id: SpendingRequestId::from_uuid(context.new_id(0)),
            member_id,
            account_id: self.account_id,
            money: self.money,
            category_id: self.category_id,
            payee: text::note("payee", &self.payee)?,
            note: text::note("note", &self.note)?,
            until_on,
        };
        decision.record::<Spending>(member_id.uuid(), requested.into(), today);
        Ok(decision)
    }
}
