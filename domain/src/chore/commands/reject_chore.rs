//! A grown-up does not agree that a chore is done; it goes back to who claimed it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    chore::{Chore, ChoreRefusal, ChoreRejected, ChoreStatus},
    decide::{Context, Decide, Decision, Stop},
    id::ChoreId,
    text,
};

/// A grown-up does not agree that a chore is done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RejectChore {
    /// The chore.
    pub chore_id: ChoreId,
    /// Why not, for the member to read.
    #[serde(default)]
    #[schemars(length(max = 500))]
    pub reason: String,
}

impl Decide for RejectChore {
    const NAME: &'static str = "reject-chore";
    const SUMMARY: &'static str = "Send a completed chore back";

    fn decide(&self, context: &Context<'_>) -> Result<Decision, Stop> {
        let chore = context.get::<Chore>(self.chore_id.uuid())?;
        chore.offer()?;
        let member_id = match (chore.status(), chore.claimed_by()) {
            (ChoreStatus::Completed, Some(member_id)) => member_id,
            _ => return Err(ChoreRefusal::NotCompleted.into()),
        };
        context.family()?.check_consent(member_id)?;
        let reason = text::note("reason", &self.reason)?;
        let mut decision = Decision::default();
        let rejected = ChoreRejected {
            chore_id: self.chore_id,
            member_id,
            reason,
        };
        decision.record::<Chore>(self.chore_id.uuid(), rejected.into(), context.today()?);
        Ok(decision)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ClaimChore, CompleteChore, OfferChore};
    use super::*;
    use crate::actor::Role;
    use crate::testing::Scenario;

    #[test]
    fn a_rejected_chore_is_completed_again() {
        let scenario = Scenario::family().with_member(Role::Child);
        let offer = OfferChore {
            title: "Dishes".to_owned(),
            points: 1,
            reward: None,
            offered_to: None,
            due_on: None,
        };
        let events = scenario.when(&offer).accepted();
        let chore_id = ChoreId::from_uuid(events[0].stream.id);
        let reject = RejectChore {
            chore_id,
            reason: "still wet".to_owned(),
        };
        let scenario = scenario
            .given(events)
            .asked_by(Role::Child)
            .after(&ClaimChore { chore_id });
        scenario
            .clone()
            .asked_by(Role::Parent)
            .when(&reject)
            .refused("chore-not-completed");
        let scenario = scenario
            .after(&CompleteChore { chore_id })
            .asked_by(Role::Parent)
            .after(&reject);
        assert_eq!(
            scenario
                .asked_by(Role::Child)
                .when(&CompleteChore { chore_id })
                .accepted()
                .len(),
            1
        );
    }
}
