//! Statement imports: what each brought, and whether it was taken back.

use chrono::{DateTime, Utc};
use domain::id::{AccountId, ConnectionId, ImportId};
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

/// Imports, newest first.
pub struct Imports;

/// Parameters of `imports`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportsParams {
    /// The cursor of the page before.
    pub after: Option<String>,
    /// Rows of a page, 1 to 200; 50 when absent.
    pub limit: Option<u32>,
}

/// One import of one statement.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Import {
    /// The import; `undo-import` takes it back.
    pub import_id: ImportId,
    /// Through which connection.
    pub connection_id: ConnectionId,
    /// Into which account.
    pub account_id: Option<AccountId>,
    /// The kind of source: `ofx`, `camt`, `mt940`, `csv`.
    pub source: String,
    /// SHA-256 of the file, hex; empty when there was no file.
    pub file_sha256: String,
    /// Rows in the statement.
    pub rows: i64,
    /// Rows that became entries.
    pub rows_booked: i64,
    /// Rows that were in the ledger already.
    pub rows_known: i64,
    /// Known rows that had no category until this file named one.
    pub rows_categorised: i64,
    /// Rows over nothing.
    pub rows_zero: i64,
    /// The sum of the new rows, signed from the account's side.
    pub booked: Option<Amount>,
    /// When (UTC).
    pub imported_at: DateTime<Utc>,
    /// Was it taken back?
    pub is_undone: bool,
    /// Entries reversed when it was taken back.
    pub entries_reversed: i64,
}

/// Answer of `imports`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ImportsAnswer {
    /// Newest first.
    pub imports: Vec<Import>,
    /// Give this as `after` for the next page; null on the last.
    pub next: Option<String>,
}

impl View for Imports {
    const NAME: &'static str = "imports";
    const SUMMARY: &'static str = "Statement imports";
    const VISIBILITY: &'static str = "Adults and auditors see all but those of accounts hidden from them.";
    const BY_DAY: Option<&'static str> = Some(
        "`booked` is the sum of the new rows up to that day. What the file held, and whether it was taken back, has no day and stands as recorded.",
    );
    type Params = ImportsParams;
    type Answer = ImportsAnswer;

    async fn read(tx: &mut PgConnection, viewer: &Viewer, params: ImportsParams) -> Result<ImportsAnswer, QueryError> {
        let limit = params::limit(params.limit)?;
        let after = params.after.as_deref().map(Cursor::decode).transpose()?;
        let scope = viewer.money_scope(tx).await?;
        let mut rows: Vec<Row> = sqlx::query_as(
            "select i.import_id, i.family_seq, i.connection_id, i.account_id, i.source, i.file_sha256, i.rows, i.rows_booked,
                i.rows_known, i.rows_categorised, i.rows_zero, i.booked - coalesce(later.amount, 0) as booked, i.currency,
                i.imported_at, i.is_undone, i.entries_reversed
            from imports i
            left join lateral (
                select sum(e.amount) as amount
                from entries e
                where e.family_id = i.family_id
                    and e.import_id = i.import_id
                    and e.effective_on > $4
            ) later on $4::date is not null
            where i.family_id = $1
                and ($2::bigint is null or i.family_seq < $2)
                and ($5::uuid[] is null or i.account_id = any($5))
            order by i.family_seq desc
            limit $3",
        )
        .bind(viewer.family())
        .bind(after.map(|cursor| cursor.family_seq))
        .bind(i64::from(limit) + 1)
        .bind(viewer.effective_on)
        .bind(scope.only())
        .fetch_all(tx)
        .await?;
        let next = next_page(&mut rows, limit, |row| row.family_seq);
        Ok(ImportsAnswer {
            imports: rows.into_iter().map(import).collect(),
            next,
        })
    }
}

#[derive(FromRow)]
struct Row {
    import_id: Uuid,
    family_seq: i64,
    connection_id: Uuid,
    account_id: Option<Uuid>,
    source: String,
    file_sha256: String,
    rows: i64,
    rows_booked: i64,
    rows_known: i64,
    rows_categorised: i64,
    rows_zero: i64,
    booked: Option<Decimal>,
    currency: Option<String>,
    imported_at: DateTime<Utc>,
    is_undone: bool,
    entries_reversed: i64,
}

fn import(row: Row) -> Import {
    Import {
        import_id: ImportId::from_uuid(row.import_id),
        connection_id: ConnectionId::from_uuid(row.connection_id),
        account_id: row.account_id.map(AccountId::from_uuid),
        source: row.source,
        file_sha256: row.file_sha256,
        rows: row.rows,
        rows_booked: row.rows_booked,
        rows_known: row.rows_known,
        rows_categorised: row.rows_categorised,
        rows_zero: row.rows_zero,
        booked: row
            .booked
            .zip(row.currency)
            .map(|(amount, currency)| Amount::new(amount, currency)),
        imported_at: row.imported_at,
        is_undone: row.is_undone,
        entries_reversed: row.entries_reversed,
    }
}
