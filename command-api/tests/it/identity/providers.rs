//! Signing in with an account elsewhere: at a real OpenID provider that is not ours, and at one of ours that lies on demand.

mod fake;
mod linking;
mod real;
mod tokens;
mod vendors;

use std::time::Duration;

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use command_api::identity::IdentityConfig;
use connectors::sign_in::{Providers, Settings};
use serde_json::{Value, json};
use service_kit::testing::TestDatabase;
use url::Url;

use super::{Answer, App, json_request, quick};

/// How long a provider may take in these tests.
const TIMEOUT: Duration = Duration::from_millis(1_500);

/// An app with these providers, beside what `config` says.
async fn app_with(providers: &Value, config: IdentityConfig) -> App {
    app_waiting(providers, config, TIMEOUT).await
}

/// As [`app_with`], where a provider may take so long.
async fn app_waiting(providers: &Value, config: IdentityConfig, timeout: Duration) -> App {
    App::on(
        TestDatabase::create().await,
        &with_providers(providers, config, timeout),
        [7; 32],
    )
    .await
}

fn with_providers(providers: &Value, config: IdentityConfig, timeout: Duration) -> IdentityConfig {
    let mut settings = Settings::parse(providers.to_string().as_bytes()).unwrap();
    for (_, section) in settings.sections_mut() {
        section.private_key_pem = section
            .private_key_file
            .as_ref()
            .map(|path| std::fs::read(path).unwrap());
    }
    settings.timeout = Some(timeout);
    IdentityConfig {
        sign_in_providers: Providers::open(&settings).unwrap(),
        ..config
    }
}

/// A sign-in that began: what the answer said, and what the browser keeps.
struct Begun {
    authorization_url: Url,
    binding: Value,
    cookie: String,
}

impl Begun {
    fn parameter(&self, name: &str) -> String {
        let mut pairs = self.authorization_url.query_pairs();
        pairs
            .find_map(|(key, value)| (key == name).then(|| value.into_owned()))
            .unwrap_or_default()
    }

    fn state(&self) -> String {
        self.parameter("state")
    }
}

fn path(provider: &str, what: &str) -> String {
    format!("/api/v1/auth/providers/{provider}/{what}")
}

/// Begins at `what`: `start`, or `link` with a token.
async fn begin(app: &App, provider: &str, what: &str, token: Option<&str>) -> Begun {
    use tower::ServiceExt;

    let mut request = Request::post(path(provider, what));
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let response = app
        .router
        .clone()
        .oneshot(request.body(Body::empty()).unwrap())
        .await
        .unwrap();
    let cookie = response.headers().get(header::SET_COOKIE).cloned();
    let answer = Answer::read(response).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let cookie = cookie.unwrap().to_str().unwrap().to_owned();
    for attribute in ["__Host-", "; HttpOnly", "; Secure", "; SameSite=Strict", "; Path=/;"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    Begun {
        authorization_url: answer.body["authorization_url"].as_str().unwrap().parse().unwrap(),
        binding: answer.body["binding"].clone(),
        cookie: cookie.split(';').next().unwrap().to_owned(),
    }
}

/// Finishes as a browser does, by its cookie.
async fn finish(app: &App, provider: &str, begun: &Begun, code: &str) -> Answer {
    let body = json!({"state": begun.state(), "code": code});
    finish_with(app, provider, &body, &[("cookie", &begun.cookie)]).await
}

async fn finish_with(app: &App, provider: &str, body: &Value, headers: &[(&str, &str)]) -> Answer {
    app.send(json_request(&path(provider, "finish"), body, headers)).await
}

async fn link_with(app: &App, token: &str, provider: &str, begun: &Begun, code: &str) -> Answer {
    let body = json!({"state": begun.state(), "code": code});
    let headers = [
        ("cookie", begun.cookie.as_str()),
        ("authorization", &format!("Bearer {token}")),
    ];
    app.send(json_request(&path(provider, "link/finish"), &body, &headers))
        .await
}

fn token_of(answer: &Answer) -> &str {
    answer.body["access_token"].as_str().unwrap()
}

/// The kinds of what happened to accounts, in order.
async fn trail(app: &App) -> Vec<String> {
    let pool = app.database.superuser().await;
    let kinds: Vec<(String,)> = sqlx::query_as("select kind from identity.security_events order by event_id")
        .fetch_all(&pool)
        .await
        .unwrap();
    pool.close().await;
    kinds.into_iter().map(|(kind,)| kind).collect()
}

async fn count(app: &App, table: &str) -> i64 {
    let pool = app.database.superuser().await;
    let (rows,): (i64,) = sqlx::query_as(&format!("select count(*) from identity.{table}"))
        .fetch_one(&pool)
        .await
        .unwrap();
    pool.close().await;
    rows
}

/// As most tests have it.
fn plain() -> IdentityConfig {
    quick()
}
