//! The vendors' own rules, at a stand-in for each: Google, Apple, Facebook and X.

use std::{io::Write, os::unix::fs::PermissionsExt};

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::{
    App, Begun, app_with, begin,
    fake::{CLIENT_ID, CLIENT_SECRET, Fake},
    finish, finish_with, path, plain, token_of,
};

/// A pair of keys for nothing but this test.
const PRIVATE_KEY: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgA+/4rpa6dvjC2eUF
qclmSX2K3nGQuHW7YydKeLUrj7ShRANCAARyXJTRi5ytLK0GlJOw/fDtFNHRRh72
SXhaTWoxCK8OfS3Lzr6WodzPnBq8QqIK6nCl7rKMaRu0k19K6sNUbEBv
-----END PRIVATE KEY-----
";
const PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEclyU0YucrSytBpSTsP3w7RTR0UYe
9kl4Wk1qMQivDn0ty86+lqHcz5wavEKiCupwpe6yjGkbtJNfSurDVGxAbw==
-----END PUBLIC KEY-----
";

fn section(fake: &Fake) -> Value {
    json!({"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "stand_in": fake.url()})
}

async fn profile(app: &App, token: &str) -> Value {
    app.get_as(token, "/api/v1/auth/profile").await.body
}

/// What Apple's page does: it posts a form to our callback, from another site and with no cookie of ours.
async fn posted_back(app: &App, begun: &Begun, code: &str, user: &str) -> Value {
    let form = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("state", &begun.state())
        .append_pair("code", code)
        .append_pair("user", user)
        .finish();
    let request = Request::post(path("apple", "callback"))
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(header::ORIGIN, "https://appleid.apple.com")
        .body(Body::from(form))
        .unwrap();
    let response = app.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    let location = response.headers()[header::LOCATION].to_str().unwrap();
    let (page, handed_over) = location.split_once('?').unwrap();
    assert_eq!(page, "http://localhost:8080/#/providers/apple");
    let pairs = url::form_urlencoded::parse(handed_over.as_bytes()).into_owned();
    json!(pairs.collect::<std::collections::BTreeMap<String, String>>())
}

#[tokio::test]
async fn apple_gets_a_secret_we_sign_posts_a_form_and_tells_a_name_once() {
    let fake = Fake::start().await;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(PRIVATE_KEY.as_bytes()).unwrap();
    file.as_file()
        .set_permissions(std::fs::Permissions::from_mode(0o600))
        .unwrap();
    let apple = json!({"apple": {
        "client_id": CLIENT_ID,
        "team_id": "TEAM123456",
        "key_id": "KEY1234567",
        "private_key_file": file.path(),
        "stand_in": fake.url(),
    }});
    let app = app_with(&apple, plain()).await;
    let begun = begin(&app, "apple", "start", None).await;
    assert_eq!(begun.parameter("response_mode"), "form_post");
    let relay = json!({"sub": "001.abc", "email": "x1y2@privaterelay.appleid.com", "email_verified": "true"});
    let code = fake.visit(&begun, relay);
    let introduction = r#"{"name":{"firstName":"Ada","lastName":"Lovelace"},"email":"victim@example.org"}"#;
    let body = posted_back(&app, &begun, &code, introduction).await;
    let signed_in = finish_with(&app, "apple", &body, &[("cookie", &begun.cookie)]).await;
    assert_eq!(signed_in.status, StatusCode::OK, "{signed_in:?}");
    let ada = profile(&app, token_of(&signed_in)).await;
    assert_eq!(ada["display_name"], "Ada Lovelace");
    assert_eq!(ada["email"], "x1y2@privaterelay.appleid.com");
    assert!(ada["email_verified_at"].is_string());

    let secret = fake.lock().forms[0]["client_secret"].clone();
    assert_eq!(decode_header(&secret).unwrap().kid.as_deref(), Some("KEY1234567"));
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_audience(&[fake.url()]);
    validation.set_issuer(&["TEAM123456"]);
    validation.sub = Some(CLIENT_ID.to_owned());
    let key = DecodingKey::from_ec_pem(PUBLIC_KEY.as_bytes()).unwrap();
    let claims = decode::<Value>(&secret, &key, &validation).unwrap().claims;
    assert!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap() <= 300);

    // `email_verified` as text that says no, and a name that nobody signed, given by whoever posts the form.
    let begun = begin(&app, "apple", "start", None).await;
    let code = fake.visit(
        &begun,
        json!({"sub": "002", "email": "victim@example.org", "email_verified": "false"}),
    );
    let body = posted_back(&app, &begun, &code, "no JSON").await;
    let doubted = finish_with(&app, "apple", &body, &[("cookie", &begun.cookie)]).await;
    let doubted = profile(&app, token_of(&doubted)).await;
    assert_eq!(
        (doubted["email"].as_str(), doubted["display_name"].as_str()),
        (Some(""), Some("Unnamed"))
    );
    app.end().await;
}

#[tokio::test]
async fn googles_word_for_an_address_counts_where_google_runs_the_mailbox() {
    let fake = Fake::start().await;
    let app = app_with(&json!({"google": section(&fake)}), plain()).await;
    for (sub, claims, expected) in [
        (
            "1",
            json!({"email": "ada@gmail.com", "email_verified": true}),
            "ada@gmail.com",
        ),
        (
            "2",
            json!({"email": "ada@example.org", "email_verified": true, "hd": "example.org", "iss": "accounts.google.com"}),
            "ada@example.org",
        ),
        ("3", json!({"email": "eve@example.org", "email_verified": true}), ""),
    ] {
        let begun = begin(&app, "google", "start", None).await;
        let mut whole = claims;
        whole["sub"] = json!(sub);
        let code = fake.visit(&begun, whole);
        let signed_in = finish(&app, "google", &begun, &code).await;
        assert_eq!(signed_in.status, StatusCode::OK, "{signed_in:?}");
        assert_eq!(profile(&app, token_of(&signed_in)).await["email"], expected);
    }
    app.end().await;
}

#[tokio::test]
async fn facebook_signs_in_by_a_token_made_for_us_and_brings_no_address() {
    let fake = Fake::start().await;
    let app = app_with(&json!({"facebook": section(&fake)}), plain()).await;
    let victim = app.register("victim@example.org").await;
    let me = json!({"id": "10", "name": "Ada", "email": "victim@example.org", "email_verified": true});
    fake.lock().userinfo = Some(me);
    let ours = json!({"data": {"is_valid": true, "app_id": CLIENT_ID, "user_id": "10"}});
    let mut users = Vec::new();
    for (debug, expected) in [
        (
            json!({"data": {"is_valid": true, "app_id": "another app", "user_id": "10"}}),
            StatusCode::BAD_GATEWAY,
        ),
        (
            json!({"data": {"is_valid": false, "app_id": CLIENT_ID, "user_id": "10"}}),
            StatusCode::BAD_GATEWAY,
        ),
        (
            json!({"data": {"is_valid": true, "app_id": CLIENT_ID, "user_id": "11"}}),
            StatusCode::BAD_GATEWAY,
        ),
        (json!({}), StatusCode::BAD_GATEWAY),
        (ours.clone(), StatusCode::OK),
        (ours, StatusCode::OK),
    ] {
        fake.lock().debug = debug.clone();
        let begun = begin(&app, "facebook", "start", None).await;
        assert!(!begun.parameter("scope").contains("email"));
        let code = fake.visit(&begun, json!({}));
        let answer = finish(&app, "facebook", &begun, &code).await;
        assert_eq!(answer.status, expected, "{debug}");
        if expected == StatusCode::OK {
            let profile = profile(&app, token_of(&answer)).await;
            assert_eq!(
                (&profile["email"], &profile["display_name"]),
                (&json!(""), &json!("Ada"))
            );
            users.push(answer.body["user_id"].clone());
        }
    }
    assert_eq!(users.len(), 2);
    assert_eq!(users[0], users[1]);
    assert_ne!(users[0], victim["user_id"]);
    app.end().await;
}

#[tokio::test]
async fn x_signs_in_by_its_own_endpoint_and_brings_no_address() {
    let fake = Fake::start().await;
    let app = app_with(&json!({"x": section(&fake)}), plain()).await;
    fake.lock().userinfo = Some(json!({"data": {"id": "20", "name": "Ada", "username": "ada"}}));
    let begun = begin(&app, "x", "start", None).await;
    let code = fake.visit(&begun, json!({}));
    let signed_in = finish(&app, "x", &begun, &code).await;
    assert_eq!(signed_in.status, StatusCode::OK, "{signed_in:?}");
    let ada = profile(&app, token_of(&signed_in)).await;
    assert_eq!((&ada["email"], &ada["display_name"]), (&json!(""), &json!("Ada")));
    assert!(fake.lock().authorizations[0].as_ref().unwrap().starts_with("Basic "));
    assert!(!fake.lock().forms[0].contains_key("client_secret"));
    // An answer that names nobody signs nobody in.
    fake.lock().userinfo = Some(json!({"data": {"name": "Ada"}}));
    let begun = begin(&app, "x", "start", None).await;
    let code = fake.visit(&begun, json!({}));
    assert_eq!(finish(&app, "x", &begun, &code).await.status, StatusCode::BAD_GATEWAY);
    app.end().await;
}

#[tokio::test]
async fn facebooks_and_xs_people_of_one_number_are_two() {
    let fake = Fake::start().await;
    let app = app_with(&json!({"facebook": section(&fake), "x": section(&fake)}), plain()).await;
    fake.lock().debug = json!({"data": {"is_valid": true, "app_id": CLIENT_ID, "user_id": "7"}});
    let mut users = Vec::new();
    for (provider, said) in [("facebook", json!({"id": "7"})), ("x", json!({"data": {"id": "7"}}))] {
        fake.lock().userinfo = Some(said);
        let begun = begin(&app, provider, "start", None).await;
        let code = fake.visit(&begun, json!({}));
        let answer = finish(&app, provider, &begun, &code).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        users.push(answer.body["user_id"].clone());
    }
    assert_ne!(users[0], users[1]);
    app.end().await;
}
