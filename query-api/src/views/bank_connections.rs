//! Bank connections and how far their statements reach.

use chrono::{DateTime, NaiveDate, Utc};
use domain::{
    actor::Role,
    id::{AccountId, ConnectionId},
};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::Serialize;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use crate::{
    amount::Amount,
    error::QueryError,
    params::NoParams,
    view::{ADULTS_AND_AUDITOR, View, Viewer},
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
    /// The latest day with a row.
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
    const VISIBLE_TO: &'static [Role] = ADULTS_AND_AUDITOR;
    const VISIBILITY: &'static str = "Adults and auditors see all.";
    type Params = NoParams;
    type Answer = BankConnectionsAnswer;

    async fn read(tx: &mut PgConnection, viewer: &Viewer, _: NoParams) -> Result<BankConnectionsAnswer, QueryError> {
        let rows: Vec<Row> = sqlx::query_as(
            "select connection_id, account_id, provider, institution, connected_at, synced_at, bank_balance, currency,
                first_on, last_on, is_proved
            from bank_connections
            where family_id = $1
            order by connected_at, connection_id",
        )
        .bind(viewer.family())
        .fetch_all(tx)
        .await?;
        Ok(BankConnectionsAnswer {
            bank_connections: rows.into_iter().map(connection).collect(),
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

fn connection(row: Row) -> BankConnection {
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
            .map(|(amount, currency)| Amount::new(amount, currency)),
        first_on: row.first_on,
        last_on: row.last_on,
        is_proved: row.is_proved,
    }
}
