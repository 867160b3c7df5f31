//! What rebuilds leave on disk: old rows after a switch, and half-built ones after a crash.

use std::time::Duration;

use sqlx::{Executor, PgPool};
use tokio::time::{Instant, sleep};

/// How long a rebuild waits for those who still read old rows. A reader's transaction ends within seconds.
const READERS_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Drops what earlier rebuilds did not finish, or could not drop; the caller is the only rebuild. Returns how many.
pub(super) async fn drop_unfinished(pool: &PgPool) -> Result<usize, sqlx::Error> {
    let retired = named(pool, &["retired"]).await?;
    let mut gone = named(pool, &["building"]).await?;
    if retired.is_empty() || readers_gone(pool).await? {
        gone.extend(retired);
    }
    for schema in &gone {
        drop_build(pool, schema).await?;
    }
    Ok(gone.len())
}

/// Drops old rows, kept ones of earlier rebuilds too, once nobody reads them any more. False when somebody still does.
pub(super) async fn clear_away(pool: &PgPool) -> Result<bool, sqlx::Error> {
    if !readers_gone(pool).await? {
        return Ok(false);
    }
    for schema in named(pool, &["retired", "kept"]).await? {
        drop_build(pool, &schema).await?;
    }
    let mut tx = pool.begin().await?;
    tx.execute("set local statement_timeout = 0").await?;
    sqlx::query("select generations.clear_hidden()")
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(true)
}

pub(super) async fn drop_build(pool: &PgPool, schema: &str) -> Result<(), sqlx::Error> {
    let mut tx = pool.begin().await?;
    // A killed rebuild's statements may go on for a while.
    tx.execute(
        "set local statement_timeout = 0; set local lock_timeout = '60s'; set local client_min_messages = warning",
    )
    .await?;
    sqlx::query("select generations.drop_build($1)")
        .bind(schema)
        .execute(&mut *tx)
        .await?;
    tx.commit().await
}

async fn named(pool: &PgPool, states: &[&str]) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar("select schema_name from generations.built where state = any($1) order by number")
        .bind(states)
        .fetch_all(pool)
        .await
}

/// Waits until every transaction that has read the live path by now has ended: one that read it before a switch may still turn
/// to the old rows. Each holds a lock on that table until its end, so the locks tell who they are.
async fn readers_gone(pool: &PgPool) -> Result<bool, sqlx::Error> {
    let readers = "select coalesce(array_agg(distinct virtualtransaction), '{}')
        from pg_locks
        where locktype = 'relation'
            and relation = 'generations.live'::regclass
            and database = (select oid from pg_database where datname = current_database())
            and pid <> pg_backend_pid()";
    let mut waiting: Vec<String> = sqlx::query_scalar(readers).fetch_one(pool).await?;
    let deadline = Instant::now() + READERS_WITHIN;
    while !waiting.is_empty() {
        if Instant::now() >= deadline {
            return Ok(false);
        }
        sleep(LOOK_EVERY).await;
        let reading: Vec<String> = sqlx::query_scalar(readers).fetch_one(pool).await?;
        waiting.retain(|reader| reading.contains(reader));
    }
    Ok(true)
}
