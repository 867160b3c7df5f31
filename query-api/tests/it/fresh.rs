//! Looks are shared, and no answer is older for it: what was committed before a request arrived, its answer knows.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use axum::http::StatusCode;
use query_api::cache::MemoryCache;
use tokio::{task::JoinSet, time::timeout};

use crate::home::*;

/// A home that keeps answers, which every request could be given too late.
async fn keeping() -> Arc<Home> {
    let home = Home::with(|mut state| {
        state.cache = Arc::new(MemoryCache::default());
        state
    });
    Arc::new(home.await)
}

async fn done(home: Arc<Home>) {
    Arc::into_inner(home).expect("nobody else has it").database.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_answer_holds_what_was_committed_before_it_was_asked_for() {
    const QUESTIONS: i64 = 600;
    let home = keeping().await;
    let (committed, asked) = (Arc::new(AtomicI64::new(100)), Arc::new(AtomicI64::new(0)));
    let mut readers = JoinSet::new();
    for reader in 0..16 {
        let (home, committed, asked) = (Arc::clone(&home), Arc::clone(&committed), Arc::clone(&asked));
        readers.spawn(async move {
            let user = [PARENT, PARTNER, CHILD, AUDITOR][reader % 4];
            while asked.fetch_add(1, Ordering::SeqCst) < QUESTIONS {
                let before = committed.load(Ordering::SeqCst);
                let answer = home.view(user, "categories").await;
                let said = answer["family_seq"].as_i64().expect("a number");
                assert!(said >= before, "{said} after {before} was committed");
            }
        });
    }
    let mut heads = 0;
    while asked.load(Ordering::SeqCst) < QUESTIONS {
        heads += 1;
        home.head(100 + heads).await;
        committed.store(100 + heads, Ordering::SeqCst);
    }
    while let Some(done) = readers.join_next().await {
        done.expect("no answer is older than its question");
    }
    assert!(heads > 10, "the rows moved on {heads} times only");
    done(home).await;
}

/// Waits until a look stands before a lock.
async fn until_a_look_waits(home: &Home) {
    // What others are asking is shown to the superuser alone.
    let everything = home.database.superuser().await;
    let waits = async {
        let waiting = "select exists (select from pg_stat_activity
            where datname = current_database() and wait_event_type = 'Lock' and query like '%generations.places%')";
        while !sqlx::query_scalar::<_, bool>(waiting)
            .fetch_one(&everything)
            .await
            .expect("an answer")
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(10), waits).await.expect("a look waits");
}

#[tokio::test]
async fn nobody_joins_a_look_that_is_under_way() {
    let home = keeping().await;
    home.view(TEEN, "members").await;
    let ask = |user| {
        let home = Arc::clone(&home);
        tokio::spawn(async move { home.try_view(user, "budgets").await.0 })
    };
    // The first look has begun, with its snapshot, and stands before a lock.
    let mut lock = home.rows.begin().await.expect("a transaction");
    sqlx::query("lock table views.families in access exclusive mode")
        .execute(&mut *lock)
        .await
        .expect("a lock");
    let first = ask(PARENT);
    until_a_look_waits(&home).await;
    // Now somebody's role changes, and both are asked for again: by whoever asks from now on the change is known.
    home.run(&format!(
        "update views.members set role = 'child' where user_id = '{}'",
        uuid(PARENT)
    ))
    .await;
    home.run(&format!(
        "delete from views.members where user_id = '{}'",
        uuid(PARTNER)
    ))
    .await;
    let (second, gone) = (ask(PARENT), ask(PARTNER));
    tokio::task::yield_now().await;
    lock.rollback().await.expect("the lock is given up");
    first.await.expect("an answer of then or of now");
    assert_eq!(second.await.expect("an answer"), StatusCode::FORBIDDEN);
    assert_eq!(gone.await.expect("an answer"), StatusCode::NOT_FOUND);
    done(home).await;
}

#[tokio::test]
async fn a_connection_that_broke_while_idle_costs_one_repetition_and_nothing_else() {
    let home = keeping().await;
    for _ in 0..3 {
        home.view(PARENT, "categories").await;
        let ended: i64 = sqlx::query_scalar(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity
            where datname = current_database() and application_name = 'kinledger_reader'",
        )
        .fetch_one(&home.database.superuser().await)
        .await
        .expect("an answer");
        assert!(ended >= 1);
    }
    home.view(PARENT, "categories").await;
    done(home).await;
}

#[tokio::test]
async fn clients_that_go_away_take_nobodys_answer_along() {
    let home = keeping().await;
    home.view(PARENT, "categories").await;
    let mut questions = JoinSet::new();
    for number in 0..200 {
        let home = Arc::clone(&home);
        questions.spawn(async move {
            let view = home.try_view(PARENT, "categories");
            if number % 2 == 0 {
                drop(timeout(Duration::from_micros(200), view).await);
                return None;
            }
            Some(timeout(Duration::from_secs(20), view).await.expect("an answer").0)
        });
    }
    let answers: Vec<_> = questions.join_all().await.into_iter().flatten().collect();
    assert_eq!(answers, [StatusCode::OK; 100]);
    done(home).await;
}
