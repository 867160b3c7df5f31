//! What the topic holds, compared with the log.

use std::time::{Duration, Instant};

use event_store::{
    Lane, Log,
    feed::{Feed, FeedError, KafkaFeed},
};
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
};

use crate::{oracle::pool, servers::runtime};

const ANSWERS_WITHIN: Duration = Duration::from_secs(20);
/// How long the relay may take to publish what is left.
const PUBLISHED_WITHIN: Duration = Duration::from_secs(90);

/// Messages of all partitions; an outage counts as none.
pub fn messages(brokers: &str, topic: &str, lanes: i16) -> i64 {
    let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
    (0..i32::from(lanes))
        .map(|lane| {
            let ends = consumer.fetch_watermarks(topic, lane, ANSWERS_WITHIN);
            ends.map_or(0, |(low, high)| high - low)
        })
        .sum()
}

/// Deletes the topic, as an operator's slip would.
pub fn delete(brokers: &str, topic: &str) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
    let deleted = runtime()
        .block_on(admin.delete_topics(&[topic], &AdminOptions::new()))
        .unwrap();
    deleted[0].as_ref().unwrap();
}

/// A reader of the topic gets every event of the log, in order, and after dropping repeats once. Returns the events of the log
/// and how many messages more than that the topic has.
#[track_caller]
pub fn holds_the_log(brokers: &str, topic: &str, database_url: &str) -> (i64, i64) {
    let (lanes, events) = runtime().block_on(async {
        let pool = pool(database_url).await;
        let log = Log::new(pool.clone(), [0; 32]);
        let lanes = log.lanes().await.unwrap();
        let mut events = 0;
        for lane in (0..lanes).map(Lane) {
            // A consumer of its own: the test process must not remember what a partition was before.
            let mut feed = KafkaFeed::new(brokers, topic);
            let head = log.lane_head(lane).await.unwrap();
            let (began, mut after) = (Instant::now(), 0);
            while after < head {
                assert!(
                    began.elapsed() < PUBLISHED_WITHIN,
                    "lane {lane}: nothing after {after} of {head}"
                );
                let page = match feed.next(lane, after, 500, ANSWERS_WITHIN).await {
                    Ok(page) => page,
                    // The broker has just come back, or the topic has.
                    Err(FeedError::Kafka(_)) => continue,
                    Err(error) => panic!("lane {lane} after {after}: {error}"),
                };
                let limit = i64::try_from(page.len()).unwrap();
                let logged = log.read_lane_stored(lane, after, limit).await.unwrap();
                assert_eq!(page, logged, "lane {lane} after {after}");
                after += limit;
            }
            events += head;
        }
        pool.close().await;
        (lanes, events)
    });
    let messages = messages(brokers, topic, lanes);
    assert!(messages >= events, "{messages} messages of {events} events");
    (events, messages - events)
}
