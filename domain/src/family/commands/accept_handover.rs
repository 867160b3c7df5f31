//! A partner accepts the duties that a parent offered them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    actor::Role,
    decide::{Context, Decide, Decision, Stop},
    family::{Family, FamilyHandedOver, FamilyRefusal, MemberRoleChanged},
};

/// A partner accepts the duties that a parent offered them: the partner is a parent from now on, and the parent a partner, who
/// may leave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AcceptHandover {}

impl Decide for AcceptHandover {
    const NAME: &'static str = "accept-handover";
    const SUMMARY: &'static str = "Accept the duties that a parent offered you";

    fn decide(&self, context: &Context<'_>) -> Result<Decision, Stop> {
        let asking = context.asking_member()?.member_id;
        let (family_id, today) = (context.meta().family_id.uuid(), context.today()?);
        let offered = context.family()?.handover(today).filter(|offered| offered.to == asking);
        let offered = offered.ok_or(FamilyRefusal::NothingOffered)?;
        let mut decision = Decision::default();
        let handed_over = FamilyHandedOver {
            from: offered.from,
            to: offered.to,
        };
        decision.record::<Family>(family_id, handed_over.into(), today);
        let change = |member_id, from, to| MemberRoleChanged { member_id, from, to };
        let up = change(offered.to, Role::Partner, Role::Parent);
        let down = change(offered.from, Role::Parent, Role::Partner);
        decision.record::<Family>(family_id, up.into(), today);
        decision.record::<Family>(family_id, down.into(), today);
        Ok(decision)
    }
}

#[cfg(test)]
mod tests {
    use chrono::{TimeDelta, TimeZone, Utc};

    use super::*;
    use crate::{
        family::commands::{ChangeRole, HandOverFamily, LeaveFamily},
        testing::{Scenario, member_id},
    };

    fn offered() -> Scenario {
        Scenario::family().with_member(Role::Partner).after(&HandOverFamily {
            to: member_id(Role::Partner),
        })
    }

    #[test]
    fn once_it_is_accepted_the_last_parent_may_leave() {
        offered().when(&LeaveFamily {}).refused("last-parent");
        let scenario = offered().asked_by(Role::Partner).after(&AcceptHandover {});
        scenario.when(&AcceptHandover {}).refused("role-not-allowed");
        let scenario = scenario.asked_by(Role::Parent).after(&LeaveFamily {});
        scenario
            .asked_by(Role::Partner)
            .when(&LeaveFamily {})
            .refused("last-parent");
    }

    #[test]
    fn who_was_not_asked_accepts_nothing() {
        let scenario = Scenario::family().with_member(Role::Partner).asked_by(Role::Partner);
        scenario.when(&AcceptHandover {}).refused("nothing-offered");
    }

    #[test]
    fn an_offer_is_open_for_fourteen_days() {
        let noon = Utc.with_ymd_and_hms(2026, 11, 21, 12, 0, 0).unwrap();
        let days = |days| offered().asked_by(Role::Partner).at(noon + TimeDelta::days(days));
        assert_eq!(days(14).when(&AcceptHandover {}).accepted().len(), 3);
        days(15).when(&AcceptHandover {}).refused("nothing-offered");
    }

    #[test]
    fn an_offer_ends_with_the_place_of_who_made_it() {
        let demote = ChangeRole {
            member_id: member_id(Role::Parent),
            role: Role::Partner,
        };
        let scenario = offered().with_member(Role::Parent).asked_by_the_newest().after(&demote);
        scenario
            .asked_by(Role::Partner)
            .when(&AcceptHandover {})
            .refused("nothing-offered");
    }

    #[test]
    fn an_offer_does_not_come_back_with_the_role() {
        let become_ = |role| ChangeRole {
            member_id: member_id(Role::Partner),
            role,
        };
        let scenario = offered().after(&become_(Role::Auditor)).after(&become_(Role::Partner));
        scenario
            .asked_by(Role::Partner)
            .when(&AcceptHandover {})
            .refused("nothing-offered");
    }
}
