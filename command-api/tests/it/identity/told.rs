//! Who is told by mail that somebody changed how their account can be come into, and how often.

use axum::http::StatusCode;
use serde_json::{Value, json};
use service_kit::testing::mailbox::{Mail, Mailbox};
use uuid::Uuid;

use super::{
    App, PASSWORD,
    accounts::{mails, with_mail},
    authenticators::{Asked, Authenticators},
    factors::{AuthenticatorApp, early_in_a_step},
    passkeys::add,
};

const EMAIL: &str = "ada@example.org";
const SIGNED_OUT: &str = "One of your devices was signed out for safety";
const KEY_MADE: &str = "A key for a program was made";

fn token(value: &Value) -> &str {
    value["access_token"].as_str().unwrap()
}

async fn change(app: &App, statement: &str) {
    let pool = app.database.superuser().await;
    sqlx::query(statement).execute(&pool).await.unwrap();
    pool.close().await;
}

fn subjects(mails: &[Mail]) -> Vec<String> {
    mails.iter().map(|mail| mail.header("Subject")).collect()
}

/// How many mails of this subject somebody got before a last one, which is sent now: one follows the other.
async fn got(app: &App, mailbox: &Mailbox, subject: &str) -> usize {
    let last = format!("{}@example.com", Uuid::new_v4().simple());
    app.register(&last).await;
    let waiting = mailbox.clone();
    let waited = tokio::task::spawn_blocking(move || waiting.wait_for(&last, 1)).await;
    assert_eq!(waited.unwrap().len(), 1);
    let mails = mailbox.mails();
    mails
        .iter()
        .filter(|mail| mail.to == EMAIL && mail.header("Subject") == subject)
        .count()
}

/// An account whose address is verified, and the mail that asked for it.
async fn verified() -> (App, Mailbox, Value) {
    let (app, mailbox) = with_mail().await;
    let ada = app.register(EMAIL).await;
    mails(&mailbox, EMAIL, 1).await;
    change(&app, "update identity.users set email_verified_at = clock_timestamp()").await;
    (app, mailbox, ada)
}

/// A thief and the owner use one refresh token.
async fn used_twice(app: &App, session: &Value) {
    assert_eq!(
        app.refresh(&session["refresh_token"], None).await.status,
        StatusCode::OK
    );
    let again = app.refresh(&session["refresh_token"], None).await;
    assert_eq!(
        (again.status, again.problem()),
        (StatusCode::UNAUTHORIZED, "/problems/refresh-token-reused")
    );
}

#[tokio::test]
async fn a_refresh_token_that_was_used_twice_is_told_to_its_owner_once_a_session() {
    let (app, mailbox) = with_mail().await;
    // Told though nobody has verified the address yet.
    let ada = app.register(EMAIL).await;
    let elsewhere = app.sign_in(EMAIL, PASSWORD).await.body;
    used_twice(&app, &ada).await;
    for _ in 0..20 {
        let again = app.refresh(&ada["refresh_token"], None).await;
        assert_eq!(
            (again.status, again.problem()),
            (StatusCode::UNAUTHORIZED, "/problems/invalid-refresh-token")
        );
    }
    assert_eq!(got(&app, &mailbox, SIGNED_OUT).await, 1);
    let told = mailbox.mails();
    let told = told.iter().find(|mail| mail.header("Subject") == SIGNED_OUT).unwrap();
    for secret in [&ada["refresh_token"], &ada["session_id"], &ada["display_name"]] {
        assert!(secret.as_str().is_none_or(|secret| !told.text.contains(secret)));
    }
    assert!(told.text.contains("reset your password"), "{}", told.text);

    used_twice(&app, &elsewhere).await;
    assert_eq!(got(&app, &mailbox, SIGNED_OUT).await, 2);
    app.end().await;
}

#[tokio::test]
async fn fifty_thieves_of_one_token_cause_one_letter() {
    let (app, mailbox) = with_mail().await;
    let ada = app.register(EMAIL).await;
    assert_eq!(app.refresh(&ada["refresh_token"], None).await.status, StatusCode::OK);
    let thieves = (0..50).map(|_| app.refresh(&ada["refresh_token"], None));
    let answers = futures::future::join_all(thieves).await;
    assert!(answers.iter().all(|answer| answer.status == StatusCode::UNAUTHORIZED));
    assert_eq!(got(&app, &mailbox, SIGNED_OUT).await, 1);
    app.end().await;
}

#[tokio::test]
async fn an_account_without_an_address_is_told_nothing_and_ends_all_the_same() {
    let (app, mailbox) = with_mail().await;
    let ada = app.register(EMAIL).await;
    change(
        &app,
        "update identity.users set email = null, password_hash = null, email_verified_at = null",
    )
    .await;
    used_twice(&app, &ada).await;
    assert_eq!(got(&app, &mailbox, SIGNED_OUT).await, 0);
    app.end().await;
}

#[tokio::test]
async fn each_change_of_factors_codes_and_keys_is_told_by_one_letter() {
    let (app, mailbox, ada) = verified().await;
    let ada = token(&ada);
    let begun = app.post_as(ada, "/api/v1/auth/factors/totp", json!({})).await;
    assert_eq!(begun.status, StatusCode::CREATED, "{begun:?}");
    let phone = AuthenticatorApp::scan(&begun);
    early_in_a_step().await;
    let added = app
        .post_as(ada, "/api/v1/auth/factors/totp/confirm", json!({"code": phone.code(0)}))
        .await;
    assert_eq!(added.status, StatusCode::OK, "{added:?}");
    let asked = Asked {
        origin: "https://money.example.org",
        ..Asked::default()
    };
    let passkey = add(&app, &mut Authenticators::start(), ada, &asked).await;
    assert_eq!(passkey.status, StatusCode::CREATED, "{passkey:?}");
    let codes = app.post_as(ada, "/api/v1/auth/factors/recovery-codes", json!({})).await;
    assert_eq!(codes.status, StatusCode::CREATED, "{codes:?}");
    let by_code = json!({"factor": {"recovery_code": codes.body["recovery_codes"][0]}});
    let proven = app.post_as(ada, "/api/v1/auth/step-up", by_code).await;
    assert_eq!(proven.status, StatusCode::OK, "{proven:?}");
    let key = json!({"name": "a planted name", "scopes": ["read"]});
    let key = app.post_as(ada, "/api/v1/auth/api-keys", key).await;
    assert_eq!(key.status, StatusCode::CREATED, "{key:?}");
    let passkey_id = passkey.body["passkey_id"].as_str().unwrap();
    for path in [&format!("passkeys/{passkey_id}"), "totp"] {
        let removed = app.delete_as(ada, &format!("/api/v1/auth/factors/{path}")).await;
        assert_eq!(removed.status, StatusCode::NO_CONTENT, "{path} {removed:?}");
    }
    let told = mails(&mailbox, EMAIL, 8).await;
    assert_eq!(
        subjects(&told),
        [
            "Confirm your e-mail address",
            "An authenticator app was added to your account",
            "A passkey was added to your account",
            "New recovery codes were made for your account",
            "A recovery code of your account was used",
            KEY_MADE,
            "A passkey of your account was removed",
            "The authenticator app of your account was removed",
        ]
    );
    for mail in &told[1..] {
        assert!(mail.text.contains("If this was not you"), "{}", mail.text);
        for secret in [
            "planted",
            "Ada",
            key.body["key"].as_str().unwrap(),
            codes.body["recovery_codes"][0].as_str().unwrap(),
        ] {
            assert!(!mail.text.contains(secret), "{}", mail.text);
        }
    }
    app.end().await;
}

#[tokio::test]
async fn what_changes_nothing_is_told_by_no_letter() {
    let (app, mailbox, ada) = verified().await;
    let ada = token(&ada);
    let begun = app.post_as(ada, "/api/v1/auth/factors/totp", json!({})).await;
    assert_eq!(begun.status, StatusCode::CREATED, "{begun:?}");
    let wrong = app
        .post_as(ada, "/api/v1/auth/factors/totp/confirm", json!({"code": "1"}))
        .await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong:?}");
    // It never counted, so nothing that was in force goes.
    let removed = app.delete_as(ada, "/api/v1/auth/factors/totp").await;
    assert_eq!(removed.status, StatusCode::NO_CONTENT, "{removed:?}");
    let refused = app
        .post_as(ada, "/api/v1/auth/api-keys", json!({"name": "", "scopes": ["read"]}))
        .await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{refused:?}");
    got(&app, &mailbox, KEY_MADE).await;
    assert_eq!(mails(&mailbox, EMAIL, 1).await.len(), 1);
    app.end().await;
}

#[tokio::test]
async fn who_makes_key_after_key_buries_no_other_letter_under_theirs() {
    let (app, mailbox, ada) = verified().await;
    for number in 0..9 {
        let body = json!({"name": format!("key {number}"), "scopes": ["read"]});
        let made = app.post_as(token(&ada), "/api/v1/auth/api-keys", body).await;
        assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    }
    assert_eq!(got(&app, &mailbox, KEY_MADE).await, 5);
    used_twice(&app, &ada).await;
    assert_eq!(got(&app, &mailbox, SIGNED_OUT).await, 1);
    // An hour later it is news again.
    change(
        &app,
        "update identity.security_events set occurred_at = occurred_at - interval '61 minutes'",
    )
    .await;
    let ada = app.sign_in(EMAIL, PASSWORD).await.body;
    let body = json!({"name": "the next", "scopes": ["read"]});
    let made = app.post_as(token(&ada), "/api/v1/auth/api-keys", body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    assert_eq!(got(&app, &mailbox, KEY_MADE).await, 6);
    app.end().await;
}
