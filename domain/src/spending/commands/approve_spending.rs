//! An adult agrees to what a teen or child asked for, and it is booked in the same append.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    decide::{Context, Decide, Decision, Stop},
    entry::ExpenseAdded,
    id::{EntryId, MemberId, SpendingRequestId},
    journal::{Posting, post},
    ledger_account::{LedgerAccount, ShareLevel},
    spending::{Spending, SpendingApproved, SpendingRefusal, requests::decidable},
};

/// An adult agrees to what a teen or child asked for: exactly that is booked, for today, once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApproveSpending {
    /// Who asked.
    pub member_id: MemberId,
    /// What they asked for.
    pub request_id: SpendingRequestId,
}

impl Decide for ApproveSpending {
    const NAME: &'static str = "approve-spending";
    const SUMMARY: &'static str = "Agree to a request to spend, and book it";

    fn decide(&self, context: &Context<'_>) -> Result<Decision, Stop> {
        let request = decidable(context, self.member_id, self.request_id)?;
        let family = context.family()?;
        let member = family.consented(self.member_id)?;
        let account = context.get::<LedgerAccount>(request.account_id.uuid())?;
        if !member.role.is_young() || account.level_for(family, member) < ShareLevel::Full {
            return Err(SpendingRefusal::RequestMoot.into());
        }
        let day = context.today()?;
        let entry_id = EntryId::from_uuid(context.new_id(0));
        let mut decision = Decision::default();
        let approved = SpendingApproved {
            request_id: self.request_id,
            member_id: self.member_id,
            approved_by: context.asking_member()?.member_id,
            account_id: request.account_id,
            money: request.money,
            entry_id,
        };
        decision.record::<Spending>(self.member_id.uuid(), approved.into(), day);
        let added = ExpenseAdded {
            entry_id,
            effective_on: day,
            postings: vec![
                Posting::account(request.account_id, request.money.negated()),
                Posting::category(request.category_id, request.money),
            ],
            payee: request.payee.clone(),
            note: request.note.clone(),
            entered_by: Some(self.member_id),
        };
        post(context, &mut decision, entry_id, added, day)?;
        Ok(decision)
    }
}

#[cfg(test)]
#[path = "approve_spending_tests.rs"]
mod tests;
