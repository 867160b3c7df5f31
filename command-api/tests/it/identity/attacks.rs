//! What must not work.

use std::time::{Duration, Instant};

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::{App, PASSWORD};

#[tokio::test]
async fn tokens_that_are_not_ours_are_refused() {
    let app = App::start().await;
    let registered = app.register("ada@example.org").await;
    let good = registered["access_token"].as_str().unwrap();
    let parts: Vec<&str> = good.split('.').collect();
    let part = |index: usize| -> Value { serde_json::from_slice(&BASE64.decode(parts[index]).unwrap()).unwrap() };
    let encode = |value: &Value| BASE64.encode(value.to_string());
    let (header, claims) = (part(0), part(1));
    assert_eq!((&header["alg"], &header["typ"]), (&json!("EdDSA"), &json!("at+jwt")));

    let mut none = header.clone();
    none["alg"] = json!("none");
    let mut other_person = claims.clone();
    other_person["sub"] = json!("usr_00000000-0000-0000-0000-000000000001");
    let jwks = app
        .send(Request::get("/.well-known/jwks.json").body(Body::empty()).unwrap())
        .await
        .body;
    let public_key = BASE64.decode(jwks["keys"][0]["x"].as_str().unwrap()).unwrap();
    let symmetric = {
        let mut header = Header::new(Algorithm::HS256);
        header.typ = Some("at+jwt".to_owned());
        header.kid = Some(jwks["keys"][0]["kid"].as_str().unwrap().to_owned());
        jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(&public_key)).unwrap()
    };
    let foreign = |kid: &str| {
        let pair = aws_lc_rs::signature::Ed25519KeyPair::generate().unwrap();
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some("at+jwt".to_owned());
        header.kid = Some(kid.to_owned());
        let key = EncodingKey::from_ed_der(pair.to_pkcs8().unwrap().as_ref());
        jsonwebtoken::encode(&header, &claims, &key).unwrap()
    };
    let forged = [
        String::new(),
        "x".repeat(100_000),
        "..".to_owned(),
        "a.b.c".to_owned(),
        format!("{}.{}.", encode(&none), parts[1]),
        format!("{}.{}.{}", encode(&none), parts[1], parts[2]),
        format!("{}.{}.{}", parts[0], encode(&other_person), parts[2]),
        format!("{}.{}", parts[0], parts[1]),
        format!("{good}x"),
        symmetric,
        foreign("unknown"),
        foreign(header["kid"].as_str().unwrap()),
        registered["refresh_token"].as_str().unwrap().to_owned(),
    ];
    assert!(app.is_signed_in(&registered["access_token"]).await);
    for token in forged {
        let answer = app.get_as(&token, "/api/v1/auth/profile").await;
        assert_eq!(
            answer.status,
            StatusCode::UNAUTHORIZED,
            "{}",
            token.chars().take(200).collect::<String>()
        );
        assert_eq!(answer.problem(), "/problems/not-signed-in");
    }
    app.end().await;
}

#[tokio::test]
async fn the_published_keys_hold_no_private_part() {
    let app = App::start().await;
    let answer = app
        .send(Request::get("/.well-known/jwks.json").body(Body::empty()).unwrap())
        .await;
    let key = &answer.body["keys"][0];
    assert_eq!((&key["kty"], &key["crv"]), (&json!("OKP"), &json!("Ed25519")));
    assert!(key.get("d").is_none());
    app.end().await;
}

#[tokio::test]
async fn guessing_waits_and_the_owner_is_let_in_soon_after_a_thousand_guesses() {
    let app = App::start().await;
    app.register("ada@example.org").await;
    let mut waited_for = 0;
    for number in 0..1_000 {
        let answer = app.sign_in("ada@example.org", &format!("wrong horse {number}")).await;
        assert!(
            [StatusCode::UNAUTHORIZED, StatusCode::TOO_MANY_REQUESTS].contains(&answer.status),
            "{answer:?}"
        );
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            waited_for += 1;
            assert!((1..=10).contains(&answer.retry_after_s.unwrap()));
        }
    }
    assert!(waited_for > 900, "{waited_for}");
    let begun = Instant::now();
    loop {
        let answer = app.sign_in("ada@example.org", PASSWORD).await;
        if answer.status == StatusCode::OK {
            break;
        }
        tokio::time::sleep(Duration::from_secs(answer.retry_after_s.unwrap())).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
    app.end().await;
}

#[tokio::test]
async fn weak_passwords_are_refused_with_a_reason() {
    let app = App::start().await;
    for password in ["short", "password123", "12345678", "ada@example.org"] {
        let body = json!({"email": "ada@example.org", "password": password, "display_name": "Ada"});
        let answer = app.post("/api/v1/auth/register", body).await;
        assert_eq!(
            (answer.status.as_u16(), answer.problem()),
            (422, "/problems/weak-password"),
            "{password}"
        );
    }
    app.end().await;
}

#[tokio::test]
async fn names_and_addresses_that_look_like_others_are_refused() {
    let app = App::start().await;
    for (email, name) in [
        ("ada@example.org", "Ada\u{202E}adA"),
        ("ada@example.org", "A\u{200B}da"),
        ("ada@example.org", "\u{2066}Ada"),
        ("a\u{200B}da@example.org", "Ada"),
        ("ada\u{202E}@example.org", "Ada"),
        ("a\u{AD}da@example.org", "Ada"),
        ("\u{FEFF}ada@example.org", "Ada"),
        ("\"ada\"@example.org", "Ada"),
        ("=?utf-8?q?ada?=@example.org", "Ada"),
    ] {
        let body = json!({"email": email, "password": PASSWORD, "display_name": name});
        let answer = app.post("/api/v1/auth/register", body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{email:?} {name:?} {answer:?}");
    }
    let ada = app.register("ada@example.org").await;
    let body = json!({"name": "scr\u{202E}ipt", "scopes": ["read"]});
    let key = app
        .post_as(ada["access_token"].as_str().unwrap(), "/api/v1/auth/api-keys", body)
        .await;
    assert_eq!(key.status, StatusCode::BAD_REQUEST, "{key:?}");
    app.end().await;
}

#[tokio::test]
async fn malformed_bodies_are_never_our_fault() {
    let app = App::start().await;
    let registered = app.register("ada@example.org").await;
    let token = registered["access_token"].as_str().unwrap();
    let deep = "[".repeat(8_000);
    let long = format!(r#"{{"email":"{}"}}"#, "a".repeat(20_000));
    let bodies: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        b"{".to_vec(),
        b"null".to_vec(),
        b"[]".to_vec(),
        b"\"text\"".to_vec(),
        b"1e400".to_vec(),
        b"NaN".to_vec(),
        b"{}{}".to_vec(),
        b"\xff\xfe{".to_vec(),
        b"{\"email\":\"\xff\"}".to_vec(),
        deep.into_bytes(),
        long.into_bytes(),
        br#"{"email":null,"password":null,"display_name":null}"#.to_vec(),
        br#"{"email":1,"password":2,"display_name":3,"refresh_token":4,"code":5}"#.to_vec(),
        br#"{"email":"a@b.example","email":"c@d.example","password":"correct horse","display_name":"A"}"#.to_vec(),
        br#"{"email":"a@b.example","password":"correct horse","display_name":"A","role":"parent"}"#.to_vec(),
        "{\"email\":\"a\\u0000@b.example\",\"password\":\"correct horse\",\"display_name\":\"A\"}".into(),
        "{\"email\":\"a@b.example\",\"password\":\"correct horse\",\"display_name\":\"A\\u0000\"}".into(),
        "{\"email\":\"\\ud800@b.example\",\"password\":\"correct horse\",\"display_name\":\"A\"}".into(),
        "{\"email\":\"İ@b.example\",\"password\":\"\",\"display_name\":\"\u{202e}\"}".into(),
        br#"{"refresh_token":"","everywhere":"yes"}"#.to_vec(),
        "{\"refresh_token\":\"\\u0000\"}".into(),
        "{\"code\":\"\\u0000\"}".into(),
        br#"{"code":""}"#.to_vec(),
    ];
    let paths = ["register", "login", "refresh", "logout", "join"];
    for path in paths {
        for body in &bodies {
            for content_type in [
                "application/json",
                "application/json; charset=utf-8",
                "text/plain",
                "",
                "\u{7f}x",
            ] {
                let mut request = Request::post(format!("/api/v1/auth/{path}"));
                if let Ok(value) = header::HeaderValue::from_str(content_type) {
                    request = request.header(header::CONTENT_TYPE, value);
                }
                if path == "join" {
                    request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
                }
                let answer = app.send(request.body(Body::from(body.clone())).unwrap()).await;
                let shown = String::from_utf8_lossy(&body[..body.len().min(100)]).into_owned();
                assert!(
                    answer.status.is_client_error() || path == "logout",
                    "{path} {shown} {answer:?}"
                );
                assert!(!answer.status.is_server_error(), "{path} {shown} {answer:?}");
                if content_type == "text/plain" && !body.is_empty() && body.len() < 10_000 {
                    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path} {shown}");
                }
            }
        }
    }
    let long = app
        .post(
            "/api/v1/auth/login",
            json!({"email": "a".repeat(20_000), "password": ""}),
        )
        .await;
    assert_eq!(
        (long.status, long.problem()),
        (StatusCode::PAYLOAD_TOO_LARGE, "/problems/too-large")
    );
    app.end().await;
}

#[tokio::test]
async fn odd_addresses_and_headers_are_never_our_fault() {
    let app = App::start().await;
    let registered = app.register("ada@example.org").await;
    let token = registered["access_token"].as_str().unwrap();
    for (family, member) in [
        ("x", "y"),
        ("%ff", "%00"),
        ("fam_1", "mem_1"),
        ("mem_00000000-0000-0000-0000-000000000001", "z"),
    ] {
        let path = format!("/api/v1/families/{family}/members/{member}/invitation");
        let answer = app.post_as(token, &path, json!({})).await;
        assert!(answer.status.is_client_error(), "{path} {answer:?}");
    }
    for key in ["", "not a uuid", "\u{e9}"] {
        let request = Request::post("/api/v1/auth/refresh")
            .header(header::CONTENT_TYPE, "application/json")
            .header("idempotency-key", key)
            .header(header::USER_AGENT, "\u{e9}\t\u{e9}")
            .body(Body::from(
                json!({"refresh_token": registered["refresh_token"]}).to_string(),
            ))
            .unwrap();
        assert_eq!(app.send(request).await.status, StatusCode::BAD_REQUEST);
    }
    assert_eq!(
        app.refresh(&registered["refresh_token"], None).await.status,
        StatusCode::OK
    );
    app.end().await;
}
