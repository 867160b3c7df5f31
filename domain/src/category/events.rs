//! What happens to a category.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{event::events, id::CategoryId};

events! {
    /// Facts of a `category` stream.
    CategoryEvent of "category" {
        CategoryAdded = "1" { name: family },
    }
}

/// Which way money in a category goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CategoryKind {
    /// Money leaves the family.
    Expense,
    /// Money comes to the family.
    Income,
}

impl CategoryKind {
    /// The word used in JSON and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expense => "expense",
            Self::Income => "income",
        }
    }
}

/// A category came into the chart. Recorded by `create-family` (the usual ones), `add-category` and `sync-bank` (a statement's own).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CategoryAdded {
    /// The category.
    pub category_id: CategoryId,
    /// What the family calls it.
    pub name: String,
    /// Income or expense.
    pub kind: CategoryKind,
}
