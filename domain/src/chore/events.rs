//! What happens to a chore.

use chrono::NaiveDate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Money,
    event::events,
    id::{AccountId, ChoreId, EntryId, MemberId},
};

events! {
    /// Facts of a `chore` stream.
    ChoreEvent of "chore" {
        ChoreOffered = "1" { title: offered_to },
        ChoreClaimed = "1",
        ChoreCompleted = "1",
        ChoreApproved = "1" { title: member_id },
        ChoreRejected = "1" { reason: member_id },
    }
}

/// What a chore earns in money.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reward {
    /// More than nothing.
    pub money: Money,
    /// The account it will be paid from.
    pub pay_from: AccountId,
}

/// A chore was put on offer. Recorded by `offer-chore`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ChoreOffered {
    /// The chore.
    pub chore_id: ChoreId,
    /// What is to be done.
    pub title: String,
    /// Points it earns on the leaderboard.
    pub points: u32,
    /// Money it earns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reward: Option<Reward>,
    /// The one member it is for; anybody when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offered_to: Option<MemberId>,
    /// The day it should be done by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_on: Option<NaiveDate>,
}

/// A member took a chore on. Recorded by `claim-chore`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ChoreClaimed {
    /// The chore.
    pub chore_id: ChoreId,
    /// Who took it.
    pub member_id: MemberId,
}

/// The member says that it is done. Recorded by `complete-chore`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ChoreCompleted {
    /// The chore.
    pub chore_id: ChoreId,
    /// Who did it.
    pub member_id: MemberId,
}

/// A grown-up agrees; points count from now, and money moved in the same append. Recorded by `approve-chore`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ChoreApproved {
    /// The chore.
    pub chore_id: ChoreId,
    /// What was done, so that the fact reads alone.
    pub title: String,
    /// Who did it.
    pub member_id: MemberId,
    /// Points earned.
    pub points: u32,
    /// Money earned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reward: Option<Money>,
    /// The entry that paid it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry_id: Option<EntryId>,
}

/// A grown-up does not agree; it goes back to who claimed it. Recorded by `reject-chore`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ChoreRejected {
    /// The chore.
    pub chore_id: ChoreId,
    /// Who did it.
    pub member_id: MemberId,
    /// Why not.
    #[serde(default)]
    pub reason: String,
}
