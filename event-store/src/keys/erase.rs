//! Destroying keys. What was sealed under them reads as markers from then on, here, in every copy of the log, and in every backup
//! whose own copy of the keys is made to forget, too.

use chrono::{DateTime, Utc};
use domain::id::{FamilyId, MemberId};
use sqlx::PgPool;
use uuid::Uuid;

use super::KeysError;

/// Whose keys were destroyed, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// The family.
    pub family_id: FamilyId,
    /// The member; the family again when all of it was.
    pub subject: Uuid,
    /// When.
    pub erased_at: DateTime<Utc>,
}

/// Goes up with every erasure.
///
/// # Errors
/// [`KeysError::Database`].
pub async fn epoch(pool: &PgPool) -> Result<i64, KeysError> {
    Ok(sqlx::query_scalar("select epoch from keys.changes")
        .fetch_one(pool)
        .await?)
}

/// At most `limit` erasures after one, by when, family and subject.
///
/// # Errors
/// [`KeysError::Database`].
pub async fn erasures_after(
    pool: &PgPool,
    (at, family, subject): (DateTime<Utc>, Uuid, Uuid),
    limit: i64,
) -> Result<Vec<Erasure>, KeysError> {
    let rows: Vec<(Uuid, Uuid, DateTime<Utc>)> = sqlx::query_as(
        "select family_id, subject_id, erased_at
        from keys.member_keys
        where erased_at is not null
            and erased_at >= $1
            and (erased_at, family_id, subject_id) > ($1, $2, $3)
        order by erased_at, family_id, subject_id
        limit $4",
    )
    .bind(at)
    .bind(family)
    .bind(subject)
    .bind(limit)
    .fetch_all(pool)
    .await?;
    let erasure = |(family, subject, erased_at)| Erasure {
        family_id: FamilyId::from_uuid(family),
        subject,
        erased_at,
    };
    Ok(rows.into_iter().map(erasure).collect())
}

/// Those of these members, and of these families where no member is named, whom this log knows and whose keys were not destroyed.
///
/// # Errors
/// [`KeysError::Database`].
pub async fn not_erased(
    pool: &PgPool,
    of: &[(FamilyId, Option<MemberId>)],
) -> Result<Vec<(FamilyId, Option<MemberId>)>, KeysError> {
    let subject = |(family, member): &(FamilyId, Option<MemberId>)| member.map_or(family.uuid(), MemberId::uuid);
    let rows: Vec<(Uuid, Uuid)> = sqlx::query_as(
        "select w.family_id, w.subject_id
        from unnest($1::uuid[], $2::uuid[]) w (family_id, subject_id)
        join log.known_families($1::uuid[]) f using (family_id)
        where not exists (
            select from keys.member_keys k
            where k.family_id = w.family_id and k.subject_id = w.subject_id and k.erased_at is not null
        )",
    )
    .bind(of.iter().map(|(family, _)| family.uuid()).collect::<Vec<_>>())
    .bind(of.iter().map(subject).collect::<Vec<_>>())
    .fetch_all(pool)
    .await?;
    let named = |(family, subject)| {
        let member = (family != subject).then(|| MemberId::from_uuid(subject));
        (FamilyId::from_uuid(family), member)
    };
    Ok(rows.into_iter().map(named).collect())
}

/// Destroys every key of a family, and says how many still lived.
///
/// # Errors
/// As [`destroy_keys`].
pub async fn destroy_family_keys(pool: &PgPool, family: FamilyId) -> Result<u64, KeysError> {
    let mut subjects: Vec<Uuid> =
        sqlx::query_scalar("select distinct subject_id from keys.member_keys where family_id = $1")
            .bind(family.uuid())
            .fetch_all(pool)
            .await?;
    subjects.push(family.uuid());
    destroy_keys(pool, family, &subjects).await
}

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
