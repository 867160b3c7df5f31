//! A signed-in person proves once more who they are, before something dangerous.
//!
//! The proof belongs to the session: the access token of the answer carries its time, and so does every one that follows by
//! refreshing. `service_kit::auth` tells how long it counts.

use axum::{Json, Router, extract::State, http::StatusCode, response::Response, routing::post};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use service_kit::{auth::SignedIn, problem::Problem};

use super::{
    Identity, IdentityError,
    address::Client,
    body::Body,
    openapi::{Caller, MALFORMED, NOT_SIGNED_IN, Route, TOO_FAST, TOO_LARGE, schema},
    passwords::{CHARACTERS_MAX, Verdict},
    private,
    security_events::{self, Kind, SecurityEvent},
    sessions::{self, AccessToken},
};

/// A proof. It has no `Debug`: nothing may print it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StepUp {
    /// The account's password.
    #[schemars(length(max = 256))]
    password: String,
}

pub(super) fn routes() -> Router<Identity> {
    Router::new().route("/api/v1/auth/step-up", post(step_up))
}

pub(super) fn paths() -> Vec<Route> {
    vec![Route {
        path: "/api/v1/auth/step-up",
        method: "post",
        operation_id: "step-up",
        summary: "Prove once more who you are",
        description: "Who may call: any signed-in person. What is dangerous asks for a proof of the last ten minutes; the \
            access token of this answer carries one.",
        caller: Caller::SignedIn,
        parameters: json!([]),
        body: Some((schema::<StepUp>(), true)),
        success: (
            200,
            "A fresh access token of the same session.",
            Some(schema::<AccessToken>()),
        ),
        problems: &[
            MALFORMED,
            NOT_SIGNED_IN,
            (403, "The password is wrong."),
            TOO_LARGE,
            TOO_FAST,
        ],
    }]
}

/// `POST /api/v1/auth/step-up`: any signed-in person. Guesses are counted with those of signing in.
async fn step_up(
    State(identity): State<Identity>,
    client: Client,
    signed_in: SignedIn,
    Body(request): Body<StepUp>,
) -> Result<Response, Problem> {
    if request.password.chars().count() > CHARACTERS_MAX {
        return Err(Problem::malformed(format!(
            "password: at most {CHARACTERS_MAX} characters"
        )));
    }
    let (user_id, session_id) = (signed_in.user_id, signed_in.session_id);
    let (email, password_hash): (String, String) =
        sqlx::query_as("select email, password_hash from identity.users where user_id = $1")
            .bind(user_id.uuid())
            .fetch_optional(identity.pool())
            .await
            .map_err(IdentityError::Database)?
            .ok_or_else(ended)?;
    let attempt = identity.throttle().admit(&email, client.address, true)?;
    let verdict = match identity.passwords().verify(request.password, Some(password_hash)).await {
        Ok(verdict) => verdict,
        Err(busy) => {
            attempt.forgiven();
            return Err(busy);
        }
    };
    let is_right = verdict != Verdict::Wrong;
    let kind = if is_right {
        attempt.succeeded();
        Kind::SteppedUp
    } else {
        attempt.failed();
        Kind::StepUpFailed
    };
    let event = SecurityEvent::about(kind, user_id)
        .in_session(session_id)
        .from_address(identity.address_hash(client.address));
    security_events::record(identity.pool(), event)
        .await
        .map_err(IdentityError::Database)?;
    if !is_right {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "wrong-credentials",
            "the password is wrong",
        ));
    }
    let proof = sessions::prove(&identity, session_id, &["pwd"])
        .await
        .map_err(|error| match error {
            sqlx::Error::RowNotFound => ended(),
            error => IdentityError::Database(error).into(),
        })?;
    Ok(private(Json(sessions::access_token(
        &identity, user_id, session_id, proof,
    )?)))
}

fn ended() -> Problem {
    Problem::not_signed_in("the session has ended; sign in again")
}
