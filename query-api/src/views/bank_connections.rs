//! Bank connections and how far their statements reach.

use chrono::{DateTime, NaiveDate, Utc};
use domain::id::{AccountId, ConnectionId};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::Serialize;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use crate::{
    amount::Amount,
    error::QueryError,
    params::NoParams,
    view::{View, Viewer},
};

/// Bank connections.
pub struct BankConnections;

/// One connection.
#[derive(Debug, Serialize, JsonSchema)]
pub struct BankConnection {
    /// The connection.
    pub connection_id: ConnectionId,
    /// The account it feeds.
    pub account_id: AccountId,
    /// The provider.
    pub provider: String,
    /// The bank's name, as the family says it.
    pub institution: String,
    /// Since when (UTC).
    pub connected_at: DateTime<Utc>,
    /// When a statement last came in (UTC); null before the first.
    pub synced_at: Option<DateTime<Utc>>,
    /// Booked balance after the latest row, from the bank's side; null before the first statement.
    pub bank_balance: Option<Amount>,
    /// The earliest day with a row.
    pub first_on: Option<NaiveDate>,
    /// How far the rows reach: the latest day with one, or `effective_on` when that is earlier.
    pub last_on: Option<NaiveDate>,
    /// Was the balance ever confirmed by a closing balance the bank stated?
    pub is_proved: bool,
}

/// Answer of `bank-connections`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct BankConnectionsAnswer {
    /// Oldest first.
    pub bank_connections: Vec<BankConnection>,
}

impl View for BankConnections {
    const NAME: &'static str = "bank-connections";
    const SUMMARY: &'static str = "Bank connections and how far their statements reach";
    const VISIBILITY: &'static str = "Adults and auditors see all but those of accounts hidden from them.";
    const BY_DAY: Option<&'static str> =
        Some("The bank's balance is the one after the last row of that day; none before the first row.");
    type Params = NoParams;
    type Answer = BankConnectionsAnswer;

    async fn read(tx: &mut PgConnection, viewer: &Viewer, _: NoParams) -> Result<BankConnectionsAnswer, QueryError> {
        let scope = viewer.money_scope(tx).await?;
        // The bank's balance of an earlier day is the latest less the rows that came after, so it costs the days since. Rows are
        // the entries of imports that stand, whether or not the family has reversed one of them: the bank has not. In the middle of
        // the command that imports them, the balance is still the one of before, and the import has no account yet.
        let rows: Vec<Row> = sqlx::query_as(
            "select b.connection_id, b.account_id, b.provider, b.institution, b.connected_at, b.synced_at,
                b.bank_balance - coalesce(later.amount, 0) as bank_balance, b.currency, b.first_on, b.last_on, b.is_proved
            from bank_connections b
            left join lateral (
                select sum(e.amount) as amount
                from entry_postings p
                join entries e on e.family_id = p.family_id and e.entry_id = p.entry_id
                join imports i on i.family_id = e.family_id and i.import_id = e.import_id
                where p.family_id = b.family_id
                    and p.ledger_account = 'acc_' || b.account_id
                    and p.effective_on > $2
                    and i.connection_id = b.connection_id
                    and i.account_id is not null
                    and not i.is_undone
            ) later on $2::date is not null
            where b.family_id = $1
                and ($3::uuid[] is null or b.account_id = any($3))
            order by b.connected_at, b.connection_id",
        )
        .bind(viewer.family())
        .bind(viewer.effective_on)
        .bind(scope.only())
        .fetch_all(tx)
        .await?;
        Ok(BankConnectionsAnswer {
            bank_connections: rows
                .into_iter()
                .map(|row| connection(row, viewer.effective_on))
                .collect(),
        })
    }
}

#[derive(FromRow)]
struct Row {
    connection_id: Uuid,
    account_id: Uuid,
    provider: String,
    institution: String,
    connected_at: DateTime<Utc>,
    synced_at: Option<DateTime<Utc>>,
    bank_balance: Option<Decimal>,
    currency: Option<String>,
    first_on: Option<NaiveDate>,
    last_on: Option<NaiveDate>,
    is_proved: bool,
}

fn connection(row: Row, effective_on: Option<NaiveDate>) -> BankConnection {
    // Before its first row a bank has said nothing.
    let has_begun = row
        .first_on
        .is_some_and(|first| effective_on.is_none_or(|day| day >= first));
    BankConnection {
        connection_id: ConnectionId::from_uuid(row.connection_id),
        account_id: AccountId::from_uuid(row.account_id),
        provider: row.provider,
        institution: row.institution,
        connected_at: row.connected_at,
        synced_at: row.synced_at,
        bank_balance: row
            .bank_balance
            .zip(row.currency)
            .filter(|_| has_begun)
            .map(|(amount, currency)| Amount::new(amount, currency)),
        first_on: row.first_on.filter(|_| has_begun),
        last_on: row
            .last_on
            .filter(|_| has_begun)
            .map(|last| effective_on.map_or(last, |day| day.min(last))),
        is_proved: row.is_proved,
    }
}
