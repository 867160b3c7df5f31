//! A grown-up gives a member a badge.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    decide::{Context, Decide, Decision, Stop},
    id::{AwardId, MemberId},
    rewards::{BadgeAwarded, Rewards, RewardsRefusal},
    text,
};

/// Most points one badge brings. Source: ours.
const POINTS_MAX: u32 = 10_000;

/// A grown-up gives a member a badge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AwardBadge {
    /// Who gets it.
    pub member_id: MemberId,
    /// The badge's name; a member holds each once.
    #[schemars(length(min = 1, max = 120))]
    pub badge: String,
    /// What for.
    #[serde(default)]
    #[schemars(length(max = 500))]
    pub reason: String,
    /// Points it brings on the leaderboard.
    #[serde(default)]
    #[schemars(range(max = 10_000))]
    pub points: u32,
}

impl Decide for AwardBadge {
    const NAME: &'static str = "award-badge";
    const SUMMARY: &'static str = "Give a member a badge";

    fn decide(&self, context: &Context<'_>) -> Result<Decision, Stop> {
        context.family()?.consented(self.member_id)?;
        if self.points > POINTS_MAX {
            return Err(RewardsRefusal::PointsMax { max: POINTS_MAX }.into());
        }
        let badge = text::name("badge", &self.badge)?;
        if context.get::<Rewards>(self.member_id.uuid())?.holds(&badge) {
            return Err(RewardsRefusal::AlreadyHeld.into());
        }
        let mut decision = Decision::default();
        let awarded = BadgeAwarded {
            award_id: AwardId::from_uuid(context.new_id(0)),
            member_id: self.member_id,
            badge,
            reason: text::note("reason", &self.reason)?,
            points: self.points,
        };
        decision.record::<Rewards>(self.member_id.uuid(), awarded.into(), context.today()?);
        Ok(decision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actor::Role;
    use crate::testing::{Scenario, member_id};

    fn command() -> AwardBadge {
        AwardBadge {
            member_id: member_id(Role::Child),
            badge: "Early bird".to_owned(),
            reason: String::new(),
            points: 5,
        }
    }

    #[test]
    fn a_badge_is_held_once() {
        let scenario = Scenario::family().with_member(Role::Child).after(&command());
        scenario
            .when(&AwardBadge {
                badge: "EARLY BIRD".to_owned(),
                ..command()
            })
            .refused("badge-already-held");
    }

    #[test]
    fn a_badge_goes_to_somebody() {
        Scenario::family().when(&command()).refused("unknown-member");
    }

    #[test]
    fn points_have_an_end() {
        let scenario = Scenario::family().with_member(Role::Child);
        scenario
            .when(&AwardBadge {
                points: POINTS_MAX + 1,
                ..command()
            })
            .refused("points-max");
    }
}
