//! Why a budget declines.

use crate::refusal::refusals;

refusals! {
    /// Refusals of budget commands.
    BudgetRefusal {
        Negative = Rule, "amount-negative", "a budget cannot be negative";
        Unchanged = Rule, "budget-unchanged", "the budget is this already";
    }
}
