//! Why rewards decline.

use crate::refusal::refusals;

refusals! {
    /// Refusals of reward commands.
    RewardsRefusal {
        AlreadyHeld = Rule, "badge-already-held", "the member holds this badge already";
        PointsMax { max: u32 } = Rule, "points-max", "at most {max} points at once";
    }
}
