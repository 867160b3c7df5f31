//! The yardstick of bulk work: COPY of finished rows into a table of our log's shape, in Postgres' binary format.

use std::time::Instant;

use anyhow::Result;
use sqlx::{Executor, PgPool};
use uuid::Uuid;

use crate::{driver::Load, repetition::Session};

/// Rows of each connection.
const ROWS: u64 = 50_000;
/// Bytes sent at once.
const CHUNK_BYTES: usize = 128 * 1024;
/// Columns of the table.
const COLUMNS: i16 = 16;
/// Some day of 2025, counted from the year 2000 as the format does.
const DAY: i32 = 9_200;

/// One connection, then two side by side.
///
/// # Errors
/// When the server refuses the rows.
pub async fn measure(session: &mut Session<'_>, pool: &PgPool) -> Result<()> {
    for connections in [1, 2] {
        let name = format!("copy/{connections}");
        if !session.args.wants(&name) {
            continue;
        }
        pool.execute("truncate copied").await?;
        let (payload, metadata) = &session.base.sample;
        let rows: Vec<Vec<u8>> = (0..connections).map(|number| rows(number, payload, metadata)).collect();
        let cpu = session.clock.read();
        let began = Instant::now();
        let mut copying = tokio::task::JoinSet::new();
        for rows in rows {
            let pool = pool.clone();
            copying.spawn(async move {
                let mut connection = pool.acquire().await?;
                let mut copy = connection.copy_in_raw("copy copied from stdin (format binary)").await?;
                for chunk in rows.chunks(CHUNK_BYTES) {
                    copy.send(chunk).await?;
                }
                copy.finish().await
            });
        }
        let mut done = 0;
        while let Some(copied) = copying.join_next().await {
            done += copied??;
        }
        let load = Load {
            done,
            seconds: began.elapsed().as_secs_f64(),
            cpu: session.clock.read() - cpu,
            ..Load::default()
        };
        session.note(&name, "events/s", load, None);
    }
    Ok(())
}

/// The rows of one connection, as the server wants them.
fn rows(connection: u64, payload: &str, metadata: &str) -> Vec<u8> {
    let mut out = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
    for number in 0..ROWS {
        let position = (connection * ROWS + number + 1) as i64;
        let family = Uuid::from_u128(u128::from(number % 1_000) + 1);
        out.extend(COLUMNS.to_be_bytes());
        let mut field = |bytes: &[u8]| {
            out.extend(i32::try_from(bytes.len()).unwrap_or(i32::MAX).to_be_bytes());
            out.extend(bytes);
        };
        field(b"entry");
        field(Uuid::new_v4().to_string().as_bytes());
        field(&1_i64.to_be_bytes());
        field(b"ExpenseAdded");
        field(b"1");
        field(payload.as_bytes());
        field(metadata.as_bytes());
        field(&0_i16.to_be_bytes());
        field(&position.to_be_bytes());
        field(family.as_bytes());
        field(&position.to_be_bytes());
        field(Uuid::new_v4().as_bytes());
        field(&DAY.to_be_bytes());
        field(&(i64::from(DAY) * 86_400_000_000).to_be_bytes());
        field(&[0x5a; 32]);
        field(&[0x5a; 32]);
    }
    out.extend((-1_i16).to_be_bytes());
    out
}
