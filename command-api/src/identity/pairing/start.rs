//! A parent begins to pair a device with a child's or teen's place.

use axum::{
    Json, Router,
    extract::{Path, State, rejection::PathRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use domain::id::{FamilyId, MemberId};
use rand::Rng;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use service_kit::{access, auth::SignedIn, problem::Problem};
use uuid::Uuid;

use super::{
    super::{
        Identity, IdentityError, new_way_in,
        openapi::{Caller, MALFORMED, NOT_SIGNED_IN, Route, id_parameter, schema},
        private,
        sessions::hash_of,
    },
    PAIR, check_hides_nothing,
    claim::code_hash,
    require_parent, young_member,
};

/// A pairing is open for so many minutes.
pub(super) const MINUTES: i32 = 5;
/// Consonants: no code spells a word (RFC 8628, section 6.1).
const ALPHABET: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
/// Characters of the code to type: 34 bits, for five minutes.
const CODE_CHARACTERS: usize = 8;

/// What a child's device reads. It has no `Debug`: nothing may print it.
#[derive(Serialize, JsonSchema)]
struct Pairing {
    /// To look after it by.
    pairing_id: Uuid,
    /// What to show as a QR code: an address with the secret behind its `#`, which no server sees.
    qr: String,
    /// The same for a device that scans by itself.
    secret: String,
    /// To type instead, in any case, with or without the hyphen.
    code: String,
    /// Until when (UTC).
    expires_at: DateTime<Utc>,
}

/// The answer to who has an old proof, cannot answer for the device, or pairs before there is consent.
pub(super) const PAIRING: (u16, &str) = (
    403,
    "`step-up-required`: prove who you are once more, then ask again; `accounts-hidden`: an account of the member's is hidden from \
     the person; `consent-required`: a parent has to consent first; or they are neither parent nor partner.",
);

pub(super) fn routes() -> Router<Identity> {
    Router::new().route("/api/v1/families/{family_id}/members/{member_id}/pairing", post(start))
}

pub(super) fn paths() -> Vec<Route> {
    vec![Route {
        path: "/api/v1/families/{family_id}/members/{member_id}/pairing",
        method: "post",
        operation_id: "pair",
        summary: "Begin to pair a child's or teen's device",
        description: "Who may call: a parent or partner of the family with a fresh proof. The codes are shown only in this answer, \
            open one pairing, and end after five minutes or with the next pairing of this member.",
        caller: Caller::SignedIn,
        parameters: json!([id_parameter("family_id", "fam"), id_parameter("member_id", "mem")]),
        body: None,
        success: (201, "What the device is to read.", Some(schema::<Pairing>())),
        problems: &[
            MALFORMED,
            NOT_SIGNED_IN,
            PAIRING,
            (404, "There is no such family for this person, or no such member in it."),
            (409, "The member has an account of their own."),
            (422, "The member is neither teen nor child."),
            (503, "The ledger cannot be reached just now."),
        ],
    }]
}

/// `POST …/members/{member_id}/pairing`: a parent or partner, with a fresh proof.
async fn start(
    State(identity): State<Identity>,
    signed_in: SignedIn,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Response, Problem> {
    access::check_proof(PAIR, signed_in, identity.verifier().now())?;
    let Path((family_id, member_id)) = path.map_err(|_| Problem::malformed("the address cannot be read"))?;
    let family_id: FamilyId = family_id.parse().map_err(|_| Problem::unknown_family())?;
    let asking = require_parent(&identity, family_id, signed_in.user_id).await?;
    let member_id: MemberId = member_id
        .parse()
        .map_err(|_| Problem::unknown("unknown-member", "there is no such member"))?;
    young_member(&identity, family_id, member_id).await?;
    check_hides_nothing(&identity, family_id, member_id, asking).await?;

    let secret = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
    let code = random_code();
    let pairing_id = Uuid::new_v4();
    let mut tx = identity.about(family_id).await.map_err(IdentityError::Database)?;
    new_way_in::require_session_in_tx(&mut tx, &signed_in).await?;
    let (expires_at,): (DateTime<Utc>,) = sqlx::query_as(
        "insert into identity.pairings
             (pairing_id, secret_hash, code_hash, family_id, member_id, created_by, expires_at)
         values ($1, $2, $3, $4, $5, $6, clock_timestamp() + make_interval(mins => $7))
         on conflict on constraint pairings_member_unique do update
         set
             pairing_id = excluded.pairing_id,
             secret_hash = excluded.secret_hash,
             code_hash = excluded.code_hash,
             created_by = excluded.created_by,
             expires_at = excluded.expires_at,
             claim_hash = null,
             match_code = null,
             device_name = null,
             algorithm = null,
             public_key = null,
             device_id = null
         returning expires_at",
    )
    .bind(pairing_id)
    .bind(hash_of(&secret))
    .bind(code_hash(&code))
    .bind(family_id.uuid())
    .bind(member_id.uuid())
    .bind(signed_in.user_id.uuid())
    .bind(MINUTES)
    .fetch_one(&mut *tx)
    .await
    .map_err(IdentityError::Database)?;
    tx.commit().await.map_err(IdentityError::Database)?;
    let pairing = Pairing {
        pairing_id,
        qr: format!("{}/pair#{secret}", identity.relying_party().origin),
        secret,
        code,
        expires_at,
    };
    Ok(private((StatusCode::CREATED, Json(pairing)).into_response()))
}

fn random_code() -> String {
    let mut chance = rand::rng();
    let mut code: String = (0..CODE_CHARACTERS)
        .map(|_| char::from(ALPHABET[chance.random_range(0..ALPHABET.len())]))
        .collect();
    code.insert(CODE_CHARACTERS / 2, '-');
    code
}
