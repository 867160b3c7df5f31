//! The relay: everything once and in order, and a halt when the log is not the one that was published.

use std::time::Duration;

use event_store::{
    Lane, Log,
    feed::{Feed, KafkaFeed},
    relay::{RelayError, RelaySettings, fits, run},
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use rdkafka::{
    ClientConfig, Message,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
    producer::{FutureProducer, FutureRecord},
};
use service_kit::database::DatabaseRole;
use sqlx::Executor;
use tokio::{sync::watch, task::JoinHandle};
use uuid::Uuid;

use crate::support::{Fixture, LANE, command, family};

const TIMEOUT: Duration = Duration::from_secs(30);

/// Where the test command says Kafka is.
pub fn brokers() -> String {
    std::env::var("KINLEDGER_TEST_KAFKA_BROKERS").unwrap_or_else(|_| {
        panic!("KINLEDGER_TEST_KAFKA_BROKERS is not set: run the tests with `make test`, which starts Kafka")
    })
}

pub async fn create_topic(partitions: i32) -> String {
    let topic = format!("kinledger.test.{}", Uuid::new_v4().simple());
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", brokers())
        .create()
        .unwrap();
    let new = NewTopic::new(&topic, partitions, TopicReplication::Fixed(1));
    admin
        .create_topics([&new], &AdminOptions::new())
        .await
        .unwrap()
        .remove(0)
        .unwrap();
    topic
}

/// Messages per partition.
fn counts(topic: &str, lanes: i32) -> Vec<i64> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers())
        .create()
        .unwrap();
    let ends = (0..lanes).map(|lane| consumer.fetch_watermarks(topic, lane, TIMEOUT).unwrap());
    ends.map(|(low, high)| high - low).collect()
}

pub struct RunningRelay {
    pub topic: String,
    log: Log,
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<(), RelayError>>,
}

impl RunningRelay {
    pub async fn start(fixture: &Fixture) -> Self {
        Self::start_on(fixture, format!("kinledger.test.{}", Uuid::new_v4().simple())).await
    }

    pub async fn start_on(fixture: &Fixture, topic: String) -> Self {
        // In the role it has in earnest, sharing hints with the log that appends.
        let log = Log::new(fixture.database.pool(DatabaseRole::Relay).await, [0; 32]);
        let log = log.with_wakeups(fixture.log.wakeups().clone());
        let (stop, stopping) = watch::channel(false);
        let settings = RelaySettings {
            topic: topic.clone(),
            batch: 7,
            watch_interval: Duration::from_millis(500),
            ..RelaySettings::new(brokers())
        };
        let task = tokio::spawn(run(log.clone(), settings, stopping));
        Self { topic, log, stop, task }
    }

    /// Waits until Kafka has acknowledged everything that is in the log now.
    pub async fn is_ready(&self) {
        let behind = "select count(*) from log.lanes l left join log.relay_checkpoints c using (lane) \
             where c.lane is null \
                or c.position < (select coalesce(max(position), 0) from log.events e where e.lane = l.lane)";
        tokio::time::timeout(TIMEOUT, async {
            while sqlx::query_scalar::<_, i64>(behind)
                .fetch_one(self.log.pool())
                .await
                .unwrap()
                > 0
            {
                assert!(!self.task.is_finished(), "the relay has ended");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await
        .expect("the relay catches up");
    }

    pub async fn stop(self) -> Result<(), RelayError> {
        self.stop.send_replace(true);
        self.ended().await
    }

    pub async fn ended(self) -> Result<(), RelayError> {
        let outcome = tokio::time::timeout(TIMEOUT, self.task)
            .await
            .expect("the relay ends")
            .unwrap();
        self.log.pool().close().await;
        outcome
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_is_the_record_and_a_cloud_event() {
    let fixture = Fixture::new().await;
    let id = fixture.family_of(1, 1).await;
    let relay = RunningRelay::start(&fixture).await;
    relay.is_ready().await;
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers())
        .set("group.id", "kinledger-test")
        .create()
        .unwrap();
    {
        let mut list = rdkafka::TopicPartitionList::new();
        list.add_partition_offset(&relay.topic, 0, rdkafka::Offset::Beginning)
            .unwrap();
        consumer.assign(&list).unwrap();
    }
    let message = consumer.poll(TIMEOUT).unwrap().unwrap();
    let record = fixture.whole.read_lane(LANE, 0, 1).await.unwrap().remove(0);
    assert_eq!(message.payload().unwrap(), record.payload.as_bytes());
    assert_eq!(message.key().unwrap(), id.uuid().to_string().as_bytes());
    let text = |name: &str| {
        let headers = message.headers().unwrap();
        let found = rdkafka::message::Headers::iter(headers).find(|header| header.key == name);
        String::from_utf8(found.unwrap_or_else(|| panic!("no {name}")).value.unwrap().to_vec()).unwrap()
    };
    assert_eq!(text("ce_specversion"), "1.0");
    assert_eq!(text("ce_id"), format!("{}:1", id.uuid()));
    assert_eq!(text("ce_type"), "family.family.MemberAdded.v1");
    assert_eq!(
        text("traceparent"),
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    );
    assert_eq!(text("chain_hash"), hex::encode(record.chain_hash));
    assert!(event_store::relay::HEADERS.iter().all(|name| !text(name).is_empty()));
    relay.stop().await.unwrap();
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_goes_on_without_repeats() {
    let fixture = Fixture::new().await;
    let id = fixture.family_of(1, 20).await;
    fixture.log.append(Lane(5), &[command(family(2), 0, 4)]).await.unwrap();
    let relay = RunningRelay::start(&fixture).await;
    relay.is_ready().await;
    let topic = relay.topic.clone();
    relay.stop().await.unwrap();
    fixture.append(command(id, 20, 10)).await;
    // A checkpoint that lags, as after a crash: Kafka is asked, not the checkpoint.
    let superuser = fixture.database.superuser().await;
    superuser
        .execute("update log.relay_checkpoints set position = 0")
        .await
        .unwrap();
    superuser.close().await;
    let relay = RunningRelay::start_on(&fixture, topic.clone()).await;
    relay.is_ready().await;
    relay.stop().await.unwrap();
    let counts = tokio::task::spawn_blocking(move || counts(&topic, 8)).await.unwrap();
    assert_eq!(counts, [30, 0, 0, 0, 0, 4, 0, 0]);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_relays_one_stands_by_and_takes_over() {
    let fixture = Fixture::new().await;
    let id = fixture.family_of(1, 5).await;
    let first = RunningRelay::start(&fixture).await;
    first.is_ready().await;
    let topic = first.topic.clone();
    let second = RunningRelay::start_on(&fixture, topic.clone()).await;
    fixture.append(command(id, 5, 5)).await;
    first.is_ready().await;
    first.stop().await.unwrap();
    fixture.append(command(id, 10, 5)).await;
    second.is_ready().await;
    second.stop().await.unwrap();
    let counts = tokio::task::spawn_blocking(move || counts(&topic, 1)).await.unwrap();
    assert_eq!(counts, [15]);
    fixture.end().await;
}

/// A figure of a lane, as it is served.
fn gauge(metrics: &PrometheusHandle, name: &str) -> Option<f64> {
    let start = format!("{name}{{lane=\"{LANE}\"}} ");
    let text = metrics.render();
    text.lines().find_map(|line| line.strip_prefix(&start)?.parse().ok())
}

#[tokio::test]
async fn the_lag_grows_while_kafka_is_away() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let metrics = recorder.handle();
    // The test has one thread, and so has the relay in it.
    let _recording = metrics::set_default_local_recorder(&recorder);
    let fixture = Fixture::new().await;
    let id = fixture.family_of(1, 5).await;
    let log = Log::new(fixture.database.pool(DatabaseRole::Relay).await, [0; 32]);
    let (stop, stopping) = watch::channel(false);
    // Nobody listens there.
    let task = tokio::spawn(run(log.clone(), RelaySettings::new("127.0.0.1:1"), stopping));
    let mut seconds = 0.0;
    for events in [5.0, 9.0] {
        let lag = || {
            (
                gauge(&metrics, "kinledger_relay_lag_events"),
                gauge(&metrics, "kinledger_relay_lag_seconds"),
            )
        };
        let grown = async {
            while lag().0 != Some(events) || lag().1.is_none_or(|now| now <= seconds) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        assert!(tokio::time::timeout(TIMEOUT, grown).await.is_ok(), "{:?}", lag());
        seconds = lag().1.unwrap();
        if events < 9.0 {
            fixture.append(command(id, 5, 4)).await;
        }
    }
    stop.send_replace(true);
    task.await.unwrap().unwrap();
    log.pool().close().await;
    fixture.end().await;
}

/// Publishes five events, lets the log be changed, and starts again.
async fn halts_after(change: &str) {
    let fixture = Fixture::new().await;
    fixture.family_of(1, 5).await;
    let relay = RunningRelay::start(&fixture).await;
    relay.is_ready().await;
    let topic = relay.topic.clone();
    relay.stop().await.unwrap();
    let superuser = fixture.database.superuser().await;
    let statements =
        format!("create table saved as table log.events; set session_replication_role = replica; {change}");
    superuser.execute(sqlx::raw_sql(&statements)).await.unwrap();
    let settings = RelaySettings {
        topic: topic.clone(),
        ..RelaySettings::new(brokers())
    };
    let error = RunningRelay::start_on(&fixture, topic.clone())
        .await
        .ended()
        .await
        .unwrap_err();
    // Looked at again, it does not fit either.
    let again = fits(&fixture.whole, &settings).await.unwrap_err();
    assert_eq!(again.to_string(), error.to_string());
    assert!(
        error.needs_people() && error.to_string().contains("fork detected"),
        "{error}"
    );
    assert!(
        matches!(
            error,
            RelayError::Fork {
                lane: LANE,
                position: 5
            }
        ),
        "{error:?}"
    );
    // The log as it was: that fits, and is relayed further.
    let back = "set session_replication_role = replica; delete from log.events; \
        insert into log.events overriding system value select * from saved; drop table saved";
    superuser.execute(sqlx::raw_sql(back)).await.unwrap();
    superuser.close().await;
    fits(&fixture.whole, &settings).await.unwrap();
    fixture.append(command(family(1), 5, 5)).await;
    let relay = RunningRelay::start_on(&fixture, topic).await;
    relay.is_ready().await;
    relay.stop().await.unwrap();
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_history_at_the_same_position_is_a_fork() {
    halts_after("update log.events set chain_hash = leaf_hash where position = 5").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_ends_before_kafka_is_a_fork() {
    halts_after("delete from log.events where position > 3").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_of_somebody_else_is_left_alone() {
    let fixture = Fixture::new().await;
    fixture.family_of(1, 2).await;
    let small = create_topic(2).await;
    let error = RunningRelay::start_on(&fixture, small).await.ended().await.unwrap_err();
    assert!(
        matches!(
            error,
            RelayError::Partitions {
                partitions: 2,
                lanes: 8,
                ..
            }
        ),
        "{error:?}"
    );

    let foreign = create_topic(8).await;
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers())
        .create()
        .unwrap();
    producer
        .send(
            FutureRecord::to(&foreign).partition(0).key("key").payload("{}"),
            TIMEOUT,
        )
        .await
        .unwrap();
    let error = RunningRelay::start_on(&fixture, foreign)
        .await
        .ended()
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            RelayError::Foreign {
                lane: LANE,
                offset: 0,
                ..
            }
        ),
        "{error:?}"
    );
    fixture.end().await;
}

/// Sends a lane's record with this position to the partition once more, as a producer that was cut off does when it is back.
async fn arrives_late(topic: &str, position: i64) {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers())
        .set("group.id", "kinledger-test")
        .create()
        .unwrap();
    let from = topic.to_owned();
    let found = tokio::task::spawn_blocking(move || {
        {
            let mut list = rdkafka::TopicPartitionList::new();
            list.add_partition_offset(&from, 0, rdkafka::Offset::Offset(position - 1))
                .unwrap();
            consumer.assign(&list).unwrap();
        }
        consumer.poll(TIMEOUT).unwrap().unwrap().detach()
    });
    let message = found.await.unwrap();
    let record = FutureRecord::to(topic)
        .partition(0)
        .headers(message.headers().unwrap().clone())
        .key(message.key().unwrap())
        .payload(message.payload().unwrap());
    let elsewhere = producer();
    elsewhere.send(record, TIMEOUT).await.unwrap();
}

fn producer() -> FutureProducer {
    ClientConfig::new()
        .set("bootstrap.servers", brokers())
        .create()
        .unwrap()
}

/// What a reader of the topic gets is the lane, once and in order.
async fn holds_the_lane(fixture: &Fixture, topic: &str) {
    let expected = fixture.whole.read_lane(LANE, 0, 1_000).await.unwrap();
    let mut feed = KafkaFeed::new(&brokers(), topic);
    let (mut read, mut after) = (Vec::new(), 0);
    while read.len() < expected.len() {
        let page = feed.next(LANE, after, 1_000, TIMEOUT).await.unwrap();
        after = page.last().expect("the topic holds the lane").position;
        read.extend(page);
    }
    assert_eq!(read, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_repeats_and_foreign_messages_at_the_end_lose_and_disorder_nothing() {
    let fixture = Fixture::new().await;
    let id = fixture.family_of(1, 10).await;
    let relay = RunningRelay::start(&fixture).await;
    relay.is_ready().await;
    let topic = relay.topic.clone();
    arrives_late(&topic, 4).await;
    fixture.append(command(id, 10, 2)).await;
    relay.is_ready().await;
    relay.stop().await.unwrap();

    // The last record in Kafka is an old one now: whoever goes on from there repeats what came after it, and leaves nothing out.
    arrives_late(&topic, 9).await;
    let elsewhere = producer();
    for _ in 0..12 {
        let foreign = FutureRecord::to(&topic).partition(0).key("key").payload("{}");
        elsewhere.send(foreign, TIMEOUT).await.unwrap();
    }
    fixture.append(command(id, 12, 3)).await;
    let relay = RunningRelay::start_on(&fixture, topic.clone()).await;
    relay.is_ready().await;
    relay.stop().await.unwrap();
    holds_the_lane(&fixture, &topic).await;
    // 10, the late 4, 2, the late 9, twelve foreign ones, 10 to 15.
    let counts = tokio::task::spawn_blocking(move || counts(&topic, 1)).await.unwrap();
    assert_eq!(counts, [10 + 1 + 2 + 1 + 12 + 6]);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_deleted_under_a_running_relay_is_published_again_from_the_log() {
    let fixture = Fixture::new().await;
    let id = fixture.family_of(1, 30).await;
    fixture.log.append(Lane(5), &[command(family(2), 0, 4)]).await.unwrap();
    let relay = RunningRelay::start(&fixture).await;
    relay.is_ready().await;
    let topic = relay.topic.clone();
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", brokers())
        .create()
        .unwrap();
    admin
        .delete_topics(&[topic.as_str()], &AdminOptions::new())
        .await
        .unwrap();
    fixture.append(command(id, 30, 5)).await;
    let again = async {
        loop {
            let asked = topic.clone();
            let counts = tokio::task::spawn_blocking(move || {
                let consumer: BaseConsumer = ClientConfig::new()
                    .set("bootstrap.servers", brokers())
                    .create()
                    .unwrap();
                let end = |lane| {
                    consumer
                        .fetch_watermarks(&asked, lane, TIMEOUT)
                        .map_or(0, |(_, high)| high)
                };
                [end(0), end(5)]
            });
            if counts.await.unwrap() == [35, 4] {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(TIMEOUT, again)
        .await
        .expect("every event is in the new topic");
    relay.is_ready().await;
    fixture.append(command(id, 35, 2)).await;
    relay.is_ready().await;
    holds_the_lane(&fixture, &topic).await;
    relay.stop().await.unwrap();
    let counts = tokio::task::spawn_blocking(move || counts(&topic, 8)).await.unwrap();
    assert_eq!(counts, [37, 0, 0, 0, 0, 4, 0, 0], "each once");
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_not_heard_of_frees_its_lane() {
    let fixture = Fixture::new().await;
    let id = fixture.family_of(1, 5).await;
    // A relay that was stopped in the middle: its session, with the lock and the time-out, and nobody who speaks.
    let pool = fixture.database.pool(DatabaseRole::Relay).await;
    let mut silent = pool.acquire().await.unwrap().detach();
    silent
        .execute("set idle_session_timeout = 3000; select pg_advisory_lock(4712, 0)")
        .await
        .unwrap();
    let relay = RunningRelay::start(&fixture).await;
    let began = tokio::time::Instant::now();
    relay.is_ready().await;
    assert!(began.elapsed() >= Duration::from_secs(1), "the lane was not free");
    fixture.append(command(id, 5, 5)).await;
    relay.is_ready().await;
    holds_the_lane(&fixture, &relay.topic).await;
    relay.stop().await.unwrap();
    drop(silent);
    pool.close().await;
    fixture.end().await;
}
