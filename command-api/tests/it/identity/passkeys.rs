//! Passkeys, made and used by an authenticator that is not ours.

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures::future::join_all;
use serde_json::{Value, json};

use super::{
    Answer, App, PASSWORD,
    authenticators::{Asked, Authenticators},
};

const EMAIL: &str = "ada@example.org";
const ADD_OPTIONS: &str = "/api/v1/auth/factors/passkeys/options";
const PASSKEYS: &str = "/api/v1/auth/factors/passkeys";
const LOGIN_OPTIONS: &str = "/api/v1/auth/login/passkey/options";
const LOGIN: &str = "/api/v1/auth/login/passkey";
const STEP_UP: &str = "/api/v1/auth/step-up";

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// Somebody with one passkey.
struct Ada {
    app: App,
    devices: Authenticators,
    access_token: String,
    passkey_id: String,
    recovery_codes: Vec<String>,
}

async fn ada() -> Ada {
    let app = App::start().await;
    let access_token = text(&app.register(EMAIL).await["access_token"]);
    let mut devices = Authenticators::start();
    let added = add(&app, &mut devices, &access_token, &Asked::default()).await;
    assert_eq!(added.status, StatusCode::CREATED, "{added:?}");
    let recovery_codes = added.body["recovery_codes"]
        .as_array()
        .unwrap()
        .iter()
        .map(text)
        .collect();
    Ada {
        passkey_id: text(&added.body["passkey_id"]),
        app,
        devices,
        access_token,
        recovery_codes,
    }
}

pub(super) async fn add(app: &App, devices: &mut Authenticators, token: &str, asked: &Asked<'_>) -> Answer {
    let options = app.post_as(token, ADD_OPTIONS, json!({})).await;
    assert_eq!(options.status, StatusCode::OK, "{options:?}");
    let credential = devices.ask("create", &options.body, asked);
    app.post_as(
        token,
        PASSKEYS,
        json!({"name": "Ada's phone", "credential": credential}),
    )
    .await
}

impl Ada {
    async fn assertion(&mut self, asked: &Asked<'_>) -> Value {
        let options = self.app.post(LOGIN_OPTIONS, json!({})).await;
        assert_eq!(options.status, StatusCode::OK, "{options:?}");
        assert_eq!(options.body["publicKey"]["allowCredentials"], json!([]));
        self.devices.ask("get", &options.body, asked)
    }

    async fn login(&self, credential: &Value) -> Answer {
        self.app.post(LOGIN, json!({"credential": credential})).await
    }

    async fn signs_in(&mut self, asked: &Asked<'_>) -> bool {
        let assertion = self.assertion(asked).await;
        let answer = self.login(&assertion).await;
        assert!(
            answer.status == StatusCode::OK || answer.problem() == "/problems/wrong-passkey",
            "{answer:?}"
        );
        answer.status == StatusCode::OK
    }

    async fn count(&self, statement: &str) -> i64 {
        let pool = self.app.database.superuser().await;
        let (count,): (i64,) = sqlx::query_as(statement).fetch_one(&pool).await.unwrap();
        pool.close().await;
        count
    }

    async fn change(&self, statement: &str) {
        let pool = self.app.database.superuser().await;
        sqlx::query(statement).execute(&pool).await.unwrap();
        pool.close().await;
    }
}

/// The same credential with one byte of one member of its response changed.
fn altered(credential: &Value, member: &str, at: usize) -> Value {
    let mut bytes = URL_SAFE_NO_PAD.decode(text(&credential["response"][member])).unwrap();
    bytes[at] ^= 1;
    let mut credential = credential.clone();
    credential["response"][member] = json!(URL_SAFE_NO_PAD.encode(bytes));
    credential
}

#[tokio::test]
async fn a_passkey_signs_in_by_itself_and_the_password_no_longer_does() {
    let mut ada = ada().await;
    assert_eq!(ada.recovery_codes.len(), 10);
    let assertion = ada.assertion(&Asked::default()).await;
    let signed_in = ada.login(&assertion).await;
    assert_eq!(signed_in.status, StatusCode::OK, "{signed_in:?}");
    assert_eq!(signed_in.caching.as_deref(), Some("no-store"));
    assert!(ada.app.is_signed_in(&signed_in.body["access_token"]).await);
    let payload = text(&signed_in.body["access_token"])
        .split('.')
        .nth(1)
        .unwrap()
        .to_owned();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
    assert_eq!(claims["amr"], json!(["pop"]));

    let password = ada.app.sign_in(EMAIL, PASSWORD).await;
    assert_eq!(password.problem(), "/problems/factor-required");
    assert_eq!(password.body["factors"], json!(["passkey", "recovery-code"]));
    ada.app.end().await;
}

#[tokio::test]
async fn an_assertion_counts_once_and_only_as_it_was_signed() {
    let mut ada = ada().await;
    let assertion = ada.assertion(&Asked::default()).await;
    let first = ada.login(&assertion).await;
    assert_eq!(first.status, StatusCode::OK, "{first:?}");
    let replayed = ada.login(&assertion).await;
    assert_eq!(
        (replayed.status, replayed.problem()),
        (StatusCode::UNAUTHORIZED, "/problems/wrong-passkey")
    );
    let signature = ada.assertion(&Asked::default()).await;
    let authenticator_data = ada.assertion(&Asked::default()).await;
    let handle = ada.assertion(&Asked::default()).await;
    for credential in [
        altered(&signature, "signature", 12),
        // The counter's last byte: whoever raises it must have the key.
        altered(&authenticator_data, "authenticatorData", 36),
        altered(&handle, "userHandle", 0),
    ] {
        assert_eq!(ada.login(&credential).await.status, StatusCode::UNAUTHORIZED);
        let mended = ada.login(&signature).await;
        assert_eq!(mended.status, StatusCode::UNAUTHORIZED, "a challenge was used twice");
    }
    let mut without_handle = ada.assertion(&Asked::default()).await;
    without_handle["response"].as_object_mut().unwrap().remove("userHandle");
    assert_eq!(ada.login(&without_handle).await.status, StatusCode::UNAUTHORIZED);
    assert!(ada.signs_in(&Asked::default()).await);
    ada.app.end().await;
}

#[tokio::test]
async fn another_origin_another_relying_party_and_an_unverified_user_are_refused() {
    let mut ada = ada().await;
    let wrong = [
        Asked {
            origin: "http://localhost:8081",
            ..Asked::default()
        },
        Asked {
            origin: "https://localhost:8080",
            ..Asked::default()
        },
        Asked {
            origin: "http://evil.localhost:8080",
            ..Asked::default()
        },
        Asked {
            verified: false,
            ..Asked::default()
        },
    ];
    for asked in &wrong {
        assert!(!ada.signs_in(asked).await, "{} {}", asked.origin, asked.verified);
    }
    // An authenticator that was told another domain.
    let mut options = ada.app.post(LOGIN_OPTIONS, json!({})).await.body;
    options["publicKey"]["rpId"] = json!("evil.example");
    let elsewhere = Asked {
        more: json!({"rp_id": "evil.example"}),
        ..Asked::default()
    };
    let credential = ada.devices.ask("get", &options, &elsewhere);
    assert_eq!(ada.login(&credential).await.status, StatusCode::UNAUTHORIZED);
    let home = Asked {
        more: json!({"rp_id": "localhost"}),
        ..Asked::default()
    };
    assert!(ada.signs_in(&home).await);

    // Adding one asks the same.
    let token = ada.access_token.clone();
    for asked in &wrong {
        let asked = Asked {
            device: "other",
            ..asked.clone()
        };
        let refused = add(&ada.app, &mut ada.devices, &token, &asked).await;
        assert_eq!(
            (refused.status, refused.problem()),
            (StatusCode::UNPROCESSABLE_ENTITY, "/problems/wrong-passkey")
        );
    }
    assert_eq!(ada.count("select count(*) from identity.passkeys").await, 1);
    ada.app.end().await;
}

#[tokio::test]
async fn a_credential_of_somebody_else_opens_nothing_of_mine() {
    let mut ada = ada().await;
    let eve = text(&ada.app.register("eve@example.org").await["access_token"]);
    let hers = Asked {
        device: "eve's",
        ..Asked::default()
    };
    assert_eq!(
        add(&ada.app, &mut ada.devices, &eve, &hers).await.status,
        StatusCode::CREATED
    );
    // Eve knows Ada's password and offers her own passkey as the second factor.
    let challenge = ada.app.sign_in(EMAIL, PASSWORD).await.body["challenge"].clone();
    let options = ada
        .app
        .post("/api/v1/auth/login/factor/options", json!({"challenge": challenge}))
        .await;
    assert_eq!(
        options.body["publicKey"]["allowCredentials"].as_array().unwrap().len(),
        1
    );
    let credential = ada.devices.ask("get", &options.body, &hers);
    let body = json!({"challenge": challenge, "factor": {"passkey": credential}});
    let refused = ada.app.post("/api/v1/auth/login/factor", body).await;
    assert_eq!(refused.problem(), "/problems/wrong-factor");
    // Her own assertion with Ada's name on it.
    let mut posing = ada.assertion(&hers).await;
    let ada_s = ada.assertion(&Asked::default()).await;
    posing["response"]["userHandle"] = ada_s["response"]["userHandle"].clone();
    assert_eq!(ada.login(&posing).await.status, StatusCode::UNAUTHORIZED);
    posing["id"] = ada_s["id"].clone();
    assert_eq!(ada.login(&posing).await.status, StatusCode::UNAUTHORIZED);
    // A challenge that was made for proving is none for signing in.
    let options = ada.app.post_as(&eve, "/api/v1/auth/step-up/options", json!({})).await;
    let credential = ada.devices.ask("get", &options.body, &hers);
    assert_eq!(ada.login(&credential).await.status, StatusCode::UNAUTHORIZED);
    // Nor does she register Ada's, or an answer to somebody else's challenge.
    let options = ada.app.post_as(&ada.access_token, ADD_OPTIONS, json!({})).await;
    let stranger = Asked {
        device: "third",
        ..Asked::default()
    };
    let credential = ada.devices.ask("create", &options.body, &stranger);
    let refused = ada
        .app
        .post_as(&eve, PASSKEYS, json!({"name": "mine", "credential": credential}))
        .await;
    assert_eq!(refused.problem(), "/problems/wrong-passkey");
    ada.app.end().await;
}

#[tokio::test]
async fn a_counter_that_goes_back_is_refused_and_written_down() {
    let mut ada = ada().await;
    for _ in 0..3 {
        assert!(ada.signs_in(&Asked::default()).await);
    }
    let copy = Asked {
        more: json!({"sign_count": 1}),
        ..Asked::default()
    };
    assert!(!ada.signs_in(&copy).await);
    let written = ada
        .count(
            "select count(*) from identity.security_events
             where kind = 'factor-failed' and detail ->> 'reason' = 'counter-went-back'",
        )
        .await;
    assert_eq!(written, 1);
    let ahead = Asked {
        more: json!({"sign_count": 9}),
        ..Asked::default()
    };
    assert!(ada.signs_in(&ahead).await);
    ada.app.end().await;
}

#[tokio::test]
async fn of_many_that_offer_one_assertion_at_once_one_gets_in() {
    let mut ada = ada().await;
    let assertion = ada.assertion(&Asked::default()).await;
    let answers = join_all((0..50).map(|_| ada.login(&assertion))).await;
    let opened = answers.iter().filter(|answer| answer.status == StatusCode::OK).count();
    assert_eq!(opened, 1);
    ada.app.end().await;
}

#[tokio::test]
async fn a_passkey_is_the_second_step_and_steps_up() {
    let mut ada = ada().await;
    let challenge = ada.app.sign_in(EMAIL, PASSWORD).await.body["challenge"].clone();
    let options = ada
        .app
        .post("/api/v1/auth/login/factor/options", json!({"challenge": challenge}))
        .await;
    let credential = ada.devices.ask("get", &options.body, &Asked::default());
    let body = json!({"challenge": challenge, "factor": {"passkey": credential}});
    let signed_in = ada.app.post("/api/v1/auth/login/factor", body).await;
    assert_eq!(signed_in.status, StatusCode::OK, "{signed_in:?}");

    let token = text(&signed_in.body["access_token"]);
    let options = ada.app.post_as(&token, "/api/v1/auth/step-up/options", json!({})).await;
    let credential = ada.devices.ask("get", &options.body, &Asked::default());
    let body = json!({"factor": {"passkey": credential}});
    assert_eq!(
        ada.app.post_as(&token, STEP_UP, body.clone()).await.status,
        StatusCode::OK
    );
    assert_eq!(
        ada.app.post_as(&token, STEP_UP, body).await.status,
        StatusCode::FORBIDDEN
    );
    ada.app.end().await;
}

#[tokio::test]
async fn a_challenge_ends_after_five_minutes() {
    let mut ada = ada().await;
    let assertion = ada.assertion(&Asked::default()).await;
    ada.change("update identity.passkey_challenges set expires_at = expires_at - interval '5 minutes'")
        .await;
    assert_eq!(ada.login(&assertion).await.status, StatusCode::UNAUTHORIZED);
    ada.app.end().await;
}

#[tokio::test]
async fn its_owner_lists_renames_and_removes_it_with_a_fresh_proof_and_nobody_else_does() {
    let mut ada = ada().await;
    let path = format!("{PASSKEYS}/{}", ada.passkey_id);
    let rename = |token: &str, path: &str| {
        let request = Request::patch(path)
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::CONTENT_TYPE, "application/json");
        request
            .body(Body::from(json!({"name": "Key ring"}).to_string()))
            .unwrap()
    };
    let eve = text(&ada.app.register("eve@example.org").await["access_token"]);
    let refused = ada.app.send(rename(&eve, &path)).await;
    let unknown = ada
        .app
        .send(rename(&eve, &format!("{PASSKEYS}/{}", uuid::Uuid::new_v4())))
        .await;
    assert_eq!(refused.status, StatusCode::NOT_FOUND);
    assert_eq!(refused.body, unknown.body);
    assert_eq!(ada.app.delete_as(&eve, &path).await.body, unknown.body);

    let renamed = ada.app.send(rename(&ada.access_token, &path)).await;
    assert_eq!(renamed.status, StatusCode::NO_CONTENT, "{renamed:?}");
    let listed = ada.app.get_as(&ada.access_token, "/api/v1/auth/factors").await;
    assert_eq!(listed.body["passkeys"][0]["name"], "Key ring");
    assert_eq!(listed.body["passkeys"][0]["passkey_id"], json!(ada.passkey_id));
    assert!(listed.body["passkeys"][0].get("public_key").is_none());

    let assertion = ada.assertion(&Asked::default()).await;
    let session = ada.login(&assertion).await.body;
    ada.change("update identity.sessions set proven_at = proven_at - interval '11 minutes'")
        .await;
    let stale = text(&ada.app.refresh(&session["refresh_token"], None).await.body["access_token"]);
    for refused in [
        ada.app.send(rename(&stale, &path)).await,
        ada.app.delete_as(&stale, &path).await,
        ada.app.post_as(&stale, ADD_OPTIONS, json!({})).await,
        ada.app
            .post_as(
                &stale,
                PASSKEYS,
                json!({"name": "x", "credential": {"response": {"clientDataJSON": "", "attestationObject": ""}}}),
            )
            .await,
    ] {
        assert_eq!(refused.problem(), "/problems/step-up-required");
    }
    assert_eq!(ada.count("select count(*) from identity.passkeys").await, 1);

    let removed = ada.app.delete_as(&ada.access_token, &path).await;
    assert_eq!(removed.status, StatusCode::NO_CONTENT, "{removed:?}");
    assert!(!ada.signs_in(&Asked::default()).await);
    assert_eq!(ada.app.sign_in(EMAIL, PASSWORD).await.status, StatusCode::OK);
    assert_eq!(ada.count("select count(*) from identity.recovery_codes").await, 0);
    ada.app.end().await;
}

#[tokio::test]
async fn whoever_offers_what_was_never_signed_keeps_nobody_in_the_house_from_their_passkey() {
    let mut ada = ada().await;
    let at_home = |body: &Value| {
        let mut request = super::json_request(LOGIN, body, &[]);
        let peer: std::net::SocketAddr = "192.0.2.1:4711".parse().unwrap();
        request.extensions_mut().insert(axum::extract::ConnectInfo(peer));
        request
    };
    let unsigned = json!({"credential": {
        "id": "AAAA",
        "response": {"clientDataJSON": "", "authenticatorData": "", "signature": ""},
    }});
    for number in 0..120 {
        let refused = ada.app.send(at_home(&unsigned)).await;
        assert_eq!(
            (refused.status, refused.problem()),
            (StatusCode::UNAUTHORIZED, "/problems/wrong-passkey"),
            "{number}"
        );
    }
    let credential = ada.assertion(&Asked::default()).await;
    let signed_in = ada.app.send(at_home(&json!({"credential": credential}))).await;
    assert_eq!(signed_in.status, StatusCode::OK, "{signed_in:?}");
    ada.app.end().await;
}

#[tokio::test]
async fn a_neighbour_who_begins_again_and_again_shuts_nobody_out() {
    let app = App::start().await;
    let pool = app.database.superuser().await;
    sqlx::query(
        "insert into identity.passkey_challenges (challenge_hash, purpose, expires_at)
         select sha256(number::text::bytea), 'sign-in', clock_timestamp() + interval '4 minutes'
         from generate_series(1, 200) as number",
    )
    .execute(&pool)
    .await
    .unwrap();
    for _ in 0..3 {
        let begun = app.post(LOGIN_OPTIONS, json!({})).await;
        assert_eq!(begun.status, StatusCode::OK, "{begun:?}");
    }
    let (open,): (i64,) = sqlx::query_as("select count(*) from identity.passkey_challenges")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(open, 200);
    pool.close().await;
    app.end().await;
}
