//! What bounds a past view, and what a client sees of it: the longest history, replays at once, the longest time, and a client
//! that goes away.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{Response, StatusCode, header},
};
use domain::id::{FamilyId, UserId};
use replay_api::ReplayLimits;
use serde_json::{Value, json};
use service_kit::testing::{TestDatabase, statements::Wire};
use sqlx::{PgPool, Postgres, Transaction};
use tokio::{io::AsyncWriteExt, net::TcpStream};
use uuid::Uuid;

use super::{stack::Stack, streams::long_history};

/// A condition that has to come true soon.
const SOON: Duration = Duration::from_secs(30);
/// Transactions that are open beside the one that asks.
const OPEN: &str = "select count(*) from pg_stat_activity where datname = current_database() \
     and backend_type = 'client backend' and pid <> pg_backend_pid() and xact_start is not null";
/// Sessions that wait for a lock on a table.
const HELD: &str = "select count(*) from pg_locks where locktype = 'relation' and not granted \
     and database = (select oid from pg_database where datname = current_database())";

/// A problem, once form and media type are checked.
async fn problem(answer: Response<Body>) -> (StatusCode, Value) {
    assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/problem+json");
    let status = answer.status();
    let body = axum::body::to_bytes(answer.into_body(), 1 << 16).await.unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["status"], status.as_u16());
    assert!(!body["detail"].as_str().unwrap().is_empty());
    (status, body)
}

/// A family of some events.
async fn founded(stack: &Stack) -> (FamilyId, UserId, i64) {
    let (family, parent) = (FamilyId::from_uuid(Uuid::new_v4()), UserId::from_uuid(Uuid::new_v4()));
    let created = json!({"name": "Short", "currency": "EUR"});
    stack.command(family, parent, "create-family", &created).await.unwrap();
    for name in ["Giro", "Purse"] {
        let opened = json!({"name": name, "kind": "cash"});
        stack.command(family, parent, "open-account", &opened).await.unwrap();
    }
    let lane = stack.api.lane_of(family).await.unwrap().unwrap();
    let head = stack.api.log().read_family(lane, family, 0, 1_000).await.unwrap().len();
    (family, parent, i64::try_from(head).unwrap())
}

/// Stops every replay where it makes its tables, after who asks has been looked up, until it is dropped.
async fn hold_replays(superuser: &PgPool) -> Transaction<'static, Postgres> {
    let mut held = superuser.begin().await.unwrap();
    let lock = "lock table views.entries in access exclusive mode";
    sqlx::query(lock).execute(&mut *held).await.unwrap();
    held
}

/// Waits until a count is what it should be.
async fn until(superuser: &PgPool, statement: &str, wanted: i64) {
    let waits = async {
        while sqlx::query_scalar::<_, i64>(statement)
            .fetch_one(superuser)
            .await
            .unwrap()
            != wanted
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let came = tokio::time::timeout(SOON, waits).await;
    came.unwrap_or_else(|_| panic!("never {wanted}: {statement}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_longer_than_may_be_replayed_is_refused_and_an_earlier_moment_of_it_is_not() {
    let limits = ReplayLimits {
        events_max: 4,
        ..ReplayLimits::default()
    };
    let database = TestDatabase::create().await;
    let url = database.url();
    let stack = Stack::start_on(database, &url, limits).await;
    let (family, parent, head) = founded(&stack).await;
    assert!(head > 5, "{head} events");
    let ask = async |query: &str| {
        let path = format!("/api/v1/families/{family}/as-of/accounts{query}");
        stack.send(parent, &path).await
    };
    // Neither by number nor by instant nor without a bound, for which the head counts.
    for query in ["?family_seq=5", "?recorded_at=2999-01-01T00:00:00Z", ""] {
        let (status, body) = problem(ask(query).await).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{query}: {body}");
        assert_eq!(body["type"], "/problems/replay-too-long", "{query}");
        assert_eq!(body["events_max"], 4, "{query}");
        assert!(body["detail"].as_str().unwrap().contains("kinledger audit replay"));
    }
    let most = ask("?family_seq=4").await;
    assert_eq!(most.status(), StatusCode::OK, "as many as may be");
    // Beyond the end is another mistake, however long the history is.
    let (status, body) = problem(ask(&format!("?family_seq={}", head + 1)).await).await;
    assert_eq!((status, &body["family_seq"]), (StatusCode::BAD_REQUEST, &json!(head)));
    stack.database.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_too_many_replays_at_once_the_last_is_told_when_to_come_again() {
    let limits = ReplayLimits {
        at_once: 2,
        ..ReplayLimits::default()
    };
    let database = TestDatabase::create().await;
    let url = database.url();
    let stack = Arc::new(Stack::start_on(database, &url, limits).await);
    let superuser = stack.database.superuser().await;
    let (family, parent, _) = founded(&stack).await;
    let path = format!("/api/v1/families/{family}/as-of/accounts");
    let held = hold_replays(&superuser).await;
    let under_way: Vec<_> = (0..2)
        .map(|_| {
            let (stack, path) = (Arc::clone(&stack), path.clone());
            tokio::spawn(async move { stack.send(parent, &path).await.status() })
        })
        .collect();
    until(&superuser, HELD, 2).await;
    for view in ["accounts", "dashboard"] {
        let path = format!("/api/v1/families/{family}/as-of/{view}");
        let answer = stack.send(parent, &path).await;
        assert_eq!(answer.headers()[header::RETRY_AFTER], "5");
        let (status, body) = problem(answer).await;
        assert_eq!(status, StatusCode::TOO_MANY_REQUESTS, "{body}");
        assert_eq!(body["type"], "/problems/too-fast");
    }
    // A stranger learns nothing of it.
    let (status, _) = problem(stack.send(UserId::from_uuid(Uuid::new_v4()), &path).await).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    held.rollback().await.unwrap();
    for one in under_way {
        assert_eq!(one.await.unwrap(), StatusCode::OK, "those that were first are answered");
    }
    assert_eq!(stack.send(parent, &path).await.status(), StatusCode::OK);
    superuser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_takes_too_long_is_ended_and_leaves_room_for_the_next() {
    let limits = ReplayLimits {
        at_once: 1,
        patience: Duration::from_millis(300),
        ..ReplayLimits::default()
    };
    let database = TestDatabase::create().await;
    let url = database.url();
    let stack = Stack::start_on(database, &url, limits).await;
    let superuser = stack.database.superuser().await;
    let (family, parent, _) = founded(&stack).await;
    let path = format!("/api/v1/families/{family}/as-of/accounts");
    let held = hold_replays(&superuser).await;
    // One at a time, and each of them ends: the second is not turned away.
    for _ in 0..2 {
        let answer = tokio::time::timeout(SOON, stack.send(parent, &path)).await.unwrap();
        assert_eq!(answer.headers()[header::RETRY_AFTER], "5");
        let (status, body) = problem(answer).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
        assert_eq!(body["type"], "/problems/unavailable");
    }
    held.rollback().await.unwrap();
    until(&superuser, OPEN, 0).await;
    superuser.close().await;
    stack.database.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_takes_its_replay_with_it() {
    let database = TestDatabase::create().await;
    let wire = Wire::to(&database).await;
    let stack = Stack::start_on(database, wire.url(), ReplayLimits::default()).await;
    let superuser = stack.database.superuser().await;
    let (family, parent) = long_history(&stack).await;
    let pages = || {
        let statements = wire.take_statements();
        let is_page = |text: &&String| text.contains("e.family_seq > $3");
        statements.iter().filter(is_page).count()
    };
    let address = stack.listen().await;
    pages();
    let mut client = TcpStream::connect(address).await.unwrap();
    let token = stack.token(parent);
    let request = format!(
        "GET /api/v1/families/{family}/as-of/entries HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\r\n"
    );
    client.write_all(request.as_bytes()).await.unwrap();
    let mut read = 0;
    let begun = async {
        while read == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
            read += pages();
        }
    };
    tokio::time::timeout(SOON, begun).await.unwrap();
    drop(client);
    // What the database does just then comes to its end; the transaction is rolled back, and nothing more is read.
    until(&superuser, OPEN, 0).await;
    read += pages();
    assert!((1..=4).contains(&read), "{read} pages were read, of nine");
    superuser.close().await;
    stack.database.drop().await;
}
