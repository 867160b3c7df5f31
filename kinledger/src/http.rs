//! What every HTTP server of ours has around its routes: health, documentation, security headers, and answers that are always
//! problems, never stack traces.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result};
use axum::{
    Json, Router,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use service_kit::{health::Health, problem::Problem};
use tokio::net::TcpListener;
use tower::ServiceBuilder;
use tower_http::{catch_panic::CatchPanicLayer, set_header::SetResponseHeaderLayer};
use utoipa_swagger_ui::SwaggerUi;

/// How long a whole process may take to finish what it has in hand: its requests, and what they still write.
pub const FINISH_WITHIN: Duration = Duration::from_secs(30);

/// Opens the port.
///
/// # Errors
/// When it is taken, in words that say what to do.
pub async fn bind(listen: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(listen).await.with_context(|| {
        format!("cannot listen on {listen}: is another program using the port? Name another address with --listen")
    })
}

/// Puts everything around the routes of one process.
pub fn finish(routes: Router, health: Health, title: &'static str) -> Router {
    let header = |name: &'static str, value: &'static str| {
        SetResponseHeaderLayer::if_not_present(HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    let docs = SwaggerUi::new("/api/docs").config(utoipa_swagger_ui::Config::from("/api/v1/openapi.json"));
    routes
        .merge(health.router())
        .route("/", get(move || async move { Html(home(title)) }))
        .route("/api/v1/openapi.json", get(|| async { Json(crate::openapi::document()) }))
        .merge(docs)
        .fallback(|| async { Problem::unknown("unknown-path", "there is nothing here; GET /api/v1/openapi.json says what there is") })
        .method_not_allowed_fallback(|| async {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "this path does not take this method")
        })
        // One layer of many: the router boxes a request's way through each layer it is given.
        .layer(
            ServiceBuilder::new()
                .layer(header("x-content-type-options", "nosniff"))
                .layer(header("referrer-policy", "no-referrer"))
                .layer(header("x-frame-options", "DENY"))
                .layer(header("cross-origin-opener-policy", "same-origin"))
                // The API's pages are our own; the browser they embed styles itself inline.
                .layer(header(
                    "content-security-policy",
                    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; object-src 'none'; base-uri 'none'; \
                     frame-ancestors 'none'; form-action 'none'",
                ))
                .layer(axum::middleware::from_fn(crate::drain::drain))
                .layer(CatchPanicLayer::custom(panicked))
                .layer(axum::middleware::map_response(in_our_form)),
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
    include_str!("home.html")
        .replace("{title}", title)
        .replace("{version}", env!("CARGO_PKG_VERSION"))
}
