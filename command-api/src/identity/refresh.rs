//! A client exchanges its refresh token for fresh tokens.
//!
//! Each refresh token is good for one use. Two users of one token are its owner and a thief, and nobody can tell which is
//! which: the session ends for both, and a letter tells its owner. There are two exceptions, within ten seconds, and both get the same successor again: a lost
//! reply, when the same request, named by its `Idempotency-Key`, is sent again; and two tabs of one browser that wake at one moment,
//! when the session's own device shows its token (`devices`). A thief would have to know that name, or hold the device's token
//! too, which no script can read; and even then the next token is one for both, and the first use of it that comes late ends the
//! session.

use axum::{Json, extract::State, http::HeaderMap, http::StatusCode, response::Response};
use domain::id::UserId;
use schemars::JsonSchema;
use serde::Deserialize;
use service_kit::problem::Problem;
use uuid::Uuid;

use super::{
    Identity, IdentityError,
    account::{letters, notices::Notice},
    address::Client,
    body::Body,
    pairing, private,
    security_events::{self, Kind, SecurityEvent},
    sessions::{self, Proof, RefreshToken, hash_of},
};

/// Longest text that is looked up as a refresh token, in bytes.
pub(super) const TOKEN_BYTES_MAX: usize = 128;
/// The same request may be repeated for so many seconds.
const REPEAT_SECONDS: i32 = 10;
/// Refreshes of one session in an hour; a client needs four.
const REFRESHES_MAX: i64 = 240;

/// A refresh token to exchange. It has no `Debug`: nothing may print it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Refresh {
    /// The newest refresh token of the session.
    #[schemars(length(max = 128))]
    refresh_token: String,
    /// Only for sessions of a paired device: its signature over `kinledger/refresh/1`, a line feed, and the token; in base64url.
    #[schemars(length(max = 200))]
    device_signature: Option<String>,
}

#[derive(sqlx::FromRow)]
struct Found {
    session_id: Uuid,
    user_id: Uuid,
    has_ended: bool,
    is_idle: bool,
    is_used: bool,
    used_with: Option<Vec<u8>>,
    is_just_used: bool,
    own_device_hash: Option<Vec<u8>>,
    #[sqlx(flatten)]
    proof: Proof,
}

/// `POST /api/v1/auth/refresh`: whoever holds the token.
pub(super) async fn refresh(
    State(identity): State<Identity>,
    client: Client,
    headers: HeaderMap,
    Body(request): Body<Refresh>,
) -> Result<Response, Problem> {
    let request_id = request_id(&headers)?;
    let old = request.refresh_token;
    if old.len() > TOKEN_BYTES_MAX {
        return Err(refused());
    }
    // Without the device its token is nothing, and nothing happens to its session. The family is asked before anything is locked.
    if !pairing::may_refresh(&identity, &old, request.device_signature.as_deref()).await? {
        return Err(refused());
    }
    let mut tx = identity.pool().begin().await.map_err(IdentityError::Database)?;
    let found: Option<Found> = sqlx::query_as(
        "select
             session.session_id,
             session.user_id,
             session.revoked_at is not null or session.expires_at <= clock_timestamp() as has_ended,
             token.expires_at <= clock_timestamp() as is_idle,
             token.used_at is not null as is_used,
             token.used_with,
             coalesce(token.used_at > clock_timestamp() - make_interval(secs => $2::int4), false) as is_just_used,
             case when device.token_hash = any($3) then device.token_hash end as own_device_hash,
             floor(extract(epoch from session.proven_at))::bigint as proven_at,
             session.proven_by,
             session.paired_device_id is not null as is_paired
         from identity.refresh_tokens as token
         join identity.sessions as session on session.session_id = token.session_id
         left join identity.devices as device on device.device_id = session.device_id
         where token.token_hash = $1
         for update of token, session",
    )
    .bind(hash_of(&old))
    .bind(REPEAT_SECONDS)
    .bind(&client.device_hashes)
    .fetch_optional(&mut *tx)
    .await
    .map_err(IdentityError::Database)?;
    let found = found.filter(|found| !found.has_ended).ok_or_else(refused)?;
    let user_id = UserId::from_uuid(found.user_id);
    // The device counts before the request's name: two tabs name their requests differently.
    let used_with = match &found.own_device_hash {
        Some(device_hash) => Some(hash_of(&format!("device {}", hex::encode(device_hash)))),
        None => request_id.map(|id| hash_of(&id.to_string())),
    };

    if found.is_used {
        let is_repeated = found.is_just_used
            && used_with
                .as_ref()
                .is_some_and(|hash| found.used_with.as_deref() == Some(hash.as_slice()));
        if !is_repeated {
            let address_hash = identity.address_hash(client.address);
            let notice = end_for_reuse_in_tx(&mut tx, found.session_id, user_id, address_hash)
                .await
                .map_err(IdentityError::Database)?;
            tx.commit().await.map_err(IdentityError::Database)?;
            identity.verifier().revoke(found.session_id);
            notice.send(&identity);
            tracing::warn!(user.id = %user_id, session.id = %found.session_id, "a refresh token was used twice");
            return Err(Problem::new(
                StatusCode::UNAUTHORIZED,
                "refresh-token-reused",
                "this refresh token was used before; the session has ended for safety, sign in again",
            ));
        }
    } else if found.is_idle {
        return Err(refused());
    }

    let successor = RefreshToken::following(&old, used_with, identity.refresh_key());
    if !found.is_used {
        if has_refreshed_too_often(&mut tx, found.session_id)
            .await
            .map_err(IdentityError::Database)?
        {
            return Err(Problem::too_fast(
                60,
                "this session was refreshed too often in the last hour; its access token is good for minutes yet",
            ));
        }
        rotate_in_tx(&mut tx, &old, used_with, &successor, found.session_id)
            .await
            .map_err(IdentityError::Database)?;
    }
    tx.commit().await.map_err(IdentityError::Database)?;
    Ok(private(Json(sessions::tokens(
        &identity,
        user_id,
        found.session_id,
        found.proof,
        successor,
    )?)))
}

/// Each refresh leaves a row for as long as its session.
async fn has_refreshed_too_often(tx: &mut sqlx::PgConnection, session_id: Uuid) -> Result<bool, sqlx::Error> {
    let (refreshed,): (i64,) = sqlx::query_as(
        "select count(*)
         from identity.refresh_tokens
         where session_id = $1 and used_at > clock_timestamp() - interval '1 hour'",
    )
    .bind(session_id)
    .fetch_one(tx)
    .await?;
    Ok(refreshed >= REFRESHES_MAX)
}

async fn rotate_in_tx(
    tx: &mut sqlx::PgConnection,
    old: &str,
    used_with: Option<[u8; 32]>,
    successor: &RefreshToken,
    session_id: Uuid,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update identity.refresh_tokens
         set used_at = clock_timestamp(), used_with = $2
         where token_hash = $1",
    )
    .bind(hash_of(old))
    .bind(used_with)
    .execute(&mut *tx)
    .await?;
    sqlx::query("update identity.sessions set last_used_at = clock_timestamp() where session_id = $1")
        .bind(session_id)
        .execute(&mut *tx)
        .await?;
    sessions::store_in_tx(tx, successor, session_id).await
}

/// A session ends once, so its owner is told once, however often the token comes again.
async fn end_for_reuse_in_tx(
    tx: &mut sqlx::PgConnection,
    session_id: Uuid,
    user_id: UserId,
    address_hash: Option<[u8; 32]>,
) -> Result<Notice, sqlx::Error> {
    sqlx::query(
        "update identity.sessions
         set revoked_at = clock_timestamp(), revoke_reason = 'refresh-token-reused'
         where session_id = $1 and revoked_at is null",
    )
    .bind(session_id)
    .execute(&mut *tx)
    .await?;
    let event = SecurityEvent::about(Kind::RefreshTokenReused, user_id)
        .in_session(session_id)
        .from_address(address_hash);
    security_events::record(&mut *tx, event).await?;
    Notice::of(
        tx,
        Kind::RefreshTokenReused,
        user_id,
        letters::session_ended_for_reuse(),
    )
    .await
}

/// Unknown, over and ended read the same.
fn refused() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "invalid-refresh-token",
        "this refresh token is not valid; sign in again",
    )
}

fn request_id(headers: &HeaderMap) -> Result<Option<Uuid>, Problem> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    value
        .to_str()
        .ok()
        .and_then(|text| Uuid::try_parse(text.trim()).ok())
        .map(Some)
        .ok_or_else(|| Problem::malformed("Idempotency-Key: expected a UUID"))
}
