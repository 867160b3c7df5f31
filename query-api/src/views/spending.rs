//! Spending by category. Sums of postings, so reversals and refunds are netted; whole months are read from month buckets and
//! only the days at the edges one by one, so a long stretch costs little more than a short one.

use std::collections::BTreeMap;

use chrono::{Datelike, Months, NaiveDate};
use domain::{calendar::Period, id::CategoryId};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use service_kit::problem::Problem;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use crate::{
    amount::Amount,
    error::QueryError,
    params,
    view::{View, Viewer},
};

/// Spending by category.
pub struct Spending;

/// Parameters of `spending`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpendingParams {
    /// From this day on; the first of the month of `to` when absent.
    pub from: Option<NaiveDate>,
    /// Up to this day, included; today in the family's zone when absent, or the last of the month of `from` when that lies
    /// ahead.
    pub to: Option<NaiveDate>,
}

/// What one category took in one currency.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CategorySpending {
    /// The category.
    pub category_id: CategoryId,
    /// Its name.
    pub category: String,
    /// Net spending; negative when more came back than went.
    pub spent: Amount,
}

/// Answer of `spending`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SpendingAnswer {
    /// The first day that counts.
    pub from: NaiveDate,
    /// The last day that counts.
    pub to: NaiveDate,
    /// Expense categories with any net spending: by currency, then most first.
    pub categories: Vec<CategorySpending>,
    /// The sum of the categories, one per currency.
    pub totals: Vec<Amount>,
}

impl View for Spending {
    const NAME: &'static str = "spending";
    const SUMMARY: &'static str = "Spending by category, net of reversals and refunds";
    const VISIBILITY: &'static str = "Adults and auditors see the family's, without what went through accounts hidden from them; a teen or child sees what went through their own accounts and those shared with them.";
    const BY_DAY: Option<&'static str> = Some("Spending of later days does not count; without `to`, up to that day.");
    type Params = SpendingParams;
    type Answer = SpendingAnswer;

    async fn read(
        tx: &mut PgConnection,
        viewer: &Viewer,
        params: SpendingParams,
    ) -> Result<SpendingAnswer, QueryError> {
        let (from, to) = stretch(viewer, params)?;
        let scope = viewer.money_scope(tx).await?;
        let sums = sums(tx, viewer, scope.only(), (from, to)).await?;
        let spent: Vec<Sum> = sums
            .into_iter()
            .filter(|sum| sum.kind == "expense" && !sum.amount.is_zero())
            .collect();
        let mut totals: BTreeMap<&str, Decimal> = BTreeMap::new();
        for sum in &spent {
            *totals.entry(&sum.currency).or_default() += sum.amount;
        }
        let totals = totals
            .into_iter()
            .map(|(currency, total)| Amount::new(total, currency))
            .collect();
        Ok(SpendingAnswer {
            from,
            to,
            categories: spent.into_iter().map(category).collect(),
            totals,
        })
    }
}

fn stretch(viewer: &Viewer, params: SpendingParams) -> Result<(NaiveDate, NaiveDate), Problem> {
    let from = params::day("from", params.from)?;
    let to = params::day("to", params.to)?;
    let month = |day| viewer.calendar.period_of(Period::Month, day);
    let (from, to) = match (from, to) {
        (Some(from), Some(to)) => (from, to),
        (Some(from), None) => (
            from,
            if from <= viewer.today {
                viewer.today
            } else {
                month(from).1
            },
        ),
        (None, to) => {
            let to = to.unwrap_or(viewer.today);
            (month(to).0, to)
        }
    };
    if from > to {
        return Err(Problem::malformed("from: expected a day that is not after `to`"));
    }
    Ok((from, to))
}

/// What was posted to one category in one currency; debit positive.
#[derive(FromRow)]
pub(crate) struct Sum {
    pub(crate) category_id: Uuid,
    pub(crate) category: String,
    pub(crate) kind: String,
    pub(crate) currency: String,
    pub(crate) amount: Decimal,
}

fn category(sum: Sum) -> CategorySpending {
    CategorySpending {
        category_id: CategoryId::from_uuid(sum.category_id),
        category: sum.category,
        spent: Amount::new(sum.amount, sum.currency),
    }
}

/// What every category took or brought in a stretch, both days included, by currency and then most first.
pub(crate) async fn sums(
    tx: &mut PgConnection,
    viewer: &Viewer,
    scope: Option<&[Uuid]>,
    (from, to): (NaiveDate, NaiveDate),
) -> Result<Vec<Sum>, QueryError> {
    let to = viewer.up_to(to);
    if from > to {
        return Ok(Vec::new());
    }
    let (months_from, months_until) = whole_months(from, to);
    let rows = sqlx::query_as(
        "select c.category_id, c.name as category, c.kind, s.currency, sum(s.amount) as amount
        from (
            select category_id, account_id, currency, amount
            from spending_months
            where family_id = $1
                and month_on >= $4
                and month_on < $5
            union all
            select category_id, account_id, currency, amount
            from spending_days
            where family_id = $1
                and effective_on >= $2
                and effective_on < $4
            union all
            select category_id, account_id, currency, amount
            from spending_days
            where family_id = $1
                and effective_on >= $5
                and effective_on <= $3
        ) s
        join categories c on c.family_id = $1 and c.category_id = s.category_id
        where $6::uuid[] is null or s.account_id = any($6)
        group by c.category_id, c.name, c.kind, s.currency
        order by s.currency, amount desc, c.name, c.category_id",
    )
    .bind(viewer.family())
    .bind(from)
    .bind(to)
    .bind(months_from)
    .bind(months_until)
    .bind(scope)
    .fetch_all(tx)
    .await?;
    Ok(rows)
}

/// The whole months inside a stretch: from the first of one to the first of another, not included. Days before and after are
/// outside; without a whole month, both are the stretch's first day, so that all of it counts as days after.
fn whole_months(from: NaiveDate, to: NaiveDate) -> (NaiveDate, NaiveDate) {
    let first_of = |day: NaiveDate| day.with_day(1).unwrap_or(day);
    let next = |first: NaiveDate| first.checked_add_months(Months::new(1)).unwrap_or(NaiveDate::MAX);
    let begin = if from.day() == 1 { from } else { next(first_of(from)) };
    let ends_a_month = to.succ_opt().is_none_or(|after| after.day() == 1);
    let end = if ends_a_month { next(first_of(to)) } else { first_of(to) };
    if begin < end { (begin, end) } else { (from, from) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(y: i32, m: u32, d: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(y, m, d).expect("a day")
    }

    #[test]
    fn whole_months_are_told_from_the_days_at_the_edges() {
        assert_eq!(
            whole_months(day(2026, 1, 1), day(2026, 1, 31)),
            (day(2026, 1, 1), day(2026, 2, 1))
        );
        assert_eq!(
            whole_months(day(2026, 1, 2), day(2026, 4, 29)),
            (day(2026, 2, 1), day(2026, 4, 1))
        );
        assert_eq!(
            whole_months(day(2026, 1, 2), day(2026, 1, 31)),
            (day(2026, 1, 2), day(2026, 1, 2))
        );
        assert_eq!(
            whole_months(day(2026, 1, 15), day(2026, 2, 14)),
            (day(2026, 1, 15), day(2026, 1, 15))
        );
        assert_eq!(
            whole_months(day(2025, 12, 31), day(2026, 12, 31)),
            (day(2026, 1, 1), day(2027, 1, 1))
        );
    }
}
