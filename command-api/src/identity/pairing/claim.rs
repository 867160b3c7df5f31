//! A child's device claims a pairing.

use axum::{Json, Router, extract::State, response::Response, routing::post};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use rand::Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use service_kit::problem::Problem;

use super::{
    super::{
        Identity, IdentityError,
        address::Client,
        body::Body,
        factors::normal_name,
        openapi::{Caller, MALFORMED, Route, TOO_FAST, TOO_LARGE, schema},
        private,
        sessions::hash_of,
    },
    device_key::{Algorithm, DeviceKey},
};

/// Longest text that is looked up as a code, in bytes.
const CODE_BYTES_MAX: usize = 64;
/// What a claim begins with.
const CLAIM_PREFIX: &str = "klp_";

/// What the device read, and its key. It has no `Debug`: nothing may print it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Claim {
    /// The secret of the QR code, or the code as it was typed.
    #[schemars(length(max = 64))]
    code: String,
    /// What the device calls itself, for the parent to see.
    #[schemars(length(min = 1, max = 100))]
    device_name: String,
    /// What it signs with.
    algorithm: Algorithm,
    /// Its public key in base64url: 32 bytes of Ed25519, or the 65 of an uncompressed point.
    #[schemars(length(max = 100))]
    public_key: String,
    /// Over `kinledger/claim/1`, a line feed, and `code` as it is sent; in base64url.
    #[schemars(length(max = 200))]
    signature: String,
}

/// A claim that waits for the parent. It has no `Debug`: nothing may print it.
#[derive(Serialize, JsonSchema)]
struct Claimed {
    /// To finish the pairing with.
    claim: String,
    /// Two digits to show: the parent types them.
    match_code: String,
    /// Until when (UTC).
    expires_at: DateTime<Utc>,
}

pub(super) fn routes() -> Router<Identity> {
    Router::new().route("/api/v1/auth/pairing/claim", post(claim))
}

pub(super) fn paths() -> Vec<Route> {
    vec![Route {
        path: "/api/v1/auth/pairing/claim",
        method: "post",
        operation_id: "claim-pairing",
        summary: "Claim a pairing as the device that read its code",
        description: "Who may call: whoever has the code, once, with a signature by the key that the device will keep.",
        caller: Caller::Anybody,
        parameters: json!([]),
        body: Some((schema::<Claim>(), true)),
        success: (200, "The pairing waits for the parent.", Some(schema::<Claimed>())),
        problems: &[
            MALFORMED,
            (
                404,
                "The code is unknown, over or claimed, or the signature is not the key's.",
            ),
            TOO_LARGE,
            TOO_FAST,
        ],
    }]
}

/// `POST /api/v1/auth/pairing/claim`: whoever has the code.
async fn claim(
    State(identity): State<Identity>,
    client: Client,
    Body(request): Body<Claim>,
) -> Result<Response, Problem> {
    let device_name = normal_name(&request.device_name)?;
    // Unknown, over, claimed and not signed read the same.
    let refused = || Problem::unknown("unknown-pairing", "this code pairs nothing; ask for a new one");
    // The throttle counts by address: there is no account yet that a stranger could slow.
    let attempt = identity.throttle().admit_here("pair", client.address)?;
    let key = DeviceKey::read(request.algorithm, &request.public_key)
        .filter(|key| request.code.len() <= CODE_BYTES_MAX && key.signed("claim", &request.code, &request.signature));
    let Some(key) = key else {
        attempt.failed();
        return Err(refused());
    };
    let claim = format!("{CLAIM_PREFIX}{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()));
    let match_code = format!("{:02}", rand::rng().random_range(0..100));
    let taken: Option<(DateTime<Utc>,)> = sqlx::query_as(
        "update identity.pairings
         set claim_hash = $3, match_code = $4, device_name = $5, algorithm = $6, public_key = $7
         where (secret_hash = $1 or code_hash = $2) and claim_hash is null and expires_at > clock_timestamp()
         returning expires_at",
    )
    .bind(hash_of(&request.code))
    .bind(code_hash(&request.code))
    .bind(hash_of(&claim))
    .bind(&match_code)
    .bind(&device_name)
    .bind(key.algorithm.as_str())
    .bind(&key.public_key)
    .fetch_optional(identity.pool())
    .await
    .map_err(IdentityError::Database)?;
    let Some((expires_at,)) = taken else {
        attempt.failed();
        return Err(refused());
    };
    attempt.succeeded();
    Ok(private(Json(Claimed {
        claim,
        match_code,
        expires_at,
    })))
}

/// The hash of a typed code, in any case, with or without hyphens and spaces.
pub(super) fn code_hash(typed: &str) -> [u8; 32] {
    let plain: String = typed
        .chars()
        .filter(|c| !c.is_whitespace() && *c != '-')
        .map(|c| c.to_ascii_uppercase())
        .collect();
    hash_of(&format!("code {plain}"))
}
