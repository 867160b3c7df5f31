//! Counting in the log what was acknowledged: every command once, every cent.

use std::collections::HashMap;

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use sqlx::PgPool;

use crate::stats::percentile;

/// The last position of every lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heads(Vec<(i16, i64)>);

impl Heads {
    /// Reads them. Positions have no gaps, so two readings say how many events came between them.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn read(pool: &PgPool) -> Result<Self> {
        let statement = "select l.lane, coalesce((select max(e.position) from log.events e where e.lane = l.lane), 0)
            from log.lanes l order by l.lane";
        Ok(Self(sqlx::query_as(statement).fetch_all(pool).await?))
    }

    /// Events there are.
    pub fn events(&self) -> u64 {
        self.0.iter().map(|(_, position)| position.unsigned_abs()).sum()
    }

    /// Lane and last position.
    pub fn lanes(&self) -> &[(i16, i64)] {
        &self.0
    }
}

/// Commands per append.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Batches {
    /// On average.
    pub mean: f64,
    /// Of half of all appends at most so many.
    pub p50: u32,
    /// The largest.
    pub max: u32,
}

impl Batches {
    /// The batches since `before`. All events of an append carry one `recorded_at`, whatever their lanes, and no others do.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn since(pool: &PgPool, before: &Heads) -> Result<Option<Self>> {
        let mut batches: HashMap<DateTime<Utc>, i64> = HashMap::new();
        for (lane, position) in before.lanes() {
            let statement = "select recorded_at, count(distinct command_id) from log.events where lane = $1 and position > $2 \
                 group by recorded_at";
            let found: Vec<(DateTime<Utc>, i64)> = sqlx::query_as(statement)
                .bind(lane)
                .bind(position)
                .fetch_all(pool)
                .await?;
            for (recorded_at, commands) in found {
                *batches.entry(recorded_at).or_default() += commands;
            }
        }
        let mut sizes: Vec<u32> = batches
            .into_values()
            .filter_map(|size| u32::try_from(size).ok())
            .collect();
        let commands: u64 = sizes.iter().map(|size| u64::from(*size)).sum();
        let mean = commands as f64 / sizes.len().max(1) as f64;
        let (Some(p50), Some(max)) = (percentile(&mut sizes, 0.5), percentile(&mut sizes, 1.0)) else {
            return Ok(None);
        };
        Ok(Some(Self { mean, p50, max }))
    }
}

/// What left the families' accounts since `before`, in cents, as the stored events say.
///
/// # Errors
/// When the database does not answer.
pub async fn cents_spent(pool: &PgPool, before: &Heads) -> Result<i64> {
    let mut cents = 0;
    for (lane, position) in before.lanes() {
        let statement = "select coalesce(-sum((p -> 'money' ->> 'amount')::numeric) * 100, 0)::bigint
            from log.events e, json_array_elements(e.payload -> 'postings') p
            where e.lane = $1 and e.position > $2 and p ->> 'ledger_account' like 'acc\\_%'";
        let spent: i64 = sqlx::query_scalar(statement)
            .bind(lane)
            .bind(position)
            .fetch_one(pool)
            .await?;
        cents += spent;
    }
    Ok(cents)
}

/// The families' balances as the whole log says and as the view says, in cents.
///
/// # Errors
/// When the database does not answer.
pub async fn balances_cents(pool: &PgPool) -> Result<(i64, i64)> {
    let nothing = Heads(
        sqlx::query_as("select lane, 0::bigint from log.lanes")
            .fetch_all(pool)
            .await?,
    );
    let in_log = -cents_spent(pool, &nothing).await?;
    // A rebuild has moved the rows to another schema.
    let live: String = sqlx::query_scalar("select split_part(search_path, ',', 1) from generations.live")
        .fetch_one(pool)
        .await?;
    let statement = format!("select coalesce(sum(balance) * 100, 0)::bigint from {live}.accounts");
    let in_view = sqlx::query_scalar(&statement)
        .fetch_one(pool)
        .await
        .context("the accounts' view cannot be summed")?;
    Ok((in_log, in_view))
}
