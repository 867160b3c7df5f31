//! The three HTTP servers under load, on one loopback port: ours, stock cqrs-es, and our route without a store.
//!
//! All three verify real access tokens, parse the same body with the same code and answer as much. Around the routes stands what
//! the service has around its own.

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use anyhow::{Context, Result, bail};
use axum::{
    Json, Router,
    body::Bytes,
    extract::{FromRef, Path, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode},
    routing::post,
};
use command_api::{EventReceipt, Receipt, dispatch::traceparent};
use domain::{
    commands::find,
    entry::commands::AddExpense,
    id::{FamilyId, UserId},
};
use serde_json::{Value, json, value::RawValue};
use service_kit::{
    auth::{SignedIn, TokenVerifier},
    problem::Problem,
};
use tokio::task::JoinHandle;
use tower::ServiceBuilder;
use tower_http::{catch_panic::CatchPanicLayer, set_header::SetResponseHeaderLayer};
use uuid::Uuid;

use crate::{
    generator::Connection,
    ledger::{Expense, Family, Ledger},
    stock::{self, Stock},
};

/// Different access tokens in use at once, one a connection in turn.
const TOKENS: usize = 64;

/// A listening server.
pub struct Http {
    /// Where.
    pub address: SocketAddr,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Http {
    /// Serves routes on a free port of the loopback.
    ///
    /// # Errors
    /// When there is none.
    pub async fn serve(routes: Router) -> Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let service = around(routes).into_make_service_with_connect_info::<SocketAddr>();
        let serving = tokio::spawn(async move { axum::serve(listener, service).await });
        Ok(Self { address, serving })
    }

    /// Stops listening.
    pub fn stop(self) {
        self.serving.abort();
    }
}

/// What the service has around its routes.
fn around(routes: Router) -> Router {
    let header = |name: &'static str, value: &'static str| {
        SetResponseHeaderLayer::if_not_present(HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    routes
        .fallback(|| async { Problem::unknown("unknown-path", "there is nothing here") })
        .layer(
            ServiceBuilder::new()
                .layer(header("x-content-type-options", "nosniff"))
                .layer(header("referrer-policy", "no-referrer"))
                .layer(header("x-frame-options", "DENY"))
                .layer(header("cross-origin-opener-policy", "same-origin"))
                .layer(header("content-security-policy", "default-src 'self'"))
                .layer(CatchPanicLayer::new()),
        )
}

/// Our routes: commands and identity.
pub fn routes(ledger: &Ledger) -> Router {
    command_api::dispatch::router(ledger.api.clone(), Arc::clone(ledger.identity.verifier()))
        .merge(command_api::identity::router(ledger.identity.clone()))
}

/// What the yardsticks' routes need.
#[derive(Clone, FromRef)]
struct Yardsticks {
    verifier: Arc<TokenVerifier>,
    stock: Stock,
    family: Arc<Family>,
}

/// The routes to compare with: stock cqrs-es, and no store at all.
pub fn yardsticks(ledger: &Ledger, stock: Stock, family: &Family) -> Router {
    let state = Yardsticks {
        verifier: Arc::clone(ledger.identity.verifier()),
        stock,
        family: Arc::new(family.clone()),
    };
    Router::new()
        .route("/no-store/{family_id}/{name}", post(without_store))
        .route("/stock/new/{family_id}/{name}", post(stock_new))
        .route("/stock/long/{aggregate}/{name}", post(stock_long))
        .with_state(state)
}

fn parsed(name: &str, headers: &HeaderMap, body: &Bytes) -> Result<(Uuid, Vec<u8>), Problem> {
    let malformed = || Problem::malformed("a body, an Idempotency-Key");
    let key = headers
        .get("idempotency-key")
        .and_then(|key| Uuid::try_parse(key.to_str().ok()?).ok())
        .ok_or_else(malformed)?;
    let text = std::str::from_utf8(body).map_err(|_| malformed())?;
    let kind = find(name).ok_or_else(malformed)?;
    let command = (kind.parse)(text).map_err(|error| Problem::malformed(error.to_string()))?;
    Ok((key, command.canonical()))
}

fn receipt(family_id: FamilyId, key: Uuid, payload: String) -> Json<Receipt> {
    let event = EventReceipt {
        event_type: "ExpenseAdded".to_owned(),
        family_seq: 1,
        aggregate_id: key.to_string(),
        payload: RawValue::from_string(payload).ok(),
    };
    Json(Receipt {
        command_id: key,
        family_id,
        family_seq: 1,
        lane: 0,
        position: 1,
        events: vec![event],
    })
}

async fn without_store(
    Path((family_id, name)): Path<(String, String)>,
    _: SignedIn,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Receipt>, Problem> {
    let family_id: FamilyId = family_id.parse().map_err(|_| Problem::unknown_family())?;
    let (key, canonical) = parsed(&name, &headers, &body)?;
    Ok(receipt(
        family_id,
        key,
        String::from_utf8_lossy(&canonical).into_owned(),
    ))
}

async fn stock_new(
    State(routes): State<Yardsticks>,
    Path((_, name)): Path<(String, String)>,
    signed_in: SignedIn,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Receipt>, Problem> {
    stock_command(&routes, Uuid::new_v4(), &name, signed_in.user_id, &headers, &body).await
}

async fn stock_long(
    State(routes): State<Yardsticks>,
    Path((aggregate, name)): Path<(usize, String)>,
    signed_in: SignedIn,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Receipt>, Problem> {
    stock_command(
        &routes,
        stock::long_aggregate(aggregate),
        &name,
        signed_in.user_id,
        &headers,
        &body,
    )
    .await
}

async fn stock_command(
    routes: &Yardsticks,
    aggregate: Uuid,
    name: &str,
    user_id: UserId,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Json<Receipt>, Problem> {
    let (key, canonical) = parsed(name, headers, body)?;
    // What our own decision checks is not checked here, which is in stock's favour.
    let _: AddExpense = serde_json::from_slice(&canonical).map_err(|error| Problem::malformed(error.to_string()))?;
    let event = Expense::of(u64::from(key.as_fields().0)).event(&routes.family);
    let metadata = stock_metadata(&user_id.to_string(), traceparent(headers));
    let payload = serde_json::to_string(&event).map_err(|error| Problem::ours(&error))?;
    let done = routes.stock.execute(aggregate, event, metadata).await;
    done.map_err(|reason| Problem::new(StatusCode::CONFLICT, "stock", reason))?;
    Ok(receipt(routes.family.id, key, payload))
}

/// As much metadata as our own events carry.
pub fn stock_metadata(user_id: &str, traceparent: String) -> HashMap<String, String> {
    HashMap::from([
        ("user_id".to_owned(), user_id.to_owned()),
        (
            "member_id".to_owned(),
            "mem_00000000-0000-4000-8000-000000000001".to_owned(),
        ),
        ("role".to_owned(), "parent".to_owned()),
        ("traceparent".to_owned(), traceparent),
        ("app_version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
    ])
}

/// Registers the one person whose families these are: their id and a refresh token.
///
/// # Errors
/// When the service declines.
pub async fn register(address: SocketAddr) -> Result<(UserId, String)> {
    let body = json!({"email": "ada@example.org", "password": "correct horse battery staple", "display_name": "Ada"});
    let answer = call(&mut Connection::open(address).await?, "/api/v1/auth/register", &body).await?;
    let user_id = answer["user_id"]
        .as_str()
        .context("no user_id")?
        .parse()
        .context("user_id")?;
    Ok((
        user_id,
        answer["refresh_token"].as_str().context("no refresh_token")?.to_owned(),
    ))
}

/// A refresh token is good once; every repetition has those of a database that is not copied back first.
///
/// # Errors
/// When the database does not answer.
pub async fn good_again(owner: &sqlx::PgPool) -> Result<()> {
    sqlx::query("update identity.refresh_tokens set used_at = null, used_with = null")
        .execute(owner)
        .await?;
    Ok(())
}

/// Fresh access tokens, each a different one.
///
/// # Errors
/// When the service declines.
pub async fn access_tokens(address: SocketAddr, refresh_token: &str) -> Result<Arc<Vec<String>>> {
    let mut connection = Connection::open(address).await?;
    let mut refresh_token = refresh_token.to_owned();
    let mut tokens = Vec::new();
    for _ in 0..TOKENS {
        let answer = call(
            &mut connection,
            "/api/v1/auth/refresh",
            &json!({"refresh_token": refresh_token}),
        )
        .await?;
        answer["refresh_token"]
            .as_str()
            .context("no refresh_token")?
            .clone_into(&mut refresh_token);
        tokens.push(answer["access_token"].as_str().context("no access_token")?.to_owned());
    }
    Ok(Arc::new(tokens))
}

async fn call(connection: &mut Connection, path: &str, body: &Value) -> Result<Value> {
    let (status, answer) = connection.post(path, "", &body.to_string()).await?;
    if !(200..300).contains(&status) {
        bail!("{path}: {status} {answer}");
    }
    Ok(serde_json::from_str(answer)?)
}
