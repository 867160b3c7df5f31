//! The tokens that mails carry.

use std::time::Duration;

use axum::http::StatusCode;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::id::UserId;
use service_kit::problem::Problem;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::super::{IdentityError, sessions::hash_of};

/// What a token begins with, so that one that leaked into a file can be found.
const TOKEN_PREFIX: &str = "klm_";
/// Longest text that is looked up as a token, in bytes.
const TOKEN_BYTES_MAX: usize = 128;
/// Tokens of one kind for one person within an hour, at most: nobody's mailbox is filled by asking again and again.
const TOKENS_PER_HOUR_MAX: i64 = 5;

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    VerifyEmail,
    ChangeEmail,
    ResetPassword,
}

impl Purpose {
    const fn as_str(self) -> &'static str {
        match self {
            Self::VerifyEmail => "verify-email",
            Self::ChangeEmail => "change-email",
            Self::ResetPassword => "reset-password",
        }
    }

    /// How long a token of this kind is good for.
    pub const fn valid_for(self) -> Duration {
        match self {
            Self::VerifyEmail | Self::ChangeEmail => Duration::from_secs(24 * 60 * 60),
            Self::ResetPassword => Duration::from_secs(30 * 60),
        }
    }
}

/// Who asks for a token. A known device has a count of its own, so that strangers use up nothing of its owner's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Asker {
    Anybody,
    /// A device that signed in to the account.
    Device(Uuid),
    /// Hands it over: however many strangers asked for, one more is made, and it shows nothing about who reads the mail.
    Operator,
}

/// Whom a token is for, and the address it was sent to.
pub(super) struct Holder {
    pub user_id: UserId,
    pub email: String,
    /// It came by mail: whoever has it reads the mail of the address.
    pub is_mailed: bool,
}

/// A fresh token, to be sent to `email`; none when enough were asked for lately. Those from before stay good: asking again for
/// somebody else's account must not end the link they are about to open.
pub(super) async fn make_in_tx(
    tx: &mut PgConnection,
    purpose: Purpose,
    user_id: UserId,
    email: &str,
    asker: Asker,
) -> Result<Option<String>, sqlx::Error> {
    let (asked_on, at_most) = match asker {
        Asker::Anybody => (None, TOKENS_PER_HOUR_MAX),
        Asker::Device(device_id) => (Some(device_id), TOKENS_PER_HOUR_MAX),
        Asker::Operator => (None, i64::MAX),
    };
    // One at a time for a person, or the limit could be passed by asking at once.
    sqlx::query("select 1 from identity.users where user_id = $1 for update")
        .bind(user_id.uuid())
        .execute(&mut *tx)
        .await?;
    let token = format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()));
    let made = sqlx::query(
        "insert into identity.mail_tokens (token_hash, purpose, user_id, email, expires_at, asked_on, is_mailed)
         select $1, $2, $3, $4, clock_timestamp() + make_interval(secs => $5), $7, $8
         where (
             select count(*)
             from identity.mail_tokens
             where user_id = $3 and purpose = $2 and created_at > clock_timestamp() - interval '1 hour'
                 and asked_on is not distinct from $7
         ) < $6",
    )
    .bind(hash_of(&token))
    .bind(purpose.as_str())
    .bind(user_id.uuid())
    .bind(email)
    .bind(purpose.valid_for().as_secs_f64())
    .bind(at_most)
    .bind(asked_on)
    .bind(asker != Asker::Operator)
    .execute(&mut *tx)
    .await?;
    Ok((made.rows_affected() == 1).then_some(token))
}

/// Whom a token is for, without using it.
///
/// # Errors
/// 422 `invalid-token` when it is unknown, used, over, or good for something else: all of them read the same.
pub(super) async fn holder(pool: &PgPool, purpose: Purpose, token: &str) -> Result<Holder, Problem> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(invalid());
    }
    let row: Option<(Uuid, String, bool)> = sqlx::query_as(
        "select user_id, email, is_mailed
         from identity.mail_tokens
         where token_hash = $1 and purpose = $2 and used_at is null and expires_at > clock_timestamp()",
    )
    .bind(hash_of(token))
    .bind(purpose.as_str())
    .fetch_optional(pool)
    .await
    .map_err(IdentityError::Database)?;
    row.map(|(user_id, email, is_mailed)| Holder {
        user_id: UserId::from_uuid(user_id),
        email,
        is_mailed,
    })
    .ok_or_else(invalid)
}

/// Uses a token up, and with it every other of its kind that the person has. Of two who use one token, one does. A reset is for
/// whoever reads the mail of the account's address: one that went to the address of before is good for nothing.
///
/// The person's row is locked first, here and wherever else both are: two tokens of one person wait for each other, neither for
/// both.
///
/// # Errors
/// As [`holder`].
pub(super) async fn take_in_tx(tx: &mut PgConnection, purpose: Purpose, token: &str) -> Result<Holder, Problem> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(invalid());
    }
    let locked: Option<(Option<String>,)> = sqlx::query_as(
        "select email
         from identity.users
         where user_id = (select user_id from identity.mail_tokens where token_hash = $1)
         for update",
    )
    .bind(hash_of(token))
    .fetch_optional(&mut *tx)
    .await
    .map_err(IdentityError::Database)?;
    let (address,) = locked.ok_or_else(invalid)?;
    let row: Option<(Uuid, String, bool)> = sqlx::query_as(
        "update identity.mail_tokens
         set used_at = clock_timestamp()
         where token_hash = $1
             and purpose = $2
             and used_at is null
             and expires_at > clock_timestamp()
             and ($3 or email = $4)
         returning user_id, email, is_mailed",
    )
    .bind(hash_of(token))
    .bind(purpose.as_str())
    .bind(purpose != Purpose::ResetPassword)
    .bind(address)
    .fetch_optional(&mut *tx)
    .await
    .map_err(IdentityError::Database)?;
    let (user_id, email, is_mailed) = row.ok_or_else(invalid)?;
    let holder = Holder {
        user_id: UserId::from_uuid(user_id),
        email,
        is_mailed,
    };
    end_in_tx(tx, purpose, holder.user_id)
        .await
        .map_err(IdentityError::Database)?;
    Ok(holder)
}

/// Ends every token of a kind that a person has.
pub(super) async fn end_in_tx(tx: &mut PgConnection, purpose: Purpose, user_id: UserId) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update identity.mail_tokens
         set used_at = clock_timestamp()
         where user_id = $1 and purpose = $2 and used_at is null",
    )
    .bind(user_id.uuid())
    .bind(purpose.as_str())
    .execute(tx)
    .await?;
    Ok(())
}

fn invalid() -> Problem {
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "invalid-token",
        "this link or code is not good any more; ask for a new one",
    )
}
