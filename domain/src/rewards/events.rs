//! What happens to a member's rewards.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    event::events,
    id::{AwardId, MemberId},
};

events! {
    /// Facts of a `rewards` stream.
    RewardsEvent of "rewards" {
        BadgeAwarded = "1" { badge: member_id, reason: member_id },
    }
}

/// A member was given a badge. Recorded by `award-badge`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BadgeAwarded {
    /// The award.
    pub award_id: AwardId,
    /// Who got it.
    pub member_id: MemberId,
    /// The badge's name.
    pub badge: String,
    /// What for.
    #[serde(default)]
    pub reason: String,
    /// Points it brings on the leaderboard.
    pub points: u32,
}
