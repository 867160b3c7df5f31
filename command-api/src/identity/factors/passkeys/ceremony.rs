//! What an authenticator made of a challenge, and whether it counts.

use axum::http::StatusCode;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::id::UserId;
use schemars::JsonSchema;
use serde::Deserialize;
use service_kit::problem::Problem;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{
    super::super::{
        Identity, IdentityError,
        security_events::{self, Kind, SecurityEvent},
    },
    authenticator_data::AuthenticatorData,
    challenges::{self, Purpose},
    client_data::challenge_in,
    cose_key::CoseKey,
    relying_party::RelyingParty,
};

/// Longest signature that is looked at, in bytes: RSA of 4096 bits.
const SIGNATURE_BYTES_MAX: usize = 512;

/// A new credential, as `PublicKeyCredential.toJSON()` writes it; members that are not named here are passed over. It has no
/// `Debug`: nothing may print it.
#[derive(Deserialize, JsonSchema)]
pub(in super::super::super) struct Attestation {
    /// What the browser and the authenticator say.
    response: AttestationResponse,
}

#[derive(Deserialize, JsonSchema)]
struct AttestationResponse {
    /// In base64url.
    #[serde(rename = "clientDataJSON")]
    #[schemars(length(max = 8192))]
    client_data_json: String,
    /// In base64url.
    #[serde(rename = "attestationObject")]
    #[schemars(length(max = 12288))]
    attestation_object: String,
}

/// An assertion, as `PublicKeyCredential.toJSON()` writes it; members that are not named here are passed over. It has no `Debug`:
/// nothing may print it.
#[derive(Deserialize, JsonSchema)]
pub(in super::super::super) struct Assertion {
    /// The credential's id in base64url.
    #[schemars(length(max = 1400))]
    id: String,
    /// What the browser and the authenticator say.
    response: AssertionResponse,
}

#[derive(Deserialize, JsonSchema)]
struct AssertionResponse {
    /// In base64url.
    #[serde(rename = "clientDataJSON")]
    #[schemars(length(max = 8192))]
    client_data_json: String,
    /// In base64url.
    #[serde(rename = "authenticatorData")]
    #[schemars(length(max = 4096))]
    authenticator_data: String,
    /// In base64url.
    #[schemars(length(max = 1024))]
    signature: String,
    /// Whose the credential is, in base64url; only passkeys that the device found by itself say so.
    #[serde(rename = "userHandle", default)]
    #[schemars(length(max = 128))]
    user_handle: Option<String>,
}

/// A key to be stored.
pub(in super::super::super) struct NewPasskey {
    pub credential_id: Vec<u8>,
    pub public_key: Vec<u8>,
    pub sign_count: u32,
}

/// The new key, when it answers a challenge to add one to this account, from our page, for our domain, by a verified user.
pub(super) async fn new_passkey(
    identity: &Identity,
    user_id: UserId,
    attestation: &Attestation,
) -> Result<Option<NewPasskey>, IdentityError> {
    let Some((challenge, new)) = attestation.read(identity.relying_party()) else {
        return Ok(None);
    };
    let is_ours = challenges::take(identity.pool(), Purpose::Add(user_id), &challenge).await?;
    Ok(is_ours.then_some(new))
}

impl Attestation {
    /// The challenge it answers, and the key: none unless it was made on our page, for our domain, with its user verified. Whether
    /// the challenge is one of ours is for the caller to say.
    pub fn read(&self, party: &RelyingParty) -> Option<(Vec<u8>, NewPasskey)> {
        let client_data = decoded(&self.response.client_data_json)?;
        let challenge = challenge_in(&client_data, "webauthn.create", &party.origin)?;
        let new = key_in(&decoded(&self.response.attestation_object)?, &party.id)?;
        Some((challenge, new))
    }
}

/// The answer to a new credential that counts for nothing, for an account or for a device.
pub(in super::super::super) fn not_made_here() -> Problem {
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "wrong-passkey",
        "this is no passkey that was made here just now, with its user verified",
    )
}

/// An assertion that was made on our page. What it says holds only by a key.
pub(in super::super::super) struct Answer<'a> {
    pub credential_id: Vec<u8>,
    pub challenge: Vec<u8>,
    user_handle: Option<&'a str>,
    authenticator_data: Vec<u8>,
    client_data: Vec<u8>,
    signature: Vec<u8>,
}

impl Assertion {
    /// None when it cannot be read, or was not made on our page.
    pub fn read(&self, party: &RelyingParty) -> Option<Answer<'_>> {
        let client_data = decoded(&self.response.client_data_json)?;
        Some(Answer {
            credential_id: decoded(&self.id)?,
            challenge: challenge_in(&client_data, "webauthn.get", &party.origin)?,
            user_handle: self.response.user_handle.as_deref(),
            authenticator_data: decoded(&self.response.authenticator_data)?,
            client_data,
            signature: decoded(&self.response.signature).filter(|signature| signature.len() <= SIGNATURE_BYTES_MAX)?,
        })
    }
}

impl Answer<'_> {
    /// Whether it says that the credential is this owner's; none when it says nothing of it.
    pub fn is_of(&self, owner: Uuid) -> Option<bool> {
        let handle = self.user_handle?;
        Some(decoded(handle).as_deref() == Some(owner.as_bytes()))
    }

    /// The authenticator's count, when this key signed it for our domain with its user verified.
    pub fn count_signed_by(&self, public_key: &[u8], party: &RelyingParty) -> Option<u32> {
        let data = AuthenticatorData::read(&self.authenticator_data, &party.id)?;
        let signed = [self.authenticator_data.as_slice(), &Sha256::digest(&self.client_data)].concat();
        let is_signed = CoseKey::read(public_key)?.verifies(&signed, &self.signature);
        is_signed.then_some(data.sign_count)
    }
}

fn key_in(attestation_object: &[u8], rp_id: &str) -> Option<NewPasskey> {
    let value: ciborium::Value = ciborium::from_reader(attestation_object).ok()?;
    let bytes = value
        .as_map()?
        .iter()
        .find(|(name, _)| name.as_text() == Some("authData"))?
        .1
        .as_bytes()?;
    let data = AuthenticatorData::read(bytes, rp_id)?;
    let new = data.new_credential?;
    // Shorter ones could be guessed to be somebody else's (Web Authentication asks for 16 bytes at least).
    let has_length = (16..=1_023).contains(&new.credential_id.len());
    CoseKey::read(new.public_key).filter(|_| has_length)?;
    Some(NewPasskey {
        credential_id: new.credential_id.to_vec(),
        public_key: new.public_key.to_vec(),
        sign_count: data.sign_count,
    })
}

/// Whose passkey signed a challenge of this purpose; none when anything about it is not as it must be. The challenge is used up.
pub(in super::super) async fn use_assertion(
    identity: &Identity,
    purpose: Purpose,
    assertion: &Assertion,
) -> Result<Option<UserId>, IdentityError> {
    let party = identity.relying_party();
    let Some(answer) = assertion.read(party) else {
        return Ok(None);
    };
    if !challenges::take(identity.pool(), purpose, &answer.challenge).await? {
        return Ok(None);
    }
    let found: Option<(Uuid, Uuid, Vec<u8>)> =
        sqlx::query_as("select passkey_id, user_id, public_key from identity.passkeys where credential_id = $1")
            .bind(&answer.credential_id)
            .fetch_optional(identity.pool())
            .await?;
    let Some((passkey_id, user_id, public_key)) = found else {
        return Ok(None);
    };
    let owner = UserId::from_uuid(user_id);
    let is_expected = match purpose {
        Purpose::Prove(expected) | Purpose::Add(expected) => expected == owner,
        Purpose::SignIn => true,
    };
    let handle_fits = answer.is_of(user_id).unwrap_or(purpose != Purpose::SignIn);
    let Some(sign_count) = answer
        .count_signed_by(&public_key, party)
        .filter(|_| is_expected && handle_fits)
    else {
        return Ok(None);
    };
    if counts_up(identity, passkey_id, sign_count).await? {
        return Ok(Some(owner));
    }
    tracing::warn!(user.id = %owner, passkey.id = %passkey_id, "a passkey's counter went back: it may have been copied");
    let event = SecurityEvent::about(Kind::FactorFailed, owner)
        .with("factor", "passkey")
        .with("reason", "counter-went-back");
    security_events::record(identity.pool(), event).await?;
    Ok(None)
}

/// Moves the counter on, in one statement. Authenticators that do not count say 0 for ever.
async fn counts_up(identity: &Identity, passkey_id: Uuid, sign_count: u32) -> Result<bool, sqlx::Error> {
    let moved = sqlx::query(
        "update identity.passkeys
         set sign_count = $2, last_used_at = clock_timestamp()
         where passkey_id = $1 and (sign_count < $2 or (sign_count = 0 and $2 = 0))",
    )
    .bind(passkey_id)
    .bind(i64::from(sign_count))
    .execute(identity.pool())
    .await?;
    Ok(moved.rows_affected() == 1)
}

/// Base64url, with padding or without: libraries differ.
fn decoded(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()
}
