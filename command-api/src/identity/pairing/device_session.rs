//! Sessions of a paired device: short, and refreshed only with the device's signature.

use domain::id::{FamilyId, UserId};
use service_kit::problem::Problem;
use uuid::Uuid;

use super::{
    super::{
        Identity, IdentityError,
        address::Client,
        sessions::{self, AccessToken, Proof, Tokens, hash_of},
    },
    device_key::DeviceKey,
    standing::{self, Standing},
};

/// A session of a paired device lives for so many hours.
const HOURS: i32 = 12;

/// Opens a session bound to the device; none when the device or the account was ended at this moment.
///
/// It is opened like any other and bound before anybody has its tokens; its access token says so. `methods` is what opened the device
/// beside the device's own key.
pub(super) async fn open(
    identity: &Identity,
    user_id: UserId,
    device_id: Uuid,
    methods: &[&str],
    client: &Client,
) -> Result<Option<Tokens>, IdentityError> {
    let Some(tokens) = sessions::open_since(identity, user_id, methods, None, client).await? else {
        return Ok(None);
    };
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
    let proof: Proof = sqlx::query_as(
        "update identity.sessions
         set
             paired_device_id = $2,
             expires_at = least(expires_at, clock_timestamp() + make_interval(hours => $3)),
             revoked_at = coalesce(revoked_at, case when not $4 then clock_timestamp() end),
             revoke_reason = coalesce(revoke_reason, case when not $4 then 'device-ended' end)
         where session_id = $1
         returning
             floor(extract(epoch from proven_at))::bigint as proven_at,
             proven_by,
             paired_device_id is not null as is_paired",
    )
    .bind(signed_in.session_id)
    .bind(device_id)
    .bind(HOURS)
    .bind(is_paired)
    .fetch_one(&mut *tx)
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
    let AccessToken { access_token, .. } = sessions::access_token(identity, user_id, signed_in.session_id, proof)?;
    Ok(Some(Tokens { access_token, ..tokens }))
}

#[derive(sqlx::FromRow)]
struct Refreshing {
    algorithm: String,
    public_key: Vec<u8>,
    is_paired: bool,
    user_id: Uuid,
    family_id: Uuid,
    paired_by: Option<Uuid>,
}

/// Whether a refresh token may be exchanged: one of a paired device's session only with the device's signature over
/// `kinledger/refresh/1`, a line feed, and the token, and only while the device may open at all.
pub(in super::super) async fn may_refresh(
    identity: &Identity,
    token: &str,
    signature: Option<&str>,
) -> Result<bool, Problem> {
    let Some(device) = device_of(identity, token).await? else {
        return Ok(true);
    };
    if !device.has_signed(token, signature) {
        return Ok(false);
    }
    let (family_id, user_id) = (FamilyId::from_uuid(device.family_id), UserId::from_uuid(device.user_id));
    let standing = standing::of(identity, family_id, user_id, device.paired_by).await?;
    Ok(matches!(standing, Standing::Opens(_)))
}

/// Whether whoever holds a refresh token also has the device that it was given to, where that is a paired one.
pub(in super::super) async fn is_signed(
    identity: &Identity,
    token: &str,
    signature: Option<&str>,
) -> Result<bool, IdentityError> {
    let device = device_of(identity, token).await?;
    Ok(device.is_none_or(|device| device.has_signed(token, signature)))
}

impl Refreshing {
    fn has_signed(&self, token: &str, signature: Option<&str>) -> bool {
        let key = DeviceKey::stored(&self.algorithm, self.public_key.clone());
        self.is_paired && signature.is_some_and(|signature| key.signed("refresh", token, signature))
    }
}

/// The paired device to whose session a refresh token belongs; none for other sessions.
async fn device_of(identity: &Identity, token: &str) -> Result<Option<Refreshing>, IdentityError> {
    let device = sqlx::query_as(
        "select
             algorithm,
             public_key,
             paired_devices.revoked_at is null as is_paired,
             paired_devices.user_id,
             family_id,
             paired_by
         from identity.refresh_tokens
         join identity.sessions on sessions.session_id = refresh_tokens.session_id
         join identity.paired_devices on paired_devices.device_id = sessions.paired_device_id
         where token_hash = $1",
    )
    .bind(hash_of(token))
    .fetch_optional(identity.pool())
    .await?;
    Ok(device)
}
