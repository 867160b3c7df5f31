//! A parent ends another member's place in the family.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    decide::{Context, Decide, Decision, Stop},
    family::{Family, FamilyRefusal, MemberRemoved},
    id::MemberId,
    spending::{EndedBecause, requests::end_all},
};

/// A parent ends another member's place in the family: access ends at once, what they did and own stays in the books.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveMember {
    /// The other member.
    pub member_id: MemberId,
}

impl Decide for RemoveMember {
    const NAME: &'static str = "remove-member";
    const SUMMARY: &'static str = "End a member's place in the family; their access ends at once";

    fn decide(&self, context: &Context<'_>) -> Result<Decision, Stop> {
        let member = context.family()?.member(self.member_id)?;
        // Nobody removes themselves, so the parent who asks remains: a family is never without.
        if context.asking_member()?.member_id == member.member_id {
            return Err(FamilyRefusal::OwnPlace.into());
        }
        let mut decision = Decision::default();
        let today = context.today()?;
        let removed = MemberRemoved {
            member_id: self.member_id,
            removed_on: Some(today),
        };
        decision.record::<Family>(context.meta().family_id.uuid(), removed.into(), today);
        end_all(context, &mut decision, self.member_id, EndedBecause::MemberGone)?;
        Ok(decision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        actor::Role,
        family::commands::{AddMember, ChangeRole, JoinFamily, LeaveFamily},
        ledger_account::{AccountKind, commands::OpenAccount},
        testing::{Scenario, currency, member_id},
    };

    fn remove(role: Role) -> RemoveMember {
        RemoveMember {
            member_id: member_id(role),
        }
    }

    #[test]
    fn a_removed_member_is_a_stranger_and_their_place_is_over() {
        let scenario = Scenario::family()
            .with_member(Role::Partner)
            .after(&remove(Role::Partner));
        scenario.when(&remove(Role::Partner)).refused("member-gone");
        let promote = ChangeRole {
            member_id: member_id(Role::Partner),
            role: Role::Parent,
        };
        scenario.when(&promote).refused("member-gone");
        let wallet = OpenAccount {
            name: "Pocket".to_owned(),
            kind: AccountKind::Wallet,
            owner: Some(member_id(Role::Partner)),
            currency: Some(currency("EUR")),
            opening_balance: None,
            effective_on: None,
        };
        scenario.when(&wallet).refused("member-gone");
        scenario
            .asked_by(Role::Partner)
            .when(&LeaveFamily {})
            .refused("unknown-family");
    }

    #[test]
    fn an_invitation_to_a_removed_place_opens_nothing_and_another_place_may_be_taken() {
        let join = JoinFamily {
            member_id: member_id(Role::Teen),
        };
        let scenario = Scenario::family().with_place(Role::Teen).after(&remove(Role::Teen));
        scenario.clone().asked_by_stranger().when(&join).refused("member-gone");

        let scenario = Scenario::family()
            .with_member(Role::Partner)
            .after(&remove(Role::Partner));
        let again = AddMember {
            display_name: "Again".to_owned(),
            role: Role::Partner,
            on_leaderboard: false,
            until_on: None,
            age_band: None,
            consent: None,
        };
        let events = scenario.when(&again).accepted();
        let join = JoinFamily {
            member_id: scenario.added(&events),
        };
        let back = scenario.given(events).asked_by(Role::Partner);
        assert_eq!(back.when(&join).accepted().len(), 1);
    }

    #[test]
    fn a_parent_removes_others_and_leaves_themselves() {
        Scenario::family().when(&remove(Role::Parent)).refused("own-place");
        let scenario = Scenario::family().with_member(Role::Partner);
        scenario
            .asked_by(Role::Partner)
            .when(&remove(Role::Parent))
            .refused("role-not-allowed");
    }

    #[test]
    fn nobody_unknown_is_removed() {
        Scenario::family().when(&remove(Role::Child)).refused("unknown-member");
    }
}
