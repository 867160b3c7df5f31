//! What must hold after every drill, asked of the database itself and of the operator's own command.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use command_api::identity::Secret;
use event_store::{Lane, Log, keys::encryption::KeyEncryptions};
use sqlx::{PgConnection, PgPool, postgres::PgPoolOptions};
use uuid::Uuid;

use crate::{
    checker::{Report, check},
    history::{Entry, Operation},
    load::Ledger,
    servers::runtime,
    support::program,
};

/// How long the projectors may take to fold what is left.
const FOLDED_WITHIN: Duration = Duration::from_secs(60);
/// Records folded anew in one go.
const PAGE: i64 = 2_000;

/// Compares every family's history with the log, and the log with itself and with the views. Panics when the books do not
/// hold; faults of the history are the caller's to judge.
#[track_caller]
pub fn compare(database_url: &str, ledgers: &[Ledger], histories: &[Vec<Operation>]) -> Report {
    let families: Vec<Uuid> = ledgers.iter().map(Ledger::id).collect();
    let reports = runtime().block_on(async {
        let pool = pool(database_url).await;
        let mut reports = Vec::new();
        for (family, history) in families.iter().zip(histories) {
            reports.push(check(history, &entries(&pool, *family).await));
        }
        pool.close().await;
        reports
    });
    reports.into_iter().fold(Report::default(), Report::and)
}

/// [`compare`] must find nothing, and the books must hold.
#[track_caller]
pub fn nothing_is_lost_doubled_or_out_of_order(
    database_url: &str,
    ledgers: &[Ledger],
    histories: &[Vec<Operation>],
) -> Report {
    let report = compare(database_url, ledgers, histories);
    assert!(report.faults().is_empty(), "{report}\n{:#?}", report.faults());
    the_books_hold(database_url, &[]);
    report
}

/// The log is whole and unaltered, the rows are those of a fresh fold, and every entry balances. `parked` are families that
/// are known to wait.
#[track_caller]
pub fn the_books_hold(database_url: &str, parked: &[Uuid]) {
    runtime().block_on(async {
        let pool = pool(database_url).await;
        no_number_is_missing(&pool).await;
        everything_is_folded(&pool, parked).await;
        rows_are_those_of_a_fresh_fold(&pool, parked).await;
        pool.close().await;
    });
    let verified = program()
        .args(["audit", "verify", "--database-url", database_url])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&verified.stderr);
    assert_eq!(verified.status.code(), Some(0), "{said}");
}

/// Waits until everything is sealed and given away, and compares the log with what is kept in this folder. Says how many kept
/// checkpoints were compared.
#[track_caller]
pub fn the_seal_holds(database_url: &str, kept: &Path) -> usize {
    let left = "select count(*) from (select lane, max(position) as head from log.events group by lane) l
        where head > coalesce((select min(x.size) from log.checkpoint_exports x where x.lane = l.lane), 0)";
    runtime().block_on(async {
        let pool = pool(database_url).await;
        let began = Instant::now();
        while sqlx::query_scalar::<_, i64>(left).fetch_one(&pool).await.unwrap() > 0 {
            assert!(
                began.elapsed() < FOLDED_WITHIN,
                "the seal does not catch up with the log"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        pool.close().await;
    });
    let verified = program()
        .args(["audit", "verify", "--database-url", database_url, "--checkpoints"])
        .arg(kept)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&verified.stderr);
    assert_eq!(verified.status.code(), Some(0), "{said}");
    let compared = said.lines().find_map(|line| {
        let (_, rest) = line.split_once(" checkpoints verified, ")?;
        rest.split(' ').next()?.parse().ok()
    });
    let compared = compared.unwrap_or_else(|| panic!("nothing was compared: {said}"));
    assert!(compared > 0, "{said}");
    compared
}

/// A pool of the superuser's.
pub async fn pool(database_url: &str) -> PgPool {
    PgPoolOptions::new()
        .max_connections(2)
        .connect(database_url)
        .await
        .expect("the database answers after the drill")
}

async fn entries(pool: &PgPool, family: Uuid) -> Vec<Entry> {
    let rows: Vec<(i64, Uuid)> =
        sqlx::query_as("select family_seq, command_id from log.events where family_id = $1 order by family_seq")
            .bind(family)
            .fetch_all(pool)
            .await
            .unwrap();
    let entry = |(family_seq, command_id)| Entry { family_seq, command_id };
    rows.into_iter().map(entry).collect()
}

/// Positions, ledgers and streams are contiguous from 1; times of a lane never go back; every accepted command has its events.
async fn no_number_is_missing(pool: &PgPool) {
    let questions = [
        "select count(*) from (select lane from log.events group by lane having min(position) <> 1 or max(position) <> count(*)) t",
        "select count(*) from (select family_id from log.events group by family_id
            having min(family_seq) <> 1 or max(family_seq) <> count(*)) t",
        "select count(*) from (select 1 from log.events group by aggregate_type, aggregate_id
            having min(sequence) <> 1 or max(sequence) <> count(*)) t",
        "select count(*) from (select recorded_at, lag(recorded_at) over (partition by lane order by position) as before
            from log.events) t where recorded_at < before",
        "select count(*) from log.commands c where c.last_family_seq - c.first_family_seq + 1
            <> (select count(*) from log.events e where e.lane = c.lane and e.family_id = c.family_id and e.command_id = c.command_id)",
        "select count(*) from log.events e where not exists (select from log.commands c
            where c.lane = e.lane and c.family_id = e.family_id and c.command_id = e.command_id)",
    ];
    for question in questions {
        let off: i64 = sqlx::query_scalar(question).fetch_one(pool).await.unwrap();
        assert_eq!(off, 0, "{question}");
    }
}

/// Waits until the rows hold the whole log; nothing may be parked but what is said to be.
async fn everything_is_folded(pool: &PgPool, parked: &[Uuid]) {
    let behind = "select count(*) from (select lane, max(position) as head from log.events group by lane) l
        where head > coalesce((select c.position from views.checkpoints c where c.lane = l.lane), 0)";
    let began = Instant::now();
    while sqlx::query_scalar::<_, i64>(behind).fetch_one(pool).await.unwrap() > 0 {
        assert!(began.elapsed() < FOLDED_WITHIN, "the rows do not catch up with the log");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut waiting: Vec<Uuid> = sqlx::query_scalar("select family_id from views.parked_families")
        .fetch_all(pool)
        .await
        .unwrap();
    waiting.sort_unstable();
    let mut expected = parked.to_vec();
    expected.sort_unstable();
    assert_eq!(waiting, expected, "parked families");
}

/// Folds the whole log into temporary tables and compares every table with the live one, row by row.
async fn rows_are_those_of_a_fresh_fold(pool: &PgPool, parked: &[Uuid]) {
    let secret = Secret::parse(crate::fleet::SECRET).unwrap();
    let keys = KeyEncryptions::local(&secret.derive("key-encryption/1"));
    let log = Log::new(pool.clone(), [0; 32]).encrypting_with(keys);
    let lanes = log.lanes().await.unwrap();
    let mut connection = pool.acquire().await.unwrap();
    projectors::fold::scratch_tables(&mut connection).await.unwrap();
    for lane in (0..lanes).map(Lane) {
        let mut after = 0;
        loop {
            let mut records = log.read_lane(lane, after, PAGE).await.unwrap();
            let Some(last) = records.last() else { break };
            after = last.position;
            records.retain(|record| !parked.contains(&record.family_id.uuid()));
            projectors::fold::fold_records(records, &mut connection).await.unwrap();
        }
    }
    let tables: Vec<String> = sqlx::query_scalar(
        "select relname::text from pg_class where relnamespace = pg_my_temp_schema() and relkind = 'r' order by relname",
    )
    .fetch_all(&mut *connection)
    .await
    .unwrap();
    assert!(tables.len() > 15, "{tables:?}");
    for table in &tables {
        let differing = differing_rows(&mut connection, table, parked).await;
        assert_eq!(differing, 0, "rows of {table} that are not those of a fresh fold");
    }
    let off = "select count(*) from (select 1 from views.account_days group by family_id, currency having sum(amount) <> 0) t";
    let off: i64 = sqlx::query_scalar(off).fetch_one(&mut *connection).await.unwrap();
    assert_eq!(off, 0, "the trial balance is off");
}

async fn differing_rows(connection: &mut PgConnection, table: &str, parked: &[Uuid]) -> i64 {
    let live = format!("select * from views.{table} where family_id <> all ($1)");
    let fresh = format!("select * from pg_temp.{table}");
    let statement =
        format!("select count(*) from (({live} except all {fresh}) union all ({fresh} except all {live})) t");
    sqlx::query_scalar(&statement)
        .bind(parked)
        .fetch_one(connection)
        .await
        .unwrap()
}
