//! Signing in by a code.

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use domain::id::UserId;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use service_kit::problem::Problem;
use tracing::Instrument;
use uuid::Uuid;

use super::{
    super::{
        Identity, IdentityError,
        address::Client,
        body::Body,
        factors::admission,
        openapi::{Caller, MALFORMED, Route, TOO_FAST, TOO_LARGE, schema},
        private,
        security_events::{self, Kind, SecurityEvent},
        sessions::{Tokens, hash_of},
    },
    METHOD, NO_SMS,
    codes::{self, Answered, Asked, Purpose, Tried, wrong_code},
    number::Number,
};

/// Where a code is to be sent. It has no `Debug`: nothing may print it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Start {
    /// With its country's code, as +49 170 1234567.
    #[schemars(length(max = 40))]
    pub number: String,
}

pub(super) fn routes() -> Router<Identity> {
    Router::new()
        .route("/api/v1/auth/phone/start", post(start))
        .route("/api/v1/auth/phone/finish", post(finish))
}

pub(super) fn paths() -> Vec<Route> {
    vec![
        Route {
            path: "/api/v1/auth/phone/start",
            method: "post",
            operation_id: "start-phone",
            summary: "Ask for a code by text message",
            description: "Who may call: anybody. The answer is the same, and as quick, whether or not an account has the number. Three \
                messages an hour and six a day for a number; ten and thirty for an address.",
            caller: Caller::Anybody,
            parameters: json!([]),
            body: Some((schema::<Start>(), true)),
            success: (
                202,
                "If an account has it, a message is on its way.",
                Some(schema::<Asked>()),
            ),
            problems: &[MALFORMED, TOO_LARGE, NO_SMS, TOO_FAST],
        },
        Route {
            path: "/api/v1/auth/phone/finish",
            method: "post",
            operation_id: "finish-phone",
            summary: "Sign in by the code of a text message",
            description: "Who may call: whoever asked for it, within ten minutes and five tries. The session has no fresh proof: what is \
                dangerous asks for one. Whoever has a second factor is answered 401 `factor-required`, as after a password.",
            caller: Caller::Anybody,
            parameters: json!([]),
            body: Some((schema::<Answered>(), true)),
            success: (200, "A session.", Some(schema::<Tokens>())),
            problems: &[
                MALFORMED,
                (
                    401,
                    "The code is wrong, over or used; or it is right and a second factor is asked for.",
                ),
                TOO_LARGE,
            ],
        },
    ]
}

/// `POST /api/v1/auth/phone/start`: anybody.
async fn start(
    State(identity): State<Identity>,
    client: Client,
    Body(request): Body<Start>,
) -> Result<Response, Problem> {
    let number = Number::parse(&request.number)?;
    let number_hash = identity.phones().hash(&[b"number", number.as_str().as_bytes()]);
    let owner: Option<(Uuid, bool)> = sqlx::query_as(
        "select
             user_id,
             exists (
                 select 1
                 from identity.devices
                 where devices.user_id = phones.user_id and devices.token_hash = any($2)
             )
         from identity.phones
         where number_hash = $1",
    )
    .bind(number_hash)
    .bind(&client.device_hashes)
    .fetch_optional(identity.pool())
    .await
    .map_err(IdentityError::Database)?;
    let is_owners_device = owner.is_some_and(|(_, is_owners)| is_owners);
    let purpose = Purpose::SignIn(owner.map(|(user_id, _)| UserId::from_uuid(user_id)));
    let asked = codes::ask(&identity, &number, purpose, &client, is_owners_device).await?;
    Ok(private((StatusCode::ACCEPTED, Json(asked)).into_response()))
}

/// `POST /api/v1/auth/phone/finish`: whoever asked.
async fn finish(
    State(identity): State<Identity>,
    client: Client,
    Body(request): Body<Answered>,
) -> Result<Response, Problem> {
    let used = match codes::take(&identity, &request, None).await? {
        Tried::Right(used) => used,
        Tried::Wrong { is_first } => {
            if is_first {
                // Once for a code, and not before the answer: whether anybody is told makes it no slower.
                let address_hash = identity.address_hash(client.address);
                tokio::spawn(tell_owner(identity, hash_of(&request.challenge), address_hash).in_current_span());
            }
            return Err(wrong_code(StatusCode::UNAUTHORIZED));
        }
    };
    // Whose it is now: a number that was given up meanwhile signs nobody in.
    let owner: Option<(Uuid,)> = sqlx::query_as("select user_id from identity.phones where number_hash = $1")
        .bind(&used.number_hash)
        .fetch_optional(identity.pool())
        .await
        .map_err(IdentityError::Database)?;
    let Some((user_id,)) = owner else {
        return Err(wrong_code(StatusCode::UNAUTHORIZED));
    };
    let user_id = UserId::from_uuid(user_id);
    admission::admit(&identity, user_id, &[METHOD], None, &client).await
}

/// Somebody guesses at a code of an account: its owner will read of it.
async fn tell_owner(identity: Identity, challenge_hash: [u8; 32], address_hash: Option<[u8; 32]>) {
    let told = async {
        let owner: Option<(Uuid,)> = sqlx::query_as(
            "select phones.user_id
             from identity.phone_codes
             join identity.phones on phones.number_hash = phone_codes.number_hash
             where challenge_hash = $1 and adds_to is null",
        )
        .bind(challenge_hash)
        .fetch_optional(identity.pool())
        .await?;
        if let Some((user_id,)) = owner {
            let event = SecurityEvent::about(Kind::SignInFailed, UserId::from_uuid(user_id))
                .from_address(address_hash)
                .with("factor", METHOD);
            security_events::record(identity.pool(), event).await?;
        }
        Ok::<_, sqlx::Error>(())
    };
    if let Err(error) = told.await {
        tracing::warn!(error = %error, "a wrong code is not in its owner's trail");
    }
}
