//! One task per lane, which performs what its [`Follower`] asks for; and one task that watches how far the log is.

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
    following::{BATCH_MAX, Effect, FollowError, Follower, Input},
    forks::Fork,
    parking, upgrade,
};

/// How long a feed may wait for a record before the task looks around.
const FEED_WAIT: Duration = Duration::from_secs(1);
/// How often the end of the log is looked up.
const WATCH_EVERY: Duration = Duration::from_secs(2);
/// Pauses after a failure, doubled from the first to the last.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_LAST: Duration = Duration::from_secs(5);

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
    upgrade::until_current(&parts.applier, &shutdown).await;
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

    /// Follows the lane from its checkpoint until shutdown or a failure; the next call begins at the checkpoint again. A batch in
    /// hand is finished first.
    async fn follow(&mut self) -> Result<(), Failure> {
        let mut follower = Follower::new(self.lane, self.feed.is_the_log(), BATCH_MAX);
        let mut effect = follower.begin();
        while !*self.shutdown.borrow() {
            let Some(input) = self.perform(effect, &follower).await? else {
                return Ok(());
            };
            effect = follower.handle(input)?;
        }
        Ok(())
    }

    /// Does what the follower wants; none when told to stop meanwhile.
    async fn perform(&mut self, effect: Effect, follower: &Follower) -> Result<Option<Input>, Failure> {
        Ok(Some(match effect {
            Effect::ReadCheckpoint => Input::Checkpoint(self.applier.checkpoint(self.lane).await?),
            Effect::CompareCheckpoint => {
                let differing = self.applier.differing_checkpoint(self.lane).await?;
                if differing.is_none() {
                    self.progress.began(self.lane, follower.checkpoint());
                }
                Input::Differing(differing)
            }
            Effect::Next { after } => {
                let next = self.feed.next(self.lane, after, BATCH_MAX, FEED_WAIT);
                let delivered = tokio::select! {
                    delivered = next => delivered,
                    () = shutdown::requested(self.shutdown.clone()) => return Ok(None),
                };
                match delivered {
                    Ok(records) => {
                        if records.is_empty() {
                            self.progress.quiet(self.lane);
                        }
                        Input::Delivered(records)
                    }
                    Err(FeedError::Gap { found, .. }) => Input::Gap { found },
                    Err(error) => return Err(error.into()),
                }
            }
            Effect::ReadLog { after, limit } => {
                let read = self.applier.log.read_lane(self.lane, after, limit).await;
                Input::Read(read.map_err(ApplyError::Log)?)
            }
            Effect::HashAt { position } => Input::Hash(self.applier.hash_at(self.lane, position).await?),
            Effect::Apply {
                from,
                to,
                records,
                isolates,
            } => match self.apply(from, to, records, isolates).await {
                Ok(()) => {
                    self.progress.moved(self.lane, to);
                    self.rows_changed.notify_waiters();
                    Input::Applied
                }
                Err(error) if error.is_about_events() && !isolates => {
                    tracing::warn!(lane = self.lane.0, error = %causes(&error), "a batch failed; trying again");
                    Input::Failed
                }
                Err(error) => return Err(error.into()),
            },
            Effect::Rest { tries } => {
                self.rest(PAUSE_FIRST * tries).await;
                Input::Rested
            }
        }))
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
    #[error("the lane cannot be followed")]
    Follow(#[source] FollowError),
    #[error("a batch was not applied")]
    Apply(#[from] ApplyError),
    #[error("the log is not the one that was folded")]
    Fork(#[from] Fork),
}

impl From<FollowError> for Failure {
    fn from(error: FollowError) -> Self {
        match error {
            FollowError::Fork(fork) => Self::Fork(fork),
            other => Self::Follow(other),
        }
    }
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
