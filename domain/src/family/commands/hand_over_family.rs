//! A parent offers their duties to a partner, who has to accept.

use chrono::Days;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    actor::Role,
    decide::{Context, Decide, Decision, Stop},
    family::{Family, FamilyRefusal, HandoverOffered},
    id::MemberId,
};

/// How many days the partner has to accept, after the day of the offer.
const DAYS: Days = Days::new(14);

/// A parent offers their duties to a partner. Nothing changes until the partner accepts, for which they have 14 days; a later
/// offer takes the place of this one, and `withdraw-handover` takes it back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HandOverFamily {
    /// The partner.
    pub to: MemberId,
}

impl Decide for HandOverFamily {
    const NAME: &'static str = "hand-over-family";
    const SUMMARY: &'static str = "Offer your duties as a parent to a partner, who has to accept";

    fn decide(&self, context: &Context<'_>) -> Result<Decision, Stop> {
        let to = context.family()?.member(self.to)?;
        if to.role != Role::Partner || to.user_id.is_none() {
            return Err(FamilyRefusal::NotAPartner.into());
        }
        let mut decision = Decision::default();
        let today = context.today()?;
        let offered = HandoverOffered {
            from: context.asking_member()?.member_id,
            to: self.to,
            until_on: today.checked_add_days(DAYS),
        };
        decision.record::<Family>(context.meta().family_id.uuid(), offered.into(), today);
        Ok(decision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Scenario, member_id};

    #[test]
    fn only_a_partner_who_has_joined_is_asked() {
        let to = |role| HandOverFamily { to: member_id(role) };
        let scenario = Scenario::family().with_member(Role::Teen);
        scenario.when(&to(Role::Teen)).refused("not-a-partner");
        scenario.when(&to(Role::Parent)).refused("not-a-partner");
        scenario
            .clone()
            .with_place(Role::Partner)
            .when(&to(Role::Partner))
            .refused("not-a-partner");
        assert_eq!(
            scenario
                .with_member(Role::Partner)
                .when(&to(Role::Partner))
                .accepted()
                .len(),
            1
        );
    }

    #[test]
    fn a_partner_hands_nothing_over() {
        let scenario = Scenario::family().with_member(Role::Partner).asked_by(Role::Partner);
        scenario
            .when(&HandOverFamily {
                to: member_id(Role::Parent),
            })
            .refused("role-not-allowed");
    }
}
