//! Lane leases: several processes of one group share the lanes.
//!
//! Each process says every [`BEAT`] that it is alive and learns which lanes are its own ([`Leases::beat`], one statement, decided
//! in the database under a lock). The shares differ by one at most.
//!
//! - A process that dies loses its lanes at the next beat of another one: its connection is gone.
//! - One that stalls loses them after [`TTL`], by the clock of the database; no local clock is compared with another.
//! - One that stops hands its lanes over at once, after the batches in hand.
//! - One that joins gets its share as soon as the others have finished their batches: they learn that they hold too many.
//! - One that cannot reach the database for [`TTL`] takes itself for stalled and stops its lanes.
//!
//! A lease saves work and nothing else. The truth is the compare-and-set of the checkpoint ([`crate::apply`]): whoever goes on
//! without a lease, because it was stopped in the middle of a batch and woke up later, is fenced by it and writes nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use event_store::{Lane, feed::Feed};
use service_kit::shutdown::{self, Shutdown};
use sqlx::{Connection, PgConnection, PgPool, postgres::types::PgInterval};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use uuid::Uuid;

use crate::{
    Settings,
    causes::causes,
    runner::{LaneFeed, LaneTask, Parts, watch_log},
    upgrade,
};

/// How often a process is heard of.
pub const BEAT: Duration = Duration::from_millis(500);
/// How long a process counts as alive after it was heard of last.
pub const TTL: Duration = Duration::from_secs(3);

/// One process's place in its group.
struct Leases {
    pool: PgPool,
    /// Apart from the pool's others: lanes that keep those busy must not look like a stalled process, and the end of this one
    /// tells the others at once that the process is gone.
    connection: Option<PgConnection>,
    process: Uuid,
}

/// A lane that this process holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::FromRow)]
struct Held {
    lane: i16,
    /// False when it is more than this process's share.
    is_kept: bool,
}

impl Leases {
    async fn beat(&mut self, lanes: &[i16], released: &[i16]) -> Result<Vec<Held>, sqlx::Error> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.pool.acquire().await?.detach(),
        };
        let ttl = PgInterval::try_from(TTL).map_err(sqlx::Error::Encode)?;
        let held = sqlx::query_as("select lane, is_kept from leases.beat($1, $2, $3, $4, $5, $6)")
            .bind(crate::GROUP)
            .bind(crate::VERSION)
            .bind(self.process)
            .bind(lanes)
            .bind(released)
            .bind(ttl)
            .fetch_all(&mut connection)
            .await?;
        // Not put back after an error: the next beat begins on a new one.
        self.connection = Some(connection);
        Ok(held)
    }

    /// Leaves the group; whatever it held is free.
    async fn leave(mut self) -> Result<(), sqlx::Error> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.pool.acquire().await?.detach(),
        };
        sqlx::query("delete from leases.processes where group_name = $1 and version = $2 and process = $3")
            .bind(crate::GROUP)
            .bind(crate::VERSION)
            .bind(self.process)
            .execute(&mut connection)
            .await?;
        connection.close().await
    }
}

/// Runs this process's share of the lanes until shutdown, beside the other processes of the group.
pub async fn run_shared(settings: Settings, shutdown: Shutdown) {
    let leases = Leases {
        pool: settings.pool.clone(),
        connection: None,
        process: Uuid::new_v4(),
    };
    let (parts, feeds) = settings.into_parts();
    upgrade::until_current(&parts.applier, &shutdown).await;
    let mut watching = JoinSet::new();
    watching.spawn(watch_log(parts.clone(), shutdown.clone()));
    let share = Share {
        parts,
        leases,
        idle: feeds.into_iter().collect(),
        working: BTreeMap::new(),
        tasks: JoinSet::new(),
        released: BTreeSet::new(),
    };
    share.run(shutdown).await;
    watching.shutdown().await;
}

/// What this process works on.
struct Share {
    parts: Parts,
    leases: Leases,
    /// Feeds of the lanes it does not work on. One that is neither here nor in `working` was lost with a task that panicked;
    /// its lane is left to others.
    idle: BTreeMap<Lane, Box<dyn Feed>>,
    /// The switch of each lane's task.
    working: BTreeMap<Lane, watch::Sender<bool>>,
    tasks: JoinSet<LaneFeed>,
    /// Lanes it has stopped and not yet given back.
    released: BTreeSet<i16>,
}

impl Share {
    async fn run(mut self, shutdown: Shutdown) {
        let mut beats = interval(BEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard_at = Instant::now();
        while !*shutdown.borrow() {
            let ended = tokio::select! {
                _ = beats.tick() => None,
                Some(ended) = self.tasks.join_next(), if !self.tasks.is_empty() => Some(ended),
                () = shutdown::requested(shutdown.clone()) => break,
            };
            if let Some(ended) = ended {
                // Given back at once: somebody waits for it.
                self.has_ended(ended);
            }
            match self.beat().await {
                Ok(()) => heard_at = Instant::now(),
                Err(error) => {
                    tracing::warn!(error, "the lanes of this process cannot be looked up; trying again");
                    if heard_at.elapsed() > TTL {
                        self.stop_all();
                    }
                }
            }
        }
        self.stop_all();
        while let Some(ended) = self.tasks.join_next().await {
            self.has_ended(ended);
        }
        match timeout(TTL, self.leases.leave()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(error = %causes(&error), "the lanes could not be handed over; they run out")
            }
            Err(_) => tracing::warn!("the lanes could not be handed over in time; they run out"),
        }
    }

    async fn beat(&mut self) -> Result<(), String> {
        let lanes: Vec<i16> = self.idle.keys().chain(self.working.keys()).map(|lane| lane.0).collect();
        let released: Vec<i16> = self.released.iter().copied().collect();
        let held = match timeout(TTL, self.leases.beat(&lanes, &released)).await {
            Ok(held) => held.map_err(|error| causes(&error))?,
            Err(_) => return Err("the database did not answer in time".to_owned()),
        };
        self.released.clear();
        metrics::gauge!("kinledger_projector_lanes").set(held.len() as f64);
        for Held { lane, is_kept } in &held {
            let lane = Lane(*lane);
            match (is_kept, self.working.get(&lane)) {
                (true, None) => self.start(lane),
                (true, Some(_)) => {}
                (false, Some(stop)) => {
                    stop.send_replace(true);
                }
                (false, None) => {
                    self.released.insert(lane.0);
                }
            }
        }
        for (lane, stop) in &self.working {
            if held.iter().all(|held| held.lane != lane.0) {
                stop.send_replace(true);
            }
        }
        Ok(())
    }

    fn stop_all(&self) {
        for stop in self.working.values() {
            stop.send_replace(true);
        }
    }

    fn start(&mut self, lane: Lane) {
        let Some(feed) = self.idle.remove(&lane) else { return };
        let (stop, stopping) = shutdown::channel();
        self.parts.progress.took(lane);
        self.tasks.spawn(LaneTask::new(lane, feed, &self.parts, stopping).run());
        self.working.insert(lane, stop);
        tracing::info!(lane = lane.0, "this process works on a lane");
    }

    fn has_ended(&mut self, ended: Result<LaneFeed, tokio::task::JoinError>) {
        match ended {
            Ok((lane, feed)) => {
                self.working.remove(&lane);
                self.idle.insert(lane, feed);
                self.released.insert(lane.0);
                self.parts.progress.dropped(lane);
                tracing::info!(lane = lane.0, "this process has handed a lane over");
            }
            Err(error) => {
                tracing::error!(error = %error, "a projector task ended; its lane is left to other processes");
                // A task that is gone has dropped the other end of its switch.
                let gone: Vec<Lane> = self
                    .working
                    .iter()
                    .filter(|(_, stop)| stop.is_closed())
                    .map(|(lane, _)| *lane)
                    .collect();
                for lane in gone {
                    self.working.remove(&lane);
                    self.parts.progress.dropped(lane);
                }
            }
        }
    }
}
