//! Verifying rows: a family's ledger folded afresh into temporary tables, and held against the rows that answer.
//!
//! Everything is read in one snapshot: the live rows, and the checkpoint that says up to where they should go. Nothing lasting
//! is written; the session's temporary tables shadow the live ones, which are therefore named with their schema here.
//!
//! A row that was altered makes its own table differ and no other. That holds for the book-keeping too: when the checkpoint, the
//! family's head and the reason it is parked disagree about the last event in the rows, each is believed in turn, and the one
//! under which the fewest tables differ is taken. What was not believed is named.

use std::collections::BTreeMap;

use domain::id::FamilyId;
use event_store::{Lane, Log, LogError};
use sqlx::{Connection, Executor, PgConnection, PgPool, Row};
use uuid::Uuid;

use crate::{
    apply::{Applier, ApplyError},
    fold::scratch_tables,
    generation::enter,
    parking::{Until, take_up},
    projections::PROJECTIONS,
};

/// Events folded into the temporary tables before these are emptied: rolled back rows still take room.
const EVENTS_BEFORE_EMPTYING: usize = 200_000;

/// Rows of a family that are not those of its ledger.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// The read model, or the book-keeping table.
    pub view: &'static str,
    /// The table.
    pub table: &'static str,
    /// Whose rows.
    pub family_id: FamilyId,
    /// Rows that answer.
    pub rows_live: i64,
    /// Rows that the ledger gives.
    pub rows_wanted: i64,
}

/// What was found about a family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The last event in its rows.
    pub family_seq: i64,
    /// What is not as the ledger has it.
    pub differences: Vec<Difference>,
}

/// Why rows could not be verified; it says nothing about them.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The live rows are another release's.
    #[error("the live rows are of version {live}, this release folds version {}", crate::VERSION)]
    Version {
        /// Their version.
        live: i32,
    },
    /// The log could not be folded.
    #[error("the ledger cannot be folded")]
    Apply(#[from] ApplyError),
    /// The log could not be read.
    #[error("the log cannot be read")]
    Log(#[from] LogError),
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

/// Verifies families one after another, in one session.
pub struct Verifier {
    connection: PgConnection,
    applier: Applier,
    folded: usize,
}

impl Verifier {
    /// Makes the session's temporary tables. The pool acts in the projector's role.
    ///
    /// # Errors
    /// [`VerifyError::Database`].
    pub async fn open(pool: &PgPool, log: &Log) -> Result<Self, VerifyError> {
        let mut connection = pool.acquire().await?.detach();
        connection
            .execute("set statement_timeout = 0; set idle_in_transaction_session_timeout = 0")
            .await?;
        let mut verifier = Self {
            connection,
            applier: Applier::new(pool.clone(), log.clone()),
            folded: 0,
        };
        verifier.empty().await?;
        Ok(verifier)
    }

    /// Holds a family's rows against its ledger.
    ///
    /// # Errors
    /// [`VerifyError`].
    pub async fn verify(&mut self, lane: Lane, family: FamilyId) -> Result<Verified, VerifyError> {
        if self.folded > EVENTS_BEFORE_EMPTYING {
            self.empty().await?;
        }
        let mut tx = self
            .connection
            .begin_with("begin isolation level repeatable read")
            .await?;
        let tables = live_tables(&mut tx).await?;
        let standing = Standing::read(&mut tx, &tables, lane, family).await?;
        let mut best: Option<Verified> = None;
        for last in standing.candidates() {
            let mut attempt = tx.begin().await?;
            let until = Until {
                position: i64::MAX,
                family_seq: last,
            };
            let taken = take_up(&self.applier, lane, family, until, &mut attempt).await?;
            self.folded += taken.events;
            let mut differences = compare(&mut attempt, &tables, family).await?;
            attempt.rollback().await?;
            let parks_at = taken.poison.as_ref().map(|poison| poison.family_seq);
            differences.extend(standing.book_keeping(family, last, parks_at));
            let is_better = best
                .as_ref()
                .is_none_or(|best| differences.len() < best.differences.len());
            if is_better {
                differences.sort();
                best = Some(Verified {
                    family_seq: taken.family_seq,
                    differences,
                });
            }
            if best.as_ref().is_some_and(|best| best.differences.is_empty()) {
                break;
            }
        }
        tx.rollback().await?;
        Ok(best.unwrap_or(Verified {
            family_seq: 0,
            differences: Vec::new(),
        }))
    }

    /// Rows of families that the log does not know.
    ///
    /// # Errors
    /// [`VerifyError`].
    pub async fn strangers(&mut self) -> Result<Vec<Difference>, VerifyError> {
        let mut tx = self
            .connection
            .begin_with("begin isolation level repeatable read")
            .await?;
        let tables = live_tables(&mut tx).await?;
        let mut found = Vec::new();
        for (view, table) in named_tables().chain([("parked_families", "parked_families")]) {
            let Some(name) = tables.get(table) else { continue };
            let statement = format!(
                "select t.family_id, count(*)
                from {name} t
                where not exists (select from log.families f where f.family_id = t.family_id)
                group by t.family_id
                order by t.family_id"
            );
            let rows: Vec<(Uuid, i64)> = sqlx::query_as(&statement).fetch_all(&mut *tx).await?;
            found.extend(rows.into_iter().map(|(family, rows_live)| Difference {
                view,
                table,
                family_id: FamilyId::from_uuid(family),
                rows_live,
                rows_wanted: 0,
            }));
        }
        tx.rollback().await?;
        Ok(found)
    }

    async fn empty(&mut self) -> Result<(), VerifyError> {
        // The auditor's sessions are read-only by default; making temporary tables is all that is ever written.
        let mut tx = self.connection.begin_with("begin read write").await?;
        scratch_tables(&mut tx).await?;
        tx.commit().await?;
        self.folded = 0;
        Ok(())
    }
}

/// What the rows say of how far they go.
struct Standing {
    /// The last event up to the lane's checkpoint.
    due: i64,
    /// The last event according to the family's head.
    head: i64,
    /// The event at which the family is parked.
    parked: Option<i64>,
}

impl Standing {
    async fn read(
        tx: &mut PgConnection,
        tables: &BTreeMap<String, String>,
        lane: Lane,
        family: FamilyId,
    ) -> Result<Self, sqlx::Error> {
        let name = |table: &str| tables.get(table).cloned().unwrap_or_else(|| format!("views.{table}"));
        let statement = format!(
            "select
                coalesce((
                    select max(e.family_seq)
                    from log.events e
                    where e.lane = $1
                        and e.family_id = $2
                        and e.position <= (
                            select c.position
                            from {} c
                            where c.group_name = $3
                                and c.version = $4
                                and c.lane = $1
                        )
                ), 0) as due,
                coalesce((select h.family_seq from {} h where h.family_id = $2), 0) as head,
                (select p.family_seq from {} p where p.family_id = $2) as parked",
            name("checkpoints"),
            name("family_heads"),
            name("parked_families"),
        );
        let row = sqlx::query(&statement)
            .bind(lane.0)
            .bind(family.uuid())
            .bind(crate::GROUP)
            .bind(crate::VERSION)
            .fetch_one(tx)
            .await?;
        Ok(Self {
            due: row.try_get("due")?,
            head: row.try_get("head")?,
            parked: row.try_get("parked")?,
        })
    }

    /// Which event may be the last in the rows: the most trusted first.
    fn candidates(&self) -> Vec<i64> {
        let mut candidates = vec![self.due];
        for other in self.parked.map(|seq| seq - 1).into_iter().chain([self.head]) {
            if other >= 0 && !candidates.contains(&other) {
                candidates.push(other);
            }
        }
        candidates
    }

    /// What in the book-keeping does not go with rows up to `last`, of a ledger that does not fold at `parks_at`.
    fn book_keeping(&self, family: FamilyId, last: i64, parks_at: Option<i64>) -> Vec<Difference> {
        let differs = |table: &'static str, rows_live: usize, rows_wanted: usize| Difference {
            view: table,
            table,
            family_id: family,
            rows_live: i64::try_from(rows_live).unwrap_or(0),
            rows_wanted: i64::try_from(rows_wanted).unwrap_or(0),
        };
        let mut found = Vec::new();
        // Parked at the event behind the last in the rows is as it should be, whether the cause was mended since or not.
        let is_held_here = self.parked == Some(last + 1) && last < self.due;
        if !is_held_here && self.parked != parks_at {
            found.push(differs(
                "parked_families",
                usize::from(self.parked.is_some()),
                usize::from(parks_at.is_some()),
            ));
        }
        if !is_held_here && last != self.due {
            found.push(differs("checkpoints", 1, 1));
        }
        found
    }
}

/// The live tables with their schemas, as the snapshot has them.
async fn live_tables(tx: &mut PgConnection) -> Result<BTreeMap<String, String>, VerifyError> {
    let live = enter(tx).await?;
    if live.version != crate::VERSION {
        return Err(VerifyError::Version { live: live.version });
    }
    let rows: Vec<(String, String)> = sqlx::query_as(
        "select distinct on (c.relname) c.relname::text, s.name || '.' || c.relname
        from string_to_table($1, ', ') with ordinality s (name, place)
        join pg_catalog.pg_class c on c.relnamespace = to_regnamespace(s.name) and c.relkind = 'r'
        order by c.relname, s.place",
    )
    .bind(live.search_path)
    .fetch_all(tx)
    .await?;
    Ok(rows.into_iter().collect())
}

/// Every read model's tables, and the families' heads.
fn named_tables() -> impl Iterator<Item = (&'static str, &'static str)> {
    PROJECTIONS
        .iter()
        .flat_map(|projection| projection.tables().iter().map(|table| (projection.name(), *table)))
        .chain([("family_heads", "family_heads")])
}

/// Holds the temporary rows of a family against the live ones, all tables in one statement.
async fn compare(
    tx: &mut PgConnection,
    tables: &BTreeMap<String, String>,
    family: FamilyId,
) -> Result<Vec<Difference>, sqlx::Error> {
    let side = |name: &str| {
        format!(
            "select count(*) as rows, sum(hashtextextended(t::text, 0)::numeric) as hash from {name} t where t.family_id = $1"
        )
    };
    let each = named_tables().enumerate().map(|(number, (_, table))| {
        // Names are of our own making; nothing of a request gets here.
        let live = tables.get(table).cloned().unwrap_or_else(|| format!("views.{table}"));
        format!(
            "select {number} as number, l.rows as rows_live, n.rows as rows_wanted
            from ({}) l, ({}) n
            where (l.rows, l.hash) is distinct from (n.rows, n.hash)",
            side(&live),
            side(&format!("pg_temp.{table}")),
        )
    });
    let statement = each.collect::<Vec<_>>().join(" union all ");
    let rows: Vec<(i32, i64, i64)> = sqlx::query_as(&statement).bind(family.uuid()).fetch_all(tx).await?;
    let named: Vec<_> = named_tables().collect();
    Ok(rows
        .into_iter()
        .filter_map(|(number, rows_live, rows_wanted)| {
            let (view, table) = *named.get(usize::try_from(number).ok()?)?;
            Some(Difference {
                view,
                table,
                family_id: family,
                rows_live,
                rows_wanted,
            })
        })
        .collect())
}
