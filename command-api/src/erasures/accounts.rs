//! Accounts that were closed: a backup from before must not bring back the person either.
//!
//! A closed account keeps its number for a month (docs/privacy.md), long enough for every register to learn of it.

use chrono::{DateTime, Utc};
use domain::id::{CommandId, UserId};
use sqlx::PgPool;
use uuid::Uuid;

use crate::identity::Families;

/// At most `limit` accounts that were closed after one, by when and number.
pub(super) async fn closed_after(
    pool: &PgPool,
    (at, user): (DateTime<Utc>, Uuid),
    limit: i64,
) -> Result<Vec<(UserId, DateTime<Utc>)>, sqlx::Error> {
    let rows: Vec<(Uuid, DateTime<Utc>)> = sqlx::query_as(
        "select user_id, closed_at
        from identity.users
        where closed_at is not null
            and (closed_at, user_id) > ($1, $2)
        order by closed_at, user_id
        limit $3",
    )
    .bind(at)
    .bind(user)
    .bind(limit)
    .fetch_all(pool)
    .await?;
    let closed = |(user, at)| (UserId::from_uuid(user), at);
    Ok(rows.into_iter().map(closed).collect())
}

/// Closes those of these accounts that are open, as they are after a restore, and leaves the families that they are in again; says
/// how many. A family that cannot be left, as by who is its last parent once more, is told to the operator.
pub(super) async fn close_again(
    pool: &PgPool,
    families: &dyn Families,
    users: &[UserId],
) -> Result<usize, sqlx::Error> {
    let users: Vec<Uuid> = users.iter().map(|user| user.uuid()).collect();
    let open: Vec<Uuid> =
        sqlx::query_scalar("select user_id from identity.users where user_id = any($1) and closed_at is null")
            .bind(&users)
            .fetch_all(pool)
            .await?;
    for user in &open {
        let user_id = UserId::from_uuid(*user);
        leave_again(families, user_id).await;
        sqlx::query("select identity.close_account($1)")
            .bind(user)
            .execute(pool)
            .await?;
        tracing::warn!(user.id = %user_id, "an account is closed again: the database is of before it");
    }
    Ok(open.len())
}

async fn leave_again(families: &dyn Families, user: UserId) {
    let places = match families.places_of(user).await {
        Ok(places) => places,
        Err(problem) => {
            tracing::error!(user.id = %user, problem = problem.code(), "the families of a closed account cannot be read");
            return;
        }
    };
    for place in &places {
        let command_id = CommandId::from_uuid(Uuid::now_v7());
        if let Err(problem) = families.leave(place.family_id, user, command_id).await {
            tracing::error!(
                user.id = %user, family.id = %place.family_id, problem = problem.code(),
                "a closed account stays in a family: a parent removes the member, or the operator restores a later backup"
            );
        }
    }
}
