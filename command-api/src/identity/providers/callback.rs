//! Where providers send browsers back to.
//!
//! It decides nothing: what came goes on to the page that asked, behind `#`, where no server on the way and no `Referer` sees it.
//! The page is named by the configured address, so nothing that came says where to.

use axum::{
    Router,
    extract::{Path, State, rejection::PathRejection},
    http::{HeaderValue, StatusCode, header},
    response::Response,
    routing::get,
};
use serde::Deserialize;
use serde_json::{Value, json};
use service_kit::problem::Problem;
use url::form_urlencoded::Serializer;

use super::{
    super::{
        Identity,
        body::SentForm,
        openapi::{Caller, Route, TOO_LARGE},
        private,
    },
    UNKNOWN, provider_parameter,
};

/// Longest value that is handed on, in bytes.
const VALUE_BYTES_MAX: usize = 2_048;

/// What providers send, all of it perhaps. It has no `Debug`: nothing may print it.
#[derive(Deserialize)]
struct Returned {
    state: Option<String>,
    code: Option<String>,
    iss: Option<String>,
    user: Option<String>,
    error: Option<String>,
}

pub(super) fn routes() -> Router<Identity> {
    Router::new().route(
        "/api/v1/auth/providers/{provider}/callback",
        get(callback).post(callback),
    )
}

pub(super) fn paths() -> Vec<Route> {
    let route = |method, operation_id, parameters| Route {
        path: "/api/v1/auth/providers/{provider}/callback",
        method,
        operation_id,
        summary: "Where a provider sends the browser back to",
        description: "Who may call: anybody. It hands what came on to the page `/#/providers/{provider}` and decides nothing; Apple \
            sends it as a form.",
        caller: Caller::Anybody,
        parameters,
        body: None,
        success: (303, "On to the page, with what came behind `#`.", None),
        problems: &[
            (
                400,
                "The address, the query or the form cannot be read, or something in it is too long.",
            ),
            UNKNOWN,
            (408, "`too-slow`: the form did not arrive in ten seconds."),
            TOO_LARGE,
        ],
    };
    let value = |name: &str| {
        json!({
            "name": name,
            "in": "query",
            "required": false,
            "description": "as the provider gives it",
            "schema": { "type": "string", "maxLength": VALUE_BYTES_MAX, "pattern": "^[ -~]*$" },
        })
    };
    let parameters: Vec<Value> = std::iter::once(provider_parameter())
        .chain(["state", "code", "iss", "user", "error"].map(value))
        .collect();
    vec![
        route("get", "provider-callback", json!(parameters)),
        route("post", "provider-callback-by-form", json!([provider_parameter()])),
    ]
}

/// `GET|POST /api/v1/auth/providers/{provider}/callback`: anybody.
async fn callback(
    State(identity): State<Identity>,
    path: Result<Path<String>, PathRejection>,
    SentForm(returned): SentForm<Returned>,
) -> Result<Response, Problem> {
    let provider = identity.providers().named(path)?;
    let mut on = Serializer::new(String::new());
    for (name, value) in [
        ("state", returned.state),
        ("code", returned.code),
        ("iss", returned.iss),
        ("user", returned.user),
        ("error", returned.error),
    ] {
        let Some(value) = value else { continue };
        if value.len() > VALUE_BYTES_MAX {
            return Err(Problem::malformed(format!("{name}: at most {VALUE_BYTES_MAX} bytes")));
        }
        on.append_pair(name, &value);
    }
    let page = identity
        .postbox()
        .address(&format!("#/providers/{}?{}", provider.name, on.finish()));
    let location =
        HeaderValue::from_str(&page).map_err(|_| Problem::malformed("what the provider sent cannot be handed on"))?;
    let mut response = private(StatusCode::SEE_OTHER);
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}
