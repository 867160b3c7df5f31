//! One lane of the relay: performs what its [`RelayMachine`] asks for, on Postgres and Kafka, and begins anew after failures.
//! The protocol is told in the parent module.

use rdkafka::{error::KafkaError, producer::FutureProducer, types::RDKafkaErrorCode};
use sqlx::{Connection, PgConnection};
use tokio::{sync::watch, time::Duration};

use super::{
    Causes, Pause, RelayError, RelaySettings, TOPIC_LOCK,
    lag::Published,
    machine::{Effect, Input, Place, RelayMachine},
    message::OutgoingMessage,
    stopped,
    topic::{self, Ends},
};
use crate::{Lane, Log, Record, Wakeup, load::read_lane_in};

/// How often a relay that stands by asks whether the lane is free.
const STANDBY_INTERVAL: Duration = Duration::from_secs(1);
/// How long a page in hand may take to be acknowledged once it is time to stop.
const GRACE: Duration = Duration::from_secs(5);
/// When Postgres ends the session of a relay that is not heard of, and so frees its lane for another one. A process that is
/// stopped or cut off keeps its connection open, and with it the lock, for as long as nobody says otherwise.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// How often the session is used while Kafka is waited for.
const PING_INTERVAL: Duration = Duration::from_secs(2);
/// How long to wait for room in the producer's queue.
const QUEUE_FULL_PAUSE: Duration = Duration::from_millis(5);

/// Relays a lane until told to stop, or until people have to look.
pub(super) async fn relay(
    log: Log,
    settings: RelaySettings,
    lane: Lane,
    ends: Ends,
    published: Published,
    shutdown: watch::Receiver<bool>,
) -> Result<(), RelayError> {
    let mut pause = Pause::default();
    loop {
        let mut relay = LaneRelay {
            log: &log,
            settings: &settings,
            lane,
            shutdown: shutdown.clone(),
            machine: RelayMachine::new(lane),
            ends: &ends,
            published: &published,
            label: lane.to_string(),
        };
        let grace_is_over = async {
            stopped(shutdown.clone()).await;
            tokio::time::sleep(GRACE).await;
        };
        let outcome = tokio::select! {
            outcome = relay.run() => outcome,
            () = grace_is_over => return Ok(()),
        };
        // It owns nothing now.
        ends.set(lane, 0);
        published.forget(lane);
        let Err(error) = outcome else { return Ok(()) };
        if error.needs_people() || error.is_about_the_topic() {
            return Err(error);
        }
        if relay.machine.position() > 0 {
            pause = Pause::default();
        }
        metrics::counter!("kinledger_relay_restarts_total", "lane" => relay.label.clone()).increment(1);
        tracing::warn!(lane = lane.0, error = %Causes(&error), "the relay of a lane begins anew");
        if pause.is_stopped_during(shutdown.clone()).await {
            return Ok(());
        }
    }
}

struct LaneRelay<'a> {
    log: &'a Log,
    settings: &'a RelaySettings,
    lane: Lane,
    shutdown: watch::Receiver<bool>,
    machine: RelayMachine,
    ends: &'a Ends,
    published: &'a Published,
    label: String,
}

impl LaneRelay<'_> {
    /// Runs until told to stop or something fails. Being dropped in the middle is fine too: the connection's end frees the
    /// lane, and the next owner asks Kafka what has arrived.
    async fn run(&mut self) -> Result<(), RelayError> {
        let mut connection = self.log.pool().acquire().await?.detach();
        let silence = format!("set idle_session_timeout = {}", SILENCE_MAX.as_millis());
        sqlx::query(&silence).execute(&mut connection).await?;
        sqlx::query("select pg_advisory_lock_shared($1, 0)")
            .bind(TOPIC_LOCK)
            .execute(&mut connection)
            .await?;
        let outcome = self.run_on(&mut connection).await;
        // Says goodbye, so that the lock is free at once; when the connection is broken it is free anyway.
        drop(connection.close().await);
        outcome
    }

    async fn run_on(&mut self, connection: &mut PgConnection) -> Result<(), RelayError> {
        let stop = stopped(self.shutdown.clone());
        tokio::pin!(stop);
        let mut producer = None;
        let mut wakeup = self.log.wakeups().subscribe(self.lane);
        let mut effect = self.machine.begin();
        loop {
            let input = match effect {
                // A page in hand is finished and its checkpoint saved, within the grace that `relay` gives; all else can be let
                // go at any moment.
                Effect::Publish { records } => self.publish(connection, &mut producer, records).await?,
                Effect::Save { epoch, place } => self.save(connection, epoch, place).await?,
                effect => tokio::select! {
                    input = self.perform(connection, &mut wakeup, effect) => input?,
                    () = &mut stop => return Ok(()),
                },
            };
            effect = self.machine.handle(input)?;
            if self.machine.is_owner() {
                self.published.up_to(self.lane, self.machine.position());
            }
        }
    }

    async fn perform(
        &self,
        connection: &mut PgConnection,
        wakeup: &mut Wakeup,
        effect: Effect,
    ) -> Result<Input, RelayError> {
        Ok(match effect {
            Effect::Own => Input::Owned(
                sqlx::query_scalar("select pg_try_advisory_lock(4712, $1)")
                    .bind(i32::from(self.lane.0))
                    .fetch_one(connection)
                    .await?,
            ),
            Effect::StandBy => {
                tokio::time::sleep(STANDBY_INTERVAL).await;
                Input::Waited
            }
            Effect::BeginEpoch => Input::Epoch(self.begin_epoch(connection).await?),
            Effect::AskEnd => {
                let (end, next) = heard_of_during(connection, topic::end(self.settings, self.lane)).await??;
                self.ends.set(self.lane, next);
                Input::End(end)
            }
            Effect::ReadCheckpoint => Input::Checkpoint(self.read_checkpoint(connection).await?),
            Effect::HashAt { position } => Input::Hash(
                sqlx::query_scalar("select chain_hash from log.events where lane = $1 and position = $2")
                    .bind(self.lane.0)
                    .bind(position)
                    .fetch_optional(connection)
                    .await?,
            ),
            Effect::ReadPage { after } => {
                Input::Page(read_lane_in(connection, self.lane, after, self.settings.batch).await?)
            }
            Effect::Rest => {
                wakeup.wait(self.settings.poll_interval).await;
                Input::Waited
            }
            Effect::Publish { .. } | Effect::Save { .. } => unreachable!("these are not let go"),
        })
    }

    async fn begin_epoch(&self, connection: &mut PgConnection) -> Result<i64, RelayError> {
        let statement = "insert into log.relay_checkpoints as c (lane, epoch, position, chain_hash) \
             values ($1, 1, 0, $2) on conflict (lane) do update set epoch = c.epoch + 1 returning epoch";
        let query = sqlx::query_scalar(statement)
            .bind(self.lane.0)
            .bind(crate::chain::GENESIS);
        Ok(query.fetch_one(connection).await?)
    }

    async fn read_checkpoint(&self, connection: &mut PgConnection) -> Result<Place, RelayError> {
        let statement = "select position, chain_hash from log.relay_checkpoints where lane = $1";
        let query = sqlx::query_as(statement).bind(self.lane.0);
        let (position, chain_hash) = query.fetch_one(connection).await?;
        Ok(Place { position, chain_hash })
    }

    async fn publish(
        &self,
        connection: &mut PgConnection,
        producer: &mut Option<FutureProducer>,
        records: Vec<Record>,
    ) -> Result<Input, RelayError> {
        // Its identity is that of this ownership; made once there is something to say.
        let producer = match producer {
            Some(producer) => producer,
            None => producer.insert(topic::producer(self.settings)?),
        };
        let count = records.len();
        let (first, last) = heard_of_during(connection, self.send(producer, records)).await??;
        self.ends.acknowledged(self.lane, first, last)?;
        metrics::counter!("kinledger_relay_published_total", "lane" => self.label.clone()).increment(count as u64);
        Ok(Input::Published)
    }

    /// Hands the records to the producer in order, then awaits every acknowledgement. Returns the least and the greatest offset.
    async fn send(&self, producer: &FutureProducer, records: Vec<Record>) -> Result<(i64, i64), KafkaError> {
        let mut deliveries = Vec::with_capacity(records.len());
        for message in records.into_iter().map(OutgoingMessage::of) {
            let mut record = message.to_record(&self.settings.topic);
            loop {
                match producer.send_result(record) {
                    Ok(delivery) => break deliveries.push(delivery),
                    Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), unsent)) => record = unsent,
                    // What was sent before this one may still arrive; the next owner asks Kafka. Nothing is sent after it.
                    Err((error, _)) => return Err(error),
                }
                tokio::time::sleep(QUEUE_FULL_PAUSE).await;
            }
        }
        let (mut first, mut last) = (i64::MAX, 0);
        for delivery in deliveries {
            match delivery.await {
                Ok(Ok(there)) => (first, last) = (first.min(there.offset), last.max(there.offset)),
                Ok(Err((error, _))) => return Err(error),
                Err(_) => return Err(KafkaError::Canceled),
            }
        }
        Ok((first, last))
    }

    async fn save(&self, connection: &mut PgConnection, epoch: i64, place: Place) -> Result<Input, RelayError> {
        let statement = "update log.relay_checkpoints set position = $3, chain_hash = $4, updated_at = clock_timestamp() \
             where lane = $1 and epoch = $2";
        let updated = sqlx::query(statement)
            .bind(self.lane.0)
            .bind(epoch)
            .bind(place.position)
            .bind(place.chain_hash)
            .execute(connection)
            .await?;
        let is_saved = updated.rows_affected() > 0;
        if is_saved && !self.machine.is_owner() {
            let (lane, position) = (self.lane.0, place.position);
            tracing::info!(lane, epoch, position, "the relay owns a lane");
        }
        Ok(Input::Saved(is_saved))
    }
}

/// Waits for Kafka, and lets Postgres hear of us meanwhile. When the session has ended, and the lane with it, the work is
/// dropped: what was handed to the producer may still arrive, which the next owner finds out.
async fn heard_of_during<T>(connection: &mut PgConnection, work: impl Future<Output = T>) -> Result<T, RelayError> {
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return Ok(done),
            () = tokio::time::sleep(PING_INTERVAL) => {}
        }
        sqlx::query("select 1").execute(&mut *connection).await?;
    }
}
