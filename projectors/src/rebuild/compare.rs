//! Comparing two generations of rows at one moment: how many, and an order-independent hash, table by table and family by family.
//!
//! Rows are hashed as text, which is exact for every type in use (decimals have a fixed scale, instants are UTC), and the
//! hashes of a family's rows are added up, so their order does not matter. Families parked in only one of the two are left
//! out: their rows stop at different events, and are reported by name instead.

use std::collections::BTreeMap;

use domain::id::FamilyId;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Progress, RebuildError, Report, plan::Plan};

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

/// Compares every table of the plan and where families are parked; the transaction is turned to the live rows.
pub(super) async fn all(
    tx: &mut PgConnection,
    plan: &Plan,
    schema: &str,
    report: &mut Report,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<(), RebuildError> {
    let live = parked(tx, "parked_families").await?;
    let new = parked(tx, &format!("{schema}.parked_families")).await?;
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
    for (view, table) in plan.named_tables() {
        progress(Progress::Comparing { table });
        report.tables.push(one(tx, view, table, schema, &left_out).await?);
    }
    Ok(())
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
            "select t.family_id, count(*) as rows, sum(hashtextextended(t::text, 0)::numeric) as hash
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
