//! What an account has to show before it gets one more way in: a key for programs, a passkey, an authenticator app.
//!
//! Each of them outlives the session it was made in, so the session must still be one at the moment it is stored. An address that
//! nobody verified may be somebody else's, who takes the account over one day; where mail can verify it, that comes first. And an
//! account that a parent paired devices for has the ways in that a parent can see and end, and no others.

use axum::http::StatusCode;
use service_kit::{auth::SignedIn, problem::Problem};
use sqlx::PgConnection;

use super::{Identity, IdentityError};

/// Holds the person's row, so that two additions at once come after one another, and asks for what the account must have.
///
/// # Errors
/// 401 when the session has ended; 403 for accounts of paired devices, and `email-not-verified`.
pub(super) async fn require_in_tx(
    tx: &mut PgConnection,
    identity: &Identity,
    signed_in: &SignedIn,
) -> Result<(), Problem> {
    let account: Option<(bool, bool)> = sqlx::query_as(
        "select email is not null, email_verified_at is not null
         from identity.users
         where user_id = $1
         for update",
    )
    .bind(signed_in.user_id.uuid())
    .fetch_optional(&mut *tx)
    .await
    .map_err(IdentityError::Database)?;
    let (is_open, is_paired): (bool, bool) = sqlx::query_as(
        "select
             exists (
                 select 1
                 from identity.sessions
                 where session_id = $2 and user_id = $1 and revoked_at is null and expires_at > clock_timestamp()
             ),
             exists (select 1 from identity.paired_devices where user_id = $1)",
    )
    .bind(signed_in.user_id.uuid())
    .bind(signed_in.session_id)
    .fetch_one(&mut *tx)
    .await
    .map_err(IdentityError::Database)?;
    let Some((has_email, is_verified)) = account.filter(|_| is_open) else {
        return Err(Problem::not_signed_in("this session has ended"));
    };
    if !has_email && is_paired {
        return Err(Problem::not_allowed(
            "this account signs in by devices that a parent pairs, and in no other way",
        ));
    }
    if has_email && !is_verified && identity.postbox().has_mail() {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "email-not-verified",
            "verify your e-mail address first; POST /api/v1/auth/verify-email/request sends the mail once more",
        ));
    }
    Ok(())
}
