//! Giving a place what it does not have.
//!
//! A place is *asked first* what it holds, and what it holds is compared with the log before anything is written: a database
//! that was brought back to an earlier moment must not write over the one thing that tells. Outside is read before the log, so
//! whatever an exporter has put there, of this process or another, is in the log by then.
//!
//! - The latest checkpoint there is one that the tree comes by: everything up to it has been given, and the rest follows from
//!   there, so that no leaves are missing between two files.
//! - It is beyond the last checkpoint here, and the log leads to it: the sealer has to come by it first; nothing is given.
//! - It is beyond the log, or has another root: a fork. The lane halts, and the place keeps what it has.
//! - There is nothing: everything is given, from the first checkpoint on.
//!
//! A note under the same name must say the same; its signatures may be others, for a new key signs the last checkpoint too.
//! Leaves that are there stay, whatever checkpoint they begin at: how the log was cut into checkpoints may be another after a
//! restore, and what leaves are worth their note says.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use sqlx::PgPool;
use tokio::sync::watch;

use super::{Held, Witness, WitnessError, latest};
use crate::{
    Lane, LogError,
    load::read_lane_in,
    seal::{Hash, SealStatus, keys, note, sealer::LOOK_AGAIN_AFTER, tree},
};

/// Events read at once.
const BATCH: i64 = 1_000;
/// Checkpoints handed over at once.
const PAGE: i64 = 64;
/// How often a place is given what is new.
const INTERVAL: Duration = Duration::from_secs(1);
/// The longest pause after a failure.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// What this process knows of a place.
#[derive(Debug, Default)]
pub(in crate::seal) struct Given {
    /// Lanes of which the place was asked, and fits.
    fits: BTreeSet<Lane>,
    /// Lanes in which it saw a fork, and when.
    forked: BTreeMap<Lane, Instant>,
}

/// Gives a place every checkpoint it does not have, until told to stop; and once more then.
pub(in crate::seal) async fn export(
    pool: PgPool,
    witness: Witness,
    status: SealStatus,
    mut shutdown: watch::Receiver<bool>,
) {
    let mut pause = INTERVAL;
    let mut given = Given::default();
    loop {
        let is_stopping = *shutdown.borrow();
        match export_new(&pool, &witness, &status, &mut given).await {
            Ok(()) => pause = INTERVAL,
            Err(error) => {
                pause = (pause * 2).min(PAUSE_MAX);
                metrics::counter!("kinledger_sealer_export_failures_total", "destination" => witness.name.clone())
                    .increment(1);
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(destination = witness.name, %error, cause, "checkpoints could not be exported; trying again");
            }
        }
        if is_stopping {
            return;
        }
        // A sender that is gone will never say so: that too is the end.
        drop(tokio::time::timeout(pause, shutdown.wait_for(|is_stopping| *is_stopping)).await);
    }
}

/// Gives a place what is new, of every lane, in order. A fork shows in `status`.
///
/// # Errors
/// [`WitnessError`], when a lane could not be finished; others may have been.
pub(in crate::seal) async fn export_new(
    pool: &PgPool,
    witness: &Witness,
    status: &SealStatus,
    given: &mut Given,
) -> Result<(), WitnessError> {
    let lanes: Vec<i16> = sqlx::query_scalar("select lane from log.lanes order by lane")
        .fetch_all(pool)
        .await?;
    let mut first_error = None;
    for lane in lanes.into_iter().map(Lane) {
        let was_forked = given.forked.get(&lane);
        if status.is_forked_by_another(lane, &witness.name)
            || was_forked.is_some_and(|at| at.elapsed() < LOOK_AGAIN_AFTER)
        {
            continue;
        }
        let exporting = Export { pool, witness, lane };
        match exporting.export(given.fits.contains(&lane)).await {
            Ok(fits) => {
                if fits {
                    given.fits.insert(lane);
                }
                given.forked.remove(&lane);
                status.mended(lane, &witness.name);
            }
            Err(WitnessError::Fork(what)) => {
                given.fits.remove(&lane);
                given.forked.insert(lane, Instant::now());
                status.forked(lane, &witness.name, format!("{} holds {what}", witness.name));
            }
            // These lanes wait; the others need not.
            Err(error @ WitnessError::Foreign(_)) => {
                first_error.get_or_insert(error);
            }
            Err(WitnessError::Log(error)) if !error.is_unavailable() => {
                first_error.get_or_insert(WitnessError::Log(error));
            }
            Err(error) => return Err(error),
        }
    }
    first_error.map_or(Ok(()), Err)
}

/// One lane, on its way to one place.
struct Export<'a> {
    pool: &'a PgPool,
    witness: &'a Witness,
    lane: Lane,
}

/// How the latest checkpoint of a place stands to the log.
enum Compared {
    /// The tree comes by it.
    Fits,
    /// The log is not sealed so far yet.
    Ahead,
}

impl Export<'_> {
    /// Gives the place what it lacks. Says whether it holds what fits the log: a place that is ahead of the last checkpoint is
    /// asked again. With `fits` it is not asked while there is nothing to give.
    async fn export(&self, fits: bool) -> Result<bool, WitnessError> {
        let statement = "select coalesce((select max(size) from log.checkpoints where lane = $2), 0), \
             coalesce((select max(size) from log.checkpoint_exports where destination = $1 and lane = $2), 0)";
        let (sealed, marked): (i64, i64) = sqlx::query_as(statement)
            .bind(&self.witness.name)
            .bind(self.lane.0)
            .fetch_one(self.pool)
            .await?;
        if fits && marked >= sealed {
            return Ok(true);
        }
        let origin = note::origin(&crate::seal::log_name(self.pool).await?, self.lane);
        let keys = keys::verifier_keys(self.pool).await?;
        let mut after = match self.witness.held(self.lane, &origin, &keys).await? {
            Held::Nothing => {
                if marked > 0 {
                    let (destination, lane) = (&self.witness.name, self.lane.0);
                    tracing::warn!(
                        destination,
                        lane,
                        "the place has lost what it was given; it is given again"
                    );
                }
                0
            }
            Held::Foreign => return Err(WitnessError::Foreign(latest(self.lane))),
            Held::Checkpoint { size, root } => match self.compare(size, root).await? {
                Compared::Ahead => return Ok(false),
                Compared::Fits => i64::try_from(size).unwrap_or(i64::MAX),
            },
        };
        if after > marked {
            self.mark(after).await?;
        }
        while let Some(last) = self.give_page(after).await? {
            self.mark(last).await?;
            after = last;
        }
        Ok(true)
    }

    async fn compare(&self, size: u64, root: Hash) -> Result<Compared, WitnessError> {
        let statement = "select coalesce((select max(size) from log.checkpoints where lane = $1), 0), \
             coalesce((select max(position) from log.events where lane = $1), 0)";
        let (sealed, head): (i64, i64) = sqlx::query_as(statement).bind(self.lane.0).fetch_one(self.pool).await?;
        if size > head.unsigned_abs() {
            return Err(WitnessError::Fork(format!(
                "a checkpoint for {size} events, the log has {head}"
            )));
        }
        let is_ahead = size > sealed.unsigned_abs();
        let ours = if is_ahead {
            self.root_of_the_log(sealed.unsigned_abs(), size).await?
        } else {
            tree::root_at(self.pool, self.lane, size).await?
        };
        match ours == root {
            true if is_ahead => Ok(Compared::Ahead),
            true => Ok(Compared::Fits),
            false => Err(WitnessError::Fork(format!("another root for {size} events"))),
        }
    }

    /// The root that the tree will have at a size that is not sealed yet.
    async fn root_of_the_log(&self, sealed: u64, size: u64) -> Result<Hash, LogError> {
        let covering = tree::read(self.pool, self.lane, &tree::cover(0, sealed)).await?;
        let mut edge = tree::Edge::new(sealed, &covering);
        while edge.size() < size {
            let limit = i64::try_from(size - edge.size()).unwrap_or(BATCH).min(BATCH);
            let after = i64::try_from(edge.size()).unwrap_or(i64::MAX);
            let records = read_lane_in(self.pool, self.lane, after, limit).await?;
            if records.is_empty() {
                break;
            }
            edge.grow(&records.iter().map(tree::leaf_of).collect::<Vec<_>>());
        }
        Ok(edge.root())
    }

    /// Gives the next checkpoints after one. Says which was the last; none when there are no more.
    async fn give_page(&self, mut after: i64) -> Result<Option<i64>, WitnessError> {
        let statement =
            "select size, note from log.signed_checkpoints where lane = $1 and size > $2 order by size limit $3";
        let page: Vec<(i64, String)> = sqlx::query_as(statement)
            .bind(self.lane.0)
            .bind(after)
            .bind(PAGE)
            .fetch_all(self.pool)
            .await?;
        let Some((last, newest)) = page.last().cloned() else {
            return Ok(None);
        };
        for (size, note) in page {
            let leaves = tree::leaves(self.pool, self.lane, after.unsigned_abs(), size.unsigned_abs()).await?;
            self.keep_leaves(format!("lane-{}/{size:020}.leaves", self.lane), leaves)
                .await?;
            self.keep_note(format!("lane-{}/{size:020}.note", self.lane), note)
                .await?;
            after = size;
        }
        self.witness.replace(latest(self.lane), newest.into_bytes()).await?;
        Ok(Some(last))
    }

    async fn keep_leaves(&self, name: String, leaves: Vec<u8>) -> Result<(), WitnessError> {
        match self.witness.keep(name, leaves).await {
            Err(WitnessError::Other(name)) => {
                let destination = &self.witness.name;
                tracing::warn!(
                    destination,
                    name,
                    "these leaves are there already, cut another way; they stay"
                );
                Ok(())
            }
            kept => kept,
        }
    }

    async fn keep_note(&self, name: String, note: String) -> Result<(), WitnessError> {
        match self.witness.keep(name, note.clone().into_bytes()).await {
            Err(WitnessError::Other(name)) => {
                let there = self.witness.get(name.clone()).await?.unwrap_or_default();
                let there = String::from_utf8(there).unwrap_or_default();
                if note::say_the_same(&there, &note) {
                    Ok(())
                } else {
                    Err(WitnessError::Fork(format!("another {name}")))
                }
            }
            kept => kept,
        }
    }

    async fn mark(&self, size: i64) -> Result<(), LogError> {
        let statement = "insert into log.checkpoint_exports (destination, lane, size) values ($1, $2, $3) \
             on conflict (destination, lane) do update set \
             size = greatest(log.checkpoint_exports.size, excluded.size), exported_at = clock_timestamp()";
        sqlx::query(statement)
            .bind(&self.witness.name)
            .bind(self.lane.0)
            .bind(size)
            .execute(self.pool)
            .await?;
        #[allow(clippy::cast_precision_loss, reason = "a gauge")]
        metrics::gauge!("kinledger_sealer_exported_position", "lane" => self.lane.to_string(), "destination" => self.witness.name.clone())
            .set(size as f64);
        Ok(())
    }
}
