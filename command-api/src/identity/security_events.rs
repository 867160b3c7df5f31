//! What happened to somebody's access, kept for them: append only, without addresses in clear.

use domain::id::UserId;
use sqlx::PgExecutor;
use uuid::Uuid;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Registered,
    SignedIn,
    SignInFailed,
    SignedOut,
    SignedOutEverywhere,
    RefreshTokenReused,
    Invited,
    Joined,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::SignedIn => "signed-in",
            Self::SignInFailed => "sign-in-failed",
            Self::SignedOut => "signed-out",
            Self::SignedOutEverywhere => "signed-out-everywhere",
            Self::RefreshTokenReused => "refresh-token-reused",
            Self::Invited => "invited",
            Self::Joined => "joined",
        }
    }
}

/// Writes one down. A failed guess is written down only for an account that exists.
pub(super) async fn record(
    database: impl PgExecutor<'_>,
    kind: Kind,
    user_id: UserId,
    session_id: Option<Uuid>,
    address_hash: Option<[u8; 32]>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into identity.security_events (kind, user_id, session_id, address_hash)
         values ($1, $2, $3, $4)",
    )
    .bind(kind.as_str())
    .bind(user_id.uuid())
    .bind(session_id)
    .bind(address_hash)
    .execute(database)
    .await?;
    Ok(())
}
