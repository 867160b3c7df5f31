//! One lane of the relay: owning it, finding where to go on, publishing. The protocol is told in the parent module.

use chrono::Utc;
use rdkafka::{error::KafkaError, producer::FutureProducer, types::RDKafkaErrorCode};
use sqlx::{Connection, PgConnection, Row};
use tokio::{sync::watch, time::Duration};

use super::{
    Causes, Pause, RelayError, RelaySettings,
    message::OutgoingMessage,
    stopped,
    topic::{self, End},
};
use crate::{Lane, Log, Record, load::read_lane_in};

/// How often a relay that stands by asks whether the lane is free.
const STANDBY_INTERVAL: Duration = Duration::from_secs(1);
/// How long a page in hand may take to be acknowledged once it is time to stop.
const GRACE: Duration = Duration::from_secs(5);
/// How long to wait for room in the producer's queue.
const QUEUE_FULL_PAUSE: Duration = Duration::from_millis(5);

/// Relays a lane until told to stop, or until people have to look.
pub(super) async fn relay(
    log: Log,
    settings: RelaySettings,
    lane: Lane,
    shutdown: watch::Receiver<bool>,
) -> Result<(), RelayError> {
    let mut pause = Pause::default();
    loop {
        let mut relay = LaneRelay {
            log: &log,
            settings: &settings,
            lane,
            shutdown: shutdown.clone(),
            position: 0,
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
        let Err(error) = outcome else { return Ok(()) };
        if error.needs_people() {
            return Err(error);
        }
        if relay.position > 0 {
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
    /// The last position Kafka has acknowledged.
    position: i64,
    label: String,
}

impl LaneRelay<'_> {
    /// Runs until told to stop or something fails. Being dropped in the middle is fine too: the connection's end frees the
    /// lane, and the next owner asks Kafka what has arrived.
    async fn run(&mut self) -> Result<(), RelayError> {
        let mut connection = self.log.pool().acquire().await?.detach();
        let outcome = self.run_on(&mut connection).await;
        // Says goodbye, so that the lock is free at once; when the connection is broken it is free anyway.
        drop(connection.close().await);
        outcome
    }

    async fn run_on(&mut self, connection: &mut PgConnection) -> Result<(), RelayError> {
        let stop = stopped(self.shutdown.clone());
        tokio::pin!(stop);
        let epoch = tokio::select! {
            epoch = self.take_over(connection) => epoch?,
            () = &mut stop => return Ok(()),
        };
        let producer = topic::producer(self.settings)?;
        let mut wakeup = self.log.wakeups().subscribe(self.lane);
        while !*self.shutdown.borrow() {
            let records = read_lane_in(&mut *connection, self.lane, self.position, self.settings.batch).await?;
            let Some((position, chain_hash)) = records.last().map(|last| (last.position, last.chain_hash)) else {
                self.report_lag(0, 0);
                tokio::select! {
                    () = wakeup.wait(self.settings.poll_interval) => {}
                    () = &mut stop => return Ok(()),
                }
                continue;
            };
            self.measure(connection, &records).await?;
            let count = records.len();
            self.publish(&producer, records).await?;
            self.position = position;
            self.checkpoint(connection, epoch, position, &chain_hash).await?;
            metrics::counter!("kinledger_relay_published_total", "lane" => self.label.clone()).increment(count as u64);
        }
        Ok(())
    }

    /// Owns the lane and finds where to go on; returns the epoch.
    async fn take_over(&mut self, connection: &mut PgConnection) -> Result<i64, RelayError> {
        self.own(connection).await?;
        let epoch = self.begin_epoch(connection).await?;
        let (position, chain_hash) = self.resume(connection).await?;
        self.position = position;
        self.checkpoint(connection, epoch, position, &chain_hash).await?;
        tracing::info!(
            lane = self.lane.0,
            epoch,
            position = self.position,
            "the relay owns a lane"
        );
        Ok(epoch)
    }

    /// Waits for the lane's lock.
    async fn own(&self, connection: &mut PgConnection) -> Result<(), RelayError> {
        loop {
            let is_owner: bool = sqlx::query_scalar("select pg_try_advisory_lock(4712, $1)")
                .bind(i32::from(self.lane.0))
                .fetch_one(&mut *connection)
                .await?;
            if is_owner {
                return Ok(());
            }
            tokio::time::sleep(STANDBY_INTERVAL).await;
        }
    }

    async fn begin_epoch(&self, connection: &mut PgConnection) -> Result<i64, RelayError> {
        let statement = "insert into log.relay_checkpoints as c (lane, epoch, position, chain_hash) \
             values ($1, 1, 0, $2) on conflict (lane) do update set epoch = c.epoch + 1 returning epoch";
        let query = sqlx::query_scalar(statement)
            .bind(self.lane.0)
            .bind(crate::chain::GENESIS);
        Ok(query.fetch_one(connection).await?)
    }

    /// What Kafka has already, once it is sure that the log has it too.
    async fn resume(&self, connection: &mut PgConnection) -> Result<(i64, [u8; 32]), RelayError> {
        match topic::end(self.settings, self.lane).await? {
            End::Empty => Ok((0, crate::chain::GENESIS)),
            End::Expired => {
                let statement = "select position, chain_hash from log.relay_checkpoints where lane = $1";
                Ok(sqlx::query_as(statement)
                    .bind(self.lane.0)
                    .fetch_one(connection)
                    .await?)
            }
            End::At(record) => {
                let statement = "select chain_hash from log.events where lane = $1 and position = $2";
                let ours: Option<[u8; 32]> = sqlx::query_scalar(statement)
                    .bind(self.lane.0)
                    .bind(record.position)
                    .fetch_optional(connection)
                    .await?;
                if ours == Some(record.chain_hash) && record.lane == self.lane {
                    Ok((record.position, record.chain_hash))
                } else {
                    Err(RelayError::Fork {
                        lane: self.lane,
                        position: record.position,
                    })
                }
            }
        }
    }

    /// Hands the records to the producer in order, then awaits every acknowledgement.
    async fn publish(&self, producer: &FutureProducer, records: Vec<Record>) -> Result<(), KafkaError> {
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
        for delivery in deliveries {
            match delivery.await {
                Ok(Ok(_)) => {}
                Ok(Err((error, _))) => return Err(error),
                Err(_) => return Err(KafkaError::Canceled),
            }
        }
        Ok(())
    }

    async fn checkpoint(
        &self,
        connection: &mut PgConnection,
        epoch: i64,
        position: i64,
        chain_hash: &[u8; 32],
    ) -> Result<(), RelayError> {
        let statement = "update log.relay_checkpoints set position = $3, chain_hash = $4, updated_at = clock_timestamp() \
             where lane = $1 and epoch = $2";
        let updated = sqlx::query(statement)
            .bind(self.lane.0)
            .bind(epoch)
            .bind(position)
            .bind(chain_hash)
            .execute(connection)
            .await?;
        if updated.rows_affected() == 0 {
            Err(RelayError::Fenced(self.lane))
        } else {
            Ok(())
        }
    }

    async fn measure(&self, connection: &mut PgConnection, records: &[Record]) -> Result<(), RelayError> {
        let row = sqlx::query("select coalesce(max(position), 0) as head from log.events where lane = $1")
            .bind(self.lane.0)
            .fetch_one(connection)
            .await?;
        let head: i64 = row.try_get("head")?;
        let oldest_ms = records
            .first()
            .map_or(0, |first| (Utc::now() - first.recorded_at).num_milliseconds().max(0));
        self.report_lag(head - self.position, oldest_ms);
        Ok(())
    }

    /// Events not yet published, and the age of the oldest of them.
    fn report_lag(&self, events: i64, oldest_ms: i64) {
        metrics::gauge!("kinledger_relay_lag_events", "lane" => self.label.clone()).set(events as f64);
        metrics::gauge!("kinledger_relay_lag_seconds", "lane" => self.label.clone()).set(oldest_ms as f64 / 1000.0);
        metrics::gauge!("kinledger_relay_position", "lane" => self.label.clone()).set(self.position as f64);
    }
}
