//! Chores and where each stands.

use chrono::{DateTime, NaiveDate, Utc};
use domain::id::{ChoreId, EntryId, MemberId};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use crate::{
    amount::Amount,
    cursor::{Cursor, next_page},
    error::QueryError,
    params,
    view::{View, Viewer},
};

/// Chores, newest offer first.
pub struct Chores;

/// Which chores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ChoreFilter {
    /// Offered, claimed or completed: not approved yet.
    #[default]
    Open,
    /// Free to be claimed.
    Offered,
    /// Someone is at it.
    Claimed,
    /// Done, says who did it.
    Completed,
    /// Done, says a grown-up.
    Approved,
    /// All of them.
    All,
}

impl ChoreFilter {
    const fn statuses(self) -> &'static [&'static str] {
        match self {
            Self::Open => &["offered", "claimed", "completed"],
            Self::Offered => &["offered"],
            Self::Claimed => &["claimed"],
            Self::Completed => &["completed"],
            Self::Approved => &["approved"],
            Self::All => &["offered", "claimed", "completed", "approved"],
        }
    }
}

/// Parameters of `chores`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChoresParams {
    /// Which chores; `open` when absent.
    #[serde(default)]
    pub status: ChoreFilter,
    /// The cursor of the page before.
    pub after: Option<String>,
    /// Rows of a page, 1 to 200; 50 when absent.
    pub limit: Option<u32>,
}

/// One chore.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Chore {
    /// The chore.
    pub chore_id: ChoreId,
    /// What is to be done.
    pub title: String,
    /// Points it earns.
    pub points: i64,
    /// Money it earns; null when none, or when it is somebody else's and the viewer may not see their money.
    pub reward: Option<Amount>,
    /// The one member it is for.
    pub offered_to: Option<MemberId>,
    /// The day it should be done by.
    pub due_on: Option<NaiveDate>,
    /// `offered`, `claimed`, `completed` or `approved`.
    pub status: String,
    /// Who is at it, or did it.
    pub claimed_by: Option<MemberId>,
    /// Why it was last sent back; empty otherwise.
    pub rejection_reason: String,
    /// The entry that paid it.
    pub entry_id: Option<EntryId>,
    /// When it was offered (UTC).
    pub offered_at: DateTime<Utc>,
    /// When it last changed (UTC).
    pub changed_at: DateTime<Utc>,
}

/// Answer of `chores`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ChoresAnswer {
    /// Newest offer first.
    pub chores: Vec<Chore>,
    /// Give this as `after` for the next page; null on the last.
    pub next: Option<String>,
}

impl View for Chores {
    const NAME: &'static str = "chores";
    const SUMMARY: &'static str = "Chores and where each stands";
    const VISIBILITY: &'static str = "Adults and auditors see all. A teen or child sees those that are for anybody or for them; what another's \
        chore pays stays hidden.";
    const BY_DAY: Option<&'static str> = None;
    type Params = ChoresParams;
    type Answer = ChoresAnswer;

    async fn read(tx: &mut PgConnection, viewer: &Viewer, params: ChoresParams) -> Result<ChoresAnswer, QueryError> {
        let limit = params::limit(params.limit)?;
        let after = params.after.as_deref().map(Cursor::decode).transpose()?;
        page(tx, viewer, params.status, after, limit).await
    }
}

#[derive(FromRow)]
struct Row {
    chore_id: Uuid,
    family_seq: i64,
    title: String,
    points: i64,
    reward: Option<Decimal>,
    reward_currency: Option<String>,
    offered_to: Option<Uuid>,
    due_on: Option<NaiveDate>,
    status: String,
    claimed_by: Option<Uuid>,
    rejection_reason: String,
    entry_id: Option<Uuid>,
    offered_at: DateTime<Utc>,
    changed_at: DateTime<Utc>,
}

/// One page of the chores the viewer may see.
pub(crate) async fn page(
    tx: &mut PgConnection,
    viewer: &Viewer,
    filter: ChoreFilter,
    after: Option<Cursor>,
    limit: u32,
) -> Result<ChoresAnswer, QueryError> {
    let only = if viewer.sees_all_money() {
        None
    } else {
        Some(viewer.member_id.uuid())
    };
    let mut rows: Vec<Row> = sqlx::query_as(
        "select chore_id, family_seq, title, points, reward, reward_currency, offered_to, due_on, status, claimed_by,
            rejection_reason, entry_id, offered_at, changed_at
        from chores
        where family_id = $1
            and status = any($2)
            and ($3::uuid is null or offered_to is null or offered_to = $3 or claimed_by = $3)
            and ($4::bigint is null or family_seq < $4)
        order by family_seq desc
        limit $5",
    )
    .bind(viewer.family())
    .bind(filter.statuses())
    .bind(only)
    .bind(after.map(|cursor| cursor.family_seq))
    .bind(i64::from(limit) + 1)
    .fetch_all(tx)
    .await?;
    let next = next_page(&mut rows, limit, |row| row.family_seq);
    Ok(ChoresAnswer {
        chores: rows.into_iter().map(|row| chore(row, only)).collect(),
        next,
    })
}

fn chore(row: Row, only: Option<Uuid>) -> Chore {
    let is_anothers = only.is_some_and(|own| row.claimed_by.is_some_and(|claimed_by| claimed_by != own));
    let reward = row.reward.zip(row.reward_currency).filter(|_| !is_anothers);
    Chore {
        chore_id: ChoreId::from_uuid(row.chore_id),
        title: row.title,
        points: row.points,
        reward: reward.map(|(amount, currency)| Amount::new(amount, currency)),
        offered_to: row.offered_to.map(MemberId::from_uuid),
        due_on: row.due_on,
        status: row.status,
        claimed_by: row.claimed_by.map(MemberId::from_uuid),
        rejection_reason: if is_anothers {
            String::new()
        } else {
            row.rejection_reason
        },
        entry_id: row.entry_id.filter(|_| !is_anothers).map(EntryId::from_uuid),
        offered_at: row.offered_at,
        changed_at: row.changed_at,
    }
}
