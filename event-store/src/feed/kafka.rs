//! The feed from the relay's Kafka topic. One consumer per lane, assigned by hand: no group, no stored offsets.
//!
//! Where to begin. The relay writes a partition from empty, in order, and only repeats itself: so a record's offset is never
//! below its position minus one, and the offset `after` is at or before what comes next. We begin there and skip what is
//! known. Should the topic not be like that (made anew in the middle, offsets lost), the first record found lies beyond what
//! comes next; then the partition is read once from its beginning, and a record still missing is a [`FeedError::Gap`].
//!
//! Messages that no relay wrote are skipped, counted and warned about: what they are nobody here can say, and a record that was
//! garbled into one is missing from the order and comes back as a [`FeedError::Gap`].
//!
//! Repeats, which a relay that died between acknowledgement and restart may leave, are dropped by position.

use std::{collections::HashMap, time::Duration};

use async_trait::async_trait;
use futures::FutureExt;
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{Consumer, StreamConsumer},
    error::KafkaError,
};
use std::sync::Arc;
use tokio::time::Instant;

use super::{Feed, FeedError};
use crate::{Lane, Record, relay::record_of};

/// How long the broker may take to tell a partition's ends.
const WATERMARKS_TIMEOUT: Duration = Duration::from_secs(10);

/// See the module.
pub struct KafkaFeed {
    config: ClientConfig,
    topic: String,
    lanes: HashMap<Lane, LaneConsumer>,
}

impl std::fmt::Debug for KafkaFeed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaFeed")
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}

struct LaneConsumer {
    consumer: Arc<StreamConsumer>,
    /// The position it has handed out last; what it gives next is above.
    after: i64,
    /// Has it been sent to the partition's beginning since the last record?
    is_rewound: bool,
}

impl KafkaFeed {
    /// A feed over `topic` on `brokers` (`host:port,…`). Connects when it is first asked.
    pub fn new(brokers: &str, topic: &str) -> Self {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", brokers)
            // The library wants a name even where no group is joined.
            .set("group.id", "kinledger-feed")
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest")
            .set("isolation.level", "read_committed")
            .set("fetch.wait.max.ms", "100")
            .set("fetch.error.backoff.ms", "100")
            // Bounds what a slow reader keeps in memory, per lane.
            .set("queued.max.messages.kbytes", "8192");
        Self {
            config,
            topic: topic.to_owned(),
            lanes: HashMap::new(),
        }
    }

    /// The lane's consumer, standing right behind `after`.
    async fn consumer(&mut self, lane: Lane, after: i64) -> Result<&mut LaneConsumer, FeedError> {
        if self.lanes.get(&lane).is_none_or(|consumer| consumer.after != after) {
            let consumer = match self.lanes.remove(&lane) {
                Some(known) => known.consumer,
                None => Arc::new(self.config.create().map_err(FeedError::Kafka)?),
            };
            let begin = Begin::At(after);
            assign(&consumer, &self.topic, lane, begin)
                .await
                .map_err(FeedError::Kafka)?;
            self.lanes.insert(
                lane,
                LaneConsumer {
                    consumer,
                    after,
                    is_rewound: false,
                },
            );
        }
        Ok(self.lanes.get_mut(&lane).expect("it was inserted above"))
    }
}

/// Where in a partition to begin.
#[derive(Clone, Copy)]
enum Begin {
    /// As near to this offset as the partition has it.
    At(i64),
    /// At the first message there is.
    Beginning,
}

async fn assign(consumer: &Arc<StreamConsumer>, topic: &str, lane: Lane, begin: Begin) -> Result<(), KafkaError> {
    let consumer = Arc::clone(consumer);
    let topic = topic.to_owned();
    let assigned = tokio::task::spawn_blocking(move || {
        let partition = i32::from(lane.0);
        let (low, high) = consumer.fetch_watermarks(&topic, partition, WATERMARKS_TIMEOUT)?;
        let offset = match begin {
            Begin::At(offset) => offset.min(high).max(low),
            Begin::Beginning => low,
        };
        // A list that outlives its consumer can hang the library: this one ends here.
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition_offset(&topic, partition, Offset::Offset(offset))?;
        consumer.assign(&list)
    });
    assigned.await.unwrap_or(Err(KafkaError::Canceled))
}

impl LaneConsumer {
    /// The next record, when one is there already or arrives within `wait`. What the library complains of meanwhile is an error
    /// only if no record comes: it reconnects by itself, and its complaints about an outage queue up before the records that
    /// follow it.
    async fn receive(&self, lane: Lane, wait: Duration) -> Result<Option<Record>, FeedError> {
        let deadline = Instant::now() + wait;
        let mut complaint = None;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let received = if left.is_zero() {
                self.consumer.recv().now_or_never()
            } else {
                tokio::time::timeout(left, self.consumer.recv()).await.ok()
            };
            match received {
                None => return complaint.map_or(Ok(None), |error| Err(FeedError::Kafka(error))),
                Some(Err(error)) => complaint = Some(error),
                Some(Ok(message)) => match record_of(&message) {
                    Ok(record) => return Ok(Some(record)),
                    Err(cause) => {
                        metrics::counter!("kinledger_feed_foreign_messages_total").increment(1);
                        tracing::warn!(
                            lane = lane.0,
                            offset = message.offset(),
                            %cause,
                            "a message that is not from the relay is skipped"
                        );
                    }
                },
            }
        }
    }
}

#[async_trait]
impl Feed for KafkaFeed {
    async fn next(&mut self, lane: Lane, after: i64, limit: usize, wait: Duration) -> Result<Vec<Record>, FeedError> {
        let read = self.read(lane, after, limit, wait).await;
        if read.is_err() {
            // Whatever it was, the next call begins where the reader says, not where this consumer stopped.
            if let Some(consumer) = self.lanes.get_mut(&lane) {
                consumer.after = -1;
            }
        }
        read
    }
}

impl KafkaFeed {
    async fn read(&mut self, lane: Lane, after: i64, limit: usize, wait: Duration) -> Result<Vec<Record>, FeedError> {
        let deadline = Instant::now() + wait;
        let topic = self.topic.clone();
        let lane_consumer = self.consumer(lane, after).await?;
        let mut records: Vec<Record> = Vec::new();
        while records.len() < limit {
            let left = if records.is_empty() {
                deadline.saturating_duration_since(Instant::now())
            } else {
                Duration::ZERO
            };
            let Some(record) = lane_consumer.receive(lane, left).await? else {
                break;
            };
            let wanted = lane_consumer.after + 1;
            if record.position < wanted {
                continue;
            }
            if record.position == wanted {
                lane_consumer.after = record.position;
                lane_consumer.is_rewound = false;
                records.push(record);
            } else if !records.is_empty() {
                // Hand out what is whole; the next call starts anew at the hole.
                let consumer = Arc::clone(&lane_consumer.consumer);
                assign(&consumer, &topic, lane, Begin::At(lane_consumer.after))
                    .await
                    .map_err(FeedError::Kafka)?;
                break;
            } else if lane_consumer.is_rewound {
                return Err(FeedError::Gap {
                    lane,
                    wanted,
                    found: record.position,
                });
            } else {
                lane_consumer.is_rewound = true;
                let consumer = Arc::clone(&lane_consumer.consumer);
                assign(&consumer, &topic, lane, Begin::Beginning)
                    .await
                    .map_err(FeedError::Kafka)?;
            }
        }
        Ok(records)
    }
}
