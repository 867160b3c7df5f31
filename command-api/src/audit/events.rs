//! The log, page by page: every event with its exact stored payload, numbers and hashes.

use axum::{
    extract::{Path, Query, State, rejection::QueryRejection},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use domain::access::route;
use event_store::export::event_json;
use serde::Deserialize;
use service_kit::{auth::SignedIn, problem::Problem};

use super::{
    AuditState,
    query::{number, parameters},
};
use crate::log_problem;

/// Events of a page unless asked otherwise.
pub(super) const LIMIT_DEFAULT: i64 = 100;
/// Events of a page at most.
pub(super) const LIMIT_MAX: i64 = 1_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PageQuery {
    after_family_seq: Option<String>,
    limit: Option<String>,
}

/// Events after a number, in order.
pub(super) async fn events(
    State(state): State<AuditState>,
    Path(family_id): Path<String>,
    signed_in: SignedIn,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let (family, lane) = state.opened(route("events"), &family_id, signed_in).await?;
    let query = parameters(query)?;
    let after = query
        .after_family_seq
        .as_deref()
        .map_or(Ok(0), |text| number("after_family_seq", text))?;
    let limit = query
        .limit
        .as_deref()
        .map_or(Ok(LIMIT_DEFAULT), |text| number("limit", text))?;
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(Problem::malformed(format!("limit is from 1 to {LIMIT_MAX}")));
    }
    let records = state
        .log
        .read_family(lane, family, after, limit)
        .await
        .map_err(|error| log_problem(&error))?;
    let is_full = i64::try_from(records.len()).is_ok_and(|count| count == limit);
    let next = records.last().filter(|_| is_full).map(|last| last.family_seq);
    // Written by hand, because a payload has to leave as the bytes it was stored as.
    let events: Vec<String> = records.iter().map(event_json).collect();
    let next = next.map_or_else(|| "null".to_owned(), |family_seq| family_seq.to_string());
    let body = format!(r#"{{"events":[{}],"next_after_family_seq":{next}}}"#, events.join(","));
    let mut response = body.into_response();
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
