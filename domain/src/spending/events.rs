//! What happens to a member's spending.

use chrono::NaiveDate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Currency, Money,
    event::events,
    id::{AccountId, CategoryId, EntryId, MemberId, SpendingRequestId},
};

events! {
    /// Facts of a `spending` stream.
    SpendingEvent of "spending" {
        SpendingLimitSet = "1",
        SpendingLimitRemoved = "1",
        SpendingCounted = "1",
        SpendingGivenBack = "1",
        SpendingRequested = "1" { payee: member_id, note: member_id },
        SpendingApproved = "1",
        SpendingDeclined = "1" { reason: member_id },
        SpendingRequestCancelled = "1",
        SpendingRequestEnded = "1",
    }
}

/// How much a member may spend by themselves, in one currency. What is not said is not limited; at least one is said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SpendingLimit {
    /// The currency of all of it.
    pub currency: Currency,
    /// In one entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_entry: Option<Money>,
    /// In a day of the family's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_day: Option<Money>,
    /// In a week, from the family's week start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_week: Option<Money>,
    /// In a calendar month.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_month: Option<Money>,
}

/// A parent said how much a member may spend by themselves. Recorded by `set-spending-limit`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SpendingLimitSet {
    /// The teen or child.
    pub member_id: MemberId,
    /// All of the limit from now on.
    pub limit: SpendingLimit,
}

/// A member has no limit any more. Recorded by `remove-spending-limit`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SpendingLimitRemoved {
    /// The teen or child.
    pub member_id: MemberId,
}

/// An entry used up some of its member's limit. Recorded beside that entry, in the same append, by `add-expense` and `transfer`, and
/// by `reverse-entry` where a transfer from before the limit is taken back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SpendingCounted {
    /// Who spent.
    pub member_id: MemberId,
    /// The entry.
    pub entry_id: EntryId,
    /// The day it counts for.
    pub spent_on: NaiveDate,
    /// How much, positive.
    pub money: Money,
}

/// An entry was undone, and what it had used up is there again. Recorded beside the reversal, in the same append.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SpendingGivenBack {
    /// Who had spent.
    pub member_id: MemberId,
    /// The entry.
    pub entry_id: EntryId,
    /// The day it had counted for.
    pub spent_on: NaiveDate,
    /// How much, positive.
    pub money: Money,
}

/// A member asks to spend more than they may by themselves. Never changed afterwards. Recorded by `request-spending`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SpendingRequested {
    /// The request.
    pub request_id: SpendingRequestId,
    /// Who asks.
    pub member_id: MemberId,
    /// The account it would be paid from.
    pub account_id: AccountId,
    /// How much exactly, positive.
    pub money: Money,
    /// What it would be for.
    pub category_id: CategoryId,
    /// Who would be paid.
    #[serde(default)]
    pub payee: String,
    /// A free note.
    #[serde(default)]
    pub note: String,
    /// The last day on which it can be approved, in the family's calendar.
    pub until_on: NaiveDate,
}

/// An adult agreed, and the entry was booked in the same append. Recorded by `approve-spending`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SpendingApproved {
    /// The request.
    pub request_id: SpendingRequestId,
    /// Who had asked.
    pub member_id: MemberId,
    /// Who agreed.
    pub approved_by: MemberId,
    /// The account it was paid from.
    pub account_id: AccountId,
    /// How much.
    pub money: Money,
    /// The entry.
    pub entry_id: EntryId,
}

/// An adult did not agree. Recorded by `decline-spending`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SpendingDeclined {
    /// The request.
    pub request_id: SpendingRequestId,
    /// Who had asked.
    pub member_id: MemberId,
    /// Who declined.
    pub declined_by: MemberId,
    /// How much was asked for.
    pub money: Money,
    /// Why.
    #[serde(default)]
    pub reason: String,
}

/// Who asked does so no longer. Recorded by `cancel-spending-request`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SpendingRequestCancelled {
    /// The request.
    pub request_id: SpendingRequestId,
    /// Who had asked.
    pub member_id: MemberId,
}

/// Why a request ended that nobody decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EndedBecause {
    /// Who asked is in the family no more.
    MemberGone,
    /// Who asked is an adult now, and needs nobody's approval.
    RoleChanged,
    /// The consent to what is kept about who asked was taken back.
    ConsentRevoked,
    /// The limit is gone, or is such now that nobody has to approve.
    LimitChanged,
    /// Its last day is over.
    TimeOver,
}

impl EndedBecause {
    /// The word used in JSON and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MemberGone => "member-gone",
            Self::RoleChanged => "role-changed",
            Self::ConsentRevoked => "consent-revoked",
            Self::LimitChanged => "limit-changed",
            Self::TimeOver => "time-over",
        }
    }
}

/// A request ended without anybody having decided it. Recorded by whatever ended it: `remove-member`, `erase-member`, `change-role`,
/// `revoke-consent`, `set-spending-limit`, `remove-spending-limit`, and `request-spending` for those whose time is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SpendingRequestEnded {
    /// The request.
    pub request_id: SpendingRequestId,
    /// Who had asked.
    pub member_id: MemberId,
    /// Why.
    pub because: EndedBecause,
}
