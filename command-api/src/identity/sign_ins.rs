//! Whether what somebody asked by still counts: for what goes on for longer than the request it began with.

use service_kit::auth::SignedIn;
use sqlx::PgPool;

/// Sessions, API keys and accounts, for who has nothing else to do with identity.
#[derive(Clone, Debug)]
pub struct SignIns(PgPool);

impl SignIns {
    /// Over a pool in identity's role.
    pub const fn new(pool: PgPool) -> Self {
        Self(pool)
    }

    /// Has the session, the API key or the account ended that somebody asked by?
    ///
    /// # Errors
    /// When the database does not say.
    pub(crate) async fn have_ended(&self, signed_in: &SignedIn) -> Result<bool, sqlx::Error> {
        // A key stands where a session does.
        sqlx::query_scalar(
            "select
                 exists (
                     select from identity.sessions
                     where session_id = $1 and (revoked_at is not null or expires_at <= clock_timestamp())
                 )
                 or exists (
                     select from identity.api_keys
                     where api_key_id = $1 and (ended_at is not null or expires_at <= clock_timestamp())
                 )
                 or exists (select from identity.users where user_id = $2 and closed_at is not null)",
        )
        .bind(signed_in.session_id)
        .bind(signed_in.user_id.uuid())
        .fetch_one(&self.0)
        .await
    }
}
