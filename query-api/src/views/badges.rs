//! Badges that were awarded.

use chrono::{DateTime, Utc};
use domain::id::{AwardId, MemberId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use crate::{
    cursor::{Cursor, next_page},
    error::QueryError,
    params,
    view::{View, Viewer},
};

/// Badges, newest first.
pub struct Badges;

/// Parameters of `badges`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BadgesParams {
    /// Only this member's.
    pub member_id: Option<MemberId>,
    /// The cursor of the page before.
    pub after: Option<String>,
    /// Rows of a page, 1 to 200; 50 when absent.
    pub limit: Option<u32>,
}

/// One badge, once awarded.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Badge {
    /// The award.
    pub award_id: AwardId,
    /// Who holds it.
    pub member_id: MemberId,
    /// Its name.
    pub badge: String,
    /// What for.
    pub reason: String,
    /// Points it brought.
    pub points: i64,
    /// When (UTC).
    pub awarded_at: DateTime<Utc>,
}

/// Answer of `badges`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct BadgesAnswer {
    /// Newest first.
    pub badges: Vec<Badge>,
    /// Give this as `after` for the next page; null on the last.
    pub next: Option<String>,
}

impl View for Badges {
    const NAME: &'static str = "badges";
    const SUMMARY: &'static str = "Badges that were awarded";
    const VISIBILITY: &'static str = "Adults and auditors see all; a teen or child sees their own.";
    const BY_DAY: Option<&'static str> = None;
    type Params = BadgesParams;
    type Answer = BadgesAnswer;

    async fn read(tx: &mut PgConnection, viewer: &Viewer, params: BadgesParams) -> Result<BadgesAnswer, QueryError> {
        let limit = params::limit(params.limit)?;
        let after = params.after.as_deref().map(Cursor::decode).transpose()?;
        let asked = params.member_id.map(|member| member.uuid());
        let only = if viewer.sees_all_money() {
            None
        } else {
            Some(viewer.member_id.uuid())
        };
        let mut rows: Vec<Row> = sqlx::query_as(
            "select award_id, family_seq, member_id, badge, reason, points, awarded_at
            from badges
            where family_id = $1
                and ($2::uuid is null or member_id = $2)
                and ($3::uuid is null or member_id = $3)
                and ($4::bigint is null or family_seq < $4)
            order by family_seq desc
            limit $5",
        )
        .bind(viewer.family())
        .bind(only)
        .bind(asked)
        .bind(after.map(|cursor| cursor.family_seq))
        .bind(i64::from(limit) + 1)
        .fetch_all(tx)
        .await?;
        let next = next_page(&mut rows, limit, |row| row.family_seq);
        Ok(BadgesAnswer {
            badges: rows.into_iter().map(badge).collect(),
            next,
        })
    }
}

#[derive(FromRow)]
struct Row {
    award_id: Uuid,
    family_seq: i64,
    member_id: Uuid,
    badge: String,
    reason: String,
    points: i64,
    awarded_at: DateTime<Utc>,
}

fn badge(row: Row) -> Badge {
    Badge {
        award_id: AwardId::from_uuid(row.award_id),
        member_id: MemberId::from_uuid(row.member_id),
        badge: row.badge,
        reason: row.reason,
        points: row.points,
        awarded_at: row.awarded_at,
    }
}
