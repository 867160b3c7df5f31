//! From the end of the bulk to the switch: the new rows follow the live ones.

use std::time::{Duration, Instant};

use event_store::Lane;
use futures::{StreamExt, TryStreamExt, stream};
use sqlx::{Executor, Postgres, Transaction};

use super::{Progress, RebuildError, Report, Request, bulk::Build, plan::Plan};
use crate::generation::{LIVE_LOCK, enter};

/// So few events missing are folded while batches wait.
const LAG_MAX: i64 = 2_000;
/// Rounds of following. Each is as long as what came during the one before, so they shrink unless events come faster than they
/// are folded.
const ROUNDS_MAX: u32 = 50;
/// Records of a lane folded in one transaction.
const BATCH_MAX: i64 = 5_000;
/// How long the live rows are waited for, to fold what is in the log now.
const LIVE_WITHIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Tries for the lock, each as long as the role's lock time-out at most.
const LOCK_TRIES: u32 = 6;

/// Follows the live rows with the new ones.
pub(super) struct Follower<'a> {
    pub(super) build: &'a Build,
    pub(super) plan: &'a Plan,
}

impl<'a> Follower<'a> {
    pub(super) fn new(build: &'a Build, plan: &'a Plan) -> Self {
        Self { build, plan }
    }

    /// Folds what came since, until little is missing.
    pub(super) async fn catch_up(&self, progress: &(dyn Fn(Progress) + Sync)) -> Result<(), RebuildError> {
        let mut lag = 0;
        for _ in 0..ROUNDS_MAX {
            let ends = self.build.ends().await?;
            lag = self.lag(&ends).await?;
            progress(Progress::CatchingUp { lag });
            if lag <= LAG_MAX {
                return Ok(());
            }
            self.follow(&ends).await?;
        }
        Err(RebuildError::Behind { lag })
    }

    /// Waits until the live rows hold what is in the log now, or no longer than it is worth: nobody may be folding.
    pub(super) async fn live_rows_catch_up(&self) -> Result<(), RebuildError> {
        let log = &self.build.applier.log;
        let mut heads = Vec::new();
        for (lane, _) in self.build.ends().await? {
            heads.push((lane, log.lane_head(lane).await?));
        }
        let began = Instant::now();
        while began.elapsed() < LIVE_WITHIN {
            let ends = self.build.ends().await?;
            let behind = |(lane, head): &(Lane, i64)| ends.iter().any(|(of, end)| of == lane && end < head);
            if !heads.iter().any(behind) {
                break;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Brings the new rows to the checkpoints of the live ones, and opens a snapshot that sees both there. Batches wait only
    /// meanwhile; for how long is returned too.
    pub(super) async fn same_moment(&self) -> Result<(Transaction<'static, Postgres>, Duration), RebuildError> {
        let pool = &self.build.applier.pool;
        let (lock, began) = self.lock().await?;
        self.follow(&self.ends_under_lock().await?).await?;
        let mut snapshot = pool
            .begin_with(
                "begin isolation level repeatable read read only; set local statement_timeout = 0; \
                set local idle_in_transaction_session_timeout = 0",
            )
            .await?;
        // The first statement takes the snapshot, and turns it to the live rows.
        enter(&mut snapshot).await?;
        lock.rollback().await?;
        Ok((snapshot, began.elapsed()))
    }

    /// Brings the new rows to the live checkpoints once more, sees that every family stands where it stands in the live ones,
    /// and lets the new ones answer. For how long batches had to wait is returned.
    pub(super) async fn switch(&self, request: &Request, report: &Report) -> Result<Duration, RebuildError> {
        let (mut lock, began) = self.lock().await?;
        self.follow(&self.ends_under_lock().await?).await?;
        if self.build.follows_live {
            let moved = self.heads_differ(&mut lock, report).await?;
            if !self.plan.is_whole() && moved {
                return Err(RebuildError::ParkedChanged);
            }
            if moved && !request.replaces_different {
                return Err(RebuildError::Different(Box::new(report.clone())));
            }
        }
        sqlx::query("select generations.switch_to($1, $2)")
            .bind(&self.build.schema)
            .bind(request.keeps_old)
            .execute(&mut *lock)
            .await?;
        // This commit must be on disk whatever the role's default: it is the switch.
        sqlx::query("set local synchronous_commit = on")
            .execute(&mut *lock)
            .await?;
        lock.commit().await?;
        Ok(began.elapsed())
    }

    /// From when this returns no batch is folded into the live rows, until the transaction ends.
    async fn lock(&self) -> Result<(Transaction<'static, Postgres>, Instant), RebuildError> {
        let mut tries = 0;
        loop {
            let began = Instant::now();
            let mut tx = self.build.applier.pool.begin().await?;
            tx.execute("set local idle_in_transaction_session_timeout = 0; set local lock_timeout = '5s'")
                .await?;
            let locked = sqlx::query("select pg_advisory_xact_lock($1, 0)")
                .bind(LIVE_LOCK)
                .execute(&mut *tx)
                .await;
            tries += 1;
            match locked {
                Ok(_) => return Ok((tx, began)),
                Err(error) if tries < LOCK_TRIES && is_lock_timeout(&error) => tx.rollback().await?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// As [`Build::ends`], while this process holds the lock itself.
    async fn ends_under_lock(&self) -> Result<Vec<(Lane, i64)>, RebuildError> {
        if !self.build.follows_live {
            return self.build.ends().await;
        }
        let lanes = self.build.applier.log.lanes().await?;
        let mut tx = self.build.applier.pool.begin().await?;
        enter(&mut tx).await?;
        let ends = super::bulk::live_checkpoints(&mut tx, lanes).await?;
        tx.commit().await?;
        self.build.within_the_log(ends).await
    }

    async fn lag(&self, ends: &[(Lane, i64)]) -> Result<i64, RebuildError> {
        let mut lag = 0;
        for (lane, end) in ends {
            lag += (end - self.build.applier.checkpoint(*lane).await?).max(0);
        }
        Ok(lag)
    }

    /// Folds every lane up to its end.
    async fn follow(&self, ends: &[(Lane, i64)]) -> Result<(), RebuildError> {
        stream::iter(ends.to_vec())
            .map(|(lane, end)| self.follow_lane(lane, end))
            .buffer_unordered(self.build.limits.parallel.max(1))
            .try_collect::<Vec<()>>()
            .await?;
        Ok(())
    }

    async fn follow_lane(&self, lane: Lane, end: i64) -> Result<(), RebuildError> {
        let applier = &self.build.applier;
        let mut checkpoint = applier.checkpoint(lane).await?;
        while checkpoint < end {
            let limit = (end - checkpoint).min(BATCH_MAX);
            let records = applier.log.read_lane(lane, checkpoint, limit).await?;
            let Some(to) = records.last().map(|record| record.position) else {
                return Ok(());
            };
            match applier.apply(lane, checkpoint, to, records.clone(), false).await {
                Ok(_) => {}
                Err(error) if error.is_about_events() => {
                    applier.apply(lane, checkpoint, to, records, true).await?;
                }
                Err(error) => return Err(error.into()),
            }
            checkpoint = to;
        }
        Ok(())
    }

    /// Does a family stand elsewhere in the new rows than in the live ones, other than by having been freed?
    async fn heads_differ(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        report: &Report,
    ) -> Result<bool, RebuildError> {
        enter(tx).await?;
        let freed: Vec<_> = report.freed.iter().map(|family| family.uuid()).collect();
        // The schema's name is of our own making.
        let statement = format!(
            "select exists (
                select
                from family_heads l
                full join {}.family_heads n using (family_id)
                where (l.family_seq, l.chain_hash) is distinct from (n.family_seq, n.chain_hash)
                    and not (family_id = any($1))
            )",
            self.build.schema
        );
        Ok(sqlx::query_scalar(&statement).bind(freed).fetch_one(&mut **tx).await?)
    }
}

fn is_lock_timeout(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(error) if error.code().as_deref() == Some("55P03"))
}
