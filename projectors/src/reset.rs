//! Building the rows again from nothing, in place.

use sqlx::PgPool;

/// Empties every view and sets every checkpoint to the start, in one transaction; the lanes' tasks then fold the whole log
/// again. A task that is in the middle of a batch finds its checkpoint moved and starts over. Until they have caught up, readers
/// see what has been folded so far.
///
/// # Errors
/// When the database refuses.
pub async fn reset(pool: &PgPool) -> Result<(), sqlx::Error> {
    let mut tx = pool.begin().await?;
    sqlx::query("update views.checkpoints set position = 0 where group_name = $1 and version = $2")
        .bind(crate::GROUP)
        .bind(crate::VERSION)
        .execute(&mut *tx)
        .await?;
    sqlx::query(
        "truncate views.account_days, views.accounts, views.badges, views.bank_connections, views.budgets,
            views.categories, views.chores, views.entries, views.entry_postings, views.families, views.family_heads,
            views.imports, views.inbox_marks, views.members, views.notification_recipients, views.notifications,
            views.parked_families, views.point_days, views.point_totals, views.spending_days, views.spending_months",
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await
}
