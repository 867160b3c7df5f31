//! Parents look after the devices of their children: list them, unlock them after too many wrong PINs, end them.

use std::collections::{HashMap, hash_map::Entry};

use axum::{
    Json, Router,
    extract::{Path, State, rejection::PathRejection},
    http::StatusCode,
    response::Response,
    routing::{delete, get, post},
};
use chrono::{DateTime, Utc};
use domain::id::{FamilyId, MemberId, UserId};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use service_kit::{auth::SignedIn, problem::Problem};
use uuid::Uuid;

use super::{
    super::{
        Identity, IdentityError,
        address::Client,
        new_way_in,
        openapi::{Caller, MALFORMED, NOT_SIGNED_IN, Route, schema},
        private,
        security_events::{self, Kind, SecurityEvent},
    },
    check_hides_nothing, passkey, require_parent, standing,
};

/// A child's or teen's device.
#[derive(Serialize, JsonSchema)]
struct Device {
    /// Its id.
    device_id: Uuid,
    /// Whose it is.
    member_id: MemberId,
    /// What it calls itself.
    name: String,
    /// When it was paired (UTC).
    created_at: DateTime<Utc>,
    /// When it was unlocked last (UTC).
    last_used_at: Option<DateTime<Utc>>,
    /// A parent must unlock it: ten tries were wrong, or whoever paired it looks after devices no longer.
    is_locked: bool,
    /// It opens by a passkey too, and not by its PIN only.
    has_passkey: bool,
    /// Its sessions that have not ended.
    sessions: i64,
}

/// The devices of a family's children and teens.
#[derive(Serialize, JsonSchema)]
struct Devices {
    /// The newest first.
    devices: Vec<Device>,
}

/// The answer to who has an old proof, or cannot answer for a device.
const ANSWERING: (u16, &str) = (
    403,
    "`step-up-required`: prove who you are once more, then ask again; `accounts-hidden`: an account of the member's is hidden from \
     the person; or they are neither parent nor partner.",
);

pub(super) fn routes() -> Router<Identity> {
    Router::new()
        .route("/api/v1/auth/paired-devices/of/{family}", get(list))
        .route("/api/v1/auth/paired-devices/{device_id}", delete(end))
        .route("/api/v1/auth/paired-devices/{device_id}/unlock", post(unlock))
}

pub(super) fn paths() -> Vec<Route> {
    vec![
        Route {
            path: "/api/v1/auth/paired-devices/of/{family}",
            method: "get",
            operation_id: "list-paired-devices",
            summary: "The paired devices of a family's children and teens",
            description: "Who may call: a parent or partner of the family.",
            caller: Caller::SignedIn,
            parameters: json!([{
                "name": "family",
                "in": "path",
                "required": true,
                "description": "`fam_…` or a bare UUID",
                "schema": { "type": "string" },
            }]),
            body: None,
            success: (200, "The devices.", Some(schema::<Devices>())),
            problems: &[
                MALFORMED,
                NOT_SIGNED_IN,
                (403, "The person is neither parent nor partner."),
                (404, "There is no such family for this person."),
                (503, "The ledger cannot be reached just now."),
            ],
        },
        Route {
            path: "/api/v1/auth/paired-devices/{device_id}",
            method: "delete",
            operation_id: "end-paired-device",
            summary: "End a paired device and its sessions",
            description: "Who may call: a parent or partner of the family. Access tokens of the device are refused here at once, and by \
                every other process within five seconds.",
            caller: Caller::SignedIn,
            parameters: json!([device_parameter()]),
            body: None,
            success: (204, "It opens nothing any more.", None),
            problems: &[
                MALFORMED,
                NOT_SIGNED_IN,
                (403, "The person is neither parent nor partner."),
                (404, "There is no such device."),
                (503, "The ledger cannot be reached just now."),
            ],
        },
        Route {
            path: "/api/v1/auth/paired-devices/{device_id}/unlock",
            method: "post",
            operation_id: "unlock-paired-device",
            summary: "Let a locked device try its PIN or passkey again",
            description: "Who may call: a parent or partner of the family from whom no account of the member's is hidden, with a fresh \
                proof. They answer for the device from now on.",
            caller: Caller::SignedIn,
            parameters: json!([device_parameter()]),
            body: None,
            success: (204, "Its PIN and passkey count again.", None),
            problems: &[
                MALFORMED,
                NOT_SIGNED_IN,
                ANSWERING,
                (404, "There is no such device."),
                (503, "The ledger cannot be reached just now."),
            ],
        },
    ]
}

fn device_parameter() -> Value {
    json!({
        "name": "device_id",
        "in": "path",
        "required": true,
        "description": "from the list of paired devices",
        "schema": { "type": "string", "format": "uuid" },
    })
}

type Row = (
    Uuid,
    Uuid,
    String,
    DateTime<Utc>,
    Option<DateTime<Utc>>,
    bool,
    bool,
    Option<Uuid>,
    i64,
);

/// `GET /api/v1/auth/paired-devices/of/{family}`: a parent or partner.
async fn list(
    State(identity): State<Identity>,
    signed_in: SignedIn,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let Path(family_id) = path.map_err(|_| Problem::malformed("the address cannot be read"))?;
    let family_id: FamilyId = family_id.parse().map_err(|_| Problem::unknown_family())?;
    require_parent(&identity, family_id, signed_in.user_id).await?;
    let mut tx = identity.about(family_id).await.map_err(IdentityError::Database)?;
    let rows: Vec<Row> = sqlx::query_as(
        "select
             device_id,
             member_id,
             name,
             created_at,
             last_used_at,
             pin_failures >= 10,
             exists (
                 select 1
                 from identity.paired_device_passkeys
                 where paired_device_passkeys.device_id = paired_devices.device_id
             ),
             paired_by,
             (
                 select count(*)
                 from identity.sessions
                 where sessions.paired_device_id = paired_devices.device_id
                     and revoked_at is null
                     and expires_at > clock_timestamp()
             )
         from identity.paired_devices
         where family_id = $1 and revoked_at is null
         order by created_at desc, device_id
         limit 500",
    )
    .bind(family_id.uuid())
    .fetch_all(&mut *tx)
    .await
    .map_err(IdentityError::Database)?;
    // The family is asked next, which takes its time.
    drop(tx);
    let mut attended: HashMap<(Uuid, Option<Uuid>), bool> = HashMap::new();
    for (_, member_id, .., paired_by, _) in &rows {
        let (of, by) = (MemberId::from_uuid(*member_id), *paired_by);
        if let Entry::Vacant(place) = attended.entry((*member_id, by)) {
            place.insert(standing::is_attended(&identity, family_id, of, by).await?);
        }
    }
    let device =
        |(device_id, member_id, name, created_at, last_used_at, has_failed, has_passkey, paired_by, sessions): Row| {
            Device {
                device_id,
                member_id: MemberId::from_uuid(member_id),
                name,
                created_at,
                last_used_at,
                is_locked: has_failed || !attended.get(&(member_id, paired_by)).copied().unwrap_or_default(),
                has_passkey,
                sessions,
            }
        };
    let devices = rows.into_iter().map(device).collect();
    Ok(private(Json(Devices { devices })))
}

/// `DELETE /api/v1/auth/paired-devices/{device_id}`: a parent or partner. No fresh proof is asked for: a lost device cannot wait.
async fn end(
    State(identity): State<Identity>,
    client: Client,
    signed_in: SignedIn,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let Known {
        device_id,
        family_id,
        user_id,
        ..
    } = device_of(&identity, path, signed_in.user_id).await?;
    let ended = async {
        let mut tx = identity.about(family_id).await?;
        sqlx::query(
            "update identity.paired_devices
             set revoked_at = clock_timestamp()
             where device_id = $1 and revoked_at is null",
        )
        .bind(device_id)
        .execute(&mut *tx)
        .await?;
        passkey::forget_of_ended_in_tx(&mut tx, user_id).await?;
        let sessions: Vec<(Uuid,)> = sqlx::query_as(
            "update identity.sessions
             set revoked_at = clock_timestamp(), revoke_reason = 'device-ended'
             where paired_device_id = $1 and revoked_at is null
             returning session_id",
        )
        .bind(device_id)
        .fetch_all(&mut *tx)
        .await?;
        let event = SecurityEvent::about(Kind::SessionEnded, user_id)
            .in_family(family_id)
            .by(signed_in.user_id)
            .in_session(signed_in.session_id)
            .from_address(identity.address_hash(client.address))
            .with("reason", "device-ended");
        security_events::record(&mut *tx, event).await?;
        tx.commit().await?;
        Ok::<_, sqlx::Error>(sessions)
    };
    for (session_id,) in ended.await.map_err(IdentityError::Database)? {
        identity.verifier().revoke(session_id);
    }
    Ok(private(StatusCode::NO_CONTENT))
}

/// `POST /api/v1/auth/paired-devices/{device_id}/unlock`: a parent or partner from whom nothing of the member's is hidden, with a fresh
/// proof.
async fn unlock(
    State(identity): State<Identity>,
    client: Client,
    signed_in: SignedIn,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    signed_in.require_step_up(identity.verifier().now())?;
    let known = device_of(&identity, path, signed_in.user_id).await?;
    check_hides_nothing(&identity, known.family_id, known.member_id, known.asked_by).await?;
    let mut tx = identity.about(known.family_id).await.map_err(IdentityError::Database)?;
    new_way_in::require_session_in_tx(&mut tx, &signed_in).await?;
    let unlocked = async {
        sqlx::query(
            "update identity.paired_devices
             set pin_failures = 0, pin_waits_until = null, paired_by = $2
             where device_id = $1",
        )
        .bind(known.device_id)
        .bind(signed_in.user_id.uuid())
        .execute(&mut *tx)
        .await?;
        // Whoever unlocks it answers for it from now on, which the other parents read.
        let event = SecurityEvent::about(Kind::DeviceUnlocked, known.user_id)
            .in_family(known.family_id)
            .by(signed_in.user_id)
            .in_session(signed_in.session_id)
            .from_address(identity.address_hash(client.address))
            .with("device_id", known.device_id.to_string());
        security_events::record(&mut *tx, event).await?;
        tx.commit().await
    };
    unlocked.await.map_err(IdentityError::Database)?;
    Ok(private(StatusCode::NO_CONTENT))
}

/// A device, whose it is, and who looks after it just now.
struct Known {
    device_id: Uuid,
    family_id: FamilyId,
    user_id: UserId,
    member_id: MemberId,
    asked_by: MemberId,
}

/// A device in a family where the person looks after devices; unknown, ended and foreign ones read the same.
async fn device_of(
    identity: &Identity,
    path: Result<Path<String>, PathRejection>,
    asked_by: UserId,
) -> Result<Known, Problem> {
    let Path(text) = path.map_err(|_| Problem::malformed("the address cannot be read"))?;
    let unknown = || Problem::unknown("unknown-device", "there is no such device");
    let device_id = Uuid::try_parse(&text).map_err(|_| unknown())?;
    let found: Option<(Uuid, Uuid, Uuid)> = sqlx::query_as(
        "select family_id, user_id, member_id from identity.paired_devices where device_id = $1 and revoked_at is null",
    )
    .bind(device_id)
    .fetch_optional(identity.pool())
    .await
    .map_err(IdentityError::Database)?;
    let (family_id, user_id, member_id) = found.ok_or_else(unknown)?;
    let family_id = FamilyId::from_uuid(family_id);
    let asked_by = match require_parent(identity, family_id, asked_by).await {
        Err(problem) if problem.status() == StatusCode::NOT_FOUND => Err(unknown()),
        checked => checked,
    }?;
    Ok(Known {
        device_id,
        family_id,
        user_id: UserId::from_uuid(user_id),
        member_id: MemberId::from_uuid(member_id),
        asked_by,
    })
}
