//! Codes by text message, at a gateway that keeps what it takes.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    extract::ConnectInfo,
    http::{Request, StatusCode, header},
};
use command_api::{
    identity::{Identity, IdentityConfig, Secret},
    person::{self, PersonState},
};
use connectors::channels::{Channels, Settings};
use event_store::Log;
use futures::future::join_all;
use serde_json::{Value, json};
use service_kit::{
    database::DatabaseRole,
    testing::{
        TestDatabase,
        mailbox::Mailbox,
        telephones::{Message, Telephones},
    },
};
use tower::ServiceExt;

use super::{Answer, App, PASSWORD, json_request, quick};

const EMAIL: &str = "ada@example.org";
const NUMBER: &str = "+491701234567";
const OTHER_NUMBER: &str = "+491709999999";
const START: &str = "/api/v1/auth/phone/start";
const FINISH: &str = "/api/v1/auth/phone/finish";
const PHONE: &str = "/api/v1/auth/profile/phone";
const CONFIRM: &str = "/api/v1/auth/profile/phone/confirm";

/// A gateway, and an app that sends by it.
struct Sending {
    app: App,
    telephones: Telephones,
}

impl Sending {
    async fn start() -> Self {
        Self::start_with(None).await
    }

    /// With mail too, where there is a mailbox.
    async fn start_with(mailbox: Option<&Mailbox>) -> Self {
        let telephones = Telephones::start();
        let settings = Settings {
            sms_url: Some(telephones.url()),
            sms_from: Some("+15005550006".to_owned()),
            smtp_url: mailbox.map(Mailbox::url),
            mail_from: mailbox.map(|_| "Kinledger <kinledger@example.org>".to_owned()),
            ..Settings::default()
        };
        let config = IdentityConfig {
            channels: Channels::open(&settings).unwrap(),
            ..quick()
        };
        Self {
            app: App::on(TestDatabase::create().await, &config, [7; 32]).await,
            telephones,
        }
    }

    /// The last of so many messages, once there are: no more have come.
    async fn message(&self, count: usize) -> Message {
        let telephones = self.telephones.clone();
        let last = tokio::task::spawn_blocking(move || telephones.wait_for(count)).await;
        let all = self.telephones.messages();
        assert!(all.len() <= count, "{all:?}");
        last.unwrap()
    }

    /// The code of the message of this number, once there are so many messages.
    async fn code(&self, count: usize) -> String {
        let last = self.message(count).await;
        assert_eq!(last.to, NUMBER);
        last.code()
    }

    async fn put(&self, token: &str, number: &str) -> Answer {
        let mut request = json_request(
            PHONE,
            &json!({"number": number}),
            &[("authorization", &format!("Bearer {token}"))],
        );
        *request.method_mut() = axum::http::Method::PUT;
        self.app.send(request).await
    }

    /// From the address of one of several networks.
    async fn send_from(&self, network: u8, mut request: Request<Body>) -> Answer {
        let peer = SocketAddr::from(([192, 0, 2, network], 4711));
        request.extensions_mut().insert(ConnectInfo(peer));
        self.app.send(request).await
    }

    /// Ada, with her number confirmed; the first message is used.
    async fn ada(&self) -> Value {
        let ada = self.app.register(EMAIL).await;
        let token = ada["access_token"].as_str().unwrap();
        let asked = self.put(token, " +49 (170) 123-4567 ").await;
        assert_eq!(asked.status, StatusCode::ACCEPTED, "{asked:?}");
        let code = self.code(1).await;
        let answered = json!({"challenge": asked.body["challenge"], "code": code});
        let confirmed = self.app.post_as(token, CONFIRM, answered).await;
        assert_eq!(confirmed.status, StatusCode::NO_CONTENT, "{confirmed:?}");
        ada
    }

    async fn ask(&self) -> Value {
        let asked = self.app.post(START, json!({"number": NUMBER})).await;
        assert_eq!(asked.status, StatusCode::ACCEPTED, "{asked:?}");
        asked.body["challenge"].clone()
    }

    async fn finish(&self, challenge: &Value, code: &str) -> Answer {
        self.app
            .post(FINISH, json!({"challenge": challenge, "code": code}))
            .await
    }

    async fn change(&self, statement: &str) {
        let pool = self.app.database.superuser().await;
        sqlx::query(statement).execute(&pool).await.unwrap();
        pool.close().await;
    }

    /// What somebody takes with them, by a process of its own.
    async fn export(&self, person: &Value, format: &str) -> String {
        let database = &self.app.database;
        let pool = database.pool(DatabaseRole::Identity).await;
        let identity = Identity::open(pool, &Secret::new([7; 32]), &quick(), self.app.places.clone())
            .await
            .unwrap();
        let log = Log::new(database.pool(DatabaseRole::Writer).await, [7; 32]);
        let exporting = person::router(PersonState::new(identity, log));
        let request = Request::get(format!("/api/v1/auth/export?format={format}"))
            .header(
                header::AUTHORIZATION,
                format!("Bearer {}", person["access_token"].as_str().unwrap()),
            )
            .body(Body::empty());
        let response = exporting.oneshot(request.unwrap()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }
}

fn other_than(code: &str) -> String {
    format!("{:06}", (code.parse::<u32>().unwrap() + 1) % 1_000_000)
}

fn is_wrong(answer: &Answer) -> bool {
    (answer.status, answer.problem()) == (StatusCode::UNAUTHORIZED, "/problems/wrong-code")
}

#[tokio::test]
async fn a_number_is_confirmed_and_signs_in_and_proves_nothing_beyond_it() {
    let sending = Sending::start().await;
    let ada = sending.ada().await;
    let token = ada["access_token"].as_str().unwrap();
    let profile = sending.app.get_as(token, "/api/v1/auth/profile").await.body;
    assert_eq!(profile["phone"], "+49…567");
    let challenge = sending.ask().await;
    let signed_in = sending.finish(&challenge, &sending.code(2).await).await;
    assert_eq!(signed_in.status, StatusCode::OK, "{signed_in:?}");
    assert_eq!(signed_in.body["user_id"], ada["user_id"]);
    assert!(
        signed_in
            .cookie
            .as_ref()
            .unwrap()
            .starts_with("__Secure-kinledger-device-")
    );
    let by_phone = signed_in.body["access_token"].as_str().unwrap();
    assert!(sending.app.is_signed_in(&signed_in.body["access_token"]).await);
    for refused in [
        sending.put(by_phone, OTHER_NUMBER).await,
        sending.app.delete_as(by_phone, PHONE).await,
        sending
            .app
            .post_as(
                by_phone,
                "/api/v1/auth/change-password",
                json!({"new_password": "a horse of Eve's own"}),
            )
            .await,
    ] {
        assert_eq!(
            (refused.status, refused.problem()),
            (StatusCode::FORBIDDEN, "/problems/step-up-required")
        );
    }
    let proven = sending
        .app
        .post_as(by_phone, "/api/v1/auth/step-up", json!({"password": PASSWORD}))
        .await;
    let proven = proven.body["access_token"].as_str().unwrap().to_owned();
    assert_eq!(
        sending.app.delete_as(&proven, PHONE).await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        sending.app.delete_as(&proven, PHONE).await.status,
        StatusCode::NOT_FOUND
    );
    let pool = sending.app.database.superuser().await;
    let kinds: Vec<(String,)> = sqlx::query_as("select kind from identity.security_events order by event_id")
        .fetch_all(&pool)
        .await
        .unwrap();
    for kind in ["phone-verified", "signed-in", "phone-removed"] {
        assert!(kinds.iter().any(|(told,)| told == kind), "{kind}: {kinds:?}");
    }
    pool.close().await;
    sending.app.end().await;
}

#[tokio::test]
async fn a_number_nobody_has_is_answered_alike_and_gets_no_message() {
    let sending = Sending::start().await;
    sending.ada().await;
    let known = sending.app.post(START, json!({"number": NUMBER})).await;
    let unknown = sending.app.post(START, json!({"number": OTHER_NUMBER})).await;
    sending.code(2).await;
    assert_eq!(
        (known.status, unknown.status),
        (StatusCode::ACCEPTED, StatusCode::ACCEPTED)
    );
    let form = |answer: &Answer| -> BTreeMap<String, usize> {
        let members = answer.body.as_object().unwrap();
        members
            .iter()
            .map(|(name, value)| (name.clone(), value.to_string().len()))
            .collect()
    };
    assert_eq!(form(&known), form(&unknown));
    let wrong = other_than(&sending.code(2).await);
    let refused = [&known, &unknown].map(|asked| sending.finish(&asked.body["challenge"], &wrong));
    let refused = join_all(refused).await;
    assert!(refused.iter().all(is_wrong), "{refused:?}");
    assert_eq!(refused[0].body, refused[1].body);
    // Also when somebody guesses right: there is nobody to sign in.
    assert_eq!(sending.telephones.messages().len(), 2);
    sending.app.end().await;
}

#[tokio::test]
async fn a_code_is_good_once_for_five_tries_ten_minutes_and_its_own_challenge() {
    let sending = Sending::start().await;
    sending.ada().await;
    let challenge = sending.ask().await;
    let code = sending.code(2).await;
    for _ in 0..5 {
        assert!(is_wrong(&sending.finish(&challenge, &other_than(&code)).await));
    }
    assert!(
        is_wrong(&sending.finish(&challenge, &code).await),
        "five tries were used up"
    );

    let challenge = sending.ask().await;
    let code = sending.code(3).await;
    assert!(is_wrong(&sending.finish(&json!("klt_made-up"), &code).await));
    // One of many at once gets in.
    let answers = join_all((0..5).map(|_| sending.finish(&challenge, &code))).await;
    let let_in = answers.iter().filter(|answer| answer.status == StatusCode::OK).count();
    assert_eq!(let_in, 1, "{answers:?}");
    assert!(is_wrong(&sending.finish(&challenge, &code).await));

    let challenge = sending.ask().await;
    let code = sending.code(4).await;
    sending
        .change("update identity.phone_codes set expires_at = expires_at - interval '10 minutes'")
        .await;
    assert!(
        is_wrong(&sending.finish(&challenge, &code).await),
        "ten minutes are over"
    );
    sending.app.end().await;
}

#[tokio::test]
async fn messages_are_few_for_a_number_and_an_address_and_strangers_do_not_use_up_the_owners() {
    let sending = Sending::start().await;
    let ada = sending.ada().await;
    for number in [NUMBER, OTHER_NUMBER] {
        let mut answers = Vec::new();
        for _ in 0..4 {
            answers.push(sending.app.post(START, json!({"number": number})).await.status.as_u16());
        }
        assert_eq!(answers, [202, 202, 202, 429], "{number}");
    }
    let device = ada["device_token"].as_str().unwrap();
    let request = json_request(START, &json!({"number": NUMBER}), &[("kinledger-device", device)]);
    let owner = sending.app.send(request).await;
    assert_eq!(owner.status, StatusCode::ACCEPTED, "{owner:?}");
    // A day has six: an hour later there are three more, and that was it.
    for expected in [[202, 202, 202, 429], [429; 4]] {
        sending
            .change("update identity.phone_codes set created_at = created_at - interval '61 minutes'")
            .await;
        let mut answers = Vec::new();
        for _ in 0..4 {
            answers.push(sending.app.post(START, json!({"number": NUMBER})).await.status.as_u16());
        }
        assert_eq!(answers, expected);
    }
    // An address asks for ten an hour, whatever numbers it names.
    let mut answers = Vec::new();
    for number in 0..11 {
        let body = json!({"number": format!("+49170000{number:04}")});
        let asked = sending.send_from(1, json_request(START, &body, &[])).await;
        answers.push(asked.status.as_u16());
    }
    assert_eq!((&answers[..10], answers[10]), (&[202; 10][..], 429));
    // The owner's own device asks from the same address all the same.
    let request = json_request(START, &json!({"number": NUMBER}), &[("kinledger-device", device)]);
    let owner = sending.send_from(1, request).await;
    assert_eq!(owner.status, StatusCode::ACCEPTED, "{owner:?}");
    assert!(sending.telephones.messages().len() <= 9);
    sending.app.end().await;
}

#[tokio::test]
async fn a_second_factor_is_asked_for_after_a_code_too() {
    let sending = Sending::start().await;
    sending.ada().await;
    sending
        .change(
            "insert into identity.totp_factors (user_id, sealed_seed, confirmed_at)
             select user_id, decode(repeat('00', 60), 'hex'), clock_timestamp() from identity.users",
        )
        .await;
    let challenge = sending.ask().await;
    let answer = sending.finish(&challenge, &sending.code(2).await).await;
    assert_eq!(
        (answer.status, answer.problem()),
        (StatusCode::UNAUTHORIZED, "/problems/factor-required")
    );
    sending.app.end().await;
}

#[tokio::test]
async fn a_number_is_whose_telephone_shows_it_last_and_its_code_is_for_who_asked() {
    let sending = Sending::start().await;
    let ada = sending.ada().await;
    let registered = sending.app.register("eve@example.org").await;
    let eve = registered["access_token"].as_str().unwrap();
    let asked = sending.put(eve, NUMBER).await;
    let answered = json!({"challenge": asked.body["challenge"], "code": sending.code(2).await});
    // It neither signs in, nor is it anybody else's to confirm.
    let as_sign_in = sending.app.post(FINISH, answered.clone()).await;
    assert!(is_wrong(&as_sign_in), "{as_sign_in:?}");
    let other = sending.app.register("bob@example.org").await;
    let by_other = sending
        .app
        .post_as(other["access_token"].as_str().unwrap(), CONFIRM, answered.clone())
        .await;
    assert_eq!(
        (by_other.status, by_other.problem()),
        (StatusCode::FORBIDDEN, "/problems/wrong-code")
    );
    let confirmed = sending.app.post_as(eve, CONFIRM, answered).await;
    assert_eq!(confirmed.status, StatusCode::NO_CONTENT, "{confirmed:?}");
    // The number was given to somebody else: it signs in to their account, and to nobody's before.
    let profile = sending
        .app
        .get_as(ada["access_token"].as_str().unwrap(), "/api/v1/auth/profile")
        .await;
    assert_eq!(profile.body["phone"], Value::Null);
    let challenge = sending.ask().await;
    let signed_in = sending.finish(&challenge, &sending.code(3).await).await;
    assert_eq!(signed_in.body["user_id"], registered["user_id"]);
    let pool = sending.app.database.superuser().await;
    let told: Vec<(uuid::Uuid,)> =
        sqlx::query_as("select user_id from identity.security_events where kind = 'phone-removed'")
            .fetch_all(&pool)
            .await
            .unwrap();
    pool.close().await;
    let of_ada: domain::id::UserId = ada["user_id"].as_str().unwrap().parse().unwrap();
    assert_eq!(told, [(of_ada.uuid(),)]);
    sending.app.end().await;
}

#[tokio::test]
async fn strangers_who_would_add_a_number_leave_its_owner_theirs_and_its_telephone_in_peace() {
    let sending = Sending::start().await;
    let mut people = Vec::new();
    for number in 0..4 {
        let registered = sending.app.register(&format!("person{number}@example.org")).await;
        people.push(registered["access_token"].as_str().unwrap().to_owned());
    }
    let mut answers = Vec::new();
    for stranger in &people[..3] {
        answers.push(sending.put(stranger, NUMBER).await.status.as_u16());
    }
    let owner = &people[3];
    for _ in 0..4 {
        answers.push(sending.put(owner, NUMBER).await.status.as_u16());
    }
    // Three for an account and number, six in all.
    assert_eq!(answers, [202, 202, 202, 202, 202, 202, 429]);
    assert_eq!(
        sending.put(&people[0], NUMBER).await.status,
        StatusCode::TOO_MANY_REQUESTS
    );
    // The other forms in which it could be written are none.
    for twin in ["+49 (0)170 1234567", "+4901701234567"] {
        assert_eq!(sending.put(owner, twin).await.status, StatusCode::BAD_REQUEST, "{twin}");
    }
    sending.message(6).await;
    sending.app.end().await;
}

#[tokio::test]
async fn an_address_adds_few_numbers_whoever_asks_from_it_and_another_address_adds_others() {
    let sending = Sending::start().await;
    let app = &sending.app;
    let mut people = Vec::new();
    for number in 0..4 {
        let registered = app.register(&format!("person{number}@example.org")).await;
        people.push(registered["access_token"].as_str().unwrap().to_owned());
    }
    // What strangers ask for to sign in, from the same address, is counted apart.
    for number in 0..10 {
        let asked = json!({"number": format!("+49170222{number:04}")});
        let asked = json_request(START, &asked, &[]);
        assert_eq!(sending.send_from(7, asked).await.status, StatusCode::ACCEPTED);
    }
    let add = |person: usize, number: usize, network: u8| {
        let mut request = json_request(
            PHONE,
            &json!({"number": format!("+49170333{number:04}")}),
            &[("authorization", &format!("Bearer {}", people[person]))],
        );
        *request.method_mut() = axum::http::Method::PUT;
        sending.send_from(network, request)
    };
    for number in 0..10 {
        assert_eq!(
            add(number / 4, number, 7).await.status,
            StatusCode::ACCEPTED,
            "{number}"
        );
    }
    assert_eq!(add(3, 10, 7).await.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(add(3, 11, 8).await.status, StatusCode::ACCEPTED);
    sending.message(11).await;
    sending.app.end().await;
}

#[tokio::test]
async fn who_closes_an_account_and_opens_another_asks_for_no_more_messages_than_before() {
    let sending = Sending::start().await;
    let app = &sending.app;
    let mut answers = Vec::new();
    for _ in 0..3 {
        let eve = app.register("eve@example.org").await;
        let token = eve["access_token"].as_str().unwrap();
        for _ in 0..3 {
            answers.push(sending.put(token, NUMBER).await.status.as_u16());
        }
        let closed = app
            .post_as(token, "/api/v1/auth/close", json!({"password": PASSWORD}))
            .await;
        assert_eq!(closed.status, StatusCode::NO_CONTENT, "{closed:?}");
    }
    // A number gets six in an hour, whoever adds it.
    assert_eq!(answers, [202, 202, 202, 202, 202, 202, 429, 429, 429]);
    let pool = app.database.superuser().await;
    let kept: (i64, i64) = sqlx::query_as(
        "select count(*), count(*) filter (where used_at is null or sealed_number <> decode(repeat('00', 29), 'hex'))
         from identity.phone_codes",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    pool.close().await;
    assert_eq!(kept, (6, 0), "they are counted, open nothing and tell no number");
    sending.message(6).await;
    sending.app.end().await;
}

#[tokio::test]
async fn an_owner_who_signs_in_on_device_after_device_asks_for_no_more_messages() {
    let sending = Sending::start().await;
    sending.ada().await;
    let mut answers = Vec::new();
    for _ in 0..2 {
        let signed_in = sending.app.sign_in(EMAIL, PASSWORD).await.body;
        let device = signed_in["device_token"].as_str().unwrap();
        for _ in 0..2 {
            let request = json_request(START, &json!({"number": NUMBER}), &[("kinledger-device", device)]);
            answers.push(sending.app.send(request).await.status.as_u16());
        }
    }
    assert_eq!(answers, [202, 202, 202, 429]);
    sending.app.end().await;
}

#[tokio::test]
async fn an_installation_sends_so_many_messages_to_numbers_no_account_has_and_people_sign_in_all_the_same() {
    let sending = Sending::start().await;
    let ada = sending.ada().await;
    sending
        .change(
            "insert into identity.phone_codes
                 (challenge_hash, code_hash, number_hash, asker_hash, adds_to, sealed_number, expires_at)
             select sha256(n::text::bytea), sha256(n::text::bytea), sha256(n::text::bytea), sha256(n::text::bytea),
                 user_id, decode(repeat('00', 40), 'hex'), clock_timestamp()
             from identity.users, generate_series(1, 59) as n",
        )
        .await;
    let eve = sending.app.register("eve@example.org").await;
    let refused = sending.put(eve["access_token"].as_str().unwrap(), OTHER_NUMBER).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS, "{refused:?}");
    let challenge = sending.ask().await;
    let signed_in = sending.finish(&challenge, &sending.code(2).await).await;
    assert_eq!(signed_in.body["user_id"], ada["user_id"]);
    sending.app.end().await;
}

#[tokio::test]
async fn a_number_that_is_being_added_is_in_its_persons_export_and_in_nobody_elses() {
    let sending = Sending::start().await;
    let ada = sending.ada().await;
    let asked = sending.put(ada["access_token"].as_str().unwrap(), OTHER_NUMBER).await;
    assert_eq!(asked.status, StatusCode::ACCEPTED, "{asked:?}");
    let eve = sending.app.register("eve@example.org").await;

    let file: Value = serde_json::from_str(&sending.export(&ada, "json").await).unwrap();
    assert_eq!(file["complete"], true);
    let codes = file["phone_codes"].as_array().unwrap();
    let numbers: Vec<(&str, bool)> = codes
        .iter()
        .map(|code| (code["number"].as_str().unwrap(), code["used_at"].is_string()))
        .collect();
    assert_eq!(numbers, [(NUMBER, true), (OTHER_NUMBER, false)]);
    assert!(codes.iter().all(|code| code["created_at"].is_string()), "{codes:?}");
    assert!(!file.to_string().contains("sealed_number"), "{file}");
    let page = sending.export(&ada, "html").await;
    assert!(page.ends_with("</html>\n"), "{page}");
    assert!(page.contains(OTHER_NUMBER) && page.contains(NUMBER), "{page}");
    for format in ["json", "html"] {
        let of_eve = sending.export(&eve, format).await;
        assert!(of_eve.contains("eve@example.org"), "{of_eve}");
        assert!(!of_eve.contains(OTHER_NUMBER) && !of_eve.contains(NUMBER), "{of_eve}");
    }
    sending.app.end().await;
}

#[tokio::test]
async fn wrong_codes_are_told_to_the_owner_once_however_many_there_are() {
    let sending = Sending::start().await;
    sending.ada().await;
    let pool = sending.app.database.superuser().await;
    let told = async || {
        let (told,): (i64,) =
            sqlx::query_as("select count(*) from identity.security_events where kind = 'sign-in-failed'")
                .fetch_one(&pool)
                .await
                .unwrap();
        told
    };
    for round in 1..=2 {
        let challenge = sending.ask().await;
        let code = other_than(&sending.code(1 + round).await);
        for _ in 0..12 {
            assert!(is_wrong(&sending.finish(&challenge, &code).await));
        }
        let deadline = Instant::now() + Duration::from_secs(20);
        let expected = i64::try_from(round).unwrap();
        while told().await < expected {
            assert!(Instant::now() < deadline, "the owner is not told");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    // All that would be told is under way before the answers: a repeat by the way shows none more.
    tokio::task::yield_now().await;
    assert_eq!(told().await, 2);
    pool.close().await;
    sending.app.end().await;
}

#[tokio::test]
async fn a_code_that_was_sent_before_its_owner_took_the_account_back_signs_nobody_in() {
    let sending = Sending::start().await;
    let ada = sending.ada().await;
    let challenge = sending.ask().await;
    let code = sending.code(2).await;
    let everywhere = sending
        .app
        .post_as(
            ada["access_token"].as_str().unwrap(),
            "/api/v1/auth/logout",
            json!({"everywhere": true}),
        )
        .await;
    assert_eq!(everywhere.status, StatusCode::NO_CONTENT, "{everywhere:?}");
    assert!(is_wrong(&sending.finish(&challenge, &code).await));
    sending.app.end().await;
}

#[tokio::test]
async fn without_a_gateway_it_says_so() {
    let app = App::start().await;
    let refused = app.post(START, json!({"number": NUMBER})).await;
    assert_eq!(
        (refused.status, refused.problem()),
        (StatusCode::UNPROCESSABLE_ENTITY, "/problems/sms-not-configured")
    );
    app.end().await;
}

#[tokio::test]
async fn neither_number_nor_code_is_stored_in_clear() {
    let sending = Sending::start().await;
    sending.ada().await;
    let challenge = sending.ask().await;
    let code = sending.code(2).await;
    let pool = sending.app.database.superuser().await;
    let rows: Vec<(String,)> = sqlx::query_as(
        "select row_to_json(t)::text from identity.phones as t
         union all select row_to_json(t)::text from identity.phone_codes as t
         union all select row_to_json(t)::text from identity.security_events as t",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    assert!(rows.len() >= 4);
    let digest = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&code));
    for secret in [
        NUMBER,
        &NUMBER[1..],
        &hex::encode(NUMBER),
        challenge.as_str().unwrap(),
        &hex::encode(&code),
        &digest,
    ] {
        assert!(rows.iter().all(|(row,)| !row.contains(secret)), "{secret}");
    }
    pool.close().await;
    sending.app.end().await;
}

#[tokio::test]
async fn an_address_that_mail_could_verify_is_verified_before_it_gets_a_phone() {
    let mailbox = Mailbox::start();
    let sending = Sending::start_with(Some(&mailbox)).await;
    let squatter = sending.app.register(EMAIL).await;
    let token = squatter["access_token"].as_str().unwrap();
    let is_refused =
        |answer: &Answer| (answer.status, answer.problem()) == (StatusCode::FORBIDDEN, "/problems/email-not-verified");
    let refused = sending.put(token, NUMBER).await;
    assert!(is_refused(&refused), "{refused:?}");
    sending
        .change("update identity.users set email_verified_at = clock_timestamp()")
        .await;
    let asked = sending.put(token, NUMBER).await;
    assert_eq!(asked.status, StatusCode::ACCEPTED, "{asked:?}");
    let answered = json!({"challenge": asked.body["challenge"], "code": sending.code(1).await});
    // Nor is one confirmed that was asked for before.
    sending
        .change("update identity.users set email_verified_at = null")
        .await;
    let refused = sending.app.post_as(token, CONFIRM, answered).await;
    assert!(is_refused(&refused), "{refused:?}");
    let pool = sending.app.database.superuser().await;
    let (phones,): (i64,) = sqlx::query_as("select count(*) from identity.phones")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(phones, 0);
    pool.close().await;
    sending.app.end().await;
}

#[tokio::test]
async fn a_session_that_ended_elsewhere_confirms_no_number() {
    let sending = Sending::start().await;
    let ada = sending.app.register(EMAIL).await;
    let token = ada["access_token"].as_str().unwrap();
    let asked = sending.put(token, NUMBER).await;
    let answered = json!({"challenge": asked.body["challenge"], "code": sending.code(1).await});
    // As another process ends it; this one has not heard of it.
    sending
        .change("update identity.sessions set revoked_at = clock_timestamp(), revoke_reason = 'signed-out'")
        .await;
    let late = sending.app.post_as(token, CONFIRM, answered).await;
    assert_eq!(
        (late.status, late.problem()),
        (StatusCode::UNAUTHORIZED, "/problems/not-signed-in"),
        "{late:?}"
    );
    sending.app.end().await;
}
