//! Problem details (RFC 9457): the one place where refusals and failures become HTTP answers.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use domain::refusal::{Fault, Refusal};
use serde_json::{Map, Value, json};

use crate::database;

/// Longest detail of what is malformed, in characters.
const DETAIL_CHARACTERS_MAX: usize = 500;

/// An answer that says no: `type` is stable and for programs, `detail` is for people.
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    code: String,
    detail: String,
    extras: Map<String, Value>,
    retry_after_s: Option<u32>,
}

impl Problem {
    /// A problem with a stable kebab-case code.
    pub fn new(status: StatusCode, code: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            status,
            code: code.into(),
            detail: detail.into(),
            extras: Map::new(),
            retry_after_s: None,
        }
    }

    /// The body or a parameter cannot be read (400).
    ///
    /// A parser's words may repeat what was sent, so they are cut to [`DETAIL_CHARACTERS_MAX`].
    pub fn malformed(detail: impl Into<String>) -> Self {
        let mut detail: String = detail.into();
        if let Some((at, _)) = detail.char_indices().nth(DETAIL_CHARACTERS_MAX) {
            detail.truncate(at);
            detail.push('…');
        }
        Self::new(StatusCode::BAD_REQUEST, "malformed", detail)
    }

    /// Nobody is signed in (401).
    pub fn not_signed_in(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "not-signed-in", detail)
    }

    /// The person may not (403).
    pub fn not_allowed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "not-allowed", detail)
    }

    /// There is no such thing, or its existence is private (404).
    pub fn unknown(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, detail)
    }

    /// The family does not exist, or the person does not belong to it; both read the same (404).
    pub fn unknown_family() -> Self {
        Self::unknown("unknown-family", "there is no such family")
    }

    /// Something else got there first (409).
    pub fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    /// Too fast (429); try again after so many seconds.
    pub fn too_fast(retry_after_s: u32, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too-fast", detail).retry_after(retry_after_s)
    }

    /// Our own failure (500), logged here once with its causes; the answer tells none of them.
    pub fn ours(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut causes = Vec::new();
        let mut cause = error.source();
        while let Some(next) = cause {
            causes.push(next.to_string());
            cause = next.source();
        }
        tracing::error!(error = %error, causes = %causes.join(": "), "request failed");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "something went wrong on our side; it has been logged",
        )
    }

    /// Not now (503); try again after so many seconds.
    pub fn unavailable(retry_after_s: u32, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail).retry_after(retry_after_s)
    }

    /// A statement failed: not now (503) while the database is away or busy, otherwise our own failure (500).
    pub fn of_database(error: &sqlx::Error) -> Self {
        if database::is_unavailable(error) {
            tracing::warn!(error = %error, "the database is away or busy");
            return Self::unavailable(1, "the database is away or busy just now; try again");
        }
        Self::ours(error)
    }

    /// Adds a member to the problem's body.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.extras.insert(name.to_owned(), value.into());
        self
    }

    /// Adds `Retry-After`, in seconds.
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// What is wrong, for people.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The stable code: the last part of `type`.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// A problem that another process of ours answered with.
    pub fn from_body(status: StatusCode, body: &Value) -> Self {
        let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let code = text("type").strip_prefix("/problems/").unwrap_or("internal").to_owned();
        let mut problem = Self::new(status, code, text("detail"));
        for (name, value) in body.as_object().into_iter().flatten() {
            if !["type", "title", "status", "detail"].contains(&name.as_str()) {
                problem.extras.insert(name.clone(), value.clone());
            }
        }
        problem
    }

    /// The body: RFC 9457's members and the extras.
    pub fn body(&self) -> Value {
        let mut body = self.extras.clone();
        body.insert("type".to_owned(), json!(format!("/problems/{}", self.code)));
        body.insert(
            "title".to_owned(),
            json!(self.status.canonical_reason().unwrap_or("Problem")),
        );
        body.insert("status".to_owned(), json!(self.status.as_u16()));
        body.insert("detail".to_owned(), json!(self.detail));
        Value::Object(body)
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let status = match refusal.fault {
            Fault::Forbidden => StatusCode::FORBIDDEN,
            Fault::Unknown => StatusCode::NOT_FOUND,
            Fault::Rule => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Self::new(status, refusal.code, refusal.message)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body())).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
