//! Lanes append together, and none of them pays for another.

use std::{collections::HashSet, time::Duration};

use domain::{
    family::{FamilyEvent, LeaderboardChoiceMade},
    id::MemberId,
};
use event_store::{AppendCommand, Lane, Log, LogError, Verdict};
use futures::future::join_all;
use sqlx::PgPool;
use uuid::Uuid;

use crate::support::{Fixture, append_by_hand, command, family, ok};

const LANES: i16 = 8;

/// A family per lane, all of them there.
async fn families(fixture: &Fixture) {
    for lane in 0..LANES {
        let verdicts = fixture.log.append(Lane(lane), &[founding(lane)]).await.unwrap();
        ok(&verdicts[0]);
    }
}

fn founding(lane: i16) -> AppendCommand {
    command(family(lane.unsigned_abs().into()), 0, 1)
}

/// Of events without personal texts, so that nothing has to be asked before it is sent.
fn next(lane: i16) -> AppendCommand {
    let mut command = command(family(lane.unsigned_abs().into()), 1, 2);
    for new in &mut command.events {
        let chosen = LeaderboardChoiceMade {
            member_id: MemberId::from_uuid(Uuid::nil()),
            on_leaderboard: true,
        };
        new.event = FamilyEvent::from(chosen).into();
    }
    command
}

/// Appends one command in every lane at the same moment.
async fn append_everywhere(log: &Log, commands: Vec<AppendCommand>) -> Vec<Result<Vec<Verdict>, LogError>> {
    join_all((0..).zip(commands).map(|(lane, command)| async move {
        let batch = [command];
        log.append(Lane(lane), &batch).await
    }))
    .await
}

async fn transactions_of(pool: &PgPool) -> HashSet<chrono::DateTime<chrono::Utc>> {
    sqlx::query_scalar::<_, chrono::DateTime<chrono::Utc>>("select recorded_at from log.events where family_seq > 1")
        .fetch_all(pool)
        .await
        .unwrap()
        .into_iter()
        .collect()
}

#[tokio::test]
async fn what_all_lanes_append_at_one_moment_is_one_statement() {
    let fixture = Fixture::new().await;
    families(&fixture).await;
    let log = fixture.instance().with_statements_at_once(1);
    let commands = (0..LANES).map(next).collect();
    for (lane, verdicts) in (0..).zip(append_everywhere(&log, commands).await) {
        let appended = ok(&verdicts.unwrap()[0]);
        assert_eq!(
            (appended.last_family_seq, appended.last_position),
            (3, 3),
            "lane {lane}"
        );
        let records = fixture.whole.read_lane(Lane(lane), 0, 10).await.unwrap();
        assert_eq!(records.iter().map(|r| r.position).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(records[2].chain_hash, appended.chain_hash);
        assert_eq!(records[2].recorded_at, appended.recorded_at);
    }
    // On one thread nothing is sent before all lanes have put their share down.
    assert_eq!(transactions_of(fixture.whole.pool()).await.len(), 1);
    fixture.end().await;
}

#[tokio::test]
async fn what_the_database_refuses_in_one_lane_fails_that_lane_alone() {
    let fixture = Fixture::new().await;
    families(&fixture).await;
    let log = fixture.instance().with_statements_at_once(1);
    let mut commands: Vec<AppendCommand> = (0..LANES).map(next).collect();
    // A place in its stream that is taken: the unique key refuses it.
    commands[3].events[0].sequence = 1;
    let mut accepted = 0;
    for (lane, result) in (0..).zip(append_everywhere(&log, commands).await) {
        match result {
            Ok(verdicts) => {
                assert_eq!(ok(&verdicts[0]).last_family_seq, 3);
                accepted += 1;
            }
            Err(error) => {
                assert!(error.is_refused_by_database(), "{error:?}");
                assert_eq!(lane, 3, "the lane of the faulty command");
                assert_eq!(
                    fixture.whole.lane_head(Lane(lane)).await.unwrap(),
                    1,
                    "nothing of it is written"
                );
            }
        }
    }
    assert_eq!(accepted, 7);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_that_another_process_holds_waits_alone() {
    let fixture = Fixture::new().await;
    families(&fixture).await;
    let superuser = fixture.database.superuser().await;
    let mut stalled = superuser.begin().await.unwrap();
    let event = ("MemberAdded", "1", r#"{"type":"MemberAdded"}"#);
    assert_eq!(append_by_hand(&mut *stalled, family(99), 0, event).await, "ok");

    // Lane 0 is held. Whatever shares a statement with it, ten times over, goes through.
    let log = fixture.instance().with_statements_at_once(1);
    let waiting = tokio::spawn({
        let log = log.clone();
        async move { log.append(Lane(0), &[next(0)]).await }
    });
    for round in 0..10_i64 {
        let all = join_all((1..LANES).map(|lane| {
            let log = log.clone();
            async move {
                let batch = [command(family(lane.unsigned_abs().into()), 1 + round, 1)];
                log.append(Lane(lane), &batch).await
            }
        }));
        let all = tokio::time::timeout(Duration::from_secs(5), all)
            .await
            .expect("the other lanes go on");
        assert!(
            all.iter()
                .all(|verdicts| matches!(verdicts.as_ref().unwrap()[0], Verdict::Ok(_)))
        );
    }
    assert!(!waiting.is_finished(), "lane 0 is held");
    stalled.commit().await.unwrap();
    let appended = ok(&waiting.await.unwrap().unwrap()[0]);
    assert_eq!(appended.last_position, 4, "behind what was committed first");
    superuser.close().await;
    fixture.end().await;
}

#[tokio::test]
async fn a_kept_connection_that_was_ended_costs_one_repetition_and_nothing_else() {
    let fixture = Fixture::new().await;
    families(&fixture).await;
    let superuser = fixture.database.superuser().await;
    let ended: i64 = sqlx::query_scalar(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity \
         where datname = current_database() and pid <> pg_backend_pid()",
    )
    .fetch_one(&superuser)
    .await
    .unwrap();
    assert!(ended >= 1, "the log keeps a connection");
    let batch = [next(0)];
    let appended = ok(&fixture.log.append(Lane(0), &batch).await.unwrap()[0]);
    assert_eq!((appended.first_family_seq, appended.last_family_seq), (2, 3));
    assert_eq!(fixture.whole.lane_head(Lane(0)).await.unwrap(), 3);
    superuser.close().await;
    fixture.end().await;
}

#[tokio::test]
async fn a_caller_that_goes_away_has_appended_all_the_same() {
    let fixture = Fixture::new().await;
    families(&fixture).await;
    let batch = [next(0)];
    {
        let mut appending = Box::pin(fixture.log.append(Lane(0), &batch));
        // Polled once, so the share is put down; then dropped.
        assert!(futures::poll!(&mut appending).is_pending());
    }
    let repeated = fixture.log.append(Lane(0), &batch).await.unwrap();
    assert!(
        matches!(&repeated[0], Verdict::Duplicate(stored) if stored.last_family_seq == 3),
        "{repeated:?}"
    );
    assert_eq!(fixture.whole.lane_head(Lane(0)).await.unwrap(), 3);
    fixture.end().await;
}

#[tokio::test]
async fn nothing_is_appended_once_the_pool_is_closed() {
    let fixture = Fixture::new().await;
    families(&fixture).await;
    fixture.log.pool().close().await;
    let error = fixture.log.append(Lane(0), &[next(0)]).await.unwrap_err();
    assert!(error.is_unavailable(), "{error:?}");
    fixture.end().await;
}
