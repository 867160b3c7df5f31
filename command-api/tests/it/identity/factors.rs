//! Authenticator apps, recovery codes, and signing in by two steps.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use axum::http::StatusCode;
use futures::future::join_all;
use serde_json::{Value, json};
use service_kit::database::DatabaseRole;
use tower::ServiceExt;

use super::{Answer, App, PASSWORD, json_request};

const EMAIL: &str = "ada@example.org";
const LOGIN_FACTOR: &str = "/api/v1/auth/login/factor";
const TOTP: &str = "/api/v1/auth/factors/totp";
const CONFIRM: &str = "/api/v1/auth/factors/totp/confirm";
const RECOVERY_CODES: &str = "/api/v1/auth/factors/recovery-codes";
const STEP_UP: &str = "/api/v1/auth/step-up";

/// Somebody's telephone.
pub(super) struct AuthenticatorApp {
    seed: Vec<u8>,
}

impl AuthenticatorApp {
    pub(super) fn scan(answer: &Answer) -> Self {
        let secret = answer.body["secret"].as_str().unwrap();
        let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        let bits: String = secret
            .chars()
            .map(|c| format!("{:05b}", alphabet.find(c).unwrap()))
            .collect();
        let seed = bits
            .as_bytes()
            .chunks_exact(8)
            .map(|byte| u8::from_str_radix(std::str::from_utf8(byte).unwrap(), 2).unwrap())
            .collect();
        Self { seed }
    }

    /// What it showed so many steps ago.
    pub(super) fn code(&self, steps_ago: u64) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &self.seed);
        let tag = hmac::sign(&key, &(now / 30 - steps_ago).to_be_bytes());
        let tag = tag.as_ref();
        let at = usize::from(tag[19] & 15);
        let number = u32::from_be_bytes(tag[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
        format!("{:06}", number % 1_000_000)
    }

    /// A code it does not show these minutes.
    pub(super) fn wrong_code(&self) -> String {
        let shown: Vec<String> = (0..3).map(|ago| self.code(ago)).collect();
        (0..10)
            .map(|number| format!("{number:06}"))
            .find(|code| !shown.contains(code))
            .unwrap()
    }
}

pub(super) struct Enrolled {
    pub(super) app: App,
    pub(super) phone: AuthenticatorApp,
    pub(super) recovery_codes: Vec<String>,
    pub(super) access_token: String,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn codes(answer: &Answer) -> Vec<String> {
    answer.body["recovery_codes"]
        .as_array()
        .unwrap()
        .iter()
        .map(text)
        .collect()
}

/// Codes have to belong to a step that does not end while the test looks at them.
pub(super) async fn early_in_a_step() {
    loop {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        // The service counts whole seconds, and may be up to two behind.
        if (2_500..15_000).contains(&(now % 30_000)) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}

/// The telephone's last code is a long time ago.
pub(super) async fn time_passes(app: &App) {
    change(app, "update identity.totp_factors set last_step = 0").await;
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

pub(super) async fn enrolled() -> Enrolled {
    let app = App::start().await;
    let access_token = text(&app.register(EMAIL).await["access_token"]);
    let begun = app.post_as(&access_token, TOTP, json!({})).await;
    assert_eq!(begun.status, StatusCode::CREATED, "{begun:?}");
    assert_eq!(begun.caching.as_deref(), Some("no-store"));
    let phone = AuthenticatorApp::scan(&begun);
    // Until the first code has come it counts for nothing.
    assert_eq!(app.sign_in(EMAIL, PASSWORD).await.status, StatusCode::OK);
    early_in_a_step().await;
    let confirmed = app
        .post_as(&access_token, CONFIRM, json!({"code": phone.code(0)}))
        .await;
    assert_eq!(confirmed.status, StatusCode::OK, "{confirmed:?}");
    Enrolled {
        recovery_codes: codes(&confirmed),
        app,
        phone,
        access_token,
    }
}

impl Enrolled {
    pub(super) async fn challenge(&self) -> String {
        let first = self.app.sign_in(EMAIL, PASSWORD).await;
        assert_eq!(
            (first.status, first.problem()),
            (StatusCode::UNAUTHORIZED, "/problems/factor-required")
        );
        text(&first.body["challenge"])
    }

    pub(super) async fn second_step(&self, challenge: &str, factor: Value) -> Answer {
        let body = json!({"challenge": challenge, "factor": factor});
        self.app.post(LOGIN_FACTOR, body).await
    }
}

#[tokio::test]
async fn a_session_and_the_password_choose_no_other_password_where_there_is_a_second_factor() {
    let ada = enrolled().await;
    let challenge = ada.challenge().await;
    time_passes(&ada.app).await;
    early_in_a_step().await;
    let signed_in = ada.second_step(&challenge, json!({"code": ada.phone.code(0)})).await;
    assert_eq!(signed_in.status, StatusCode::OK, "{signed_in:?}");
    change(
        &ada.app,
        "update identity.sessions set proven_at = proven_at - interval '1 hour'",
    )
    .await;
    let stale = ada.app.refresh(&signed_in.body["refresh_token"], None).await.body;
    let change_by = async |token: &str| {
        let body = json!({"old_password": PASSWORD, "new_password": "another long sentence of hers"});
        ada.app.post_as(token, "/api/v1/auth/change-password", body).await
    };
    let refused = change_by(&text(&stale["access_token"])).await;
    assert_eq!(
        (refused.status, refused.problem()),
        (StatusCode::FORBIDDEN, "/problems/step-up-required")
    );
    assert_eq!(change_by(&ada.access_token).await.status, StatusCode::NO_CONTENT);
    ada.app.end().await;
}

#[tokio::test]
async fn who_added_an_app_signs_in_by_two_steps() {
    let ada = enrolled().await;
    let first = ada.app.sign_in(EMAIL, PASSWORD).await;
    assert_eq!(first.caching.as_deref(), Some("no-store"));
    assert_eq!(first.body["factors"], json!(["totp", "recovery-code"]));
    assert_eq!(first.body["expires_in"], 300);
    assert!(first.body.get("access_token").is_none());
    assert!(first.body.get("refresh_token").is_none());
    let challenge = text(&first.body["challenge"]);
    // It is no access token and no refresh token.
    assert!(!ada.app.is_signed_in(&first.body["challenge"]).await);
    let refreshed = ada.app.refresh(&first.body["challenge"], None).await;
    assert_eq!(refreshed.status, StatusCode::UNAUTHORIZED);

    time_passes(&ada.app).await;
    early_in_a_step().await;
    let second = ada.second_step(&challenge, json!({"code": ada.phone.code(0)})).await;
    assert_eq!(second.status, StatusCode::OK, "{second:?}");
    assert!(ada.app.is_signed_in(&second.body["access_token"]).await);

    time_passes(&ada.app).await;
    let again = ada.second_step(&challenge, json!({"code": ada.phone.code(0)})).await;
    assert_eq!(
        (again.status, again.problem()),
        (StatusCode::UNAUTHORIZED, "/problems/unknown-challenge")
    );
    ada.app.end().await;
}

#[tokio::test]
async fn a_wrong_password_tells_nothing_of_a_second_factor() {
    let ada = enrolled().await;
    let wrong = ada.app.sign_in(EMAIL, "wrong horse").await;
    let unknown = ada.app.sign_in("eve@example.org", "wrong horse").await;
    assert_eq!((wrong.status, wrong.body), (unknown.status, unknown.body));
    ada.app.end().await;
}

#[tokio::test]
async fn of_fifty_that_offer_one_code_at_once_one_gets_in() {
    let ada = enrolled().await;
    time_passes(&ada.app).await;
    // Each process admits four at a time, so thirteen of them look at all fifty at once.
    let mut processes = Vec::new();
    for _ in 0..13 {
        processes.push(ada.app.another_process().await);
    }
    let mut challenges = Vec::new();
    for _ in 0..10 {
        challenges.push(ada.challenge().await);
    }
    early_in_a_step().await;
    let code = ada.phone.code(0);
    let requests = (0..50).map(|number| {
        let body = json!({"challenge": challenges[number % 10], "factor": {"code": code}});
        let process = processes[number % 13].clone();
        async move {
            let response = process.oneshot(json_request(LOGIN_FACTOR, &body, &[])).await.unwrap();
            Answer::read(response).await
        }
    });
    let answers = join_all(requests).await;
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status.as_u16()).collect();
    let with = |status| statuses.iter().filter(|found| **found == status).count();
    // A process that has seen one lose already lets no other try for a second.
    assert_eq!((with(200), with(401) + with(429)), (1, 49), "{statuses:?}");
    assert!(with(401) > 13, "{statuses:?}");
    // Registering opened a session, and so did signing in before the app counted.
    assert_eq!(count(&ada.app, "select count(*) from identity.sessions").await, 3);
    ada.app.end().await;
}

#[tokio::test]
async fn a_code_that_was_accepted_is_over_and_so_is_every_earlier_one() {
    let ada = enrolled().await;
    let challenge = ada.challenge().await;
    // The enrolment has used the current step.
    let replayed = ada.second_step(&challenge, json!({"code": ada.phone.code(0)})).await;
    assert_eq!(
        (replayed.status, replayed.problem()),
        (StatusCode::UNAUTHORIZED, "/problems/wrong-factor")
    );
    let elsewhere = ada.app.another_process().await;
    let body = json!({"challenge": challenge, "factor": {"code": ada.phone.code(1)}});
    let earlier = elsewhere.oneshot(json_request(LOGIN_FACTOR, &body, &[])).await.unwrap();
    assert_eq!(earlier.status(), StatusCode::UNAUTHORIZED);

    time_passes(&ada.app).await;
    early_in_a_step().await;
    let elsewhere = ada.app.another_process().await;
    let body = json!({"challenge": challenge, "factor": {"code": ada.phone.code(2)}});
    let too_old = elsewhere.oneshot(json_request(LOGIN_FACTOR, &body, &[])).await.unwrap();
    assert_eq!(too_old.status(), StatusCode::UNAUTHORIZED);
    let elsewhere = ada.app.another_process().await;
    let body = json!({"challenge": challenge, "factor": {"code": ada.phone.code(1)}});
    let just_before = elsewhere.oneshot(json_request(LOGIN_FACTOR, &body, &[])).await.unwrap();
    assert_eq!(just_before.status(), StatusCode::OK);
    ada.app.end().await;
}

#[tokio::test]
async fn guessing_codes_is_slow_and_ends_with_the_day_but_recovery_codes_still_open() {
    let ada = enrolled().await;
    let challenge = ada.challenge().await;
    let wrong = ada
        .second_step(&challenge, json!({"code": ada.phone.wrong_code()}))
        .await;
    assert_eq!(wrong.problem(), "/problems/wrong-factor");
    let too_fast = ada
        .second_step(&challenge, json!({"code": ada.phone.wrong_code()}))
        .await;
    assert_eq!(too_fast.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(too_fast.retry_after_s.is_some());
    // The password has a count of its own, which this has not touched.
    let challenge = ada.challenge().await;
    assert_eq!(
        count(
            &ada.app,
            "select count(*) from identity.security_events where kind = 'factor-failed'"
        )
        .await,
        1
    );

    change(
        &ada.app,
        "update identity.totp_factors set last_step = 0, attempts = 100",
    )
    .await;
    early_in_a_step().await;
    let processes = [ada.app.another_process().await, ada.app.another_process().await];
    let offer = |process: usize, factor: Value| {
        let body = json!({"challenge": challenge, "factor": factor});
        let process = processes[process].clone();
        async move {
            let response = process.oneshot(json_request(LOGIN_FACTOR, &body, &[])).await.unwrap();
            Answer::read(response).await
        }
    };
    let spent = offer(0, json!({"code": ada.phone.code(0)})).await;
    assert_eq!(spent.problem(), "/problems/wrong-factor");
    let recovered = offer(1, json!({"recovery_code": ada.recovery_codes[0]})).await;
    assert_eq!(recovered.status, StatusCode::OK, "{recovered:?}");

    change(
        &ada.app,
        "update identity.totp_factors set attempts_on = attempts_on - 1",
    )
    .await;
    early_in_a_step().await;
    let challenge = ada.challenge().await;
    let body = json!({"challenge": challenge, "factor": {"code": ada.phone.code(0)}});
    let next_day = processes[1]
        .clone()
        .oneshot(json_request(LOGIN_FACTOR, &body, &[]))
        .await
        .unwrap();
    assert_eq!(next_day.status(), StatusCode::OK);
    ada.app.end().await;
}

#[tokio::test]
async fn a_recovery_code_opens_once_and_ends_with_its_successors() {
    let ada = enrolled().await;
    assert_eq!(ada.recovery_codes.len(), 10);
    let challenge = ada.challenge().await;
    let typed = ada.recovery_codes[0].to_lowercase().replace('-', " ");
    let used = ada.second_step(&challenge, json!({"recovery_code": typed})).await;
    assert_eq!(used.status, StatusCode::OK, "{used:?}");
    let token = text(&used.body["access_token"]);
    let listed = ada.app.get_as(&token, "/api/v1/auth/factors").await;
    assert_eq!(listed.body["recovery_codes_left"], 9);
    assert!(listed.body["totp_since"].is_string());

    let renewed = ada.app.post_as(&token, RECOVERY_CODES, json!({})).await;
    assert_eq!(renewed.status, StatusCode::CREATED, "{renewed:?}");
    let renewed = codes(&renewed);
    assert_eq!(renewed.len(), 10);
    assert!(renewed.iter().all(|code| !ada.recovery_codes.contains(code)));
    let challenge = ada.challenge().await;
    for over in [&ada.recovery_codes[0], &ada.recovery_codes[1]] {
        let body = json!({"challenge": challenge, "factor": {"recovery_code": over}});
        let elsewhere = ada.app.another_process().await;
        let refused = elsewhere.oneshot(json_request(LOGIN_FACTOR, &body, &[])).await.unwrap();
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    }
    let opened = ada.second_step(&challenge, json!({"recovery_code": renewed[9]})).await;
    assert_eq!(opened.status, StatusCode::OK);
    ada.app.end().await;
}

#[tokio::test]
async fn fifty_that_offer_one_recovery_code_open_one_session() {
    let ada = enrolled().await;
    let mut processes = Vec::new();
    for _ in 0..13 {
        processes.push(ada.app.another_process().await);
    }
    let mut challenges = Vec::new();
    for _ in 0..10 {
        challenges.push(ada.challenge().await);
    }
    let requests = (0..50).map(|number| {
        let body = json!({"challenge": challenges[number % 10], "factor": {"recovery_code": ada.recovery_codes[3]}});
        processes[number % 13]
            .clone()
            .oneshot(json_request(LOGIN_FACTOR, &body, &[]))
    });
    let answers = join_all(requests).await;
    let opened = answers
        .iter()
        .filter(|answer| answer.as_ref().unwrap().status() == StatusCode::OK)
        .count();
    assert_eq!(opened, 1);
    ada.app.end().await;
}

#[tokio::test]
async fn where_there_is_a_second_factor_the_password_alone_proves_too_little() {
    let ada = enrolled().await;
    let token = ada.access_token.as_str();
    let password = ada.app.post_as(token, STEP_UP, json!({"password": PASSWORD})).await;
    assert_eq!(
        (password.status, password.problem()),
        (StatusCode::FORBIDDEN, "/problems/factor-required")
    );
    assert_eq!(password.body["factors"], json!(["totp", "recovery-code"]));
    let both = json!({"password": PASSWORD, "factor": {"code": "123456"}});
    assert_eq!(
        ada.app.post_as(token, STEP_UP, both).await.status,
        StatusCode::BAD_REQUEST
    );
    let two = json!({"factor": {"code": "123456", "recovery_code": "A"}});
    assert_eq!(
        ada.app.post_as(token, STEP_UP, two).await.status,
        StatusCode::BAD_REQUEST
    );

    time_passes(&ada.app).await;
    early_in_a_step().await;
    let code = ada
        .app
        .post_as(token, STEP_UP, json!({"factor": {"code": ada.phone.code(0)}}))
        .await;
    assert_eq!(code.status, StatusCode::OK, "{code:?}");
    let replayed = ada
        .app
        .post_as(token, STEP_UP, json!({"factor": {"code": ada.phone.code(0)}}))
        .await;
    assert_eq!(replayed.status, StatusCode::FORBIDDEN);
    ada.app.end().await;
}

#[tokio::test]
async fn without_a_fresh_proof_no_factor_is_changed() {
    let ada = enrolled().await;
    change(
        &ada.app,
        "update identity.sessions set proven_at = proven_at - interval '11 minutes'",
    )
    .await;
    let session = ada.app.register("old@example.org").await;
    change(
        &ada.app,
        "update identity.sessions set proven_at = clock_timestamp() - interval '11 minutes'",
    )
    .await;
    let stale = ada.app.refresh(&session["refresh_token"], None).await;
    let stale = text(&stale.body["access_token"]);
    for path in [TOTP, CONFIRM, RECOVERY_CODES] {
        let refused = ada.app.post_as(&stale, path, json!({"code": "123456"})).await;
        assert_eq!(
            (refused.status, refused.problem()),
            (StatusCode::FORBIDDEN, "/problems/step-up-required"),
            "{path}"
        );
    }
    let refused = ada.app.delete_as(&stale, TOTP).await;
    assert_eq!(refused.problem(), "/problems/step-up-required");
    assert_eq!(count(&ada.app, "select count(*) from identity.totp_factors").await, 1);
    assert_eq!(
        count(&ada.app, "select count(*) from identity.recovery_codes").await,
        10
    );
    ada.app.end().await;
}

#[tokio::test]
async fn who_removes_the_app_signs_in_by_password_again() {
    let ada = enrolled().await;
    let again = ada.app.post_as(&ada.access_token, TOTP, json!({})).await;
    assert_eq!(
        (again.status, again.problem()),
        (StatusCode::CONFLICT, "/problems/already-enrolled")
    );
    let removed = ada.app.delete_as(&ada.access_token, TOTP).await;
    assert_eq!(removed.status, StatusCode::NO_CONTENT);
    assert_eq!(ada.app.sign_in(EMAIL, PASSWORD).await.status, StatusCode::OK);
    assert_eq!(count(&ada.app, "select count(*) from identity.recovery_codes").await, 0);
    let again = ada.app.delete_as(&ada.access_token, TOTP).await;
    assert_eq!(again.status, StatusCode::NOT_FOUND);
    let none = ada.app.post_as(&ada.access_token, RECOVERY_CODES, json!({})).await;
    assert_eq!(
        (none.status, none.problem()),
        (StatusCode::CONFLICT, "/problems/no-factor")
    );
    ada.app.end().await;
}

#[tokio::test]
async fn unfinished_sign_ins_are_few_and_end() {
    let ada = enrolled().await;
    let mut challenges = Vec::new();
    for _ in 0..12 {
        challenges.push(ada.challenge().await);
    }
    assert_eq!(
        count(&ada.app, "select count(*) from identity.pending_sign_ins").await,
        10
    );
    let pushed_out = ada
        .second_step(&challenges[0], json!({"recovery_code": ada.recovery_codes[0]}))
        .await;
    assert_eq!(pushed_out.problem(), "/problems/unknown-challenge");
    change(
        &ada.app,
        "update identity.pending_sign_ins set expires_at = clock_timestamp()",
    )
    .await;
    let over = ada
        .second_step(&challenges[11], json!({"recovery_code": ada.recovery_codes[0]}))
        .await;
    assert_eq!(over.problem(), "/problems/unknown-challenge");
    ada.app.end().await;
}

#[tokio::test]
async fn neither_seed_nor_codes_are_stored_in_clear_and_only_identitys_role_reads_them() {
    let ada = enrolled().await;
    let challenge = ada.challenge().await;
    let pool = ada.app.database.superuser().await;
    let mut dump = String::new();
    for table in ["totp_factors", "recovery_codes", "pending_sign_ins", "security_events"] {
        let rows: Vec<(String,)> = sqlx::query_as(&format!("select row_to_json(t)::text from identity.{table} as t"))
            .fetch_all(&pool)
            .await
            .unwrap();
        assert!(!rows.is_empty(), "{table}");
        dump.extend(rows.into_iter().map(|(row,)| row));
    }
    let mut secrets = vec![hex::encode(&ada.phone.seed), challenge];
    secrets.extend(ada.recovery_codes.iter().cloned());
    secrets.extend(ada.recovery_codes.iter().map(|code| code.replace('-', "")));
    let hexadecimal: Vec<String> = secrets.iter().map(hex::encode).collect();
    for secret in secrets.iter().chain(&hexadecimal) {
        assert!(!dump.contains(secret.as_str()), "{secret}");
    }
    for role in [
        DatabaseRole::Writer,
        DatabaseRole::Reader,
        DatabaseRole::Projector,
        DatabaseRole::Relay,
    ] {
        let other = ada.app.database.pool(role).await;
        for table in ["totp_factors", "recovery_codes", "pending_sign_ins"] {
            let read = sqlx::query(&format!("select * from identity.{table}"))
                .fetch_all(&other)
                .await;
            assert!(read.is_err(), "{role:?} reads {table}");
        }
    }
    ada.app.end().await;
}
