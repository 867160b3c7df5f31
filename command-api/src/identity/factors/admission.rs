//! The end of every sign-in's first step: a session, or a challenge to go on with.

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::id::UserId;
use service_kit::problem::Problem;

use super::{
    super::{
        Identity, IdentityError,
        address::Client,
        private,
        security_events::{self, Kind, SecurityEvent},
        sessions::{self, PasswordSince, hash_of},
        sign_in::wrong_credentials,
    },
    FactorKind, factor_required, kinds_of,
};

/// A challenge can be answered for so many seconds.
const CHALLENGE_SECONDS: i32 = 5 * 60;
/// Challenges of one person that are open at once; one more ends the oldest.
const CHALLENGES_MAX: i64 = 10;
/// What a challenge begins with: it is no access token, and whoever finds one can tell.
const CHALLENGE_PREFIX: &str = "klf_";

/// Lets somebody in who has taken the first step of signing in by these methods: opens their session, or asks for the second
/// factor when they have one. `password` is what was compared, for who came by one.
///
/// # Errors
/// 401 as for a wrong password when another was chosen since it was compared.
pub(in super::super) async fn admit(
    identity: &Identity,
    user_id: UserId,
    proven_by: &[&str],
    password: Option<PasswordSince>,
    client: &Client,
) -> Result<Response, Problem> {
    let kinds = kinds_of(identity.pool(), user_id)
        .await
        .map_err(IdentityError::Database)?;
    let admitted = if kinds.is_empty() {
        open_since(identity, user_id, proven_by, password, client).await?
    } else {
        challenge(identity, user_id, proven_by, &kinds, password)
            .await?
            .map(private)
    };
    admitted.ok_or_else(wrong_credentials)
}

/// Opens the session of somebody who has proven enough; none when another password was chosen since they began.
pub(in super::super) async fn open_since(
    identity: &Identity,
    user_id: UserId,
    proven_by: &[&str],
    password: Option<PasswordSince>,
    client: &Client,
) -> Result<Option<Response>, Problem> {
    let Some(tokens) = sessions::open_since(identity, user_id, proven_by, password, client).await? else {
        return Ok(None);
    };
    let event = SecurityEvent::about(Kind::SignedIn, user_id)
        .from_address(identity.address_hash(client.address))
        .with("device", client.device.as_str())
        .with("methods", proven_by);
    security_events::record(identity.pool(), event)
        .await
        .map_err(IdentityError::Database)?;
    Ok(Some(sessions::handed_over(identity, StatusCode::OK, tokens)))
}

async fn challenge(
    identity: &Identity,
    user_id: UserId,
    proven_by: &[&str],
    kinds: &[FactorKind],
    password: Option<PasswordSince>,
) -> Result<Option<Response>, IdentityError> {
    let token = format!(
        "{CHALLENGE_PREFIX}{}",
        URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
    );
    let mut tx = identity.pool().begin().await?;
    if let Some(password) = password
        && !password.holds_in_tx(&mut tx, user_id).await?
    {
        return Ok(None);
    }
    sqlx::query(
        "delete from identity.pending_sign_ins
         where user_id = $1 and token_hash not in (
             select token_hash
             from identity.pending_sign_ins
             where user_id = $1 and expires_at > clock_timestamp()
             order by created_at desc
             limit $2
         )",
    )
    .bind(user_id.uuid())
    .bind(CHALLENGES_MAX - 1)
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "insert into identity.pending_sign_ins (token_hash, user_id, proven_by, expires_at)
         values ($1, $2, $3, clock_timestamp() + make_interval(secs => $4))",
    )
    .bind(hash_of(&token))
    .bind(user_id.uuid())
    .bind(proven_by)
    .bind(f64::from(CHALLENGE_SECONDS))
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    let problem = factor_required(StatusCode::UNAUTHORIZED, kinds)
        .with("challenge", token)
        .with("expires_in", CHALLENGE_SECONDS);
    Ok(Some(problem.into_response()))
}
