//! The runner over both feeds: the same rows, every event counted.

use std::{future::Future, sync::Arc, time::Duration};

use event_store::{
    Lane, Log,
    feed::{Feed, KafkaFeed, PostgresFeed},
    relay,
};
use projectors::{Progress, Settings};
use service_kit::{database::DatabaseRole, shutdown};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::{given::*, ledger::*};

const ENTRIES: u128 = 300;

/// Appends while the runner runs, waits until every event is in the rows, and compares with a plain fold.
async fn follows_to_the_end<F, R>(feed: F)
where
    F: FnOnce(Log, String) -> R,
    R: Future<Output = Box<dyn Feed>>,
{
    let mut ledger = Ledger::new().await;
    let f = family(1);
    ledger.append(f, founding(f)).await;
    let rows_changed = Arc::new(Notify::new());
    let progress = Progress::new();
    let (stop, watcher) = shutdown::channel();
    let topic = format!("kinledger.test.{}", Uuid::new_v4());
    let relay_log = Log::new(ledger.database.pool(DatabaseRole::Relay).await, [7; 32]);
    let feed = feed(relay_log, topic).await;
    let settings = Settings {
        pool: ledger.views.clone(),
        log: ledger.applier.log.clone(),
        feeds: vec![(LANE, feed)],
        rows_changed: rows_changed.clone(),
        progress: progress.clone(),
    };
    let running = tokio::spawn(projectors::run(settings, watcher));
    for number in 1..=ENTRIES {
        ledger.append(f, vec![income(f, number, "1.00", day(1, 1))]).await;
    }
    let expected = 11 + ENTRIES as i64;
    let caught_up = async {
        loop {
            let bell = rows_changed.notified();
            if progress
                .positions()
                .get(&LANE.0)
                .is_some_and(|(checkpoint, _)| *checkpoint == expected)
            {
                return;
            }
            tokio::select! { () = bell => {}, () = tokio::time::sleep(Duration::from_millis(50)) => {} }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), caught_up)
        .await
        .expect("the runner catches up");
    stop.send(true).expect("the runner listens");
    running.await.expect("the runner ends");
    assert_eq!(progress.check(), Ok(()));
    assert_eq!(
        ledger.value("select count(*) from views.entries").await,
        ENTRIES.to_string()
    );
    assert_eq!(
        ledger.value("select family_seq from views.family_heads").await,
        expected.to_string()
    );
    assert_eq!(ledger.value("select count(*) from views.parked_families").await, "0");
    let live = ledger.dump().await;
    projectors::reset(&ledger.views).await.expect("the views are emptied");
    ledger.project(5_000).await;
    assert_eq!(ledger.dump().await, live);
    ledger.database.drop().await;
}

#[tokio::test]
async fn the_runner_follows_the_log_in_postgres() {
    follows_to_the_end(|log, _| async move { Box::new(PostgresFeed::new(log)) as Box<dyn Feed> }).await;
}

#[tokio::test]
async fn the_runner_follows_the_topic_in_kafka() {
    let brokers = std::env::var("KINLEDGER_TEST_KAFKA_BROKERS")
        .expect("KINLEDGER_TEST_KAFKA_BROKERS is not set: run the tests with `make test`, which starts Kafka");
    follows_to_the_end(|log, topic| async move {
        let (stop, watcher) = shutdown::channel();
        let mut settings = relay::RelaySettings::new(brokers.clone());
        settings.topic = topic.clone();
        tokio::spawn(async move {
            // Kept until the test's runtime ends.
            let _stop = stop;
            relay::run(log, settings, watcher).await.expect("the relay runs");
        });
        Box::new(KafkaFeed::new(&brokers, &topic)) as Box<dyn Feed>
    })
    .await;
}

#[tokio::test]
async fn a_lost_record_is_read_from_the_log() {
    struct Leaky(PostgresFeed);

    #[async_trait::async_trait]
    impl Feed for Leaky {
        async fn next(
            &mut self,
            lane: Lane,
            after: i64,
            limit: usize,
            wait: Duration,
        ) -> Result<Vec<event_store::Record>, event_store::feed::FeedError> {
            let mut records = self.0.next(lane, after, limit, wait).await?;
            records.retain(|record| record.position % 3 == 0);
            if let (false, Some(first)) = (records.is_empty(), records.first()) {
                let found = first.position;
                if found > after + 2 {
                    return Err(event_store::feed::FeedError::Gap {
                        lane,
                        wanted: after + 1,
                        found,
                    });
                }
            }
            Ok(records)
        }
    }

    let mut ledger = Ledger::new().await;
    let f = family(1);
    ledger.append(f, founding(f)).await;
    ledger.append(f, vec![income(f, 1, "1.00", day(1, 1))]).await;
    let (stop, watcher) = shutdown::channel();
    let progress = Progress::new();
    let settings = Settings {
        pool: ledger.views.clone(),
        log: ledger.applier.log.clone(),
        feeds: vec![(
            LANE,
            Box::new(Leaky(PostgresFeed::new(ledger.applier.log.clone()))) as Box<dyn Feed>,
        )],
        rows_changed: Arc::new(Notify::new()),
        progress: progress.clone(),
    };
    let running = tokio::spawn(projectors::run(settings, watcher));
    let caught_up = async {
        while progress
            .positions()
            .get(&LANE.0)
            .is_none_or(|(checkpoint, _)| *checkpoint < 12)
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), caught_up)
        .await
        .expect("the runner catches up");
    stop.send(true).expect("the runner listens");
    running.await.expect("the runner ends");
    assert_eq!(ledger.value("select sum(balance) from views.accounts").await, "1.0000");
    ledger.database.drop().await;
}
