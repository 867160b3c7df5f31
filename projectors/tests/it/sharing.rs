//! Several processes of one group: each lane has one, shares differ by one at most, and what leaves is taken over.

use std::{sync::Arc, time::Duration};

use event_store::{
    Lane, Log,
    feed::{Feed, PostgresFeed},
};
use projectors::{Progress, Settings, leases};
use rand::{Rng, SeedableRng, rngs::StdRng};
use service_kit::{database::DatabaseRole, shutdown};
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::Instant,
};

use crate::{given::*, ledger::*};

const LANES: i16 = 8;

/// One process's projectors.
struct Member {
    progress: Progress,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Member {
    async fn join(ledger: &Ledger) -> Self {
        let pool = ledger.database.pool(DatabaseRole::Projector).await;
        let log = Log::new(pool.clone(), [7; 32]);
        let feed = || Box::new(PostgresFeed::new(log.clone())) as Box<dyn Feed>;
        let progress = Progress::new();
        let (stop, watcher) = shutdown::channel();
        let settings = Settings {
            pool,
            log: log.clone(),
            feeds: (0..LANES).map(|lane| (Lane(lane), feed())).collect(),
            rows_changed: Arc::new(Notify::new()),
            progress: progress.clone(),
        };
        let task = tokio::spawn(projectors::run_shared(settings, watcher));
        Self { progress, stop, task }
    }

    fn lanes(&self) -> Vec<i16> {
        self.progress.positions().into_keys().collect()
    }

    async fn leave(self) {
        self.stop.send(true).expect("it listens");
        self.task.await.expect("it ends");
    }

    /// As with kill -9: nothing is said to anybody.
    async fn die(self) {
        self.task.abort();
        drop(self.task.await);
    }
}

/// Waits until every lane has one process and shares differ by one at most; says how long it took.
async fn are_shared(members: &[Member]) -> Duration {
    let began = Instant::now();
    let shared = async {
        loop {
            let mut all: Vec<i16> = members.iter().flat_map(Member::lanes).collect();
            all.sort_unstable();
            let shares: Vec<usize> = members.iter().map(|member| member.lanes().len()).collect();
            let (least, most) = (shares.iter().min(), shares.iter().max());
            let is_even = most.zip(least).is_some_and(|(most, least)| most - least <= 1);
            if is_even && all == (0..LANES).collect::<Vec<_>>() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(15), shared).await;
    let lanes: Vec<_> = members.iter().map(Member::lanes).collect();
    assert!(in_time.is_ok(), "{lanes:?}");
    began.elapsed()
}

#[tokio::test]
async fn lanes_are_shared_evenly_whoever_comes_leaves_or_dies() {
    let seed: u64 = std::env::var("KINLEDGER_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(rand::random);
    println!("KINLEDGER_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut ledger = Ledger::new().await;
    let f = family(1);
    ledger.append(f, founding(f)).await;
    let mut members = vec![Member::join(&ledger).await];
    are_shared(&members).await;
    let mut slowest = Duration::ZERO;
    for number in 1..=8 {
        ledger.append(f, vec![income(f, number, "1.00", day(1, 1))]).await;
        match random.random_range(0..3) {
            0 if members.len() > 1 => members.swap_remove(random.random_range(0..members.len())).leave().await,
            1 if members.len() > 1 => members.swap_remove(random.random_range(0..members.len())).die().await,
            _ if members.len() < 3 => members.push(Member::join(&ledger).await),
            _ => members.swap_remove(0).leave().await,
        }
        slowest = slowest.max(are_shared(&members).await);
    }
    println!("the lanes were shared again after {slowest:?} at most");
    // 11 events found the family.
    let folded = async {
        while ledger.value("select family_seq from views.family_heads").await != "19" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), folded)
        .await
        .expect("the rows catch up");
    assert_eq!(ledger.value("select sum(balance) from views.accounts").await, "8.0000");
    assert_eq!(ledger.value("select count(*) from views.parked_families").await, "0");
    for member in members {
        assert_eq!(member.progress.check(), Ok(()));
        member.leave().await;
    }
    assert_eq!(
        ledger.value("select count(*) from leases.lanes").await,
        "0",
        "handed over at once"
    );
    let live = ledger.dump().await;
    projectors::reset(&ledger.views).await.expect("the views are emptied");
    ledger.project(5_000).await;
    assert_eq!(ledger.dump().await, live);
    ledger.database.drop().await;
}

#[tokio::test]
async fn a_process_that_is_not_heard_of_loses_its_lanes_by_the_clock_of_the_database() {
    let ledger = Ledger::new().await;
    // Its connection stays open, so that only the time tells.
    let mut stalled = ledger.views.acquire().await.expect("a connection").detach();
    let beat = "select count(*)
        from leases.beat($1, $2, gen_random_uuid(), array[0,1,2,3,4,5,6,7]::smallint[], '{}', make_interval(secs => $3))";
    let held: i64 = sqlx::query_scalar(beat)
        .bind(projectors::GROUP)
        .bind(projectors::VERSION)
        .bind(leases::TTL.as_secs_f64())
        .fetch_one(&mut stalled)
        .await
        .expect("a beat");
    assert_eq!(held, i64::from(LANES));
    let began = Instant::now();
    let other = Member::join(&ledger).await;
    let members = [other];
    are_shared(&members).await;
    let took = began.elapsed();
    assert!(
        took >= leases::TTL / 2,
        "taken from a process that had just been heard of: {took:?}"
    );
    assert!(took <= leases::TTL * 2, "a stalled process kept its lanes for {took:?}");
    for member in members {
        member.leave().await;
    }
    drop(stalled);
    ledger.database.drop().await;
}
