//! Why a chore declines.

use crate::refusal::refusals;

refusals! {
    /// Refusals of chore commands.
    ChoreRefusal {
        UnknownChore = Unknown, "unknown-chore", "there is no such chore in this family";
        NotOffered = Rule, "chore-not-on-offer", "the chore is not on offer any more";
        OfferedToAnother = Forbidden, "chore-for-another", "the chore is offered to another member";
        NotClaimedByYou = Forbidden, "chore-not-yours", "another member claimed the chore";
        NotClaimed = Rule, "chore-not-claimed", "the chore is not claimed, or done already";
        NotCompleted = Rule, "chore-not-completed", "the chore is not completed, or decided already";
        OwnChore = Forbidden, "own-chore", "nobody approves their own chore";
        NoWallet { currency: crate::Currency } = Rule, "no-wallet", "the member has no wallet in {currency}: open one first";
        PointsMax { max: u32 } = Rule, "points-max", "at most {max} points at once";
    }
}
