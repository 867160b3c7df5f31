//! Destroying keys. What was sealed under them reads as markers from then on, here, in every copy of the log, and in every backup
//! whose own copy of the keys is made to forget, too.

use domain::id::FamilyId;
use sqlx::PgPool;
use uuid::Uuid;

use super::KeysError;

/// Destroys the keys of subjects of a family, and says how many still lived. A subject that never had a key is marked as erased,
/// so that it never gets one. Again is harmless.
///
/// # Errors
/// [`KeysError::Database`]; then nothing was destroyed.
pub async fn destroy_keys(pool: &PgPool, family: FamilyId, subjects: &[Uuid]) -> Result<u64, KeysError> {
    let mut tx = pool.begin().await?;
    let destroyed = sqlx::query(
        "update keys.member_keys
        set wrapped_key = null, kek_id = null, erased_at = clock_timestamp()
        where family_id = $1
            and subject_id = any($2)
            and erased_at is null",
    )
    .bind(family.uuid())
    .bind(subjects)
    .execute(&mut *tx)
    .await?
    .rows_affected();
    let marked = sqlx::query(
        "insert into keys.member_keys (family_id, subject_id, erased_at)
        select $1, s, clock_timestamp()
        from unnest($2::uuid[]) as s
        on conflict do nothing",
    )
    .bind(family.uuid())
    .bind(subjects)
    .execute(&mut *tx)
    .await?
    .rows_affected();
    if destroyed + marked > 0 {
        sqlx::query("update keys.changes set epoch = epoch + 1")
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await?;
    Ok(destroyed)
}
