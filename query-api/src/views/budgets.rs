//! Budgets and how much of each is spent.
//!
//! For a period, the amount that holds is the one set for the latest period up to it; of several set for the same period, the
//! last that was said. Spending is the sum of the category's day buckets in that period, so reversals and refunds give it back.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use domain::{
    calendar::{Period, WeekStart},
    id::{BudgetId, CategoryId},
};
use rust_decimal::{Decimal, prelude::ToPrimitive};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use crate::{
    amount::Amount,
    error::QueryError,
    params,
    scope::MoneyScope,
    view::{View, Viewer},
};

/// Budget progress.
pub struct Budgets;

/// Parameters of `budgets`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BudgetsParams {
    /// The week and month that hold this day; today in the family's zone when absent.
    pub on: Option<NaiveDate>,
}

/// One budget in one period.
#[derive(Debug, Serialize, JsonSchema)]
pub struct BudgetProgress {
    /// The budget.
    pub budget_id: BudgetId,
    /// Its category.
    pub category_id: CategoryId,
    /// The category's name.
    pub category: String,
    /// `week` or `month`.
    pub period: String,
    /// The period's first day.
    pub first_on: NaiveDate,
    /// The period's last day, included.
    pub last_on: NaiveDate,
    /// What may be spent.
    pub amount: Amount,
    /// What is spent, in the budget's currency; negative when more came back than went.
    pub spent: Amount,
    /// What is left; negative when overspent.
    pub left: Amount,
    /// Spent of the amount in whole percent, rounded down.
    pub percent: i64,
    /// Spending of the category in other currencies, which the budget cannot count.
    pub spent_in_other_currencies: Vec<Amount>,
}

/// Answer of `budgets`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct BudgetsAnswer {
    /// By category name. A budget set to zero has ended and is not listed.
    pub budgets: Vec<BudgetProgress>,
}

impl View for Budgets {
    const NAME: &'static str = "budgets";
    const SUMMARY: &'static str = "Budgets and how much of each is spent";
    const VISIBILITY: &'static str = "Adults and auditors see all budgets. What went through accounts hidden from the asking member is not counted as spent.";
    const BY_DAY: Option<&'static str> = Some(
        "The amounts that were set for that day, and the spending up to it; without `on`, of the week and month that hold it.",
    );
    type Params = BudgetsParams;
    type Answer = BudgetsAnswer;

    async fn read(tx: &mut PgConnection, viewer: &Viewer, params: BudgetsParams) -> Result<BudgetsAnswer, QueryError> {
        let on = params::day("on", params.on)?.unwrap_or(viewer.today);
        let scope = viewer.money_scope(tx).await?;
        Ok(BudgetsAnswer {
            budgets: progress(tx, viewer, &scope, on).await?,
        })
    }
}

#[derive(FromRow)]
struct Row {
    budget_id: Uuid,
    category_id: Uuid,
    category: String,
    period: String,
    amount: Decimal,
    currency: String,
}

/// Every budget that holds on a day.
pub(crate) async fn progress(
    tx: &mut PgConnection,
    viewer: &Viewer,
    scope: &MoneyScope,
    on: NaiveDate,
) -> Result<Vec<BudgetProgress>, QueryError> {
    let week = viewer.calendar.period_of(Period::Week, on);
    let month = viewer.calendar.period_of(Period::Month, on);
    let rows: Vec<Row> = sqlx::query_as(
        "select h.budget_id, h.category_id, c.name as category, h.period, h.amount, h.currency
        from (
            select distinct on (b.budget_id) b.*
            from budgets b
            where b.family_id = $1
                and b.effective_on <= case b.period when 'week' then $2::date else $3::date end
                and ($5::date is null or b.effective_on <= $5)
            order by b.budget_id,
                case b.period
                    when 'week' then b.effective_on - (extract(isodow from b.effective_on)::integer - $4 + 7) % 7
                    else date_trunc('month', b.effective_on)::date
                end desc,
                b.family_seq desc
        ) h
        join categories c on c.family_id = h.family_id and c.category_id = h.category_id
        where h.amount > 0
        order by c.name, h.period, h.budget_id",
    )
    .bind(viewer.family())
    .bind(week.1)
    .bind(month.1)
    .bind(iso_weekday(viewer.calendar.week_start))
    .bind(viewer.effective_on)
    .fetch_all(&mut *tx)
    .await?;
    let spent_in_week = spent(tx, viewer, scope, week, &rows, Period::Week).await?;
    let spent_in_month = spent(tx, viewer, scope, month, &rows, Period::Month).await?;
    let of = |row: Row| {
        let (period, spent) = if row.period == "week" {
            (week, &spent_in_week)
        } else {
            (month, &spent_in_month)
        };
        budget(row, period, spent)
    };
    Ok(rows.into_iter().map(of).collect())
}

/// Monday is 1, Sunday 7, as ISO 8601 counts.
fn iso_weekday(week_start: WeekStart) -> i32 {
    match week_start {
        WeekStart::Monday => 1,
        WeekStart::Saturday => 6,
        WeekStart::Sunday => 7,
    }
}

type Spent = BTreeMap<(Uuid, String), Decimal>;

async fn spent(
    tx: &mut PgConnection,
    viewer: &Viewer,
    scope: &MoneyScope,
    (first, last): (NaiveDate, NaiveDate),
    rows: &[Row],
    period: Period,
) -> Result<Spent, QueryError> {
    let categories: Vec<Uuid> = rows
        .iter()
        .filter(|row| row.period == period.as_str())
        .map(|row| row.category_id)
        .collect();
    if categories.is_empty() {
        return Ok(Spent::new());
    }
    let sums: Vec<(Uuid, String, Decimal)> = sqlx::query_as(
        "select category_id, currency, sum(amount)
        from spending_days
        where family_id = $1
            and effective_on between $2 and $3
            and category_id = any($4)
            and ($5::uuid[] is null or account_id = any($5))
        group by category_id, currency",
    )
    .bind(viewer.family())
    .bind(first)
    .bind(viewer.up_to(last))
    .bind(categories)
    .bind(scope.only())
    .fetch_all(tx)
    .await?;
    Ok(sums
        .into_iter()
        .map(|(category, currency, sum)| ((category, currency), sum))
        .collect())
}

fn budget(row: Row, (first_on, last_on): (NaiveDate, NaiveDate), spent: &Spent) -> BudgetProgress {
    let of_category = spent
        .range((row.category_id, String::new())..)
        .take_while(|((id, _), _)| *id == row.category_id);
    let other = of_category.filter(|((_, currency), sum)| *currency != row.currency && !sum.is_zero());
    let spent_in_other_currencies = other
        .map(|((_, currency), sum)| Amount::new(*sum, currency.clone()))
        .collect();
    let sum = spent
        .get(&(row.category_id, row.currency.clone()))
        .copied()
        .unwrap_or_default();
    BudgetProgress {
        budget_id: BudgetId::from_uuid(row.budget_id),
        category_id: CategoryId::from_uuid(row.category_id),
        category: row.category,
        period: row.period,
        first_on,
        last_on,
        amount: Amount::new(row.amount, row.currency.clone()),
        spent: Amount::new(sum, row.currency.clone()),
        left: Amount::new(row.amount - sum, row.currency),
        percent: percent(sum, row.amount),
        spent_in_other_currencies,
    }
}

/// Whole percent, rounded down; `amount` is more than nothing.
fn percent(spent: Decimal, amount: Decimal) -> i64 {
    let exact = spent
        .checked_mul(Decimal::ONE_HUNDRED)
        .and_then(|hundredfold| hundredfold.checked_div(amount));
    exact.and_then(|exact| exact.floor().to_i64()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_is_rounded_down() {
        let of = |spent: i64, amount: i64| percent(Decimal::new(spent, 2), Decimal::new(amount, 2));
        assert_eq!(of(0, 100), 0);
        assert_eq!(of(999, 1_000), 99);
        assert_eq!(of(1_000, 1_000), 100);
        assert_eq!(of(1_005, 1_000), 100);
        assert_eq!(of(-1, 1_000), -1);
    }
}
