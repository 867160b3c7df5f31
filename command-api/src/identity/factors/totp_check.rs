//! Whether a code of an authenticator app is right, now, and for the first time.
//!
//! Wrong codes are counted by the day, each before it is looked at, so that many at once are no more than many after another. Those
//! of signing in have one count for a person: only who took the first step gets there. Those of a session have a count of its own,
//! in `guesses`: an access token is all one needs for them, and whoever stole one must not use up what its owner signs in by.

use domain::id::UserId;
use service_kit::problem::Problem;
use uuid::Uuid;

use super::{
    super::{Identity, IdentityError, guesses::Guesser},
    throttle_subject, totp,
};

/// Wrong codes that are looked at on one day at sign-in (NIST SP 800-63B: at most 100 consecutive failures). With two steps of a
/// million codes each that leaves a guesser one chance in five thousand a day, and recovery codes to the owner.
const ATTEMPTS_MAX: i32 = 100;

/// At sign-in: whether the enrolled app shows this code. A right one is used up.
pub(super) async fn use_code(identity: &Identity, user_id: UserId, code: &str) -> Result<bool, IdentityError> {
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
    match sealed {
        Some((sealed,)) => use_up(identity, user_id, &sealed, code).await,
        None => Ok(false),
    }
}

/// In a session: whether the enrolled app shows this code. A right one is used up.
///
/// # Errors
/// 429 until midnight (UTC) when the session's guesses of the day are used up.
pub(super) async fn use_code_in_session(
    identity: &Identity,
    user_id: UserId,
    session_id: Uuid,
    code: &str,
) -> Result<bool, Problem> {
    let guesser = Guesser::Session(session_id);
    let guess = identity.guesses().count(&throttle_subject(user_id), guesser).await?;
    let sealed: Option<(Vec<u8>,)> =
        sqlx::query_as("select sealed_seed from identity.totp_factors where user_id = $1 and confirmed_at is not null")
            .bind(user_id.uuid())
            .fetch_optional(identity.pool())
            .await
            .map_err(IdentityError::Database)?;
    let Some((sealed,)) = sealed else {
        return Ok(false);
    };
    let is_right = use_up(identity, user_id, &sealed, code).await?;
    if is_right {
        guess.take_back().await;
    }
    Ok(is_right)
}

async fn use_up(identity: &Identity, user_id: UserId, sealed: &[u8], code: &str) -> Result<bool, IdentityError> {
    let Some(step) = matching_step(identity, user_id, sealed, code)? else {
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
