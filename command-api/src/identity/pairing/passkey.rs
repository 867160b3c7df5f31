//! The passkey of a paired device: it opens the device in place of the PIN, and nothing else anywhere.
//!
//! Its person adds it on the unlocked device, with a fresh proof; there is one a device, and the PIN stays for the day it is lost. It
//! asserts the very challenge that the device signs with its own key, so both are of one moment, for one device, good once. A copy of it
//! on another machine, which some makers' clouds make by themselves, lacks the device's key. It is kept apart from the passkeys that
//! people sign in by, is no second factor, and goes with the device.

use axum::{Json, Router, extract::State, http::StatusCode, response::Response, routing::post};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::id::{FamilyId, MemberId, UserId};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use service_kit::{auth::SignedIn, problem::Problem};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    super::{
        Identity, IdentityError,
        address::Client,
        body::Body,
        factors::passkeys::{Assertion, Attestation, CreationOptions, creation_options, not_made_here},
        new_way_in,
        openapi::{Caller, MALFORMED, NOT_SIGNED_IN, Route, TOO_LARGE, schema},
        private,
        security_events::{self, Kind, SecurityEvent},
    },
    challenges,
};

/// The answer to who has an old proof, or asks from elsewhere.
const OWN_DEVICE: (u16, &str) = (
    403,
    "`step-up-required`: unlock the device once more, then ask again; `not-allowed`: the session is none of a paired device; \
     `consent-required`: a parent has to consent first.",
);

/// A passkey that the device's authenticator has just made. It has no `Debug`: nothing may print it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewPasskey {
    /// `PublicKeyCredential.toJSON()`.
    credential: Attestation,
}

pub(super) fn routes() -> Router<Identity> {
    Router::new()
        .route("/api/v1/auth/device/passkey/options", post(options))
        .route("/api/v1/auth/device/passkey", post(add).delete(remove))
}

pub(super) fn paths() -> Vec<Route> {
    vec![
        Route {
            path: "/api/v1/auth/device/passkey/options",
            method: "post",
            operation_id: "device-passkey-options",
            summary: "Begin to add a passkey to a paired device",
            description: "Who may call: whoever has unlocked the device within ten minutes. The challenge is good once, for five minutes.",
            caller: Caller::SignedIn,
            parameters: json!([]),
            body: None,
            success: (200, "Options for the browser.", Some(schema::<CreationOptions>())),
            problems: &[NOT_SIGNED_IN, OWN_DEVICE, (409, "The device has a passkey.")],
        },
        Route {
            path: "/api/v1/auth/device/passkey",
            method: "post",
            operation_id: "add-device-passkey",
            summary: "Add a passkey to a paired device",
            description: "Who may call: whoever has unlocked the device within ten minutes. From now on the passkey unlocks this device in \
                place of the PIN, which stays; it signs in nowhere else. The device keeps the credential's id.",
            caller: Caller::SignedIn,
            parameters: json!([]),
            body: Some((schema::<NewPasskey>(), true)),
            success: (204, "The passkey unlocks the device.", None),
            problems: &[
                MALFORMED,
                NOT_SIGNED_IN,
                OWN_DEVICE,
                (409, "The device has a passkey, or this one is another device's."),
                TOO_LARGE,
                (
                    422,
                    "The credential does not answer a challenge for this device, or its user was not verified.",
                ),
            ],
        },
        Route {
            path: "/api/v1/auth/device/passkey",
            method: "delete",
            operation_id: "remove-device-passkey",
            summary: "Remove the passkey of a paired device",
            description: "Who may call: whoever has unlocked the device within ten minutes. The PIN stays.",
            caller: Caller::SignedIn,
            parameters: json!([]),
            body: None,
            success: (204, "It opens nothing any more.", None),
            problems: &[NOT_SIGNED_IN, OWN_DEVICE, (404, "The device has no passkey.")],
        },
    ]
}

/// The paired device that somebody asks from.
#[derive(sqlx::FromRow)]
struct Device {
    device_id: Uuid,
    family_id: Uuid,
    member_id: Uuid,
    name: String,
    has_passkey: bool,
}

impl Device {
    /// Holds the device of a session, so that it does not end before the transaction does.
    ///
    /// # Errors
    /// 401 when the session has ended; 403 when it is none of a paired device.
    async fn of_in_tx(tx: &mut PgConnection, signed_in: &SignedIn) -> Result<Self, Problem> {
        new_way_in::require_session_in_tx(tx, signed_in).await?;
        let device: Option<Self> = sqlx::query_as(
            "select
                 device.device_id,
                 device.family_id,
                 device.member_id,
                 device.name,
                 exists (
                     select 1
                     from identity.paired_device_passkeys as passkey
                     where passkey.device_id = device.device_id
                 ) as has_passkey
             from identity.sessions as session
             join identity.paired_devices as device on device.device_id = session.paired_device_id
             where session.session_id = $1 and device.revoked_at is null
             for share of device",
        )
        .bind(signed_in.session_id)
        .fetch_optional(tx)
        .await
        .map_err(IdentityError::Database)?;
        device.ok_or_else(|| Problem::not_allowed("this is for a device that a parent paired, from that device"))
    }

    /// Lets nobody leave more on it while a parent's consent is waited for: it was taken back since the device was unlocked.
    ///
    /// # Errors
    /// 403 `consent-required`, and what the family says when it cannot be asked.
    async fn require_consent(&self, identity: &Identity) -> Result<(), Problem> {
        let (family_id, member_id) = (FamilyId::from_uuid(self.family_id), MemberId::from_uuid(self.member_id));
        identity.families().member(family_id, member_id).await.map(|_| ())
    }

    fn happened(&self, kind: Kind, signed_in: &SignedIn, identity: &Identity, client: &Client) -> SecurityEvent {
        SecurityEvent::about(kind, signed_in.user_id)
            .in_family(FamilyId::from_uuid(self.family_id))
            .in_session(signed_in.session_id)
            .from_address(identity.address_hash(client.address))
            .with("factor", "passkey")
            .with("device_id", self.device_id.to_string())
    }
}

/// `POST /api/v1/auth/device/passkey/options`: the person of the device, with a fresh proof.
async fn options(State(identity): State<Identity>, signed_in: SignedIn) -> Result<Response, Problem> {
    signed_in.require_step_up(identity.verifier().now())?;
    let mut tx = identity.pool().begin().await.map_err(IdentityError::Database)?;
    let device = Device::of_in_tx(&mut tx, &signed_in).await?;
    tx.commit().await.map_err(IdentityError::Database)?;
    device.require_consent(&identity).await?;
    if device.has_passkey {
        return Err(known());
    }
    let challenge = challenges::make(identity.challenge_key(), device.device_id);
    let mut options = creation_options(&identity, &challenge, device.device_id, &device.name, &device.name);
    let selection = &mut options.public_key["authenticatorSelection"];
    selection["authenticatorAttachment"] = json!("platform");
    // One that the authenticator offers by itself would be offered where it signs nobody in.
    selection["residentKey"] = json!("discouraged");
    Ok(private(Json(options)))
}

/// `POST /api/v1/auth/device/passkey`: the person of the device, with a fresh proof.
async fn add(
    State(identity): State<Identity>,
    client: Client,
    signed_in: SignedIn,
    Body(request): Body<NewPasskey>,
) -> Result<Response, Problem> {
    signed_in.require_step_up(identity.verifier().now())?;
    let mut tx = identity.pool().begin().await.map_err(IdentityError::Database)?;
    let device = Device::of_in_tx(&mut tx, &signed_in).await?;
    device.require_consent(&identity).await?;
    let read = request.credential.read(identity.relying_party());
    let (challenge, new) = read.ok_or_else(not_made_here)?;
    let challenge = URL_SAFE_NO_PAD.encode(challenge);
    if !challenges::is_good(identity.challenge_key(), device.device_id, &challenge)
        || !challenges::take(&mut *tx, device.device_id, &challenge)
            .await
            .map_err(IdentityError::Database)?
    {
        return Err(not_made_here());
    }
    let stored = sqlx::query(
        "insert into identity.paired_device_passkeys (device_id, credential_id, public_key, sign_count)
         values ($1, $2, $3, $4)
         on conflict do nothing",
    )
    .bind(device.device_id)
    .bind(&new.credential_id)
    .bind(&new.public_key)
    .bind(i64::from(new.sign_count))
    .execute(&mut *tx)
    .await
    .map_err(IdentityError::Database)?;
    if stored.rows_affected() != 1 {
        return Err(known());
    }
    let event = device.happened(Kind::FactorAdded, &signed_in, &identity, &client);
    security_events::record(&mut *tx, event)
        .await
        .map_err(IdentityError::Database)?;
    tx.commit().await.map_err(IdentityError::Database)?;
    Ok(private(StatusCode::NO_CONTENT))
}

/// `DELETE /api/v1/auth/device/passkey`: the person of the device, with a fresh proof.
async fn remove(State(identity): State<Identity>, client: Client, signed_in: SignedIn) -> Result<Response, Problem> {
    signed_in.require_step_up(identity.verifier().now())?;
    let mut tx = identity.pool().begin().await.map_err(IdentityError::Database)?;
    let device = Device::of_in_tx(&mut tx, &signed_in).await?;
    let removed = sqlx::query("delete from identity.paired_device_passkeys where device_id = $1")
        .bind(device.device_id)
        .execute(&mut *tx)
        .await
        .map_err(IdentityError::Database)?;
    if removed.rows_affected() != 1 {
        return Err(Problem::unknown("unknown-passkey", "this device has no passkey"));
    }
    let event = device.happened(Kind::FactorRemoved, &signed_in, &identity, &client);
    security_events::record(&mut *tx, event)
        .await
        .map_err(IdentityError::Database)?;
    tx.commit().await.map_err(IdentityError::Database)?;
    Ok(private(StatusCode::NO_CONTENT))
}

/// Forgets the passkeys of somebody's devices that were ended: a statement after the one that ended them, which sees what was added
/// until then.
pub(in super::super) async fn forget_of_ended_in_tx(tx: &mut PgConnection, user_id: UserId) -> Result<(), sqlx::Error> {
    sqlx::query(
        "delete from identity.paired_device_passkeys
         where device_id in (
             select device_id from identity.paired_devices where user_id = $1 and revoked_at is not null
         )",
    )
    .bind(user_id.uuid())
    .execute(tx)
    .await?;
    Ok(())
}

/// Whether an assertion opens the device: by the device's own passkey, over the challenge that the device has signed.
pub(super) async fn opens(
    identity: &Identity,
    (user_id, family_id): (UserId, FamilyId),
    device_id: Uuid,
    challenge: &str,
    assertion: &Assertion,
) -> Result<bool, IdentityError> {
    let party = identity.relying_party();
    let found: Option<(Vec<u8>, Vec<u8>)> = sqlx::query_as(
        "select credential_id, public_key
         from identity.paired_device_passkeys
         where device_id = $1",
    )
    .bind(device_id)
    .fetch_optional(identity.pool())
    .await?;
    let (Some((credential_id, public_key)), Some(answer)) = (found, assertion.read(party)) else {
        return Ok(false);
    };
    let is_about_this = answer.credential_id == credential_id
        && URL_SAFE_NO_PAD.encode(&answer.challenge) == challenge
        && answer.is_of(device_id) != Some(false);
    let Some(sign_count) = answer.count_signed_by(&public_key, party).filter(|_| is_about_this) else {
        return Ok(false);
    };
    // Authenticators that do not count say 0 for ever.
    let moved = sqlx::query(
        "update identity.paired_device_passkeys
         set sign_count = $3, last_used_at = clock_timestamp()
         where device_id = $1 and credential_id = $2 and (sign_count < $3 or (sign_count = 0 and $3 = 0))",
    )
    .bind(device_id)
    .bind(&credential_id)
    .bind(i64::from(sign_count))
    .execute(identity.pool())
    .await?;
    if moved.rows_affected() == 1 {
        return Ok(true);
    }
    tracing::warn!(user.id = %user_id, device.id = %device_id, "the counter of a device's passkey went back: it may have been copied");
    let event = SecurityEvent::about(Kind::FactorFailed, user_id)
        .in_family(family_id)
        .with("factor", "passkey")
        .with("reason", "counter-went-back");
    security_events::record(identity.pool(), event).await?;
    Ok(false)
}

fn known() -> Problem {
    Problem::conflict(
        "passkey-known",
        "this device has a passkey, or this one is another device's; remove it there first",
    )
}
