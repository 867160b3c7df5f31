//! A parent changes what another member may do.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    actor::Role,
    decide::{Context, Decide, Decision, Stop},
    family::{Family, FamilyRefusal, MemberRoleChanged},
    id::MemberId,
    spending::{EndedBecause, requests::end_all},
};

/// A parent changes what another member may do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeRole {
    /// The other member.
    pub member_id: MemberId,
    /// The role from now on.
    pub role: Role,
}

impl Decide for ChangeRole {
    const NAME: &'static str = "change-role";
    const SUMMARY: &'static str = "Change what another member may do";

    fn decide(&self, context: &Context<'_>) -> Result<Decision, Stop> {
        let family = context.family()?;
        let member = family.member(self.member_id)?;
        // Nobody changes their own role, so the parent who asks remains one: a family is never without.
        if context.asking_member()?.member_id == self.member_id {
            return Err(FamilyRefusal::OwnRole.into());
        }
        if member.role == self.role {
            return Err(FamilyRefusal::SameRole.into());
        }
        let mut decision = Decision::default();
        let changed = MemberRoleChanged {
            member_id: self.member_id,
            from: member.role,
            to: self.role,
        };
        decision.record::<Family>(context.meta().family_id.uuid(), changed.into(), context.today()?);
        if !self.role.is_young() {
            end_all(context, &mut decision, self.member_id, EndedBecause::RoleChanged)?;
        }
        Ok(decision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Scenario, member_id};

    #[test]
    fn a_teen_grows_up() {
        let scenario = Scenario::family().with_member(Role::Teen);
        let events = scenario
            .when(&ChangeRole {
                member_id: member_id(Role::Teen),
                role: Role::Partner,
            })
            .accepted();
        assert_eq!(events.len(), 1);
    }

    #[test]
    fn nobody_changes_their_own_role() {
        Scenario::family()
            .when(&ChangeRole {
                member_id: member_id(Role::Parent),
                role: Role::Child,
            })
            .refused("own-role");
    }

    #[test]
    fn the_same_role_is_refused() {
        let scenario = Scenario::family().with_member(Role::Teen);
        scenario
            .when(&ChangeRole {
                member_id: member_id(Role::Teen),
                role: Role::Teen,
            })
            .refused("same-role");
    }

    #[test]
    fn a_partner_changes_no_roles() {
        let scenario = Scenario::family()
            .with_member(Role::Teen)
            .with_member(Role::Partner)
            .asked_by(Role::Partner);
        scenario
            .when(&ChangeRole {
                member_id: member_id(Role::Teen),
                role: Role::Parent,
            })
            .refused("role-not-allowed");
    }

    #[test]
    fn an_unknown_member_is_refused() {
        Scenario::family()
            .when(&ChangeRole {
                member_id: member_id(Role::Child),
                role: Role::Teen,
            })
            .refused("unknown-member");
    }
}
