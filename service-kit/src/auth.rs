//! The signed-in person, from the access token.
//!
//! Every process verifies tokens by itself, from public keys it holds in memory; only `command-api` can sign. A session that
//! ended is refused at once in the process that ended it, and in every other within [`POLL_SECONDS`] and a round trip: they
//! read the ended sessions from `identity.revoked_sessions`. A token whose key is not known waits until the keys were read again.
//! Ended sessions are remembered for as long as their last
//! access token could live.

mod api_keys;
mod cache;
mod clock;
mod revocations;
mod step_up;
mod unknown_key;
mod verifier;

use std::sync::Arc;

use axum::{
    extract::{FromRef, FromRequestParts},
    http::{HeaderMap, StatusCode, header, request::Parts},
};
use domain::id::UserId;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::problem::Problem;

pub use api_keys::{API_KEY_PREFIX, Scope};
pub use step_up::STEP_UP_SECONDS_MAX;
pub use verifier::{PublicKey, TokenError, TokenVerifier, VerifierError};

/// Who issues access tokens (`iss`).
pub const ISSUER: &str = "kinledger";
/// Whom they are for (`aud`).
pub const AUDIENCE: &str = "kinledger-api";
/// The header's `typ` (RFC 9068). A refresh token is no JWT at all, so neither can pass for the other.
pub const TOKEN_TYPE: &str = "at+jwt";
/// How long an access token lives, in seconds.
pub const ACCESS_TOKEN_SECONDS: i64 = 15 * 60;
/// Clock difference between our own machines that is forgiven, in seconds.
pub const LEEWAY_SECONDS: i64 = 5;
/// How often a process asks which sessions ended and which keys sign, in seconds.
pub const POLL_SECONDS: u64 = 2;
/// No access token of ours is longer, in bytes.
pub const TOKEN_BYTES_MAX: usize = 2_048;

/// What an access token says. All instants are seconds since 1970, UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessClaims {
    /// [`ISSUER`].
    pub iss: String,
    /// [`AUDIENCE`].
    pub aud: String,
    /// The person, as `usr_…`.
    pub sub: String,
    /// The session the token belongs to.
    pub sid: Uuid,
    /// When it was issued.
    pub iat: i64,
    /// From when it counts.
    pub nbf: i64,
    /// Until when it counts.
    pub exp: i64,
    /// The token's own id.
    pub jti: Uuid,
    /// When the person last proved who they are in this session; refreshing is no proof. 0 in tokens of before it was kept.
    #[serde(default)]
    pub auth_time: i64,
    /// By what they proved it (RFC 8176): `pwd`, `otp` …
    #[serde(default)]
    pub amr: Vec<String>,
    /// Whether the session is one of a device that a parent paired. Tokens of before it was said name the method `pin` then.
    #[serde(default)]
    pub paired: bool,
}

/// The signed-in person: an extractor that answers 401 when there is none.
///
/// It says who asks, never what they may do: membership and role come from the family's own state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedIn {
    /// Who signed in.
    pub user_id: UserId,
    /// In which session.
    pub session_id: Uuid,
    /// When they last proved who they are, in seconds since 1970; see [`SignedIn::require_step_up`].
    pub proven_at: i64,
    /// On a device that a parent paired: for the place in the family that the device was paired for, and nothing else.
    pub is_paired: bool,
}

/// How a paired device's PIN is named among the methods of a token (RFC 8176).
const PIN: &str = "pin";

impl SignedIn {
    /// Lets only those on who sign in by themselves, and not by a device that a parent looks after.
    ///
    /// # Errors
    /// 403 `paired-account`.
    pub fn require_own_sign_in(self) -> Result<(), Problem> {
        if !self.is_paired {
            return Ok(());
        }
        Err(Problem::new(
            StatusCode::FORBIDDEN,
            "paired-account",
            "a paired device is for the family that it was paired in; sign in with an account of your own for this",
        ))
    }
}

impl<S> FromRequestParts<S> for SignedIn
where
    S: Send + Sync,
    Arc<TokenVerifier>: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Arc::<TokenVerifier>::from_ref(state).signed_in_by(parts).await
    }
}

impl TokenVerifier {
    /// The person a request's access token names; API keys are taken by the extractor [`SignedIn`] alone, which knows the path.
    ///
    /// The header is `Authorization: Bearer`. Waits when the token's key has to be read first.
    ///
    /// # Errors
    /// 401 when the header is missing, or its token is not one of ours, has expired, or belongs to an ended session. 503 when its
    /// key is not known and the keys cannot be read in time.
    pub async fn signed_in(&self, headers: &HeaderMap) -> Result<SignedIn, Problem> {
        let token = bearer(headers).ok_or_else(|| {
            Problem::not_signed_in("sign in first, and send the access token as `Authorization: Bearer …`")
        })?;
        let verified = match self.verify(token) {
            Err(TokenError::Invalid) if self.may_be_of_a_new_key(token) => {
                let read = self.read_keys().await;
                read.map_err(|_| {
                    Problem::unavailable(1, "the keys of access tokens cannot be read just now; try again")
                })?;
                self.verify(token)
            }
            verified => verified,
        };
        verified.map_err(|refused| Problem::not_signed_in(refused.to_string()))
    }
}

impl TokenVerifier {
    /// Whom a request counts with, as far as that is known without waiting: the person of its token, or an API key by itself,
    /// whether it is one or not. For counting, never for letting in.
    pub fn counted_as(&self, headers: &HeaderMap) -> Option<UserId> {
        let token = bearer(headers)?;
        if token.starts_with(API_KEY_PREFIX) {
            let hash = Sha256::digest(token);
            return Uuid::from_slice(&hash[..16]).ok().map(UserId::from_uuid);
        }
        self.verify(token).ok().map(|signed_in| signed_in.user_id)
    }
}

/// The token of an `Authorization: Bearer` header. Two such headers are none: which of them would count is anybody's guess.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next()?.to_str().ok()?;
    if values.next().is_some() {
        return None;
    }
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim())
        .filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(values: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn the_scheme_is_read_in_any_case() {
        assert_eq!(bearer(&headers(&["bearer abc"])), Some("abc"));
        assert_eq!(bearer(&headers(&["Basic abc"])), None);
        assert_eq!(bearer(&headers(&["Bearer "])), None);
    }

    #[test]
    fn two_authorization_headers_count_as_none() {
        assert_eq!(bearer(&headers(&["Bearer abc", "Bearer def"])), None);
    }
}
