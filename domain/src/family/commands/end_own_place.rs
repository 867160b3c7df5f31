//! Whoever closes their account ends their place. Not in the public list: only a closing leads here.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    access::{self, Row},
    actor::Role,
    decide::{Context, Decide, Decision, Stop},
    family::{Family, FamilyRefusal, MemberErased, MemberLeft},
    spending::{EndedBecause, requests::end_all},
};

/// Somebody's place in the family ends with their account. An auditor's does also when its term is over, which lets them use nothing
/// else any more: what they wrote is theirs to take along.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EndOwnPlace {
    /// Is what they wrote forgotten, too, as by `erase-member`? Otherwise it stays, as by `leave-family`.
    pub erase: bool,
}

impl Decide for EndOwnPlace {
    const NAME: &'static str = "end-own-place";
    const SUMMARY: &'static str = "End the place of somebody who closes their account";
    const ACCESS: &'static Row = access::CLOSING;
    // To whom the term is over the family reads as unknown, so membership is not asked for; the place stands in its stead.
    const FOR_STRANGERS: bool = true;

    fn decide(&self, context: &Context<'_>) -> Result<Decision, Stop> {
        let (family_id, family) = (context.meta().family_id, context.family()?);
        let place = family
            .place_of_user(context.meta().user_id)
            .ok_or(FamilyRefusal::UnknownFamily)?;
        if !Self::ACCESS.allows(place.role) {
            return Err(FamilyRefusal::RoleNotAllowed {
                role: place.role.as_str(),
                command: Self::NAME,
            }
            .into());
        }
        if place.role == Role::Parent && family.parents_joined() < 2 {
            return Err(FamilyRefusal::LastParent.into());
        }
        let member_id = place.member_id;
        let mut decision = Decision::default();
        let event = if self.erase {
            end_all(context, &mut decision, member_id, EndedBecause::MemberGone)?;
            MemberErased { member_id }.into()
        } else {
            MemberLeft { member_id }.into()
        };
        decision.record::<Family>(family_id.uuid(), event, context.today()?);
        Ok(decision)
    }
}

#[cfg(test)]
mod tests {
    use chrono::{Days, TimeDelta};

    use super::*;
    use crate::{
        family::commands::{LeaveFamily, SetAuditTerm},
        testing::{Scenario, member_id, today},
    };

    const LEAVING: EndOwnPlace = EndOwnPlace { erase: false };
    const ERASING: EndOwnPlace = EndOwnPlace { erase: true };

    #[test]
    fn an_auditor_takes_along_what_they_wrote_when_their_term_is_over_too() {
        let term = SetAuditTerm {
            member_id: member_id(Role::Auditor),
            until_on: today() + Days::new(1),
        };
        let scenario = Scenario::family().with_member(Role::Auditor).after(&term);
        let over = scenario
            .clone()
            .at(scenario.now() + TimeDelta::days(3))
            .asked_by(Role::Auditor);
        over.when(&LeaveFamily {}).refused("unknown-family");
        for (command, event) in [(LEAVING, "MemberLeft"), (ERASING, "MemberErased")] {
            let events = over.when(&command).accepted();
            assert_eq!(events[0].kind().0, event);
            over.clone().given(events).when(&command).refused("unknown-family");
        }
    }

    #[test]
    fn the_last_parent_the_young_and_strangers_end_nothing() {
        for command in [LEAVING, ERASING] {
            Scenario::family().when(&command).refused("last-parent");
            let young = Scenario::family().with_member(Role::Teen).asked_by(Role::Teen);
            young.when(&command).refused("role-not-allowed");
            Scenario::family()
                .asked_by_stranger()
                .when(&command)
                .refused("unknown-family");
            let partner = Scenario::family().with_member(Role::Partner).asked_by(Role::Partner);
            assert_eq!(partner.when(&command).accepted().len(), 1);
        }
    }
}
