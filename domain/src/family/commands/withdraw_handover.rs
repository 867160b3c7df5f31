//! A parent takes back the duties they offered to a partner.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    decide::{Context, Decide, Decision, Stop},
    family::{Family, FamilyRefusal, HandoverWithdrawn},
};

/// A parent takes back what they offered: the partner cannot accept it any more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WithdrawHandover {}

impl Decide for WithdrawHandover {
    const NAME: &'static str = "withdraw-handover";
    const SUMMARY: &'static str = "Take back the duties that you offered to a partner";

    fn decide(&self, context: &Context<'_>) -> Result<Decision, Stop> {
        let (asking, today) = (context.asking_member()?.member_id, context.today()?);
        let offered = context
            .family()?
            .handover(today)
            .filter(|offered| offered.from == asking);
        let offered = offered.ok_or(FamilyRefusal::NothingOffered)?;
        let mut decision = Decision::default();
        let withdrawn = HandoverWithdrawn {
            from: offered.from,
            to: offered.to,
        };
        decision.record::<Family>(context.meta().family_id.uuid(), withdrawn.into(), today);
        Ok(decision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        actor::Role,
        family::commands::{AcceptHandover, HandOverFamily},
        testing::{Scenario, member_id},
    };

    #[test]
    fn what_was_taken_back_is_not_accepted_and_may_be_offered_again() {
        let offer = HandOverFamily {
            to: member_id(Role::Partner),
        };
        let scenario = Scenario::family().with_member(Role::Partner);
        scenario.when(&WithdrawHandover {}).refused("nothing-offered");
        let withdrawn = scenario.after(&offer).after(&WithdrawHandover {});
        withdrawn.when(&WithdrawHandover {}).refused("nothing-offered");
        withdrawn
            .clone()
            .asked_by(Role::Partner)
            .when(&AcceptHandover {})
            .refused("nothing-offered");
        let again = withdrawn.after(&offer).asked_by(Role::Partner);
        assert_eq!(again.when(&AcceptHandover {}).accepted().len(), 3);
    }

    #[test]
    fn another_parent_takes_back_nothing_of_this_one() {
        let offer = HandOverFamily {
            to: member_id(Role::Partner),
        };
        let scenario = Scenario::family().with_member(Role::Partner).after(&offer);
        let other = scenario.with_member(Role::Parent).asked_by_the_newest();
        other.when(&WithdrawHandover {}).refused("nothing-offered");
    }
}
