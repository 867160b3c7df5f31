//! The tries of a paired device, whatever is shown to it: PIN and passkey are counted together.
//!
//! A try is counted before it is looked at, so that many at once are no more than many after another.

use axum::http::StatusCode;
use service_kit::problem::Problem;
use uuid::Uuid;

use super::super::{Identity, IdentityError};

/// From so many wrong tries on, the next one waits: a minute, then two, and so on.
const WAITS_FROM: i32 = 5;
/// After so many wrong tries a parent must unlock.
const FAILURES_MAX: i32 = 10;

/// Counts a try; the hash to compare a PIN with.
///
/// # Errors
/// 429 while the next try waits; 403 `device-locked`; `gone` when there is no such device.
pub(super) async fn count(
    identity: &Identity,
    device_id: Uuid,
    gone: fn() -> Problem,
) -> Result<Option<String>, Problem> {
    let admitted: Option<(Option<String>,)> = sqlx::query_as(
        "update identity.paired_devices
         set
             pin_failures = pin_failures + 1,
             pin_waits_until = case
                 when pin_failures + 1 >= $2
                     then clock_timestamp() + make_interval(mins => pin_failures + 2 - $2)
             end
         where device_id = $1
             and pin_failures < $3
             and (pin_waits_until is null or pin_waits_until <= clock_timestamp())
         returning pin_hash",
    )
    .bind(device_id)
    .bind(WAITS_FROM)
    .bind(FAILURES_MAX)
    .fetch_optional(identity.pool())
    .await
    .map_err(IdentityError::Database)?;
    if let Some((pin_hash,)) = admitted {
        return Ok(pin_hash);
    }
    let state: Option<(i32, Option<i32>)> = sqlx::query_as(
        "select pin_failures, ceil(extract(epoch from pin_waits_until - clock_timestamp()))::int
         from identity.paired_devices
         where device_id = $1",
    )
    .bind(device_id)
    .fetch_optional(identity.pool())
    .await
    .map_err(IdentityError::Database)?;
    match state {
        Some((failures, _)) if failures >= FAILURES_MAX => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "device-locked",
            "ten tries were wrong; a parent must unlock this device",
        )),
        Some((_, wait)) => {
            let seconds = u32::try_from(wait.unwrap_or(1)).unwrap_or(1).max(1);
            Err(Problem::too_fast(
                seconds,
                format!("too many wrong tries; try again in {seconds} s"),
            ))
        }
        None => Err(gone()),
    }
}

/// Takes back a try that was counted and never looked at: what is right is not wrong because we were busy.
pub(super) async fn take_back(identity: &Identity, device_id: Uuid) -> Result<(), IdentityError> {
    sqlx::query(
        "update identity.paired_devices
         set pin_failures = pin_failures - 1, pin_waits_until = null
         where device_id = $1 and pin_failures > 0",
    )
    .bind(device_id)
    .execute(identity.pool())
    .await?;
    Ok(())
}

/// Forgets the wrong tries after a right one.
pub(super) async fn forget(identity: &Identity, device_id: Uuid) -> Result<(), IdentityError> {
    sqlx::query(
        "update identity.paired_devices
         set pin_failures = 0, pin_waits_until = null, last_used_at = clock_timestamp()
         where device_id = $1",
    )
    .bind(device_id)
    .execute(identity.pool())
    .await?;
    Ok(())
}
