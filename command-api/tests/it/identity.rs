//! Register, sign in, refresh, sign out, invite and join, over HTTP.
//!
//! The families' log is replaced by a list of places here; the whole path through the lanes is tested elsewhere.

mod accounted;
mod accounts;
mod api_keys;
mod attacks;
mod authenticators;
mod away;
mod closing;
mod devices;
mod factors;
mod families;
mod first_to_register;
mod invitations;
mod keys;
mod pairing;
mod passkeys;
mod phone;
mod providers;
mod retention;
mod sessions;
mod shared_network;
mod step_up;
mod stolen;
mod storage;
mod taking_back;
mod told;

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode, header},
    response::Response,
};
use command_api::identity::{Identity, IdentityConfig, Secret, router};
use connectors::channels::{Channels, Settings};
use serde_json::{Value, json};
use service_kit::{
    database::DatabaseRole,
    testing::{TestDatabase, mailbox::Mailbox},
};
use tower::ServiceExt;
use uuid::Uuid;

use families::Places;

pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// One process on one database.
struct App {
    database: TestDatabase,
    places: Arc<Places>,
    router: Router,
}

/// An answer, read to its end.
#[derive(Clone, Debug)]
struct Answer {
    status: StatusCode,
    retry_after_s: Option<u64>,
    caching: Option<String>,
    cookie: Option<String>,
    body: Value,
}

impl App {
    async fn start() -> Self {
        Self::on(TestDatabase::create().await, &quick(), [7; 32]).await
    }

    async fn on(database: TestDatabase, config: &IdentityConfig, secret: [u8; 32]) -> Self {
        let places = Arc::new(Places::default());
        let pool = database.pool(DatabaseRole::Identity).await;
        let identity = Identity::open(pool, &Secret::new(secret), config, places.clone())
            .await
            .unwrap();
        let router = router(identity);
        Self {
            database,
            places,
            router,
        }
    }

    /// One more process on the same database, with counts of its own.
    async fn another_process(&self) -> Router {
        self.another_process_with(&quick()).await
    }

    async fn another_process_with(&self, config: &IdentityConfig) -> Router {
        let pool = self.database.pool(DatabaseRole::Identity).await;
        let identity = Identity::open(pool, &Secret::new([7; 32]), config, self.places.clone())
            .await
            .unwrap();
        router(identity)
    }

    async fn delete_as(&self, token: &str, path: &str) -> Answer {
        let request = Request::delete(path).header(header::AUTHORIZATION, format!("Bearer {token}"));
        self.send(request.body(Body::empty()).unwrap()).await
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        Answer::read(response).await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(json_request(path, &body, &[])).await
    }

    async fn post_as(&self, token: &str, path: &str, body: Value) -> Answer {
        self.send(json_request(
            path,
            &body,
            &[("authorization", &format!("Bearer {token}"))],
        ))
        .await
    }

    async fn get_as(&self, token: &str, path: &str) -> Answer {
        let request = Request::get(path).header(header::AUTHORIZATION, format!("Bearer {token}"));
        self.send(request.body(Body::empty()).unwrap()).await
    }

    async fn register(&self, email: &str) -> Value {
        let body = json!({"email": email, "password": PASSWORD, "display_name": "Ada"});
        let answer = self.post("/api/v1/auth/register", body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        answer.body
    }

    async fn sign_in(&self, email: &str, password: &str) -> Answer {
        self.post("/api/v1/auth/login", json!({"email": email, "password": password}))
            .await
    }

    async fn refresh(&self, token: &Value, request_id: Option<Uuid>) -> Answer {
        let body = json!({"refresh_token": token});
        let request_id = request_id.map(|id| id.to_string());
        let headers: Vec<(&str, &str)> = request_id.iter().map(|id| ("idempotency-key", id.as_str())).collect();
        self.send(json_request("/api/v1/auth/refresh", &body, &headers)).await
    }

    async fn is_signed_in(&self, access_token: &Value) -> bool {
        let answer = self
            .get_as(access_token.as_str().unwrap(), "/api/v1/auth/profile")
            .await;
        assert!(
            answer.status == StatusCode::OK || answer.status == StatusCode::UNAUTHORIZED,
            "{answer:?}"
        );
        answer.status == StatusCode::OK
    }

    async fn end(self) {
        self.database.drop().await;
    }
}

impl Answer {
    async fn read(response: Response) -> Self {
        let (head, body) = response.into_parts();
        let status = head.status;
        let text = |name| {
            head.headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned)
        };
        let retry_after_s = text(header::RETRY_AFTER).and_then(|value| value.parse().ok());
        let caching = text(header::CACHE_CONTROL);
        let cookie = text(header::SET_COOKIE);
        let bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Self {
            status,
            retry_after_s,
            caching,
            cookie,
            body,
        }
    }

    fn problem(&self) -> &str {
        self.body["type"].as_str().unwrap_or_default()
    }
}

/// A configuration that sends its mails to this mailbox.
fn mailing(mailbox: &Mailbox) -> IdentityConfig {
    let settings = Settings {
        smtp_url: Some(mailbox.url()),
        mail_from: Some("Kinledger <kinledger@example.org>".to_owned()),
        ..Settings::default()
    };
    IdentityConfig {
        channels: Channels::open(&settings).unwrap(),
        public_url: "https://money.example.org".to_owned(),
        ..quick()
    }
}

/// The cheapest password hashes that are allowed at all.
fn quick() -> IdentityConfig {
    IdentityConfig {
        argon2_memory_kib: 19_456,
        argon2_iterations: 2,
        password_queue_max: 200,
        ..IdentityConfig::default()
    }
}

fn json_request(path: &str, body: &Value, headers: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::from(body.to_string())).unwrap()
}
