//! From registering to signing out.

use std::{sync::Arc, time::Duration};

use axum::http::StatusCode;
use futures::future::join_all;
use serde_json::json;
use service_kit::{auth::TokenVerifier, database::DatabaseRole};
use uuid::Uuid;

use super::{App, PASSWORD, quick};

#[tokio::test]
async fn a_person_registers_signs_in_and_sees_their_account() {
    let app = App::start().await;
    let body = json!({"email": " Ada@Example.org", "password": PASSWORD, "display_name": "Ada"});
    let registered = app.post("/api/v1/auth/register", body.clone()).await;
    assert_eq!(registered.status, StatusCode::CREATED);
    assert_eq!(registered.caching.as_deref(), Some("no-store"));
    assert_eq!(registered.body["token_type"], "Bearer");
    assert_eq!(registered.body["expires_in"], 900);
    assert!(registered.body["user_id"].as_str().unwrap().starts_with("usr_"));

    let again = app.post("/api/v1/auth/register", body).await;
    assert_eq!(
        (again.status, again.problem()),
        (StatusCode::CONFLICT, "/problems/email-taken")
    );

    let signed_in = app.sign_in("ADA@example.ORG", PASSWORD).await;
    assert_eq!(signed_in.status, StatusCode::OK);
    assert_eq!(signed_in.body["user_id"], registered.body["user_id"]);

    let profile = app
        .get_as(signed_in.body["access_token"].as_str().unwrap(), "/api/v1/auth/profile")
        .await;
    assert_eq!(profile.body["email"], "ada@example.org");
    assert_eq!(profile.body["user_id"], registered.body["user_id"]);
    app.end().await;
}

#[tokio::test]
async fn an_unknown_address_and_a_wrong_password_read_the_same() {
    let app = App::start().await;
    app.register("ada@example.org").await;
    let wrong = app.sign_in("ada@example.org", "wrong horse").await;
    let unknown = app.sign_in("eve@example.org", "wrong horse").await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    assert_eq!((wrong.status, wrong.body), (unknown.status, unknown.body));
    app.end().await;
}

#[tokio::test]
async fn refreshing_moves_the_session_on() {
    let app = App::start().await;
    let first = app.register("ada@example.org").await;
    let second = app.refresh(&first["refresh_token"], None).await;
    assert_eq!(second.status, StatusCode::OK);
    assert_ne!(second.body["refresh_token"], first["refresh_token"]);
    let third = app.refresh(&second.body["refresh_token"], None).await;
    assert_eq!(third.status, StatusCode::OK);
    assert!(app.is_signed_in(&third.body["access_token"]).await);
    app.end().await;
}

#[tokio::test]
async fn a_refresh_token_used_twice_ends_the_session_for_everybody() {
    let app = App::start().await;
    let owner = app.register("ada@example.org").await;
    let other_device = app.sign_in("ada@example.org", PASSWORD).await.body;
    let thief = app.refresh(&owner["refresh_token"], None).await.body;
    assert!(app.is_signed_in(&thief["access_token"]).await);

    let reused = app.refresh(&owner["refresh_token"], None).await;
    assert_eq!(
        (reused.status, reused.problem()),
        (StatusCode::UNAUTHORIZED, "/problems/refresh-token-reused")
    );
    for token in [&owner["access_token"], &thief["access_token"]] {
        assert!(!app.is_signed_in(token).await);
    }
    assert_eq!(
        app.refresh(&thief["refresh_token"], None).await.status,
        StatusCode::UNAUTHORIZED
    );
    assert!(app.is_signed_in(&other_device["access_token"]).await);
    app.end().await;
}

#[tokio::test]
async fn the_same_request_sent_fifty_times_gets_one_successor() {
    let app = App::start().await;
    let first = app.register("ada@example.org").await;
    let request_id = Some(Uuid::new_v4());
    let answers = join_all((0..50).map(|_| app.refresh(&first["refresh_token"], request_id))).await;
    let successor = &answers[0].body["refresh_token"];
    for answer in &answers {
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        assert_eq!(&answer.body["refresh_token"], successor);
    }
    assert_eq!(app.refresh(successor, None).await.status, StatusCode::OK);
    app.end().await;
}

#[tokio::test]
async fn a_repeated_request_is_reuse_after_ten_seconds_and_under_another_name() {
    let app = App::start().await;
    let request_id = Some(Uuid::new_v4());
    let late = app.register("ada@example.org").await;
    app.refresh(&late["refresh_token"], request_id).await;
    sqlx::query("update identity.refresh_tokens set used_at = used_at - interval '11 seconds'")
        .execute(&app.database.superuser().await)
        .await
        .unwrap();
    assert_eq!(
        app.refresh(&late["refresh_token"], request_id).await.status,
        StatusCode::UNAUTHORIZED
    );

    let other = app.register("bob@example.org").await;
    app.refresh(&other["refresh_token"], request_id).await;
    let reused = app.refresh(&other["refresh_token"], Some(Uuid::new_v4())).await;
    assert_eq!(reused.problem(), "/problems/refresh-token-reused");
    app.end().await;
}

#[tokio::test]
async fn of_fifty_racing_for_one_token_one_wins_and_the_race_ends_the_session() {
    let app = App::start().await;
    let first = app.register("ada@example.org").await;
    let answers = join_all((0..50).map(|_| app.refresh(&first["refresh_token"], None))).await;
    let won: Vec<_> = answers
        .iter()
        .filter(|answer| answer.status == StatusCode::OK)
        .collect();
    assert_eq!(won.len(), 1);
    assert!(!app.is_signed_in(&won[0].body["access_token"]).await);
    assert_eq!(
        app.refresh(&won[0].body["refresh_token"], None).await.status,
        StatusCode::UNAUTHORIZED
    );
    app.end().await;
}

#[tokio::test]
async fn an_idle_token_and_an_old_session_are_over() {
    let app = App::start().await;
    let database = app.database.superuser().await;
    let idle = app.register("ada@example.org").await;
    sqlx::query("update identity.refresh_tokens set expires_at = clock_timestamp()")
        .execute(&database)
        .await
        .unwrap();
    assert_eq!(
        app.refresh(&idle["refresh_token"], None).await.problem(),
        "/problems/invalid-refresh-token"
    );
    let old = app.register("bob@example.org").await;
    sqlx::query("update identity.sessions set expires_at = clock_timestamp()")
        .execute(&database)
        .await
        .unwrap();
    assert_eq!(
        app.refresh(&old["refresh_token"], None).await.problem(),
        "/problems/invalid-refresh-token"
    );
    app.end().await;
}

#[tokio::test]
async fn signing_out_ends_this_session_or_all() {
    let app = App::start().await;
    let phone = app.register("ada@example.org").await;
    let tablet = app.sign_in("ada@example.org", PASSWORD).await.body;
    let laptop = app.sign_in("ada@example.org", PASSWORD).await.body;

    let token = phone["access_token"].as_str().unwrap();
    assert_eq!(
        app.post_as(token, "/api/v1/auth/logout", json!({})).await.status,
        StatusCode::NO_CONTENT
    );
    assert!(!app.is_signed_in(&phone["access_token"]).await);
    assert_eq!(
        app.refresh(&phone["refresh_token"], None).await.status,
        StatusCode::UNAUTHORIZED
    );
    assert!(app.is_signed_in(&tablet["access_token"]).await);

    let body = json!({"refresh_token": tablet["refresh_token"], "everywhere": true});
    for _ in 0..2 {
        assert_eq!(
            app.post("/api/v1/auth/logout", body.clone()).await.status,
            StatusCode::NO_CONTENT
        );
    }
    assert!(!app.is_signed_in(&tablet["access_token"]).await);
    assert!(!app.is_signed_in(&laptop["access_token"]).await);
    assert_eq!(
        app.post("/api/v1/auth/logout", json!({})).await.status,
        StatusCode::UNAUTHORIZED
    );
    app.end().await;
}

#[tokio::test]
async fn a_session_that_is_refreshed_without_end_waits_and_goes_on() {
    let app = App::start().await;
    let ada = app.register("ada@example.org").await;
    let pool = app.database.superuser().await;
    sqlx::query(
        "insert into identity.refresh_tokens (token_hash, session_id, expires_at, used_at)
         select sha256(number::text::bytea), session_id, clock_timestamp() + interval '14 days', clock_timestamp()
         from identity.sessions, generate_series(1, 239) as number",
    )
    .execute(&pool)
    .await
    .unwrap();
    let last = app.refresh(&ada["refresh_token"], None).await;
    assert_eq!(last.status, StatusCode::OK, "{last:?}");
    let waits = app.refresh(&last.body["refresh_token"], None).await;
    assert_eq!(
        (waits.status, waits.problem()),
        (StatusCode::TOO_MANY_REQUESTS, "/problems/too-fast")
    );
    sqlx::query("update identity.refresh_tokens set used_at = used_at - interval '1 hour'")
        .execute(&pool)
        .await
        .unwrap();
    pool.close().await;
    let goes_on = app.refresh(&last.body["refresh_token"], None).await;
    assert_eq!(goes_on.status, StatusCode::OK, "{goes_on:?}");
    app.end().await;
}

#[tokio::test]
async fn an_old_refresh_token_does_not_sign_out_everywhere() {
    let app = App::start().await;
    let phone = app.register("ada@example.org").await;
    let laptop = app.sign_in("ada@example.org", PASSWORD).await.body;
    app.refresh(&phone["refresh_token"], None).await;
    let body = json!({"refresh_token": phone["refresh_token"], "everywhere": true});
    assert_eq!(
        app.post("/api/v1/auth/logout", body).await.status,
        StatusCode::NO_CONTENT
    );
    assert!(!app.is_signed_in(&phone["access_token"]).await);
    assert!(app.is_signed_in(&laptop["access_token"]).await);
    app.end().await;
}

#[tokio::test]
async fn another_process_learns_of_a_sign_out_within_five_seconds() {
    let app = App::start().await;
    let registered = app.register("ada@example.org").await;
    let token = registered["access_token"].as_str().unwrap().to_owned();

    let pool = app.database.pool(DatabaseRole::Reader).await;
    let elsewhere = TokenVerifier::load(&pool).await.unwrap();
    let (switch, shutdown) = service_kit::shutdown::channel();
    let watching = tokio::spawn(Arc::clone(&elsewhere).watch_revocations(pool, shutdown));
    assert!(elsewhere.verify(&token).is_ok());
    assert!(elsewhere.is_current().is_ok());

    app.post_as(&token, "/api/v1/auth/logout", json!({})).await;
    let refused = async {
        while elsewhere.verify(&token).is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), refused)
        .await
        .expect("refused within five seconds");
    switch.send(true).unwrap();
    watching.await.unwrap();

    let restarted = TokenVerifier::load(&app.database.pool(DatabaseRole::Projector).await)
        .await
        .unwrap();
    assert!(restarted.verify(&token).is_err());
    app.end().await;
}

#[tokio::test]
async fn sessions_outlive_a_restart_and_hashes_are_renewed_when_parameters_rise() {
    let app = App::start().await;
    let registered = app.register("ada@example.org").await;
    let raised = command_api::identity::IdentityConfig {
        argon2_iterations: 3,
        ..quick()
    };
    let app = App::on(app.database, &raised, [7; 32]).await;
    assert!(app.is_signed_in(&registered["access_token"]).await);

    assert_eq!(app.sign_in("ada@example.org", PASSWORD).await.status, StatusCode::OK);
    let (hash,): (String,) = sqlx::query_as("select password_hash from identity.users")
        .fetch_one(&app.database.superuser().await)
        .await
        .unwrap();
    assert!(hash.starts_with("$argon2id$v=19$m=19456,t=3,p=1,keyid="), "{hash}");
    assert_eq!(app.sign_in("ada@example.org", PASSWORD).await.status, StatusCode::OK);
    app.end().await;
}
