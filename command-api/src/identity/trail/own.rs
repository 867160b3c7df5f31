//! One's own trail.

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
    response::Response,
};
use chrono::{DateTime, Utc};
use domain::id::FamilyId;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use service_kit::{auth::SignedIn, problem::Problem};
use uuid::Uuid;

use super::{
    super::{Identity, IdentityError, address::Client, private},
    Page, PageQuery, begins_at, device_of,
    places::{Key, Source, page},
    words,
};

/// What happened to the signed-in person's access.
#[derive(Serialize, JsonSchema)]
pub(super) struct OwnPage {
    /// The newest first.
    events: Vec<OwnEvent>,
    /// Where the next page begins; none after the last one.
    next_cursor: Option<String>,
}

/// One thing that happened.
#[derive(Serialize, JsonSchema)]
pub(super) struct OwnEvent {
    /// Its name.
    event_id: String,
    /// When (UTC).
    at: DateTime<Utc>,
    /// What, such as `signed-in`.
    kind: String,
    /// More of it, in words of a closed list: methods, factors, formats.
    what: Vec<String>,
    /// What the device calls itself, or is called.
    device: Option<String>,
    /// The family it concerns; none when it is about the account alone.
    family_id: Option<FamilyId>,
    /// Somebody else did it, to them.
    is_by_another: bool,
    /// They did it, to somebody else.
    is_about_another: bool,
    /// It happened in the session that asks.
    is_this_session: bool,
    /// It came from the network address that the question comes from. Addresses themselves are not kept.
    is_this_address: bool,
}

#[derive(sqlx::FromRow)]
struct Row {
    event_id: i64,
    occurred_at: DateTime<Utc>,
    kind: String,
    family_id: Option<Uuid>,
    is_by_another: bool,
    is_about_another: bool,
    is_this_session: bool,
    is_this_address: bool,
    detail: Value,
}

/// `GET /api/v1/auth/security-events`: any signed-in person, about themself.
pub(super) async fn list(
    State(identity): State<Identity>,
    client: Client,
    signed_in: SignedIn,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let asked = Page::of(query)?;
    let rows: Vec<Row> = sqlx::query_as(include_str!("own.sql"))
        .bind(signed_in.user_id.uuid())
        .bind(asked.until())
        .bind(begins_at())
        .bind(asked.rows())
        .bind(signed_in.session_id)
        .bind(identity.address_hash(client.address))
        .fetch_all(identity.pool())
        .await
        .map_err(IdentityError::Database)?;
    let key = |row: &Row| Key {
        at: row.occurred_at,
        source: Source::Trail,
        number: row.event_id,
    };
    let rows = rows.into_iter().map(|row| (key(&row), row)).collect();
    let (rows, next_cursor) = page(rows, asked.after.as_ref(), asked.limit, identity.trail_key());
    let events = rows.into_iter().map(|(key, row)| OwnEvent {
        event_id: key.name(identity.trail_key()),
        at: row.occurred_at,
        kind: row.kind,
        what: words(&row.detail),
        device: device_of(&row.detail),
        family_id: row.family_id.map(FamilyId::from_uuid),
        is_by_another: row.is_by_another,
        is_about_another: row.is_about_another,
        is_this_session: row.is_this_session,
        is_this_address: row.is_this_address,
    });
    Ok(private(Json(OwnPage {
        events: events.collect(),
        next_cursor,
    })))
}
