//! Keys for programs.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode, header},
};
use domain::{
    actor::Role,
    id::{FamilyId, MemberId},
};
use serde_json::{Value, json};
use service_kit::{
    auth::{SignedIn, TokenVerifier},
    database::DatabaseRole,
};
use tower::ServiceExt;
use uuid::Uuid;

use super::{Answer, App};

const API_KEYS: &str = "/api/v1/auth/api-keys";
const FAMILY: &str = "/api/v1/families/{family}";

/// Somebody with a family, and a process that reads only.
struct Ada {
    app: App,
    token: String,
    user_id: String,
    family_id: FamilyId,
}

impl Ada {
    async fn start() -> Self {
        let app = App::start().await;
        let registered = app.register("ada@example.org").await;
        let family_id = FamilyId::from_uuid(Uuid::new_v4());
        let user_id = registered["user_id"].as_str().unwrap().to_owned();
        let member_id = MemberId::from_uuid(Uuid::new_v4());
        app.places
            .put(family_id, member_id, Role::Parent, Some(user_id.parse().unwrap()));
        Self {
            token: registered["access_token"].as_str().unwrap().to_owned(),
            app,
            user_id,
            family_id,
        }
    }

    async fn make(&self, body: Value) -> Answer {
        self.app.post_as(&self.token, API_KEYS, body).await
    }

    async fn key(&self, scopes: &[&str]) -> String {
        let made = self.make(json!({"name": "script", "scopes": scopes})).await;
        assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
        assert_eq!(made.caching.as_deref(), Some("no-store"));
        made.body["key"].as_str().unwrap().to_owned()
    }
}

/// A process that verifies who asks and answers who that is, and whether their proof is fresh, whatever the path.
async fn process(app: &App, role: DatabaseRole) -> Router {
    let verifier = TokenVerifier::load(&app.database.pool(role).await).await.unwrap();
    let answer = async |signed_in: SignedIn, now: i64| {
        let is_proven = signed_in.require_step_up(now).is_ok();
        axum::Json(json!({"user_id": signed_in.user_id, "is_proven": is_proven}))
    };
    let now = Arc::clone(&verifier);
    Router::new()
        .fallback(move |signed_in: SignedIn| {
            let now = now.now();
            async move { answer(signed_in, now).await }
        })
        .with_state(verifier)
}

async fn ask(process: &Router, method: &str, path: &str, key: &str) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::AUTHORIZATION, format!("Bearer {key}"))
        .body(Body::empty())
        .unwrap();
    Answer::read(process.clone().oneshot(request).await.unwrap()).await
}

#[tokio::test]
async fn a_key_is_for_what_its_scopes_name_in_every_process() {
    let ada = Ada::start().await;
    let operations = [
        ("GET", "/api/v1/families", &["read"][..]),
        ("GET", "/api/v1/families/{family}/entries", &["read"]),
        ("GET", "/api/v1/families/{family}/as-of/spending", &["read"]),
        ("GET", "/api/v1/families/{family}/audit/verify", &["read"]),
        ("GET", "/api/v1/families/{family}/audit/export", &["export"]),
        ("GET", "/api/v1/families/{family}/audit/pack", &["export"]),
        ("POST", "/api/v1/families", &["commands"]),
        ("POST", "/api/v1/families/{family}/commands", &["commands"]),
        ("POST", "/api/v1/families/{family}/commands/add-expense", &["commands"]),
        (
            "POST",
            "/api/v1/families/{family}/commands/sync-bank",
            &["commands", "import"],
        ),
        ("POST", "/api/v1/families/{family}/imports", &["import"]),
        ("POST", "/api/v1/families/{family}/members/mem/invitation", &[]),
        ("GET", "/api/v1/auth/profile", &[]),
        ("POST", "/api/v1/auth/api-keys", &[]),
        ("POST", "/api/v1/auth/step-up", &[]),
        ("POST", "/api/v1/auth/logout", &[]),
        ("DELETE", "/api/v1/families/{family}", &[]),
    ];
    let mut processes = Vec::new();
    for role in [
        DatabaseRole::Identity,
        DatabaseRole::Reader,
        DatabaseRole::Projector,
        DatabaseRole::Replayer,
    ] {
        processes.push(process(&ada.app, role).await);
    }
    let mut asked = 0;
    for scope in ["read", "commands", "import", "export"] {
        let key = ada.key(&[scope]).await;
        for (method, path, scopes) in &operations {
            let path = path.replace("{family}", &ada.family_id.to_string());
            for process in &processes {
                let answer = ask(process, method, &path, &key).await;
                asked += 1;
                if scopes.contains(&scope) {
                    assert_eq!(answer.status, StatusCode::OK, "{scope} {method} {path}: {answer:?}");
                    assert_eq!(answer.body["user_id"], json!(ada.user_id));
                    // Nothing but an export counts the making of the key as a proof.
                    assert_eq!(answer.body["is_proven"], json!(scope == "export"), "{method} {path}");
                } else {
                    assert_eq!(
                        (answer.status, answer.problem()),
                        (StatusCode::FORBIDDEN, "/problems/api-key-scope"),
                        "{scope} {method} {path}"
                    );
                }
            }
        }
    }
    assert_eq!(asked, 4 * 17 * 4);
    ada.app.end().await;
}

#[tokio::test]
async fn nothing_of_the_account_is_done_by_key() {
    let ada = Ada::start().await;
    let key = ada.key(&["read", "commands", "import", "export"]).await;
    for (method, path) in [
        ("GET", "/api/v1/auth/profile"),
        ("GET", "/api/v1/auth/factors"),
        ("GET", "/api/v1/auth/devices"),
        ("DELETE", "/api/v1/auth/devices/7f3c1b0e-2f57-4c0a-9d38-6f4a1f1f6b11"),
        ("GET", API_KEYS),
        ("POST", API_KEYS),
        ("POST", "/api/v1/auth/factors/totp"),
        ("DELETE", "/api/v1/auth/factors/totp"),
        ("POST", "/api/v1/auth/factors/recovery-codes"),
        ("POST", "/api/v1/auth/factors/passkeys/options"),
        ("POST", "/api/v1/auth/step-up/options"),
    ] {
        let answer = ask(&ada.app.router, method, path, &key).await;
        assert_eq!(answer.problem(), "/problems/api-key-scope", "{method} {path}");
    }
    // The session of a key is none: it cannot be refreshed, and signing out by it ends nothing.
    let out = ask(&ada.app.router, "POST", "/api/v1/auth/logout", &key).await;
    assert_eq!(out.status, StatusCode::UNAUTHORIZED);
    let refreshed = ada.app.refresh(&json!(key), None).await;
    assert_eq!(refreshed.status, StatusCode::UNAUTHORIZED);
    ada.app.end().await;
}

#[tokio::test]
async fn a_key_for_one_family_opens_no_other() {
    let ada = Ada::start().await;
    let body = json!({"name": "script", "scopes": ["read"], "family_id": ada.family_id});
    let made = ada.make(body).await;
    let key = made.body["key"].as_str().unwrap();
    let reader = process(&ada.app, DatabaseRole::Reader).await;
    let own = FAMILY.replace("{family}", &ada.family_id.to_string());
    assert_eq!(
        ask(&reader, "GET", &format!("{own}/entries"), key).await.status,
        StatusCode::OK
    );
    for other in [
        "/api/v1/families/fam_00000000-0000-0000-0000-000000000001/entries",
        "/api/v1/families/nonsense/entries",
    ] {
        let refused = ask(&reader, "GET", other, key).await;
        assert_eq!(
            (refused.status, refused.problem()),
            (StatusCode::NOT_FOUND, "/problems/unknown-family")
        );
    }
    let all = ask(&reader, "GET", "/api/v1/families", key).await;
    assert_eq!(all.problem(), "/problems/api-key-scope");
    let foreign = json!({"name": "x", "scopes": ["read"], "family_id": FamilyId::from_uuid(Uuid::new_v4())});
    assert_eq!(ada.make(foreign).await.problem(), "/problems/unknown-family");
    ada.app.end().await;
}

#[tokio::test]
async fn an_ended_key_is_refused_here_at_once_and_elsewhere_within_five_seconds() {
    let ada = Ada::start().await;
    let made = ada.make(json!({"name": "script", "scopes": ["read"]})).await;
    let key = made.body["key"].as_str().unwrap().to_owned();
    let reader = process(&ada.app, DatabaseRole::Reader).await;
    assert_eq!(
        ask(&reader, "GET", "/api/v1/families", &key).await.status,
        StatusCode::OK
    );
    let path = format!("{API_KEYS}/{}", made.body["api_key_id"].as_str().unwrap());
    let listed = ada.app.get_as(&ada.token, API_KEYS).await;
    assert_eq!(listed.body["api_keys"].as_array().unwrap().len(), 1);
    assert!(listed.body["api_keys"][0]["last_used_at"].is_string());
    assert!(!listed.body.to_string().contains("klk_"));

    let eve = ada.app.register("eve@example.org").await;
    let eve = eve["access_token"].as_str().unwrap();
    assert_eq!(ada.app.delete_as(eve, &path).await.status, StatusCode::NOT_FOUND);
    let ended = ada.app.delete_as(&ada.token, &path).await;
    assert_eq!(ended.status, StatusCode::NO_CONTENT, "{ended:?}");
    assert_eq!(ada.app.delete_as(&ada.token, &path).await.status, StatusCode::NOT_FOUND);
    let began = std::time::Instant::now();
    while ask(&reader, "GET", "/api/v1/families", &key).await.status != StatusCode::UNAUTHORIZED {
        assert!(began.elapsed() < Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    ada.app.end().await;
}

#[tokio::test]
async fn a_key_ends_by_itself_and_is_stored_as_a_hash_that_no_reader_sees() {
    let ada = Ada::start().await;
    let key = ada.key(&["read"]).await;
    assert_eq!(key.len(), "klk_".len() + 43);
    let pool = ada.app.database.superuser().await;
    let (row,): (String,) = sqlx::query_as("select row_to_json(t)::text from identity.api_keys as t")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert!(!row.contains(&key) && !row.contains(&key[4..]) && !row.contains(&hex::encode(&key)));
    for role in [
        DatabaseRole::Writer,
        DatabaseRole::Reader,
        DatabaseRole::Projector,
        DatabaseRole::Relay,
    ] {
        let other = ada.app.database.pool(role).await;
        let read = sqlx::query("select * from identity.api_keys").fetch_all(&other).await;
        assert!(read.is_err(), "{role:?} reads keys");
    }
    let relay = ada.app.database.pool(DatabaseRole::Relay).await;
    let used = sqlx::query("select * from identity.use_api_key('\\x00')")
        .fetch_all(&relay)
        .await;
    assert!(used.is_err());

    sqlx::query("update identity.api_keys set expires_at = clock_timestamp()")
        .execute(&pool)
        .await
        .unwrap();
    let reader = process(&ada.app, DatabaseRole::Reader).await;
    let over = ask(&reader, "GET", "/api/v1/families", &key).await;
    let unknown = ask(&reader, "GET", "/api/v1/families", "klk_nobody").await;
    assert_eq!(over.status, StatusCode::UNAUTHORIZED);
    assert_eq!(over.body, unknown.body);
    ada.app.end().await;
}

#[tokio::test]
async fn keys_are_few_and_short_lived() {
    let ada = Ada::start().await;
    for body in [
        json!({"name": "", "scopes": ["read"]}),
        json!({"name": "x", "scopes": []}),
        json!({"name": "x", "scopes": ["everything"]}),
        json!({"name": "x", "scopes": ["read"], "days": 0}),
        json!({"name": "x", "scopes": ["read"], "days": 366}),
        json!({"name": "x", "scopes": ["read"], "more": 1}),
    ] {
        let refused = ada.make(body.clone()).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{body}");
    }
    for _ in 0..50 {
        ada.key(&["read"]).await;
    }
    let one_more = ada.make(json!({"name": "x", "scopes": ["read"], "days": 365})).await;
    assert_eq!(
        (one_more.status, one_more.problem()),
        (StatusCode::CONFLICT, "/problems/too-many-api-keys")
    );
    ada.app.end().await;
}
