//! What the tests of the command path begin with: a write side on an address of the test's choosing, and families.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Request as HttpRequest, StatusCode, header},
};
use command_api::{
    CommandApi, Receipt,
    audit::{self, AuditLimits, AuditState},
    dispatch::{self, Request, traceparent},
    identity::{self, Families, Identity, IdentityConfig, Secret},
    lanes::LaneSettings,
};
use domain::{
    category::CategoryKind,
    commands::{AnyCommand, find},
    id::{AccountId, CategoryId, CommandId, FamilyId, UserId},
};
use event_store::Log;
use serde_json::{Value, json};
use service_kit::{
    auth::SignedIn,
    database::{self, DatabaseRole},
    problem::Problem,
};
use tower::ServiceExt;
use uuid::Uuid;

/// The same in every process of a test.
pub const CLAIM_KEY: [u8; 32] = [7; 32];
/// Who asks when nobody in particular does.
pub const PARENT: UserId = UserId::from_uuid(Uuid::from_u128(0xAAA));

/// A command as if it had been parsed already.
pub fn parsed(name: &str, body: &Value) -> Arc<dyn AnyCommand> {
    let kind = find(name).expect("a command of this name");
    Arc::from((kind.parse)(&body.to_string()).expect("a body of its form"))
}

pub fn euros(amount: &str) -> Value {
    json!({"amount": amount, "currency": "EUR"})
}

/// A family and what expenses need of it.
#[derive(Clone, Copy, Debug)]
pub struct Household {
    pub id: FamilyId,
    pub account: AccountId,
    pub groceries: CategoryId,
}

impl Household {
    pub fn expense(&self, amount: &str) -> Value {
        json!({"account_id": self.account, "money": euros(amount), "category_id": self.groceries})
    }
}

/// One process' write side.
pub struct WriteSide {
    pub api: CommandApi,
    pub log: Log,
}

impl WriteSide {
    pub async fn start(url: &str, connections: u32, settings: LaneSettings) -> Self {
        let pool = database::connect(url, DatabaseRole::Writer, connections)
            .await
            .expect("the test database answers");
        let log = Log::new(pool, CLAIM_KEY);
        let (api, _) = CommandApi::start(log.clone(), settings).await.expect("the lanes start");
        Self { api, log }
    }

    pub fn request(&self, family_id: FamilyId, name: &str, body: &Value) -> Request {
        Request {
            family_id,
            command_id: CommandId::from_uuid(Uuid::new_v4()),
            signed_in: SignedIn {
                user_id: PARENT,
                session_id: Uuid::nil(),
                proven_at: 0,
                is_paired: false,
            },
            command: parsed(name, body),
            if_match: None,
            traceparent: traceparent(&HeaderMap::new()),
            bytes: body.to_string().len(),
        }
    }

    pub async fn execute(&self, family_id: FamilyId, name: &str, body: &Value) -> Result<Receipt, Problem> {
        self.api.execute(self.request(family_id, name, body)).await
    }

    /// Founds a family with an account of 1,000.00 EUR.
    pub async fn found(&self) -> Household {
        let id = FamilyId::from_uuid(Uuid::new_v4());
        let create = json!({"name": "Lovelace", "currency": "EUR"});
        self.execute(id, "create-family", &create)
            .await
            .expect("a family is founded");
        let open = json!({"name": "Current account", "kind": "bank", "opening_balance": euros("1000.00")});
        let opened = self
            .execute(id, "open-account", &open)
            .await
            .expect("an account is opened");
        Household {
            id,
            account: opened.events[0].aggregate_id.parse().expect("an account's id"),
            groceries: CategoryId::of_name(id, CategoryKind::Expense, "Groceries"),
        }
    }
}

/// The routes of one process, and somebody who is signed in there.
pub struct Served {
    pub router: Router,
    pub token: String,
    pub household: Household,
}

/// What a route answered.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Served {
    pub async fn start(url: &str, settings: LaneSettings) -> Self {
        Self::start_with(url, settings, AuditLimits::default()).await
    }

    pub async fn start_with(url: &str, settings: LaneSettings, limits: AuditLimits) -> Self {
        let side = WriteSide::start(url, 8, settings).await;
        let families: Arc<dyn Families> = Arc::new(side.api.clone());
        let config = IdentityConfig {
            argon2_memory_kib: 19_456,
            argon2_iterations: 2,
            ..IdentityConfig::default()
        };
        let identities = database::connect(url, DatabaseRole::Identity, 8)
            .await
            .expect("the test database answers");
        let identity = Identity::open(identities, &Secret::new([7; 32]), &config, Arc::clone(&families))
            .await
            .expect("identity opens");
        let verifier = Arc::clone(identity.verifier());
        let audit = AuditState::new(
            side.log.clone(),
            identity.trail(),
            identity.sign_ins(),
            families,
            Arc::clone(&verifier),
            limits,
        );
        let router = identity::router(identity)
            .merge(dispatch::router(side.api.clone(), verifier))
            .merge(audit::router(audit));
        let mut served = Self {
            router,
            token: String::new(),
            household: Household {
                id: FamilyId::from_uuid(Uuid::nil()),
                account: AccountId::from_uuid(Uuid::nil()),
                groceries: CategoryId::from_uuid(Uuid::nil()),
            },
        };
        let person =
            json!({"email": "ada@example.org", "password": "correct horse battery staple", "display_name": "Ada"});
        let registered = served.post("/api/v1/auth/register", person.to_string()).await;
        registered.body["access_token"]
            .as_str()
            .expect("a token")
            .clone_into(&mut served.token);
        let create = json!({"name": "Lovelace", "currency": "EUR"});
        let founded = served.post("/api/v1/families", create.to_string()).await;
        let id: FamilyId = founded.body["family_id"]
            .as_str()
            .expect("an id")
            .parse()
            .expect("an id");
        served.household.id = id;
        let open = json!({"name": "Current account", "kind": "bank", "opening_balance": euros("1000.00")});
        let opened = served.command("open-account", open.to_string()).await;
        served.household = Household {
            id,
            account: opened.body["events"][0]["aggregate_id"]
                .as_str()
                .expect("an id")
                .parse()
                .expect("an account's id"),
            groceries: CategoryId::of_name(id, CategoryKind::Expense, "Groceries"),
        };
        served
    }

    pub fn http(&self, request: axum::http::request::Builder) -> axum::http::request::Builder {
        request
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .header(header::CONTENT_TYPE, "application/json")
            .header("idempotency-key", Uuid::new_v4().to_string())
    }

    pub async fn post(&self, path: &str, body: String) -> Answer {
        let request = self
            .http(HttpRequest::post(path))
            .header(header::CONTENT_LENGTH, body.len())
            .body(Body::from(body))
            .expect("a request");
        self.send(request).await
    }

    pub async fn command(&self, name: &str, body: String) -> Answer {
        self.post(&format!("/api/v1/families/{}/commands/{name}", self.household.id), body)
            .await
    }

    pub async fn send(&self, request: HttpRequest<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.expect("an answer");
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 26)
            .await
            .expect("a body");
        Answer {
            status,
            headers,
            body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        }
    }
}
