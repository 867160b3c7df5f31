//! Challenges: what an authenticator is to sign, once.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::id::UserId;
use service_kit::problem::Problem;
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use uuid::Uuid;

use super::super::super::{Identity, IdentityError, address::Client};

/// A challenge can be answered for so many seconds.
pub(super) const SECONDS: i32 = 5 * 60;
/// Challenges that one person, or one address before anybody has signed in, may have open.
const OPEN_MAX: i64 = 200;

/// What a challenge is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Purpose {
    /// Adding a passkey to this account.
    Add(UserId),
    /// Signing in; whose it is, the passkey says.
    SignIn,
    /// Proving to be this person: the second step of signing in, and step-up.
    Prove(UserId),
}

impl Purpose {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Add(_) => "add",
            Self::SignIn => "sign-in",
            Self::Prove(_) => "prove",
        }
    }

    fn user_id(self) -> Option<Uuid> {
        match self {
            Self::Add(user_id) | Self::Prove(user_id) => Some(user_id.uuid()),
            Self::SignIn => None,
        }
    }
}

/// A fresh challenge in base64url, as options carry it. One too many ends the oldest of this person or address: refusing it would let
/// a neighbour shut everybody out.
pub(super) async fn make(identity: &Identity, purpose: Purpose, client: &Client) -> Result<String, Problem> {
    let challenge: [u8; 32] = rand::random();
    sqlx::query(
        "with over as (
             delete from identity.passkey_challenges
             where challenge_hash in (
                 select challenge_hash
                 from identity.passkey_challenges
                 where user_id is not distinct from $3
                     and ($3 is not null or address_hash is not distinct from $4)
                 order by expires_at desc
                 offset $6
             )
         )
         insert into identity.passkey_challenges (challenge_hash, purpose, user_id, address_hash, expires_at)
         values ($1, $2, $3, $4, clock_timestamp() + make_interval(secs => $5))",
    )
    .bind(Sha256::digest(challenge).as_slice())
    .bind(purpose.as_str())
    .bind(purpose.user_id())
    .bind(identity.address_hash(client.address))
    .bind(f64::from(SECONDS))
    .bind(OPEN_MAX - 1)
    .execute(identity.pool())
    .await
    .map_err(IdentityError::Database)?;
    Ok(URL_SAFE_NO_PAD.encode(challenge))
}

/// Takes a challenge: true once, for its purpose, in its time.
pub(super) async fn take(pool: &PgPool, purpose: Purpose, challenge: &[u8]) -> Result<bool, sqlx::Error> {
    let taken = sqlx::query(
        "delete from identity.passkey_challenges
         where challenge_hash = $1
             and purpose = $2
             and user_id is not distinct from $3
             and expires_at > clock_timestamp()",
    )
    .bind(Sha256::digest(challenge).as_slice())
    .bind(purpose.as_str())
    .bind(purpose.user_id())
    .execute(pool)
    .await?;
    Ok(taken.rows_affected() == 1)
}
