//! The invariant of the lanes: what is visible is final, whoever writes at the same time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use domain::{decide::Claim, family::FamilyRefusal, id::FamilyId};
use event_store::{Lane, Log, Verdict, verify::verify_family};

use crate::support::{Fixture, LANE, append_by_hand, command, family};

const WRITERS: u128 = 4;
const BATCHES: usize = 60;

/// Appends to the hot family and to its own in every batch; conflicts are decided again on the new head.
async fn write(log: Log, hot: FamilyId, own: FamilyId) -> (i64, i64) {
    let (mut hot_events, mut own_head) = (0, 0);
    for batch in 0..BATCHES {
        let hot_head = log.load(LANE, hot, &[]).await.unwrap().head.family_seq;
        // Between reading the head and appending others may be faster; sometimes that is made likely.
        if batch % 3 == 0 {
            tokio::task::yield_now().await;
        }
        let events = 1 + i64::try_from(batch % 3).unwrap();
        let commands = [
            command(hot, hot_head, events),
            command(own, own_head, 2),
            command(own, own_head + 2, 1),
        ];
        let verdicts = log.append(LANE, &commands).await.unwrap();
        match &verdicts[0] {
            Verdict::Ok(_) => hot_events += events,
            Verdict::Conflict => {}
            other => panic!("unexpected {other:?}"),
        }
        assert!(
            verdicts[1..].iter().all(|verdict| matches!(verdict, Verdict::Ok(_))),
            "{verdicts:?}"
        );
        own_head += 3;
    }
    (hot_events, own_head)
}

/// Follows the lane and insists on every position coming next.
async fn follow(log: Log, is_done: Arc<AtomicBool>) -> i64 {
    let mut after = 0;
    loop {
        let was_done = is_done.load(Ordering::SeqCst);
        let records = log.read_lane(LANE, after, 50).await.unwrap();
        for record in &records {
            assert_eq!(record.position, after + 1, "the reader met a hole");
            after = record.position;
        }
        if was_done && records.is_empty() {
            return after;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn four_writers_leave_no_hole_and_the_reader_never_sees_one() {
    let fixture = Fixture::new().await;
    let hot = fixture.family_of(0, 1).await;
    let is_done = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn(follow(fixture.whole.clone(), Arc::clone(&is_done)));
    let writers: Vec<_> = (1..=WRITERS)
        .map(|number| tokio::spawn(write(fixture.instance(), hot, family(number))))
        .collect();
    let (mut hot_events, mut own_events) = (1, 0);
    for writer in writers {
        let (hot, own) = writer.await.unwrap();
        hot_events += hot;
        own_events += own;
    }
    is_done.store(true, Ordering::SeqCst);
    assert_eq!(reader.await.unwrap(), hot_events + own_events);
    for number in 0..=WRITERS {
        let verified = verify_family(&fixture.log, LANE, family(number), |_| ()).await.unwrap();
        let expected = if number == 0 {
            hot_events
        } else {
            i64::try_from(BATCHES).unwrap() * 3
        };
        assert_eq!(verified.events, expected);
    }
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_writer_holds_up_its_lane_and_lets_no_reader_skip() {
    let fixture = Fixture::new().await;
    let id = fixture.family_of(1, 1).await;
    let superuser = fixture.database.superuser().await;
    // It has its numbers and the lane's lock, but does not commit.
    let mut stalled = superuser.begin().await.unwrap();
    let event = ("MemberAdded", "1", r#"{"type":"MemberAdded"}"#);
    assert_eq!(append_by_hand(&mut *stalled, family(2), 0, event).await, "ok");

    let log = fixture.log.clone();
    let mut waiting = tokio::spawn(async move { log.append(LANE, &[command(id, 1, 1)]).await });
    let early = tokio::time::timeout(Duration::from_millis(300), &mut waiting).await;
    assert!(early.is_err(), "the second writer did not wait");
    assert_eq!(fixture.whole.read_lane(LANE, 1, 10).await.unwrap(), []);
    // Other lanes go on.
    let other = fixture.log.append(Lane(1), &[command(family(3), 0, 1)]).await.unwrap();
    assert!(matches!(other[0], Verdict::Ok(_)));

    stalled.commit().await.unwrap();
    assert!(matches!(waiting.await.unwrap().unwrap()[0], Verdict::Ok(_)));
    let records = fixture.whole.read_lane(LANE, 1, 10).await.unwrap();
    let seen: Vec<_> = records
        .iter()
        .map(|record| (record.position, record.family_id))
        .collect();
    assert_eq!(seen, [(2, family(2)), (3, id)]);
    assert!(records[0].recorded_at <= records[1].recorded_at);
    superuser.close().await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_gives_up_leaves_no_hole() {
    let fixture = Fixture::new().await;
    let id = fixture.family_of(1, 1).await;
    let superuser = fixture.database.superuser().await;
    let mut stalled = superuser.begin().await.unwrap();
    let event = ("MemberAdded", "1", r#"{"type":"MemberAdded"}"#);
    append_by_hand(&mut *stalled, family(2), 0, event).await;
    stalled.rollback().await.unwrap();
    fixture.append(command(id, 1, 1)).await;
    let positions: Vec<_> = fixture
        .whole
        .read_lane(LANE, 0, 10)
        .await
        .unwrap()
        .iter()
        .map(|r| r.position)
        .collect();
    assert_eq!(positions, [1, 2]);
    superuser.close().await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_that_claim_the_same_value_one_gets_it() {
    let fixture = Fixture::new().await;
    let id = fixture.family_of(1, 1).await;
    let claimant = |log: Log| async move {
        loop {
            let head = log.load(LANE, id, &[]).await.unwrap().head.family_seq;
            let mut command = command(id, head, 1);
            let taken = FamilyRefusal::UnknownFamily.into();
            command.claims = vec![Claim {
                scope: "account-name",
                value: "giro".to_owned(),
                taken,
            }];
            match log.append(LANE, &[command]).await.unwrap().remove(0) {
                Verdict::Conflict => {}
                verdict => return verdict,
            }
        }
    };
    let claimants: Vec<_> = (0..8).map(|_| tokio::spawn(claimant(fixture.instance()))).collect();
    let mut winners = 0;
    for claimant in claimants {
        match claimant.await.unwrap() {
            Verdict::Ok(_) => winners += 1,
            verdict => assert_eq!(
                verdict,
                Verdict::ClaimTaken {
                    scope: "account-name".to_owned()
                }
            ),
        }
    }
    assert_eq!(winners, 1);
    fixture.end().await;
}
