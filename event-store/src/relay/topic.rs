//! The topic: creating it, reading where a partition ends, the producer that writes to it.

use std::time::Duration;

use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    producer::FutureProducer,
    types::RDKafkaErrorCode,
};

use super::{RelayError, RelaySettings, machine::End, record_of};
use crate::Lane;

/// How long Kafka may take to answer a question.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Copies of the topic where there are enough brokers.
const REPLICATION_MAX: usize = 3;

/// Creates the topic when it is missing, a partition per lane, kept for ever.
pub(super) async fn ensure(settings: &RelaySettings, lanes: i16) -> Result<(), RelayError> {
    let admin: AdminClient<DefaultClientContext> = client(settings).create()?;
    let topic = settings.topic.clone();
    // The library's metadata call blocks.
    let asked = tokio::task::spawn_blocking(move || {
        // All topics, because asking for one by name may create it with the broker's own defaults.
        let metadata = admin.inner().fetch_metadata(None, TIMEOUT)?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        Ok((
            found.map(|found| found.partitions().len()),
            metadata.brokers().len(),
            admin,
        ))
    });
    let (partitions, brokers, admin) = asked.await.unwrap_or(Err(KafkaError::Canceled))?;
    match partitions {
        Some(partitions) if partitions < usize::from(lanes.unsigned_abs()) => {
            return Err(RelayError::Partitions {
                topic: settings.topic.clone(),
                partitions,
                lanes,
            });
        }
        Some(_) => return Ok(()),
        None => {}
    }
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

/// The last record of a lane's partition.
pub(super) async fn end(settings: &RelaySettings, lane: Lane) -> Result<End, RelayError> {
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
fn read_end(consumer: &BaseConsumer, topic: &str, lane: Lane) -> Result<End, RelayError> {
    let partition = i32::from(lane.0);
    let (low, high) = consumer.fetch_watermarks(topic, partition, TIMEOUT)?;
    if high == low {
        return Ok(if high == 0 { End::Empty } else { End::Expired });
    }
    {
        // A list that outlives its consumer can hang the library: this one ends here.
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition_offset(topic, partition, Offset::Offset(high - 1))?;
        consumer.assign(&list)?;
    }
    let deadline = std::time::Instant::now() + TIMEOUT;
    while std::time::Instant::now() < deadline {
        let Some(message) = consumer.poll(Duration::from_millis(100)) else {
            continue;
        };
        let message = message?;
        let offset = message.offset();
        let record = record_of(&message).map_err(|cause| RelayError::Foreign { lane, offset, cause })?;
        return Ok(End::At(Box::new(record)));
    }
    Err(RelayError::Kafka(KafkaError::MessageConsumption(
        RDKafkaErrorCode::OperationTimedOut,
    )))
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
