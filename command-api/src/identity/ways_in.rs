//! How somebody can come in at all: nobody takes away their own last way, and a child may have none but what a parent paired.

use axum::http::StatusCode;
use domain::id::UserId;
use service_kit::problem::Problem;
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use super::{Identity, IdentityError};

/// What somebody wants to give up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way<'a> {
    Passkey(Uuid),
    Provider(&'a str),
}

/// Whether an account is signed in to by paired devices, and in no other way.
pub(super) async fn are_paired_devices_only(
    executor: impl PgExecutor<'_>,
    user_id: UserId,
) -> Result<bool, IdentityError> {
    let (are,): (bool,) = sqlx::query_as(
        "select exists (
             select 1
             from identity.users
             where user_id = $1
                 and email is null
                 and password_hash is null
                 and exists (select 1 from identity.paired_devices where paired_devices.user_id = users.user_id)
                 and not exists (select 1 from identity.linked_sign_ins where linked_sign_ins.user_id = users.user_id)
         )",
    )
    .bind(user_id.uuid())
    .fetch_one(executor)
    .await?;
    Ok(are)
}

/// Holds the person's row, so that two who give up the other's last way come after one another, and asks whether one remains.
/// A provider that is not set up any more is none.
///
/// # Errors
/// 409 `last-way-in`.
pub(super) async fn require_another_in_tx(
    tx: &mut PgConnection,
    identity: &Identity,
    user_id: UserId,
    without: Way<'_>,
) -> Result<(), Problem> {
    sqlx::query("select 1 from identity.users where user_id = $1 for update")
        .bind(user_id.uuid())
        .execute(&mut *tx)
        .await
        .map_err(IdentityError::Database)?;
    let (passkey_id, provider) = match without {
        Way::Passkey(passkey_id) => (Some(passkey_id), None),
        Way::Provider(provider) => (None, Some(provider)),
    };
    let providers: Vec<&str> = identity.providers().names().collect();
    let (remains,): (bool,) = sqlx::query_as(
        "select
             exists (select 1 from identity.users where user_id = $1 and password_hash is not null)
             or exists (select 1 from identity.passkeys where user_id = $1 and passkey_id is distinct from $2)
             or exists (
                 select 1
                 from identity.linked_sign_ins
                 where user_id = $1 and provider is distinct from $3 and provider = any ($4)
             )",
    )
    .bind(user_id.uuid())
    .bind(passkey_id)
    .bind(provider)
    .bind(providers)
    .fetch_one(&mut *tx)
    .await
    .map_err(IdentityError::Database)?;
    if remains {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::CONFLICT,
        "last-way-in",
        "this is the last way to sign in; add another one first",
    ))
}
