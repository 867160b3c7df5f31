//! Verifying and changing an address, changing and resetting a password, with a mail server on loopback.

use std::time::{Duration, Instant};

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use command_api::identity::{EmailVerification, Identity, IdentityConfig, Secret, operators_reset_token};
use futures::future::join_all;
use serde_json::{Value, json};
use service_kit::{
    database::DatabaseRole,
    testing::{
        TestDatabase,
        mailbox::{Behaviour, Mail, Mailbox},
    },
};

use super::{Answer, App, PASSWORD, families::Places, json_request, mailing, quick};

pub(super) const NEW_PASSWORD: &str = "a staple of horses, correctly";

/// Waits for mails without holding up the runtime that has to send them.
pub(super) async fn mails(mailbox: &Mailbox, to: &'static str, count: usize) -> Vec<Mail> {
    let mailbox = mailbox.clone();
    tokio::task::spawn_blocking(move || mailbox.wait_for(to, count))
        .await
        .unwrap()
}

pub(super) async fn with_mail() -> (App, Mailbox) {
    let mailbox = Mailbox::start();
    let app = App::on(TestDatabase::create().await, &mailing(&mailbox), [7; 32]).await;
    (app, mailbox)
}

fn token(value: &Value) -> &str {
    value["access_token"].as_str().unwrap()
}

async fn profile(app: &App, tokens: &Value) -> Value {
    app.get_as(token(tokens), "/api/v1/auth/profile").await.body
}

async fn kinds(app: &App) -> Vec<String> {
    let rows: Vec<(String,)> = sqlx::query_as("select kind from identity.security_events order by event_id")
        .fetch_all(&app.database.superuser().await)
        .await
        .unwrap();
    rows.into_iter().map(|(kind,)| kind).collect()
}

async fn age(app: &App, seconds: i32) {
    let database = app.database.superuser().await;
    for table in ["mail_tokens"] {
        sqlx::query(&format!(
            "update identity.{table} set expires_at = expires_at - make_interval(secs => $1)"
        ))
        .bind(seconds)
        .execute(&database)
        .await
        .unwrap();
    }
}

async fn age_proofs(app: &App) {
    sqlx::query("update identity.sessions set proven_at = proven_at - interval '11 minutes'")
        .execute(&app.database.superuser().await)
        .await
        .unwrap();
}

#[tokio::test]
async fn an_address_is_verified_by_the_mail_it_gets_once() {
    let (app, mailbox) = with_mail().await;
    let ada = app.register("ada@example.org").await;
    assert_eq!(profile(&app, &ada).await["email_verified_at"], Value::Null);
    let first = mails(&mailbox, "ada@example.org", 1).await.remove(0);
    let code = first.after("https://money.example.org/#/verify-email?token=");
    assert!(code.starts_with("klm_"), "{code}");

    let body = json!({"token": code});
    let verified = app
        .post_as(token(&ada), "/api/v1/auth/verify-email", body.clone())
        .await;
    assert_eq!(verified.status, StatusCode::NO_CONTENT);
    assert!(profile(&app, &ada).await["email_verified_at"].is_string());
    let again = app.post("/api/v1/auth/verify-email", body).await;
    assert_eq!(
        (again.status.as_u16(), again.problem()),
        (422, "/problems/invalid-token")
    );
    let asked = app
        .post_as(token(&ada), "/api/v1/auth/verify-email/request", json!({}))
        .await;
    assert_eq!(asked.status, StatusCode::ACCEPTED);
    assert_eq!(mailbox.mails().len(), 1);
    app.end().await;
}

#[tokio::test]
async fn a_verification_is_over_after_a_day_and_good_for_nothing_else() {
    let (app, mailbox) = with_mail().await;
    app.register("ada@example.org").await;
    let code = mails(&mailbox, "ada@example.org", 1).await[0].after("token=");
    for path in ["reset-password", "change-email/confirm"] {
        let mut body = json!({"token": code});
        if path == "reset-password" {
            body["new_password"] = json!(NEW_PASSWORD);
        }
        let other = app.post(&format!("/api/v1/auth/{path}"), body).await;
        assert_eq!(
            (other.status.as_u16(), other.problem()),
            (422, "/problems/invalid-token"),
            "{path}"
        );
    }
    age(&app, 24 * 60 * 60).await;
    let late = app.post("/api/v1/auth/verify-email", json!({"token": code})).await;
    assert_eq!((late.status.as_u16(), late.problem()), (422, "/problems/invalid-token"));
    app.end().await;
}

#[tokio::test]
async fn mails_link_to_the_configured_address_whatever_the_host_header_says() {
    let (app, mailbox) = with_mail().await;
    app.register("ada@example.org").await;
    let body = json!({"email": "ada@example.org"});
    let headers = [("host", "evil.example"), ("x-forwarded-host", "evil.example")];
    let asked = app
        .send(json_request("/api/v1/auth/forgot-password", &body, &headers))
        .await;
    assert_eq!(asked.status, StatusCode::ACCEPTED);
    for mail in mails(&mailbox, "ada@example.org", 2).await {
        assert!(mail.text.contains("https://money.example.org/#/"), "{}", mail.text);
        assert!(!mail.text.contains("evil"), "{}", mail.text);
        assert!(!mail.headers.contains("evil"), "{}", mail.headers);
    }
    app.end().await;
}

#[tokio::test]
async fn without_mail_accounts_work_and_what_needs_mail_says_so() {
    let app = App::start().await;
    let ada = app.register("ada@example.org").await;
    assert_eq!(app.sign_in("ada@example.org", PASSWORD).await.status, StatusCode::OK);
    let answers = [
        app.post("/api/v1/auth/forgot-password", json!({"email": "ada@example.org"}))
            .await,
        app.post_as(token(&ada), "/api/v1/auth/verify-email/request", json!({}))
            .await,
        app.post_as(
            token(&ada),
            "/api/v1/auth/change-email",
            json!({"email": "ada@example.com"}),
        )
        .await,
    ];
    for answer in answers {
        assert_eq!(
            (answer.status, answer.problem()),
            (StatusCode::UNPROCESSABLE_ENTITY, "/problems/mail-not-configured")
        );
    }
    app.end().await;
}

#[tokio::test]
async fn where_addresses_must_be_verified_registering_tells_nothing_and_signing_in_waits_for_it() {
    let mailbox = Mailbox::start();
    let config = IdentityConfig {
        email_verification: EmailVerification::Required,
        ..mailing(&mailbox)
    };
    let app = App::on(TestDatabase::create().await, &config, [7; 32]).await;
    let register = async |name: &str| {
        let body = json!({"email": "ada@example.org", "password": PASSWORD, "display_name": name});
        app.post("/api/v1/auth/register", body).await
    };
    let free = register("Ada").await;
    assert_eq!(free.status, StatusCode::ACCEPTED);
    let code = mails(&mailbox, "ada@example.org", 1).await[0].after("verify-email?token=");
    let unverified = app.sign_in("ada@example.org", PASSWORD).await;
    assert_eq!(
        (unverified.status.as_u16(), unverified.problem()),
        (403, "/problems/email-not-verified")
    );
    let wrong = app.sign_in("ada@example.org", "wrong horse").await;
    assert_eq!(wrong.problem(), "/problems/wrong-credentials");

    let body = json!({"token": code, "password": PASSWORD});
    let verified = app.post("/api/v1/auth/verify-email", body).await;
    assert_eq!(verified.status, StatusCode::NO_CONTENT, "{verified:?}");
    assert_eq!(signed_in_at_last(&app, PASSWORD).await.status, StatusCode::OK);
    let taken = waited(async || register("Eve").await).await;
    assert_eq!((taken.status, taken.body), (free.status, free.body));
    let told = mails(&mailbox, "ada@example.org", 3).await;
    assert!(told[2].text.contains("There is an account already"), "{}", told[2].text);
    assert!(!told[2].text.contains("Eve"));
    app.end().await;
}

/// Tries until it is not too fast any more.
pub(super) async fn waited(request: impl AsyncFn() -> Answer) -> Answer {
    loop {
        let answer = request().await;
        let Some(seconds) = answer.retry_after_s else {
            return answer;
        };
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }
}

async fn signed_in_at_last(app: &App, password: &str) -> Answer {
    waited(async || app.sign_in("ada@example.org", password).await).await
}

#[tokio::test]
async fn verification_without_mail_is_refused_at_the_start() {
    let database = TestDatabase::create().await;
    let config = IdentityConfig {
        email_verification: EmailVerification::Required,
        ..quick()
    };
    let pool = database.pool(DatabaseRole::Identity).await;
    let opened = Identity::open(
        pool,
        &Secret::new([7; 32]),
        &config,
        std::sync::Arc::new(Places::default()),
    )
    .await;
    assert!(opened.is_err());
    database.drop().await;
}

#[tokio::test]
async fn an_address_changes_when_the_new_one_confirms_and_the_old_one_is_told() {
    let (app, mailbox) = with_mail().await;
    let ada = app.register("ada@example.org").await;
    let asked = app
        .post_as(
            token(&ada),
            "/api/v1/auth/change-email",
            json!({"email": "Ada@Example.com"}),
        )
        .await;
    assert_eq!(asked.status, StatusCode::ACCEPTED);
    assert_eq!(profile(&app, &ada).await["email"], "ada@example.org");
    let code = mails(&mailbox, "ada@example.com", 1).await[0].after("change-email?token=");
    let body = json!({"token": code});
    let confirmed = app
        .post_as(token(&ada), "/api/v1/auth/change-email/confirm", body.clone())
        .await;
    assert_eq!(confirmed.status, StatusCode::NO_CONTENT);
    let changed = profile(&app, &ada).await;
    assert_eq!(changed["email"], "ada@example.com");
    assert!(changed["email_verified_at"].is_string());
    let told = mails(&mailbox, "ada@example.org", 3).await;
    for (mail, words) in told[1..].iter().zip(["asked for another", "has another"]) {
        assert!(mail.text.contains(words), "{}", mail.text);
        assert!(!mail.text.contains("example.com"), "{}", mail.text);
    }
    assert_eq!(app.sign_in("ada@example.com", PASSWORD).await.status, StatusCode::OK);
    assert_eq!(
        app.sign_in("ada@example.org", PASSWORD).await.status,
        StatusCode::UNAUTHORIZED
    );
    let again = app.post("/api/v1/auth/change-email/confirm", body).await;
    assert_eq!(again.problem(), "/problems/invalid-token");
    app.end().await;
}

#[tokio::test]
async fn changing_an_address_asks_for_a_fresh_proof_and_tells_nothing_about_the_new_one() {
    let (app, mailbox) = with_mail().await;
    let ada = app.register("ada@example.org").await;
    app.register("bob@example.org").await;
    let free = app
        .post_as(
            token(&ada),
            "/api/v1/auth/change-email",
            json!({"email": "free@example.org"}),
        )
        .await;
    let taken = app
        .post_as(
            token(&ada),
            "/api/v1/auth/change-email",
            json!({"email": "bob@example.org"}),
        )
        .await;
    assert_eq!((free.status, free.body), (taken.status, taken.body));
    let code = mails(&mailbox, "bob@example.org", 2).await[1].after("change-email?token=");
    let confirmed = app
        .post_as(token(&ada), "/api/v1/auth/change-email/confirm", json!({"token": code}))
        .await;
    assert_eq!(
        (confirmed.status.as_u16(), confirmed.problem()),
        (409, "/problems/email-taken")
    );
    assert_eq!(profile(&app, &ada).await["email"], "ada@example.org");

    age_proofs(&app).await;
    let refreshed = app.refresh(&ada["refresh_token"], None).await.body;
    let stale = app
        .post_as(
            token(&refreshed),
            "/api/v1/auth/change-email",
            json!({"email": "ada@example.com"}),
        )
        .await;
    assert_eq!(
        (stale.status.as_u16(), stale.problem()),
        (403, "/problems/step-up-required")
    );
    app.end().await;
}

#[tokio::test]
async fn changing_a_password_needs_the_old_one_or_a_fresh_proof_and_ends_other_sessions() {
    let (app, mailbox) = with_mail().await;
    let ada = app.register("ada@example.org").await;
    let elsewhere = app.sign_in("ada@example.org", PASSWORD).await.body;
    age_proofs(&app).await;
    let here = app.refresh(&ada["refresh_token"], None).await.body;
    let change = async |body: Value| app.post_as(token(&here), "/api/v1/auth/change-password", body).await;

    let stale = change(json!({"new_password": NEW_PASSWORD})).await;
    assert_eq!(
        (stale.status.as_u16(), stale.problem()),
        (403, "/problems/step-up-required")
    );
    let wrong = change(json!({"old_password": "wrong horse", "new_password": NEW_PASSWORD})).await;
    assert_eq!(
        (wrong.status.as_u16(), wrong.problem()),
        (403, "/problems/wrong-credentials")
    );
    let weak = waited(async || change(json!({"old_password": PASSWORD, "new_password": "password1"})).await).await;
    assert_eq!((weak.status.as_u16(), weak.problem()), (422, "/problems/weak-password"));
    assert!(app.is_signed_in(&elsewhere["access_token"]).await);

    let changed = waited(async || change(json!({"old_password": PASSWORD, "new_password": NEW_PASSWORD})).await).await;
    assert_eq!(changed.status, StatusCode::NO_CONTENT, "{changed:?}");
    assert!(app.is_signed_in(&here["access_token"]).await);
    assert!(!app.is_signed_in(&elsewhere["access_token"]).await);
    assert_eq!(
        app.refresh(&elsewhere["refresh_token"], None).await.status,
        StatusCode::UNAUTHORIZED
    );
    let told = mails(&mailbox, "ada@example.org", 3).await;
    assert!(
        told.iter()
            .any(|mail| mail.header("Subject") == "Your password was changed")
    );
    assert_eq!(signed_in_at_last(&app, PASSWORD).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(signed_in_at_last(&app, NEW_PASSWORD).await.status, StatusCode::OK);
    app.end().await;
}

#[tokio::test]
async fn a_forgotten_password_is_reset_by_mail_without_signing_in_and_ends_every_session() {
    let (app, mailbox) = with_mail().await;
    let ada = app.register("ada@example.org").await;
    let asked = app
        .post("/api/v1/auth/forgot-password", json!({"email": "ADA@example.org"}))
        .await;
    assert_eq!((asked.status, &asked.body), (StatusCode::ACCEPTED, &Value::Null));
    let reset = mails(&mailbox, "ada@example.org", 2).await.remove(1);
    let code = reset.after("reset-password?token=");
    let weak = app
        .post(
            "/api/v1/auth/reset-password",
            json!({"token": code, "new_password": "password1"}),
        )
        .await;
    assert_eq!(weak.problem(), "/problems/weak-password");

    let body = json!({"token": code, "new_password": NEW_PASSWORD});
    let done = app.post("/api/v1/auth/reset-password", body.clone()).await;
    assert_eq!((done.status, done.body), (StatusCode::NO_CONTENT, Value::Null));
    assert!(!app.is_signed_in(&ada["access_token"]).await);
    assert_eq!(
        app.refresh(&ada["refresh_token"], None).await.status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        app.post("/api/v1/auth/reset-password", body).await.problem(),
        "/problems/invalid-token"
    );
    assert_eq!(
        app.sign_in("ada@example.org", NEW_PASSWORD).await.status,
        StatusCode::OK
    );
    let told = mails(&mailbox, "ada@example.org", 3).await;
    assert_eq!(told[2].header("Subject"), "Your password was changed");
    assert_eq!(
        kinds(&app).await,
        [
            "registered",
            "password-reset-asked",
            "password-reset",
            "email-verified",
            "signed-in"
        ]
    );
    app.end().await;
}

#[tokio::test]
async fn a_reset_is_over_after_half_an_hour_and_has_one_winner() {
    let (app, mailbox) = with_mail().await;
    app.register("ada@example.org").await;
    let ask = async || {
        app.post("/api/v1/auth/forgot-password", json!({"email": "ada@example.org"}))
            .await
    };
    ask().await;
    let code = mails(&mailbox, "ada@example.org", 2).await[1].after("reset-password?token=");
    age(&app, 30 * 60).await;
    let late = app
        .post(
            "/api/v1/auth/reset-password",
            json!({"token": code, "new_password": NEW_PASSWORD}),
        )
        .await;
    assert_eq!(late.problem(), "/problems/invalid-token");

    assert_eq!(waited(ask).await.status, StatusCode::ACCEPTED);
    let code = mails(&mailbox, "ada@example.org", 3).await[2].after("reset-password?token=");
    let answers = join_all((0..10).map(|number| {
        let body = json!({"token": code, "new_password": format!("{NEW_PASSWORD} {number}")});
        let app = &app;
        async move { app.post("/api/v1/auth/reset-password", body).await.status }
    }))
    .await;
    let won = answers
        .iter()
        .filter(|status| **status == StatusCode::NO_CONTENT)
        .count();
    assert_eq!(won, 1, "{answers:?}");
    app.end().await;
}

#[tokio::test]
async fn an_unknown_address_is_answered_alike_and_gets_no_mail() {
    let (app, mailbox) = with_mail().await;
    app.register("ada@example.org").await;
    mails(&mailbox, "ada@example.org", 1).await;
    let unknown = app
        .post("/api/v1/auth/forgot-password", json!({"email": "eve@example.org"}))
        .await;
    let known = app
        .post("/api/v1/auth/forgot-password", json!({"email": "ada@example.org"}))
        .await;
    assert_eq!((known.status, known.body), (unknown.status, unknown.body));
    // Errands are done in order, so the unknown address's was done when the known one's mail is there.
    mails(&mailbox, "ada@example.org", 2).await;
    assert!(mailbox.mails().iter().all(|mail| mail.to == "ada@example.org"));
    app.end().await;
}

#[tokio::test]
async fn a_mail_server_that_says_nothing_slows_no_answer() {
    let (app, mailbox) = with_mail().await;
    mailbox.behave(Behaviour::Silent);
    app.register("ada@example.org").await;
    let begun = Instant::now();
    let mut emails = vec!["ada@example.org".to_owned()];
    emails.extend((0..50).map(|number| format!("nobody{number}@example.org")));
    for email in emails {
        let answer = app.post("/api/v1/auth/forgot-password", json!({"email": email})).await;
        assert!(
            [StatusCode::ACCEPTED, StatusCode::TOO_MANY_REQUESTS].contains(&answer.status),
            "{answer:?}"
        );
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    app.end().await;
}

#[tokio::test]
async fn one_persons_mailbox_gets_five_reset_mails_an_hour_an_operator_hands_out_more_and_all_their_links_work() {
    let (app, mailbox) = with_mail().await;
    app.register("ada@example.org").await;
    mails(&mailbox, "ada@example.org", 1).await;
    let pool = app.database.pool(DatabaseRole::Identity).await;
    let mut tokens = Vec::new();
    for _ in 0..5 {
        tokens.push(operators_reset_token(&pool, "ada@example.org").await.unwrap().unwrap());
    }
    let sixth = operators_reset_token(&pool, "ada@example.org").await.unwrap();
    assert!(sixth.is_some(), "an operator waits for nobody");
    assert_eq!(operators_reset_token(&pool, "eve@example.org").await.unwrap(), None);
    let asked = app
        .post("/api/v1/auth/forgot-password", json!({"email": "ada@example.org"}))
        .await;
    assert_eq!(asked.status, StatusCode::ACCEPTED);
    let first = app
        .post(
            "/api/v1/auth/reset-password",
            json!({"token": tokens[0], "new_password": NEW_PASSWORD}),
        )
        .await;
    assert_eq!(first.status, StatusCode::NO_CONTENT, "the oldest link still works");
    let second = app
        .post(
            "/api/v1/auth/reset-password",
            json!({"token": tokens[4], "new_password": PASSWORD}),
        )
        .await;
    assert_eq!(second.problem(), "/problems/invalid-token", "one use ends them all");
    assert!(
        mailbox
            .mails()
            .iter()
            .all(|mail| mail.header("Subject") != "Reset your password")
    );
    app.end().await;
}

#[tokio::test]
async fn passwords_known_from_breaches_are_refused_from_a_file_on_this_machine() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pwned.txt");
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, NEW_PASSWORD.as_bytes());
    let known = hex::encode_upper(digest);
    std::fs::write(
        &path,
        format!("{}:3\r\n{known}:7\r\n{}:1\r\n", "0".repeat(40), "F".repeat(40)),
    )
    .unwrap();
    let config = IdentityConfig {
        breached_passwords: Some(path),
        password_characters_min: Some(12),
        ..quick()
    };
    let app = App::on(TestDatabase::create().await, &config, [7; 32]).await;
    let register = async |password: &str| {
        let body = json!({"email": "ada@example.org", "password": password, "display_name": "Ada"});
        app.post("/api/v1/auth/register", body).await
    };
    let breached = register(NEW_PASSWORD).await;
    assert_eq!(breached.problem(), "/problems/weak-password");
    assert!(breached.body["detail"].as_str().unwrap().contains("breach"));
    assert_eq!(register("tulip-78-94").await.problem(), "/problems/weak-password");
    assert_eq!(register(PASSWORD).await.status, StatusCode::CREATED);
    app.end().await;
}

#[tokio::test]
async fn a_person_changes_their_name_and_language() {
    let app = App::start().await;
    let ada = app.register("ada@example.org").await;
    let put = async |body: Value| {
        let request = Request::put("/api/v1/auth/profile")
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::AUTHORIZATION, format!("Bearer {}", token(&ada)));
        app.send(request.body(Body::from(body.to_string())).unwrap()).await
    };
    assert_eq!(profile(&app, &ada).await["locale"], "en");
    let changed = put(json!({"display_name": " Ada L. ", "locale": "de-AT"})).await;
    assert_eq!(changed.status, StatusCode::OK);
    assert_eq!(changed.body, profile(&app, &ada).await);
    assert_eq!(
        (&changed.body["display_name"], &changed.body["locale"]),
        (&json!("Ada L."), &json!("de-AT"))
    );
    for body in [
        json!({"display_name": "", "locale": "de"}),
        json!({"display_name": "Ada", "locale": "de_AT"}),
        json!({"display_name": "Ada"}),
        json!({"display_name": "Ada", "locale": "de", "email": "eve@example.org"}),
    ] {
        assert_eq!(put(body).await.status, StatusCode::BAD_REQUEST);
    }
    app.end().await;
}
