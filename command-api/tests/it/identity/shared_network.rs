//! Many people behind one network address, some of them not to be trusted.

use std::net::SocketAddr;

use axum::{
    body::Body,
    extract::ConnectInfo,
    http::{Request, StatusCode},
};
use command_api::identity::IdentityConfig;
use futures::future::{join, join_all};
use serde_json::{Value, json};
use service_kit::testing::TestDatabase;

use super::{Answer, App, PASSWORD, json_request, quick};

/// Everybody's here: at home, at school.
const SHARED: &str = "192.0.2.1";
const ELSEWHERE: &str = "198.51.100.7";

fn at(address: &str, mut request: Request<Body>) -> Request<Body> {
    let address: SocketAddr = format!("{address}:40000").parse().unwrap();
    request.extensions_mut().insert(ConnectInfo(address));
    request
}

async fn sign_in(app: &App, address: &str, device: Option<&Value>, email: &str, password: &str) -> Answer {
    let headers: Vec<(&str, &str)> = device
        .iter()
        .map(|device| ("kinledger-device", device.as_str().unwrap()))
        .collect();
    let body = json!({"email": email, "password": password});
    app.send(at(address, json_request("/api/v1/auth/login", &body, &headers)))
        .await
}

async fn register(app: &App, address: &str, email: &str) -> Answer {
    let body = json!({"email": email, "password": PASSWORD, "display_name": "Ada"});
    app.send(at(address, json_request("/api/v1/auth/register", &body, &[])))
        .await
}

fn with_status(answers: &[Answer], status: StatusCode) -> usize {
    answers.iter().filter(|answer| answer.status == status).count()
}

/// One hash at a time, so that whoever has one waits for it.
async fn slow() -> App {
    let config = IdentityConfig {
        password_hashes_at_once: Some(1),
        password_queue_max: 32,
        ..quick()
    };
    App::on(TestDatabase::create().await, &config, [7; 32]).await
}

#[tokio::test]
async fn an_address_that_registers_without_end_starves_nobody() {
    let app = slow().await;
    let owner = register(&app, SHARED, "ada@example.org").await.body;
    let flood = join_all((0..60).map(|number| {
        let app = &app;
        async move { register(app, SHARED, &format!("nobody{number}@example.org")).await }
    }));
    let others = join(
        sign_in(&app, ELSEWHERE, None, "ada@example.org", PASSWORD),
        sign_in(&app, SHARED, Some(&owner["device_token"]), "ada@example.org", PASSWORD),
    );
    let (flood, (elsewhere, device)) = join(flood, others).await;
    assert_eq!(with_status(&flood, StatusCode::CREATED), 4, "{flood:?}");
    assert_eq!(with_status(&flood, StatusCode::TOO_MANY_REQUESTS), 56);
    assert!(
        flood
            .iter()
            .all(|answer| answer.status == StatusCode::CREATED || answer.retry_after_s == Some(1))
    );
    assert_eq!(elsewhere.status, StatusCode::OK, "{elsewhere:?}");
    assert_eq!(device.status, StatusCode::OK, "{device:?}");
    app.end().await;
}

#[tokio::test]
async fn an_address_that_guesses_without_end_starves_nobody() {
    let app = slow().await;
    let owner = register(&app, SHARED, "ada@example.org").await.body;
    let flood = join_all((0..60).map(|number| {
        let app = &app;
        async move { sign_in(app, SHARED, None, &format!("nobody{number}@example.org"), PASSWORD).await }
    }));
    let others = join_all((0..4).map(|number| {
        let (app, device) = (&app, &owner["device_token"]);
        async move {
            match number {
                0 => sign_in(app, SHARED, Some(device), "ada@example.org", PASSWORD).await,
                _ => sign_in(app, ELSEWHERE, None, "ada@example.org", PASSWORD).await,
            }
        }
    }));
    let (flood, others) = join(flood, others).await;
    let looked_at = with_status(&flood, StatusCode::UNAUTHORIZED);
    let turned_away = with_status(&flood, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(looked_at + turned_away, 60, "{flood:?}");
    assert!(turned_away >= 20, "{turned_away}");
    assert_eq!(with_status(&others, StatusCode::OK), 4, "{others:?}");
    app.end().await;
}

/// A stranger of the owner's network guesses elsewhere first, so that the account's count waits, and then asks at the shared address.
async fn asked_at_the_shared_address(app: &App, email: &str) -> (StatusCode, Value) {
    let guessed = sign_in(app, ELSEWHERE, None, email, "wrong horse").await;
    assert_eq!(guessed.status, StatusCode::UNAUTHORIZED);
    let asked = sign_in(app, SHARED, None, email, "wrong horse").await;
    (asked.status, asked.body["type"].clone())
}

#[tokio::test]
async fn who_shares_a_network_with_an_owner_reads_from_no_wait_that_there_is_an_account() {
    let app = App::start().await;
    let owner = register(&app, SHARED, "ada@example.org").await.body;
    let known = asked_at_the_shared_address(&app, "ada@example.org").await;
    let unknown = asked_at_the_shared_address(&app, "nobody@example.org").await;
    assert_eq!(known, unknown);
    assert_eq!(known.0, StatusCode::TOO_MANY_REQUESTS);
    let device = Some(&owner["device_token"]);
    let signed_in = sign_in(&app, SHARED, device, "ada@example.org", PASSWORD).await;
    assert_eq!(
        signed_in.status,
        StatusCode::OK,
        "a device of the owner's waits for nobody"
    );

    // Nor from the count of the day.
    sqlx::query("update identity.guesses set guesses = 100")
        .execute(&app.database.superuser().await)
        .await
        .unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    let known = sign_in(&app, SHARED, None, "ada@example.org", "wrong horse").await;
    let unknown = sign_in(&app, SHARED, None, "nobody@example.org", "wrong horse").await;
    assert_eq!(
        (known.status, &known.body["type"]),
        (unknown.status, &unknown.body["type"])
    );
    assert_eq!(known.status, StatusCode::TOO_MANY_REQUESTS);
    app.end().await;
}

#[tokio::test]
async fn whoever_guesses_without_end_in_a_house_slows_nobody_there_who_is_signed_in() {
    let app = App::start().await;
    let owner = register(&app, SHARED, "ada@example.org").await.body;
    let token = format!("Bearer {}", owner["access_token"].as_str().unwrap());
    // The house's patience is at its end, and the owner's account waits too.
    for number in 0..20 {
        let guessed = sign_in(
            &app,
            SHARED,
            None,
            &format!("nobody{number}@example.org"),
            "wrong horse",
        )
        .await;
        assert_eq!(guessed.status, StatusCode::UNAUTHORIZED, "{number}");
    }
    let guessed = sign_in(&app, SHARED, None, "ada@example.org", "wrong horse").await;
    assert_eq!(guessed.status, StatusCode::TOO_MANY_REQUESTS);
    let ask = |path: &str, body: Value| {
        let request = json_request(path, &body, &[("authorization", &token)]);
        app.send(at(SHARED, request))
    };
    let stepped_up = ask("/api/v1/auth/step-up", json!({"password": PASSWORD})).await;
    assert_eq!(stepped_up.status, StatusCode::OK, "{stepped_up:?}");
    let joined = ask("/api/v1/auth/join", json!({"code": "NO-SUCH-CODE"})).await;
    assert_eq!(joined.status, StatusCode::NOT_FOUND, "{joined:?}");
    let body = json!({"old_password": PASSWORD, "new_password": "another long sentence for the house"});
    let changed = ask("/api/v1/auth/change-password", body).await;
    assert_eq!(changed.status, StatusCode::NO_CONTENT, "{changed:?}");
    app.end().await;
}
