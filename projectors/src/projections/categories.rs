//! The family's income and expense categories.

use async_trait::async_trait;
use domain::{aggregate::LedgerEvent, category::CategoryEvent};
use sqlx::PgConnection;

use crate::projection::{Fact, Projection, ProjectionError};

/// Names and kinds of categories.
pub struct Categories;

#[async_trait]
impl Projection for Categories {
    fn name(&self) -> &'static str {
        "categories"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["categories"]
    }

    async fn project(&self, facts: &[Fact], tx: &mut PgConnection) -> Result<(), ProjectionError> {
        let (mut families, mut ids, mut names, mut kinds) = (vec![], vec![], vec![], vec![]);
        for fact in facts {
            let LedgerEvent::Category(CategoryEvent::CategoryAdded(added)) = &fact.event else {
                continue;
            };
            families.push(fact.family());
            ids.push(added.category_id.uuid());
            names.push(added.name.as_str());
            kinds.push(added.kind.as_str());
        }
        if families.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "insert into categories (family_id, category_id, name, kind)
            select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[])",
        )
        .bind(families)
        .bind(ids)
        .bind(names)
        .bind(kinds)
        .execute(tx)
        .await?;
        Ok(())
    }
}
