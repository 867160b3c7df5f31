//! Sessions of a paired device: short, and refreshed only with the device's signature.

use domain::id::UserId;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    super::{
        Identity, IdentityError,
        address::Client,
        sessions::{self, Tokens},
    },
    device_key::DeviceKey,
};

/// A session of a paired device lives for so many hours.
const HOURS: i32 = 12;

/// Opens a session bound to the device; none when the device was ended at this moment.
///
/// It is opened like any other and bound before anybody has its tokens.
pub(super) async fn open(
    identity: &Identity,
    user_id: UserId,
    device_id: Uuid,
    client: &Client,
) -> Result<Option<Tokens>, IdentityError> {
    let tokens = sessions::open(identity, user_id, &["pin", "pop"], client).await?;
    let signed_in = identity
        .verifier()
        .verify(&tokens.access_token)
        .map_err(|error| IdentityError::Key(error.to_string()))?;
    let mut tx = identity.pool().begin().await?;
    // Ending a device waits for this lock or is seen here.
    let is_paired =
        sqlx::query("select 1 from identity.paired_devices where device_id = $1 and revoked_at is null for share")
            .bind(device_id)
            .fetch_optional(&mut *tx)
            .await?
            .is_some();
    sqlx::query(
        "update identity.sessions
         set
             paired_device_id = $2,
             expires_at = least(expires_at, clock_timestamp() + make_interval(hours => $3)),
             revoked_at = case when not $4 then clock_timestamp() end,
             revoke_reason = case when not $4 then 'device-ended' end
         where session_id = $1",
    )
    .bind(signed_in.session_id)
    .bind(device_id)
    .bind(HOURS)
    .bind(is_paired)
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "update identity.refresh_tokens
         set expires_at = least(expires_at, clock_timestamp() + make_interval(hours => $2))
         where session_id = $1",
    )
    .bind(signed_in.session_id)
    .bind(HOURS)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    if !is_paired {
        identity.verifier().revoke(signed_in.session_id);
        return Ok(None);
    }
    Ok(Some(tokens))
}

/// Whether a refresh token may be exchanged: one of a paired device's session only with the device's signature over
/// `kinledger/refresh/1`, a line feed, and the token.
pub(in super::super) async fn may_refresh(
    tx: &mut PgConnection,
    session_id: Uuid,
    token: &str,
    signature: Option<&str>,
) -> Result<bool, sqlx::Error> {
    let device: Option<(String, Vec<u8>, bool)> = sqlx::query_as(
        "select algorithm, public_key, paired_devices.revoked_at is null
         from identity.sessions
         join identity.paired_devices on paired_devices.device_id = sessions.paired_device_id
         where session_id = $1",
    )
    .bind(session_id)
    .fetch_optional(tx)
    .await?;
    Ok(match (device, signature) {
        (None, _) => true,
        (Some((algorithm, public_key, true)), Some(signature)) => {
            DeviceKey::stored(&algorithm, public_key).signed("refresh", token, signature)
        }
        (Some(_), _) => false,
    })
}
