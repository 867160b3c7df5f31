//! Tokens whose key a process does not know yet.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    http::{HeaderMap, StatusCode, header},
    response::IntoResponse,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures::future::join_all;
use serde_json::json;
use service_kit::{
    auth::{TOKEN_TYPE, TokenVerifier},
    database::DatabaseRole,
    problem::Problem,
    testing::{TestDatabase, statements::Wire},
};

use super::{Answer, App, PASSWORD, json_request, quick};
use command_api::identity::{Secret, rotate_signing_key};

fn bearer(token: &str) -> HeaderMap {
    let value = format!("Bearer {token}").parse().unwrap();
    HeaderMap::from_iter([(header::AUTHORIZATION, value)])
}

/// A token of our form under a key that nobody made.
fn of_a_made_up_key(token: &str, kid: usize) -> String {
    let header = json!({"typ": TOKEN_TYPE, "alg": "EdDSA", "kid": format!("made up {kid}")}).to_string();
    let (_, rest) = token.split_once('.').unwrap();
    format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header))
}

#[tokio::test]
async fn a_process_that_was_there_before_the_first_key_takes_its_first_token() {
    let database = TestDatabase::create().await;
    let elsewhere = TokenVerifier::load(&database.pool(DatabaseRole::Reader).await)
        .await
        .unwrap();
    let app = App::on(database, &quick(), [7; 32]).await;
    let registered = app.register("ada@example.org").await;
    let token = registered["access_token"].as_str().unwrap();
    // Nobody polls here: the request itself has the key read.
    assert!(elsewhere.verify(token).is_err());
    let signed_in = elsewhere.signed_in(&bearer(token)).await.unwrap();
    assert_eq!(signed_in.user_id.to_string(), registered["user_id"].as_str().unwrap());
    app.end().await;
}

#[tokio::test]
async fn what_owns_lanes_for_good_keeps_no_key_from_being_made() {
    let database = TestDatabase::create().await;
    let everything = database.superuser().await;
    let mut owner = everything.acquire().await.unwrap();
    // A relay, a sealer, projectors, and whoever looks after the topic, on every lane.
    for class in [4712, 4713, 4714, 4716] {
        for lane in 0..8 {
            sqlx::query("select pg_advisory_lock($1, $2)")
                .bind(class)
                .bind(lane)
                .execute(&mut *owner)
                .await
                .unwrap();
        }
    }
    let app = App::on(database, &quick(), [7; 32]).await;
    app.register("ada@example.org").await;
    drop(owner);
    app.end().await;
}

#[tokio::test]
async fn tokens_of_made_up_keys_are_refused_and_share_their_looks() {
    let app = App::start().await;
    let registered = app.register("ada@example.org").await;
    let token = registered["access_token"].as_str().unwrap();
    let wire = Wire::to(&app.database).await;
    let pool = service_kit::database::connect(wire.url(), DatabaseRole::Reader, 4)
        .await
        .unwrap();
    let elsewhere = TokenVerifier::load(&pool).await.unwrap();
    wire.take();
    let tokens: Vec<String> = (0..100).map(|kid| of_a_made_up_key(token, kid)).collect();
    let headers: Vec<HeaderMap> = tokens.iter().map(|token| bearer(token)).collect();
    let refused = join_all(headers.iter().map(|headers| elsewhere.signed_in(headers))).await;
    assert!(refused.iter().all(|refused| {
        let status = refused.as_ref().map_err(Problem::status);
        status == Err(StatusCode::UNAUTHORIZED)
    }));
    let looks = wire
        .take_statements()
        .iter()
        .filter(|statement| statement.contains("identity.public_keys"))
        .count();
    assert!((1..=2).contains(&looks), "{looks} looks for 100 tokens");
    assert!(elsewhere.signed_in(&bearer(token)).await.is_ok());
    app.end().await;
}

#[tokio::test]
async fn while_keys_cannot_be_read_a_token_of_an_unknown_one_is_put_off_and_others_count() {
    let database = TestDatabase::create().await;
    let pool = database.pool(DatabaseRole::Reader).await;
    let early = TokenVerifier::load(&pool).await.unwrap();
    let app = App::on(database, &quick(), [7; 32]).await;
    let registered = app.register("ada@example.org").await;
    let token = registered["access_token"].as_str().unwrap();
    let late = TokenVerifier::load(&pool).await.unwrap();
    // Away, and then not even refusing: the connections of the pool are all lent out and never come back.
    let mut lent = Vec::new();
    for _ in 0..10 {
        lent.push(pool.acquire().await.unwrap());
    }
    for verifier in [&early, &late] {
        let began = Instant::now();
        let put_off = verifier.signed_in(&bearer(&of_a_made_up_key(token, 0))).await;
        let response = put_off.unwrap_err().into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
        assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    }
    assert!(late.signed_in(&bearer(token)).await.is_ok());
    drop(lent);
    assert!(early.signed_in(&bearer(token)).await.is_ok());
    app.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_under_load_fails_no_request_and_signs_nobody_out() {
    let app = App::start().await;
    let early = app.register("ada@example.org").await["access_token"].clone();
    let elsewhere = TokenVerifier::load(&app.database.pool(DatabaseRole::Reader).await)
        .await
        .unwrap();
    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    // Two processes: one that was there before, and one that comes with the new key.
    let mut clients = Vec::new();
    let mut load = |process: axum::Router, other: axum::Router| {
        for number in 0..2 {
            let (process, other, elsewhere) = (process.clone(), other.clone(), Arc::clone(&elsewhere));
            let (stop, asked) = (Arc::clone(&stop), Arc::clone(&asked));
            clients.push(tokio::spawn(async move {
                use tower::ServiceExt;
                let send =
                    async |to: &axum::Router, request| Answer::read(to.clone().oneshot(request).await.unwrap()).await;
                let email = format!("{}-{number}@example.org", uuid::Uuid::new_v4());
                let body = json!({"email": email, "password": PASSWORD, "display_name": "Ada"});
                let registered = send(&process, json_request("/api/v1/auth/register", &body, &[])).await;
                assert_eq!(registered.status, StatusCode::CREATED, "{registered:?}");
                let mut tokens = registered.body;
                while !stop.load(Ordering::SeqCst) {
                    let body = json!({"refresh_token": tokens["refresh_token"]});
                    let fresh = send(&process, json_request("/api/v1/auth/refresh", &body, &[])).await;
                    assert_eq!(fresh.status, StatusCode::OK, "{fresh:?}");
                    tokens = fresh.body;
                    let token = tokens["access_token"].as_str().unwrap();
                    for to in [&process, &other] {
                        let request = axum::http::Request::get("/api/v1/auth/profile")
                            .header(header::AUTHORIZATION, format!("Bearer {token}"))
                            .body(axum::body::Body::empty())
                            .unwrap();
                        let profile = send(to, request).await;
                        assert_eq!(profile.status, StatusCode::OK, "{profile:?}");
                    }
                    let verified = elsewhere.signed_in(&bearer(token)).await;
                    assert!(verified.is_ok(), "{:?}", verified.err());
                    asked.fetch_add(4, Ordering::SeqCst);
                }
            }));
        }
    };
    let until = async |count: usize| {
        let began = Instant::now();
        while asked.load(Ordering::SeqCst) < count {
            assert!(began.elapsed() < Duration::from_secs(120), "the load stands still");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    load(app.router.clone(), app.router.clone());
    until(100).await;
    let pool = app.database.pool(DatabaseRole::Identity).await;
    let next = rotate_signing_key(pool.clone(), &Secret::new([7; 32])).await.unwrap();
    let again = rotate_signing_key(pool, &Secret::new([7; 32])).await.unwrap();
    assert_eq!(next.kid, again.kid, "one that waits is the next one already");
    until(asked.load(Ordering::SeqCst) + 100).await;
    // Ten minutes later it signs; what was started meanwhile has read it.
    let database = app.database.superuser().await;
    sqlx::query(
        "update identity.signing_keys
         set signs_from = clock_timestamp() - case when kid = $1 then interval '10 seconds' else interval '1 hour' end",
    )
    .bind(&next.kid)
    .execute(&database)
    .await
    .unwrap();
    let late = app.another_process().await;
    load(late.clone(), app.router.clone());
    until(asked.load(Ordering::SeqCst) + 200).await;
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        client.await.unwrap();
    }
    let body = json!({"email": "ada@example.org", "password": PASSWORD});
    let signed_in = {
        use tower::ServiceExt;
        Answer::read(
            late.oneshot(json_request("/api/v1/auth/login", &body, &[]))
                .await
                .unwrap(),
        )
        .await
    };
    let header = jsonwebtoken::decode_header(signed_in.body["access_token"].as_str().unwrap()).unwrap();
    assert_eq!(header.kid.as_deref(), Some(next.kid.as_str()));
    assert!(app.is_signed_in(&signed_in.body["access_token"]).await);
    assert!(app.is_signed_in(&early).await, "who signed in before stays signed in");
    app.end().await;
}
