//! The member's own notifications. What is said is kept as ids and words of the event; names and titles are looked up here.

use chrono::{DateTime, Utc};
use domain::id::{ChoreId, EntryId, ImportId, MemberId, SpendingRequestId};
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
    scope::MoneyScope,
    view::{View, Viewer},
};

/// Unread notifications are counted up to here, so that counting never walks a history nobody reads.
const UNREAD_MAX: i64 = 1_000;

/// Only notifications `n` of accounts that the member sees, which parameter 5 names as postings do; none stands for all.
const IN_SCOPE: &str = "($5::text[] is null or (
                    (n.import_id is null or exists (
                        select from imports i
                        where i.family_id = n.family_id
                            and i.import_id = n.import_id
                            and 'acc_' || i.account_id = any($5)
                    ))
                    and (n.entry_id is null or exists (
                        select from entry_postings p
                        where p.family_id = n.family_id
                            and p.entry_id = n.entry_id
                            and p.ledger_account = any($5)
                    ))
                    and (n.kind not in ('spending-requested', 'spending-approved', 'spending-declined') or exists (
                        select from spending_requests s
                        where s.family_id = n.family_id
                            and n.family_seq in (s.family_seq, s.decided_seq)
                            and 'acc_' || s.account_id = any($5)
                    ))
                ))";

/// Notifications, newest first.
pub struct Notifications;

/// Parameters of `notifications`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NotificationsParams {
    /// `true` for those not read yet, `false` for those read, absent for all.
    pub unread: Option<bool>,
    /// The cursor of the page before.
    pub after: Option<String>,
    /// Rows of a page, 1 to 200; 50 when absent.
    pub limit: Option<u32>,
}

/// One notification.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Notification {
    /// The event that caused it; `mark-notifications-read` takes this number.
    pub family_seq: i64,
    /// `member-added`, `member-joined`, `member-left`, `member-removed`, `member-erased`, `role-changed`, `handover-offered`,
    /// `handover-withdrawn`, `chore-offered`, `chore-completed`, `chore-approved`, `chore-rejected`, `badge-awarded`,
    /// `expense-added`, `spending-limit-set`, `spending-limit-removed`, `spending-requested`, `spending-approved`,
    /// `spending-declined`, `bank-synced` or `import-undone`.
    pub kind: String,
    /// What happened, in an English sentence.
    pub text: String,
    /// Read already?
    pub is_read: bool,
    /// When (UTC).
    pub recorded_at: DateTime<Utc>,
    /// Whom it is about.
    pub about_member_id: Option<MemberId>,
    /// The chore.
    pub chore_id: Option<ChoreId>,
    /// The entry.
    pub entry_id: Option<EntryId>,
    /// The import.
    pub import_id: Option<ImportId>,
    /// The request to spend.
    pub request_id: Option<SpendingRequestId>,
    /// The money in it.
    pub amount: Option<Amount>,
}

/// Answer of `notifications`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct NotificationsAnswer {
    /// Newest first.
    pub notifications: Vec<Notification>,
    /// How many are not read yet; 1,000 stands for that many or more.
    pub unread: i64,
    /// Everything up to this event is read.
    pub read_up_to: i64,
    /// Give this as `after` for the next page; null on the last.
    pub next: Option<String>,
}

impl View for Notifications {
    const NAME: &'static str = "notifications";
    const SUMMARY: &'static str = "The asking member's notifications";
    const VISIBILITY: &'static str =
        "Everybody sees their own, without those of entries and imports of accounts that are hidden from them now.";
    const BY_DAY: Option<&'static str> = None;
    type Params = NotificationsParams;
    type Answer = NotificationsAnswer;

    async fn read(
        tx: &mut PgConnection,
        viewer: &Viewer,
        params: NotificationsParams,
    ) -> Result<NotificationsAnswer, QueryError> {
        let limit = params::limit(params.limit)?;
        let after = params.after.as_deref().map(Cursor::decode).transpose()?;
        let read_up_to = read_up_to(tx, viewer).await?;
        let scope = viewer.money_scope(tx).await?;
        let unread = unread(tx, viewer, &scope, read_up_to).await?;
        let statement = format!(
            "select n.family_seq, n.kind, n.about_member_id, n.chore_id, n.entry_id, n.import_id, n.subject, n.reason,
                n.amount, n.currency, n.count, n.recorded_at, m.display_name as about, c.title, s.request_id
            from notifications n
            left join members m on m.family_id = n.family_id and m.member_id = n.about_member_id
            left join chores c on c.family_id = n.family_id and c.chore_id = n.chore_id
            left join spending_requests s
                on n.kind in ('spending-requested', 'spending-approved', 'spending-declined')
                and s.family_id = n.family_id
                and n.family_seq in (s.family_seq, s.decided_seq)
            where n.family_id = $1
                and n.member_id = $2
                and n.family_seq > $3
                and n.family_seq <= $6
                and ($7::bigint is null or n.family_seq < $7)
                and {IN_SCOPE}
            order by n.family_seq desc
            limit $4"
        );
        let mut rows: Vec<Row> = sqlx::query_as(&statement)
            .bind(viewer.family())
            .bind(viewer.member_id.uuid())
            .bind(if params.unread == Some(true) { read_up_to } else { 0 })
            .bind(i64::from(limit) + 1)
            .bind(scope.only_named())
            .bind(if params.unread == Some(false) {
                read_up_to
            } else {
                i64::MAX
            })
            .bind(after.map(|cursor| cursor.family_seq))
            .fetch_all(tx)
            .await?;
        let next = next_page(&mut rows, limit, |row| row.family_seq);
        let notifications = rows.into_iter().map(|row| notification(row, read_up_to)).collect();
        Ok(NotificationsAnswer {
            notifications,
            unread,
            read_up_to,
            next,
        })
    }
}

/// How far the viewer has read; 0 for nothing.
pub(crate) async fn read_up_to(tx: &mut PgConnection, viewer: &Viewer) -> Result<i64, QueryError> {
    let mark: Option<i64> = sqlx::query_scalar(
        "select read_up_to
        from inbox_marks
        where family_id = $1
            and member_id = $2",
    )
    .bind(viewer.family())
    .bind(viewer.member_id.uuid())
    .fetch_optional(tx)
    .await?;
    Ok(mark.unwrap_or_default())
}

/// How many of the viewer's notifications are after a mark, up to [`UNREAD_MAX`].
pub(crate) async fn unread(
    tx: &mut PgConnection,
    viewer: &Viewer,
    scope: &MoneyScope,
    read_up_to: i64,
) -> Result<i64, QueryError> {
    let statement = format!(
        "select count(*)
        from (
            select 1
            from notifications n
            where n.family_id = $1
                and n.member_id = $2
                and n.family_seq > $3
                and {IN_SCOPE}
            limit $4
        ) unread"
    );
    let unread = sqlx::query_scalar(&statement)
        .bind(viewer.family())
        .bind(viewer.member_id.uuid())
        .bind(read_up_to)
        .bind(UNREAD_MAX)
        .bind(scope.only_named())
        .fetch_one(tx)
        .await?;
    Ok(unread)
}

#[derive(FromRow)]
struct Row {
    family_seq: i64,
    kind: String,
    about_member_id: Option<Uuid>,
    chore_id: Option<Uuid>,
    entry_id: Option<Uuid>,
    import_id: Option<Uuid>,
    subject: String,
    reason: String,
    amount: Option<Decimal>,
    currency: Option<String>,
    count: Option<i64>,
    recorded_at: DateTime<Utc>,
    about: Option<String>,
    title: Option<String>,
    request_id: Option<Uuid>,
}

fn notification(row: Row, read_up_to: i64) -> Notification {
    let amount = row
        .amount
        .zip(row.currency.clone())
        .map(|(amount, currency)| Amount::new(amount, currency));
    Notification {
        family_seq: row.family_seq,
        text: text(&row, amount.as_ref()),
        is_read: row.family_seq <= read_up_to,
        recorded_at: row.recorded_at,
        about_member_id: row.about_member_id.map(MemberId::from_uuid),
        chore_id: row.chore_id.map(ChoreId::from_uuid),
        entry_id: row.entry_id.map(EntryId::from_uuid),
        import_id: row.import_id.map(ImportId::from_uuid),
        request_id: row.request_id.map(SpendingRequestId::from_uuid),
        amount,
        kind: row.kind,
    }
}

fn text(row: &Row, amount: Option<&Amount>) -> String {
    let about = row.about.as_deref().unwrap_or("Someone");
    let chore = row.title.as_deref().unwrap_or(&row.subject);
    let money = amount.map(|amount| format!("{} {}", amount.amount, amount.currency));
    let earns = [
        (row.count.unwrap_or_default() > 0).then(|| format!("{} points", row.count.unwrap_or_default())),
        money.clone(),
    ];
    let earns = earns.into_iter().flatten().collect::<Vec<_>>().join(" and ");
    let count = row.count.unwrap_or_default();
    match row.kind.as_str() {
        "member-added" => format!("{about} was added to the family as {}", row.subject),
        "member-joined" => format!("{about} has joined the family"),
        "member-left" => format!("{about} has left the family"),
        "member-removed" => format!("{about} was removed from the family"),
        "member-erased" => "A member was erased: what was written of them cannot be read any more".to_owned(),
        "handover-offered" => format!("{about} wants to hand the family over to you; accept it to become a parent"),
        "handover-withdrawn" => format!("{about} does not want to hand the family over to you any more"),
        "role-changed" => format!("Your role is now {}", row.subject),
        "chore-offered" => with(format!("A chore is on offer: {chore}"), &earns),
        "chore-completed" => format!("{about} has completed '{chore}'; please approve or reject it"),
        "chore-approved" => with(format!("'{chore}' was approved"), &earns),
        "chore-rejected" => with(format!("'{chore}' was sent back"), &row.reason),
        "badge-awarded" => with(format!("You were awarded the badge '{}'", row.subject), &row.reason),
        "expense-added" => with(format!("{about} spent {}", money.unwrap_or_default()), &row.subject),
        "spending-limit-set" => "You have a spending limit now, or another than before".to_owned(),
        "spending-limit-removed" => "You have no spending limit any more".to_owned(),
        "spending-requested" => with(
            format!(
                "{about} asks to spend {}; please approve or decline it",
                money.unwrap_or_default()
            ),
            &row.subject,
        ),
        "spending-approved" => format!("{about} approved the {} you asked for", money.unwrap_or_default()),
        "spending-declined" => with(
            format!("{about} declined the {} you asked for", money.unwrap_or_default()),
            &row.reason,
        ),
        "bank-synced" => format!(
            "A bank statement brought {count} new entries over {}",
            money.unwrap_or_default()
        ),
        "import-undone" => format!("An import was taken back; {count} entries were reversed"),
        other => other.to_owned(),
    }
}

fn with(sentence: String, more: &str) -> String {
    if more.is_empty() {
        sentence
    } else {
        format!("{sentence} ({more})")
    }
}
