//! How a batch of one lane becomes rows, exactly once in effect.
//!
//! All of it is one transaction, in this order:
//!
//! 1. **Compare-and-set of the checkpoint**, first, so that it is also the lock: of two processes that work on one lane the
//!    second waits here, then finds another position than it started from and rolls back ([`ApplyError::Zombie`]). The same
//!    statement looks whether the log still holds the batch's last record.
//! 2. **Sequence** ([`sequence`]): per family, what the rows already hold is skipped by `family_seq`, a hole is
//!    filled from the log, and every chain hash must follow from the one before. What does not decode or does not follow is
//!    poison: its family is parked and its later events wait in the log.
//! 3. **Fold**: every projection writes its rows, set by set. When one fails, the batch is tried again a few times; then each
//!    family is folded behind a savepoint of its own, and in the family that fails, each event, so that exactly the poisoned
//!    one is parked.
//! 4. **Heads**: the last event of each family in the rows. A family of whom the batch erases somebody is then folded again from its
//!    first event ([`crate::erasure`]).
//!
//! Rows, heads, parked families and checkpoint commit together or not at all. Which tables they are is the [`Target`]'s matter:
//! the live generation for those who follow the log, one beside it for a rebuild.
//!
//! The order of these steps is [`batch::Batch`], which does no IO; [`Applier::apply`] performs them.

pub mod batch;
pub mod sequence;

use std::{borrow::Cow, collections::BTreeMap};

use event_store::{Lane, Log, LogError, Record, chain};
use sqlx::{Connection, PgConnection, PgPool};
use uuid::Uuid;

use self::batch::{Batch, Effect, Input};
use crate::{
    causes::causes,
    erasure,
    generation::Target,
    parking,
    projection::{Fact, Projection, ProjectionError},
    projections::PROJECTIONS,
    rebuild,
};

/// Where a family stands in the rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The last event folded; 0 before the first.
    pub family_seq: i64,
    /// Its chain hash.
    pub chain_hash: [u8; 32],
}

impl Head {
    /// Before the first event.
    pub const EMPTY: Self = Self {
        family_seq: 0,
        chain_hash: chain::GENESIS,
    };
}

/// Why a batch was not applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Another process has moved the checkpoint.
    #[error("another process has moved the checkpoint of lane {lane}")]
    Zombie {
        /// The lane.
        lane: i16,
    },
    /// The database cannot be reached or refuses.
    #[error("the views cannot be written")]
    Database(#[from] sqlx::Error),
    /// The live rows are another release's.
    #[error("the views are of version {live}, this release folds version {}", crate::VERSION)]
    Version {
        /// The version of the live rows.
        live: i32,
    },
    /// The log cannot be read to fill a hole.
    #[error("the log cannot be read")]
    Log(#[from] LogError),
    /// The log ends before an event that a feed has delivered.
    #[error("the log has no event {family_seq} of a family whose later events were delivered")]
    Hole {
        /// The first event missing.
        family_seq: i64,
    },
    /// A projection failed; trying again one family at a time finds the event.
    #[error("projection {name} failed")]
    Projection {
        /// Which.
        name: &'static str,
        /// Why.
        #[source]
        cause: ProjectionError,
    },
}

impl ApplyError {
    /// Is it about the events themselves, so that trying again alone will not help?
    pub fn is_about_events(&self) -> bool {
        match self {
            Self::Projection {
                cause: ProjectionError::Database(error),
                ..
            } => !is_passing(error),
            Self::Projection { .. } => true,
            Self::Zombie { .. } | Self::Version { .. } | Self::Database(_) | Self::Log(_) | Self::Hole { .. } => false,
        }
    }
}

/// Is it the database's state rather than the statement, so that the same may succeed later?
pub(crate) fn is_passing(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => error.code().is_none_or(|code| {
            // Connection, transaction rollback, resources, operator, locks, system: classes of Postgres' appendix A.
            ["08", "40", "53", "55", "57", "58"]
                .iter()
                .any(|class| code.starts_with(class))
        }),
        sqlx::Error::Encode(_) | sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } => false,
        sqlx::Error::TypeNotFound { .. } | sqlx::Error::ColumnNotFound(_) | sqlx::Error::RowNotFound => false,
        _ => true,
    }
}

/// What a batch came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Events that are in the rows now and were not before.
    pub events: usize,
    /// Events skipped because the rows held them.
    pub duplicates: usize,
    /// Events read from the log because the feed had left them out.
    pub filled: usize,
    /// Families parked.
    pub parked: usize,
}

/// Applies batches of one group of projections.
#[derive(Clone)]
pub struct Applier {
    /// Acts in the role of the projector.
    pub pool: PgPool,
    /// Where holes are filled from.
    pub log: Log,
    /// The projections to fold.
    pub projections: Cow<'static, [&'static dyn Projection]>,
    /// The tables to fold into.
    pub target: Target,
}

impl Applier {
    /// Folds every projection into the live generation.
    pub fn new(pool: PgPool, log: Log) -> Self {
        Self {
            pool,
            log,
            projections: PROJECTIONS.into(),
            target: Target::Live,
        }
    }

    /// The position up to which a lane is folded; its row is made when there is none.
    ///
    /// # Errors
    /// [`ApplyError::Database`].
    pub async fn checkpoint(&self, lane: Lane) -> Result<i64, ApplyError> {
        let mut tx = self.target.begin(&self.pool).await?;
        sqlx::query(
            "insert into checkpoints (group_name, version, lane, position)
            values ($1, $2, $3, 0)
            on conflict (group_name, version, lane) do nothing",
        )
        .bind(crate::GROUP)
        .bind(crate::VERSION)
        .bind(lane.0)
        .execute(&mut *tx)
        .await?;
        let position = sqlx::query_scalar(
            "select position
            from checkpoints
            where group_name = $1
                and version = $2
                and lane = $3",
        )
        .bind(crate::GROUP)
        .bind(crate::VERSION)
        .bind(lane.0)
        .fetch_one(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(position)
    }

    /// Applies the records of a lane that follow `checkpoint`, and moves it to `to`. With `isolates`, a failing family is found
    /// and parked; without, its failure is the batch's.
    ///
    /// # Errors
    /// [`ApplyError`]; nothing is changed then.
    pub async fn apply(
        &self,
        lane: Lane,
        checkpoint: i64,
        to: i64,
        mut records: Vec<Record>,
        isolates: bool,
    ) -> Result<Applied, ApplyError> {
        let mut erased = erasure::erased_in(&records);
        if !erased.is_empty() {
            self.prepare_erasure().await;
        }
        self.log.open(&mut records).await?;
        let mut tx = self.target.begin(&self.pool).await?;
        let mut batch = Batch::new(lane, checkpoint, to, records, isolates);
        let mut effect = batch.begin();
        loop {
            let input = match effect {
                Effect::MoveCheckpoint { from, to, chain_hash } => {
                    Input::Moved(move_checkpoint(lane, from, to, chain_hash, &mut tx).await?)
                }
                Effect::LoadFamilies { families } => Input::Families {
                    heads: load_heads(&families, &mut tx).await?,
                    parked: parking::parked_among(&families, &mut tx).await?,
                },
                Effect::ReadFamily {
                    family_id,
                    after_seq,
                    limit,
                } => Input::Read(self.log.read_family(lane, family_id, after_seq, limit).await?),
                Effect::Fold { facts } => {
                    self.fold(&facts, &mut tx).await?;
                    Input::Folded(facts)
                }
                Effect::Try { facts } => {
                    let folded = self.fold_behind_savepoint(&facts, &mut tx).await?;
                    let failure = folded.err().map(|error| causes(&error));
                    Input::Tried { facts, failure }
                }
                Effect::Commit { facts, poisons } => {
                    save_heads(&facts, &mut tx).await?;
                    parking::park(&poisons, &mut tx).await?;
                    // Also what the feed had left out.
                    erased.extend(erasure::erased_in(facts.iter().map(|fact| &fact.record)));
                    for family in &erased {
                        self.log.forget_keys();
                        erasure::scrub(self, lane, *family, &mut tx).await?;
                    }
                    tx.commit().await?;
                    trace(&facts);
                    // Nothing is left to do in the transaction that is over.
                    return match batch.handle(Input::Committed)? {
                        Effect::Done(applied) => Ok(applied),
                        other => unreachable!("{other:?} after the commit"),
                    };
                }
                Effect::Done(applied) => return Ok(applied),
            };
            effect = batch.handle(input)?;
        }
    }

    /// Before somebody is erased from the rows: keys in memory are of before, and rows that do not answer any more hold what is
    /// to be forgotten, too. A batch that fails afterwards comes by here again.
    async fn prepare_erasure(&self) {
        self.log.forget_keys();
        if self.target == Target::Live
            && let Err(error) = rebuild::forget_old(&self.pool).await
        {
            tracing::warn!(error = %causes(&error), "rows that do not answer any more stay until the next rebuild");
        }
    }

    /// Every projection over all facts.
    async fn fold(&self, facts: &[Fact], tx: &mut PgConnection) -> Result<(), ApplyError> {
        if facts.is_empty() {
            return Ok(());
        }
        for projection in self.projections.iter() {
            let done = projection.project(facts, &mut *tx).await;
            done.map_err(|cause| ApplyError::Projection {
                name: projection.name(),
                cause,
            })?;
        }
        Ok(())
    }

    /// The outer error is the database's, the inner one the events'.
    pub(crate) async fn fold_behind_savepoint(
        &self,
        facts: &[Fact],
        tx: &mut PgConnection,
    ) -> Result<Result<(), ApplyError>, ApplyError> {
        let mut savepoint = tx.begin().await?;
        match self.fold(facts, &mut savepoint).await {
            Ok(()) => {
                savepoint.commit().await?;
                Ok(Ok(()))
            }
            Err(error) if error.is_about_events() => {
                savepoint.rollback().await?;
                Ok(Err(error))
            }
            Err(error) => Err(error),
        }
    }
}

/// Ties each projected event to the request that caused it, for who follows a trace.
fn trace(facts: &[Fact]) {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    for Fact { record, .. } in facts {
        tracing::debug!(
            traceparent = record.metadata_entry("traceparent").unwrap_or_default(),
            family.id = %record.family_id,
            family_seq = record.family_seq,
            event.type = record.event_type,
            "event projected"
        );
    }
}

/// Moves the checkpoint when it stands where it should and the log holds what it is moved to; says whether it did.
///
/// The log is asked here and not before: this process may have been asleep between reading the records and now, and the
/// database restored meanwhile to a moment before them.
async fn move_checkpoint(
    lane: Lane,
    from: i64,
    to: i64,
    chain_hash: Option<[u8; 32]>,
    tx: &mut PgConnection,
) -> Result<bool, sqlx::Error> {
    let moved = sqlx::query(
        "update checkpoints
        set position = $5, chain_hash = $6
        where group_name = $1
            and version = $2
            and lane = $3
            and position = $4
            and ($6 is null or exists (
                select from log.events e where e.lane = $3 and e.position = $5 and e.chain_hash = $6
            ))",
    )
    .bind(crate::GROUP)
    .bind(crate::VERSION)
    .bind(lane.0)
    .bind(from)
    .bind(to)
    .bind(chain_hash)
    .execute(tx)
    .await?;
    Ok(moved.rows_affected() > 0)
}

async fn load_heads(families: &[Uuid], tx: &mut PgConnection) -> Result<BTreeMap<Uuid, Head>, sqlx::Error> {
    let rows: Vec<(Uuid, i64, Vec<u8>)> = sqlx::query_as(
        "select family_id, family_seq, chain_hash
        from family_heads
        where family_id = any($1)",
    )
    .bind(families)
    .fetch_all(tx)
    .await?;
    let head = |seq, hash: Vec<u8>| Head {
        family_seq: seq,
        chain_hash: hash.try_into().unwrap_or_default(),
    };
    Ok(rows
        .into_iter()
        .map(|(family, seq, hash)| (family, head(seq, hash)))
        .collect())
}

pub(crate) async fn load_head(family: Uuid, tx: &mut PgConnection) -> Result<BTreeMap<Uuid, Head>, sqlx::Error> {
    load_heads(&[family], tx).await
}

pub(crate) async fn save_heads(facts: &[Fact], tx: &mut PgConnection) -> Result<(), sqlx::Error> {
    let mut last: BTreeMap<Uuid, &Record> = BTreeMap::new();
    for fact in facts {
        last.insert(fact.family(), &fact.record);
    }
    if last.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into family_heads (family_id, lane, family_seq, chain_hash, recorded_at)
        select * from unnest($1::uuid[], $2::smallint[], $3::bigint[], $4::bytea[], $5::timestamptz[])
        on conflict (family_id) do update
        set family_seq = excluded.family_seq,
            chain_hash = excluded.chain_hash,
            recorded_at = excluded.recorded_at",
    )
    .bind(last.keys().copied().collect::<Vec<_>>())
    .bind(last.values().map(|record| record.lane.0).collect::<Vec<_>>())
    .bind(last.values().map(|record| record.family_seq).collect::<Vec<_>>())
    .bind(
        last.values()
            .map(|record| record.chain_hash.to_vec())
            .collect::<Vec<_>>(),
    )
    .bind(last.values().map(|record| record.recorded_at).collect::<Vec<_>>())
    .execute(tx)
    .await?;
    Ok(())
}
