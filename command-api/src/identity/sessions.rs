//! Sessions and their tokens.
//!
//! A session is one sign-in on one device. It lives 60 days at most, and ends earlier when it is not refreshed for 14 days, when
//! somebody signs out, or when one of its refresh tokens is used twice. Its refresh tokens follow each other, each good for one
//! use; what is stored is their SHA-256.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use domain::id::UserId;
use schemars::JsonSchema;
use serde::Serialize;
use service_kit::auth::{ACCESS_TOKEN_SECONDS, AUDIENCE, AccessClaims, ISSUER};
use sha2::{Digest, Sha256};
use sqlx::{PgConnection, Postgres, Transaction};
use uuid::Uuid;

use super::{Identity, IdentityError, address::Client, devices, phone, private, secret::keyed_hash};

/// A session lives so many days, however often it is refreshed.
const SESSION_DAYS_MAX: i32 = 60;
/// A refresh token lies unused for so many days at most.
const IDLE_DAYS_MAX: i32 = 14;
/// One person is signed in on so many devices at most; one more ends the session that was used least lately.
const SESSIONS_MAX: i64 = 100;
/// What a refresh token begins with, so that one that leaked into a file can be found.
const REFRESH_PREFIX: &str = "klr_";

/// What a client keeps after signing in. It has no `Debug`: nothing may print it.
#[derive(Serialize, JsonSchema)]
pub(super) struct Tokens {
    /// Who signed in.
    pub user_id: UserId,
    /// Sent as `Authorization: Bearer …` with every request.
    pub access_token: String,
    /// Always `Bearer`.
    pub token_type: &'static str,
    /// Seconds until the access token expires.
    pub expires_in: i64,
    /// Good for one refresh, within 14 days. Keep it where only this device can read it.
    pub refresh_token: String,
    /// Only when this device is new: sent as `Kinledger-Device` with every sign-in and refresh from now on. It opens nothing by
    /// itself. Browsers get it as a cookie too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_token: Option<String>,
}

/// The answer that hands tokens over.
pub(super) fn handed_over(identity: &Identity, status: StatusCode, tokens: Tokens) -> Response {
    let cookie = devices::set_cookie(identity, &tokens);
    with_device(private((status, Json(tokens))), cookie)
}

/// An answer that lets a browser keep the token of its device, where there is a new one.
pub(super) fn with_device(mut response: Response, cookie: Option<HeaderValue>) -> Response {
    if let Some(cookie) = cookie {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

/// A refresh token in clear, on its way to its owner.
pub(super) struct RefreshToken(pub String);

impl RefreshToken {
    fn random() -> Self {
        Self::from_bytes(rand::random())
    }

    /// The one token that follows `old` for whoever is named by `used_with`: asked again, the same one. Nobody without the
    /// installation's secret can compute it, not even with the old token in hand.
    pub fn following(old: &str, used_with: Option<[u8; 32]>, key: &[u8; 32]) -> Self {
        match used_with {
            Some(used_with) => Self::from_bytes(keyed_hash(key, &[old.as_bytes(), &used_with])),
            None => Self::random(),
        }
    }

    fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(format!("{REFRESH_PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)))
    }

    pub fn hash(&self) -> [u8; 32] {
        hash_of(&self.0)
    }
}

/// What is stored of a token or code.
pub(super) fn hash_of(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// When the person of a session last proved who they are, and by what.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct Proof {
    /// Seconds since 1970.
    pub proven_at: i64,
    /// Methods as RFC 8176 names them: `pwd`, `otp` …
    pub proven_by: Vec<String>,
    /// On a device that a parent paired.
    pub is_paired: bool,
}

/// An access token without a successor of the refresh token. It has no `Debug`: nothing may print it.
#[derive(Serialize, JsonSchema)]
pub(super) struct AccessToken {
    /// Sent as `Authorization: Bearer …` with every request.
    pub access_token: String,
    /// Always `Bearer`.
    pub token_type: &'static str,
    /// Seconds until the access token expires.
    pub expires_in: i64,
}

/// Since when the password has been in force that somebody was compared with, or that their account had when they proved who they
/// are. Hashing the same password with other parameters leaves it as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PasswordSince(pub DateTime<Utc>);

impl PasswordSince {
    /// Whether no other password was chosen meanwhile, and none can be before the transaction is over.
    pub async fn holds_in_tx(self, tx: &mut PgConnection, user_id: UserId) -> Result<bool, sqlx::Error> {
        let held =
            sqlx::query("select 1 from identity.users where user_id = $1 and password_changed_at = $2 for share")
                .bind(user_id.uuid())
                .bind(self.0)
                .fetch_optional(tx)
                .await?;
        Ok(held.is_some())
    }
}

/// Opens a session for somebody whose account was made just now.
pub(super) async fn open(
    identity: &Identity,
    user_id: UserId,
    proven_by: &[&str],
    client: &Client,
) -> Result<Tokens, IdentityError> {
    let opened = open_since(identity, user_id, proven_by, None, client).await?;
    opened.ok_or(IdentityError::Database(sqlx::Error::RowNotFound))
}

/// Opens a session for somebody who has just proven who they are, by these methods. The code of a text message alone proves too
/// little for anything dangerous. A sign-in that was under way when the account was closed opens nothing, nor when another password
/// was chosen than the one it began with.
pub(super) async fn open_since(
    identity: &Identity,
    user_id: UserId,
    proven_by: &[&str],
    password: Option<PasswordSince>,
    client: &Client,
) -> Result<Option<Tokens>, IdentityError> {
    let mut tx = identity.pool().begin().await?;
    if let Some(password) = password
        && !password.holds_in_tx(&mut tx, user_id).await?
    {
        return Ok(None);
    }
    // Closing waits for this, or is seen here.
    let account = sqlx::query("select 1 from identity.users where user_id = $1 and closed_at is null for key share")
        .bind(user_id.uuid())
        .fetch_optional(&mut *tx)
        .await?;
    if account.is_none() {
        return Ok(None);
    }
    open_in(tx, identity, user_id, proven_by, client).await.map(Some)
}

async fn open_in(
    mut tx: Transaction<'_, Postgres>,
    identity: &Identity,
    user_id: UserId,
    proven_by: &[&str],
    client: &Client,
) -> Result<Tokens, IdentityError> {
    let session_id = Uuid::new_v4();
    let address_hash = identity.address_hash(client.address);
    let device = devices::open_in_tx(&mut tx, user_id, client, session_id, address_hash).await?;
    let proof: Proof = sqlx::query_as(
        "insert into identity.sessions
             (session_id, user_id, device, address_hash, expires_at, proven_by, device_id, proven_at)
         values
             ($1, $2, $3, $4, clock_timestamp() + make_interval(days => $5), $6, $7,
              case when $8 then clock_timestamp() else to_timestamp(0) end)
         returning
             floor(extract(epoch from proven_at))::bigint as proven_at,
             proven_by,
             paired_device_id is not null as is_paired",
    )
    .bind(session_id)
    .bind(user_id.uuid())
    .bind(&client.device)
    .bind(address_hash)
    .bind(SESSION_DAYS_MAX)
    .bind(proven_by)
    .bind(device.device_id)
    .bind(proven_by != [phone::METHOD])
    .fetch_one(&mut *tx)
    .await?;
    let refresh_token = RefreshToken::random();
    store_in_tx(&mut tx, &refresh_token, session_id).await?;
    let ended: Vec<(Uuid,)> = sqlx::query_as(
        "update identity.sessions
         set revoked_at = clock_timestamp(), revoke_reason = 'too-many-sessions'
         where session_id in (
             select session_id
             from identity.sessions
             where user_id = $1 and revoked_at is null and session_id <> $2
             order by last_used_at desc
             offset $3
         )
         returning session_id",
    )
    .bind(user_id.uuid())
    .bind(session_id)
    .bind(SESSIONS_MAX - 1)
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    for (session_id,) in ended {
        identity.verifier().revoke(session_id);
    }
    if let Some(email) = device.tell {
        identity.postbox().post(&email, devices::notice());
    }
    Ok(Tokens {
        device_token: device.token,
        ..tokens(identity, user_id, session_id, proof, refresh_token)?
    })
}

/// The person of a session has proven once more who they are, by these methods.
///
/// # Errors
/// When the session has ended meanwhile, `sqlx::Error::RowNotFound`.
pub(super) async fn prove(identity: &Identity, session_id: Uuid, proven_by: &[&str]) -> Result<Proof, sqlx::Error> {
    sqlx::query_as(
        "update identity.sessions
         set proven_at = clock_timestamp(), proven_by = $2
         where session_id = $1 and revoked_at is null and expires_at > clock_timestamp()
         returning
             floor(extract(epoch from proven_at))::bigint as proven_at,
             proven_by,
             paired_device_id is not null as is_paired",
    )
    .bind(session_id)
    .bind(proven_by)
    .fetch_one(identity.pool())
    .await
}

/// Ends a person's sessions, all but one perhaps. The caller tells the verifier which, once that is committed.
pub(super) async fn end_all_in_tx(
    tx: &mut PgConnection,
    user_id: UserId,
    except: Option<Uuid>,
    reason: &str,
) -> Result<Vec<Uuid>, sqlx::Error> {
    let ended: Vec<(Uuid,)> = sqlx::query_as(
        "update identity.sessions
         set revoked_at = clock_timestamp(), revoke_reason = $3
         where user_id = $1 and revoked_at is null and session_id is distinct from $2
         returning session_id",
    )
    .bind(user_id.uuid())
    .bind(except)
    .bind(reason)
    .fetch_all(tx)
    .await?;
    Ok(ended.into_iter().map(|(session_id,)| session_id).collect())
}

/// Stores a refresh token's hash.
pub(super) async fn store_in_tx(
    tx: &mut PgConnection,
    token: &RefreshToken,
    session_id: Uuid,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into identity.refresh_tokens (token_hash, session_id, expires_at)
         select $1, session_id, least(expires_at, clock_timestamp() + make_interval(days => $3))
         from identity.sessions
         where session_id = $2",
    )
    .bind(token.hash())
    .bind(session_id)
    .bind(IDLE_DAYS_MAX)
    .execute(tx)
    .await?;
    Ok(())
}

/// A fresh access token beside a refresh token.
pub(super) fn tokens(
    identity: &Identity,
    user_id: UserId,
    session_id: Uuid,
    proof: Proof,
    refresh_token: RefreshToken,
) -> Result<Tokens, IdentityError> {
    let AccessToken {
        access_token,
        token_type,
        expires_in,
    } = access_token(identity, user_id, session_id, proof)?;
    Ok(Tokens {
        user_id,
        access_token,
        token_type,
        expires_in,
        refresh_token: refresh_token.0,
        device_token: None,
    })
}

/// A fresh access token of a session.
pub(super) fn access_token(
    identity: &Identity,
    user_id: UserId,
    session_id: Uuid,
    proof: Proof,
) -> Result<AccessToken, IdentityError> {
    let now = identity.verifier().now();
    let claims = AccessClaims {
        iss: ISSUER.to_owned(),
        aud: AUDIENCE.to_owned(),
        sub: user_id.to_string(),
        sid: session_id,
        iat: now,
        nbf: now,
        exp: now + ACCESS_TOKEN_SECONDS,
        jti: Uuid::new_v4(),
        auth_time: proof.proven_at,
        amr: proof.proven_by,
        paired: proof.is_paired,
    };
    Ok(AccessToken {
        access_token: identity.keys().sign(&claims)?,
        token_type: "Bearer",
        expires_in: ACCESS_TOKEN_SECONDS,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_request_gets_the_same_successor_and_any_other_another() {
        let old = RefreshToken::random();
        let request = [1; 32];
        let successor = RefreshToken::following(&old.0, Some(request), &[1; 32]);
        assert_eq!(successor.0, RefreshToken::following(&old.0, Some(request), &[1; 32]).0);
        assert_ne!(successor.0, RefreshToken::following(&old.0, Some([2; 32]), &[1; 32]).0);
        assert_ne!(successor.0, RefreshToken::following(&old.0, Some(request), &[2; 32]).0);
        assert_ne!(
            RefreshToken::following(&old.0, None, &[1; 32]).0,
            RefreshToken::following(&old.0, None, &[1; 32]).0
        );
    }
}
