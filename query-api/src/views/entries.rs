//! Journal entries, newest first, page by page.
//!
//! The order is by day and then by `family_seq`, which no two entries of a family share; a cursor names a place in it, so pages
//! neither skip nor repeat whatever is recorded meanwhile. A filter by account or category walks that account's postings in the
//! same order, so its cost is the page's and not the history's.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};
use domain::{
    actor::Role,
    id::{AccountId, CategoryId, ChoreId, EntryId, ImportId, MemberId},
    journal::PostingAccount,
};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use service_kit::problem::Problem;
use sqlx::{FromRow, PgConnection, Postgres, QueryBuilder};
use uuid::Uuid;

use crate::{
    amount::Amount,
    cursor::Cursor,
    error::QueryError,
    params,
    view::{EVERYBODY, View, Viewer},
};

/// Longest text to look for, in characters. Source: ours.
const TEXT_CHARS_MAX: usize = 100;

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
    const VISIBLE_TO: &'static [Role] = EVERYBODY;
    const VISIBILITY: &'static str =
        "Adults and auditors see all; a teen or child sees those that move their own accounts, and of those only their own side.";
    type Params = EntriesParams;
    type Answer = EntriesAnswer;

    async fn read(tx: &mut PgConnection, viewer: &Viewer, params: EntriesParams) -> Result<EntriesAnswer, QueryError> {
        let filter = Filter::checked(params)?;
        let scope = viewer.money_scope(tx).await?;
        page(tx, viewer, scope.as_deref(), &filter).await
    }
}

/// Parameters that were checked.
pub(crate) struct Filter {
    from: Option<NaiveDate>,
    to: Option<NaiveDate>,
    account_id: Option<Uuid>,
    category_id: Option<Uuid>,
    member_id: Option<Uuid>,
    min_amount: Option<Decimal>,
    max_amount: Option<Decimal>,
    pattern: Option<String>,
    after: Option<Cursor>,
    limit: u32,
}

impl Filter {
    /// The newest, unfiltered.
    pub(crate) fn newest(limit: u32) -> Self {
        Self {
            from: None,
            to: None,
            account_id: None,
            category_id: None,
            member_id: None,
            min_amount: None,
            max_amount: None,
            pattern: None,
            after: None,
            limit,
        }
    }

    fn checked(params: EntriesParams) -> Result<Self, Problem> {
        Ok(Self {
            from: params::day("from", params.from)?,
            to: params::day("to", params.to)?,
            account_id: params.account_id.map(|id| id.uuid()),
            category_id: params.category_id.map(|id| id.uuid()),
            member_id: params.member_id.map(|id| id.uuid()),
            min_amount: size("min_amount", params.min_amount.as_deref())?,
            max_amount: size("max_amount", params.max_amount.as_deref())?,
            pattern: params.text.as_deref().map(pattern).transpose()?,
            after: params.after.as_deref().map(Cursor::decode).transpose()?,
            limit: params::limit(params.limit)?,
        })
    }
}

/// A plain decimal from 0, such as `12.30`.
fn size(name: &str, text: Option<&str>) -> Result<Option<Decimal>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let plain = text.len() <= 28
        && text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_digit() || c == '.');
    let parsed = if plain { Decimal::from_str_exact(text).ok() } else { None };
    parsed.map(Some).ok_or_else(|| Problem::malformed(format!("{name}: expected a decimal from 0, such as 12.30")))
}

/// The text as a pattern for `like`, with its wildcards made plain.
fn pattern(text: &str) -> Result<String, Problem> {
    if text.chars().count() > TEXT_CHARS_MAX || text.chars().any(char::is_control) {
        return Err(Problem::malformed(format!("text: expected at most {TEXT_CHARS_MAX} characters, none a control character")));
    }
    let plain = text.to_lowercase().replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
    Ok(format!("%{plain}%"))
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
    import_id: Option<Uuid>,
    chore_id: Option<Uuid>,
}

/// One page of the entries in scope.
pub(crate) async fn page(
    tx: &mut PgConnection,
    viewer: &Viewer,
    scope: Option<&[Uuid]>,
    filter: &Filter,
) -> Result<EntriesAnswer, QueryError> {
    let Some(mut query) = select(viewer, scope, filter) else {
        return Ok(EntriesAnswer { entries: Vec::new(), next: None });
    };
    let mut rows: Vec<Row> = query.build_query_as().fetch_all(&mut *tx).await?;
    let is_last = rows.len() <= filter.limit as usize;
    rows.truncate(filter.limit as usize);
    let last = rows.last().filter(|_| !is_last);
    let next = last.map(|row| Cursor { day: row.effective_on, family_seq: row.family_seq }.encode());
    let mut postings = postings(tx, viewer, scope, &rows).await?;
    let entries = rows.into_iter().map(|row| {
        let lines = postings.remove(&row.entry_id).unwrap_or_default();
        entry(row, lines, scope)
    });
    Ok(EntriesAnswer { entries: entries.collect(), next })
}

/// The ledger accounts whose postings lead to the entries: none for all entries of the family, an empty list for no entry at all.
fn leading(scope: Option<&[Uuid]>, filter: &Filter) -> Option<Vec<String>> {
    let of = |id: &Uuid| PostingAccount::Account(AccountId::from_uuid(*id)).to_string();
    match (scope, filter.account_id) {
        (None, Some(account)) => Some(vec![of(&account)]),
        (Some(own), Some(account)) => Some(own.iter().filter(|id| **id == account).map(of).collect()),
        (Some(own), None) => Some(own.iter().map(of).collect()),
        (None, None) => filter.category_id.map(|category| vec![category_account(category)]),
    }
}

fn category_account(category: Uuid) -> String {
    PostingAccount::Category(CategoryId::from_uuid(category)).to_string()
}

/// The statement of a page, with one row more to tell whether another page follows; none when no entry can match.
fn select(viewer: &Viewer, scope: Option<&[Uuid]>, filter: &Filter) -> Option<QueryBuilder<'static, Postgres>> {
    let rows = i64::from(filter.limit) + 1;
    let Some(leading) = leading(scope, filter) else {
        let mut query = QueryBuilder::new("select e.* from views.entries e where e.family_id = ");
        query.push_bind(viewer.family());
        push_filters(&mut query, filter, "e", "e.amount");
        query.push(" order by e.effective_on desc, e.family_seq desc limit ").push_bind(rows);
        return Some(query);
    };
    if leading.is_empty() {
        return None;
    }
    let led_by_category = scope.is_none() && filter.account_id.is_none();
    // A child's side of a transfer is the line of their own wallet, so sizes are compared there.
    let size = if scope.is_some() { "p.amount" } else { "e.amount" };
    let mut query = QueryBuilder::new(
        "select distinct on (led.effective_on, led.family_seq) led.*
        from unnest(",
    );
    query.push_bind(leading);
    query.push(
        "::text[]) as l (ledger_account)
        cross join lateral (
            select distinct on (p.effective_on, p.family_seq) e.*
            from views.entry_postings p
            join views.entries e on e.family_id = p.family_id and e.entry_id = p.entry_id
            where p.ledger_account = l.ledger_account
                and p.family_id = ",
    );
    query.push_bind(viewer.family());
    push_filters(&mut query, filter, "p", size);
    if let Some(category) = filter.category_id.filter(|_| !led_by_category) {
        query.push(
            " and exists (select 1 from views.entry_postings q where q.family_id = e.family_id and q.entry_id = e.entry_id
                and q.ledger_account = ",
        );
        query.push_bind(category_account(category)).push(")");
    }
    query.push(" order by p.effective_on desc, p.family_seq desc limit ").push_bind(rows);
    query.push(") led order by led.effective_on desc, led.family_seq desc limit ").push_bind(rows);
    Some(query)
}

/// Filters on an entry `e` whose place in the order is read from `place`, and whose size from `size`.
fn push_filters(query: &mut QueryBuilder<'static, Postgres>, filter: &Filter, place: &str, size: &str) {
    if let Some(after) = filter.after {
        query.push(format!(" and ({place}.effective_on, {place}.family_seq) < ("));
        query.push_bind(after.day).push(", ").push_bind(after.family_seq).push(")");
    }
    if let Some(from) = filter.from {
        query.push(format!(" and {place}.effective_on >= ")).push_bind(from);
    }
    if let Some(to) = filter.to {
        query.push(format!(" and {place}.effective_on <= ")).push_bind(to);
    }
    if let Some(least) = filter.min_amount {
        query.push(format!(" and abs({size}) >= ")).push_bind(least);
    }
    if let Some(most) = filter.max_amount {
        query.push(format!(" and abs({size}) <= ")).push_bind(most);
    }
    if let Some(pattern) = &filter.pattern {
        query.push(" and e.search like ").push_bind(pattern.clone());
    }
    if let Some(member) = filter.member_id {
        query.push(" and (e.entered_by = ").push_bind(member);
        query.push(
            " or exists (select 1 from views.entry_postings q
                join views.accounts a on a.family_id = q.family_id and 'acc_' || a.account_id = q.ledger_account
                where q.family_id = e.family_id and q.entry_id = e.entry_id and a.owner_id = ",
        );
        query.push_bind(member).push("))");
    }
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
        from views.entry_postings
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
        let account = ledger_account.parse().map_err(|_| QueryError::Row { what: "entry_postings" })?;
        let is_visible = match (scope, account) {
            (Some(own), PostingAccount::Account(account)) => own.contains(&account.uuid()),
            // The far side of an exchange would tell what another account paid.
            (Some(_), PostingAccount::Equity(_)) => false,
            _ => true,
        };
        if is_visible {
            lines.entry(entry_id).or_default().push((account, amount, currency));
        }
    }
    Ok(lines)
}

fn entry(row: Row, lines: Lines, scope: Option<&[Uuid]>) -> Entry {
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
        is_reversed: row.is_reversed,
        reversal_reason: row.reversal_reason,
        import_id: row.import_id.map(ImportId::from_uuid),
        chore_id: row.chore_id.map(ChoreId::from_uuid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_plain_decimal() {
        assert!(matches!(size("min_amount", Some("12.30")), Ok(Some(_))));
        for text in ["", "-1", "1e3", ".5", "1,5", "NaN", "1.2.3", &"9".repeat(40)] {
            assert!(size("min_amount", Some(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn wildcards_in_a_text_are_plain_letters() {
        assert_eq!(pattern("50%_A\\").expect("a pattern"), "%50\\%\\_a\\\\%");
        assert!(pattern("a\u{0}b").is_err());
    }
}
