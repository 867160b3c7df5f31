//! What happens to a budget.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Money,
    calendar::Period,
    event::events,
    id::{BudgetId, CategoryId},
};

events! {
    /// Facts of a `budget` stream.
    BudgetEvent of "budget" {
        BudgetSet = "1",
    }
}

/// A category was given an amount per period, or another one; zero ends it. Recorded by `set-budget`. It holds for the
/// period of its effective day and every later one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BudgetSet {
    /// The budget: one per category and period.
    pub budget_id: BudgetId,
    /// The expense category.
    pub category_id: CategoryId,
    /// Week or month.
    pub period: Period,
    /// What may be spent in each; never negative.
    pub amount: Money,
}
