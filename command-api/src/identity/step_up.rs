//! A signed-in person proves once more who they are, before something dangerous.
//!
//! The proof belongs to the session: the access token of the answer carries its time, and so does every one that follows by
//! refreshing. `service_kit::auth` tells how long it counts. Whoever has a second factor proves by that: the password alone does
//! not do then, for it may be what was stolen.

use axum::{Json, Router, extract::State, http::StatusCode, response::Response, routing::post};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use service_kit::{auth::SignedIn, problem::Problem};

use super::{
    Identity, IdentityError,
    address::Client,
    body::Body,
    factors::{self, Offered},
    guesses::Guesser,
    openapi::{Caller, MALFORMED, NOT_SIGNED_IN, Route, TOO_FAST, TOO_LARGE, schema},
    passwords::{CHARACTERS_MAX, Verdict},
    private,
    queue::Visitor,
    security_events::{self, Kind, SecurityEvent},
    sessions::{self, AccessToken},
};

/// A proof: the password, or a second factor. It has no `Debug`: nothing may print it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StepUp {
    /// The account's password; it does for who has no second factor.
    #[schemars(length(max = 256))]
    pub password: Option<String>,
    /// A second factor.
    pub factor: Option<Offered>,
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
            access token of this answer carries one. Where there is a second factor, one of those is asked for.",
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
            (403, "The password or the factor is wrong, or a factor is asked for."),
            TOO_LARGE,
            TOO_FAST,
        ],
    }]
}

/// `POST /api/v1/auth/step-up`: any signed-in person. Guesses are counted for their session, apart from those of signing in.
async fn step_up(
    State(identity): State<Identity>,
    client: Client,
    signed_in: SignedIn,
    Body(request): Body<StepUp>,
) -> Result<Response, Problem> {
    let method = proven(&identity, &client, &signed_in, request).await?;
    let (user_id, session_id) = (signed_in.user_id, signed_in.session_id);
    let proof = sessions::prove(&identity, session_id, &[method])
        .await
        .map_err(|error| match error {
            sqlx::Error::RowNotFound => ended(),
            error => IdentityError::Database(error).into(),
        })?;
    Ok(private(Json(sessions::access_token(
        &identity, user_id, session_id, proof,
    )?)))
}

/// Looks at a proof of who asks, and writes down what came of it; the method by which it holds.
pub(super) async fn proven(
    identity: &Identity,
    client: &Client,
    signed_in: &SignedIn,
    request: StepUp,
) -> Result<&'static str, Problem> {
    let (user_id, session_id) = (signed_in.user_id, signed_in.session_id);
    let offer = request.factor.map(Offered::one).transpose()?.flatten();
    let (is_right, method) = match (request.password, offer) {
        (Some(password), None) => {
            factors::refuse_password_alone(identity.pool(), user_id).await?;
            (password_is_right(identity, signed_in, password, client).await?, "pwd")
        }
        (None, Some(offer)) => {
            let subject = factors::throttle_subject(user_id);
            let attempt = identity.throttle().admit_session(&subject, session_id)?;
            let is_right = match offer.holds(identity, user_id, Some(session_id)).await {
                Ok(is_right) => is_right,
                Err(problem) => {
                    attempt.forgiven();
                    return Err(problem);
                }
            };
            if is_right {
                attempt.succeeded();
            } else {
                attempt.failed();
            }
            (is_right, offer.method())
        }
        _ => {
            return Err(Problem::malformed(
                "prove it by the password or by a factor, one of them",
            ));
        }
    };
    let kind = if is_right { Kind::SteppedUp } else { Kind::StepUpFailed };
    let event = SecurityEvent::about(kind, user_id)
        .in_session(session_id)
        .from_address(identity.address_hash(client.address))
        .with("method", method);
    security_events::record(identity.pool(), event)
        .await
        .map_err(IdentityError::Database)?;
    if !is_right {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "wrong-credentials",
            "the password or the factor is wrong",
        ));
    }
    Ok(method)
}

async fn password_is_right(
    identity: &Identity,
    signed_in: &SignedIn,
    password: String,
    client: &Client,
) -> Result<bool, Problem> {
    if password.chars().count() > CHARACTERS_MAX {
        return Err(Problem::malformed(format!(
            "password: at most {CHARACTERS_MAX} characters"
        )));
    }
    let user_id = signed_in.user_id;
    let (email, password_hash): (Option<String>, Option<String>) =
        sqlx::query_as("select email, password_hash from identity.users where user_id = $1")
            .bind(user_id.uuid())
            .fetch_optional(identity.pool())
            .await
            .map_err(IdentityError::Database)?
            .ok_or_else(ended)?;
    // Who has no password has none that is right, and it takes as long to say so.
    let subject = email.unwrap_or_else(|| user_id.to_string());
    let attempt = identity.throttle().admit_session(&subject, signed_in.session_id)?;
    let guesser = Guesser::Session(signed_in.session_id);
    let guess = match identity.guesses().count(&subject, guesser).await {
        Ok(guess) => guess,
        Err(problem) => {
            attempt.forgiven();
            return Err(problem);
        }
    };
    let verdict = match identity
        .passwords()
        .verify(password, password_hash, Visitor::let_in_before(client.address))
        .await
    {
        Ok(verdict) => verdict,
        Err(busy) => {
            attempt.forgiven();
            guess.take_back().await;
            return Err(busy);
        }
    };
    let is_right = verdict != Verdict::Wrong;
    if is_right {
        attempt.succeeded();
        guess.take_back().await;
    } else {
        attempt.failed();
    }
    Ok(is_right)
}

fn ended() -> Problem {
    Problem::not_signed_in("the session has ended; sign in again")
}
