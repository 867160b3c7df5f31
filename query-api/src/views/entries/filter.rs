//! Which entries: the checked filter and the statement made of it.

use chrono::NaiveDate;
use domain::{
    id::{AccountId, CategoryId},
    journal::PostingAccount,
};
use rust_decimal::Decimal;
use service_kit::problem::Problem;
use sqlx::{Postgres, QueryBuilder};
use uuid::Uuid;

use super::EntriesParams;
use crate::{cursor::Cursor, params, view::Viewer};

/// Longest text to look for, in characters. Source: ours.
const TEXT_CHARS_MAX: usize = 100;

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
    pub(super) limit: u32,
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

    /// The same, without entries of later days.
    pub(crate) fn until(self, day: Option<NaiveDate>) -> Self {
        Self {
            to: params::earlier(self.to, day),
            ..self
        }
    }

    pub(super) fn checked(params: EntriesParams) -> Result<Self, Problem> {
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
    let parsed = if plain {
        Decimal::from_str_exact(text).ok()
    } else {
        None
    };
    parsed
        .map(Some)
        .ok_or_else(|| Problem::malformed(format!("{name}: expected a decimal from 0, such as 12.30")))
}

/// The text as a pattern for `like`, with its wildcards made plain.
fn pattern(text: &str) -> Result<String, Problem> {
    if text.chars().count() > TEXT_CHARS_MAX || text.chars().any(char::is_control) {
        return Err(Problem::malformed(format!(
            "text: expected at most {TEXT_CHARS_MAX} characters, none a control character"
        )));
    }
    let plain = text
        .to_lowercase()
        .replace('\\', "\\\\")
        .replace('%', "\\%")
        .replace('_', "\\_");
    Ok(format!("%{plain}%"))
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
pub(super) fn select(
    filter: &Filter,
    viewer: &Viewer,
    scope: Option<&[Uuid]>,
) -> Option<QueryBuilder<'static, Postgres>> {
    let rows = i64::from(filter.limit) + 1;
    let Some(leading) = leading(scope, filter) else {
        let mut query = QueryBuilder::new("select e.* from entries e where e.family_id = ");
        query.push_bind(viewer.family());
        push_filters(&mut query, filter, None, "e", "e.amount");
        query
            .push(" order by e.effective_on desc, e.family_seq desc limit ")
            .push_bind(rows);
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
            from entry_postings p
            join entries e on e.family_id = p.family_id and e.entry_id = p.entry_id
            where p.ledger_account = l.ledger_account
                and p.family_id = ",
    );
    query.push_bind(viewer.family());
    push_filters(&mut query, filter, scope, "p", size);
    if let Some(category) = filter.category_id.filter(|_| !led_by_category) {
        query.push(
            " and exists (select 1 from entry_postings q where q.family_id = e.family_id and q.entry_id = e.entry_id
                and q.ledger_account = ",
        );
        query.push_bind(category_account(category)).push(")");
    }
    query
        .push(" order by p.effective_on desc, p.family_seq desc limit ")
        .push_bind(rows);
    query
        .push(") led order by led.effective_on desc, led.family_seq desc limit ")
        .push_bind(rows);
    Some(query)
}

/// Filters on an entry `e` whose place in the order is read from `place`, and whose size from `size`.
fn push_filters(
    query: &mut QueryBuilder<'static, Postgres>,
    filter: &Filter,
    scope: Option<&[Uuid]>,
    place: &str,
    size: &str,
) {
    if let Some(after) = filter.after {
        query.push(format!(" and ({place}.effective_on, {place}.family_seq) < ("));
        query
            .push_bind(after.day)
            .push(", ")
            .push_bind(after.family_seq)
            .push(")");
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
            " or exists (select 1 from entry_postings q
                join accounts a on a.family_id = q.family_id and 'acc_' || a.account_id = q.ledger_account
                where q.family_id = e.family_id and q.entry_id = e.entry_id and a.owner_id = ",
        );
        query.push_bind(member);
        if let Some(own) = scope {
            // Whose the other side is, is not told either.
            query.push(" and a.account_id = any(").push_bind(own.to_vec()).push(")");
        }
        query.push("))");
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
