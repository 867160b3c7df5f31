//! Rows built again beside the live ones, while these go on; and the yardstick: the very same rows copied into tables without
//! keys, which then get the same indexes.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use futures::TryStreamExt;
use projectors::rebuild::{self, Request};
use service_kit::database::{self, DatabaseRole};
use sqlx::{Executor, PgPool};

use crate::{base::PROJECTED, driver::Load, repetition::Session};

/// Where the yardstick's tables are.
const COPIED: &str = "bench_copied";
/// Connections the yardstick uses side by side, as many as lanes are folded at once.
const SIDE_BY_SIDE: usize = 2;
/// Bytes sent at once.
const CHUNK_BYTES: usize = 128 * 1024;

/// One table of the live rows.
struct Table {
    name: String,
    rows: Vec<u8>,
    /// What makes its keys and indexes, on the copy.
    indexes: Vec<String>,
}

/// Both. The projectors have caught up and go on running.
///
/// # Errors
/// When a rebuild fails or finds other rows than the live ones.
pub async fn measure(session: &mut Session<'_>, owner: &PgPool) -> Result<()> {
    let limits = Request::default().limits;
    let url = session.server.url(PROJECTED);
    let pool = database::connect(&url, DatabaseRole::Projector, limits.connections()).await?;
    let log = crate::ledger::log(pool.clone());
    let (cpu, began) = (session.clock.read(), Instant::now());
    let report = rebuild::rebuild(&pool, &log, &Request::default(), &|_| ()).await?;
    let (whole, cpu) = (began.elapsed().as_secs_f64(), session.clock.read() - cpu);
    pool.close().await;
    ensure!(
        report.is_same(),
        "the new rows differ from the live ones: {:?}",
        report.tables
    );
    let events = u64::try_from(report.events).context("events")?;
    let load = |seconds| Load {
        done: events,
        seconds,
        cpu,
        ..Load::default()
    };
    session.note("rebuild/built", "events/s", load(report.built_in.as_secs_f64()), None);
    session.note("rebuild/whole", "events/s", load(whole), None);

    let tables = live_tables(owner).await?;
    let (cpu, began) = (session.clock.read(), Instant::now());
    let mut copying = tokio::task::JoinSet::new();
    // The largest first, so that the last to end is a small one.
    for table in tables {
        if copying.len() >= SIDE_BY_SIDE {
            copying.join_next().await.context("one is under way")???;
        }
        copying.spawn(copy(owner.clone(), table));
    }
    while let Some(copied) = copying.join_next().await {
        copied??;
    }
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), session.clock.read() - cpu);
    let load = Load {
        done: events,
        seconds,
        cpu,
        ..Load::default()
    };
    session.note("rebuild/copy-then-index", "events/s", load, None);
    owner.execute(format!("drop schema {COPIED} cascade").as_str()).await?;
    Ok(())
}

async fn copy(pool: PgPool, table: Table) -> Result<()> {
    let mut connection = pool.acquire().await?;
    let statement = format!("copy {COPIED}.{} from stdin (format binary)", table.name);
    let mut copy = connection.copy_in_raw(&statement).await?;
    for chunk in table.rows.chunks(CHUNK_BYTES) {
        copy.send(chunk).await?;
    }
    copy.finish().await?;
    for index in &table.indexes {
        connection.execute(index.as_str()).await?;
    }
    Ok(())
}

/// The live tables' rows, and empty copies of the tables, without keys.
async fn live_tables(owner: &PgPool) -> Result<Vec<Table>> {
    let live: String = sqlx::query_scalar("select split_part(search_path, ',', 1) from generations.live")
        .fetch_one(owner)
        .await?;
    owner
        .execute(format!("drop schema if exists {COPIED} cascade; create schema {COPIED}").as_str())
        .await?;
    let names: Vec<String> = sqlx::query_scalar(
        "select relname::text from pg_class where relnamespace = $1::regnamespace and relkind = 'r'
        order by pg_total_relation_size(oid) desc",
    )
    .bind(&live)
    .fetch_all(owner)
    .await?;
    let mut tables = Vec::new();
    for name in names {
        owner
            .execute(
                format!("create table {COPIED}.{name} (like {live}.{name} including defaults including generated)")
                    .as_str(),
            )
            .await?;
        let indexes: Vec<String> = sqlx::query_scalar(
            "select replace(pg_get_indexdef(indexrelid), ' ON ' || $1 || '.', ' ON ' || $2 || '.')
            from pg_index where indrelid = ($1 || '.' || $3)::regclass",
        )
        .bind(&live)
        .bind(COPIED)
        .bind(&name)
        .fetch_all(owner)
        .await?;
        let columns: String = sqlx::query_scalar(
            "select string_agg(quote_ident(attname), ', ' order by attnum) from pg_attribute
            where attrelid = ($1 || '.' || $2)::regclass and attnum > 0 and not attisdropped and attgenerated = ''",
        )
        .bind(&live)
        .bind(&name)
        .fetch_one(owner)
        .await?;
        let mut connection = owner.acquire().await?;
        let mut out = connection
            .copy_out_raw(&format!("copy {live}.{name} ({columns}) to stdout (format binary)"))
            .await?;
        let mut rows = Vec::new();
        while let Some(bytes) = out.try_next().await? {
            rows.extend_from_slice(&bytes);
        }
        drop(out);
        tables.push(Table {
            // With its columns, as COPY takes them.
            name: format!("{name} ({columns})"),
            rows,
            indexes,
        });
    }
    Ok(tables)
}
