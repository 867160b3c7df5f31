//! One task per lane: read a batch, apply it, say so, again; and one task that watches how far the log is.

use std::{sync::Arc, time::Duration};

use event_store::{
    Lane, Log, Record,
    feed::{Feed, FeedError},
};
use service_kit::shutdown::{self, Shutdown};
use sqlx::PgPool;
use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    Progress,
    apply::{Applied, Applier, ApplyError},
    causes::causes,
    forks::Fork,
    parking,
};

/// Records in one batch, and so in one transaction.
pub const BATCH_MAX: usize = 5_000;
/// How long a feed may wait for a record before the task looks around.
const FEED_WAIT: Duration = Duration::from_secs(1);
/// How often the end of the log is looked up.
const WATCH_EVERY: Duration = Duration::from_secs(2);
/// Pauses after a failure, doubled from the first to the last.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_LAST: Duration = Duration::from_secs(5);
/// Tries of a whole batch before the failing family is singled out.
const TRIES_MAX: u32 = 3;

/// A lane and where its records come from.
pub type LaneFeed = (Lane, Box<dyn Feed>);

/// What the projectors need.
pub struct Settings {
    /// Acts in the role of the projector; one connection per lane and two more.
    pub pool: PgPool,
    /// The log in Postgres: where holes are filled from, and where its end is looked up.
    pub log: Log,
    /// One feed per lane, of either kind.
    pub feeds: Vec<LaneFeed>,
    /// Rung after every commit, so that a query in the same process that waits for its own write looks again at once.
    pub rows_changed: Arc<Notify>,
    /// Where the lanes say how far they are.
    pub progress: Progress,
}

impl Settings {
    /// What every lane's task needs, and the feeds.
    pub(crate) fn into_parts(self) -> (Parts, Vec<LaneFeed>) {
        let parts = Parts {
            applier: Applier::new(self.pool, self.log),
            rows_changed: self.rows_changed,
            progress: self.progress,
        };
        (parts, self.feeds)
    }
}

/// What the lanes' tasks share.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) applier: Applier,
    pub(crate) rows_changed: Arc<Notify>,
    pub(crate) progress: Progress,
}

/// Runs every lane until shutdown, as the only process that does; a batch in hand is finished first.
pub async fn run(settings: Settings, shutdown: Shutdown) {
    let (parts, feeds) = settings.into_parts();
    let mut tasks = JoinSet::new();
    for (lane, feed) in feeds {
        parts.progress.took(lane);
        let task = LaneTask::new(lane, feed, &parts, shutdown.clone());
        tasks.spawn(async move {
            task.run().await;
        });
    }
    tasks.spawn(watch_log(parts, shutdown));
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            // A panic in a lane must not look like a lane at rest: the watcher still sees it fall behind.
            tracing::error!(error = %error, "a projector task ended");
        }
    }
}

pub(crate) struct LaneTask {
    lane: Lane,
    feed: Box<dyn Feed>,
    applier: Applier,
    rows_changed: Arc<Notify>,
    progress: Progress,
    shutdown: Shutdown,
}

impl LaneTask {
    pub(crate) fn new(lane: Lane, feed: Box<dyn Feed>, parts: &Parts, shutdown: Shutdown) -> Self {
        Self {
            lane,
            feed,
            applier: parts.applier.clone(),
            rows_changed: parts.rows_changed.clone(),
            progress: parts.progress.clone(),
            shutdown,
        }
    }

    /// Works until it is told to stop; gives its feed back, for the next time.
    pub(crate) async fn run(mut self) -> LaneFeed {
        let mut pause = PAUSE_FIRST;
        while !*self.shutdown.borrow() {
            match self.follow().await {
                Ok(()) => pause = PAUSE_FIRST,
                Err(error) => {
                    self.report(&error);
                    self.rest(pause).await;
                    pause = (pause * 2).min(PAUSE_LAST);
                }
            }
        }
        (self.lane, self.feed)
    }

    /// Follows the lane from its checkpoint until shutdown or a failure; the next call begins at the checkpoint again.
    async fn follow(&mut self) -> Result<(), Failure> {
        let mut checkpoint = self.applier.checkpoint(self.lane).await?;
        self.applier.log_holds_checkpoint(self.lane).await?;
        self.progress.moved(self.lane, checkpoint);
        let mut tries = 0;
        loop {
            let next = self.feed.next(self.lane, checkpoint, BATCH_MAX, FEED_WAIT);
            let delivered = tokio::select! {
                delivered = next => delivered,
                () = shutdown::requested(self.shutdown.clone()) => return Ok(()),
            };
            let records = match delivered {
                Ok(records) => self.contiguous(checkpoint, records).await?,
                Err(FeedError::Gap { found, .. }) => self.missing(checkpoint, found).await?,
                Err(error) => return Err(error.into()),
            };
            let Some(last) = records.last() else { continue };
            if !self.feed.is_the_log() {
                self.applier.log_holds(last).await?;
            }
            let to = last.position;
            match self.apply(checkpoint, to, records, tries >= TRIES_MAX).await {
                Ok(()) => {
                    tries = 0;
                    checkpoint = to;
                    self.progress.moved(self.lane, checkpoint);
                    self.rows_changed.notify_waiters();
                }
                // Tried whole a few times, then family by family, which finds the event and parks it.
                Err(error) if error.is_about_events() && tries < TRIES_MAX => {
                    tries += 1;
                    tracing::warn!(lane = self.lane.0, error = %causes(&error), tries, "a batch failed; trying again");
                    self.rest(PAUSE_FIRST * tries).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The records after the checkpoint without a hole, whatever the feed delivered: positions of a lane are contiguous, so a
    /// missing one was lost on the way and is read from the log.
    async fn contiguous(&self, checkpoint: i64, delivered: Vec<Record>) -> Result<Vec<Record>, Failure> {
        let mut whole: Vec<Record> = Vec::with_capacity(delivered.len());
        let mut last = checkpoint;
        for record in delivered {
            while record.position > last + 1 {
                let missing = self.missing(last, record.position).await?;
                last += missing.len() as i64;
                whole.extend(missing);
            }
            if record.position == last + 1 {
                last = record.position;
                whole.push(record);
            }
        }
        Ok(whole)
    }

    /// Records from the log between two positions, neither included; at least the first of them.
    async fn missing(&self, after: i64, before: i64) -> Result<Vec<Record>, Failure> {
        let limit = (before - after - 1).min(BATCH_MAX as i64);
        let missing = self
            .applier
            .log
            .read_lane(self.lane, after, limit)
            .await
            .map_err(ApplyError::Log)?;
        let is_whole = (after + 1..)
            .zip(&missing)
            .all(|(position, record)| record.position == position);
        if missing.is_empty() || !is_whole {
            return Err(Failure::Hole { position: after + 1 });
        }
        metrics::counter!("kinledger_projector_gaps_filled_total").increment(missing.len() as u64);
        tracing::warn!(
            lane = self.lane.0,
            events = missing.len(),
            "the feed left records out; read from the log"
        );
        Ok(missing)
    }

    async fn apply(&self, checkpoint: i64, to: i64, records: Vec<Record>, isolates: bool) -> Result<(), ApplyError> {
        let started = Instant::now();
        let count = records.len();
        let applied = self.applier.apply(self.lane, checkpoint, to, records, isolates).await?;
        self.measure(&applied, count, started.elapsed());
        Ok(())
    }

    fn measure(&self, applied: &Applied, records: usize, took: Duration) {
        let lane = self.lane.0.to_string();
        metrics::histogram!("kinledger_projector_batch_seconds", "lane" => lane.clone()).record(took.as_secs_f64());
        metrics::histogram!("kinledger_projector_batch", "lane" => lane.clone()).record(records as f64);
        metrics::counter!("kinledger_projector_events_total", "lane" => lane).increment(applied.events as u64);
        tracing::debug!(
            lane = self.lane.0,
            records,
            events = applied.events,
            duration_ms = took.as_millis() as u64,
            "views.project"
        );
    }

    fn report(&self, failure: &Failure) {
        match failure {
            Failure::Apply(ApplyError::Zombie { .. }) => {
                metrics::counter!("kinledger_projector_zombies_total").increment(1);
                tracing::info!(
                    lane = self.lane.0,
                    "another process folds this lane too; going on from its checkpoint"
                );
            }
            // Said once, and by `/readyz` for as long as it lasts: trying again mends nothing, but people may.
            Failure::Fork(Fork::Found(what)) => {
                if self.progress.halted(self.lane, what.clone()) {
                    tracing::error!(lane = self.lane.0, what, "a lane is halted");
                }
            }
            // An outage, or a topic that is not there yet: it passes, and lag tells when it does not.
            Failure::Feed(FeedError::Kafka(_)) => {
                tracing::warn!(lane = self.lane.0, error = %causes(failure), "Kafka cannot be followed; trying again");
            }
            _ => tracing::error!(lane = self.lane.0, error = %causes(failure), "a lane cannot be folded; trying again"),
        }
    }

    async fn rest(&self, pause: Duration) {
        tokio::select! {
            () = sleep(pause) => {}
            () = shutdown::requested(self.shutdown.clone()) => {}
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the feed failed")]
    Feed(#[from] FeedError),
    #[error("the log has no record at position {position}, before one that was delivered")]
    Hole { position: i64 },
    #[error("a batch was not applied")]
    Apply(#[from] ApplyError),
    #[error("the log is not the one that was folded")]
    Fork(#[from] Fork),
}

/// Looks up the end of every lane this process works on and the number of parked families, every few seconds.
pub(crate) async fn watch_log(parts: Parts, shutdown: Shutdown) {
    let Parts { applier, progress, .. } = parts;
    while !*shutdown.borrow() {
        for lane in progress.lanes() {
            match applier.log.lane_head(lane).await {
                Ok(head) => progress.seen(lane, head, std::time::Instant::now()),
                Err(error) => {
                    tracing::warn!(lane = lane.0, error = %causes(&error), "the end of a lane cannot be read")
                }
            }
        }
        if let Ok(parked) = parking::count(&applier).await {
            metrics::gauge!("kinledger_projector_parked_families").set(parked as f64);
        }
        tokio::select! {
            () = sleep(WATCH_EVERY) => {}
            () = shutdown::requested(shutdown.clone()) => {}
        }
    }
}
