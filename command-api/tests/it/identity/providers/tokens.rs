//! Answers that do not hold: forged and stale ID tokens, and a provider that is down, slow, or says too much.

use std::time::{Duration, Instant};

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{
    App, app_with, begin, count,
    fake::{Fake, Manner, Signing},
    finish, path, plain,
};

async fn sign_in(app: &App, fake: &Fake, claims: Value) -> super::Answer {
    let begun = begin(app, "fake", "start", None).await;
    let code = fake.visit(&begun, claims);
    finish(app, "fake", &begun, &code).await
}

fn ada() -> Value {
    json!({"sub": "1", "email": "ada@example.org", "email_verified": true, "name": "Ada"})
}

#[tokio::test]
async fn a_token_that_is_forged_stale_or_meant_for_others_signs_nobody_in() {
    let fake = Fake::start().await;
    let app = app_with(&fake.settings(), plain()).await;
    let now = chrono::Utc::now().timestamp();
    let mut tried = 0;
    for signing in [
        Signing::NotAtAll,
        Signing::ByThePublicKey,
        Signing::ByAnother,
        Signing::ByAnUnknownKey,
        Signing::WithADemand,
    ] {
        fake.lock().signing = signing;
        let refused = sign_in(&app, &fake, ada()).await;
        assert_eq!(
            (refused.status, refused.problem()),
            (StatusCode::BAD_GATEWAY, "/problems/provider-failed"),
            "{signing:?}"
        );
        tried += 1;
    }
    fake.lock().signing = Signing::Rightly;
    for over in [
        json!({"iss": "https://evil.example.org"}),
        json!({"iss": Value::Null}),
        json!({"aud": "somebody.else"}),
        json!({"aud": ["somebody.else"]}),
        json!({"aud": ["ours.example.org", "somebody.else"]}),
        json!({"aud": ["ours.example.org", "somebody.else"], "azp": "somebody.else"}),
        json!({"azp": "somebody.else"}),
        json!({"aud": Value::Null}),
        json!({"exp": now - 600}),
        json!({"exp": "never"}),
        json!({"exp": Value::Null}),
        json!({"iat": now - 3_600}),
        json!({"iat": now + 3_600}),
        json!({"iat": Value::Null}),
        json!({"nbf": now + 3_600}),
        json!({"nonce": "of another sign-in"}),
        json!({"nonce": Value::Null}),
        json!({"sub": ""}),
        json!({"sub": "x".repeat(256)}),
        json!({"sub": "1\u{0}"}),
        json!({"sub": "１"}),
        json!({"sub": Value::Null}),
    ] {
        fake.lock().over = over.clone();
        let refused = sign_in(&app, &fake, ada()).await;
        assert_eq!(
            (refused.status, refused.problem()),
            (StatusCode::BAD_GATEWAY, "/problems/provider-failed"),
            "{over}"
        );
        tried += 1;
    }
    assert_eq!(tried, 27);
    assert_eq!(count(&app, "users").await, 0);
    fake.lock().over = json!({});
    assert_eq!(sign_in(&app, &fake, ada()).await.status, StatusCode::OK);
    app.end().await;
}

#[tokio::test]
async fn userinfo_about_somebody_else_signs_nobody_in() {
    let fake = Fake::start().await;
    let app = app_with(&fake.settings(), plain()).await;
    fake.lock().userinfo = Some(json!({"sub": "2", "email": "victim@example.org", "email_verified": true}));
    let refused = sign_in(&app, &fake, json!({"sub": "1"})).await;
    assert_eq!(refused.status, StatusCode::BAD_GATEWAY);
    fake.lock().userinfo = Some(json!({"sub": "1", "email": "ada@example.org", "email_verified": true}));
    assert_eq!(sign_in(&app, &fake, json!({"sub": "1"})).await.status, StatusCode::OK);
    app.end().await;
}

#[tokio::test]
async fn a_new_key_of_the_provider_is_taken_up_and_made_up_ones_cost_one_look_a_minute() {
    let fake = Fake::start().await;
    let app = app_with(&fake.settings(), plain()).await;
    assert_eq!(sign_in(&app, &fake, ada()).await.status, StatusCode::OK);
    assert_eq!(fake.lock().key_looks, 1);
    fake.new_key("second");
    assert_eq!(sign_in(&app, &fake, ada()).await.status, StatusCode::OK);
    assert_eq!(fake.lock().key_looks, 2);
    fake.lock().signing = Signing::ByAnUnknownKey;
    for _ in 0..10 {
        assert_eq!(sign_in(&app, &fake, ada()).await.status, StatusCode::BAD_GATEWAY);
    }
    assert_eq!(fake.lock().key_looks, 2);
    app.end().await;
}

#[tokio::test]
async fn a_provider_that_is_slow_huge_or_sends_us_elsewhere_fails_in_time_and_by_itself() {
    let fake = Fake::start().await;
    let app = app_with(&fake.settings(), plain()).await;
    for (number, manner) in [Manner::Silent, Manner::Huge, Manner::Redirecting, Manner::NotJson]
        .into_iter()
        .enumerate()
    {
        let begun = begin(&app, "fake", "start", None).await;
        let code = fake.visit(&begun, ada());
        fake.lock().manner = manner;
        let started = Instant::now();
        let refused = finish(&app, "fake", &begun, &code).await;
        assert_eq!(
            (refused.status, refused.problem()),
            (StatusCode::BAD_GATEWAY, "/problems/provider-failed"),
            "{manner:?}"
        );
        assert!(started.elapsed() < Duration::from_secs(10), "{manner:?}");
        // Whoever signs in by a password does not notice.
        let nobody = format!("nobody{number}@example.org");
        assert_eq!(
            app.sign_in(&nobody, "no password at all").await.status,
            StatusCode::UNAUTHORIZED
        );
        fake.lock().manner = Manner::Sound;
    }
    assert_eq!(sign_in(&app, &fake, ada()).await.status, StatusCode::OK);
    app.end().await;
}

#[tokio::test]
async fn a_provider_that_is_down_is_not_waited_for_by_everybody_in_turn() {
    let fake = Fake::start().await;
    fake.lock().manner = Manner::Silent;
    let app = app_with(&fake.settings(), plain()).await;
    let started = Instant::now();
    for round in 0..5 {
        let refused = app.post(&path("fake", "start"), json!({})).await;
        assert_eq!(
            (refused.status, refused.problem()),
            (StatusCode::BAD_GATEWAY, "/problems/provider-failed"),
            "{round}"
        );
    }
    // One time-out of 1.5 s, and four answers from memory.
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    app.end().await;
}
