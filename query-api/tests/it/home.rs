//! A family's rows, and a client that asks for them.

use std::sync::Arc;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Request, StatusCode},
};
use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use query_api::{QueryState, cache::MemoryCache};
use serde_json::{Value, json};
use service_kit::{
    auth::{AUDIENCE, ISSUER, PublicKey, TOKEN_TYPE, TokenVerifier},
    database::DatabaseRole,
    testing::TestDatabase,
};
use sqlx::PgPool;
use tower::ServiceExt;
use uuid::Uuid;

/// People, by the number of their user.
pub const PARENT: u128 = 1;
pub const PARTNER: u128 = 2;
pub const TEEN: u128 = 3;
pub const CHILD: u128 = 4;
pub const AUDITOR: u128 = 5;
pub const STRANGER: u128 = 6;

/// The family of every test, and another one that the stranger is the parent of.
pub const FAMILY: u128 = 0xF1;
pub const OTHER: u128 = 0xF2;
pub const BANK: u128 = 0xA1;
pub const CHILD_WALLET: u128 = 0xA2;
pub const TEEN_WALLET: u128 = 0xA3;
pub const GROCERIES: u128 = 0xC1;
pub const LEISURE: u128 = 0xC2;
pub const SALARY: u128 = 0xC3;

pub struct Home {
    pub database: TestDatabase,
    pub rows: PgPool,
    pub state: QueryState,
    router: Router,
    key: EncodingKey,
}

/// The clock of every test: a Saturday.
pub fn noon() -> DateTime<Utc> {
    "2026-11-21T12:00:00Z".parse().expect("an instant")
}

pub fn uuid(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

impl Home {
    pub async fn new() -> Self {
        Self::with(|state| state).await
    }

    pub async fn with(change: impl FnOnce(QueryState) -> QueryState) -> Self {
        let home = Self::on_pool(async |database| database.pool(DatabaseRole::Reader).await).await;
        home.changed(change)
    }

    /// The same home behind routes with another state.
    pub fn changed(mut self, change: impl FnOnce(QueryState) -> QueryState) -> Self {
        self.state = change(self.state);
        self.router = query_api::router(self.state.clone());
        self
    }

    /// A home whose views are read through this pool.
    pub async fn on_pool(pool: impl AsyncFnOnce(&TestDatabase) -> PgPool) -> Self {
        let database = TestDatabase::create().await;
        let rows = database.pool(DatabaseRole::Projector).await;
        let pair = Ed25519KeyPair::generate().expect("a key");
        let public_key = pair.public_key().as_ref().to_vec();
        let verifier = TokenVerifier::new(vec![PublicKey {
            kid: "k1".to_owned(),
            public_key,
        }]);
        let key = EncodingKey::from_ed_der(pair.to_pkcs8().expect("a document").as_ref());
        let mut state = QueryState::new(pool(&database).await, Arc::new(verifier));
        state.clock = noon;
        // These tests write rows by hand and leave the number of the last event as it is.
        state.cache = Arc::new(MemoryCache::new(0));
        let router = query_api::router(state.clone());
        let home = Self {
            database,
            rows,
            state,
            router,
            key,
        };
        home.found(FAMILY, "Lovelace").await;
        home.found(OTHER, "Babbage").await;
        for (number, role) in [
            (PARENT, "parent"),
            (PARTNER, "partner"),
            (TEEN, "teen"),
            (CHILD, "child"),
            (AUDITOR, "auditor"),
        ] {
            home.join(FAMILY, number, role).await;
        }
        home.join(OTHER, STRANGER, "parent").await;
        for (number, name, kind, owner) in [
            (BANK, "Current", "bank", None),
            (CHILD_WALLET, "Child's", "wallet", Some(CHILD)),
            (TEEN_WALLET, "Teen's", "wallet", Some(TEEN)),
        ] {
            home.run(&format!(
                "insert into views.accounts (family_id, account_id, name, kind, currency, owner_id, is_closed, opened_on, balance)
                values ('{}', '{}', '{}', '{kind}', 'EUR', {}, false, '2026-01-01', 0)",
                uuid(FAMILY), uuid(number), name.replace('\'', "''"),
                owner.map_or("null".to_owned(), |owner| format!("'{}'", uuid(owner))),
            )).await;
        }
        for (number, name, kind) in [
            (GROCERIES, "Groceries", "expense"),
            (LEISURE, "Leisure", "expense"),
            (SALARY, "Salary", "income"),
        ] {
            home.run(&format!(
                "insert into views.categories (family_id, category_id, name, kind) values ('{}', '{}', '{name}', '{kind}')",
                uuid(FAMILY), uuid(number),
            )).await;
        }
        home
    }

    async fn found(&self, family: u128, name: &str) {
        self.run(&format!(
            "insert into views.families (family_id, name, currency, zone, week_start, created_at)
            values ('{}', '{name}', 'EUR', 'Europe/Berlin', 'monday', now())",
            uuid(family),
        ))
        .await;
        self.run(&format!(
            "insert into views.consent_rules (family_id, country, age, notice_version) values ('{}', 'DE', 16, 1)",
            uuid(family),
        ))
        .await;
        self.run(&format!(
            "insert into views.family_heads (family_id, lane, family_seq, chain_hash, recorded_at)
            values ('{}', 0, 100, '\\x00', now())",
            uuid(family),
        ))
        .await;
    }

    async fn join(&self, family: u128, number: u128, role: &str) {
        self.run(&format!(
            "insert into views.members (family_id, member_id, display_name, role, on_leaderboard, user_id, added_at)
            values ('{}', '{}', 'Member {number}', '{role}', {}, '{}', '2026-01-01T00:00:0{number}Z')",
            uuid(family),
            uuid(number),
            role != "child" && role != "auditor",
            uuid(number),
        ))
        .await;
        if ["teen", "child"].contains(&role) {
            self.run(&format!(
                "insert into views.consents (family_id, member_id, notice_version, is_revoked) values ('{}', '{}', 1, false)",
                uuid(family),
                uuid(number),
            ))
            .await;
        }
    }

    pub async fn run(&self, statement: &str) {
        sqlx::query(statement)
            .execute(&self.rows)
            .await
            .unwrap_or_else(|error| panic!("{statement}: {error}"));
    }

    pub async fn head(&self, family_seq: i64) {
        self.run(&format!("update views.family_heads set family_seq = {family_seq}"))
            .await;
    }

    /// An entry between an account and a category (or another account), with its buckets.
    pub async fn entry(&self, number: u128, entry: Seed) {
        let family = uuid(FAMILY);
        let id = uuid(0xE000 + number);
        self.run(&format!(
            "insert into views.entries (family_id, entry_id, effective_on, recorded_at, family_seq, kind, amount, currency,
                payee, note, search, entered_by, is_reversed, reversal_reason)
            values ('{family}', '{id}', '{}', now(), {number}, '{}', {}, '{}', '{}', '', lower('{} '), '{}', false, '')",
            entry.on, entry.kind, entry.amount, entry.currency, entry.payee, entry.payee, uuid(entry.by),
        )).await;
        let far = match entry.to {
            To::Category(category) => format!("cat_{}", uuid(category)),
            To::Account(account) => format!("acc_{}", uuid(account)),
        };
        self.run(&format!(
            "insert into views.entry_postings (family_id, entry_id, line, ledger_account, amount, currency, effective_on, family_seq)
            values ('{family}', '{id}', 1, 'acc_{}', {}, '{}', '{}', {number}),
                ('{family}', '{id}', 2, '{far}', {}, '{}', '{}', {number})",
            uuid(entry.from), entry.leg(), entry.currency, entry.on, entry.leg().trim_start_matches('-'), entry.currency, entry.on,
        )).await;
        if let To::Category(category) = entry.to {
            let amount = if entry.amount.starts_with('-') {
                entry.amount[1..].to_owned()
            } else {
                format!("-{}", entry.amount)
            };
            for (table, column, on) in [
                ("spending_days", "effective_on", entry.on.to_owned()),
                ("spending_months", "month_on", format!("{}-01", &entry.on[..7])),
            ] {
                self.run(&format!(
                    "insert into views.{table} as s (family_id, {column}, category_id, account_id, currency, amount)
                    values ('{family}', '{on}', '{}', '{}', '{}', {amount})
                    on conflict (family_id, {column}, category_id, account_id, currency) do update set amount = s.amount + excluded.amount",
                    uuid(category), uuid(entry.from), entry.currency,
                )).await;
            }
        }
    }

    pub fn token(&self, user: u128) -> String {
        let now = Utc::now().timestamp();
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(TOKEN_TYPE.to_owned());
        header.kid = Some("k1".to_owned());
        let claims = json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": format!("usr_{}", uuid(user)), "sid": uuid(9),
            "iat": now, "nbf": now, "exp": now + 900, "jti": Uuid::new_v4(),
        });
        jsonwebtoken::encode(&header, &claims, &self.key).expect("a token")
    }

    /// Asks as somebody; status, headers and body.
    pub async fn ask(&self, user: u128, path: &str, if_none_match: Option<&str>) -> (StatusCode, HeaderMap, Value) {
        let mut request = Request::get(path).header("authorization", format!("Bearer {}", self.token(user)));
        if let Some(etag) = if_none_match {
            request = request.header("if-none-match", etag);
        }
        let request = request.body(Body::empty()).expect("a request");
        let response = self.router.clone().oneshot(request).await.expect("an answer");
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, 10_000_000).await.expect("a body");
        (
            parts.status,
            parts.headers,
            serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        )
    }

    /// A view of the family, without asking for its status.
    pub async fn try_view(&self, user: u128, view: &str) -> (StatusCode, Value) {
        let (status, _, body) = self
            .ask(user, &format!("/api/v1/families/fam_{}/{view}", uuid(FAMILY)), None)
            .await;
        (status, body)
    }

    /// A view of the family.
    pub async fn view(&self, user: u128, view: &str) -> Value {
        let (status, body) = self.try_view(user, view).await;
        assert_eq!(status, StatusCode::OK, "{view}: {body}");
        assert!(body["family_seq"].is_i64(), "{view}: {body}");
        body
    }
}

pub enum To {
    Category(u128),
    Account(u128),
}

pub struct Seed {
    pub on: &'static str,
    pub kind: &'static str,
    /// As the entry shows it.
    pub amount: &'static str,
    pub currency: &'static str,
    pub payee: &'static str,
    pub by: u128,
    pub from: u128,
    pub to: To,
}

impl Seed {
    /// What the first account's line says.
    fn leg(&self) -> String {
        if self.kind == "transfer" {
            format!("-{}", self.amount)
        } else {
            self.amount.to_owned()
        }
    }
}

pub fn spent(on: &'static str, amount: &'static str, from: u128, category: u128) -> Seed {
    Seed {
        on,
        kind: "expense",
        amount,
        currency: "EUR",
        payee: "Shop",
        by: PARENT,
        from,
        to: To::Category(category),
    }
}

/// The members of an array, each by one of its fields.
pub fn pick(list: &Value, field: &str) -> Vec<String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    list.as_array()
        .expect("a list")
        .iter()
        .map(|item| text(&item[field]))
        .collect()
}
