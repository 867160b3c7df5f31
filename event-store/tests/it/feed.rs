//! One contract, two feeds.

use std::time::{Duration, Instant};

use event_store::{
    Lane, Record,
    feed::{Feed, FeedError, KafkaFeed, PostgresFeed},
};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{Consumer, StreamConsumer},
    message::OwnedMessage,
    producer::{FutureProducer, FutureRecord},
};

use crate::{
    relay::{RunningRelay, brokers, create_topic},
    support::{Fixture, LANE, command, family},
};

const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(200);

/// What every feed promises, in an order that begins with an empty lane.
async fn keeps_the_contract(fixture: &Fixture, feed: &mut dyn Feed) {
    assert_eq!(
        feed.next(LANE, 0, 10, Duration::ZERO).await.unwrap(),
        [],
        "an empty lane"
    );
    let started = Instant::now();
    assert_eq!(feed.next(LANE, 0, 10, SHORT).await.unwrap(), []);
    assert!(started.elapsed() >= SHORT, "it did not wait");

    let (one, two) = (fixture.family_of(1, 20).await, fixture.family_of(2, 5).await);
    fixture.log.append(Lane(1), &[command(family(3), 0, 3)]).await.unwrap();
    let expected = fixture.whole.read_lane(LANE, 0, 100).await.unwrap();
    assert_eq!(
        pages(feed, LANE, 0, 10, 25).await,
        expected,
        "every record, as the log has it"
    );

    for after in [24, 3, 0, 12] {
        let again = pages(feed, LANE, after, 100, 25).await;
        assert_eq!(
            again,
            expected[usize::try_from(after).unwrap()..],
            "from {after} on, wherever it was before"
        );
    }
    assert_eq!(
        pages(feed, Lane(1), 0, 100, 3).await,
        fixture.whole.read_lane(Lane(1), 0, 100).await.unwrap()
    );
    assert_eq!(feed.next(LANE, 25, 10, SHORT).await.unwrap(), [], "nothing new");

    let log = fixture.log.clone();
    let later = tokio::spawn(async move {
        tokio::time::sleep(SHORT).await;
        log.append(LANE, &[command(one, 20, 1), command(two, 5, 1)])
            .await
            .unwrap();
    });
    let woken = pages(feed, LANE, 25, 10, 27).await;
    later.await.unwrap();
    assert_eq!(woken, fixture.whole.read_lane(LANE, 25, 10).await.unwrap());
}

/// Reads pages of at most `limit` up to and including position `last`.
async fn pages(feed: &mut dyn Feed, lane: Lane, mut after: i64, limit: usize, last: i64) -> Vec<Record> {
    let mut all = Vec::new();
    while after < last {
        let page = feed.next(lane, after, limit, LONG).await.unwrap();
        assert!(
            !page.is_empty() && page.len() <= limit,
            "{} records after {after}",
            page.len()
        );
        after = page.last().unwrap().position;
        all.extend(page);
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_postgres_feed_keeps_the_contract() {
    let fixture = Fixture::new().await;
    keeps_the_contract(&fixture, &mut PostgresFeed::new(fixture.whole.clone())).await;
    fixture.end().await;
}

/// A topic that was made just now has leaders a moment later, and until then whoever follows it is told to try again.
async fn is_led(feed: &mut KafkaFeed, lane: Lane) {
    let began = Instant::now();
    while let Err(error) = feed.next(lane, 0, 10, Duration::ZERO).await {
        assert!(
            matches!(error, FeedError::Kafka(_)) && began.elapsed() < LONG,
            "{error}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_kafka_feed_keeps_the_contract() {
    let fixture = Fixture::new().await;
    let relay = RunningRelay::start(&fixture).await;
    relay.is_ready().await;
    let mut feed = KafkaFeed::new(&brokers(), &relay.topic);
    for lane in [LANE, Lane(1)] {
        is_led(&mut feed, lane).await;
    }
    keeps_the_contract(&fixture, &mut feed).await;
    relay.stop().await.unwrap();
    fixture.end().await;
}

/// A topic that holds the lane's records in another order or number than the relay would have written them; 0 is a message of
/// somebody else.
async fn rewritten(fixture: &Fixture, order: &[usize]) -> String {
    let relay = RunningRelay::start(fixture).await;
    relay.is_ready().await;
    let consumer: StreamConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers())
        .set("group.id", "kinledger-test")
        .create()
        .unwrap();
    {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&relay.topic, 0, Offset::Beginning).unwrap();
        consumer.assign(&list).unwrap();
    }
    let mut messages: Vec<OwnedMessage> = Vec::new();
    while messages.len() < usize::try_from(fixture.whole.lane_head(LANE).await.unwrap()).unwrap() {
        messages.push(
            tokio::time::timeout(LONG, consumer.recv())
                .await
                .unwrap()
                .unwrap()
                .detach(),
        );
    }
    let topic = create_topic(1).await;
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers())
        .create()
        .unwrap();
    for index in order {
        if *index == 0 {
            let foreign = FutureRecord::to(&topic).partition(0).key("key").payload("{}");
            producer.send(foreign, LONG).await.unwrap();
            continue;
        }
        let message = &messages[*index - 1];
        let record = FutureRecord::to(&topic)
            .partition(0)
            .headers(message.headers().unwrap().clone());
        let record = record.key(message.key().unwrap()).payload(message.payload().unwrap());
        producer.send(record, LONG).await.unwrap();
    }
    relay.stop().await.unwrap();
    topic
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeats_in_kafka_are_handed_out_once() {
    let fixture = Fixture::new().await;
    fixture.family_of(1, 6).await;
    let topic = rewritten(&fixture, &[1, 2, 3, 2, 3, 4, 5, 3, 4, 5, 6]).await;
    let mut feed = KafkaFeed::new(&brokers(), &topic);
    let expected = fixture.whole.read_lane(LANE, 0, 100).await.unwrap();
    for after in [0, 1, 3, 5] {
        let read = pages(&mut feed, LANE, after, 100, 6).await;
        assert_eq!(read, expected[usize::try_from(after).unwrap()..], "after {after}");
    }
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hole_in_kafka_is_an_error_and_never_skipped() {
    let fixture = Fixture::new().await;
    fixture.family_of(1, 6).await;
    let topic = rewritten(&fixture, &[1, 2, 4, 5]).await;
    let mut feed = KafkaFeed::new(&brokers(), &topic);
    assert_eq!(pages(&mut feed, LANE, 0, 100, 2).await.len(), 2);
    for _ in 0..2 {
        let error = feed.next(LANE, 2, 100, LONG).await.unwrap_err();
        assert!(
            matches!(
                error,
                FeedError::Gap {
                    wanted: 3,
                    found: 4,
                    ..
                }
            ),
            "{error:?}"
        );
    }
    // The reader filled the hole from the log and goes on.
    assert_eq!(pages(&mut feed, LANE, 3, 100, 5).await.len(), 2);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_somebody_else_are_skipped_and_hide_nothing() {
    let fixture = Fixture::new().await;
    fixture.family_of(1, 6).await;
    let topic = rewritten(&fixture, &[0, 0, 1, 2, 0, 3, 0, 5, 6, 0]).await;
    let mut feed = KafkaFeed::new(&brokers(), &topic);
    let expected = fixture.whole.read_lane(LANE, 0, 100).await.unwrap();
    assert_eq!(pages(&mut feed, LANE, 0, 100, 3).await, expected[..3]);
    // One of them stands where a record should: that is a hole, and no shorter answer.
    let error = feed.next(LANE, 3, 100, LONG).await.unwrap_err();
    assert!(
        matches!(
            error,
            FeedError::Gap {
                wanted: 4,
                found: 5,
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(pages(&mut feed, LANE, 4, 100, 6).await, expected[4..]);
    assert_eq!(feed.next(LANE, 6, 100, SHORT).await.unwrap(), []);
    fixture.end().await;
}
