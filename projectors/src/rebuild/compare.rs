//! Comparing two generations of rows at one moment: how many, and an order-independent hash, table by table and family by family.
//!
//! A row is hashed by its values, each by its type's own hash, which is exact for every type in use (decimals have a fixed
//! scale). The row's hash is hashed once more before a family's are added up: it is itself a sum over the columns, and without
//! that, two rows that have exchanged the values of one column would add up to the same. Sums do not depend on the order.
//!
//! Several tables are compared at once, in transactions that share one snapshot. Families parked in only one of the two are left
//! out: their rows stop at different events, and are reported by name instead.

use std::collections::{BTreeMap, VecDeque};

use domain::id::FamilyId;
use sqlx::{Executor, PgConnection, PgPool};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::{Progress, RebuildError, Report, plan::Plan};
use crate::generation::enter;

/// One table of two generations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableReport {
    /// The read model.
    pub view: &'static str,
    /// Its table.
    pub table: &'static str,
    /// Rows that answer.
    pub rows_live: i64,
    /// Rows built again.
    pub rows_new: i64,
    /// Families whose rows differ.
    pub families: i64,
    /// The first of them, by id.
    pub first: Option<FamilyId>,
}

impl TableReport {
    /// Do both say the same?
    pub fn is_same(&self) -> bool {
        self.families == 0
    }
}

/// Compares every table of the plan and where families are parked. The transaction is turned to the live rows, and it is its
/// snapshot in which all is read, `parallel` tables at once.
pub(super) async fn all(
    pool: &PgPool,
    snapshot: &mut PgConnection,
    plan: &Plan,
    schema: &str,
    parallel: usize,
    report: &mut Report,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<(), RebuildError> {
    let live = parked(snapshot, "parked_families").await?;
    let new = parked(snapshot, &format!("{schema}.parked_families")).await?;
    let of = |family: &Uuid| FamilyId::from_uuid(*family);
    report.freed = live.keys().filter(|family| !new.contains_key(family)).map(of).collect();
    report.parked = new
        .iter()
        .filter(|(family, seq)| live.get(family) != Some(seq))
        .map(|(family, _)| of(family))
        .collect();
    let left_out: Vec<Uuid> = report
        .freed
        .iter()
        .chain(&report.parked)
        .map(|family| family.uuid())
        .collect();
    let name: String = sqlx::query_scalar("select pg_export_snapshot()")
        .fetch_one(snapshot)
        .await?;
    let shared = Shared {
        pool: pool.clone(),
        snapshot: name,
        schema: schema.to_owned(),
        left_out,
    };
    let mut reports = BTreeMap::new();
    let mut due = plan.named_tables().enumerate().collect::<VecDeque<_>>();
    let mut comparing = JoinSet::new();
    loop {
        while comparing.len() < parallel.max(1)
            && let Some((number, (view, table))) = due.pop_front()
        {
            progress(Progress::Comparing { table });
            let shared = shared.clone();
            comparing.spawn(async move { Ok((number, shared.compare(view, table).await?)) });
        }
        match comparing.join_next().await {
            Some(done) => {
                let (number, compared) = done.unwrap_or_else(|error| Err(RebuildError::from(error)))?;
                reports.insert(number, compared);
            }
            None => break,
        }
    }
    report.tables = reports.into_values().collect();
    Ok(())
}

/// What all comparisons share.
#[derive(Clone)]
struct Shared {
    pool: PgPool,
    snapshot: String,
    schema: String,
    left_out: Vec<Uuid>,
}

impl Shared {
    async fn compare(&self, view: &'static str, table: &'static str) -> Result<TableReport, RebuildError> {
        let begin = "begin isolation level repeatable read read only; set local statement_timeout = 0";
        let mut tx = self.pool.begin_with(begin).await?;
        // Before anything is read; the name is the server's own.
        tx.execute(format!("set transaction snapshot '{}'", self.snapshot).as_str())
            .await?;
        enter(&mut tx).await?;
        let compared = one(&mut tx, view, table, &self.schema, &self.left_out).await?;
        tx.rollback().await?;
        Ok(compared)
    }
}

async fn one(
    tx: &mut PgConnection,
    view: &'static str,
    table: &'static str,
    schema: &str,
    left_out: &[Uuid],
) -> Result<TableReport, sqlx::Error> {
    // Names are of our own making; nothing of a request gets here.
    let side = |from: &str| {
        format!(
            "select t.family_id, count(*) as rows, sum(hashint8extended(hash_record_extended(t, 0), 0)) as hash
            from {from} t
            where not (t.family_id = any($1))
            group by t.family_id"
        )
    };
    let statement = format!(
        "with live as ({}), new as ({}), differing as (
            select coalesce(l.family_id, n.family_id) as family_id
            from live l
            full join new n on n.family_id = l.family_id
            where (l.rows, l.hash) is distinct from (n.rows, n.hash)
        )
        select
            (select coalesce(sum(rows), 0)::bigint from live),
            (select coalesce(sum(rows), 0)::bigint from new),
            (select count(*) from differing),
            (select family_id from differing order by family_id limit 1)",
        side(table),
        side(&format!("{schema}.{table}")),
    );
    let (rows_live, rows_new, families, first): (i64, i64, i64, Option<Uuid>) =
        sqlx::query_as(&statement).bind(left_out).fetch_one(tx).await?;
    Ok(TableReport {
        view,
        table,
        rows_live,
        rows_new,
        families,
        first: first.map(FamilyId::from_uuid),
    })
}

async fn parked(tx: &mut PgConnection, table: &str) -> Result<BTreeMap<Uuid, i64>, sqlx::Error> {
    let rows: Vec<(Uuid, i64)> = sqlx::query_as(&format!("select family_id, family_seq from {table}"))
        .fetch_all(tx)
        .await?;
    Ok(rows.into_iter().collect())
}
