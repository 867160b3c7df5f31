//! A log that is not the one that was folded: the lane halts and says so, and no row changes.

use std::{sync::Arc, time::Duration};

use event_store::{
    Lane, Record,
    feed::{Feed, FeedError, PostgresFeed},
};
use projectors::{Progress, Settings, apply::ApplyError};
use service_kit::shutdown;
use sqlx::Executor;
use tokio::sync::Notify;

use crate::{given::*, ledger::*};

/// What was delivered before the log was restored, as Kafka would deliver it again.
struct Remembered(Vec<Record>);

#[async_trait::async_trait]
impl Feed for Remembered {
    async fn next(&mut self, _: Lane, after: i64, limit: usize, wait: Duration) -> Result<Vec<Record>, FeedError> {
        let records: Vec<Record> = self
            .0
            .iter()
            .filter(|record| record.position > after)
            .take(limit)
            .cloned()
            .collect();
        if records.is_empty() {
            tokio::time::sleep(wait).await;
        }
        Ok(records)
    }
}

/// Runs the projectors on a lane that must halt, and returns what readiness said.
async fn halts(ledger: &Ledger, feed: Box<dyn Feed>) -> String {
    let (stop, watcher) = shutdown::channel();
    let progress = Progress::new();
    let settings = Settings {
        pool: ledger.views.clone(),
        log: ledger.applier.log.clone(),
        feeds: vec![(LANE, feed)],
        rows_changed: Arc::new(Notify::new()),
        progress: progress.clone(),
    };
    let running = tokio::spawn(projectors::run(settings, watcher));
    let halted = async {
        while progress.check().is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), halted)
        .await
        .expect("the lane halts");
    stop.send(true).expect("the runner listens");
    running.await.expect("the runner ends");
    progress.check().expect_err("it says why")
}

/// Takes the end of the log away, as a restore to an earlier moment does.
async fn lose_after(ledger: &Ledger, position: i64) {
    let superuser = ledger.database.superuser().await;
    let statements = format!(
        "set session_replication_role = replica; delete from log.events where position > {position};
         delete from log.commands where last_position > {position}"
    );
    superuser
        .execute(sqlx::raw_sql(&statements))
        .await
        .expect("the log is cut");
    superuser.close().await;
}

async fn with_income(ledger: &mut Ledger, numbers: std::ops::RangeInclusive<u128>) {
    for number in numbers {
        ledger
            .append(family(1), vec![income(family(1), number, "1.00", day(1, 1))])
            .await;
    }
}

#[tokio::test]
async fn rows_that_go_beyond_the_log_halt_their_lane() {
    let mut ledger = Ledger::new().await;
    ledger.append(family(1), founding(family(1))).await;
    with_income(&mut ledger, 1..=5).await;
    ledger.project(100).await;
    let before = ledger.dump().await;
    lose_after(&ledger, 13).await;
    let said = halts(&ledger, Box::new(PostgresFeed::new(ledger.applier.log.clone()))).await;
    assert!(
        said.contains("fork detected in lane 3: the rows end with record 16"),
        "{said}"
    );
    assert_eq!(ledger.dump().await, before, "nothing is overwritten");

    // The log goes on from there, and soon is as long as it was: it is still another one.
    let superuser = ledger.database.superuser().await;
    superuser
        .execute(
            "insert into log.events select aggregate_type, aggregate_id, sequence + 90, event_type, event_version, payload, metadata,
                lane, position + 3, family_id, family_seq + 3, command_id, effective_on, recorded_at, leaf_hash, leaf_hash
            from log.events where lane = 3 and position between 11 and 13",
        )
        .await
        .expect("events are added");
    superuser.close().await;
    let said = halts(&ledger, Box::new(PostgresFeed::new(ledger.applier.log.clone()))).await;
    assert!(
        said.contains("fork detected in lane 3: the rows end with record 16"),
        "{said}"
    );
    assert_eq!(ledger.dump().await, before, "nothing is overwritten");
    ledger.database.drop().await;
}

#[tokio::test]
async fn what_the_feed_has_and_the_log_has_lost_is_not_folded() {
    let mut ledger = Ledger::new().await;
    ledger.append(family(1), founding(family(1))).await;
    with_income(&mut ledger, 1..=2).await;
    ledger.project(100).await;
    let before = ledger.dump().await;
    with_income(&mut ledger, 3..=5).await;
    let records = ledger.records().await;
    lose_after(&ledger, 13).await;
    let said = halts(&ledger, Box::new(Remembered(records))).await;
    assert!(
        said.contains("fork detected in lane 3: record 16 was delivered"),
        "{said}"
    );
    assert_eq!(ledger.dump().await, before, "rows and heads are as they were");
    assert_eq!(
        ledger
            .value("select position from views.checkpoints where lane = 3")
            .await,
        "13"
    );
    ledger.database.drop().await;
}

#[tokio::test]
async fn a_batch_that_the_log_lost_since_it_was_read_moves_nothing() {
    let mut ledger = Ledger::new().await;
    ledger.append(family(1), founding(family(1))).await;
    let mut records = ledger.records().await;
    let last = records.last_mut().expect("records");
    let to = last.position;
    // As if the database had been restored between reading and applying, and gone on differently from there.
    last.chain_hash[0] ^= 1;
    let refused = ledger.applier.apply(LANE, 0, to, records, false).await;
    assert!(matches!(refused, Err(ApplyError::Zombie { .. })), "{refused:?}");
    assert_eq!(ledger.applier.checkpoint(LANE).await.expect("a checkpoint"), 0);
    assert_eq!(ledger.value("select count(*) from views.family_heads").await, "0");
    ledger.project(5_000).await;
    assert_eq!(ledger.value("select count(*) from views.family_heads").await, "1");
    ledger.database.drop().await;
}
