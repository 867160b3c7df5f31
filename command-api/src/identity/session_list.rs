//! A person sees where they are signed in, names their devices, and ends what they do not know.

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::Response,
    routing::{delete, get, put},
};
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use service_kit::{auth::SignedIn, problem::Problem};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    Identity, IdentityError,
    address::Client,
    body::Body,
    factors::normal_name,
    openapi::{Caller, MALFORMED, NOT_SIGNED_IN, Route, TOO_LARGE, schema},
    private,
    security_events::{self, Kind, SecurityEvent},
};

/// Where a person is signed in.
#[derive(Serialize, JsonSchema)]
struct Sessions {
    /// The session used last comes first; a hundred at most.
    sessions: Vec<Session>,
}

/// One sign-in on one device.
#[derive(Serialize, JsonSchema, sqlx::FromRow)]
struct Session {
    /// The session.
    session_id: Uuid,
    /// What its owner calls the device, else what it calls itself.
    device: String,
    /// The device, where it is told from others; several sessions may be of one.
    device_id: Option<Uuid>,
    /// When it began (UTC).
    created_at: DateTime<Utc>,
    /// When it was last refreshed (UTC).
    last_used_at: DateTime<Utc>,
    /// When it ends at the latest (UTC).
    expires_at: DateTime<Utc>,
    /// The session that asks.
    is_current: bool,
    /// It began at the network address that the question comes from. Addresses themselves are not kept.
    is_this_address: bool,
    /// How its owner last proved who they are (RFC 8176): `pwd`, `otp` …
    factors: Vec<String>,
}

/// What a device is called from now on.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct DeviceName {
    /// One line.
    #[schemars(length(min = 1, max = 100))]
    name: String,
}

pub(super) fn routes() -> Router<Identity> {
    Router::new()
        .route("/api/v1/auth/sessions", get(list))
        .route("/api/v1/auth/sessions/{session_id}", delete(end))
        .route("/api/v1/auth/sessions/{session_id}/device", put(name_device))
}

pub(super) fn paths() -> Vec<Route> {
    const UNKNOWN: (u16, &str) = (404, "The person has no such session, or it has ended.");
    vec![
        Route {
            path: "/api/v1/auth/sessions",
            method: "get",
            operation_id: "sessions",
            summary: "Where the signed-in person is signed in",
            description: "Who may call: any signed-in person, about themself.",
            caller: Caller::SignedIn,
            parameters: json!([]),
            body: None,
            success: (200, "The sessions that have not ended.", Some(schema::<Sessions>())),
            problems: &[NOT_SIGNED_IN],
        },
        Route {
            path: "/api/v1/auth/sessions/{session_id}",
            method: "delete",
            operation_id: "end-session",
            summary: "End one session",
            description: "Who may call: any signed-in person, about their own sessions. Its access tokens are refused at once \
                here, and within five seconds by every other process. Its device is forgotten, unless another session of it goes on, when the session that asks has a \
                proof of the last ten minutes, and stays known otherwise.",
            caller: Caller::SignedIn,
            parameters: session_parameter(),
            body: None,
            success: (204, "The session has ended.", None),
            problems: &[NOT_SIGNED_IN, UNKNOWN],
        },
        Route {
            path: "/api/v1/auth/sessions/{session_id}/device",
            method: "put",
            operation_id: "name-device",
            summary: "Name the device of a session",
            description: "Who may call: any signed-in person, about their own devices.",
            caller: Caller::SignedIn,
            parameters: session_parameter(),
            body: Some((schema::<DeviceName>(), true)),
            success: (204, "The device has the name.", None),
            problems: &[MALFORMED, NOT_SIGNED_IN, UNKNOWN, TOO_LARGE],
        },
    ]
}

fn session_parameter() -> Value {
    json!([{
        "name": "session_id",
        "in": "path",
        "required": true,
        "description": "from the list of sessions",
        "schema": { "type": "string" },
    }])
}

/// `GET /api/v1/auth/sessions`: the person themself.
async fn list(State(identity): State<Identity>, client: Client, signed_in: SignedIn) -> Result<Response, Problem> {
    let sessions: Vec<Session> = sqlx::query_as(
        "select
             session.session_id,
             coalesce(device.name, session.device) as device,
             session.device_id,
             session.created_at,
             session.last_used_at,
             session.expires_at,
             session.session_id = $2 as is_current,
             coalesce(session.address_hash = $3, false) as is_this_address,
             session.proven_by as factors
         from identity.sessions as session
         left join identity.devices as device on device.device_id = session.device_id
         where session.user_id = $1
             and session.revoked_at is null
             and session.expires_at > clock_timestamp()
             and exists (
                 select 1
                 from identity.refresh_tokens as token
                 where token.session_id = session.session_id and token.expires_at > clock_timestamp()
             )
         order by session.last_used_at desc, session.session_id
         limit 100",
    )
    .bind(signed_in.user_id.uuid())
    .bind(signed_in.session_id)
    .bind(identity.address_hash(client.address))
    .fetch_all(identity.pool())
    .await
    .map_err(IdentityError::Database)?;
    Ok(private(Json(Sessions { sessions })))
}

/// `DELETE /api/v1/auth/sessions/{session_id}`: the person themself. No fresh proof is asked for: ending what one does not know
/// must be quick, and whoever holds a session can sign out anyway. Its device is forgotten for who has one only, as when signing out
/// everywhere: whoever stole a session must not make the owner's devices unknown.
async fn end(
    State(identity): State<Identity>,
    client: Client,
    signed_in: SignedIn,
    Path(session_id): Path<String>,
) -> Result<Response, Problem> {
    let session_id = session_of(&session_id)?;
    let mut tx = identity.pool().begin().await.map_err(IdentityError::Database)?;
    let ended = sqlx::query(
        "update identity.sessions
         set revoked_at = clock_timestamp(), revoke_reason = 'ended-from-list'
         where session_id = $2 and user_id = $1 and revoked_at is null and expires_at > clock_timestamp()",
    )
    .bind(signed_in.user_id.uuid())
    .bind(session_id)
    .execute(&mut *tx)
    .await
    .map_err(IdentityError::Database)?;
    if ended.rows_affected() == 0 {
        return Err(unknown());
    }
    if signed_in.require_step_up(identity.verifier().now()).is_ok() {
        forget_device_in_tx(&mut tx, session_id)
            .await
            .map_err(IdentityError::Database)?;
    }
    let event = SecurityEvent::about(Kind::SessionEnded, signed_in.user_id)
        .in_session(session_id)
        .from_address(identity.address_hash(client.address));
    security_events::record(&mut *tx, event)
        .await
        .map_err(IdentityError::Database)?;
    tx.commit().await.map_err(IdentityError::Database)?;
    identity.verifier().revoke(session_id);
    Ok(private(StatusCode::NO_CONTENT))
}

/// Whose session is ended from here is not known any more, unless by another one: their guesses wait like a stranger's.
async fn forget_device_in_tx(tx: &mut PgConnection, session_id: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query(
        "delete from identity.devices
         where device_id = (select device_id from identity.sessions where session_id = $1)
             and not exists (
                 select 1
                 from identity.sessions as other
                 where other.device_id = devices.device_id
                     and other.revoked_at is null
                     and other.expires_at > clock_timestamp()
             )",
    )
    .bind(session_id)
    .execute(tx)
    .await?;
    Ok(())
}

/// `PUT /api/v1/auth/sessions/{session_id}/device`: the person themself.
async fn name_device(
    State(identity): State<Identity>,
    signed_in: SignedIn,
    Path(session_id): Path<String>,
    Body(request): Body<DeviceName>,
) -> Result<Response, Problem> {
    let session_id = session_of(&session_id)?;
    let name = normal_name(&request.name)?;
    let mut tx = identity.pool().begin().await.map_err(IdentityError::Database)?;
    let row: Option<(Option<Uuid>,)> = sqlx::query_as(
        "update identity.sessions
         set device = $3
         where session_id = $2 and user_id = $1 and revoked_at is null and expires_at > clock_timestamp()
         returning device_id",
    )
    .bind(signed_in.user_id.uuid())
    .bind(session_id)
    .bind(&name)
    .fetch_optional(&mut *tx)
    .await
    .map_err(IdentityError::Database)?;
    let (device_id,) = row.ok_or_else(unknown)?;
    sqlx::query("update identity.devices set name = $2 where device_id = $1")
        .bind(device_id)
        .bind(&name)
        .execute(&mut *tx)
        .await
        .map_err(IdentityError::Database)?;
    tx.commit().await.map_err(IdentityError::Database)?;
    Ok(private(StatusCode::NO_CONTENT))
}

/// What is no id names no session.
fn session_of(text: &str) -> Result<Uuid, Problem> {
    Uuid::try_parse(text).map_err(|_| unknown())
}

fn unknown() -> Problem {
    Problem::unknown("unknown-session", "you have no such session")
}
