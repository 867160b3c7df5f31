//! The first page a member sees, of the family with the longest history, beside a route that only verifies the token.

use std::sync::Arc;

use anyhow::{Context, Result};
use axum::{Json, Router, extract::FromRef, routing::get};
use query_api::QueryState;
use serde_json::{Value, json};
use service_kit::{
    auth::{SignedIn, TokenVerifier},
    database::{self, DatabaseRole},
};

use crate::{
    big,
    driver::Until,
    generator::{self, Exchange, Worth},
    http::{self, Http},
    ledger::Ledger,
    repetition::Session,
};

/// Connections of the clients.
const CONNECTIONS: usize = 64;
/// Connections of the reader's pool, as the service has.
const READER_CONNECTIONS: u32 = 16;

/// What the yardstick's route needs.
#[derive(Clone, FromRef)]
struct NoOp {
    verifier: Arc<TokenVerifier>,
}

/// Both, by turns.
///
/// # Errors
/// When the database does not answer, or the view does not.
pub async fn measure(session: &mut Session<'_>) -> Result<()> {
    let Some(big) = session
        .base
        .big
        .as_ref()
        .filter(|_| session.args.wants_any("dashboard"))
    else {
        return Ok(());
    };
    let (_, family) = big.grown.last().context("no family has a history")?;
    let owner = session.server.owner(big::DATABASE).await?;
    http::good_again(&owner).await?;
    let ledger = Ledger::open(session.server, big::DATABASE).await?;
    let reader = database::connect(
        &session.server.url(big::DATABASE),
        DatabaseRole::Reader,
        READER_CONNECTIONS,
    )
    .await?;
    let verifier = Arc::clone(ledger.identity.verifier());
    let no_op = Router::new()
        .route(
            "/no-op",
            get(|_: SignedIn| async { Json::<Value>(json!({"answer": "nothing"})) }),
        )
        .with_state(NoOp {
            verifier: Arc::clone(&verifier),
        });
    let routes = http::routes(&ledger)
        .merge(query_api::router(QueryState::new(reader.clone(), verifier)))
        .merge(no_op);
    let http = Http::serve(routes).await?;
    let tokens = http::access_tokens(http.address, &big.refresh_token).await?;
    let dashboard = format!("/api/v1/families/{}/dashboard", family.id);
    for (name, path) in [("dashboard/no-op/64", "/no-op".to_owned()), ("dashboard/64", dashboard)] {
        if !session.args.wants(name) {
            continue;
        }
        let fill = move |_: usize, _: u64, exchange: &mut Exchange| {
            exchange.path.push_str(&path);
            exchange.is_question = true;
            exchange.worth = Worth::Fixed(1);
        };
        let until = Until::Elapsed(session.args.duration());
        let load = generator::load(
            session.clock,
            http.address,
            Arc::clone(&tokens),
            CONNECTIONS,
            until,
            fill,
        )
        .await?;
        session.note(name, "requests/s", load, None);
    }
    http.stop();
    reader.close().await;
    ledger.close().await;
    owner.close().await;
    Ok(())
}
