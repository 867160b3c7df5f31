//! What was written of a member is forgotten for good.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    actor::Role,
    decide::{Context, Decide, Decision, Stop},
    family::{Family, FamilyRefusal, MemberErased},
    id::MemberId,
    spending::{EndedBecause, requests::end_all},
};

/// What was written of a member, and what they wrote, is forgotten for good, here and in every copy of the log; amounts stay in the
/// books. Their place ends at once, if it had not. Adults ask for themselves. A parent asks for the young, for auditors, for places that
/// nobody took, and for adults who left, or were removed thirty days ago.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EraseMember {
    /// The member; they may have left before.
    pub member_id: MemberId,
}

impl Decide for EraseMember {
    const NAME: &'static str = "erase-member";
    const SUMMARY: &'static str =
        "Forget a member for good: their texts can never be read again, their access ends, the sums stay";

    fn decide(&self, context: &Context<'_>) -> Result<Decision, Stop> {
        let (family, asking) = (context.family()?, context.asking_member()?);
        if asking.role != Role::Parent && asking.member_id != self.member_id {
            return Err(FamilyRefusal::RoleNotAllowed {
                role: asking.role.as_str(),
                command: Self::NAME,
            }
            .into());
        }
        let (member, today) = (family.not_erased(self.member_id)?, context.today()?);
        if asking.member_id != member.member_id && member.alone_may_erase(today) {
            return Err(FamilyRefusal::OwnToErase.into());
        }
        let is_parent = member.role == Role::Parent && member.user_id.is_some() && !member.has_left;
        if is_parent && family.parents_joined() < 2 {
            return Err(FamilyRefusal::LastParent.into());
        }
        let mut decision = Decision::default();
        end_all(context, &mut decision, self.member_id, EndedBecause::MemberGone)?;
        let erased = MemberErased {
            member_id: self.member_id,
        };
        decision.record::<Family>(context.meta().family_id.uuid(), erased.into(), today);
        Ok(decision)
    }
}

#[cfg(test)]
mod tests {
    use chrono::Duration;

    use super::*;
    use crate::{
        family::commands::{ChangeRole, LeaveFamily, RemoveMember},
        testing::{Scenario, member_id},
    };

    fn erase(role: Role) -> EraseMember {
        EraseMember {
            member_id: member_id(role),
        }
    }

    #[test]
    fn an_erased_member_is_a_stranger_and_is_erased_once() {
        let scenario = Scenario::family().with_member(Role::Partner).asked_by(Role::Partner);
        assert_eq!(scenario.when(&erase(Role::Partner)).accepted().len(), 1);
        let after = scenario.after(&erase(Role::Partner)).asked_by(Role::Parent);
        after.when(&erase(Role::Partner)).refused("already-erased");
        let remove = RemoveMember {
            member_id: member_id(Role::Partner),
        };
        after.when(&remove).refused("member-gone");
        after
            .asked_by(Role::Partner)
            .when(&LeaveFamily {})
            .refused("unknown-family");
    }

    #[test]
    fn who_was_removed_before_may_still_be_erased() {
        let remove = RemoveMember {
            member_id: member_id(Role::Teen),
        };
        let scenario = Scenario::family().with_member(Role::Teen).after(&remove);
        assert_eq!(scenario.when(&erase(Role::Teen)).accepted().len(), 1);
    }

    #[test]
    fn adults_ask_for_themselves_and_a_parent_for_the_young_and_for_guests() {
        for role in [Role::Partner, Role::Auditor] {
            let scenario = Scenario::family().with_member(role).with_member(Role::Child);
            let own = scenario.clone().asked_by(role);
            assert_eq!(own.when(&erase(role)).accepted().len(), 1);
            own.when(&erase(Role::Child)).refused("role-not-allowed");
            assert_eq!(scenario.when(&erase(Role::Child)).accepted().len(), 1);
        }
        for role in [Role::Auditor, Role::Teen] {
            let scenario = Scenario::family().with_member(role);
            assert_eq!(scenario.when(&erase(role)).accepted().len(), 1);
        }
        for role in [Role::Teen, Role::Child] {
            let scenario = Scenario::family().with_member(role).asked_by(role);
            scenario.when(&erase(role)).refused("role-not-allowed");
        }
        Scenario::family().when(&erase(Role::Child)).refused("unknown-member");
    }

    #[test]
    fn no_parent_erases_another_adult_nor_in_two_steps() {
        for role in [Role::Parent, Role::Partner] {
            let scenario = Scenario::family().with_member(role);
            let other = scenario.newest();
            let (erase, remove) = (EraseMember { member_id: other }, RemoveMember { member_id: other });
            scenario.when(&erase).refused("own-to-erase");
            let removed = scenario.clone().after(&remove);
            removed.when(&erase).refused("own-to-erase");
            // The thirtieth day is the first on which it is nobody's alone.
            let on = |days: i64| removed.clone().at(removed.now() + Duration::days(days));
            on(29).when(&erase).refused("own-to-erase");
            assert_eq!(on(30).when(&erase).accepted().len(), 1);
            // Nor by making them a guest first.
            let guest = ChangeRole {
                member_id: other,
                role: Role::Auditor,
            };
            scenario.clone().after(&guest).when(&erase).refused("own-to-erase");
            // Who left by themself could have asked.
            let left = scenario
                .asked_by_the_newest()
                .after(&LeaveFamily {})
                .asked_by(Role::Parent);
            assert_eq!(left.when(&erase).accepted().len(), 1);
        }
    }

    #[test]
    fn a_place_that_no_adult_took_is_nobodys_alone() {
        let scenario = Scenario::family().with_place(Role::Partner);
        assert_eq!(scenario.when(&erase(Role::Partner)).accepted().len(), 1);
    }

    #[test]
    fn the_last_parent_stays() {
        let scenario = Scenario::family().with_member(Role::Partner);
        scenario.when(&erase(Role::Parent)).refused("last-parent");
        let two = Scenario::family().with_member(Role::Parent);
        assert_eq!(two.when(&erase(Role::Parent)).accepted().len(), 1);
    }
}
