//! Rotation of the key-encryption key: every member's key is wrapped anew. No event and no text is touched.
//!
//! It works in batches, each a transaction of its own, and may be broken off and begun again at any time. Who works meanwhile
//! has to know both key-encryption keys, and then notices nothing: a key is the same however it is wrapped.

use sqlx::PgPool;
use uuid::Uuid;

use super::{KeysError, context, encryption::KeyEncryptions};

/// Keys wrapped anew in one transaction.
const BATCH: i64 = 500;

/// What a rotation came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotated {
    /// Keys that are wrapped under the current key-encryption key now, and were not before.
    pub rewrapped: u64,
}

/// Wraps every key under the current key-encryption key that is not yet. `progress` hears how many were wrapped so far.
///
/// # Errors
/// [`KeysError::Other`] for a key that is wrapped under none of those that are known; what was wrapped before it stays so.
pub async fn rotate(pool: &PgPool, encryptions: &KeyEncryptions, progress: impl Fn(u64)) -> Result<Rotated, KeysError> {
    encryptions.check(pool).await?;
    let mut rotated = Rotated::default();
    loop {
        let batch = rotate_some(pool, encryptions).await?;
        rotated.rewrapped += batch;
        progress(rotated.rewrapped);
        if batch == 0 {
            return Ok(rotated);
        }
    }
}

async fn rotate_some(pool: &PgPool, encryptions: &KeyEncryptions) -> Result<u64, KeysError> {
    let current = encryptions.current();
    let mut tx = pool.begin().await?;
    let rows: Vec<(Uuid, Uuid, i32, String, Vec<u8>)> = sqlx::query_as(
        "select family_id, subject_id, generation, kek_id, wrapped_key
        from keys.member_keys
        where kek_id < $1 or kek_id > $1
        order by kek_id, family_id, subject_id, generation
        limit $2
        for update",
    )
    .bind(current.id())
    .bind(BATCH)
    .fetch_all(&mut *tx)
    .await?;
    let batch = rows.len() as u64;
    for (family_id, subject_id, generation, kek_id, wrapped) in rows {
        let context = context((family_id, subject_id), generation);
        let old = encryptions.by_id(&kek_id).ok_or_else(|| encryptions.other(kek_id))?;
        let key = old
            .unwrap(&context, &wrapped)
            .await?
            .ok_or_else(|| KeysError::Damaged(format!("{subject_id} of the family {family_id}: it does not unwrap")))?;
        sqlx::query(
            "update keys.member_keys
            set kek_id = $4, wrapped_key = $5
            where family_id = $1
                and subject_id = $2
                and generation = $3",
        )
        .bind(family_id)
        .bind(subject_id)
        .bind(generation)
        .bind(current.id())
        .bind(current.wrap(&context, &key).await?)
        .execute(&mut *tx)
        .await?;
    }
    tx.commit().await?;
    Ok(batch)
}
