//! A paired device sets its PIN and gets its first session.

use axum::{Json, Router, extract::State, http::StatusCode, response::Response, routing::post};
use domain::{
    actor::Role,
    id::{FamilyId, UserId},
};
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
        devices,
        openapi::{Caller, MALFORMED, Route, TOO_FAST, TOO_LARGE, schema},
        private,
        queue::Visitor,
        security_events::{self, Kind, SecurityEvent},
        sessions::{Tokens, hash_of, with_device},
    },
    device_key::DeviceKey,
    device_session, standing,
};

/// Digits of a child's PIN.
const CHILD_DIGITS: usize = 6;
/// Fewest digits of a teen's PIN.
const TEEN_DIGITS_MIN: usize = 8;
/// Most digits of a PIN.
pub(super) const DIGITS_MAX: usize = 16;
/// A PIN and the device's key, as RFC 8176 names them.
pub(super) const PIN_METHODS: [&str; 2] = ["pin", "pop"];

/// A confirmed claim and the PIN it is to have. It has no `Debug`: nothing may print it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Finish {
    /// From claiming.
    #[schemars(length(max = 64))]
    claim: String,
    /// Six digits for a child, eight to sixteen for a teen.
    #[schemars(length(max = 16))]
    pin: String,
    /// Over `kinledger/finish/1`, a line feed, and the claim; in base64url.
    #[schemars(length(max = 200))]
    signature: String,
}

/// A paired device, signed in. It has no `Debug`: nothing may print it.
#[derive(Serialize, JsonSchema)]
struct Paired {
    /// The device's id, to unlock by.
    device_id: Uuid,
    /// Its first session.
    tokens: Tokens,
}

#[derive(sqlx::FromRow)]
struct Waiting {
    family_id: Uuid,
    algorithm: String,
    public_key: Vec<u8>,
    device_id: Option<Uuid>,
    user_id: Option<Uuid>,
    paired_by: Option<Uuid>,
}

pub(super) fn routes() -> Router<Identity> {
    Router::new().route("/api/v1/auth/pairing/finish", post(finish))
}

pub(super) fn paths() -> Vec<Route> {
    vec![Route {
        path: "/api/v1/auth/pairing/finish",
        method: "post",
        operation_id: "finish-pairing",
        summary: "Set the PIN of a paired device and sign in",
        description: "Who may call: the device that claimed the pairing, once a parent has confirmed it. Until then it is answered \
            409 `pairing-pending` and may ask again every two seconds. Its session lives for twelve hours.",
        caller: Caller::Anybody,
        parameters: json!([]),
        body: Some((schema::<Finish>(), true)),
        success: (200, "The device and its session.", Some(schema::<Paired>())),
        problems: &[
            MALFORMED,
            (
                404,
                "The claim is unknown or over, or the signature is not the device's.",
            ),
            (
                403,
                "The member is neither teen nor child any more, whoever paired the device looks after devices no longer, or a \
                 parent has to consent first.",
            ),
            (409, "No parent has confirmed it yet."),
            TOO_LARGE,
            (422, "The PIN is too short, too long or too simple."),
            TOO_FAST,
            (503, "The ledger cannot be reached just now; ask again."),
        ],
    }]
}

/// `POST /api/v1/auth/pairing/finish`: the device that claimed it.
async fn finish(
    State(identity): State<Identity>,
    client: Client,
    Body(request): Body<Finish>,
) -> Result<Response, Problem> {
    let found: Option<Waiting> = sqlx::query_as(
        "select
             pairings.family_id,
             pairings.algorithm,
             pairings.public_key,
             pairings.device_id,
             paired_devices.user_id,
             paired_devices.paired_by
         from identity.pairings
         left join identity.paired_devices
             on paired_devices.device_id = pairings.device_id and paired_devices.revoked_at is null
         where claim_hash = $1 and expires_at > clock_timestamp()",
    )
    .bind(hash_of(&request.claim))
    .fetch_optional(identity.pool())
    .await
    .map_err(IdentityError::Database)?;
    let waiting = found
        .filter(|waiting| {
            let key = DeviceKey::stored(&waiting.algorithm, waiting.public_key.clone());
            key.signed("finish", &request.claim, &request.signature)
        })
        .ok_or_else(unknown)?;
    let (Some(device_id), Some(user_id)) = (waiting.device_id, waiting.user_id) else {
        if waiting.device_id.is_some() {
            return Err(unknown());
        }
        return Err(Problem::conflict("pairing-pending", "a parent has not confirmed this device yet").retry_after(2));
    };
    let (family_id, user_id) = (FamilyId::from_uuid(waiting.family_id), UserId::from_uuid(user_id));
    let role = standing::of(&identity, family_id, user_id, waiting.paired_by)
        .await?
        .require(unknown)?;
    check_pin(&request.pin, role)?;
    let pin_hash = identity
        .passwords()
        .hash(request.pin, Visitor::let_in_before(client.address))
        .await?;
    let set = async {
        let mut tx = identity.pool().begin().await?;
        let over = sqlx::query("delete from identity.pairings where claim_hash = $1 and device_id = $2")
            .bind(hash_of(&request.claim))
            .bind(device_id)
            .execute(&mut *tx)
            .await?;
        if over.rows_affected() != 1 {
            return Ok(false);
        }
        sqlx::query(
            "update identity.paired_devices
             set pin_hash = $2, last_used_at = clock_timestamp()
             where device_id = $1 and pin_hash is null and revoked_at is null",
        )
        .bind(device_id)
        .bind(pin_hash)
        .execute(&mut *tx)
        .await?;
        let event = SecurityEvent::about(Kind::SignedIn, user_id)
            .in_family(family_id)
            .from_address(identity.address_hash(client.address))
            .with("device", client.device.as_str())
            .with("methods", PIN_METHODS.as_slice());
        security_events::record(&mut *tx, event).await?;
        tx.commit().await?;
        Ok::<_, sqlx::Error>(true)
    };
    if !set.await.map_err(IdentityError::Database)? {
        return Err(unknown());
    }
    let tokens = device_session::open(&identity, user_id, device_id, &PIN_METHODS, &client)
        .await?
        .ok_or_else(unknown)?;
    let cookie = devices::set_cookie(&identity, &tokens);
    let answer = private(Json(Paired { device_id, tokens }));
    Ok(with_device(answer, cookie))
}

/// Whether a PIN may be taken: digits, as many as the age asks for, and not the first that anybody tries.
///
/// # Errors
/// 422 `weak-pin`, with the reason in words.
fn check_pin(pin: &str, role: Role) -> Result<(), Problem> {
    let refuse = |reason: String| Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "weak-pin", reason));
    let digits = pin.as_bytes();
    if !digits.iter().all(u8::is_ascii_digit) {
        return refuse("a PIN has digits only".to_owned());
    }
    let has_length = match role {
        Role::Child => digits.len() == CHILD_DIGITS,
        _ => (TEEN_DIGITS_MIN..=DIGITS_MAX).contains(&digits.len()),
    };
    if !has_length {
        return refuse(format!(
            "a child's PIN has {CHILD_DIGITS} digits, a teen's {TEEN_DIGITS_MIN} to {DIGITS_MAX}"
        ));
    }
    let steps: Vec<i16> = digits
        .windows(2)
        .map(|pair| i16::from(pair[1]) - i16::from(pair[0]))
        .collect();
    if [-1, 0, 1].iter().any(|step| steps.iter().all(|found| found == step)) {
        return refuse("this PIN is among the first that anybody tries".to_owned());
    }
    Ok(())
}

/// Unknown, over and not signed read the same.
fn unknown() -> Problem {
    Problem::unknown("unknown-pairing", "this pairing is over; ask a parent for a new one")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_as_long_as_the_age_asks_and_no_run() {
        assert!(check_pin("274913", Role::Child).is_ok());
        assert!(check_pin("27491308", Role::Teen).is_ok());
        for (pin, role) in [
            ("27491", Role::Child),
            ("2749130", Role::Child),
            ("274913", Role::Teen),
            ("27491308274913081", Role::Teen),
            ("27491a", Role::Child),
            ("111111", Role::Child),
            ("123456", Role::Child),
            ("87654321", Role::Teen),
        ] {
            assert!(check_pin(pin, role).is_err(), "{pin}");
        }
    }
}
