//! A parent chooses whether a member is shown on the leaderboard.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    decide::{Context, Decide, Decision, Stop},
    family::{Family, FamilyRefusal, LeaderboardChoiceMade},
    id::MemberId,
};

/// A parent chooses whether a member is shown on the leaderboard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChooseLeaderboard {
    /// The member.
    pub member_id: MemberId,
    /// Shown from now on?
    pub on_leaderboard: bool,
}

impl Decide for ChooseLeaderboard {
    const NAME: &'static str = "choose-leaderboard";
    const SUMMARY: &'static str = "Choose whether a member is shown on the leaderboard";

    fn decide(&self, context: &Context<'_>) -> Result<Decision, Stop> {
        let family = context.family()?;
        // To be taken off it is anybody's right at any time.
        let member = match self.on_leaderboard {
            true => family.consented(self.member_id)?,
            false => family.member(self.member_id)?,
        };
        if member.on_leaderboard == self.on_leaderboard {
            return Err(FamilyRefusal::SameChoice.into());
        }
        let mut decision = Decision::default();
        let choice = LeaderboardChoiceMade {
            member_id: self.member_id,
            on_leaderboard: self.on_leaderboard,
        };
        decision.record::<Family>(context.meta().family_id.uuid(), choice.into(), context.today()?);
        Ok(decision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actor::Role;
    use crate::testing::{Scenario, member_id};

    #[test]
    fn a_parent_opts_a_child_in_once() {
        let command = ChooseLeaderboard {
            member_id: member_id(Role::Child),
            on_leaderboard: true,
        };
        let scenario = Scenario::family().with_member(Role::Child);
        let events = scenario.when(&command).accepted();
        scenario.given(events).when(&command).refused("same-choice");
    }

    #[test]
    fn a_child_does_not_opt_in() {
        let command = ChooseLeaderboard {
            member_id: member_id(Role::Child),
            on_leaderboard: true,
        };
        Scenario::family()
            .with_member(Role::Child)
            .asked_by(Role::Child)
            .when(&command)
            .refused("role-not-allowed");
    }
}
