//! Journal entries, newest first, page by page.
//!
//! The order is by day and then by `family_seq`, which no two entries of a family share; a cursor names a place in it, so pages
//! neither skip nor repeat whatever is recorded meanwhile. A filter by account or category walks that account's postings in the
//! same order, so its cost is the page's and not the history's.

mod filter;

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};
use domain::{
    id::{AccountId, CategoryId, ChoreId, EntryId, ImportId, MemberId},
    journal::PostingAccount,
};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use crate::{
    amount::Amount,
    cursor::Cursor,
    error::QueryError,
    scope::MoneyScope,
    view::{View, Viewer},
};
pub(crate) use filter::Filter;

/// Entries, newest first.
pub struct Entries;

/// Parameters of `entries`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EntriesParams {
    /// From this day on.
    pub from: Option<NaiveDate>,
    /// Up to this day, included.
    pub to: Option<NaiveDate>,
    /// Only entries that move this account.
    pub account_id: Option<AccountId>,
    /// Only entries in this category.
    pub category_id: Option<CategoryId>,
    /// Only entries that this member entered, or that move an account of theirs.
    pub member_id: Option<MemberId>,
    /// Only entries of at least this size, whichever way the money went.
    pub min_amount: Option<String>,
    /// Only entries of at most this size, whichever way the money went.
    pub max_amount: Option<String>,
    /// Only entries whose payee or note has this in it, letter case aside; at most 100 characters.
    pub text: Option<String>,
    /// The cursor of the page before.
    pub after: Option<String>,
    /// Rows of a page, 1 to 200; 50 when absent.
    pub limit: Option<u32>,
}

/// One line of an entry.
#[derive(Debug, Serialize, JsonSchema)]
pub struct EntryPosting {
    /// `acc_…`, `cat_…` or an equity account.
    pub ledger_account: String,
    /// Debit positive: money into an account or spent in a category is positive, money out of an account or earned in a
    /// category negative.
    pub amount: Amount,
}

/// One journal entry as it stands.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Entry {
    /// The entry.
    pub entry_id: EntryId,
    /// `expense`, `income`, `transfer`, `opening` or `bank`.
    pub kind: String,
    /// The day it counts for.
    pub effective_on: NaiveDate,
    /// When it was recorded (UTC).
    pub recorded_at: DateTime<Utc>,
    /// The event that recorded it.
    pub family_seq: i64,
    /// Signed from the account's side: an expense is negative. Of a transfer, what left the source, without sign.
    pub amount: Amount,
    /// Its lines, as far as the viewer may see the accounts.
    pub postings: Vec<EntryPosting>,
    /// Who was paid, or paid; of a bank row the creditor or debtor.
    pub payee: String,
    /// A note; of a bank row the remittance information.
    pub note: String,
    /// The member who entered it.
    pub entered_by: Option<MemberId>,
    /// Was it undone by its mirror image? Its lines are those before that.
    pub is_reversed: bool,
    /// Why it was reversed.
    pub reversal_reason: String,
    /// The import that brought it.
    pub import_id: Option<ImportId>,
    /// The chore it is the reward of.
    pub chore_id: Option<ChoreId>,
}

/// Answer of `entries`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct EntriesAnswer {
    /// Newest day first, and within a day the last recorded first.
    pub entries: Vec<Entry>,
    /// Give this as `after` for the next page; null on the last.
    pub next: Option<String>,
}

impl View for Entries {
    const NAME: &'static str = "entries";
    const SUMMARY: &'static str = "Journal entries, newest first";
    const VISIBILITY: &'static str = "Adults and auditors see all; a teen or child sees those that move their own accounts or accounts shared with them. Of an entry that also moves an account hidden from the asking member, only the other side is shown.";
    const BY_DAY: Option<&'static str> =
        Some("Entries of later days are left out, and a reversal that counts for a later day has not happened yet.");
    type Params = EntriesParams;
    type Answer = EntriesAnswer;

    async fn read(tx: &mut PgConnection, viewer: &Viewer, params: EntriesParams) -> Result<EntriesAnswer, QueryError> {
        let filter = Filter::checked(params)?.until(viewer.effective_on);
        let scope = viewer.money_scope(tx).await?;
        page(tx, viewer, &scope, &filter).await
    }
}

#[derive(FromRow)]
struct Row {
    entry_id: Uuid,
    kind: String,
    effective_on: NaiveDate,
    recorded_at: DateTime<Utc>,
    family_seq: i64,
    amount: Decimal,
    currency: String,
    payee: String,
    note: String,
    entered_by: Option<Uuid>,
    is_reversed: bool,
    reversal_reason: String,
    reversed_on: Option<NaiveDate>,
    import_id: Option<Uuid>,
    chore_id: Option<Uuid>,
}

/// One page of the entries in scope.
pub(crate) async fn page(
    tx: &mut PgConnection,
    viewer: &Viewer,
    scope: &MoneyScope,
    filter: &Filter,
) -> Result<EntriesAnswer, QueryError> {
    let scope = scope.only();
    let Some(mut query) = filter::select(filter, viewer, scope) else {
        return Ok(EntriesAnswer {
            entries: Vec::new(),
            next: None,
        });
    };
    let mut rows: Vec<Row> = query.build_query_as().fetch_all(&mut *tx).await?;
    let is_last = rows.len() <= filter.limit as usize;
    rows.truncate(filter.limit as usize);
    let last = rows.last().filter(|_| !is_last);
    let next = last.map(|row| {
        Cursor {
            day: row.effective_on,
            family_seq: row.family_seq,
        }
        .encode()
    });
    let mut postings = postings(tx, viewer, scope, &rows).await?;
    let entries = rows.into_iter().map(|row| {
        let lines = postings.remove(&row.entry_id).unwrap_or_default();
        entry(row, lines, viewer, scope)
    });
    Ok(EntriesAnswer {
        entries: entries.collect(),
        next,
    })
}

type Lines = Vec<(PostingAccount, Decimal, String)>;

/// The lines of a page's entries that the viewer may see: not those of other people's accounts.
async fn postings(
    tx: &mut PgConnection,
    viewer: &Viewer,
    scope: Option<&[Uuid]>,
    rows: &[Row],
) -> Result<HashMap<Uuid, Lines>, QueryError> {
    let found: Vec<(Uuid, String, Decimal, String)> = sqlx::query_as(
        "select entry_id, ledger_account, amount, currency
        from entry_postings
        where family_id = $1
            and entry_id = any($2)
        order by entry_id, line",
    )
    .bind(viewer.family())
    .bind(rows.iter().map(|row| row.entry_id).collect::<Vec<_>>())
    .fetch_all(tx)
    .await?;
    let mut lines: HashMap<Uuid, Lines> = HashMap::new();
    for (entry_id, ledger_account, amount, currency) in found {
        let account = ledger_account
            .parse()
            .map_err(|_| QueryError::Row { what: "entry_postings" })?;
        lines.entry(entry_id).or_default().push((account, amount, currency));
    }
    if let Some(own) = scope {
        let is_hidden = |place: &PostingAccount| matches!(place, PostingAccount::Account(account) if !own.contains(&account.uuid()));
        for lines in lines.values_mut() {
            // The far side of an exchange would tell what another account paid.
            let shows_equity = viewer.sees_all_money() && !lines.iter().any(|(place, ..)| is_hidden(place));
            lines.retain(|(place, ..)| {
                !is_hidden(place) && (shows_equity || !matches!(place, PostingAccount::Equity(_)))
            });
        }
    }
    Ok(lines)
}

fn entry(row: Row, lines: Lines, viewer: &Viewer, scope: Option<&[Uuid]>) -> Entry {
    // A reversal counts for the entry's own day or a later one. Rows of before that day was kept have none: their own it was,
    // unless somebody said otherwise.
    let reversed_on = row.reversed_on.unwrap_or(row.effective_on);
    let is_reversed = row.is_reversed && viewer.up_to(reversed_on) == reversed_on;
    let is_own = |(account, _, _): &&(PostingAccount, Decimal, String)| matches!(account, PostingAccount::Account(_));
    let own = lines.iter().find(is_own).filter(|_| scope.is_some());
    let amount = match own {
        Some((_, amount, currency)) if row.kind == "transfer" => Amount::new(amount.abs(), currency.clone()),
        Some((_, amount, currency)) => Amount::new(*amount, currency.clone()),
        None => Amount::new(row.amount, row.currency),
    };
    let posting = |(account, amount, currency): (PostingAccount, Decimal, String)| EntryPosting {
        ledger_account: account.to_string(),
        amount: Amount::new(amount, currency),
    };
    Entry {
        entry_id: EntryId::from_uuid(row.entry_id),
        kind: row.kind,
        effective_on: row.effective_on,
        recorded_at: row.recorded_at,
        family_seq: row.family_seq,
        amount,
        postings: lines.into_iter().map(posting).collect(),
        payee: row.payee,
        note: row.note,
        entered_by: row.entered_by.map(MemberId::from_uuid),
        is_reversed,
        reversal_reason: if is_reversed {
            row.reversal_reason
        } else {
            String::new()
        },
        import_id: row.import_id.map(ImportId::from_uuid),
        chore_id: row.chore_id.map(ChoreId::from_uuid),
    }
}
