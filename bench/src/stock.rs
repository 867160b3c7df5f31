//! The other yardstick: cqrs-es 0.5 with postgres-es 0.5 as their guides set them up.
//!
//! `PostgresEventRepository` under `PersistedEventStore` as an event store, a pool of ten connections, events as large as ours.
//! Its snapshots are not measured: they fold events twice and so store wrong sums.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use anyhow::Result;
use cqrs_es::{Aggregate, CqrsFramework, event_sink::EventSink, persist::PersistedEventStore};
use domain::{
    Money,
    entry::{EntryEvent, ExpenseAdded},
    journal::PostingAccount,
};
use postgres_es::PostgresEventRepository;
use serde::{Deserialize, Serialize};
use sqlx::{Executor, PgPool};
use uuid::Uuid;

use crate::server::Server;

/// Its database.
pub const DATABASE: &str = "bench_stock";
/// Connections of its pool, as its own `default_postgress_pool` has.
const CONNECTIONS: u32 = 10;
/// Events a long history begins with.
pub const HISTORY: usize = 1_000;

/// An account of expenses: the smallest aggregate that has to know its past.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Expenses {
    balances: BTreeMap<PostingAccount, Money>,
}

impl Aggregate for Expenses {
    const TYPE: &'static str = "expenses";
    type Command = ExpenseAdded;
    type Event = EntryEvent;
    type Error = std::convert::Infallible;
    type Services = ();

    async fn handle(
        &mut self,
        command: ExpenseAdded,
        _: &(),
        sink: &EventSink<Self>,
    ) -> Result<(), std::convert::Infallible> {
        sink.write(EntryEvent::ExpenseAdded(command), self).await;
        Ok(())
    }

    fn apply(&mut self, event: EntryEvent) {
        for posting in event.postings() {
            let zero = Money::zero(posting.money.currency());
            let balance = self.balances.entry(posting.ledger_account).or_insert(zero);
            *balance = balance.checked_add(&posting.money).unwrap_or(zero);
        }
    }
}

/// The framework, ready for commands.
#[derive(Clone)]
pub struct Stock {
    framework: Arc<CqrsFramework<Expenses, PersistedEventStore<PostgresEventRepository, Expenses>>>,
}

impl Stock {
    /// Connects to its database.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn connect(server: &Server) -> Result<Self> {
        let pool = sqlx::postgres::PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .connect(&server.url(DATABASE))
            .await?;
        let store = PersistedEventStore::new_event_store(PostgresEventRepository::new(pool));
        Ok(Self {
            framework: Arc::new(CqrsFramework::new(store, Vec::new(), ())),
        })
    }

    /// One command on one aggregate.
    ///
    /// # Errors
    /// What cqrs-es says.
    pub async fn execute(
        &self,
        aggregate: Uuid,
        expense: ExpenseAdded,
        metadata: HashMap<String, String>,
    ) -> Result<(), String> {
        let done = self
            .framework
            .execute_with_metadata(&aggregate.to_string(), expense, metadata)
            .await;
        done.map_err(|error| error.to_string())
    }
}

/// Makes its table, as postgres-es' own `init.sql` does, and aggregates with a history.
///
/// # Errors
/// When the server refuses.
pub async fn create_tables(pool: &PgPool, long_histories: usize, payload: &str, metadata: &str) -> Result<()> {
    pool.execute(
        "create table events (
            aggregate_type text not null,
            aggregate_id text not null,
            sequence bigint check (sequence >= 0) not null,
            event_type text not null,
            event_version text not null,
            payload json not null,
            metadata json not null,
            primary key (aggregate_type, aggregate_id, sequence)
        )",
    )
    .await?;
    sqlx::query(
        "insert into events
        select 'expenses', a.aggregate_id, s.sequence, 'ExpenseAdded', '1', $3::json, $4::json
        from unnest($1::text[]) a (aggregate_id), generate_series(1, $2) s (sequence)",
    )
    .bind(
        (0..long_histories)
            .map(|number| long_aggregate(number).to_string())
            .collect::<Vec<_>>(),
    )
    .bind(HISTORY as i32)
    .bind(payload)
    .bind(metadata)
    .execute(pool)
    .await?;
    pool.execute("vacuum analyze events").await?;
    Ok(())
}

/// The id of an aggregate with a history.
pub fn long_aggregate(number: usize) -> Uuid {
    Uuid::from_u128(0xA66_0000_0000_0000_0000 + number as u128)
}

/// How many events it holds.
///
/// # Errors
/// When the server refuses.
pub async fn stored(pool: &PgPool) -> Result<u64> {
    let count: i64 = sqlx::query_scalar("select count(*) from events")
        .fetch_one(pool)
        .await?;
    Ok(u64::try_from(count)?)
}
