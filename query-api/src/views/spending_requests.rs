//! Requests to spend beyond a limit: those that wait, or all of them with what came of each.

use chrono::{DateTime, NaiveDate, Utc};
use domain::id::{AccountId, CategoryId, EntryId, MemberId, SpendingRequestId};
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

/// Requests, newest first.
pub struct SpendingRequests;

/// Which requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RequestFilter {
    /// Those that an adult may decide now.
    #[default]
    Waiting,
    /// All of them.
    All,
}

/// Parameters of `spending-requests`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpendingRequestsParams {
    /// Which requests; `waiting` when absent.
    #[serde(default)]
    pub status: RequestFilter,
    /// The cursor of the page before.
    pub after: Option<String>,
    /// Rows of a page, 1 to 200; 50 when absent.
    pub limit: Option<u32>,
}

/// One request.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SpendingRequest {
    /// The request; `approve-spending` and `decline-spending` take it together with the member.
    pub request_id: SpendingRequestId,
    /// Who asked.
    pub member_id: MemberId,
    /// The account it would be paid from.
    pub account_id: AccountId,
    /// How much exactly.
    pub amount: Amount,
    /// What it would be for.
    pub category_id: CategoryId,
    /// Who would be paid.
    pub payee: String,
    /// A free note.
    pub note: String,
    /// When it was asked for (UTC).
    pub asked_at: DateTime<Utc>,
    /// The last day on which it can be approved, in the family's calendar.
    pub until_on: NaiveDate,
    /// `waiting`, `approved`, `declined`, `cancelled` or `ended`: nobody decided, and nobody can any more.
    pub status: String,
    /// The adult who decided.
    pub decided_by: Option<MemberId>,
    /// When it was decided or ended (UTC); null also for one that is over because of its last day.
    pub decided_at: Option<DateTime<Utc>>,
    /// Why it was declined, in words; of one that ended `member-gone`, `role-changed`, `consent-revoked`, `limit-changed` or
    /// `time-over`; empty otherwise.
    pub reason: String,
    /// The entry that was booked.
    pub entry_id: Option<EntryId>,
}

/// Answer of `spending-requests`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SpendingRequestsAnswer {
    /// Newest first.
    pub requests: Vec<SpendingRequest>,
    /// Give this as `after` for the next page; null on the last.
    pub next: Option<String>,
}

impl View for SpendingRequests {
    const NAME: &'static str = "spending-requests";
    const SUMMARY: &'static str = "Requests to spend beyond a limit";
    const VISIBILITY: &'static str =
        "Adults and auditors see those about accounts that they see. A teen or child sees their own.";
    const BY_DAY: Option<&'static str> = None;
    type Params = SpendingRequestsParams;
    type Answer = SpendingRequestsAnswer;

    async fn read(
        tx: &mut PgConnection,
        viewer: &Viewer,
        params: SpendingRequestsParams,
    ) -> Result<SpendingRequestsAnswer, QueryError> {
        let limit = params::limit(params.limit)?;
        let after = params.after.as_deref().map(Cursor::decode).transpose()?;
        let scope = viewer.money_scope(tx).await?;
        let mut rows: Vec<Row> = sqlx::query_as(
            "select r.request_id, r.member_id, r.family_seq, r.account_id, r.amount, r.currency, r.category_id, r.payee,
                r.note, r.asked_at, r.until_on, r.status, r.decided_by, r.decided_at, r.reason, r.entry_id
            from spending_requests r
            where r.family_id = $1
                and ($2 or r.member_id = $3)
                and ($4::uuid[] is null or r.account_id = any($4))
                and ($5 or (r.status = 'waiting' and r.until_on >= $6))
                and ($7::bigint is null or r.family_seq < $7)
            order by r.family_seq desc
            limit $8",
        )
        .bind(viewer.family())
        .bind(viewer.sees_all_money())
        .bind(viewer.member_id.uuid())
        .bind(scope.only())
        .bind(params.status == RequestFilter::All)
        .bind(viewer.today)
        .bind(after.map(|cursor| cursor.family_seq))
        .bind(i64::from(limit) + 1)
        .fetch_all(tx)
        .await?;
        let next = next_page(&mut rows, limit, |row| row.family_seq);
        let requests = rows.into_iter().map(|row| row.request(viewer.today)).collect();
        Ok(SpendingRequestsAnswer { requests, next })
    }
}

#[derive(FromRow)]
struct Row {
    request_id: Uuid,
    member_id: Uuid,
    family_seq: i64,
    account_id: Uuid,
    amount: Decimal,
    currency: String,
    category_id: Uuid,
    payee: String,
    note: String,
    asked_at: DateTime<Utc>,
    until_on: NaiveDate,
    status: String,
    decided_by: Option<Uuid>,
    decided_at: Option<DateTime<Utc>>,
    reason: String,
    entry_id: Option<Uuid>,
}

impl Row {
    /// No event says that a last day is over: it is seen from the day.
    fn request(self, today: NaiveDate) -> SpendingRequest {
        let is_over = self.status == "waiting" && self.until_on < today;
        let (status, reason) = if is_over {
            ("ended".to_owned(), "time-over".to_owned())
        } else {
            (self.status, self.reason)
        };
        SpendingRequest {
            request_id: SpendingRequestId::from_uuid(self.request_id),
            member_id: MemberId::from_uuid(self.member_id),
            account_id: AccountId::from_uuid(self.account_id),
            amount: Amount::new(self.amount, self.currency),
            category_id: CategoryId::from_uuid(self.category_id),
            payee: self.payee,
            note: self.note,
            asked_at: self.asked_at,
            until_on: self.until_on,
            status,
            decided_by: self.decided_by.map(MemberId::from_uuid),
            decided_at: self.decided_at,
            reason,
            entry_id: self.entry_id.map(EntryId::from_uuid),
        }
    }
}
