//! The whole way through npm `oidc-provider`, which is not ours: discovery, PKCE, login, consent, code, ID token and userinfo.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use axum::http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};
use url::Url;

use super::{App, Begun, app_with, begin, count, finish, finish_with, path, plain, token_of, trail};

/// A running provider.
struct Real {
    child: Child,
    settings: Value,
}

impl Real {
    fn start() -> Self {
        let folder = std::env::var("KINLEDGER_OPENID_PROVIDER")
            .expect("KINLEDGER_OPENID_PROVIDER: a folder with oidc-provider; `scripts/setup.sh test` fetches it");
        let mut child = Command::new("node")
            .arg(Path::new(&folder).join("server.mjs"))
            .arg("http://localhost:8080/api/v1/auth/providers/real/callback")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let mut section: Value = serde_json::from_str(&line).unwrap();
        section["kind"] = json!("openid");
        section["trusts_email"] = json!(true);
        Self {
            child,
            settings: json!({"real": section}),
        }
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A browser with cookies, that goes where it is sent until it is sent back to us.
struct Browser {
    agent: ureq::Agent,
    cookies: BTreeMap<String, String>,
}

impl Browser {
    fn new() -> Self {
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(20)))
            .http_status_as_error(false)
            .max_redirects(0)
            .build()
            .into();
        Self {
            agent,
            cookies: BTreeMap::new(),
        }
    }

    fn ask(&mut self, url: &Url, form: Option<&[(&str, &str)]>) -> (StatusCode, HeaderMap, String) {
        let cookies: Vec<String> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let mut answer = match form {
            Some(form) => self
                .agent
                .post(url.as_str())
                .header("cookie", cookies.join("; "))
                .send_form(form.iter().copied()),
            None => self.agent.get(url.as_str()).header("cookie", cookies.join("; ")).call(),
        }
        .unwrap();
        for set in answer.headers().get_all(header::SET_COOKIE) {
            let pair = set.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        let text = answer.body_mut().read_to_string().unwrap();
        (answer.status(), answer.headers().clone(), text)
    }

    /// Signs in as `name`, agrees to what is asked, and is sent back: to this address.
    fn sign_in(&mut self, begun: &Begun, name: &str) -> Url {
        let mut url = begun.authorization_url.clone();
        let mut form: Option<Vec<(&str, &str)>> = None;
        for _ in 0..20 {
            let (status, headers, text) = self.ask(&url, form.take().as_deref());
            if let Some(location) = headers.get(header::LOCATION) {
                url = url.join(location.to_str().unwrap()).unwrap();
                if url.path().ends_with("/callback") {
                    return url;
                }
                continue;
            }
            assert_eq!(status, StatusCode::OK, "{url}: {text}");
            form = Some(if text.contains(r#"name="login""#) {
                vec![("prompt", "login"), ("login", name), ("password", "any")]
            } else {
                assert!(text.contains(r#"value="consent""#), "{text}");
                vec![("prompt", "consent")]
            });
        }
        panic!("the provider goes on asking");
    }
}

/// Off the runtime's thread, for the browser blocks.
async fn visit(begun: Begun, name: &'static str) -> (Begun, Url) {
    let visit = move || {
        let back = Browser::new().sign_in(&begun, name);
        (begun, back)
    };
    tokio::task::spawn_blocking(visit).await.unwrap()
}

/// The page that our callback sends the browser on to, and what it hands over.
async fn handed_over(app: &App, back: &Url) -> (String, BTreeMap<String, String>) {
    use tower::ServiceExt;

    let request = axum::http::Request::get(format!("{}?{}", back.path(), back.query().unwrap()));
    let response = app
        .router
        .clone()
        .oneshot(request.body(axum::body::Body::empty()).unwrap())
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    let location = response.headers()[header::LOCATION].to_str().unwrap();
    let (page, query) = location.split_once('?').unwrap();
    let pairs = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    (page.to_owned(), pairs)
}

/// A whole sign-in; the answer of finishing it, and what it was finished with.
async fn whole(app: &App, name: &'static str) -> (super::Answer, Value, String) {
    let begun = begin(app, "real", "start", None).await;
    let (begun, back) = visit(begun, name).await;
    let (page, body) = handed_over(app, &back).await;
    assert_eq!(page, "http://localhost:8080/#/providers/real");
    let body = json!(body);
    let answer = finish_with(app, "real", &body, &[("cookie", &begun.cookie)]).await;
    (answer, body, begun.cookie)
}

#[tokio::test]
async fn somebody_new_gets_an_account_by_a_real_provider_and_the_same_one_again() {
    let real = Real::start();
    let app = app_with(&real.settings, plain()).await;
    let listed = app.get_as("", "/api/v1/auth/providers").await;
    assert_eq!(
        listed.body,
        json!({"providers": [{"provider": "real", "title": "OpenID"}]})
    );
    let (first, finished_with, cookie) = whole(&app, "ada@example.org").await;
    assert_eq!(first.status, StatusCode::OK, "{first:?}");
    assert_eq!(first.caching.as_deref(), Some("no-store"));
    let profile = app.get_as(token_of(&first), "/api/v1/auth/profile").await.body;
    assert_eq!(profile["email"], "ada@example.org");
    assert!(profile["email_verified_at"].is_string(), "{profile}");
    assert_eq!(profile["display_name"], "Ada Lovelace");
    assert_eq!(profile["linked"][0]["provider"], "real");

    // State and code are good once, also together and in the same browser.
    let again = finish_with(&app, "real", &finished_with, &[("cookie", &cookie)]).await;
    assert_eq!(
        (again.status, again.problem()),
        (StatusCode::UNAUTHORIZED, "/problems/unknown-sign-in")
    );
    // The used code, with a state of its own.
    let fresh = begin(&app, "real", "start", None).await;
    let mut replayed = finished_with.clone();
    replayed["state"] = json!(fresh.state());
    let replayed = finish_with(&app, "real", &replayed, &[("cookie", &fresh.cookie)]).await;
    assert_eq!(
        (replayed.status, replayed.problem()),
        (StatusCode::UNAUTHORIZED, "/problems/sign-in-refused")
    );

    let (second, ..) = whole(&app, "ada@example.org").await;
    assert_eq!(second.status, StatusCode::OK, "{second:?}");
    assert_eq!(second.body["user_id"], first.body["user_id"]);
    assert_eq!(count(&app, "users").await, 1);
    assert_eq!(trail(&app).await[..2], ["registered", "signed-in"]);
    app.end().await;
}

#[tokio::test]
async fn an_answer_fits_no_other_browser_no_other_state_and_no_other_issuer() {
    let real = Real::start();
    let app = app_with(&real.settings, plain()).await;
    let begun = begin(&app, "real", "start", None).await;
    let (mine, back) = visit(begun, "ada@example.org").await;
    let (_, body) = handed_over(&app, &back).await;
    assert!(
        body.contains_key("iss"),
        "the provider says whose answer it is: {body:?}"
    );
    let body = json!(body);
    let theirs = begin(&app, "real", "start", None).await;
    let mut other_state = body.clone();
    other_state["state"] = json!(theirs.state());
    let mut made_up = body.clone();
    made_up["state"] = json!("A".repeat(43));
    for (body, cookie) in [
        (&body, theirs.cookie.as_str()),
        (&body, "a=b"),
        (&other_state, mine.cookie.as_str()),
        (&made_up, mine.cookie.as_str()),
    ] {
        let refused = finish_with(&app, "real", body, &[("cookie", cookie)]).await;
        assert_eq!(
            (refused.status, refused.problem()),
            (StatusCode::UNAUTHORIZED, "/problems/unknown-sign-in")
        );
    }
    // Somebody else's answer under the state of this browser: the code is not of this sign-in's PKCE.
    let mut their_code = body.clone();
    their_code["state"] = json!(theirs.state());
    let refused = finish_with(&app, "real", &their_code, &[("cookie", &theirs.cookie)]).await;
    assert_eq!(
        (refused.status, refused.problem()),
        (StatusCode::UNAUTHORIZED, "/problems/sign-in-refused")
    );
    // The right browser, but the answer names another issuer, or none although the provider always does.
    for issuer in [Some("https://evil.example.org"), None] {
        let begun = begin(&app, "real", "start", None).await;
        let (begun, back) = visit(begun, "ada@example.org").await;
        let (_, mut body) = handed_over(&app, &back).await;
        match issuer {
            Some(issuer) => body.insert("iss".to_owned(), issuer.to_owned()),
            None => body.remove("iss"),
        };
        let refused = finish_with(&app, "real", &json!(body), &[("cookie", &begun.cookie)]).await;
        assert_eq!(
            (refused.status, refused.problem()),
            (StatusCode::UNAUTHORIZED, "/problems/sign-in-refused")
        );
    }
    assert_eq!(count(&app, "users").await, 0);
    // Nobody used up what is mine by all that: I am let in with it, by the binding itself this time.
    let mut by_hand = body;
    by_hand["binding"] = mine.binding.clone();
    let mine = finish_with(&app, "real", &by_hand, &[]).await;
    assert_eq!(mine.status, StatusCode::OK, "{mine:?}");
    assert_eq!(count(&app, "users").await, 1);
    app.end().await;
}

#[tokio::test]
async fn an_address_the_provider_doubts_is_not_kept_and_one_that_an_account_has_opens_nothing() {
    let real = Real::start();
    let app = app_with(&real.settings, plain()).await;
    let ada = app.register("ada@example.org").await;
    let (refused, ..) = whole(&app, "ada@example.org").await;
    assert_eq!(
        (refused.status, refused.problem()),
        (StatusCode::CONFLICT, "/problems/link-required")
    );
    let (doubted, ..) = whole(&app, "doubtful:ada@example.org").await;
    assert_eq!(doubted.status, StatusCode::OK, "{doubted:?}");
    assert_ne!(doubted.body["user_id"], ada["user_id"]);
    let profile = app.get_as(token_of(&doubted), "/api/v1/auth/profile").await.body;
    assert_eq!(profile["email"], "");
    assert_eq!(profile["email_verified_at"], Value::Null);
    assert_eq!(count(&app, "linked_sign_ins").await, 1);
    app.end().await;
}

#[tokio::test]
async fn a_code_without_our_verifier_is_worth_nothing_and_a_refusal_at_the_provider_signs_nobody_in() {
    let real = Real::start();
    let app = app_with(&real.settings, plain()).await;
    let begun = begin(&app, "real", "start", None).await;
    // The provider itself refuses who begins without PKCE.
    let mut bare = begun.authorization_url.clone();
    let kept: Vec<(String, String)> = bare
        .query_pairs()
        .into_owned()
        .filter(|(name, _)| !name.starts_with("code_challenge"))
        .collect();
    bare.query_pairs_mut().clear().extend_pairs(kept);
    let sent_back = tokio::task::spawn_blocking(move || Browser::new().ask(&bare, None))
        .await
        .unwrap();
    let location = sent_back.1[header::LOCATION].to_str().unwrap().to_owned();
    assert!(location.contains("error=invalid_request"), "{location}");
    let (page, body) = handed_over(&app, &location.parse().unwrap()).await;
    assert_eq!(page, "http://localhost:8080/#/providers/real");
    assert_eq!(body["error"], "invalid_request");
    let made_up = finish(&app, "real", &begun, "made-up").await;
    assert_eq!(
        (made_up.status, made_up.problem()),
        (StatusCode::UNAUTHORIZED, "/problems/sign-in-refused")
    );
    let elsewhere = app.post(&path("google", "start"), json!({})).await;
    assert_eq!(
        (elsewhere.status, elsewhere.problem()),
        (StatusCode::NOT_FOUND, "/problems/unknown-provider")
    );
    assert_eq!(count(&app, "users").await, 0);
    app.end().await;
}
