//! A parent lifts a member's spending limit.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    decide::{Context, Decide, Decision, Stop},
    id::MemberId,
    spending::{EndedBecause, Spending, SpendingLimitRemoved, SpendingRefusal, requests::end_all},
};

/// A parent lifts a member's spending limit; what they have asked for they may spend by themselves now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveSpendingLimit {
    /// The teen or child.
    pub member_id: MemberId,
}

impl Decide for RemoveSpendingLimit {
    const NAME: &'static str = "remove-spending-limit";
    const SUMMARY: &'static str = "Lift a member's spending limit";

    fn decide(&self, context: &Context<'_>) -> Result<Decision, Stop> {
        context.family()?.consented(self.member_id)?;
        if context.get::<Spending>(self.member_id.uuid())?.limit().is_none() {
            return Err(SpendingRefusal::NoLimit.into());
        }
        let mut decision = Decision::default();
        let removed = SpendingLimitRemoved {
            member_id: self.member_id,
        };
        decision.record::<Spending>(self.member_id.uuid(), removed.into(), context.today()?);
        end_all(context, &mut decision, self.member_id, EndedBecause::LimitChanged)?;
        Ok(decision)
    }
}

#[cfg(test)]
mod tests {
    use super::super::SetSpendingLimit;
    use super::*;
    use crate::{
        actor::Role,
        testing::{Scenario, eur, member_id},
    };

    #[test]
    fn a_limit_is_lifted_once() {
        let member_id = member_id(Role::Child);
        let set = SetSpendingLimit {
            member_id,
            per_entry: Some(eur("5")),
            per_day: None,
            per_week: None,
            per_month: None,
        };
        let lift = RemoveSpendingLimit { member_id };
        let scenario = Scenario::family().with_member(Role::Child);
        scenario.when(&lift).refused("no-spending-limit");
        let scenario = scenario.after(&set).after(&lift);
        scenario.when(&lift).refused("no-spending-limit");
    }
}
