//! Every command of a budget, one line each.

mod set_budget;

pub use set_budget::SetBudget;
