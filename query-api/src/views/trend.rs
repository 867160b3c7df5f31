//! The monthly trend: income, spending and what is left, month by month and currency by currency.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{Months, NaiveDate};
use domain::calendar::Period;
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use service_kit::problem::Problem;
use sqlx::PgConnection;

use crate::{
    amount::Amount,
    error::QueryError,
    view::{View, Viewer},
};

/// Most months of one answer. Source: ours.
const MONTHS_MAX: u32 = 120;
/// Months when nothing is said.
const MONTHS_DEFAULT: u32 = 12;

/// Income and spending by month.
pub struct Trend;

/// Parameters of `trend`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrendParams {
    /// How many months up to and with the last, 1 to 120; 12 when absent.
    pub months: Option<u32>,
    /// The last month, by any of its days; the current one when absent.
    pub to: Option<NaiveDate>,
}

/// One month in one currency.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TrendMonth {
    /// The month's first day.
    pub month: NaiveDate,
    /// ISO 4217 code.
    pub currency: String,
    /// What came in.
    pub income: Amount,
    /// What went out, net of refunds.
    pub spending: Amount,
    /// Income less spending.
    pub net: Amount,
}

/// Answer of `trend`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TrendAnswer {
    /// Oldest first; within a month by currency. Months without money are there, with zeros.
    pub months: Vec<TrendMonth>,
}

impl View for Trend {
    const NAME: &'static str = "trend";
    const SUMMARY: &'static str = "Income, spending and net by month and currency";
    const VISIBILITY: &'static str = "Adults and auditors see the family's, without what went through accounts hidden from them; a teen or child sees what went through their own accounts and those shared with them.";
    const BY_DAY: Option<&'static str> =
        Some("Money of later days does not count; without `to`, up to the month of that day.");
    type Params = TrendParams;
    type Answer = TrendAnswer;

    async fn read(tx: &mut PgConnection, viewer: &Viewer, params: TrendParams) -> Result<TrendAnswer, QueryError> {
        let months = months(viewer, params)?;
        let (Some(first), Some(last)) = (months.first(), months.last()) else {
            return Ok(TrendAnswer { months: Vec::new() });
        };
        let scope = viewer.money_scope(tx).await?;
        // A bound by day cuts one month in two: the months before it are whole, of that one the days are read.
        let cut = viewer
            .effective_on
            .map(|day| (viewer.calendar.period_of(Period::Month, day).0, day));
        let rows: Vec<(NaiveDate, String, String, Decimal)> = sqlx::query_as(
            "select s.month_on, s.currency, c.kind, sum(s.amount)
            from (
                select month_on, category_id, account_id, currency, amount
                from spending_months
                where family_id = $1
                    and month_on between $2 and $3
                    and ($5::date is null or month_on < $5)
                union all
                select $5::date, category_id, account_id, currency, amount
                from spending_days
                where family_id = $1
                    and $5::date between $2 and $3
                    and effective_on between $5 and $6::date
            ) s
            join categories c on c.family_id = $1 and c.category_id = s.category_id
            where $4::uuid[] is null or s.account_id = any($4)
            group by s.month_on, s.currency, c.kind",
        )
        .bind(viewer.family())
        .bind(first)
        .bind(last)
        .bind(scope.only())
        .bind(cut.map(|(month, _)| month))
        .bind(cut.map(|(_, day)| day))
        .fetch_all(tx)
        .await?;
        Ok(TrendAnswer {
            months: filled(&months, viewer.currency.code(), rows),
        })
    }
}

/// The first days of the months asked for, oldest first.
fn months(viewer: &Viewer, params: TrendParams) -> Result<Vec<NaiveDate>, Problem> {
    let count = params.months.unwrap_or(MONTHS_DEFAULT);
    if !(1..=MONTHS_MAX).contains(&count) {
        return Err(Problem::malformed(format!(
            "months: expected a number from 1 to {MONTHS_MAX}"
        )));
    }
    let to = crate::params::day("to", params.to)?.unwrap_or(viewer.today);
    let (last, _) = viewer.calendar.period_of(Period::Month, to);
    Ok((0..count)
        .rev()
        .filter_map(|back| last.checked_sub_months(Months::new(back)))
        .collect())
}

fn filled(months: &[NaiveDate], own: &str, rows: Vec<(NaiveDate, String, String, Decimal)>) -> Vec<TrendMonth> {
    let mut currencies: BTreeSet<String> = rows.iter().map(|(_, currency, ..)| currency.clone()).collect();
    if currencies.is_empty() {
        currencies.insert(own.to_owned());
    }
    let mut sums: BTreeMap<(NaiveDate, String), (Decimal, Decimal)> = BTreeMap::new();
    for (month, currency, kind, amount) in rows {
        let (income, spending) = sums.entry((month, currency)).or_default();
        // An income category is credited, so what it brought is negative there.
        if kind == "income" {
            *income -= amount
        } else {
            *spending += amount
        }
    }
    let mut filled = Vec::with_capacity(months.len() * currencies.len());
    for month in months {
        for currency in &currencies {
            let (income, spending) = sums.get(&(*month, currency.clone())).copied().unwrap_or_default();
            filled.push(TrendMonth {
                month: *month,
                currency: currency.clone(),
                income: Amount::new(income, currency.clone()),
                spending: Amount::new(spending, currency.clone()),
                net: Amount::new(income - spending, currency.clone()),
            });
        }
    }
    filled
}
