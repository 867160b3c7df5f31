//! What happens to a family: its founding, its members, their roles and wallets.

use chrono::{DateTime, NaiveDate, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Currency,
    actor::Role,
    calendar::WeekStart,
    event::events,
    family::consent::{AgeBand, ConsentMethod},
    id::{AccountId, FamilyId, MemberId, UserId},
};

events! {
    /// Facts of a `family` stream.
    FamilyEvent of "family" {
        FamilyCreated = "1" { name: family, zone: plain },
        MemberAdded = "1" { display_name: member_id as "erased member" },
        MemberRenamed = "1" { display_name: member_id as "erased member" },
        MemberJoined = "1",
        MemberRoleChanged = "1",
        LeaderboardChoiceMade = "1",
        MemberLeft = "1",
        MemberRemoved = "1",
        AuditTermSet = "1",
        HandoverOffered = "1",
        FamilyHandedOver = "1",
        HandoverWithdrawn = "1",
        WalletAssigned = "1",
        CountrySet = "1" { country: plain },
        NoticeChanged = "1",
        AgeBandSet = "1",
        ConsentGiven = "1",
        ConsentRevoked = "1",
        MemberErased = "1",
        FamilyDeleted = "1",
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

/// A member is called otherwise from now on; what was recorded before says what it said. Recorded by `rename-member`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MemberRenamed {
    /// The member.
    pub member_id: MemberId,
    /// The name shown in the family from now on.
    pub display_name: String,
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

/// A member left the family. Recorded by `leave-family`. What they did and own stays; their access ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MemberLeft {
    /// The member.
    pub member_id: MemberId,
}

/// A parent ended a member's place in the family. Recorded by `remove-member`. What they did and own stays; their access ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MemberRemoved {
    /// The member.
    pub member_id: MemberId,
    /// The day, in the family's calendar; release 0.1 did not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed_on: Option<NaiveDate>,
}

/// It was said until when an auditor may look. Recorded by `add-member` and `change-role` where somebody becomes an auditor, and by
/// `set-audit-term`. An auditor of release 0.1 may have none, and then no last day.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AuditTermSet {
    /// The auditor.
    pub member_id: MemberId,
    /// The last day, included, in the family's calendar.
    pub until_on: NaiveDate,
    /// The instant at which that day is over in the family's zone as it was then (UTC): from here on there is no access.
    pub ends_at: DateTime<Utc>,
}

/// A parent offered their duties to a partner. Recorded by `hand-over-family`; a later offer takes its place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HandoverOffered {
    /// The parent.
    pub from: MemberId,
    /// The partner who may accept.
    pub to: MemberId,
    /// The last day on which they may, in the family's calendar; without an end where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_on: Option<NaiveDate>,
}

/// A parent took back what they had offered. Recorded by `withdraw-handover`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HandoverWithdrawn {
    /// The parent.
    pub from: MemberId,
    /// The partner, who may not accept any more.
    pub to: MemberId,
}

/// A partner accepted a parent's duties; the changes of both roles follow it. Recorded by `accept-handover`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FamilyHandedOver {
    /// The parent until now.
    pub from: MemberId,
    /// The parent from now on.
    pub to: MemberId,
}

/// A parent said which country's law the family is under. Recorded by `set-country`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CountrySet {
    /// ISO 3166-1, two letters.
    pub country: String,
    /// The age below which a parent consents there, as the law was known then.
    pub consent_age: u8,
}

/// What the family is told about the keeping of children's data has changed in substance. Recorded by `change-notice`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NoticeChanged {
    /// The version from now on; consent to an earlier one is none to this.
    pub notice_version: u32,
}

/// An adult said how old a young member is. Recorded by `add-member` with a band, and by `set-age-band`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AgeBandSet {
    /// The member.
    pub member_id: MemberId,
    /// How old.
    pub band: AgeBand,
}

/// A parent consented to what the notice says is kept about a child. Recorded by `give-consent`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConsentGiven {
    /// The child.
    pub member_id: MemberId,
    /// The parent.
    pub given_by: MemberId,
    /// How it was verified that it is the parent.
    pub method: ConsentMethod,
    /// The version of the notice that was consented to.
    pub notice_version: u32,
}

/// A parent took consent back: from here on nothing more is kept about the child. Recorded by `revoke-consent`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConsentRevoked {
    /// The child.
    pub member_id: MemberId,
    /// The parent.
    pub revoked_by: MemberId,
}

/// What was written of a member is forgotten: the key of their texts is destroyed by the very append, and their place ends if it
/// had not. Recorded by `erase-member`, and again after a restore to before it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MemberErased {
    /// The member.
    pub member_id: MemberId,
}

/// The family gave up its ledger: all of its keys are destroyed by the very append, and nothing comes after it. Recorded by
/// `delete-family`, and again after a restore to before it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FamilyDeleted {
    /// The family.
    pub family_id: FamilyId,
}
