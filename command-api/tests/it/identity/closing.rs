//! A person closes their account: nothing of theirs is left, and nobody can tell that there was one.

use std::time::{Duration, Instant};

use axum::http::StatusCode;
use domain::{
    actor::Role,
    id::{FamilyId, MemberId},
};
use serde_json::{Value, json};
use service_kit::{
    auth::TokenVerifier,
    database::DatabaseRole,
    testing::{TestDatabase, mailbox::Mailbox},
};
use uuid::Uuid;

use super::{App, PASSWORD, json_request, mailing};

const CLOSE: &str = "/api/v1/auth/close";
const EMAIL: &str = "planted-ada@example.org";

fn token(tokens: &Value) -> &str {
    tokens["access_token"].as_str().unwrap()
}

/// Every row of identity as text, but for keys of the installation.
async fn everything(app: &App) -> String {
    let pool = app.database.superuser().await;
    let tables: Vec<(String,)> =
        sqlx::query_as("select tablename::text from pg_tables where schemaname = 'identity' order by 1")
            .fetch_all(&pool)
            .await
            .unwrap();
    assert!(tables.len() >= 15, "{tables:?}");
    let mut dump = String::new();
    for (table,) in tables {
        let rows: Vec<(String,)> = sqlx::query_as(&format!("select row_to_json(t)::text from identity.{table} as t"))
            .fetch_all(&pool)
            .await
            .unwrap();
        dump.extend(rows.into_iter().map(|(row,)| format!("{table}: {row}\n")));
    }
    pool.close().await;
    dump
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_account_leaves_no_text_of_its_person_and_reads_as_one_that_never_was() {
    let mailbox = Mailbox::start();
    let app = App::on(TestDatabase::create().await, &mailing(&mailbox), [7; 32]).await;
    let body = json!({"email": EMAIL, "password": PASSWORD, "display_name": "Planted Ada"});
    let headers = [("user-agent", "Planted-Phone/1")];
    let registered = app.send(json_request("/api/v1/auth/register", &body, &headers)).await;
    assert_eq!(registered.status, StatusCode::CREATED, "{registered:?}");
    let ada = token(&registered.body);
    // Keys are for who has verified their address.
    sqlx::query("update identity.users set email_verified_at = clock_timestamp()")
        .execute(&app.database.superuser().await)
        .await
        .unwrap();
    let key = json!({"name": "planted key", "scopes": ["read"]});
    let key = app.post_as(ada, "/api/v1/auth/api-keys", key).await;
    assert_eq!(key.status, StatusCode::CREATED, "{key:?}");
    let user_id = registered.body["user_id"].as_str().unwrap().parse().unwrap();
    let (family_id, place) = (FamilyId::from_uuid(Uuid::new_v4()), MemberId::from_uuid(Uuid::new_v4()));
    app.places.put(family_id, place, Role::Partner, Some(user_id));
    let family_key = json!({"name": "planted family key", "scopes": ["read"], "family_id": family_id});
    assert_eq!(
        app.post_as(ada, "/api/v1/auth/api-keys", family_key).await.status,
        StatusCode::CREATED
    );
    let before = everything(&app).await;
    for planted in [
        "planted-ada",
        "Planted Ada",
        "Planted-Phone",
        "planted key",
        "planted family key",
    ] {
        assert!(before.contains(planted), "{planted}");
    }

    let unproven = app.post_as(ada, CLOSE, json!({})).await;
    assert_eq!(unproven.status, StatusCode::BAD_REQUEST, "{unproven:?}");
    assert_eq!(app.places.holder(family_id, place), Some(user_id));

    let closed = app.post_as(ada, CLOSE, json!({"password": PASSWORD})).await;
    assert_eq!(closed.status, StatusCode::NO_CONTENT, "{closed:?}");
    assert_eq!(app.places.holder(family_id, place), None, "they have left");
    assert!(!app.is_signed_in(&registered.body["access_token"]).await);
    let refreshed = app.refresh(&registered.body["refresh_token"], None).await;
    assert_eq!(refreshed.status, StatusCode::UNAUTHORIZED);
    let after = everything(&app).await.to_lowercase();
    for planted in ["planted", "argon2"] {
        assert!(!after.contains(planted), "{planted}: {after}");
    }
    // What concerned the family is there, without a word of theirs.
    assert!(
        after.contains("api-key-made") && after.contains("account-closed"),
        "{after}"
    );
    // The first mail asked to verify the address, and each key was told.
    let mails = mailbox.wait_for(EMAIL, 4);
    assert!(
        mails[3].headers.contains("Your account was closed"),
        "{}",
        mails[3].headers
    );
    for mail in mails {
        assert!(!mail.text.to_lowercase().contains("planted"), "{}", mail.text);
    }

    // An address that nobody has, and the closed one.
    let gone = app.sign_in(EMAIL, PASSWORD).await;
    let nobody = app.sign_in("nobody@example.org", PASSWORD).await;
    assert_eq!((gone.status, &gone.body), (nobody.status, &nobody.body));
    assert_eq!(gone.status, StatusCode::UNAUTHORIZED);
    app.register(EMAIL).await;
    app.end().await;
}

#[tokio::test]
async fn a_wrong_password_closes_nothing() {
    let app = App::start().await;
    let registered = app.register("ada@example.org").await;
    let wrong = app
        .post_as(token(&registered), CLOSE, json!({"password": "not this one, surely"}))
        .await;
    assert_eq!(
        (wrong.status, wrong.problem()),
        (StatusCode::FORBIDDEN, "/problems/wrong-credentials")
    );
    assert!(app.is_signed_in(&registered["access_token"]).await);
    app.end().await;
}

#[tokio::test]
async fn the_last_parent_and_the_young_are_refused_and_nothing_is_done() {
    for (role, code) in [
        (Role::Parent, "/problems/last-parent"),
        (Role::Teen, "/problems/young-member"),
    ] {
        let app = App::start().await;
        let registered = app.register("ada@example.org").await;
        let user_id = registered["user_id"].as_str().unwrap().parse().unwrap();
        let [stays, goes] = [0, 1].map(|_| FamilyId::from_uuid(Uuid::new_v4()));
        let place = MemberId::from_uuid(Uuid::new_v4());
        app.places.put(stays, place, role, Some(user_id));
        app.places.put(goes, place, Role::Partner, Some(user_id));
        let refused = app
            .post_as(token(&registered), CLOSE, json!({"password": PASSWORD}))
            .await;
        assert_eq!(
            (refused.status, refused.problem()),
            (StatusCode::CONFLICT, code),
            "{refused:?}"
        );
        assert_eq!(refused.body["families"], json!([stays.to_string()]));
        assert_eq!(app.places.holder(goes, place), Some(user_id), "nothing was left");
        assert!(app.is_signed_in(&registered["access_token"]).await);
        app.end().await;
    }
}

#[tokio::test]
async fn another_process_learns_within_seconds_that_a_closed_account_is_over() {
    let app = App::start().await;
    let registered = app.register("ada@example.org").await;
    let pool = app.database.pool(DatabaseRole::Reader).await;
    let verifier = TokenVerifier::load(&pool).await.unwrap();
    assert!(verifier.verify(token(&registered)).is_ok());
    let closed = app
        .post_as(token(&registered), CLOSE, json!({"password": PASSWORD}))
        .await;
    assert_eq!(closed.status, StatusCode::NO_CONTENT, "{closed:?}");
    let (revoked,): (i64,) = sqlx::query_as("select count(*) from identity.revoked_sessions")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(revoked, 1, "it is told to every process as ended");
    pool.close().await;
    app.end().await;
}

#[tokio::test]
async fn who_has_neither_password_nor_factor_closes_by_a_fresh_sign_in_alone() {
    let app = App::start().await;
    let registered = app.register("ada@example.org").await;
    let pool = app.database.superuser().await;
    let forgotten = "update identity.users set password_hash = null";
    sqlx::query(forgotten).execute(&pool).await.unwrap();
    let old = "update identity.sessions set proven_at = proven_at - interval '11 minutes'";
    let closed = app.post_as(token(&registered), CLOSE, json!({})).await;
    assert_eq!(closed.status, StatusCode::NO_CONTENT, "{closed:?}");
    // With an old sign-in it is refused.
    let eve = app.register("eve@example.org").await;
    for statement in [forgotten, old] {
        sqlx::query(statement).execute(&pool).await.unwrap();
    }
    pool.close().await;
    let refreshed = app.refresh(&eve["refresh_token"], None).await;
    let refused = app.post_as(token(&refreshed.body), CLOSE, json!({})).await;
    assert_eq!(
        (refused.status, refused.problem()),
        (StatusCode::FORBIDDEN, "/problems/step-up-required")
    );
    app.end().await;
}

#[tokio::test]
async fn a_sign_in_that_was_under_way_when_the_account_closed_opens_nothing() {
    let mailbox = Mailbox::start();
    let app = App::on(TestDatabase::create().await, &mailing(&mailbox), [7; 32]).await;
    app.register(EMAIL).await;
    let superuser = app.database.superuser().await;
    // The password was right, and what else is asked for is looked up when the account is closed already.
    let mut held = superuser.begin().await.unwrap();
    sqlx::query("lock table identity.totp_factors in access exclusive mode")
        .execute(&mut *held)
        .await
        .unwrap();
    let closed = async {
        let waits = "select 1 from pg_locks where not granted and relation = 'identity.totp_factors'::regclass";
        let deadline = Instant::now() + Duration::from_secs(20);
        while sqlx::query(waits).fetch_optional(&superuser).await.unwrap().is_none() {
            assert!(Instant::now() < deadline, "nobody signs in");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        sqlx::query("select identity.close_account(user_id) from identity.users")
            .execute(&mut *held)
            .await
            .unwrap();
        held.commit().await.unwrap();
    };
    let (late, ()) = tokio::join!(app.sign_in(EMAIL, PASSWORD), closed);
    assert_eq!(
        (late.status, late.problem()),
        (StatusCode::UNAUTHORIZED, "/problems/wrong-credentials"),
        "{late:?}"
    );
    let (open,): (i64,) = sqlx::query_as("select count(*) from identity.sessions where revoked_at is null")
        .fetch_one(&superuser)
        .await
        .unwrap();
    assert_eq!(open, 0);
    superuser.close().await;
    app.end().await;
}

#[tokio::test]
async fn who_came_again_after_a_closing_that_was_broken_off_leaves_again_when_they_close() {
    let app = App::start().await;
    let registered = app.register("ada@example.org").await;
    let user_id = registered["user_id"].as_str().unwrap().parse().unwrap();
    let family_id = FamilyId::from_uuid(Uuid::new_v4());
    let [before, since] = [0, 1].map(|_| MemberId::from_uuid(Uuid::new_v4()));
    app.places.put(family_id, before, Role::Partner, Some(user_id));
    app.places.lose_answers(1);
    let broken_off = app
        .post_as(token(&registered), CLOSE, json!({"password": PASSWORD}))
        .await;
    assert_eq!(broken_off.status, StatusCode::SERVICE_UNAVAILABLE, "{broken_off:?}");
    assert_eq!(app.places.holder(family_id, before), None);
    assert!(app.is_signed_in(&registered["access_token"]).await);
    app.places.put(family_id, since, Role::Partner, Some(user_id));
    let closed = app
        .post_as(token(&registered), CLOSE, json!({"password": PASSWORD}))
        .await;
    assert_eq!(closed.status, StatusCode::NO_CONTENT, "{closed:?}");
    assert_eq!(
        app.places.holder(family_id, since),
        None,
        "a closed account has no place"
    );
    app.end().await;
}

#[tokio::test]
async fn who_comes_into_a_family_while_the_account_closes_leaves_it_too() {
    let app = App::start().await;
    let registered = app.register("ada@example.org").await;
    let user_id = registered["user_id"].as_str().unwrap().parse().unwrap();
    let [left, entered] = [0, 1].map(|_| FamilyId::from_uuid(Uuid::new_v4()));
    let place = MemberId::from_uuid(Uuid::new_v4());
    app.places.put(left, place, Role::Partner, Some(user_id));
    app.places.arrive_meanwhile(entered, place, user_id);
    let closed = app
        .post_as(token(&registered), CLOSE, json!({"password": PASSWORD}))
        .await;
    assert_eq!(closed.status, StatusCode::NO_CONTENT, "{closed:?}");
    let holders = [left, entered].map(|family_id| app.places.holder(family_id, place));
    assert_eq!(holders, [None, None]);
    app.end().await;
}
