//! A member leaves the family.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    actor::Role,
    decide::{Context, Decide, Decision, Stop},
    family::{Family, FamilyRefusal, MemberLeft},
};

/// A member leaves the family: their access ends at once, what they did and own stays in the books.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LeaveFamily {}

impl Decide for LeaveFamily {
    const NAME: &'static str = "leave-family";
    const SUMMARY: &'static str = "Leave the family; your access ends at once";

    fn decide(&self, context: &Context<'_>) -> Result<Decision, Stop> {
        let member = context.asking_member()?;
        if member.role == Role::Parent && context.family()?.parents_joined() < 2 {
            return Err(FamilyRefusal::LastParent.into());
        }
        let mut decision = Decision::default();
        let left = MemberLeft {
            member_id: member.member_id,
        };
        decision.record::<Family>(context.meta().family_id.uuid(), left.into(), context.today()?);
        Ok(decision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Scenario;

    #[test]
    fn whoever_has_left_is_a_stranger() {
        for role in [Role::Partner, Role::Auditor] {
            let scenario = Scenario::family().with_member(role).asked_by(role);
            scenario
                .after(&LeaveFamily {})
                .when(&LeaveFamily {})
                .refused("unknown-family");
        }
    }

    #[test]
    fn the_last_parent_stays() {
        Scenario::family().when(&LeaveFamily {}).refused("last-parent");
        // A place that nobody has taken is no parent.
        Scenario::family()
            .with_unjoined(Role::Parent)
            .when(&LeaveFamily {})
            .refused("last-parent");
        let two = Scenario::family().with_member(Role::Parent);
        assert_eq!(two.when(&LeaveFamily {}).accepted().len(), 1);
    }

    #[test]
    fn the_young_do_not_leave_by_themselves() {
        for role in [Role::Teen, Role::Child] {
            let scenario = Scenario::family().with_member(role).asked_by(role);
            scenario.when(&LeaveFamily {}).refused("role-not-allowed");
        }
    }
}
