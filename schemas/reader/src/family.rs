//! What happens to a family: its founding, its members, their roles and wallets.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Currency,
    actor::Role,
    calendar::WeekStart,
    event::events,
    id::{AccountId, FamilyId, MemberId, UserId},
};

events! {
    /// Facts of a `family` stream.
    FamilyEvent of "family" {
        FamilyCreated = "1",
        MemberAdded = "1",
        MemberJoined = "1",
        MemberRoleChanged = "1",
        LeaderboardChoiceMade = "1",
        WalletAssigned = "1",
    }
}

/// A family began to keep a ledger. Recorded by `create-family`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FamilyCreated {
    /// The family.
    pub family_id: FamilyId,
    /// What it calls itself.
    pub name: String,
    /// The currency its reports and budgets are in.
    pub currency: Currency,
    /// IANA zone; decides which day an instant belongs to.
    pub zone: String,
    /// Where its weeks begin.
    pub week_start: WeekStart,
}

/// A person was given a place in the family. Recorded by `create-family` (its founder) and `add-member`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MemberAdded {
    /// The place.
    pub member_id: MemberId,
    /// The name shown in the family.
    pub display_name: String,
    /// What the member may do.
    pub role: Role,
    /// May be shown on the leaderboard; for a teen or child only if a parent said so.
    pub on_leaderboard: bool,
}

/// The person behind a place signed in and took it. Recorded by `create-family` and by accepting an invitation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MemberJoined {
    /// The place.
    pub member_id: MemberId,
    /// Who signs in for it.
    pub user_id: UserId,
}

/// A member may do other things than before. Recorded by `change-role`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MemberRoleChanged {
    /// The member.
    pub member_id: MemberId,
    /// The role until now.
    pub from: Role,
    /// The role from now on.
    pub to: Role,
}

/// A parent chose whether a member is shown on the leaderboard. Recorded by `choose-leaderboard`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LeaderboardChoiceMade {
    /// The member.
    pub member_id: MemberId,
    /// Shown from now on?
    pub on_leaderboard: bool,
}

/// A member got a wallet. Recorded by `open-account`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WalletAssigned {
    /// Whose it is.
    pub member_id: MemberId,
    /// The wallet's ledger account.
    pub account_id: AccountId,
    /// Its currency; a member has one wallet per currency.
    pub currency: Currency,
}
