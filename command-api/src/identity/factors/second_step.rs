//! The second step of signing in: a challenge and a factor for a session.

use axum::{Router, extract::State, http::StatusCode, response::Response, routing::post};
use chrono::{DateTime, Utc};
use domain::id::UserId;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use service_kit::problem::Problem;
use uuid::Uuid;

use super::{
    super::{
        Identity, IdentityError,
        address::Client,
        body::Body,
        openapi::{Caller, MALFORMED, Route, TOO_FAST, TOO_LARGE, schema},
        security_events::{self, Kind, SecurityEvent},
        sessions::{PasswordSince, Tokens, hash_of},
    },
    Offered, admission,
    passkeys::{Purpose, RequestOptions, request_options},
    throttle_subject,
};

/// Longest text that is looked up as a challenge, in bytes.
const CHALLENGE_BYTES_MAX: usize = 64;

/// The challenge of the first step, and one factor. It has no `Debug`: nothing may print it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SecondStep {
    /// From the answer `factor-required`.
    #[schemars(length(max = 64))]
    challenge: String,
    /// The factor.
    factor: Offered,
}

/// The challenge of the first step. It has no `Debug`: nothing may print it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FirstStep {
    /// From the answer `factor-required`.
    #[schemars(length(max = 64))]
    challenge: String,
}

struct Pending {
    user_id: UserId,
    proven_by: Vec<String>,
    is_known_here: bool,
    password: PasswordSince,
}

pub(super) fn routes() -> Router<Identity> {
    Router::new()
        .route("/api/v1/auth/login/factor", post(second_step))
        .route("/api/v1/auth/login/factor/options", post(options))
}

pub(super) fn paths() -> Vec<Route> {
    vec![
        Route {
            path: "/api/v1/auth/login/factor/options",
            method: "post",
            operation_id: "login-factor-options",
            summary: "Begin to finish signing in with a passkey",
            description: "Who may call: whoever holds the challenge of a first step, within five minutes.",
            caller: Caller::Anybody,
            parameters: json!([]),
            body: Some((schema::<FirstStep>(), true)),
            success: (200, "Options for the browser.", Some(schema::<RequestOptions>())),
            problems: &[
                MALFORMED,
                (401, "The challenge is unknown, over or used."),
                TOO_LARGE,
                TOO_FAST,
            ],
        },
        Route {
            path: "/api/v1/auth/login/factor",
            method: "post",
            operation_id: "login-factor",
            summary: "Finish signing in with a second factor",
            description: "Who may call: whoever holds the challenge of a first step, within five minutes. A challenge opens one \
            session. After wrong codes the next attempt waits up to ten seconds, and a hundred wrong ones end the day.",
            caller: Caller::Anybody,
            parameters: json!([]),
            body: Some((schema::<SecondStep>(), true)),
            success: (200, "A session.", Some(schema::<Tokens>())),
            problems: &[
                MALFORMED,
                (401, "The challenge is unknown, over or used, or the factor is wrong."),
                TOO_LARGE,
                TOO_FAST,
            ],
        },
    ]
}

/// `POST /api/v1/auth/login/factor/options`: whoever holds a challenge.
async fn options(
    State(identity): State<Identity>,
    client: Client,
    Body(request): Body<FirstStep>,
) -> Result<Response, Problem> {
    let pending = pending(&identity, &request.challenge, &client).await?;
    let user_id = pending.ok_or_else(unknown_challenge)?.user_id;
    request_options(&identity, Purpose::Prove(user_id), &client).await
}

/// `POST /api/v1/auth/login/factor`: whoever holds a challenge.
async fn second_step(
    State(identity): State<Identity>,
    client: Client,
    Body(request): Body<SecondStep>,
) -> Result<Response, Problem> {
    let offer = request
        .factor
        .one()?
        .ok_or_else(|| Problem::malformed("factor: offer one"))?;
    let pending = pending(&identity, &request.challenge, &client).await?;
    let Pending {
        user_id,
        proven_by,
        is_known_here,
        password,
    } = pending.ok_or_else(unknown_challenge)?;
    let attempt = identity
        .throttle()
        .admit_second_step(&throttle_subject(user_id), client.address, is_known_here)?;
    if !offer.holds(&identity, user_id, None).await? {
        attempt.failed();
        let event = SecurityEvent::about(Kind::FactorFailed, user_id)
            .from_address(identity.address_hash(client.address))
            .with("factor", offer.method());
        security_events::record(identity.pool(), event)
            .await
            .map_err(IdentityError::Database)?;
        return Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "wrong-factor",
            "this is not a factor of the account, or was used before",
        ));
    }
    attempt.succeeded();
    let taken = sqlx::query("delete from identity.pending_sign_ins where token_hash = $1")
        .bind(hash_of(&request.challenge))
        .execute(identity.pool())
        .await
        .map_err(IdentityError::Database)?;
    if taken.rows_affected() != 1 {
        return Err(unknown_challenge());
    }
    let mut methods: Vec<&str> = proven_by.iter().map(String::as_str).collect();
    methods.push(offer.method());
    admission::open_since(&identity, user_id, &methods, Some(password), &client)
        .await?
        .ok_or_else(unknown_challenge)
}

async fn pending(identity: &Identity, challenge: &str, client: &Client) -> Result<Option<Pending>, IdentityError> {
    if challenge.len() > CHALLENGE_BYTES_MAX {
        return Ok(None);
    }
    // A new password ends pending sign-ins in the transaction that stores it: what is read here belongs together.
    let row: Option<(Uuid, Vec<String>, bool, DateTime<Utc>)> = sqlx::query_as(
        "select
             pending_sign_ins.user_id,
             proven_by,
             exists (
                 select 1
                 from identity.sessions
                 where sessions.user_id = pending_sign_ins.user_id and sessions.address_hash = $2
             ),
             users.password_changed_at
         from identity.pending_sign_ins
         join identity.users on users.user_id = pending_sign_ins.user_id
         where token_hash = $1 and expires_at > clock_timestamp()",
    )
    .bind(hash_of(challenge))
    .bind(identity.address_hash(client.address))
    .fetch_optional(identity.pool())
    .await?;
    Ok(row.map(|(user_id, proven_by, is_known_here, changed_at)| Pending {
        user_id: UserId::from_uuid(user_id),
        proven_by,
        is_known_here,
        password: PasswordSince(changed_at),
    }))
}

/// Unknown, over and used read the same.
fn unknown_challenge() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "unknown-challenge",
        "this sign-in is over; begin again with the password",
    )
}
