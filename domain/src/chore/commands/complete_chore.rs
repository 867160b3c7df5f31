//! The member who claimed a chore says that it is done.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    chore::{Chore, ChoreCompleted, ChoreRefusal, ChoreStatus},
    decide::{Context, Decide, Decision, Stop},
    id::ChoreId,
};

/// The member who claimed a chore says that it is done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CompleteChore {
    /// The chore.
    pub chore_id: ChoreId,
}

impl Decide for CompleteChore {
    const NAME: &'static str = "complete-chore";
    const SUMMARY: &'static str = "Say that a claimed chore is done";

    fn decide(&self, context: &Context<'_>) -> Result<Decision, Stop> {
        let member_id = context.asking_member()?.member_id;
        let chore = context.get::<Chore>(self.chore_id.uuid())?;
        chore.offer()?;
        if chore.status() != ChoreStatus::Claimed {
            return Err(ChoreRefusal::NotClaimed.into());
        }
        if chore.claimed_by() != Some(member_id) {
            return Err(ChoreRefusal::NotClaimedByYou.into());
        }
        let mut decision = Decision::default();
        let completed = ChoreCompleted {
            chore_id: self.chore_id,
            member_id,
        };
        decision.record::<Chore>(self.chore_id.uuid(), completed.into(), context.today()?);
        Ok(decision)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ClaimChore, OfferChore};
    use super::*;
    use crate::actor::Role;
    use crate::testing::Scenario;

    fn offered() -> (Scenario, ChoreId) {
        let scenario = Scenario::family().with_member(Role::Child).with_member(Role::Teen);
        let offer = OfferChore {
            title: "Dishes".to_owned(),
            points: 1,
            reward: None,
            offered_to: None,
            due_on: None,
        };
        let events = scenario.when(&offer).accepted();
        let chore_id = ChoreId::from_uuid(events[0].stream.id);
        (scenario.given(events), chore_id)
    }

    #[test]
    fn whoever_claimed_it_completes_it_once() {
        let (scenario, chore_id) = offered();
        let complete = CompleteChore { chore_id };
        scenario
            .clone()
            .asked_by(Role::Child)
            .when(&complete)
            .refused("chore-not-claimed");
        let scenario = scenario.asked_by(Role::Child).after(&ClaimChore { chore_id });
        scenario
            .clone()
            .asked_by(Role::Teen)
            .when(&complete)
            .refused("chore-not-yours");
        scenario.after(&complete).when(&complete).refused("chore-not-claimed");
    }
}
