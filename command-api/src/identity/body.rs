//! Reading a request's body: small, JSON, of exactly the expected form. Whatever else it is, the answer is a 400, 408 or 413.

use std::time::Duration;

use axum::{
    Form,
    body::Bytes,
    extract::{FromRequest, Request},
    http::{HeaderMap, StatusCode, header},
};
use serde::de::DeserializeOwned;
use service_kit::{json::within_depth, problem::Problem};

/// Longest body of a request about identity, in bytes.
pub(super) const BODY_BYTES_MAX: usize = 16 * 1024;
/// How long a client may take to send one.
const BODY_WITHIN: Duration = Duration::from_secs(10);

/// A JSON body.
pub(super) struct Body<T>(pub T);

/// A JSON body that may be left out.
pub(super) struct OptionalBody<T>(pub T);

/// A form as browsers send it: in the address, or as a body.
pub(super) struct SentForm<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for SentForm<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let Ok(read) = tokio::time::timeout(BODY_WITHIN, Form::<T>::from_request(request, &())).await else {
            return Err(too_slow());
        };
        let Form(form) = read.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => too_large(),
            _ => Problem::malformed("the form cannot be read"),
        })?;
        Ok(Self(form))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let headers = request.headers().clone();
        let bytes = read(request, BODY_WITHIN).await?;
        parse(&headers, &bytes).map(Self)
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Default> FromRequest<S> for OptionalBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let headers = request.headers().clone();
        let bytes = read(request, BODY_WITHIN).await?;
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        parse(&headers, &bytes).map(Self)
    }
}

/// The limit itself is the router's `DefaultBodyLimit`.
async fn read(request: Request, within: Duration) -> Result<Bytes, Problem> {
    let Ok(read) = tokio::time::timeout(within, Bytes::from_request(request, &())).await else {
        return Err(too_slow());
    };
    read.map_err(|rejection| {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            return too_large();
        }
        Problem::malformed("the body could not be read")
    })
}

fn too_slow() -> Problem {
    let detail = "the body did not arrive in time";
    Problem::new(StatusCode::REQUEST_TIMEOUT, "too-slow", detail)
}

fn too_large() -> Problem {
    let detail = format!("the body is longer than {BODY_BYTES_MAX} bytes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail)
}

/// The parser's words name a place and a form, never a value: a password must not come back in an error.
fn parse<T: DeserializeOwned>(headers: &HeaderMap, bytes: &[u8]) -> Result<T, Problem> {
    if !is_json(headers) {
        return Err(Problem::malformed("send the body as `Content-Type: application/json`"));
    }
    within_depth(bytes)?;
    serde_json::from_slice(bytes).map_err(|error| {
        let place = format!("line {} column {}", error.line(), error.column());
        match error.classify() {
            serde_json::error::Category::Data => {
                Problem::malformed(format!("the body has not the expected fields ({place})"))
            }
            _ => Problem::malformed(format!("the body is not JSON ({place})")),
        }
    })
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(content_type) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("application/json")
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::body::Body;
    use futures::stream::{self, StreamExt};

    use super::*;

    #[tokio::test]
    async fn a_body_that_never_ends_is_given_up() {
        let begun = stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"{\"email\":"))]);
        let body = Body::from_stream(begun.chain(stream::pending()));
        let refused = read(Request::new(body), Duration::from_millis(20)).await;
        assert_eq!(refused.expect_err("too slow").status(), StatusCode::REQUEST_TIMEOUT);
    }
}
