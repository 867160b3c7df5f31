//! A person sees the devices that are known as theirs, and forgets those they gave away or do not know.
//!
//! Signing out ends a session and leaves its device known: the next sign-in there is told by no letter, and strangers' guesses do
//! not slow it. Whoever forgets a device ends its sessions too, for each of them would say that it is known.

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::Response,
    routing::{delete, get},
};
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use service_kit::{auth::SignedIn, problem::Problem};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    Identity, IdentityError,
    address::Client,
    devices, new_way_in,
    openapi::{Caller, NOT_SIGNED_IN, Route, schema},
    private,
    security_events::{self, Kind, SecurityEvent},
};

/// The devices that are known as somebody's.
#[derive(Serialize, JsonSchema)]
struct KnownDevices {
    /// The device used last comes first; a hundred at most.
    devices: Vec<KnownDevice>,
}

/// A device that its owner signed in on before.
#[derive(Serialize, JsonSchema, sqlx::FromRow)]
struct KnownDevice {
    /// The device. It is no secret: its token is another, and is kept nowhere.
    device_id: Uuid,
    /// What its owner calls it, else what it called itself.
    name: String,
    /// When somebody signed in on it first (UTC).
    created_at: DateTime<Utc>,
    /// When somebody last signed in on it or refreshed a session there (UTC).
    last_used_at: DateTime<Utc>,
    /// The device that asks: the one whose token is shown, else that of the session.
    is_current: bool,
    /// Its sessions that have not ended, as the list of sessions has them.
    sessions: i64,
}

pub(super) fn routes() -> Router<Identity> {
    Router::new()
        .route("/api/v1/auth/devices", get(list))
        .route("/api/v1/auth/devices/{device_id}", delete(forget))
}

pub(super) fn paths() -> Vec<Route> {
    const PAIRED: (u16, &str) = (403, "`paired-account`: they signed in by a paired device.");
    vec![
        Route {
            path: "/api/v1/auth/devices",
            method: "get",
            operation_id: "known-devices",
            summary: "The known devices of the signed-in person",
            description: "Who may call: any signed-in person, about themself, unless by a paired device. A device is known from \
                its first sign-in on, for 400 days after the last: its sign-ins are told by no letter, and strangers' wrong \
                passwords do not slow them. Signing out leaves it known.",
            caller: Caller::SignedIn,
            parameters: json!([]),
            body: None,
            success: (
                200,
                "The devices, with those that are signed out.",
                Some(schema::<KnownDevices>()),
            ),
            problems: &[NOT_SIGNED_IN, PAIRED],
        },
        Route {
            path: "/api/v1/auth/devices/{device_id}",
            method: "delete",
            operation_id: "forget-device",
            summary: "Forget a known device, and end its sessions",
            description: "Who may call: any signed-in person, about their own devices, unless by a paired device; with a proof of \
                the last ten minutes, except for the device whose token the request shows. Access tokens of its sessions are \
                refused at once here, and within five seconds by every other process; its next sign-in is told as that of a new \
                device.",
            caller: Caller::SignedIn,
            parameters: json!([{
                "name": "device_id",
                "in": "path",
                "required": true,
                "description": "from the list of devices",
                "schema": { "type": "string" },
            }]),
            body: None,
            success: (
                204,
                "The device is not known any more, and its sessions have ended.",
                None,
            ),
            problems: &[
                NOT_SIGNED_IN,
                (
                    403,
                    "`step-up-required`: it is another device than the one that asks; prove who you are once more, then ask again. \
                     Or `paired-account`: they signed in by a paired device.",
                ),
                (404, "The person has no such device."),
            ],
        },
    ]
}

/// `GET /api/v1/auth/devices`: the person themself.
async fn list(State(identity): State<Identity>, client: Client, signed_in: SignedIn) -> Result<Response, Problem> {
    signed_in.require_own_sign_in()?;
    let mut connection = identity.pool().acquire().await.map_err(IdentityError::Database)?;
    let asking = devices::asking_in_tx(&mut connection, &client, &signed_in)
        .await
        .map_err(IdentityError::Database)?;
    let devices: Vec<KnownDevice> = sqlx::query_as(
        "select
             device.device_id,
             device.name,
             device.created_at,
             greatest(device.last_used_at, session.last_used_at) as last_used_at,
             coalesce(device.device_id = $2, false) as is_current,
             session.sessions
         from identity.devices as device
         cross join lateral (
             select
                 max(last_used_at) as last_used_at,
                 count(*) filter (
                     where revoked_at is null
                         and expires_at > clock_timestamp()
                         and exists (
                             select 1
                             from identity.refresh_tokens as token
                             where token.session_id = sessions.session_id and token.expires_at > clock_timestamp()
                         )
                 ) as sessions
             from identity.sessions
             where device_id = device.device_id
         ) as session
         where device.user_id = $1
         order by last_used_at desc, device.device_id
         limit $3",
    )
    .bind(signed_in.user_id.uuid())
    .bind(asking)
    .bind(devices::DEVICES_MAX)
    .fetch_all(&mut *connection)
    .await
    .map_err(IdentityError::Database)?;
    Ok(private(Json(KnownDevices { devices })))
}

/// `DELETE /api/v1/auth/devices/{device_id}`: the person themself, with a fresh proof. A thief of a session would make the owner a
/// stranger on their own telephone otherwise; whoever shows the device's own token has it in hand, and needs none.
async fn forget(
    State(identity): State<Identity>,
    client: Client,
    signed_in: SignedIn,
    Path(device_id): Path<String>,
) -> Result<Response, Problem> {
    signed_in.require_own_sign_in()?;
    let device_id = Uuid::try_parse(&device_id).map_err(|_| unknown())?;
    let mut tx = identity.pool().begin().await.map_err(IdentityError::Database)?;
    // Signing in on the device waits for this, or is seen here.
    new_way_in::require_session_in_tx(&mut tx, &signed_in).await?;
    let shown = devices::shown_in_tx(&mut tx, &client, signed_in.user_id)
        .await
        .map_err(IdentityError::Database)?;
    if shown != Some(device_id) {
        signed_in.require_step_up(identity.verifier().now())?;
    }
    let ended = forget_in_tx(&mut tx, &identity, &client, &signed_in, device_id)
        .await
        .map_err(IdentityError::Database)?
        .ok_or_else(unknown)?;
    tx.commit().await.map_err(IdentityError::Database)?;
    for session_id in ended {
        identity.verifier().revoke(session_id);
    }
    Ok(private(StatusCode::NO_CONTENT))
}

/// The sessions that ended with the device; none when the person has no such device.
async fn forget_in_tx(
    tx: &mut PgConnection,
    identity: &Identity,
    client: &Client,
    signed_in: &SignedIn,
    device_id: Uuid,
) -> Result<Option<Vec<Uuid>>, sqlx::Error> {
    let name: Option<(String,)> =
        sqlx::query_as("select name from identity.devices where device_id = $2 and user_id = $1")
            .bind(signed_in.user_id.uuid())
            .bind(device_id)
            .fetch_optional(&mut *tx)
            .await?;
    let Some((name,)) = name else {
        return Ok(None);
    };
    // Before the device is gone, for its sessions are not of it any more then.
    let ended: Vec<(Uuid,)> = sqlx::query_as(
        "update identity.sessions
         set revoked_at = clock_timestamp(), revoke_reason = 'device-forgotten'
         where user_id = $1 and device_id = $2 and revoked_at is null
         returning session_id",
    )
    .bind(signed_in.user_id.uuid())
    .bind(device_id)
    .fetch_all(&mut *tx)
    .await?;
    sqlx::query("delete from identity.devices where device_id = $2 and user_id = $1")
        .bind(signed_in.user_id.uuid())
        .bind(device_id)
        .execute(&mut *tx)
        .await?;
    let event = SecurityEvent::about(Kind::DeviceForgotten, signed_in.user_id)
        .in_session(signed_in.session_id)
        .from_address(identity.address_hash(client.address))
        .with("device", name);
    security_events::record(&mut *tx, event).await?;
    Ok(Some(ended.into_iter().map(|(session_id,)| session_id).collect()))
}

fn unknown() -> Problem {
    Problem::unknown("unknown-device", "you have no such device")
}
