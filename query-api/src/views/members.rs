//! Who belongs to the family.

use chrono::NaiveDate;
use domain::{actor::Role, id::MemberId};
use schemars::JsonSchema;
use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    error::QueryError,
    params::NoParams,
    view::{View, Viewer},
};

/// Members.
pub struct Members;

/// One place in the family.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Member {
    /// The place.
    pub member_id: MemberId,
    /// The name shown in the family.
    pub display_name: String,
    /// What the member may do.
    pub role: String,
    /// Has the person behind it signed in?
    pub has_joined: bool,
    /// Has the member left, or been removed? Then the place is only there for what was done in it.
    pub has_left: bool,
    /// Does a parent have to consent before anything is kept about the member? Left out for teens and children.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub awaits_consent: Option<bool>,
    /// The last day an auditor may look. Left out for teens and children.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until_on: Option<NaiveDate>,
    /// Is it the person who asks?
    pub is_me: bool,
    /// Shown on the leaderboard? Left out for teens and children.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_leaderboard: Option<bool>,
}

/// Answer of `members`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct MembersAnswer {
    /// In the order they came.
    pub members: Vec<Member>,
}

type Row = (Uuid, String, String, bool, bool, bool, Option<NaiveDate>, bool);

impl View for Members {
    const NAME: &'static str = "members";
    const SUMMARY: &'static str = "Members and their roles";
    const VISIBILITY: &'static str =
        "Everybody sees names and roles; adults and auditors also who is on the leaderboard.";
    const BY_DAY: Option<&'static str> = None;
    type Params = NoParams;
    type Answer = MembersAnswer;

    async fn read(tx: &mut PgConnection, viewer: &Viewer, _: NoParams) -> Result<MembersAnswer, QueryError> {
        let rows: Vec<Row> = sqlx::query_as(
            "select m.member_id, m.display_name, m.role, m.on_leaderboard, m.user_id is not null,
                coalesce(s.has_left, false), s.until_on,
                generations.awaits_consent(m.role, r.age, r.notice_version, c.youngest, c.notice_version, c.is_revoked)
            from members m
            left join standings s on s.family_id = m.family_id and s.member_id = m.member_id
            left join consent_rules r on r.family_id = m.family_id
            left join consents c on c.family_id = m.family_id and c.member_id = m.member_id
            where m.family_id = $1
            order by m.added_at, m.member_id",
        )
        .bind(viewer.family())
        .fetch_all(tx)
        .await?;
        let member = |(id, display_name, role, on_leaderboard, has_joined, has_left, until_on, awaits_consent): Row| {
            let member_id = MemberId::from_uuid(id);
            let is_me = member_id == viewer.member_id;
            let is_auditor = role == Role::Auditor.as_str();
            let on_leaderboard = viewer.sees_all_money().then_some(on_leaderboard);
            Member {
                member_id,
                display_name,
                role,
                has_joined,
                has_left,
                awaits_consent: viewer.sees_all_money().then_some(awaits_consent),
                until_on: until_on.filter(|_| is_auditor && viewer.sees_all_money()),
                is_me,
                on_leaderboard,
            }
        };
        Ok(MembersAnswer {
            members: rows.into_iter().map(member).collect(),
        })
    }
}
