//! The auditor's routes over HTTP, on a ledger that was written over HTTP.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Request, StatusCode, header},
};
use command_api::{
    CommandApi,
    audit::{self, AuditLimits, AuditState},
    dispatch,
    identity::{self, Families, Identity, IdentityConfig, Secret},
    lanes::LaneSettings,
};
use event_store::Log;
use serde_json::{Value, json};
use service_kit::{database::DatabaseRole, testing::TestDatabase};
use tower::ServiceExt;
use uuid::Uuid;

struct App {
    database: TestDatabase,
    router: Router,
    family: String,
    parent: String,
    account: String,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }
}

impl App {
    /// A family with an account that holds 100.00 EUR since 2024-02-29.
    async fn start() -> Self {
        let database = TestDatabase::create().await;
        let pool = database.pool(DatabaseRole::Writer).await;
        let log = Log::new(pool, [9; 32]);
        let (api, _) = CommandApi::start(log.clone(), LaneSettings::default())
            .await
            .expect("the lanes start");
        let families: Arc<dyn Families> = Arc::new(api.clone());
        let config = IdentityConfig {
            argon2_memory_kib: 19_456,
            argon2_iterations: 2,
            ..IdentityConfig::default()
        };
        let identities = database.pool(DatabaseRole::Identity).await;
        let identity = Identity::open(identities, &Secret::new([7; 32]), &config, Arc::clone(&families))
            .await
            .expect("identity opens");
        let verifier = Arc::clone(identity.verifier());
        let limits = AuditLimits::default();
        let (trail, sign_ins) = (identity.trail(), identity.sign_ins());
        let state = AuditState::new(log, trail, sign_ins, families, Arc::clone(&verifier), limits);
        let router = identity::router(identity)
            .merge(dispatch::router(api, verifier))
            .merge(audit::router(state));
        let (family, parent, account) = (String::new(), String::new(), String::new());
        let mut app = Self {
            database,
            router,
            family,
            parent,
            account,
        };
        app.parent = app.register("ada@example.org").await;
        let founded = app
            .post("/api/v1/families", json!({"name": "Lovelace", "currency": "EUR"}))
            .await;
        app.family = founded["family_id"].as_str().expect("an id").to_owned();
        let opening = json!({"amount": "100.00", "currency": "EUR"});
        let body =
            json!({"name": "Giro \"1\"; ☂", "kind": "bank", "opening_balance": opening, "effective_on": "2024-02-29"});
        let opened = app.command("open-account", body).await;
        app.account = opened["events"][0]["aggregate_id"].as_str().expect("an id").to_owned();
        app
    }

    async fn send(&self, token: &str, request: axum::http::request::Builder, body: Body) -> Answer {
        let request = request
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::CONTENT_TYPE, "application/json")
            .header("idempotency-key", Uuid::new_v4().to_string());
        let request = request.body(body).expect("a request");
        let response = self.router.clone().oneshot(request).await.expect("an answer");
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 24)
            .await
            .expect("a body");
        Answer {
            status,
            headers,
            text: String::from_utf8(bytes.to_vec()).expect("UTF-8"),
        }
    }

    async fn register(&self, email: &str) -> String {
        let body = json!({"email": email, "password": "correct horse battery staple", "display_name": "Ada"});
        let request = Request::post("/api/v1/auth/register");
        let answer = self.send("", request, Body::from(body.to_string())).await;
        answer.json()["access_token"].as_str().expect("a token").to_owned()
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let answer = self
            .send(&self.parent, Request::post(path), Body::from(body.to_string()))
            .await;
        assert!(answer.status.is_success(), "{path}: {}", answer.text);
        answer.json()
    }

    async fn command(&self, name: &str, body: Value) -> Value {
        self.post(&format!("/api/v1/families/{}/commands/{name}", self.family), body)
            .await
    }

    async fn income(&self, amount: &str, day: &str) -> Value {
        let categories = self.audit("as-of").await.json();
        let categories = categories["categories"].as_array().expect("categories").clone();
        let income = categories
            .iter()
            .find(|category| category["kind"] == "income")
            .expect("an income category");
        let money = json!({"amount": amount, "currency": "EUR"});
        let (account_id, category_id) = (&self.account, &income["category_id"]);
        let body = json!({"account_id": account_id, "money": money, "category_id": category_id, "effective_on": day});
        self.command("add-income", body).await
    }

    async fn audit_as(&self, token: &str, what: &str) -> Answer {
        let path = format!("/api/v1/families/{}/audit/{what}", self.family);
        self.send(token, Request::get(path), Body::empty()).await
    }

    async fn audit(&self, what: &str) -> Answer {
        self.audit_as(&self.parent, what).await
    }

    async fn balance(&self, bounds: &str) -> String {
        let statement = self.audit(&format!("as-of?{bounds}")).await.json();
        assert!(
            statement["trial_balance"]
                .as_array()
                .expect("sums")
                .iter()
                .all(|sum| sum["amount"] == "0.00")
        );
        let balances = statement["balances"].as_array().expect("balances").clone();
        let row = balances
            .iter()
            .find(|row| row["ledger_account"] == self.account.as_str());
        row.map_or_else(
            || "none".to_owned(),
            |row| row["balance"]["amount"].as_str().expect("text").to_owned(),
        )
    }
}

#[tokio::test]
async fn the_books_are_told_as_of_an_instant_a_number_and_a_day() {
    let app = App::start().await;
    let before = app.audit("as-of").await.json();
    let later = app.income("20.50", "2024-03-01").await;
    app.income("1.00", "2024-02-29").await;
    assert_eq!(app.balance("").await, "121.50");
    assert_eq!(
        app.balance(&format!("family_seq={}", before["family_seq"])).await,
        "100.00"
    );
    let recorded_at = before["recorded_at"].as_str().expect("an instant");
    assert_eq!(app.balance(&format!("recorded_at={recorded_at}")).await, "100.00");
    assert_eq!(app.balance("effective_on=2024-02-29").await, "101.00");
    assert_eq!(
        app.balance(&format!("effective_on=2024-02-29&family_seq={}", later["family_seq"]))
            .await,
        "100.00"
    );
    assert_eq!(app.balance("effective_on=2024-02-28").await, "0.00");
    assert_eq!(app.balance("family_seq=0").await, "none");
    let again = app
        .audit(&format!("as-of?family_seq={}", before["family_seq"]))
        .await
        .json();
    assert_eq!(
        (&again["chain_hash"], &again["balances"]),
        (&before["chain_hash"], &before["balances"])
    );
    app.database.drop().await;
}

#[tokio::test]
async fn the_log_is_read_page_by_page_and_verified() {
    let app = App::start().await;
    let mut seen = Vec::new();
    let mut after = json!(0);
    for _ in 0..100 {
        let page = app
            .audit(&format!("events?limit=3&after_family_seq={after}"))
            .await
            .json();
        let events = page["events"].as_array().expect("events").clone();
        seen.extend(
            events
                .iter()
                .map(|event| event["family_seq"].as_i64().expect("a number")),
        );
        after = page["next_after_family_seq"].clone();
        if after.is_null() {
            break;
        }
    }
    let verdict = app.audit("verify").await.json();
    let events = verdict["events"].as_i64().expect("a count");
    assert_eq!(seen, (1..=events).collect::<Vec<_>>());
    assert_eq!(verdict["verified"], true);
    assert_eq!(app.audit("as-of").await.json()["chain_hash"], verdict["chain_hash"]);

    let superuser = app.database.superuser().await;
    let mut tamper = superuser.begin().await.expect("a transaction");
    for statement in [
        "set local session_replication_role = replica",
        "update log.events set payload = replace(payload::text, '100.00', '900.00')::json where family_seq > 2",
    ] {
        sqlx::query(statement)
            .execute(&mut *tamper)
            .await
            .expect("a superuser can do anything");
    }
    tamper.commit().await.expect("a commit");
    superuser.close().await;
    let verdict = app.audit("verify").await.json();
    assert_eq!(verdict["verified"], false);
    assert!(verdict["first_bad_family_seq"].as_i64().expect("a number") > 2);
    app.database.drop().await;
}

#[tokio::test]
async fn every_format_is_streamed_to_its_end() {
    let app = App::start().await;
    for (format, ending, end) in [
        ("ndjson", "ndjson", "\"end\":true"),
        ("hledger", "journal", "; end: "),
        ("beancount", "beancount", "; end: "),
    ] {
        let answer = app.audit(&format!("export?format={format}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        let disposition = answer.headers[header::CONTENT_DISPOSITION].to_str().expect("text");
        assert!(disposition.ends_with(&format!(".{ending}\"")), "{disposition}");
        assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
        assert!(
            answer.text.lines().last().expect("a last line").contains(end),
            "{format}"
        );
    }
    app.database.drop().await;
}

#[tokio::test]
async fn strangers_learn_nothing_and_nonsense_is_malformed() {
    let app = App::start().await;
    let stranger = app.register("eve@example.org").await;
    let routes = [
        "events",
        "as-of",
        "export?format=ndjson",
        "verify",
        "as-of?family_seq=-1",
        "export?format=pdf",
    ];
    for what in routes {
        let theirs = app.audit_as(&stranger, what).await;
        let path = format!("/api/v1/families/fam_{}/audit/{what}", Uuid::new_v4());
        let nobodys = app.send(&stranger, Request::get(path), Body::empty()).await;
        assert_eq!(
            (theirs.status, &theirs.text),
            (StatusCode::NOT_FOUND, &nobodys.text),
            "{what}"
        );
        assert_eq!(app.audit_as("nonsense", what).await.status, StatusCode::UNAUTHORIZED);
    }
    let nonsense = [
        "events?limit=0",
        "events?limit=1001",
        "events?limit=x",
        "events?after_family_seq=-1",
        "events?after=1",
        "events?after_family_seq=99999999999999999999",
        "as-of?family_seq=-1",
        "as-of?family_seq=1000000",
        "as-of?family_seq=1&recorded_at=2026-01-01T00:00:00Z",
        "as-of?recorded_at=today",
        "as-of?effective_on=2023-02-29",
        "as-of?effective_on=%00",
        "as-of?until=1",
        "as-of?family_seq=1&family_seq=2",
        "export",
        "export?format=pdf",
        "export?format=hledger&family_seq=1000000",
        "export?format=ndjson&family_seq=1000000",
        "as-of?family_seq=%ff",
    ];
    for what in nonsense {
        let answer = app.audit(what).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{what}: {}", answer.text);
        assert_eq!(answer.json()["type"], "/problems/malformed", "{what}");
    }
    app.database.drop().await;
}
