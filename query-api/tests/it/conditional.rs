//! ETags, the wait for one's own write, and the cache.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::http::StatusCode;
use tokio::sync::Notify;

use crate::home::*;

fn path(view: &str) -> String {
    format!("/api/v1/families/{}/{view}", uuid(FAMILY))
}

#[tokio::test]
async fn an_etag_changes_with_rows_viewer_and_parameters() {
    let home = Home::new().await;
    let tag = async |user, view: &str| {
        let (status, headers, _) = home.ask(user, &path(view), None).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(headers["cache-control"], "no-store");
        headers["etag"].to_str().expect("text").to_owned()
    };
    let first = tag(PARENT, "entries").await;
    assert_eq!(tag(PARENT, "entries").await, first);
    assert_eq!(tag(PARENT, "entries?min_family_seq=5").await, first);
    assert_ne!(tag(PARENT, "entries?limit=5").await, first);
    assert_ne!(tag(PARTNER, "entries").await, first);
    assert_ne!(tag(PARENT, "accounts").await, first);
    let (status, headers, body) = home
        .ask(PARENT, &path("entries"), Some(&format!("\"x\", W/{first}")))
        .await;
    assert_eq!((status, body), (StatusCode::NOT_MODIFIED, serde_json::Value::Null));
    assert_eq!(headers["etag"], first.as_str());
    home.head(101).await;
    assert_eq!(home.ask(PARENT, &path("entries"), Some(&first)).await.0, StatusCode::OK);
    // A held answer opens no door: a stranger gets the same as ever.
    assert_eq!(
        home.ask(STRANGER, &path("entries"), Some("*")).await.0,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        home.ask(CHILD, &path("budgets"), Some("*")).await.0,
        StatusCode::FORBIDDEN
    );
    home.database.drop().await;
}

#[tokio::test]
async fn a_write_that_is_not_there_yet_is_waited_for_and_then_202() {
    let home = Home::new().await;
    let started = Instant::now();
    let (status, headers, body) = home.ask(PARENT, &path("accounts?min_family_seq=101"), None).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    assert_eq!(
        (&body["family_seq"], &body["retry_after_ms"]),
        (&100.into(), &250.into())
    );
    assert_eq!(headers["retry-after"], "1");
    let waited = started.elapsed();
    assert!(
        waited >= Duration::from_secs(2) && waited < Duration::from_secs(4),
        "{waited:?}"
    );
    assert_eq!(
        home.ask(PARENT, &path("accounts?min_family_seq=100"), None).await.0,
        StatusCode::OK
    );
    home.database.drop().await;
}

#[tokio::test]
async fn a_write_that_arrives_meanwhile_is_answered_at_once() {
    for bell in [None, Some(Arc::new(Notify::new()))] {
        let home = Home::with(|mut state| {
            state.rows_changed = bell.clone();
            state
        })
        .await;
        let url = path("accounts?min_family_seq=101");
        let started = Instant::now();
        let asked = home.ask(PARENT, &url, None);
        let written = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            home.head(101).await;
            if let Some(bell) = &bell {
                bell.notify_waiters();
            }
        };
        let ((status, _, body), ()) = tokio::join!(asked, written);
        assert_eq!((status, &body["family_seq"]), (StatusCode::OK, &101.into()));
        assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
        home.database.drop().await;
    }
}

#[tokio::test]
async fn a_stranger_waits_as_long_as_for_a_family_that_does_not_exist() {
    let home = Home::new().await;
    let of = |family: u128| format!("/api/v1/families/{}/accounts?min_family_seq=1", uuid(family));
    let (urls, started) = ([of(FAMILY), of(0xDEAD)], Instant::now());
    let (known, unknown) = tokio::join!(home.ask(STRANGER, &urls[0], None), home.ask(STRANGER, &urls[1], None));
    assert_eq!((known.0, &known.2), (StatusCode::NOT_FOUND, &unknown.2));
    assert!(started.elapsed() >= Duration::from_secs(2));
    home.database.drop().await;
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_503() {
    let home = Home::new().await;
    let mut lock = home.rows.begin().await.expect("a transaction");
    sqlx::query("lock table views.members in access exclusive mode")
        .execute(&mut *lock)
        .await
        .expect("a lock");
    let (status, headers, body) = home.ask(PARENT, &path("accounts"), None).await;
    assert_eq!(
        (status, body["type"].as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, Some("/problems/unavailable"))
    );
    assert!(headers.contains_key("retry-after"));
    drop(lock);
    home.database.drop().await;
}
