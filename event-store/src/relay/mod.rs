//! The relay: every lane of the log to one Kafka partition, in order, nothing lost, nothing invented.
//!
//! The log itself is the outbox. One task per lane does the following; any failure takes it back to step 1, after a pause.
//!
//! 1. *Own the lane*: a session-wide advisory lock (4712, lane) on a connection of its own. Whoever does not get it stands by.
//!    Taking over raises the epoch in `log.relay_checkpoints`; writing a checkpoint names the epoch, so a relay that lost its
//!    connection without noticing cannot move it.
//! 2. *Ask Kafka where it is*: the last record of the partition, not the checkpoint, says what has been published. If the log
//!    has another chain hash at that position, or does not reach it, then the log has lost what readers have already seen (a
//!    failover or a restore to an earlier moment): the relay halts with [`RelayError::Fork`], for people to look at. An empty
//!    partition begins from the first event.
//! 3. *Publish*: read a page, hand it to an idempotent producer from this one task, await every acknowledgement, save the
//!    checkpoint. The library's gapless guarantee makes a lost message fatal to the producer instead of a hole.
//!
//! A relay that stalls loses its lane after ten seconds, because Postgres ends a session that is not heard of. What it had handed
//! to its producer may arrive late; that is a repeat like any other.
//!
//! Every few seconds the topic is looked at. When it was deleted, made anew or cut, all lanes stop, in every process; once none
//! writes any more (a lock that each lane holds shared) the topic is made, and each lane begins with step 1: what Kafka no longer
//! has is published again from the log. Messages at the end of a partition that no relay wrote are looked past.
//!
//! A relay that dies between acknowledgement and step 2 of its successor may leave repeats in the partition, never holes and
//! never another order; [`crate::feed::KafkaFeed`] drops repeats by position.

mod lag;
mod lane;
pub mod machine;
mod message;
mod topic;

use std::time::Duration;

use lag::Published;
use machine::End;
pub(crate) use message::record_of;
pub use message::{HEADERS, MessageError};
use rdkafka::{error::KafkaError, types::RDKafkaErrorCode};
use sqlx::Connection;
use tokio::{sync::watch, task::JoinSet};
use topic::Ends;

use crate::{Lane, Log, LogError};

/// The class of the advisory lock that every lane's session holds shared, and whoever makes the topic alone.
const TOPIC_LOCK: i32 = 4716;

/// The topic's usual name.
pub const TOPIC: &str = "kinledger.events.v1";

/// How the relay works.
#[derive(Clone, Debug)]
pub struct RelaySettings {
    /// Kafka, as `host:port,host:port`.
    pub brokers: String,
    /// The topic; created when it is missing.
    pub topic: String,
    /// Copies of the topic when it has to be created; as many as there are brokers, three at most, when absent.
    pub replication: Option<i32>,
    /// Records published at once.
    pub batch: i64,
    /// How often a quiet lane is looked at when nobody says that it has grown.
    pub poll_interval: Duration,
    /// How long Kafka may take to acknowledge a record before the relay begins anew.
    pub delivery_timeout: Duration,
    /// How often the topic is looked at: is it still there, with all that was acknowledged?
    pub watch_interval: Duration,
}

impl RelaySettings {
    /// The usual settings.
    pub fn new(brokers: impl Into<String>) -> Self {
        Self {
            brokers: brokers.into(),
            topic: TOPIC.to_owned(),
            replication: None,
            batch: 1_000,
            poll_interval: Duration::from_millis(200),
            delivery_timeout: Duration::from_secs(30),
            watch_interval: Duration::from_secs(5),
        }
    }
}

/// Why a lane is not being relayed.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The log could not be read.
    #[error("the relay cannot read the log")]
    Log(#[from] LogError),
    /// Kafka could not be reached, or refused.
    #[error("the relay cannot use Kafka")]
    Kafka(#[from] KafkaError),
    /// The topic could not be created.
    #[error("the topic could not be created: {0}")]
    Topic(RDKafkaErrorCode),
    /// Another relay took the lane over.
    #[error("lane {0} was taken over by another relay")]
    Fenced(Lane),
    /// Kafka holds a record that the log does not have.
    #[error("fork detected in lane {lane}: Kafka's last record, position {position}, is not in the log")]
    Fork {
        /// The lane.
        lane: Lane,
        /// The position in question.
        position: i64,
    },
    /// The partition's last message is none that a relay writes.
    #[error("lane {lane}: the message at offset {offset} is not from a relay")]
    Foreign {
        /// The lane.
        lane: Lane,
        /// The message's offset.
        offset: i64,
        /// What is wrong with it.
        #[source]
        cause: MessageError,
    },
    /// Kafka no longer holds what it had acknowledged.
    #[error("lane {lane}: the topic was deleted, made anew or cut; Kafka has lost what it had acknowledged")]
    TopicLost {
        /// The first lane of which that is known.
        lane: Lane,
    },
    /// The topic has fewer partitions than the log has lanes.
    #[error("topic {topic} has {partitions} partitions for {lanes} lanes")]
    Partitions {
        /// The topic.
        topic: String,
        /// What it has.
        partitions: usize,
        /// What it needs.
        lanes: i16,
    },
}

impl RelayError {
    /// Must people look at it, because trying again cannot help?
    pub fn needs_people(&self) -> bool {
        matches!(self, Self::Fork { .. } | Self::Foreign { .. } | Self::Partitions { .. })
    }
}

impl RelayError {
    /// Is it that the topic has to be looked at as a whole, and made when it is gone?
    fn is_about_the_topic(&self) -> bool {
        match self {
            Self::TopicLost { .. } => true,
            Self::Kafka(error) => matches!(
                error.rdkafka_error_code(),
                Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic)
            ),
            _ => false,
        }
    }
}

impl From<sqlx::Error> for RelayError {
    fn from(error: sqlx::Error) -> Self {
        Self::Log(error.into())
    }
}

/// Relays every lane until `shutdown` says true or its sender is gone. Outages of Postgres or Kafka are waited out; a topic that
/// was deleted is made anew and published from the log.
///
/// # Errors
/// Only what [`RelayError::needs_people`]; all lanes have stopped then.
pub async fn run(log: Log, settings: RelaySettings, shutdown: watch::Receiver<bool>) -> Result<(), RelayError> {
    let published = Published::default();
    tokio::select! {
        ended = run_again(&log, &settings, &published, shutdown) => ended,
        never = lag::watch(&log, &published) => match never {},
    }
}

/// Does Kafka hold nothing but what the log has, too? Publishes nothing and owns nothing: a relay that has halted asks this
/// before it begins again. A topic that is not there fits: it is made, and published from the first event.
///
/// # Errors
/// [`RelayError::Fork`] and all else for which [`run`] would halt, or that Kafka or Postgres could not be asked.
pub async fn fits(log: &Log, settings: &RelaySettings) -> Result<(), RelayError> {
    let lanes = log.lanes().await?;
    if !topic::is_there(settings, lanes).await? {
        return Ok(());
    }
    for lane in (0..lanes).map(Lane) {
        let (End::At(record), _) = topic::end(settings, lane).await? else {
            continue;
        };
        let statement = "select chain_hash from log.events where lane = $1 and position = $2";
        let ours: Option<[u8; 32]> = sqlx::query_scalar(statement)
            .bind(lane.0)
            .bind(record.position)
            .fetch_optional(log.pool())
            .await?;
        if record.lane != lane || ours != Some(record.chain_hash) {
            let position = record.position;
            return Err(RelayError::Fork { lane, position });
        }
    }
    Ok(())
}

async fn run_again(
    log: &Log,
    settings: &RelaySettings,
    published: &Published,
    shutdown: watch::Receiver<bool>,
) -> Result<(), RelayError> {
    while let Some(lanes) = prepare(log, settings, shutdown.clone()).await? {
        match run_lanes(log, settings, lanes, published, shutdown.clone()).await {
            // No lane of this process writes any more, so none begins in the middle of a topic that is made now.
            Err(error) if error.is_about_the_topic() => {
                metrics::counter!("kinledger_relay_topic_lost_total").increment(1);
                tracing::warn!(
                    error = %Causes(&error),
                    topic = settings.topic,
                    "the topic is looked at again; what Kafka lacks is published from the log"
                );
                if Pause::default().is_stopped_during(shutdown.clone()).await {
                    return Ok(());
                }
            }
            ended => return ended,
        }
    }
    Ok(())
}

/// Relays every lane until shutdown, or until one of them fails for good or finds that the topic is not what it was.
async fn run_lanes(
    log: &Log,
    settings: &RelaySettings,
    lanes: i16,
    published: &Published,
    shutdown: watch::Receiver<bool>,
) -> Result<(), RelayError> {
    let (halt, halted) = watch::channel(false);
    let ends = Ends::new(lanes);
    let mut tasks = JoinSet::new();
    for number in 0..lanes {
        let lane = Lane(number);
        tasks.spawn(lane::relay(
            log.clone(),
            settings.clone(),
            lane,
            ends.clone(),
            published.clone(),
            halted.clone(),
        ));
    }
    let watching = topic::watch(settings, &ends);
    tokio::pin!(watching);
    let mut first_error = None;
    loop {
        let failed = tokio::select! {
            finished = tasks.join_next() => match finished {
                None => return first_error.map_or(Ok(()), Err),
                Some(Ok(Ok(()))) => continue,
                Some(Ok(Err(error))) => error,
                Some(Err(panic)) => std::panic::resume_unwind(panic.into_panic()),
            },
            looked = &mut watching, if !*halt.borrow() => match looked {
                Ok(lane) => RelayError::TopicLost { lane },
                Err(error) => error,
            },
            () = stopped(shutdown.clone()), if !*halt.borrow() => {
                halt.send_replace(true);
                continue;
            }
        };
        if failed.needs_people() {
            tracing::error!(error = %failed, "the relay halts");
            // What people have to look at comes before what mends itself.
            first_error = first_error.filter(RelayError::needs_people).or(Some(failed));
        } else {
            first_error.get_or_insert(failed);
        }
        halt.send_replace(true);
    }
}

/// Waits until the log answers and the topic is there. None when told to stop before.
async fn prepare(
    log: &Log,
    settings: &RelaySettings,
    shutdown: watch::Receiver<bool>,
) -> Result<Option<i16>, RelayError> {
    let mut pause = Pause::default();
    loop {
        let attempt = async {
            let lanes = log.lanes().await?;
            if !topic::is_there(settings, lanes).await? {
                make_topic(log, settings, lanes).await?;
            }
            Ok::<_, RelayError>(lanes)
        };
        let outcome = tokio::select! {
            outcome = attempt => outcome,
            () = stopped(shutdown.clone()) => return Ok(None),
        };
        match outcome {
            Ok(lanes) => return Ok(Some(lanes)),
            Err(error) if error.needs_people() => return Err(error),
            Err(error) => tracing::warn!(error = %Causes(&error), "the relay cannot begin yet"),
        }
        if pause.is_stopped_during(shutdown.clone()).await {
            return Ok(None);
        }
    }
}

/// Makes the topic while no relay writes: one that did not know yet would begin in the middle of it.
async fn make_topic(log: &Log, settings: &RelaySettings, lanes: i16) -> Result<(), RelayError> {
    let mut connection = log.pool().acquire().await?.detach();
    // Waits for the lanes of other processes, which see within a watch's interval that the topic is gone. When they take longer
    // than the role's lock time-out, this is tried again.
    let outcome = async {
        sqlx::query("select pg_advisory_lock($1, 0)")
            .bind(TOPIC_LOCK)
            .execute(&mut connection)
            .await?;
        if !topic::is_there(settings, lanes).await? {
            topic::make(settings, lanes).await?;
        }
        Ok(())
    }
    .await;
    drop(connection.close().await);
    outcome
}

/// Returns when it is time to stop.
async fn stopped(mut shutdown: watch::Receiver<bool>) {
    // A sender that is gone will never say so: that too is the end.
    drop(shutdown.wait_for(|is_stopping| *is_stopping).await);
}

/// The time between two attempts: doubling from a quarter of a second to ten.
struct Pause(Duration);

impl Default for Pause {
    fn default() -> Self {
        Self(Duration::from_millis(250))
    }
}

impl Pause {
    async fn is_stopped_during(&mut self, shutdown: watch::Receiver<bool>) -> bool {
        let pause = self.0;
        self.0 = (pause * 2).min(Duration::from_secs(10));
        tokio::time::timeout(pause, stopped(shutdown)).await.is_ok()
    }
}

/// An error with its causes, on one line.
struct Causes<'a>(&'a dyn std::error::Error);

impl std::fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
