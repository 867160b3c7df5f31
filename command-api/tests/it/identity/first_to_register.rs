//! Somebody uses another's address before its owner does, and waits for the owner to confirm it: nothing of theirs opens what the
//! owner has from then on.

use axum::http::StatusCode;
use command_api::identity::{EmailVerification, IdentityConfig};
use serde_json::{Value, json};
use service_kit::testing::{TestDatabase, mailbox::Mailbox};

use super::{
    Answer, App, PASSWORD,
    accounts::{NEW_PASSWORD, mails, waited, with_mail},
    json_request, mailing,
};

const VICTIM: &str = "ada@example.org";
/// What the owner of the address chose when they registered, second.
const OWNERS: &str = "the owners own phrase 77";

fn token(value: &Value) -> &str {
    value["access_token"].as_str().unwrap()
}

fn said(answer: &Answer) -> (u16, &str) {
    (answer.status.as_u16(), answer.problem())
}

/// Addresses have to be verified first.
async fn requiring() -> (App, Mailbox) {
    let mailbox = Mailbox::start();
    let config = IdentityConfig {
        email_verification: EmailVerification::Required,
        ..mailing(&mailbox)
    };
    (App::on(TestDatabase::create().await, &config, [7; 32]).await, mailbox)
}

async fn register(app: &App, password: &str) -> Answer {
    let body = json!({"email": VICTIM, "password": password, "display_name": "Ada"});
    waited(async || app.post("/api/v1/auth/register", body.clone()).await).await
}

async fn verify(app: &App, body: Value) -> Answer {
    waited(async || app.post("/api/v1/auth/verify-email", body.clone()).await).await
}

async fn is_verified(app: &App) -> bool {
    let pool = app.database.superuser().await;
    let (is_verified,): (bool,) =
        sqlx::query_as("select email_verified_at is not null from identity.users where email = $1")
            .bind(VICTIM)
            .fetch_one(&pool)
            .await
            .unwrap();
    pool.close().await;
    is_verified
}

#[tokio::test]
async fn who_registers_first_with_anothers_address_is_out_when_its_owner_registers() {
    let (app, mailbox) = requiring().await;
    let first = register(&app, PASSWORD).await;
    let second = register(&app, OWNERS).await;
    assert_eq!(first.status, StatusCode::ACCEPTED);
    assert_eq!((first.status, first.body), (second.status, second.body));
    let letters = mails(&mailbox, VICTIM, 2).await;
    let confirming = letters[0].after("verify-email?token=");
    assert_eq!(letters[1].header("Subject"), "Choose the password of your account");
    let choosing = letters[1].after("reset-password?token=");

    // The owner opens the first letter, and believes it is about what they did.
    let alone = verify(&app, json!({"token": confirming})).await;
    assert_eq!(said(&alone), (403, "/problems/proof-required"));
    let theirs = verify(&app, json!({"token": confirming, "password": OWNERS})).await;
    assert_eq!(said(&theirs), (403, "/problems/wrong-credentials"));
    assert!(!is_verified(&app).await);
    let squatter = waited(async || app.sign_in(VICTIM, PASSWORD).await).await;
    assert_eq!(said(&squatter), (403, "/problems/email-not-verified"));

    let body = json!({"token": choosing, "new_password": NEW_PASSWORD});
    let chosen = app.post("/api/v1/auth/reset-password", body).await;
    assert_eq!(chosen.status, StatusCode::NO_CONTENT, "{chosen:?}");
    assert!(is_verified(&app).await);
    let owner = waited(async || app.sign_in(VICTIM, NEW_PASSWORD).await).await;
    assert_eq!(owner.status, StatusCode::OK, "{owner:?}");
    let squatter = waited(async || app.sign_in(VICTIM, PASSWORD).await).await;
    assert_eq!(said(&squatter), (401, "/problems/wrong-credentials"));
    let late = verify(&app, json!({"token": confirming, "password": PASSWORD})).await;
    assert_eq!(said(&late), (422, "/problems/invalid-token"));
    app.end().await;
}

#[tokio::test]
async fn who_registered_confirms_by_their_password_and_a_wrong_one_leaves_the_mail_good() {
    let (app, mailbox) = requiring().await;
    register(&app, PASSWORD).await;
    let code = mails(&mailbox, VICTIM, 1).await[0].after("verify-email?token=");
    let unknown = verify(&app, json!({"token": "klm_unknown", "password": PASSWORD})).await;
    assert_eq!(said(&unknown), (422, "/problems/invalid-token"));
    let wrong = app
        .post("/api/v1/auth/verify-email", json!({"token": code, "password": OWNERS}))
        .await;
    assert_eq!(said(&wrong), (403, "/problems/wrong-credentials"));
    // The next guess waits; signing in does not wait for it.
    let hurried = app
        .post("/api/v1/auth/verify-email", json!({"token": code, "password": OWNERS}))
        .await;
    assert_eq!(hurried.status, StatusCode::TOO_MANY_REQUESTS);
    let waits = app.sign_in(VICTIM, PASSWORD).await;
    assert_eq!(said(&waits), (403, "/problems/email-not-verified"));

    let right = verify(&app, json!({"token": code, "password": PASSWORD})).await;
    assert_eq!(right.status, StatusCode::NO_CONTENT, "{right:?}");
    assert_eq!(app.sign_in(VICTIM, PASSWORD).await.status, StatusCode::OK);
    app.end().await;
}

#[tokio::test]
async fn a_mail_is_confirmed_in_a_session_of_its_account_and_of_no_other() {
    let (app, mailbox) = with_mail().await;
    let squatter = app.register(VICTIM).await;
    let somebody = app.register("grace@example.org").await;
    let body = json!({"token": mails(&mailbox, VICTIM, 1).await[0].after("verify-email?token=")});
    let path = "/api/v1/auth/verify-email";
    let other = app.post_as(token(&somebody), path, body.clone()).await;
    assert_eq!(said(&other), (403, "/problems/proof-required"));
    let over = app.post_as("no-token", path, body.clone()).await;
    assert_eq!(over.status, StatusCode::UNAUTHORIZED);
    assert!(!is_verified(&app).await);
    let own = app.post_as(token(&squatter), path, body).await;
    assert_eq!(own.status, StatusCode::NO_CONTENT, "{own:?}");
    assert!(is_verified(&app).await);
    app.end().await;
}

#[tokio::test]
async fn who_reads_the_mail_of_an_address_lends_it_to_nobody_elses_account() {
    let (app, mailbox) = with_mail().await;
    let eve = app.register("eve@example.org").await;
    let body = json!({"email": VICTIM});
    let asked = app.post_as(token(&eve), "/api/v1/auth/change-email", body).await;
    assert_eq!(asked.status, StatusCode::ACCEPTED);
    let code = mails(&mailbox, VICTIM, 1).await[0].after("change-email?token=");
    let path = "/api/v1/auth/change-email/confirm";
    let alone = app.post(path, json!({"token": code})).await;
    assert_eq!(said(&alone), (403, "/problems/proof-required"));
    let guessed = app.post(path, json!({"token": code, "password": OWNERS})).await;
    assert_eq!(said(&guessed), (403, "/problems/wrong-credentials"));
    let profile = app.get_as(token(&eve), "/api/v1/auth/profile").await.body;
    assert_eq!(profile["email"], "eve@example.org");
    // The address is free for its owner.
    assert_eq!(app.register(VICTIM).await["token_type"], "Bearer");
    app.end().await;
}

#[tokio::test]
async fn strangers_who_use_up_an_accounts_reset_mails_leave_its_own_device_as_many() {
    let (app, mailbox) = with_mail().await;
    let owner = app.register(VICTIM).await;
    let device = owner["device_token"].as_str().unwrap();
    mails(&mailbox, VICTIM, 1).await;
    let ask = async |email: &str, device: Option<&str>| {
        let headers: Vec<(&str, &str)> = device.iter().map(|device| ("kinledger-device", *device)).collect();
        let body = json!({"email": email});
        app.send(json_request("/api/v1/auth/forgot-password", &body, &headers))
            .await
    };
    // What was asked for within the hour, without waiting for somebody to ask so slowly.
    let asked_for = async |number: i32, asked_on: &str| {
        let pool = app.database.superuser().await;
        sqlx::query(&format!(
            "insert into identity.mail_tokens (token_hash, purpose, user_id, email, expires_at, asked_on)
             select sha256(gen_random_uuid()::text::bytea), 'reset-password', user_id, email,
                 clock_timestamp() + interval '30 minutes', {asked_on}
             from identity.users, generate_series(1, $1)
             where email = $2"
        ))
        .bind(number)
        .bind(VICTIM)
        .execute(&pool)
        .await
        .unwrap();
        pool.close().await;
    };
    asked_for(5, "null").await;
    let of_stranger = ask(VICTIM, None).await;
    let of_owner = ask(VICTIM, Some(device)).await;
    let of_nobody = ask("nobody@example.org", Some(device)).await;
    for answer in [of_stranger, of_owner, of_nobody] {
        assert_eq!((answer.status, answer.body), (StatusCode::ACCEPTED, Value::Null));
    }
    let letters = mails(&mailbox, VICTIM, 2).await;
    assert_eq!(letters[1].header("Subject"), "Reset your password");
    let waits = ask(VICTIM, Some("kld_another")).await;
    assert_eq!(waits.status, StatusCode::TOO_MANY_REQUESTS, "as strangers do");

    asked_for(
        4,
        "(select device_id from identity.devices where devices.user_id = users.user_id)",
    )
    .await;
    let sixth = waited(async || ask(VICTIM, Some(device)).await).await;
    assert_eq!(sixth.status, StatusCode::ACCEPTED);
    // Errands are done in order: when this one's mail is there, those before it were done.
    app.register("grace@example.org").await;
    assert_eq!(ask("grace@example.org", None).await.status, StatusCode::ACCEPTED);
    mails(&mailbox, "grace@example.org", 2).await;
    let of_victim = mailbox.mails().iter().filter(|mail| mail.to == VICTIM).count();
    assert_eq!(of_victim, 2, "five an hour for the device, too");
    app.end().await;
}
