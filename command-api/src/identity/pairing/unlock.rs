//! The daily unlock of a paired device: its signature over a challenge, and the PIN.

use axum::{Json, Router, extract::State, http::StatusCode, response::Response, routing::post};
use domain::id::{FamilyId, UserId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use service_kit::problem::Problem;
use uuid::Uuid;

use super::{
    super::{
        Identity, IdentityError,
        address::Client,
        body::Body,
        openapi::{Caller, MALFORMED, Route, TOO_FAST, TOO_LARGE, schema},
        passwords::Verdict,
        private,
        queue::Visitor,
        security_events::{self, Kind, SecurityEvent},
        sessions::{Tokens, handed_over},
    },
    challenges,
    device_key::DeviceKey,
    device_session,
    finish::DIGITS_MAX,
    standing,
};

/// From so many wrong PINs on, the next one waits: a minute, then two, and so on.
const WAITS_FROM: i32 = 5;
/// After so many wrong PINs a parent must unlock.
const FAILURES_MAX: i32 = 10;

/// Which device asks.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Asking {
    /// From finishing the pairing.
    device_id: Uuid,
}

/// What the device is to sign. It has no `Debug`: nothing may print it.
#[derive(Serialize, JsonSchema)]
struct Challenge {
    /// Good once.
    challenge: String,
    /// Seconds it can be answered for.
    expires_in: i32,
}

/// A signed challenge and the PIN. It has no `Debug`: nothing may print it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Unlock {
    /// From finishing the pairing.
    device_id: Uuid,
    /// The challenge.
    #[schemars(length(max = 64))]
    challenge: String,
    /// Over `kinledger/unlock/1`, a line feed, and the challenge; in base64url.
    #[schemars(length(max = 200))]
    signature: String,
    /// The PIN.
    #[schemars(length(max = 16))]
    pin: String,
}

#[derive(sqlx::FromRow)]
struct Device {
    user_id: Uuid,
    family_id: Uuid,
    algorithm: String,
    public_key: Vec<u8>,
    paired_by: Option<Uuid>,
}

pub(super) fn routes() -> Router<Identity> {
    Router::new()
        .route("/api/v1/auth/device/challenge", post(challenge))
        .route("/api/v1/auth/device/unlock", post(unlock))
}

pub(super) fn paths() -> Vec<Route> {
    vec![
        Route {
            path: "/api/v1/auth/device/challenge",
            method: "post",
            operation_id: "device-challenge",
            summary: "A challenge for a paired device",
            description: "Who may call: anybody; a device that does not exist gets one too, which opens nothing.",
            caller: Caller::Anybody,
            parameters: json!([]),
            body: Some((schema::<Asking>(), true)),
            success: (200, "The challenge.", Some(schema::<Challenge>())),
            problems: &[MALFORMED, TOO_LARGE],
        },
        Route {
            path: "/api/v1/auth/device/unlock",
            method: "post",
            operation_id: "unlock-by-pin",
            summary: "Sign in on a paired device by its PIN",
            description: "Who may call: a paired device. Five wrong PINs wait, after ten a parent must unlock the device. The session \
                lives for twelve hours.",
            caller: Caller::Anybody,
            parameters: json!([]),
            body: Some((schema::<Unlock>(), true)),
            success: (200, "A session.", Some(schema::<Tokens>())),
            problems: &[
                MALFORMED,
                (
                    401,
                    "The device is unknown or was ended, its signature or the PIN is wrong.",
                ),
                (
                    403,
                    "`device-locked`: ten PINs were wrong, or whoever paired the device looks after devices no longer: a parent \
                     must unlock it; `not-young`: the member is neither teen nor child any more.",
                ),
                TOO_LARGE,
                TOO_FAST,
                (503, "The ledger cannot be reached just now."),
            ],
        },
    ]
}

/// `POST /api/v1/auth/device/challenge`: anybody.
async fn challenge(State(identity): State<Identity>, Body(request): Body<Asking>) -> Result<Response, Problem> {
    let challenge = challenges::make(identity.challenge_key(), request.device_id);
    Ok(private(Json(Challenge {
        challenge,
        expires_in: challenges::SECONDS,
    })))
}

/// `POST /api/v1/auth/device/unlock`: a paired device. A PIN is looked at only after the device has signed, so nobody without the
/// device uses up its tries.
async fn unlock(
    State(identity): State<Identity>,
    client: Client,
    Body(request): Body<Unlock>,
) -> Result<Response, Problem> {
    if request.pin.len() > DIGITS_MAX {
        return Err(Problem::malformed(format!("pin: at most {DIGITS_MAX} digits")));
    }
    if !challenges::is_good(identity.challenge_key(), request.device_id, &request.challenge) {
        return Err(refused());
    }
    let device: Option<Device> = sqlx::query_as(
        "select user_id, family_id, algorithm, public_key, paired_by
         from identity.paired_devices
         where device_id = $1 and revoked_at is null",
    )
    .bind(request.device_id)
    .fetch_optional(identity.pool())
    .await
    .map_err(IdentityError::Database)?;
    let device = device
        .filter(|device| {
            let key = DeviceKey::stored(&device.algorithm, device.public_key.clone());
            key.signed("unlock", &request.challenge, &request.signature)
        })
        .ok_or_else(refused)?;
    if !challenges::take(identity.pool(), request.device_id, &request.challenge)
        .await
        .map_err(IdentityError::Database)?
    {
        return Err(refused());
    }
    let (user_id, family_id) = (UserId::from_uuid(device.user_id), FamilyId::from_uuid(device.family_id));
    // Who was removed from the family has nothing left to unlock.
    standing::of(&identity, family_id, user_id, device.paired_by)
        .await?
        .require(refused)?;
    let pin_hash = counted(&identity, request.device_id).await?;
    let verdict = match identity
        .passwords()
        .verify(request.pin, pin_hash, Visitor::let_in_before(client.address))
        .await
    {
        Ok(verdict) => verdict,
        Err(busy) => {
            not_looked_at(&identity, request.device_id).await?;
            return Err(busy);
        }
    };
    let address_hash = identity.address_hash(client.address);
    if verdict == Verdict::Wrong {
        let event = SecurityEvent::about(Kind::FactorFailed, user_id)
            .in_family(family_id)
            .from_address(address_hash)
            .with("factor", "pin");
        security_events::record(identity.pool(), event)
            .await
            .map_err(IdentityError::Database)?;
        return Err(refused());
    }
    sqlx::query(
        "update identity.paired_devices
         set pin_failures = 0, pin_waits_until = null, last_used_at = clock_timestamp()
         where device_id = $1",
    )
    .bind(request.device_id)
    .execute(identity.pool())
    .await
    .map_err(IdentityError::Database)?;
    let tokens = device_session::open(&identity, user_id, request.device_id, &client)
        .await?
        .ok_or_else(refused)?;
    let event = SecurityEvent::about(Kind::SignedIn, user_id)
        .in_family(family_id)
        .from_address(address_hash)
        .with("device", client.device.as_str())
        .with("methods", ["pin", "pop"].as_slice());
    security_events::record(identity.pool(), event)
        .await
        .map_err(IdentityError::Database)?;
    Ok(handed_over(StatusCode::OK, tokens))
}

/// Takes back a try that was counted and never looked at: a right PIN is not wrong because we were busy.
async fn not_looked_at(identity: &Identity, device_id: Uuid) -> Result<(), IdentityError> {
    sqlx::query(
        "update identity.paired_devices
         set pin_failures = pin_failures - 1, pin_waits_until = null
         where device_id = $1 and pin_failures > 0",
    )
    .bind(device_id)
    .execute(identity.pool())
    .await?;
    Ok(())
}

/// Counts a try before it is looked at, so that many at once are no more than many after another; the hash to compare with.
async fn counted(identity: &Identity, device_id: Uuid) -> Result<Option<String>, Problem> {
    let admitted: Option<(Option<String>,)> = sqlx::query_as(
        "update identity.paired_devices
         set
             pin_failures = pin_failures + 1,
             pin_waits_until = case
                 when pin_failures + 1 >= $2
                     then clock_timestamp() + make_interval(mins => pin_failures + 2 - $2)
             end
         where device_id = $1
             and pin_failures < $3
             and (pin_waits_until is null or pin_waits_until <= clock_timestamp())
         returning pin_hash",
    )
    .bind(device_id)
    .bind(WAITS_FROM)
    .bind(FAILURES_MAX)
    .fetch_optional(identity.pool())
    .await
    .map_err(IdentityError::Database)?;
    if let Some((pin_hash,)) = admitted {
        return Ok(pin_hash);
    }
    let state: Option<(i32, Option<i32>)> = sqlx::query_as(
        "select pin_failures, ceil(extract(epoch from pin_waits_until - clock_timestamp()))::int
         from identity.paired_devices
         where device_id = $1",
    )
    .bind(device_id)
    .fetch_optional(identity.pool())
    .await
    .map_err(IdentityError::Database)?;
    match state {
        Some((failures, _)) if failures >= FAILURES_MAX => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "device-locked",
            "ten PINs were wrong; a parent must unlock this device",
        )),
        Some((_, wait)) => {
            let seconds = u32::try_from(wait.unwrap_or(1)).unwrap_or(1).max(1);
            Err(Problem::too_fast(
                seconds,
                format!("too many wrong PINs; try again in {seconds} s"),
            ))
        }
        None => Err(refused()),
    }
}

/// Unknown, ended, not signed and a wrong PIN read the same.
fn refused() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "wrong-credentials",
        "this device or its PIN does not sign in",
    )
}
