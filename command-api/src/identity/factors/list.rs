//! What a person sees of their own factors.

use axum::{Json, Router, extract::State, response::Response, routing::get};
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use service_kit::{auth::SignedIn, problem::Problem};
use uuid::Uuid;

use super::super::{
    Identity, IdentityError,
    openapi::{Caller, NOT_SIGNED_IN, Route, schema},
    private,
};

/// The factors of an account, besides its password.
#[derive(Serialize, JsonSchema)]
struct Factors {
    /// Since when an authenticator app counts (UTC); absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    totp_since: Option<DateTime<Utc>>,
    /// Its passkeys, the oldest first.
    passkeys: Vec<Passkey>,
    /// Recovery codes that are not used yet.
    recovery_codes_left: i64,
}

/// A passkey.
#[derive(Serialize, JsonSchema, sqlx::FromRow)]
struct Passkey {
    /// Its id here.
    passkey_id: Uuid,
    /// What its owner calls it.
    name: String,
    /// When it was added (UTC).
    created_at: DateTime<Utc>,
    /// When it was used last (UTC).
    last_used_at: Option<DateTime<Utc>>,
}

pub(super) fn routes() -> Router<Identity> {
    Router::new().route("/api/v1/auth/factors", get(list))
}

pub(super) fn paths() -> Vec<Route> {
    vec![Route {
        path: "/api/v1/auth/factors",
        method: "get",
        operation_id: "list-factors",
        summary: "One's own factors",
        description: "Who may call: any signed-in person, about themself.",
        caller: Caller::SignedIn,
        parameters: json!([]),
        body: None,
        success: (200, "The factors.", Some(schema::<Factors>())),
        problems: &[NOT_SIGNED_IN],
    }]
}

/// `GET /api/v1/auth/factors`: the person themself.
async fn list(State(identity): State<Identity>, signed_in: SignedIn) -> Result<Response, Problem> {
    let (totp_since, recovery_codes_left): (Option<DateTime<Utc>>, i64) = sqlx::query_as(
        "select
             (select confirmed_at from identity.totp_factors where user_id = $1),
             (select count(*) from identity.recovery_codes where user_id = $1 and used_at is null)",
    )
    .bind(signed_in.user_id.uuid())
    .fetch_one(identity.pool())
    .await
    .map_err(IdentityError::Database)?;
    let passkeys: Vec<Passkey> = sqlx::query_as(
        "select passkey_id, name, created_at, last_used_at
         from identity.passkeys
         where user_id = $1
         order by created_at, passkey_id",
    )
    .bind(signed_in.user_id.uuid())
    .fetch_all(identity.pool())
    .await
    .map_err(IdentityError::Database)?;
    Ok(private(Json(Factors {
        totp_since,
        passkeys,
        recovery_codes_left,
    })))
}
