//! Accounts that were closed: a backup from before must not bring back the person either.
//!
//! A closed account keeps its number for a month (docs/privacy.md), long enough for every register to learn of it.

use chrono::{DateTime, Utc};
use domain::id::UserId;
use sqlx::PgPool;
use uuid::Uuid;

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

/// Closes those of these accounts that are open, as they are after a restore; says how many.
pub(super) async fn close_again(pool: &PgPool, users: &[UserId]) -> Result<usize, sqlx::Error> {
    let users: Vec<Uuid> = users.iter().map(|user| user.uuid()).collect();
    let open: Vec<Uuid> =
        sqlx::query_scalar("select user_id from identity.users where user_id = any($1) and closed_at is null")
            .bind(&users)
            .fetch_all(pool)
            .await?;
    for user in &open {
        sqlx::query("select identity.close_account($1)")
            .bind(user)
            .execute(pool)
            .await?;
        tracing::warn!(user.id = %UserId::from_uuid(*user), "an account is closed again: the database is of before it");
    }
    Ok(open.len())
}
