//! The holder of an invitation takes their place. Not in the public list: only a checked invitation leads here.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    access::{self, Row},
    decide::{Context, Decide, Decision, Stop},
    family::{Family, FamilyRefusal, MemberJoined},
    id::MemberId,
};

/// The holder of an invitation takes their place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JoinFamily {
    /// The place the invitation is for.
    pub member_id: MemberId,
}

impl Decide for JoinFamily {
    const NAME: &'static str = "join-family";
    const SUMMARY: &'static str = "Take the place an invitation is for";
    const ACCESS: &'static Row = access::JOIN;
    // The person is no member yet, so membership is not asked for; the invitation stands in its place.
    const FOR_STRANGERS: bool = true;

    fn decide(&self, context: &Context<'_>) -> Result<Decision, Stop> {
        let family = context.family()?;
        family.consented(self.member_id)?;
        match family.place_of_user(context.meta().user_id) {
            None => {}
            Some(held) if held.is_in(context.at()) => return Err(FamilyRefusal::AlreadyMember.into()),
            Some(_) => return Err(FamilyRefusal::AuditOver.into()),
        }
        family.open_place(self.member_id, context.at())?;
        let mut decision = Decision::default();
        let joined = MemberJoined {
            member_id: self.member_id,
            user_id: context.meta().user_id,
        };
        decision.record::<Family>(context.meta().family_id.uuid(), joined.into(), context.today()?);
        Ok(decision)
    }
}

#[cfg(test)]
mod tests {
    use chrono::{Days, TimeDelta};

    use super::*;
    use crate::{
        actor::Role,
        family::commands::SetAuditTerm,
        testing::{Scenario, member_id, today},
    };

    #[test]
    fn a_place_is_taken_once() {
        let command = JoinFamily {
            member_id: member_id(Role::Teen),
        };
        let scenario = Scenario::family().with_place(Role::Teen).asked_by_stranger();
        let events = scenario.when(&command).accepted();
        scenario
            .given(events)
            .asked_by_another_stranger()
            .when(&command)
            .refused("already-joined");
    }

    #[test]
    fn an_auditors_place_is_taken_within_its_term_and_again_when_a_parent_says_another() {
        let scenario = Scenario::family().with_place(Role::Auditor);
        let until = |days: u64| SetAuditTerm {
            member_id: member_id(Role::Auditor),
            until_on: today() + Days::new(days),
        };
        let command = JoinFamily {
            member_id: member_id(Role::Auditor),
        };
        let scenario = scenario.after(&until(1));
        let later = scenario.now() + TimeDelta::days(3);
        let over = scenario.clone().at(later);
        over.clone().asked_by_stranger().when(&command).refused("audit-over");
        assert_eq!(scenario.asked_by_stranger().when(&command).accepted().len(), 1);
        let said_again = over.after(&until(10)).asked_by_stranger();
        assert_eq!(said_again.when(&command).accepted().len(), 1);
    }

    #[test]
    fn whose_term_as_an_auditor_is_over_takes_no_second_place_and_is_told_why() {
        let scenario = Scenario::family().with_member(Role::Auditor).with_place(Role::Teen);
        let until = SetAuditTerm {
            member_id: member_id(Role::Auditor),
            until_on: today(),
        };
        let scenario = scenario.after(&until);
        let over = scenario.clone().at(scenario.now() + TimeDelta::days(2));
        let command = JoinFamily {
            member_id: member_id(Role::Teen),
        };
        scenario
            .asked_by(Role::Auditor)
            .when(&command)
            .refused("already-member");
        over.asked_by(Role::Auditor).when(&command).refused("audit-over");
    }

    #[test]
    fn a_member_takes_no_second_place() {
        let scenario = Scenario::family().with_place(Role::Teen);
        scenario
            .when(&JoinFamily {
                member_id: member_id(Role::Teen),
            })
            .refused("already-member");
    }
}
