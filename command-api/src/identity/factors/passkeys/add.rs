//! A person adds a passkey.

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use service_kit::{auth::SignedIn, problem::Problem};
use uuid::Uuid;

use super::{
    super::{
        super::{
            Identity, IdentityError,
            account::{letters, notices::Notice},
            address::Client,
            body::Body,
            new_way_in,
            openapi::{Caller, MALFORMED, NEW_WAY_IN, NOT_SIGNED_IN, Route, TOO_FAST, TOO_LARGE, schema},
            private,
            security_events::{self, Kind, SecurityEvent},
        },
        recovery,
    },
    PASSKEYS_MAX,
    ceremony::{Attestation, new_passkey, not_made_here},
    challenges::{self, Purpose},
    cose_key::ALGORITHMS,
    manage::normal_name,
};

/// What `navigator.credentials.create` takes, after `PublicKeyCredential.parseCreationOptionsFromJSON`.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in super::super::super) struct CreationOptions {
    /// `PublicKeyCredentialCreationOptionsJSON` of Web Authentication, level 3.
    pub public_key: Value,
}

/// A passkey that an authenticator has just made. It has no `Debug`: nothing may print it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewPasskey {
    /// What its owner calls it, as "Ada's telephone".
    #[schemars(length(min = 1, max = 100))]
    name: String,
    /// `PublicKeyCredential.toJSON()`.
    credential: Attestation,
}

/// The passkey that was added. It has no `Debug`: nothing may print its recovery codes.
#[derive(Serialize, JsonSchema)]
struct AddedPasskey {
    /// Its id here.
    passkey_id: Uuid,
    /// Ten codes for the day the passkey is lost, shown only now; empty for who has some already.
    recovery_codes: Vec<String>,
}

pub(super) fn routes() -> Router<Identity> {
    Router::new()
        .route("/api/v1/auth/factors/passkeys/options", post(options))
        .route("/api/v1/auth/factors/passkeys", post(add))
}

pub(super) fn paths() -> Vec<Route> {
    vec![
        Route {
            path: "/api/v1/auth/factors/passkeys/options",
            method: "post",
            operation_id: "passkey-options",
            summary: "Begin to add a passkey",
            description: "Who may call: any signed-in person with a fresh proof, about themself. The challenge is good once, for \
                five minutes.",
            caller: Caller::SignedIn,
            parameters: json!([]),
            body: None,
            success: (200, "Options for the browser.", Some(schema::<CreationOptions>())),
            problems: &[
                NOT_SIGNED_IN,
                NEW_WAY_IN,
                (409, "There are twenty passkeys already."),
                TOO_FAST,
            ],
        },
        Route {
            path: "/api/v1/auth/factors/passkeys",
            method: "post",
            operation_id: "add-passkey",
            summary: "Add a passkey",
            description: "Who may call: any signed-in person with a fresh proof, about themself. From now on the passkey signs in \
                by itself, and the password alone does not. A mail tells of it.",
            caller: Caller::SignedIn,
            parameters: json!([]),
            body: Some((schema::<NewPasskey>(), true)),
            success: (201, "The passkey counts.", Some(schema::<AddedPasskey>())),
            problems: &[
                MALFORMED,
                NOT_SIGNED_IN,
                NEW_WAY_IN,
                (409, "This passkey is registered, or there are twenty already."),
                TOO_LARGE,
                (
                    422,
                    "The credential does not answer a challenge of ours, or its user was not verified.",
                ),
            ],
        },
    ]
}

/// `POST /api/v1/auth/factors/passkeys/options`: the person themself, with a fresh proof.
async fn options(State(identity): State<Identity>, client: Client, signed_in: SignedIn) -> Result<Response, Problem> {
    signed_in.require_step_up(identity.verifier().now())?;
    let user_id = signed_in.user_id;
    let mut tx = identity.pool().begin().await.map_err(IdentityError::Database)?;
    new_way_in::require_in_tx(&mut tx, &identity, &signed_in).await?;
    tx.commit().await.map_err(IdentityError::Database)?;
    let (email, display_name): (String, String) =
        sqlx::query_as("select coalesce(email, display_name), display_name from identity.users where user_id = $1")
            .bind(user_id.uuid())
            .fetch_optional(identity.pool())
            .await
            .map_err(IdentityError::Database)?
            .ok_or_else(|| Problem::not_signed_in("there is no such account any more"))?;
    let known: Vec<(Vec<u8>,)> = sqlx::query_as("select credential_id from identity.passkeys where user_id = $1")
        .bind(user_id.uuid())
        .fetch_all(identity.pool())
        .await
        .map_err(IdentityError::Database)?;
    if known.len() as i64 >= PASSKEYS_MAX {
        return Err(too_many());
    }
    let challenge = challenges::make(&identity, Purpose::Add(user_id), &client).await?;
    let descriptor = |(id,): &(Vec<u8>,)| json!({ "type": "public-key", "id": URL_SAFE_NO_PAD.encode(id) });
    let mut options = creation_options(&identity, &challenge, user_id.uuid(), &email, &display_name);
    options.public_key["excludeCredentials"] = known.iter().map(descriptor).collect();
    options.public_key["authenticatorSelection"]["residentKey"] = json!("preferred");
    Ok(private(Json(options)))
}

/// Options to make a passkey for `owner` that answers this challenge, which is good for five minutes.
pub(in super::super::super) fn creation_options(
    identity: &Identity,
    challenge: &str,
    owner: Uuid,
    name: &str,
    display_name: &str,
) -> CreationOptions {
    let party = identity.relying_party();
    let algorithm = |number: &i32| json!({ "type": "public-key", "alg": number });
    let public_key = json!({
        "rp": { "id": party.id, "name": "Kinledger" },
        "user": {
            "id": URL_SAFE_NO_PAD.encode(owner.as_bytes()),
            "name": name,
            "displayName": display_name,
        },
        "challenge": challenge,
        "pubKeyCredParams": ALGORITHMS.iter().map(algorithm).collect::<Vec<_>>(),
        "timeout": i64::from(challenges::SECONDS) * 1_000,
        "excludeCredentials": [],
        "authenticatorSelection": { "userVerification": "required" },
        "attestation": "none",
    });
    CreationOptions { public_key }
}

/// `POST /api/v1/auth/factors/passkeys`: the person themself, with a fresh proof.
async fn add(
    State(identity): State<Identity>,
    client: Client,
    signed_in: SignedIn,
    Body(request): Body<NewPasskey>,
) -> Result<Response, Problem> {
    signed_in.require_step_up(identity.verifier().now())?;
    let name = normal_name(&request.name)?;
    let user_id = signed_in.user_id;
    let new = new_passkey(&identity, user_id, &request.credential).await?;
    let new = new.ok_or_else(not_made_here)?;
    let passkey_id = Uuid::new_v4();
    let mut tx = identity.pool().begin().await.map_err(IdentityError::Database)?;
    // Two additions at once come after one another here, so that the bound holds.
    new_way_in::require_in_tx(&mut tx, &identity, &signed_in).await?;
    let (count,): (i64,) = sqlx::query_as("select count(*) from identity.passkeys where user_id = $1")
        .bind(user_id.uuid())
        .fetch_one(&mut *tx)
        .await
        .map_err(IdentityError::Database)?;
    if count >= PASSKEYS_MAX {
        return Err(too_many());
    }
    let stored = sqlx::query(
        "insert into identity.passkeys (passkey_id, user_id, credential_id, public_key, sign_count, name)
         values ($1, $2, $3, $4, $5, $6)
         on conflict on constraint passkeys_credential_id_unique do nothing",
    )
    .bind(passkey_id)
    .bind(user_id.uuid())
    .bind(&new.credential_id)
    .bind(&new.public_key)
    .bind(i64::from(new.sign_count))
    .bind(&name)
    .execute(&mut *tx)
    .await
    .map_err(IdentityError::Database)?;
    if stored.rows_affected() != 1 {
        return Err(Problem::conflict("passkey-known", "this passkey is registered already"));
    }
    let recovery_codes = recovery::make_missing_in_tx(&mut tx, user_id)
        .await
        .map_err(IdentityError::Database)?;
    let event = SecurityEvent::about(Kind::FactorAdded, user_id)
        .in_session(signed_in.session_id)
        .from_address(identity.address_hash(client.address))
        .with("factor", "passkey");
    security_events::record(&mut *tx, event)
        .await
        .map_err(IdentityError::Database)?;
    let notice = Notice::of(&mut *tx, Kind::FactorAdded, user_id, letters::passkey_added())
        .await
        .map_err(IdentityError::Database)?;
    tx.commit().await.map_err(IdentityError::Database)?;
    notice.send(&identity);
    let added = AddedPasskey {
        passkey_id,
        recovery_codes,
    };
    Ok(private((StatusCode::CREATED, Json(added)).into_response()))
}

fn too_many() -> Problem {
    Problem::conflict(
        "too-many-passkeys",
        format!("there are {PASSKEYS_MAX} passkeys already; remove one first"),
    )
}
