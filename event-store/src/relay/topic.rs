//! The topic: creating it, reading where a partition ends, the producer that writes to it.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    producer::FutureProducer,
    types::RDKafkaErrorCode,
};

use super::{MessageError, RelayError, RelaySettings, machine::End, record_of};
use crate::{Lane, Record};

/// How long Kafka may take to answer a question.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How many foreign messages at a partition's end are looked past. Zombies of older releases and mistakes leave few.
const FOREIGN_MAX: i64 = 1_000;
/// Copies of the topic where there are enough brokers.
const REPLICATION_MAX: usize = 3;

/// Is there a topic, with a partition for every lane?
pub(super) async fn is_there(settings: &RelaySettings, lanes: i16) -> Result<bool, RelayError> {
    match partitions_and_brokers(settings).await?.0 {
        Some(partitions) if partitions < usize::from(lanes.unsigned_abs()) => Err(RelayError::Partitions {
            topic: settings.topic.clone(),
            partitions,
            lanes,
        }),
        found => Ok(found.is_some()),
    }
}

async fn partitions_and_brokers(settings: &RelaySettings) -> Result<(Option<usize>, usize), RelayError> {
    let client: BaseConsumer = client(settings).create()?;
    let topic = settings.topic.clone();
    // The library's metadata call blocks.
    let asked = tokio::task::spawn_blocking(move || {
        // All topics, because asking for one by name may create it with the broker's own defaults.
        let metadata = client.fetch_metadata(None, TIMEOUT)?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        Ok((found.map(|found| found.partitions().len()), metadata.brokers().len()))
    });
    Ok(asked.await.unwrap_or(Err(KafkaError::Canceled))?)
}

/// Creates the topic, a partition per lane, kept for ever. No relay may be writing: see [`super::TOPIC_LOCK`].
pub(super) async fn make(settings: &RelaySettings, lanes: i16) -> Result<(), RelayError> {
    let (_, brokers) = partitions_and_brokers(settings).await?;
    let admin: AdminClient<DefaultClientContext> = client(settings).create()?;
    let replication = settings
        .replication
        .unwrap_or_else(|| i32::try_from(brokers.clamp(1, REPLICATION_MAX)).expect("at most three"));
    let in_sync = if replication > 2 { "2" } else { "1" };
    let new = NewTopic::new(&settings.topic, i32::from(lanes), TopicReplication::Fixed(replication))
        .set("cleanup.policy", "delete")
        .set("retention.ms", "-1")
        .set("retention.bytes", "-1")
        .set("min.insync.replicas", in_sync);
    for result in admin
        .create_topics([&new], &AdminOptions::new().operation_timeout(Some(TIMEOUT)))
        .await?
    {
        match result {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((_, code)) => return Err(RelayError::Topic(code)),
        }
    }
    tracing::info!(topic = settings.topic, lanes, replication, "topic created");
    Ok(())
}

/// Where a lane's partition ends, and the offset that the next message gets.
pub(super) async fn end(settings: &RelaySettings, lane: Lane) -> Result<(End, i64), RelayError> {
    let consumer: BaseConsumer = client(settings)
        .set("group.id", "kinledger-relay")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "error")
        .set("fetch.wait.max.ms", "50")
        .create()?;
    let topic = settings.topic.clone();
    let read = tokio::task::spawn_blocking(move || read_end(&consumer, &topic, lane));
    read.await.unwrap_or(Err(RelayError::Kafka(KafkaError::Canceled)))
}

/// Blocks, for as long as Kafka may take to answer.
fn read_end(consumer: &BaseConsumer, topic: &str, lane: Lane) -> Result<(End, i64), RelayError> {
    let (low, high) = consumer.fetch_watermarks(topic, i32::from(lane.0), TIMEOUT)?;
    if high == low {
        return Ok((if high == 0 { End::Empty } else { End::Expired }, high));
    }
    let mut back = 1;
    loop {
        let from = low.max(high - back);
        match last_record(consumer, topic, lane, from..high)? {
            Ok((record, offset)) => {
                // Written from empty and in order, a partition has every record at its position less one, or further on.
                if low == 0 && record.position > offset + 1 {
                    metrics::counter!("kinledger_relay_incomplete_partitions_total").increment(1);
                    tracing::warn!(
                        lane = lane.0,
                        "the partition does not begin with the first event; delete the topic to have it published from the log"
                    );
                }
                return Ok((End::At(Box::new(record)), high));
            }
            Err(cause) if from == low || back >= FOREIGN_MAX => {
                let offset = high - 1;
                return Err(RelayError::Foreign { lane, offset, cause });
            }
            Err(cause) => {
                tracing::warn!(lane = lane.0, %cause, "the partition ends with a message that is not from a relay; looking before it");
                back *= 10;
            }
        }
    }
}

/// The last of some messages that a relay has written, with its offset; else what is wrong with the last one.
fn last_record(
    consumer: &BaseConsumer,
    topic: &str,
    lane: Lane,
    offsets: Range<i64>,
) -> Result<Result<(Record, i64), MessageError>, RelayError> {
    {
        // A list that outlives its consumer can hang the library: this one ends here.
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition_offset(topic, i32::from(lane.0), Offset::Offset(offsets.start))?;
        consumer.assign(&list)?;
    }
    let mut found = Err(MessageError::Missing("record"));
    let deadline = std::time::Instant::now() + TIMEOUT;
    while std::time::Instant::now() < deadline {
        let Some(message) = consumer.poll(Duration::from_millis(100)) else {
            continue;
        };
        let message = message?;
        let offset = message.offset();
        match record_of(&message) {
            Ok(record) => found = Ok((record, offset)),
            Err(cause) if found.is_err() => found = Err(cause),
            Err(_) => {}
        }
        if offset >= offsets.end - 1 {
            return Ok(found);
        }
    }
    Err(RelayError::Kafka(KafkaError::MessageConsumption(
        RDKafkaErrorCode::OperationTimedOut,
    )))
}

/// Looks at the topic every few seconds; returns the first lane of which Kafka no longer holds what it had acknowledged:
/// somebody has deleted the topic, made it anew or emptied it, or Kafka has lost a partition's end. An outage is none.
pub(super) async fn watch(settings: &RelaySettings, ends: &Ends) -> Result<Lane, RelayError> {
    let client: BaseConsumer = client(settings).create()?;
    let client = Arc::new(client);
    loop {
        tokio::time::sleep(settings.watch_interval).await;
        let (client, topic, known) = (Arc::clone(&client), settings.topic.clone(), ends.known());
        let looked = tokio::task::spawn_blocking(move || first_lost(&client, &topic, &known)).await;
        match looked.unwrap_or(Err(KafkaError::Canceled)) {
            Ok(None) => {}
            Ok(Some(lane)) => return Ok(lane),
            Err(error) => tracing::debug!(error = %error, "the topic cannot be looked at"),
        }
    }
}

/// Blocks. `known` was read before Kafka is asked, so a partition that is shorter has lost something.
fn first_lost(client: &BaseConsumer, topic: &str, known: &[i64]) -> Result<Option<Lane>, KafkaError> {
    let metadata = client.fetch_metadata(None, TIMEOUT)?;
    let partitions = metadata.topics().iter().find(|found| found.name() == topic);
    let count = partitions.map_or(0, |found| found.partitions().len());
    for (lane, next) in (0..).map(Lane).zip(known) {
        if usize::from(lane.0.unsigned_abs()) >= count {
            return Ok(Some(lane));
        }
        if *next > 0 && client.fetch_watermarks(topic, i32::from(lane.0), TIMEOUT)?.1 < *next {
            return Ok(Some(lane));
        }
    }
    Ok(None)
}

/// The offset that follows what Kafka has acknowledged, of each lane this process relays; 0 while that is not known.
#[derive(Clone, Debug)]
pub(super) struct Ends(Arc<[AtomicI64]>);

impl Ends {
    pub(super) fn new(lanes: i16) -> Self {
        Self((0..lanes).map(|_| AtomicI64::new(0)).collect())
    }

    fn known(&self) -> Vec<i64> {
        self.0.iter().map(|end| end.load(Ordering::SeqCst)).collect()
    }

    fn of(&self, lane: Lane) -> &AtomicI64 {
        &self.0[usize::from(lane.0.unsigned_abs())]
    }

    /// Kafka says that the next message gets this offset.
    pub(super) fn set(&self, lane: Lane, next: i64) {
        self.of(lane).store(next, Ordering::SeqCst);
    }

    /// Kafka has given these offsets to what was just published; below what it gave before, it has lost that.
    pub(super) fn acknowledged(&self, lane: Lane, first: i64, last: i64) -> Result<(), RelayError> {
        let known = self.of(lane).swap(last + 1, Ordering::SeqCst);
        if first < known {
            return Err(RelayError::TopicLost { lane });
        }
        Ok(())
    }
}

/// A producer that keeps order and says so when it cannot. Its identity ends with it: one for each ownership of a lane.
pub(super) fn producer(settings: &RelaySettings) -> Result<FutureProducer, KafkaError> {
    client(settings)
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("enable.gapless.guarantee", "true")
        .set("max.in.flight.requests.per.connection", "5")
        .set("message.timeout.ms", settings.delivery_timeout.as_millis().to_string())
        .set("linger.ms", "2")
        .set("compression.type", "lz4")
        .create()
}

fn client(settings: &RelaySettings) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &settings.brokers)
        .set("socket.timeout.ms", "10000")
        .set("socket.nagle.disable", "true")
        .set("reconnect.backoff.max.ms", "2000");
    config
}
