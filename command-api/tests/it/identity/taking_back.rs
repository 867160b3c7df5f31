//! Somebody takes their account back from whoever was in it: what they left behind opens nothing.

use std::time::Duration;

use axum::http::StatusCode;
use command_api::identity::operators_reset_token;
use serde_json::{Value, json};
use service_kit::{auth::TokenVerifier, database::DatabaseRole};

use super::{
    Answer, App, PASSWORD,
    accounts::{NEW_PASSWORD, mails, waited, with_mail},
    json_request, mailing,
};

const EMAIL: &str = "ada@example.org";

fn token(value: &Value) -> &str {
    value["access_token"].as_str().unwrap()
}

async fn change(app: &App, statement: &str) {
    let pool = app.database.superuser().await;
    sqlx::query(statement).execute(&pool).await.unwrap();
    pool.close().await;
}

async fn count(app: &App, statement: &str) -> i64 {
    let pool = app.database.superuser().await;
    let (count,): (i64,) = sqlx::query_as(statement).fetch_one(&pool).await.unwrap();
    pool.close().await;
    count
}

/// A reset's token, without the mail.
async fn reset_token(app: &App) -> String {
    let pool = app.database.pool(DatabaseRole::Identity).await;
    operators_reset_token(&pool, EMAIL).await.unwrap().unwrap()
}

async fn reset(app: &App) {
    let body = json!({"token": reset_token(app).await, "new_password": NEW_PASSWORD});
    let done = app.post("/api/v1/auth/reset-password", body).await;
    assert_eq!(done.status, StatusCode::NO_CONTENT, "{done:?}");
}

/// The ways to take an account back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Reset,
    ChangePassword,
    SignOutEverywhere,
}

impl Way {
    async fn take(self, app: &App, owner: &Value) {
        let done = match self {
            Self::Reset => return reset(app).await,
            Self::ChangePassword => {
                let body = json!({"new_password": NEW_PASSWORD});
                app.post_as(token(owner), "/api/v1/auth/change-password", body).await
            }
            Self::SignOutEverywhere => {
                app.post_as(token(owner), "/api/v1/auth/logout", json!({"everywhere": true}))
                    .await
            }
        };
        assert_eq!(done.status, StatusCode::NO_CONTENT, "{self:?} {done:?}");
    }
}

#[tokio::test]
async fn a_change_of_the_address_that_was_asked_for_ends_and_its_owner_is_told() {
    for way in [Way::Reset, Way::ChangePassword, Way::SignOutEverywhere] {
        let (app, mailbox) = with_mail().await;
        let owner = app.register(EMAIL).await;
        let body = json!({"email": "eve@example.com"});
        let asked = app.post_as(token(&owner), "/api/v1/auth/change-email", body).await;
        assert_eq!(asked.status, StatusCode::ACCEPTED);
        let code = mails(&mailbox, "eve@example.com", 1).await[0].after("change-email?token=");
        let told = mails(&mailbox, EMAIL, 2).await;
        assert_eq!(
            told[1].header("Subject"),
            "Somebody wants to change your e-mail address"
        );
        assert!(!told[1].text.contains("eve@"), "{}", told[1].text);
        way.take(&app, &owner).await;
        let confirmed = app
            .post("/api/v1/auth/change-email/confirm", json!({"token": code}))
            .await;
        assert_eq!(
            (confirmed.status.as_u16(), confirmed.problem()),
            (422, "/problems/invalid-token"),
            "{way:?}"
        );
        app.end().await;
    }
}

#[tokio::test]
async fn keys_for_programs_end_with_a_reset_and_with_signing_out_everywhere() {
    for way in [Way::Reset, Way::SignOutEverywhere] {
        let app = App::start().await;
        let owner = app.register(EMAIL).await;
        let body = json!({"name": "script", "scopes": ["read"]});
        let made = app.post_as(token(&owner), "/api/v1/auth/api-keys", body).await;
        assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
        way.take(&app, &owner).await;
        let live = "select count(*) from identity.api_keys where ended_at is null";
        assert_eq!(count(&app, live).await, 0, "{way:?}");
        // What every process asks when a key is shown.
        let hash = aws_lc_rs::digest::digest(
            &aws_lc_rs::digest::SHA256,
            made.body["key"].as_str().unwrap().as_bytes(),
        );
        let found = sqlx::query("select * from identity.use_api_key($1)")
            .bind(hash.as_ref())
            .fetch_optional(&app.database.pool(DatabaseRole::Reader).await)
            .await
            .unwrap();
        assert!(found.is_none(), "{way:?}");
        app.end().await;
    }
}

#[tokio::test]
async fn a_reset_of_an_address_that_nobody_had_verified_removes_factors_and_of_another_leaves_them() {
    let (app, mailbox) = with_mail().await;
    for is_verified in [false, true] {
        change(&app, "delete from identity.users").await;
        app.register(EMAIL).await;
        if is_verified {
            change(&app, "update identity.users set email_verified_at = clock_timestamp()").await;
        }
        // As they were made before verifying came first.
        for statement in [
            "insert into identity.totp_factors (user_id, sealed_seed, confirmed_at)
             select user_id, decode(repeat('00', 60), 'hex'), clock_timestamp() from identity.users",
            "insert into identity.passkeys (passkey_id, user_id, credential_id, public_key, sign_count, name)
             select gen_random_uuid(), user_id, decode(repeat('01', 32), 'hex'), decode(repeat('02', 64), 'hex'), 0, 'eve'
             from identity.users",
            "insert into identity.recovery_codes (code_hash, user_id)
             select decode(repeat('03', 32), 'hex'), user_id from identity.users",
        ] {
            change(&app, statement).await;
        }
        reset(&app).await;
        for table in ["totp_factors", "passkeys", "recovery_codes"] {
            let left = count(&app, &format!("select count(*) from identity.{table}")).await;
            assert_eq!(left, i64::from(is_verified), "{table}");
        }
    }
    drop(mailbox);
    app.end().await;
}

#[tokio::test]
async fn where_mail_can_verify_an_address_that_comes_before_keys_and_factors() {
    let (app, mailbox) = with_mail().await;
    let squatter = app.register(EMAIL).await;
    let operations = [
        ("/api/v1/auth/api-keys", json!({"name": "script", "scopes": ["read"]})),
        ("/api/v1/auth/factors/passkeys/options", json!({})),
        ("/api/v1/auth/factors/totp", json!({})),
    ];
    for (path, body) in &operations {
        let refused = app.post_as(token(&squatter), path, body.clone()).await;
        assert_eq!(
            (refused.status.as_u16(), refused.problem()),
            (403, "/problems/email-not-verified"),
            "{path}"
        );
    }
    let code = mails(&mailbox, EMAIL, 1).await[0].after("verify-email?token=");
    app.post_as(token(&squatter), "/api/v1/auth/verify-email", json!({"token": code}))
        .await;
    for (path, body) in operations {
        let done = app.post_as(token(&squatter), path, body).await;
        assert!(done.status.is_success(), "{path} {done:?}");
    }
    app.end().await;
}

#[tokio::test]
async fn a_sign_in_that_was_under_way_with_the_old_password_opens_nothing() {
    let app = App::start().await;
    let owner = app.register(EMAIL).await;
    let superuser = app.database.superuser().await;
    // The old password was looked up, and is compared when another is in force already.
    let mut held = superuser.begin().await.unwrap();
    sqlx::query("lock table identity.guesses in exclusive mode")
        .execute(&mut *held)
        .await
        .unwrap();
    let replaced = async {
        let waits = "select count(*) from pg_locks where not granted and relation = 'identity.guesses'::regclass";
        while count(&app, waits).await == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let released = async {
            let changed = "select count(*) from identity.security_events where kind = 'password-changed'";
            while count(&app, changed).await == 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            held.rollback().await.unwrap();
        };
        tokio::join!(Way::ChangePassword.take(&app, &owner), released);
    };
    let (late, ()) = tokio::join!(app.sign_in(EMAIL, PASSWORD), replaced);
    assert_eq!(
        (late.status, late.problem()),
        (StatusCode::UNAUTHORIZED, "/problems/wrong-credentials"),
        "{late:?}"
    );
    let open = "select count(*) from identity.sessions where revoked_at is null";
    assert_eq!(count(&app, open).await, 1);
    app.end().await;
}

#[tokio::test]
async fn a_sign_in_that_waits_for_its_second_factor_ends_with_its_password() {
    for way in [Way::Reset, Way::ChangePassword, Way::SignOutEverywhere] {
        let app = App::start().await;
        let owner = app.register(EMAIL).await;
        change(
            &app,
            "insert into identity.totp_factors (user_id, sealed_seed, confirmed_at)
             select user_id, decode(repeat('00', 60), 'hex'), clock_timestamp() from identity.users",
        )
        .await;
        let waiting = app.sign_in(EMAIL, PASSWORD).await;
        assert_eq!(waiting.problem(), "/problems/factor-required");
        way.take(&app, &owner).await;
        let options = app
            .post(
                "/api/v1/auth/login/factor/options",
                json!({"challenge": waiting.body["challenge"]}),
            )
            .await;
        assert_eq!(options.problem(), "/problems/unknown-challenge", "{way:?}");
        app.end().await;
    }
}

#[tokio::test]
async fn two_mails_of_one_person_that_are_used_at_once_are_both_answered() {
    let (app, mailbox) = with_mail().await;
    app.register(EMAIL).await;
    for round in 0..5 {
        let tokens = [reset_token(&app).await, reset_token(&app).await];
        let used = futures::future::join_all(tokens.iter().cycle().take(8).map(|token| {
            let body = json!({"token": token, "new_password": format!("{NEW_PASSWORD} {round}")});
            app.post("/api/v1/auth/reset-password", body)
        }))
        .await;
        let mut statuses: Vec<u16> = used.iter().map(|answer| answer.status.as_u16()).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [204, 422, 422, 422, 422, 422, 422, 422], "{used:?}");
        change(&app, "delete from identity.mail_tokens").await;
    }
    drop(mailbox);
    app.end().await;
}

#[tokio::test]
async fn a_reset_that_went_to_the_address_of_before_is_good_for_nothing() {
    let (app, mailbox) = with_mail().await;
    let owner = app.register(EMAIL).await;
    app.post("/api/v1/auth/forgot-password", json!({"email": EMAIL})).await;
    let old = mails(&mailbox, EMAIL, 2).await[1].after("reset-password?token=");
    let body = json!({"email": "ada@example.com"});
    app.post_as(token(&owner), "/api/v1/auth/change-email", body).await;
    let code = mails(&mailbox, "ada@example.com", 1).await[0].after("change-email?token=");
    let confirmed = app
        .post_as(
            token(&owner),
            "/api/v1/auth/change-email/confirm",
            json!({"token": code}),
        )
        .await;
    assert_eq!(confirmed.status, StatusCode::NO_CONTENT);
    // As if it had been asked for while the address changed.
    change(
        &app,
        "update identity.mail_tokens set used_at = null where purpose = 'reset-password'",
    )
    .await;
    let late = app
        .post(
            "/api/v1/auth/reset-password",
            json!({"token": old, "new_password": NEW_PASSWORD}),
        )
        .await;
    assert_eq!((late.status.as_u16(), late.problem()), (422, "/problems/invalid-token"));
    assert_eq!(app.sign_in("ada@example.com", PASSWORD).await.status, StatusCode::OK);
    app.end().await;
}

#[tokio::test]
async fn after_a_reset_strangers_guesses_of_before_keep_nobody_out() {
    let app = App::start().await;
    app.register(EMAIL).await;
    assert_eq!(app.sign_in(EMAIL, "wrong horse").await.status, StatusCode::UNAUTHORIZED);
    change(&app, "update identity.guesses set guesses = 100").await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(app.sign_in(EMAIL, PASSWORD).await.status, StatusCode::TOO_MANY_REQUESTS);
    reset(&app).await;
    let signed_in = app.sign_in(EMAIL, NEW_PASSWORD).await;
    assert_eq!(signed_in.status, StatusCode::OK, "{signed_in:?}");
    app.end().await;
}

#[tokio::test]
async fn a_thiefs_device_is_known_no_longer() {
    for way in [Some(Way::Reset), Some(Way::SignOutEverywhere), None] {
        let app = App::start().await;
        let owner = app.register(EMAIL).await;
        let thief = app.sign_in(EMAIL, PASSWORD).await.body;
        match way {
            Some(way) => way.take(&app, &owner).await,
            None => {
                let claims = TokenVerifier::load(&app.database.pool(DatabaseRole::Reader).await)
                    .await
                    .unwrap()
                    .verify(token(&thief))
                    .unwrap();
                let path = format!("/api/v1/auth/sessions/{}", claims.session_id);
                let ended = app.delete_as(token(&owner), &path).await;
                assert_eq!(ended.status, StatusCode::NO_CONTENT);
            }
        }
        let password = if way == Some(Way::Reset) {
            NEW_PASSWORD
        } else {
            PASSWORD
        };
        let again = waited(async || app.sign_in_on(&thief["device_token"], EMAIL, password).await).await;
        assert_eq!(again.status, StatusCode::OK, "{again:?}");
        assert!(again.body["device_token"].is_string(), "{way:?}: a new device");
        app.end().await;
    }
}

#[tokio::test]
async fn without_a_fresh_proof_a_stolen_session_makes_no_device_of_its_owner_unknown() {
    let app = App::start().await;
    let thief = app.register(EMAIL).await;
    let owner = app.sign_in(EMAIL, PASSWORD).await.body;
    change(
        &app,
        "update identity.sessions set proven_at = proven_at - interval '11 minutes'",
    )
    .await;
    let thief = app.refresh(&thief["refresh_token"], None).await.body;
    // One by one, then all at once: by an access token, and by a refresh token.
    let sessions = app.get_as(token(&thief), "/api/v1/auth/sessions").await;
    let sessions = sessions.body["sessions"].as_array().unwrap().clone();
    let owners = sessions.iter().find(|session| session["is_current"] == false).unwrap();
    let path = format!("/api/v1/auth/sessions/{}", owners["session_id"].as_str().unwrap());
    assert_eq!(app.delete_as(token(&thief), &path).await.status, StatusCode::NO_CONTENT);
    let everywhere = json!({"everywhere": true});
    let out = app.post_as(token(&thief), "/api/v1/auth/logout", everywhere).await;
    assert_eq!(out.status, StatusCode::NO_CONTENT);
    let live = "select count(*) from identity.sessions where revoked_at is null";
    assert_eq!(count(&app, live).await, 0);
    let again = app.sign_in_on(&owner["device_token"], EMAIL, PASSWORD).await;
    assert_eq!(again.status, StatusCode::OK, "{again:?}");
    assert!(again.body.get("device_token").is_none(), "the device is still known");
    change(
        &app,
        "update identity.sessions set proven_at = proven_at - interval '11 minutes'",
    )
    .await;
    let by_refresh_token = json!({"refresh_token": again.body["refresh_token"], "everywhere": true});
    let out = app.post("/api/v1/auth/logout", by_refresh_token).await;
    assert_eq!(out.status, StatusCode::NO_CONTENT);
    assert_eq!(count(&app, live).await, 0);

    // Strangers use up the day's guesses, and the owner comes in on their device.
    assert_eq!(app.sign_in(EMAIL, "wrong horse").await.status, StatusCode::UNAUTHORIZED);
    change(&app, "update identity.guesses set guesses = 100 where guesses > 0").await;
    let again = app.sign_in_on(&owner["device_token"], EMAIL, PASSWORD).await;
    assert_eq!(again.status, StatusCode::OK, "{again:?}");
    // With a proof it is forgotten, by a refresh token too.
    let by_refresh_token = json!({"refresh_token": again.body["refresh_token"], "everywhere": true});
    let out = app.post("/api/v1/auth/logout", by_refresh_token).await;
    assert_eq!(out.status, StatusCode::NO_CONTENT);
    assert_eq!(count(&app, "select count(*) from identity.devices").await, 0);
    app.end().await;
}

#[tokio::test]
async fn a_process_that_has_not_heard_of_it_yet_gives_an_ended_session_no_way_back() {
    let (app, mailbox) = with_mail().await;
    let owner = app.register(EMAIL).await;
    change(&app, "update identity.users set email_verified_at = clock_timestamp()").await;
    let thief = app.sign_in(EMAIL, PASSWORD).await.body;
    let router = app.another_process_with(&mailing(&mailbox)).await;
    let elsewhere = async |token: &str, path: &str, body: Value| {
        use tower::ServiceExt;

        let request = json_request(path, &body, &[("authorization", &format!("Bearer {token}"))]);
        Answer::read(router.clone().oneshot(request).await.unwrap()).await
    };
    // There, the thief is still in.
    let is_in = elsewhere(token(&thief), "/api/v1/auth/verify-email/request", json!({})).await;
    assert_eq!(is_in.status, StatusCode::ACCEPTED, "{is_in:?}");
    Way::SignOutEverywhere.take(&app, &owner).await;
    for (path, body) in [
        (
            "/api/v1/auth/change-password",
            json!({"new_password": "a horse of Eve's own"}),
        ),
        ("/api/v1/auth/change-email", json!({"email": "eve@example.com"})),
        ("/api/v1/auth/api-keys", json!({"name": "script", "scopes": ["read"]})),
    ] {
        let refused = elsewhere(token(&thief), path, body).await;
        assert_eq!(
            (refused.status, refused.problem()),
            (StatusCode::UNAUTHORIZED, "/problems/not-signed-in"),
            "{path}"
        );
    }
    let asked = "select count(*) from identity.mail_tokens where purpose = 'change-email'";
    assert_eq!(count(&app, asked).await, 0);
    let owner = app.sign_in(EMAIL, PASSWORD).await;
    assert_eq!(owner.status, StatusCode::OK, "{owner:?}");
    app.end().await;
}
