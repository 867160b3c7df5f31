//! What rebuilds leave on disk: old rows after a switch, and half-built ones after a crash.

use std::time::Duration;

use sqlx::{Executor, PgPool};
use tokio::time::{Instant, sleep};

/// How long a rebuild waits for those who still read old rows. A reader's transaction ends within seconds.
const READERS_WITHIN: Duration = Duration::from_secs(60);
/// How long it takes a reader from its snapshot to the live path, at most: it is one statement.
const ARRIVED_WITHIN: Duration = Duration::from_secs(2);
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
/// to the old rows. Each holds a lock on that table until its end, so the locks tell who they are. Before, those are given a
/// moment that have taken a snapshot and may be about to read the path in it.
async fn readers_gone(pool: &PgPool) -> Result<bool, sqlx::Error> {
    let snapshots = "select coalesce(array_agg(l.virtualtransaction), '{}')
        from pg_locks l
        join pg_stat_activity a using (pid)
        where l.locktype = 'virtualxid'
            and l.granted
            and l.mode = 'ExclusiveLock'
            and a.datname = current_database()
            and a.backend_xmin is not null
            and a.pid <> pg_backend_pid()";
    ended(pool, snapshots, ARRIVED_WITHIN).await?;
    let readers = "select coalesce(array_agg(distinct virtualtransaction), '{}')
        from pg_locks
        where locktype = 'relation'
            and relation = 'generations.live'::regclass
            and database = (select oid from pg_database where datname = current_database())
            and pid <> pg_backend_pid()";
    ended(pool, readers, READERS_WITHIN).await
}

/// Waits until all transactions that the query names by now have ended. False when one has not in time.
async fn ended(pool: &PgPool, query: &str, within: Duration) -> Result<bool, sqlx::Error> {
    let mut waiting: Vec<String> = sqlx::query_scalar(query).fetch_one(pool).await?;
    let deadline = Instant::now() + within;
    while !waiting.is_empty() {
        if Instant::now() >= deadline {
            return Ok(false);
        }
        sleep(LOOK_EVERY).await;
        let there: Vec<String> = sqlx::query_scalar(query).fetch_one(pool).await?;
        waiting.retain(|one| there.contains(one));
    }
    Ok(true)
}
