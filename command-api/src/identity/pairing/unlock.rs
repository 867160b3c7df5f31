//! The daily unlock of a paired device: its signature over a challenge, and the PIN or its passkey.

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
        factors::{PASSKEY_METHOD, passkeys::Assertion},
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
    finish::{DIGITS_MAX, PIN_METHODS},
    passkey, standing, tries,
};

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

/// A signed challenge, and the PIN or an assertion of the device's passkey: one of the two. It has no `Debug`: nothing may print it.
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
    pin: Option<String>,
    /// The passkey's assertion over the same challenge: `PublicKeyCredential.toJSON()`.
    passkey: Option<Assertion>,
}

/// What its person shows beside the device.
enum Shown {
    Pin(String),
    Passkey(Box<Assertion>),
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
            operation_id: "unlock-device",
            summary: "Sign in on a paired device by its PIN or its passkey",
            description: "Who may call: a paired device. After five wrong tries the next one waits, after ten a parent must unlock the \
                device. The session lives for twelve hours. The passkey asserts the very challenge that the device signs: its bytes, \
                with user verification, and the id that the device kept of it as the one allowed credential.",
            caller: Caller::Anybody,
            parameters: json!([]),
            body: Some((schema::<Unlock>(), true)),
            success: (200, "A session.", Some(schema::<Tokens>())),
            problems: &[
                MALFORMED,
                (
                    401,
                    "The device is unknown or was ended, its signature, the PIN or the passkey is wrong.",
                ),
                (
                    403,
                    "`device-locked`: ten tries were wrong, or whoever paired the device looks after devices no longer: a parent \
                     must unlock it; `not-young`: the member is neither teen nor child any more; `consent-required`: a parent has to \
                     consent first.",
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

/// `POST /api/v1/auth/device/unlock`: a paired device. A PIN or a passkey is looked at only after the device has signed, so nobody
/// without the device uses up its tries.
async fn unlock(
    State(identity): State<Identity>,
    client: Client,
    Body(request): Body<Unlock>,
) -> Result<Response, Problem> {
    let shown = Shown::one(request.pin, request.passkey)?;
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
    let pin_hash = tries::count(&identity, request.device_id, refused).await?;
    let factor = shown.factor();
    let methods = shown.methods();
    let looked_at = match shown {
        Shown::Pin(pin) => {
            let visitor = Visitor::let_in_before(client.address);
            identity
                .passwords()
                .verify(pin, pin_hash, visitor)
                .await
                .map(|verdict| verdict != Verdict::Wrong)
        }
        Shown::Passkey(assertion) => {
            let whose = (user_id, family_id);
            let opens = passkey::opens(&identity, whose, request.device_id, &request.challenge, &assertion).await;
            opens.map_err(Problem::from)
        }
    };
    let is_right = match looked_at {
        Ok(is_right) => is_right,
        Err(problem) => {
            tries::take_back(&identity, request.device_id).await?;
            return Err(problem);
        }
    };
    let address_hash = identity.address_hash(client.address);
    if !is_right {
        let event = SecurityEvent::about(Kind::FactorFailed, user_id)
            .in_family(family_id)
            .from_address(address_hash)
            .with("factor", factor);
        security_events::record(identity.pool(), event)
            .await
            .map_err(IdentityError::Database)?;
        return Err(refused());
    }
    tries::forget(&identity, request.device_id).await?;
    let tokens = device_session::open(&identity, user_id, request.device_id, methods, &client)
        .await?
        .ok_or_else(refused)?;
    let event = SecurityEvent::about(Kind::SignedIn, user_id)
        .in_family(family_id)
        .from_address(address_hash)
        .with("device", client.device.as_str())
        .with("methods", [factor, "pop"].as_slice());
    security_events::record(identity.pool(), event)
        .await
        .map_err(IdentityError::Database)?;
    Ok(handed_over(&identity, StatusCode::OK, tokens))
}

impl Shown {
    /// # Errors
    /// 400 when it is not one of the two, or too long to be any.
    fn one(pin: Option<String>, passkey: Option<Assertion>) -> Result<Self, Problem> {
        match (pin, passkey) {
            (Some(pin), None) if pin.len() <= DIGITS_MAX => Ok(Self::Pin(pin)),
            (Some(_), None) => Err(Problem::malformed(format!("pin: at most {DIGITS_MAX} digits"))),
            (None, Some(passkey)) => Ok(Self::Passkey(Box::new(passkey))),
            _ => Err(Problem::malformed("unlock by the PIN or by the passkey, one of them")),
        }
    }

    /// Its word in the trail.
    const fn factor(&self) -> &'static str {
        match self {
            Self::Pin(_) => "pin",
            Self::Passkey(_) => "passkey",
        }
    }

    /// Its names in `amr`, with the device's key (RFC 8176). A passkey is a key too.
    const fn methods(&self) -> &'static [&'static str] {
        match self {
            Self::Pin(_) => &PIN_METHODS,
            Self::Passkey(_) => &[PASSKEY_METHOD],
        }
    }
}

/// Unknown, ended, not signed, a wrong PIN and a wrong passkey read the same.
fn refused() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "wrong-credentials",
        "this device, its PIN or its passkey does not sign in",
    )
}
