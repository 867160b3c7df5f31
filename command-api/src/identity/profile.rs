//! What a signed-in person sees of their own account.

use axum::{Json, extract::State, response::Response};
use chrono::{DateTime, Utc};
use domain::id::UserId;
use schemars::JsonSchema;
use serde::Serialize;
use service_kit::{auth::SignedIn, problem::Problem};
use uuid::Uuid;

use super::{Identity, IdentityError, private};

/// The account.
#[derive(Serialize, JsonSchema)]
pub(super) struct Profile {
    /// Who this is.
    user_id: UserId,
    /// How they sign in; absent for who signs in by a paired device.
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    /// How they are called.
    display_name: String,
    /// When the account was made (UTC).
    created_at: DateTime<Utc>,
    /// The session that asks.
    session_id: Uuid,
}

/// `GET /api/v1/auth/profile`: the person themself.
pub(super) async fn profile(State(identity): State<Identity>, signed_in: SignedIn) -> Result<Response, Problem> {
    let row: Option<(Option<String>, String, DateTime<Utc>)> =
        sqlx::query_as("select email, display_name, created_at from identity.users where user_id = $1")
            .bind(signed_in.user_id.uuid())
            .fetch_optional(identity.pool())
            .await
            .map_err(IdentityError::Database)?;
    let (email, display_name, created_at) =
        row.ok_or_else(|| Problem::not_signed_in("there is no such account any more"))?;
    let (user_id, session_id) = (signed_in.user_id, signed_in.session_id);
    Ok(private(Json(Profile {
        user_id,
        email,
        display_name,
        created_at,
        session_id,
    })))
}
