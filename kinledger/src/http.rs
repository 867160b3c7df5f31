//! What every HTTP server of ours has around its routes: health, documentation, the edge, and answers that are always problems,
//! never stack traces.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use axum::{
    Json, Router,
    http::{StatusCode, header},
    middleware::{from_fn, from_fn_with_state, map_response},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use service_kit::{health::Health, problem::Problem};
use tokio::net::TcpListener;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_swagger_ui::SwaggerUi;

use crate::{
    drain,
    edge::{self, Edge},
};

/// How long a whole process may take to finish what it has in hand: its requests, and what they still write.
pub const FINISH_WITHIN: Duration = Duration::from_secs(30);

/// The start page.
pub const HOME: &str = include_str!("home.html");

/// Opens the port.
///
/// # Errors
/// When it is taken, in words that say what to do.
pub async fn bind(listen: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(listen).await.with_context(|| {
        format!("cannot listen on {listen}: is another program using the port? Name another address with --listen")
    })
}

/// What is said of a path that is not there, at least not for who asks.
pub fn nothing_here() -> Problem {
    Problem::unknown(
        "unknown-path",
        "there is nothing here; GET /api/v1/openapi.json says what there is",
    )
}

/// Puts everything around the routes of one process.
pub fn finish(routes: Router, health: Health, title: &'static str, edge: Edge) -> Router {
    let edge = Arc::new(edge);
    let docs = SwaggerUi::new("/api/docs").config(utoipa_swagger_ui::Config::from("/api/v1/openapi.json"));
    routes
        .merge(health.router())
        .route("/", get(move || async move { Html(home(title)) }))
        .route(
            "/api/v1/openapi.json",
            get(|| async { Json(crate::openapi::document()) }),
        )
        .merge(docs)
        .fallback(|| async { nothing_here() })
        .method_not_allowed_fallback(|| async {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "this path does not take this method",
            )
        })
        // One layer of many: the router boxes a request's way through each layer it is given.
        .layer(
            ServiceBuilder::new()
                .layer(from_fn_with_state(Arc::clone(&edge), edge::dress))
                .option_layer(edge.cors())
                .layer(from_fn(drain::drain))
                .layer(from_fn_with_state(edge, edge::guard))
                .layer(CatchPanicLayer::custom(panicked))
                .layer(map_response(in_our_form)),
        )
}

/// What the framework refuses before a handler sees it (a path that is no UTF-8, a body that is too large) becomes a problem too.
async fn in_our_form(response: Response) -> Response {
    let status = response.status();
    let is_problem = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value == "application/problem+json");
    if is_problem || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let (code, detail) = match status {
        StatusCode::PAYLOAD_TOO_LARGE => ("too-large", "the body is larger than this path takes"),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => ("unsupported-media-type", "this path does not take this content type"),
        StatusCode::NOT_FOUND => (
            "unknown-path",
            "there is nothing here; GET /api/v1/openapi.json says what there is",
        ),
        StatusCode::METHOD_NOT_ALLOWED => ("method-not-allowed", "this path does not take this method"),
        status if status.is_client_error() => (
            "malformed",
            "the request cannot be read: its address, a header or the body is malformed",
        ),
        _ => return response,
    };
    let mut problem = Problem::new(status, code, detail).into_response();
    for (name, value) in response
        .headers()
        .iter()
        .filter(|(name, _)| ![header::CONTENT_TYPE, header::CONTENT_LENGTH].contains(name))
    {
        problem.headers_mut().insert(name, value.clone());
    }
    problem
}

fn panicked(_: Box<dyn std::any::Any + Send + 'static>) -> Response {
    // The panic hook has logged where; the client learns nothing of it.
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal",
        "something went wrong on our side; it has been logged",
    )
    .into_response()
}

fn home(title: &str) -> String {
    HOME.replace("{title}", title)
        .replace("{version}", env!("CARGO_PKG_VERSION"))
}
