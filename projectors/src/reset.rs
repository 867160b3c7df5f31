//! Building the rows again from nothing, in place.

use sqlx::PgPool;

use crate::{
    apply::ApplyError,
    generation::begin_live,
    projections::{FAMILIES_TABLES, PROJECTIONS},
};

/// Empties every view and sets every checkpoint to the start, in one transaction; the lanes' tasks then fold the whole log
/// again. A task that is in the middle of a batch finds its checkpoint moved and starts over. Until they have caught up, readers
/// see what has been folded so far: [`crate::rebuild`] is the way that spares them that.
///
/// # Errors
/// When the database refuses.
pub async fn reset(pool: &PgPool) -> Result<(), ApplyError> {
    let mut tx = begin_live(pool).await?;
    sqlx::query("update checkpoints set position = 0 where group_name = $1 and version = $2")
        .bind(crate::GROUP)
        .bind(crate::VERSION)
        .execute(&mut *tx)
        .await?;
    let tables: Vec<&str> = PROJECTIONS
        .iter()
        .flat_map(|projection| projection.tables())
        .chain(FAMILIES_TABLES)
        .copied()
        .collect();
    // Names of our own tables; nothing of a request gets here.
    sqlx::query(&format!("truncate {}", tables.join(", ")))
        .execute(&mut *tx)
        .await?;
    Ok(tx.commit().await?)
}
