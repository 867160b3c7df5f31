//! A member takes a chore on.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    chore::{Chore, ChoreClaimed, ChoreRefusal, ChoreStatus},
    decide::{Context, Decide, Decision, Stop},
    id::ChoreId,
};

/// A member takes a chore on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClaimChore {
    /// The chore.
    pub chore_id: ChoreId,
}

impl Decide for ClaimChore {
    const NAME: &'static str = "claim-chore";
    const SUMMARY: &'static str = "Take a chore on";

    fn decide(&self, context: &Context<'_>) -> Result<Decision, Stop> {
        let member_id = context.asking_member()?.member_id;
        let chore = context.get::<Chore>(self.chore_id.uuid())?;
        let offer = chore.offer()?;
        if chore.status() != ChoreStatus::Offered {
            return Err(ChoreRefusal::NotOffered.into());
        }
        if offer.offered_to.is_some_and(|only| only != member_id) {
            return Err(ChoreRefusal::OfferedToAnother.into());
        }
        let mut decision = Decision::default();
        let claimed = ChoreClaimed {
            chore_id: self.chore_id,
            member_id,
        };
        decision.record::<Chore>(self.chore_id.uuid(), claimed.into(), context.today()?);
        Ok(decision)
    }
}

#[cfg(test)]
mod tests {
    use super::super::offer_chore::OfferChore;
    use super::*;
    use crate::actor::Role;
    use crate::testing::{Scenario, member_id};

    fn offered(to: Option<Role>) -> (Scenario, ClaimChore) {
        let scenario = Scenario::family().with_member(Role::Child).with_member(Role::Teen);
        let offered_to = to.map(member_id);
        let offer = OfferChore {
            title: "Dishes".to_owned(),
            points: 1,
            reward: None,
            offered_to,
            due_on: None,
        };
        let events = scenario.when(&offer).accepted();
        let chore_id = ChoreId::from_uuid(events[0].stream.id);
        (scenario.given(events), ClaimChore { chore_id })
    }

    #[test]
    fn the_first_to_claim_has_it() {
        let (scenario, claim) = offered(None);
        let scenario = scenario.asked_by(Role::Child).after(&claim);
        scenario.asked_by(Role::Teen).when(&claim).refused("chore-not-on-offer");
    }

    #[test]
    fn a_chore_for_one_is_not_for_another() {
        let (scenario, claim) = offered(Some(Role::Child));
        scenario
            .clone()
            .asked_by(Role::Teen)
            .when(&claim)
            .refused("chore-for-another");
        assert_eq!(scenario.asked_by(Role::Child).when(&claim).accepted().len(), 1);
    }
}
