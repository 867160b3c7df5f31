//! The dashboard: what a member wants to see first, from the same reads as the views it summarises.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use domain::{actor::Role, calendar::Period, id::MemberId};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::Serialize;
use sqlx::PgConnection;

use super::{
    accounts::{self, Account},
    budgets::{self, BudgetProgress},
    chores::{self, Chore, ChoreFilter},
    entries::{self, Entry, Filter},
    notifications,
    spending::{self, Sum},
};
use crate::{
    amount::Amount,
    error::QueryError,
    params::NoParams,
    view::{View, Viewer},
};

/// Entries shown.
const ENTRIES_SHOWN: u32 = 10;
/// Open chores shown.
const CHORES_SHOWN: u32 = 20;

/// A member's first page.
pub struct Dashboard;

/// The month up to today.
#[derive(Debug, Serialize, JsonSchema)]
pub struct MonthSoFar {
    /// The month's first day.
    pub first_on: NaiveDate,
    /// Today in the family's zone, included.
    pub last_on: NaiveDate,
    /// What came in, one per currency.
    pub income: Vec<Amount>,
    /// What went out, net of refunds, one per currency.
    pub spending: Vec<Amount>,
    /// Income less spending, one per currency.
    pub net: Vec<Amount>,
}

/// Answer of `dashboard`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DashboardAnswer {
    /// What the family calls itself.
    pub family: String,
    /// The currency of its reports.
    pub currency: String,
    /// Today in the family's zone; with `effective_on`, that day.
    pub today: NaiveDate,
    /// The asking member.
    pub member_id: MemberId,
    /// Their role.
    pub role: Role,
    /// Accounts the member may see, closed ones left out.
    pub accounts: Vec<Account>,
    /// The sum of their balances, closed ones included, one per currency.
    pub totals: Vec<Amount>,
    /// The month up to today, of the money the member may see.
    pub month: MonthSoFar,
    /// The newest entries the member may see, at most 10.
    pub recent_entries: Vec<Entry>,
    /// Budgets in their current week or month; left out for teens and children.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budgets: Option<Vec<BudgetProgress>>,
    /// Chores not approved yet, newest first, at most 20.
    pub open_chores: Vec<Chore>,
    /// Notifications the member has not read; 1,000 stands for that many or more.
    pub unread: i64,
}

impl View for Dashboard {
    const NAME: &'static str = "dashboard";
    const SUMMARY: &'static str =
        "Balances, the month so far, recent entries, budgets, open chores and unread notifications";
    const VISIBILITY: &'static str = "Adults and auditors see the family's money but what is hidden from them; a teen or child sees their own and what is shared with them, and no budgets. Notifications are one's own.";
    const BY_DAY: Option<&'static str> = Some(
        "That day is today: balances, the month so far, entries and budgets are those of its end. Chores and notifications have no day and stand as recorded.",
    );
    type Params = NoParams;
    type Answer = DashboardAnswer;

    async fn read(tx: &mut PgConnection, viewer: &Viewer, _: NoParams) -> Result<DashboardAnswer, QueryError> {
        let scope = viewer.money_scope(tx).await?;
        let accounts = accounts::balances(tx, viewer, &scope, viewer.effective_on).await?;
        let (first_on, _) = viewer.calendar.period_of(Period::Month, viewer.today);
        let sums = spending::sums(tx, viewer, scope.only(), (first_on, viewer.today)).await?;
        let recent = entries::page(
            tx,
            viewer,
            &scope,
            &Filter::newest(ENTRIES_SHOWN).until(viewer.effective_on),
        )
        .await?;
        let budgets = if viewer.sees_all_money() {
            Some(budgets::progress(tx, viewer, &scope, viewer.today).await?)
        } else {
            None
        };
        let chores = chores::page(tx, viewer, ChoreFilter::Open, None, CHORES_SHOWN).await?;
        let read_up_to = notifications::read_up_to(tx, viewer).await?;
        Ok(DashboardAnswer {
            family: viewer.family_name.clone(),
            currency: viewer.currency.code().to_owned(),
            today: viewer.today,
            member_id: viewer.member_id,
            role: viewer.role,
            accounts: accounts
                .accounts
                .into_iter()
                .filter(|account| !account.is_closed)
                .collect(),
            totals: accounts.totals,
            month: month(first_on, viewer.today, &sums),
            recent_entries: recent.entries,
            budgets,
            open_chores: chores.chores,
            unread: notifications::unread(tx, viewer, &scope, read_up_to).await?,
        })
    }
}

fn month(first_on: NaiveDate, last_on: NaiveDate, sums: &[Sum]) -> MonthSoFar {
    let mut by_currency: BTreeMap<&str, (Decimal, Decimal)> = BTreeMap::new();
    for sum in sums {
        let (income, spending) = by_currency.entry(&sum.currency).or_default();
        // An income category is credited, so what it brought is negative there.
        if sum.kind == "income" {
            *income -= sum.amount
        } else {
            *spending += sum.amount
        }
    }
    let amounts = |pick: fn((Decimal, Decimal)) -> Decimal| {
        by_currency
            .iter()
            .map(|(currency, both)| Amount::new(pick(*both), *currency))
            .collect()
    };
    MonthSoFar {
        first_on,
        last_on,
        income: amounts(|(income, _)| income),
        spending: amounts(|(_, spending)| spending),
        net: amounts(|(income, spending)| income - spending),
    }
}
