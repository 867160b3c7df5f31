//! Signing in by a passkey alone, and the options for it, for the second step and for step-up.
//!
//! A passkey is two factors in one: the device, and the PIN or body it verified. So no second one is asked for.

use axum::{Json, Router, extract::State, http::StatusCode, response::Response, routing::post};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use service_kit::{auth::SignedIn, problem::Problem};

use super::{
    super::{
        super::{
            Identity, IdentityError,
            address::Client,
            body::Body,
            openapi::{Caller, MALFORMED, NOT_SIGNED_IN, Route, TOO_FAST, TOO_LARGE, schema},
            private,
            sessions::{PasswordSince, Tokens},
        },
        PASSKEY_METHOD, admission,
    },
    ceremony::{Assertion, use_assertion},
    challenges::{self, Purpose},
};

/// What `navigator.credentials.get` takes, after `PublicKeyCredential.parseRequestOptionsFromJSON`.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in super::super) struct RequestOptions {
    /// `PublicKeyCredentialRequestOptionsJSON` of Web Authentication, level 3.
    public_key: Value,
}

/// An assertion. It has no `Debug`: nothing may print it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SignInByPasskey {
    /// `PublicKeyCredential.toJSON()`.
    credential: Assertion,
}

pub(super) fn routes() -> Router<Identity> {
    Router::new()
        .route("/api/v1/auth/login/passkey/options", post(sign_in_options))
        .route("/api/v1/auth/login/passkey", post(sign_in))
        .route("/api/v1/auth/step-up/options", post(step_up_options))
}

pub(super) fn paths() -> Vec<Route> {
    vec![
        Route {
            path: "/api/v1/auth/login/passkey/options",
            method: "post",
            operation_id: "login-passkey-options",
            summary: "Begin to sign in by a passkey",
            description: "Who may call: anybody. The device finds the passkey; the answer tells nothing of any account.",
            caller: Caller::Anybody,
            parameters: json!([]),
            body: None,
            success: (200, "Options for the browser.", Some(schema::<RequestOptions>())),
            problems: &[TOO_FAST],
        },
        Route {
            path: "/api/v1/auth/login/passkey",
            method: "post",
            operation_id: "login-passkey",
            summary: "Sign in by a passkey",
            description: "Who may call: anybody who has one. No second factor is asked for: the device has verified its user.",
            caller: Caller::Anybody,
            parameters: json!([]),
            body: Some((schema::<SignInByPasskey>(), true)),
            success: (200, "A session.", Some(schema::<Tokens>())),
            problems: &[
                MALFORMED,
                (401, "The passkey is unknown, or its answer does not fit the challenge."),
                TOO_LARGE,
                TOO_FAST,
            ],
        },
        Route {
            path: "/api/v1/auth/step-up/options",
            method: "post",
            operation_id: "step-up-options",
            summary: "Begin to prove by a passkey who you are",
            description: "Who may call: any signed-in person, about themself.",
            caller: Caller::SignedIn,
            parameters: json!([]),
            body: None,
            success: (200, "Options for the browser.", Some(schema::<RequestOptions>())),
            problems: &[NOT_SIGNED_IN, TOO_FAST],
        },
    ]
}

/// `POST /api/v1/auth/login/passkey/options`: anybody.
async fn sign_in_options(State(identity): State<Identity>, client: Client) -> Result<Response, Problem> {
    request_options(&identity, Purpose::SignIn, &client).await
}

/// `POST /api/v1/auth/step-up/options`: the person themself.
async fn step_up_options(
    State(identity): State<Identity>,
    client: Client,
    signed_in: SignedIn,
) -> Result<Response, Problem> {
    request_options(&identity, Purpose::Prove(signed_in.user_id), &client).await
}

/// `POST /api/v1/auth/login/passkey`: anybody who has one.
async fn sign_in(
    State(identity): State<Identity>,
    client: Client,
    Body(request): Body<SignInByPasskey>,
) -> Result<Response, Problem> {
    // A signature is not guessed, so nobody waits: else one device in a house could keep the others from their passkeys.
    let user_id = use_assertion(&identity, Purpose::SignIn, &request.credential)
        .await?
        .ok_or_else(wrong_passkey)?;
    // A reset may take passkeys away; it stores another password in the same transaction, and then this opens nothing.
    let still_there: Option<(DateTime<Utc>,)> = sqlx::query_as(
        "select password_changed_at
         from identity.users
         where user_id = $1 and exists (select 1 from identity.passkeys where user_id = $1)",
    )
    .bind(user_id.uuid())
    .fetch_optional(identity.pool())
    .await
    .map_err(IdentityError::Database)?;
    let (changed_at,) = still_there.ok_or_else(wrong_passkey)?;
    let password = Some(PasswordSince(changed_at));
    admission::open_since(&identity, user_id, &[PASSKEY_METHOD], password, &client)
        .await?
        .ok_or_else(wrong_passkey)
}

fn wrong_passkey() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "wrong-passkey",
        "this passkey does not sign in here; begin again",
    )
}

/// Options with a fresh challenge; for a known person they name their passkeys, since not every key is found by the device.
pub(in super::super) async fn request_options(
    identity: &Identity,
    purpose: Purpose,
    client: &Client,
) -> Result<Response, Problem> {
    let known: Vec<(Vec<u8>,)> = match purpose {
        Purpose::SignIn => Vec::new(),
        Purpose::Add(user_id) | Purpose::Prove(user_id) => {
            sqlx::query_as("select credential_id from identity.passkeys where user_id = $1")
                .bind(user_id.uuid())
                .fetch_all(identity.pool())
                .await
                .map_err(IdentityError::Database)?
        }
    };
    let challenge = challenges::make(identity, purpose, client).await?;
    let descriptor = |(id,): &(Vec<u8>,)| json!({ "type": "public-key", "id": URL_SAFE_NO_PAD.encode(id) });
    let public_key = json!({
        "challenge": challenge,
        "rpId": identity.relying_party().id,
        "timeout": i64::from(challenges::SECONDS) * 1_000,
        "userVerification": "required",
        "allowCredentials": known.iter().map(descriptor).collect::<Vec<_>>(),
    });
    Ok(private(Json(RequestOptions { public_key })))
}
