//! Whether a code of an authenticator app is right, now, and for the first time.

use domain::id::UserId;

use super::{
    super::{Identity, IdentityError},
    totp,
};

/// Wrong codes that are looked at on one day (NIST SP 800-63B: at most 100 consecutive failures). With two steps of a million codes
/// each that leaves a guesser one chance in five thousand a day, and recovery codes to the owner.
const ATTEMPTS_MAX: i32 = 100;

/// Whether the enrolled app shows this code. A right one is used up.
pub(super) async fn use_code(identity: &Identity, user_id: UserId, code: &str) -> Result<bool, IdentityError> {
    // The attempt counts before it is looked at, so that many at once are no more than many after another.
    let sealed: Option<(Vec<u8>,)> = sqlx::query_as(
        "update identity.totp_factors
         set
             attempts = case when attempts_on = today.day then attempts + 1 else 1 end,
             attempts_on = today.day
         from (select (clock_timestamp() at time zone 'UTC')::date as day) as today
         where user_id = $1 and confirmed_at is not null and (attempts_on <> today.day or attempts < $2)
         returning sealed_seed",
    )
    .bind(user_id.uuid())
    .bind(ATTEMPTS_MAX)
    .fetch_optional(identity.pool())
    .await?;
    let Some((sealed,)) = sealed else {
        return Ok(false);
    };
    let Some(step) = matching_step(identity, user_id, &sealed, code)? else {
        return Ok(false);
    };
    // Of all who offer the code of one step, here and in other processes, one moves the step on.
    let moved = sqlx::query(
        "update identity.totp_factors
         set last_step = $2, attempts = 0
         where user_id = $1 and confirmed_at is not null and last_step < $2",
    )
    .bind(user_id.uuid())
    .bind(step)
    .execute(identity.pool())
    .await?;
    Ok(moved.rows_affected() == 1)
}

/// The step of a code, by the database's clock.
pub(super) fn matching_step(
    identity: &Identity,
    user_id: UserId,
    sealed: &[u8],
    code: &str,
) -> Result<Option<i64>, IdentityError> {
    let seed = identity.seeds().open(user_id.uuid().as_bytes(), sealed)?;
    // Apps show two groups of three.
    let digits: String = code.chars().filter(|c| !c.is_whitespace()).collect();
    Ok(totp::matching_step(&seed, &digits, identity.verifier().now()))
}
