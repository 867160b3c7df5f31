//! Accounts and what is in them.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use domain::{
    id::{AccountId, MemberId},
    ledger_account::ShareLevel,
};
use rust_decimal::Decimal;
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

/// Balances of the family's accounts.
pub struct Accounts;

/// Parameters of `accounts`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AccountsParams {
    /// Balances at the end of this day; when absent, everything booked, days ahead included.
    pub on: Option<NaiveDate>,
}

/// One account.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Account {
    /// The account.
    pub account_id: AccountId,
    /// What the family calls it.
    pub name: String,
    /// `bank`, `cash`, `card` or `wallet`.
    pub kind: String,
    /// The one currency it holds.
    pub currency: String,
    /// The member whose own it is.
    pub owner: Option<MemberId>,
    /// Booked balance; money in is positive, a debt negative.
    pub balance: Amount,
    /// Takes no further postings.
    pub is_closed: bool,
    /// The day it was opened.
    pub opened_on: NaiveDate,
    /// What the asking member may do with it: `full`, `annotate` or `view`.
    pub share: ShareLevel,
}

/// Answer of `accounts`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AccountsAnswer {
    /// By name; closed ones last.
    pub accounts: Vec<Account>,
    /// The sum of the balances, one per currency.
    pub totals: Vec<Amount>,
}

impl View for Accounts {
    const NAME: &'static str = "accounts";
    const SUMMARY: &'static str = "Accounts with their balances";
    const VISIBILITY: &'static str = "Adults see all accounts but those hidden from them, auditors all; a teen or child sees their own and those opened to them.";
    const BY_DAY: Option<&'static str> = Some(
        "Balances are those at the end of that day. An account that was opened later is listed, with nothing in it.",
    );
    type Params = AccountsParams;
    type Answer = AccountsAnswer;

    async fn read(
        tx: &mut PgConnection,
        viewer: &Viewer,
        params: AccountsParams,
    ) -> Result<AccountsAnswer, QueryError> {
        let on = params::earlier(params::day("on", params.on)?, viewer.effective_on);
        let scope = viewer.money_scope(tx).await?;
        balances(tx, viewer, &scope, on).await
    }
}

#[derive(FromRow)]
struct Row {
    account_id: Uuid,
    name: String,
    kind: String,
    currency: String,
    owner_id: Option<Uuid>,
    balance: Decimal,
    is_closed: bool,
    opened_on: NaiveDate,
}

/// The accounts in scope. A balance of an earlier day is today's less what came after, so it costs the days since.
pub(crate) async fn balances(
    tx: &mut PgConnection,
    viewer: &Viewer,
    scope: &MoneyScope,
    on: Option<NaiveDate>,
) -> Result<AccountsAnswer, QueryError> {
    let rows: Vec<Row> = sqlx::query_as(
        "select a.account_id, a.name, a.kind, a.currency, a.owner_id, a.is_closed, a.opened_on,
            a.balance - coalesce(later.amount, 0) as balance
        from accounts a
        left join lateral (
            select sum(d.amount) as amount
            from account_days d
            where d.family_id = a.family_id
                and d.ledger_account = 'acc_' || a.account_id
                and d.currency = a.currency
                and d.effective_on > $3
        ) later on $3::date is not null
        where a.family_id = $1
            and ($2::uuid[] is null or a.account_id = any($2))
        order by a.is_closed, a.name, a.account_id",
    )
    .bind(viewer.family())
    .bind(scope.only())
    .bind(on)
    .fetch_all(tx)
    .await?;
    let mut sums: BTreeMap<&str, Decimal> = BTreeMap::new();
    for row in &rows {
        *sums.entry(&row.currency).or_default() += row.balance;
    }
    let totals = sums
        .into_iter()
        .map(|(currency, sum)| Amount::new(sum, currency))
        .collect();
    Ok(AccountsAnswer {
        accounts: rows.into_iter().map(|row| account(row, scope)).collect(),
        totals,
    })
}

fn account(row: Row, scope: &MoneyScope) -> Account {
    Account {
        account_id: AccountId::from_uuid(row.account_id),
        name: row.name,
        kind: row.kind,
        balance: Amount::new(row.balance, row.currency.clone()),
        currency: row.currency,
        owner: row.owner_id.map(MemberId::from_uuid),
        is_closed: row.is_closed,
        opened_on: row.opened_on,
        share: scope.level(row.account_id),
    }
}
