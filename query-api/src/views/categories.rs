//! The family's categories.

use domain::id::CategoryId;
use schemars::JsonSchema;
use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    error::QueryError,
    params::NoParams,
    view::{View, Viewer},
};

/// Categories.
pub struct Categories;

/// One category.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Category {
    /// The category.
    pub category_id: CategoryId,
    /// What the family calls it.
    pub name: String,
    /// `expense` or `income`.
    pub kind: String,
}

/// Answer of `categories`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CategoriesAnswer {
    /// Expense categories first, each kind by name.
    pub categories: Vec<Category>,
}

impl View for Categories {
    const NAME: &'static str = "categories";
    const SUMMARY: &'static str = "Income and expense categories";
    const VISIBILITY: &'static str = "Everybody sees all.";
    const BY_DAY: Option<&'static str> = None;
    type Params = NoParams;
    type Answer = CategoriesAnswer;

    async fn read(tx: &mut PgConnection, viewer: &Viewer, _: NoParams) -> Result<CategoriesAnswer, QueryError> {
        let rows: Vec<(Uuid, String, String)> = sqlx::query_as(
            "select category_id, name, kind
            from categories
            where family_id = $1
            order by kind, name, category_id",
        )
        .bind(viewer.family())
        .fetch_all(tx)
        .await?;
        let category = |(id, name, kind)| Category {
            category_id: CategoryId::from_uuid(id),
            name,
            kind,
        };
        Ok(CategoriesAnswer {
            categories: rows.into_iter().map(category).collect(),
        })
    }
}
