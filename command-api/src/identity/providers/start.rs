//! Which providers there are, and the beginning of a sign-in at one.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, State, rejection::PathRejection},
    http::header,
    response::Response,
    routing::{get, post},
};
use connectors::sign_in::Beginning;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use service_kit::problem::Problem;

use super::{
    super::{
        Identity,
        address::Client,
        openapi::{Caller, Route, schema},
        private,
    },
    BUSY, FAILED, MALFORMED_ADDRESS, SignInProvider, UNKNOWN,
    flows::{self, Derived, Linking},
    provider_parameter, redirect_uri,
};

/// What people can sign in by, besides what every installation has.
#[derive(Serialize, JsonSchema)]
struct Available {
    /// The providers that are set up, by name.
    providers: Vec<Provider>,
}

/// A provider.
#[derive(Serialize, JsonSchema)]
struct Provider {
    /// Its name in addresses.
    provider: String,
    /// What its button says.
    title: String,
}

/// A sign-in under way. It has no `Debug`: nothing may print it.
#[derive(Serialize, JsonSchema)]
pub(super) struct Started {
    /// Where to send the browser.
    authorization_url: String,
    /// What finishing takes. A browser has it as a cookie too and need not keep it.
    binding: String,
    /// Seconds until it is over.
    expires_in: i32,
}

pub(super) fn routes() -> Router<Identity> {
    Router::new()
        .route("/api/v1/auth/providers", get(list))
        .route("/api/v1/auth/providers/{provider}/start", post(start))
}

pub(super) fn paths() -> Vec<Route> {
    vec![
        Route {
            path: "/api/v1/auth/providers",
            method: "get",
            operation_id: "list-providers",
            summary: "Which providers people can sign in by",
            description: "Who may call: anybody.",
            caller: Caller::Anybody,
            parameters: json!([]),
            body: None,
            success: (200, "The providers.", Some(schema::<Available>())),
            problems: &[],
        },
        Route {
            path: "/api/v1/auth/providers/{provider}/start",
            method: "post",
            operation_id: "start-provider",
            summary: "Begin to sign in by a provider",
            description: "Who may call: anybody. The browser goes to `authorization_url`; it comes back by way of the callback to \
                the page `/#/providers/{provider}`, which finishes with what stands there. Good once, in this browser, for ten \
                minutes.",
            caller: Caller::Anybody,
            parameters: json!([provider_parameter()]),
            body: None,
            success: (200, "Where to go.", Some(schema::<Started>())),
            problems: &[MALFORMED_ADDRESS, UNKNOWN, FAILED, BUSY],
        },
    ]
}

/// `GET /api/v1/auth/providers`: anybody.
async fn list(State(identity): State<Identity>) -> Json<Available> {
    let providers = identity.providers().by_name.values();
    Json(Available {
        providers: providers
            .map(|provider| Provider {
                provider: provider.name.clone(),
                title: provider.title.clone(),
            })
            .collect(),
    })
}

/// `POST /api/v1/auth/providers/{provider}/start`: anybody.
async fn start(
    State(identity): State<Identity>,
    client: Client,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let provider = identity.providers().named(path)?;
    begin(&identity, &provider, None, &client).await
}

/// Begins a sign-in, or a link.
pub(super) async fn begin(
    identity: &Identity,
    provider: &Arc<SignInProvider>,
    linking: Linking,
    client: &Client,
) -> Result<Response, Problem> {
    let begun = flows::begin(identity, provider, linking, client).await?;
    let derived = Derived::of(identity, &begun.state, &begun.binding);
    let (state, redirect_uri) = (begun.state.clone(), redirect_uri(identity, provider));
    let authorization_url = provider
        .ask(move |provider| {
            provider.authorization_url(&Beginning {
                redirect_uri: &redirect_uri,
                state: &state,
                nonce: &derived.nonce,
                challenge: &derived.challenge(),
            })
        })
        .await?;
    let cookie = begun.cookie();
    let mut response = private(Json(Started {
        authorization_url,
        binding: begun.binding,
        expires_in: flows::SECONDS,
    }));
    if let Some(cookie) = cookie {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(response)
}
