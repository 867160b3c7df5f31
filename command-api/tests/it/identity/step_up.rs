//! Proving once more who one is.

use axum::http::StatusCode;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use service_kit::database::DatabaseRole;

use super::{
    App, PASSWORD,
    factors::{Enrolled, early_in_a_step, enrolled, time_passes},
};

/// What an access token says.
fn claims(tokens: &Value) -> Value {
    let token = tokens["access_token"].as_str().unwrap();
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

/// Moves the proof of every session an hour into the past.
async fn an_hour_passes(app: &App) {
    let pool = app.database.pool(DatabaseRole::Identity).await;
    sqlx::query("update identity.sessions set proven_at = proven_at - interval '1 hour'")
        .execute(&pool)
        .await
        .unwrap();
    pool.close().await;
}

#[tokio::test]
async fn a_refresh_is_no_proof_and_a_password_is() {
    let app = App::start().await;
    let first = app.register("ada@example.org").await;
    let signed_in = claims(&first);
    assert_eq!(signed_in["amr"], json!(["pwd"]));
    assert!(signed_in["iat"].as_i64().unwrap() - signed_in["auth_time"].as_i64().unwrap() < 60);

    an_hour_passes(&app).await;
    let refreshed = app.refresh(&first["refresh_token"], None).await.body;
    let old = claims(&refreshed);
    assert!(old["iat"].as_i64().unwrap() - old["auth_time"].as_i64().unwrap() >= 3_600);

    let token = refreshed["access_token"].as_str().unwrap();
    let wrong = app
        .post_as(token, "/api/v1/auth/step-up", json!({"password": "wrong horse"}))
        .await;
    assert_eq!(
        (wrong.status, wrong.problem()),
        (StatusCode::FORBIDDEN, "/problems/wrong-credentials")
    );
    // The wrong guess holds the next one back for a second, as it does when signing in.
    let too_fast = app
        .post_as(token, "/api/v1/auth/step-up", json!({"password": PASSWORD}))
        .await;
    assert_eq!(too_fast.status, StatusCode::TOO_MANY_REQUESTS);
    tokio::time::sleep(std::time::Duration::from_secs(too_fast.retry_after_s.unwrap())).await;

    let stepped_up = app
        .post_as(token, "/api/v1/auth/step-up", json!({"password": PASSWORD}))
        .await;
    assert_eq!(stepped_up.status, StatusCode::OK, "{stepped_up:?}");
    assert_eq!(stepped_up.caching.as_deref(), Some("no-store"));
    assert!(stepped_up.body.get("refresh_token").is_none());
    let fresh = claims(&stepped_up.body);
    assert_eq!(fresh["sid"], signed_in["sid"]);
    assert!(fresh["iat"].as_i64().unwrap() - fresh["auth_time"].as_i64().unwrap() < 60);

    // The proof is the session's: it lives on in what follows by refreshing.
    let next = claims(&app.refresh(&refreshed["refresh_token"], None).await.body);
    assert_eq!(next["auth_time"], fresh["auth_time"]);
    app.end().await;
}

#[tokio::test]
async fn a_session_that_has_ended_proves_nothing() {
    let app = App::start().await;
    let tokens = app.register("ada@example.org").await;
    let token = tokens["access_token"].as_str().unwrap();
    let out = app.post_as(token, "/api/v1/auth/logout", json!({})).await;
    assert_eq!(out.status, StatusCode::NO_CONTENT);
    let refused = app
        .post_as(token, "/api/v1/auth/step-up", json!({"password": PASSWORD}))
        .await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    app.end().await;
}

#[tokio::test]
async fn a_stolen_session_has_a_hundred_guesses_a_day_at_its_owners_password_and_slows_nobody_else() {
    let app = App::start().await;
    let stolen = app.register("ada@example.org").await;
    let stolen = stolen["access_token"].as_str().unwrap();
    let wrong = app
        .post_as(stolen, "/api/v1/auth/step-up", json!({"password": "wrong horse"}))
        .await;
    assert_eq!(
        (wrong.status, wrong.problem()),
        (StatusCode::FORBIDDEN, "/problems/wrong-credentials")
    );
    let pool = app.database.superuser().await;
    let (guesses,): (i32,) = sqlx::query_as("update identity.guesses set guesses = guesses + 98 returning guesses")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(guesses, 99);
    // A restart forgives the wait, and not the count; both ways of guessing share it.
    let app = App::on(app.database, &super::quick(), [7; 32]).await;
    let change = json!({"old_password": "wrong horse", "new_password": "a horse of another colour"});
    let last = app
        .post_as(stolen, "/api/v1/auth/change-password", change.clone())
        .await;
    assert_eq!(
        (last.status, last.problem()),
        (StatusCode::FORBIDDEN, "/problems/wrong-credentials")
    );
    let app = App::on(app.database, &super::quick(), [7; 32]).await;
    for (path, body) in [
        ("/api/v1/auth/step-up", json!({"password": PASSWORD})),
        ("/api/v1/auth/change-password", change),
    ] {
        let over = app.post_as(stolen, path, body).await;
        assert_eq!(over.status, StatusCode::TOO_MANY_REQUESTS, "{over:?}");
        assert!(over.retry_after_s.unwrap() > 10, "until midnight, not for a moment");
    }
    let owner = app.sign_in("ada@example.org", PASSWORD).await;
    let token = owner.body["access_token"].as_str().unwrap();
    let proven = app
        .post_as(token, "/api/v1/auth/step-up", json!({"password": PASSWORD}))
        .await;
    assert_eq!(proven.status, StatusCode::OK, "{proven:?}");
    pool.close().await;
    app.end().await;
}

#[tokio::test]
async fn a_stolen_session_has_a_hundred_guesses_a_day_at_its_owners_app_and_the_owner_still_signs_in_by_it() {
    let mut ada = enrolled().await;
    let stolen = ada.access_token.clone();
    let guess = json!({"factor": {"code": ada.phone.wrong_code()}});
    let wrong = ada.app.post_as(&stolen, "/api/v1/auth/step-up", guess.clone()).await;
    assert_eq!(
        (wrong.status, wrong.problem()),
        (StatusCode::FORBIDDEN, "/problems/wrong-credentials")
    );
    let pool = ada.app.database.superuser().await;
    let spent = "update identity.guesses set guesses = guesses + 98 where guesses > 0 returning guesses";
    let (guesses,): (i32,) = sqlx::query_as(spent).fetch_one(&pool).await.unwrap();
    assert_eq!(guesses, 99);
    // A restart forgives the wait, and not the count; both ways of guessing share it.
    ada = restarted(ada).await;
    let last = ada.app.post_as(&stolen, "/api/v1/auth/close", guess).await;
    assert_eq!(
        (last.status, last.problem()),
        (StatusCode::FORBIDDEN, "/problems/wrong-credentials")
    );
    ada = restarted(ada).await;
    time_passes(&ada.app).await;
    early_in_a_step().await;
    let right = json!({"factor": {"code": ada.phone.code(0)}});
    for path in ["/api/v1/auth/step-up", "/api/v1/auth/close"] {
        let over = ada.app.post_as(&stolen, path, right.clone()).await;
        assert_eq!(over.status, StatusCode::TOO_MANY_REQUESTS, "{path} {over:?}");
        assert!(over.retry_after_s.unwrap() > 10, "until midnight, not for a moment");
    }
    // Nobody guesses a recovery code.
    let recovered = json!({"factor": {"recovery_code": ada.recovery_codes[0]}});
    let recovered = ada.app.post_as(&stolen, "/api/v1/auth/step-up", recovered).await;
    assert_eq!(recovered.status, StatusCode::OK, "{recovered:?}");

    let (counted,): (i32,) = sqlx::query_as("select attempts from identity.totp_factors")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(counted, 0, "of those at sign-in");
    let challenge = ada.challenge().await;
    early_in_a_step().await;
    let owner = ada.second_step(&challenge, json!({"code": ada.phone.code(0)})).await;
    assert_eq!(owner.status, StatusCode::OK, "{owner:?}");
    time_passes(&ada.app).await;
    let token = owner.body["access_token"].as_str().unwrap();
    early_in_a_step().await;
    let right = json!({"factor": {"code": ada.phone.code(0)}});
    let proven = ada.app.post_as(token, "/api/v1/auth/step-up", right).await;
    assert_eq!(proven.status, StatusCode::OK, "{proven:?}");
    pool.close().await;
    ada.app.end().await;
}

/// The same account in a process that has just begun.
async fn restarted(ada: Enrolled) -> Enrolled {
    Enrolled {
        app: App::on(ada.app.database, &super::quick(), [7; 32]).await,
        ..ada
    }
}
