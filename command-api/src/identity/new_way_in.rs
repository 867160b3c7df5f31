//! What an account has to show before it gets one more way in: a key for programs, a passkey, an authenticator app, a phone, an
//! account elsewhere; another address or password, too.
//!
//! Each of them outlives the session it was made in, so the session must still be one at the moment it is stored: it may have ended
//! in another process, or while a provider was asked. An address that nobody verified may be somebody else's, who takes the account
//! over one day; where mail can verify it, that comes first. And an account that a parent paired devices for has the ways in that a
//! parent can see and end, and no others.

use axum::http::StatusCode;
use service_kit::{auth::SignedIn, problem::Problem};
use sqlx::PgConnection;

use super::{Identity, IdentityError, ways_in};

/// Holds the person's row, so that two additions at once come after one another, and asks for what the account must have.
///
/// # Errors
/// 401 when the session has ended; 403 for accounts and sessions of paired devices, and `email-not-verified`.
pub(super) async fn require_in_tx(
    tx: &mut PgConnection,
    identity: &Identity,
    signed_in: &SignedIn,
) -> Result<(), Problem> {
    require_session_in_tx(tx, signed_in).await?;
    if ways_in::are_paired_devices_only(&mut *tx, signed_in.user_id).await? {
        return Err(Problem::not_allowed(
            "this account signs in by devices that a parent pairs, and in no other way",
        ));
    }
    // Who has another way in adds to it by that one: what a parent had a hand in adds nothing that outlasts it.
    signed_in.require_own_sign_in()?;
    let (has_email, is_verified): (bool, bool) = sqlx::query_as(
        "select email is not null, email_verified_at is not null
         from identity.users
         where user_id = $1",
    )
    .bind(signed_in.user_id.uuid())
    .fetch_one(&mut *tx)
    .await
    .map_err(IdentityError::Database)?;
    if has_email && !is_verified && identity.postbox().has_mail() {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "email-not-verified",
            "verify your e-mail address first; POST /api/v1/auth/verify-email/request sends the mail once more",
        ));
    }
    Ok(())
}

/// Holds the person's row, and asks whether the session is one still. Whatever ends sessions holds the row too.
///
/// # Errors
/// 401 when the session has ended, or the account was closed.
pub(super) async fn require_session_in_tx(tx: &mut PgConnection, signed_in: &SignedIn) -> Result<(), Problem> {
    sqlx::query("select 1 from identity.users where user_id = $1 for update")
        .bind(signed_in.user_id.uuid())
        .execute(&mut *tx)
        .await
        .map_err(IdentityError::Database)?;
    // A statement of its own: one that waited for the row sees the session as it was before.
    let (is_open,): (bool,) = sqlx::query_as(
        "select exists (
             select 1
             from identity.sessions
             join identity.users using (user_id)
             where session_id = $2
                 and user_id = $1
                 and revoked_at is null
                 and expires_at > clock_timestamp()
                 and closed_at is null
         )",
    )
    .bind(signed_in.user_id.uuid())
    .bind(signed_in.session_id)
    .fetch_one(&mut *tx)
    .await
    .map_err(IdentityError::Database)?;
    if is_open {
        return Ok(());
    }
    Err(Problem::not_signed_in("this session has ended"))
}
