//! Parked families: what happens when an event cannot be folded.
//!
//! The family's rows stay as they were before that event, its later events wait in the log, and every other family goes on.
//! Parking is never skipping: [`retry_parked`] takes the family up again from the log, once the cause is mended.

use std::{collections::BTreeSet, fmt};

use chrono::{DateTime, Utc};
use domain::id::FamilyId;
use event_store::{Lane, Record};
use sqlx::{PgConnection, Row, postgres::PgRow};
use uuid::Uuid;

use crate::{
    apply::{Applier, ApplyError, Head, load_head, save_heads, sequence::admit},
    causes::causes,
    erasure,
    projection::Fact,
};

/// Events taken up in one transaction.
const PAGE: i64 = 1_000;

/// An event that could not be folded, with its bytes as stored.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Poison {
    /// Whose.
    pub family_id: Uuid,
    /// The lane.
    pub lane: i16,
    /// Which event.
    pub family_seq: i64,
    /// Its name.
    pub event_type: String,
    /// Its version.
    pub event_version: String,
    /// Why, with causes.
    pub error: String,
    /// The payload's exact bytes.
    pub payload: String,
}

impl Poison {
    pub(crate) fn of(record: &Record, error: String) -> Self {
        Self {
            family_id: record.family_id.uuid(),
            lane: record.lane.0,
            family_seq: record.family_seq,
            event_type: record.event_type.clone(),
            event_version: record.event_version.clone(),
            error,
            payload: record.payload.clone(),
        }
    }
}

/// A family that could not be taken up again.
#[derive(Debug, thiserror::Error)]
pub enum RetryError {
    /// It is not parked.
    #[error("the family is not parked")]
    NotParked,
    /// An event still cannot be folded; the family stays parked there, with what came before it in the rows.
    #[error("event {family_seq} still cannot be folded: {error}")]
    Still {
        /// Which event.
        family_seq: i64,
        /// Events before it that were folded now.
        events: usize,
        /// Why.
        error: String,
    },
    /// The database or the log.
    #[error("the family cannot be taken up")]
    Apply(#[from] ApplyError),
}

impl From<sqlx::Error> for RetryError {
    fn from(error: sqlx::Error) -> Self {
        Self::Apply(error.into())
    }
}

/// What taking up a family came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retried {
    /// Events folded.
    pub events: usize,
    /// The last event in the rows now.
    pub family_seq: i64,
}

impl fmt::Display for Retried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} events folded, up to {}", self.events, self.family_seq)
    }
}

/// Takes a parked family up again: folds its events from the log up to the lane's checkpoint, and frees it. The checkpoint is
/// locked meanwhile, so the lane's own task cannot pass it by.
///
/// # Errors
/// [`RetryError`]; on [`RetryError::Still`] what folds is folded, and the family is parked at the event that does not.
pub async fn retry_parked(applier: &Applier, family: FamilyId) -> Result<Retried, RetryError> {
    let mut tx = applier.target.begin(&applier.pool).await?;
    let lane: Option<i16> = sqlx::query_scalar("select lane from parked_families where family_id = $1")
        .bind(family.uuid())
        .fetch_optional(&mut *tx)
        .await?;
    let lane = Lane(lane.ok_or(RetryError::NotParked)?);
    let position: i64 = sqlx::query_scalar(
        "select position
        from checkpoints
        where group_name = $1
            and version = $2
            and lane = $3
        for update",
    )
    .bind(crate::GROUP)
    .bind(crate::VERSION)
    .bind(lane.0)
    .fetch_one(&mut *tx)
    .await?;
    let until = Until {
        position,
        family_seq: i64::MAX,
    };
    let taken = take_up(applier, lane, family, until, &mut tx).await?;
    sqlx::query("delete from parked_families where family_id = $1")
        .bind(family.uuid())
        .execute(&mut *tx)
        .await?;
    if let Some(poison) = &taken.poison {
        park(std::slice::from_ref(poison), &mut tx).await?;
    }
    tx.commit().await?;
    match taken.poison {
        None => {
            tracing::info!(family.id = %family, events = taken.events, "a parked family was taken up again");
            Ok(Retried {
                events: taken.events,
                family_seq: taken.family_seq,
            })
        }
        Some(poison) => Err(RetryError::Still {
            family_seq: poison.family_seq,
            events: taken.events,
            error: poison.error,
        }),
    }
}

/// How far a family is taken up: both bounds are included.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Until {
    /// A position of its lane. What lies beyond comes by the lane itself.
    pub(crate) position: i64,
    /// An event of its ledger.
    pub(crate) family_seq: i64,
}

/// What taking up a family came to.
#[derive(Debug)]
pub(crate) struct TakenUp {
    /// Events folded.
    pub(crate) events: usize,
    /// The last event in the rows now.
    pub(crate) family_seq: i64,
    /// The event that could not be folded.
    pub(crate) poison: Option<Poison>,
}

/// Folds a family's events from the log, from its head in the rows on, up to a bound or to the first that cannot be folded.
pub(crate) async fn take_up(
    applier: &Applier,
    lane: Lane,
    family: FamilyId,
    until: Until,
    tx: &mut PgConnection,
) -> Result<TakenUp, ApplyError> {
    let genesis = Head {
        family_seq: 0,
        chain_hash: event_store::chain::GENESIS,
    };
    let known = load_head(family.uuid(), tx).await?.remove(&family.uuid());
    let mut head = known.unwrap_or(genesis);
    let mut taken = TakenUp {
        events: 0,
        family_seq: head.family_seq,
        poison: None,
    };
    while taken.poison.is_none() {
        let read = applier.log.read_family(lane, family, head.family_seq, PAGE).await?;
        let due = read
            .into_iter()
            .take_while(|record| record.position <= until.position && record.family_seq <= until.family_seq);
        let mut facts = Vec::new();
        for record in due {
            match admit(record, &mut head) {
                Ok(fact) => facts.push(fact),
                Err(poison) => {
                    taken.poison = Some(*poison);
                    break;
                }
            }
        }
        if facts.is_empty() {
            break;
        }
        if applier.fold_behind_savepoint(&facts, tx).await?.is_err() {
            let (folds, poison) = one_by_one(applier, facts, tx).await?;
            facts = folds;
            taken.poison = poison.or(taken.poison);
        }
        if erasure::ends(&facts) {
            erasure::clear(applier, family, tx).await?;
        }
        save_heads(&facts, tx).await?;
        taken.events += facts.len();
        taken.family_seq = facts.last().map_or(taken.family_seq, |fact| fact.record.family_seq);
    }
    Ok(taken)
}

/// Finds which of a family's events does not fold; those before it are folded.
async fn one_by_one(
    applier: &Applier,
    facts: Vec<Fact>,
    tx: &mut PgConnection,
) -> Result<(Vec<Fact>, Option<Poison>), ApplyError> {
    let mut folded = Vec::with_capacity(facts.len());
    for fact in facts {
        match applier.fold_behind_savepoint(std::slice::from_ref(&fact), tx).await? {
            Ok(()) => folded.push(fact),
            Err(error) => return Ok((folded, Some(Poison::of(&fact.record, causes(&error))))),
        }
    }
    Ok((folded, None))
}

/// A parked family, without what its event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    /// Whose.
    pub family_id: FamilyId,
    /// The event that does not fold.
    pub family_seq: i64,
    /// Its name.
    pub event_type: String,
    /// Its version.
    pub event_version: String,
    /// Why, with causes.
    pub error: String,
    /// Since when.
    pub parked_at: DateTime<Utc>,
    /// Events of the family that are not in the rows.
    pub waiting: i64,
}

/// Every parked family, the one parked longest first.
///
/// # Errors
/// [`ApplyError`].
pub async fn list(applier: &Applier) -> Result<Vec<Parked>, ApplyError> {
    let mut tx = applier.target.begin(&applier.pool).await?;
    let rows = sqlx::query(
        "select p.family_id, p.family_seq, p.event_type, p.event_version, p.error, p.parked_at,
            (
                select coalesce(max(e.family_seq), p.family_seq) - p.family_seq + 1
                from log.events e
                where e.lane = p.lane
                    and e.family_id = p.family_id
            ) as waiting
        from parked_families p
        order by p.parked_at, p.family_id",
    )
    .fetch_all(&mut *tx)
    .await?;
    let parked = |row: &PgRow| {
        Ok(Parked {
            family_id: FamilyId::from_uuid(row.try_get("family_id")?),
            family_seq: row.try_get("family_seq")?,
            event_type: row.try_get("event_type")?,
            event_version: row.try_get("event_version")?,
            error: row.try_get("error")?,
            parked_at: row.try_get("parked_at")?,
            waiting: row.try_get("waiting")?,
        })
    };
    Ok(rows.iter().map(parked).collect::<Result<_, sqlx::Error>>()?)
}

/// How many families are parked.
///
/// # Errors
/// When the database fails.
pub(crate) async fn count(applier: &Applier) -> Result<i64, ApplyError> {
    let mut tx = applier.target.begin(&applier.pool).await?;
    Ok(sqlx::query_scalar("select count(*) from parked_families")
        .fetch_one(&mut *tx)
        .await?)
}

/// Which of these families are parked.
pub(crate) async fn parked_among(families: &[Uuid], tx: &mut PgConnection) -> Result<BTreeSet<Uuid>, sqlx::Error> {
    let rows: Vec<Uuid> = sqlx::query_scalar("select family_id from parked_families where family_id = any($1)")
        .bind(families)
        .fetch_all(tx)
        .await?;
    Ok(rows.into_iter().collect())
}

/// Parks families, and raises the alarm.
pub(crate) async fn park(poisons: &[Poison], tx: &mut PgConnection) -> Result<(), sqlx::Error> {
    for poison in poisons {
        sqlx::query(
            "insert into parked_families
                (family_id, lane, family_seq, event_type, event_version, error, payload)
            values ($1, $2, $3, $4, $5, $6, $7)
            on conflict (family_id) do nothing",
        )
        .bind(poison.family_id)
        .bind(poison.lane)
        .bind(poison.family_seq)
        .bind(&poison.event_type)
        .bind(&poison.event_version)
        .bind(&poison.error)
        .bind(&poison.payload)
        .execute(&mut *tx)
        .await?;
        tracing::error!(
            family.id = %FamilyId::from_uuid(poison.family_id),
            family_seq = poison.family_seq,
            event.type = poison.event_type,
            error = poison.error,
            "an event cannot be folded; its family is parked"
        );
        metrics::counter!("kinledger_projector_parked_total").increment(1);
    }
    Ok(())
}
