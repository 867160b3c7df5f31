//! A grown-up says how much a category may take in each week or month.

use chrono::NaiveDate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Money,
    budget::{Budget, BudgetRefusal, BudgetSet},
    calendar::Period,
    category::{Category, CategoryKind, CategoryRefusal},
    decide::{Context, Decide, Decision, Stop},
    id::{BudgetId, CategoryId},
};

/// A grown-up says how much a category may take in each week or month.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetBudget {
    /// An expense category.
    pub category_id: CategoryId,
    /// What may be spent in each period; nothing ends the budget.
    pub amount: Money,
    /// Week or month.
    #[serde(default = "month")]
    pub period: Period,
    /// Holds for the period of this day and every later one; today when absent.
    #[serde(default)]
    pub effective_on: Option<NaiveDate>,
}

const fn month() -> Period {
    Period::Month
}

impl Decide for SetBudget {
    const NAME: &'static str = "set-budget";
    const SUMMARY: &'static str = "Set what a category may take in each week or month";

    fn decide(&self, context: &Context<'_>) -> Result<Decision, Stop> {
        let day = context.effective_on(self.effective_on)?;
        if context.get::<Category>(self.category_id.uuid())?.kind()? != CategoryKind::Expense {
            return Err(CategoryRefusal::WrongKind { wanted: "expense" }.into());
        }
        if self.amount.is_negative() {
            return Err(BudgetRefusal::Negative.into());
        }
        let budget_id = BudgetId::of(self.category_id, self.period);
        let set = BudgetSet {
            budget_id,
            category_id: self.category_id,
            period: self.period,
            amount: self.amount,
        };
        let budget = context.get::<Budget>(budget_id.uuid())?;
        if self.effective_on.is_none() && budget.current() == Some(&set) {
            return Err(BudgetRefusal::Unchanged.into());
        }
        let mut decision = Decision::default();
        decision.record::<Budget>(budget_id.uuid(), set.into(), day);
        Ok(decision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Scenario, category, eur};

    fn scenario() -> Scenario {
        Scenario::family()
            .with_category(category(1), CategoryKind::Expense)
            .with_category(category(2), CategoryKind::Income)
    }

    fn command(amount: &str) -> SetBudget {
        SetBudget {
            category_id: category(1),
            amount: eur(amount),
            period: Period::Month,
            effective_on: None,
        }
    }

    #[test]
    fn a_budget_is_set_and_changed() {
        let scenario = scenario().after(&command("400"));
        scenario.when(&command("400.00")).refused("budget-unchanged");
        assert_eq!(scenario.when(&command("0")).accepted().len(), 1);
    }

    #[test]
    fn less_than_nothing_is_refused() {
        scenario().when(&command("-0.01")).refused("amount-negative");
    }

    #[test]
    fn income_has_no_budget() {
        scenario()
            .when(&SetBudget {
                category_id: category(2),
                ..command("1")
            })
            .refused("wrong-category-kind");
    }
}
