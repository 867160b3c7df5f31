//! A grown-up records money that came to the family.

use chrono::NaiveDate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::splits::{Split, parts};
use crate::{
    Money,
    category::CategoryKind,
    decide::{Context, Decide, Decision, Stop},
    entry::IncomeAdded,
    id::{AccountId, CategoryId, EntryId},
    journal::{Posting, post, usable_account},
    text,
};

/// A grown-up records money that came to the family.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddIncome {
    /// The account it came to.
    pub account_id: AccountId,
    /// The whole amount, positive, in the account's currency.
    pub money: Money,
    /// The one category it is in; leave it out when there are splits.
    #[serde(default)]
    pub category_id: Option<CategoryId>,
    /// Parts in several categories that sum to the amount.
    #[serde(default)]
    #[schemars(length(max = 50))]
    pub splits: Vec<Split>,
    /// The day it counts for; today in the family's zone when absent.
    #[serde(default)]
    pub effective_on: Option<NaiveDate>,
    /// Who paid.
    #[serde(default)]
    #[schemars(length(max = 500))]
    pub payee: String,
    /// A free note.
    #[serde(default)]
    #[schemars(length(max = 500))]
    pub note: String,
}

impl Decide for AddIncome {
    const NAME: &'static str = "add-income";
    const SUMMARY: &'static str = "Record money that came to the family";

    fn decide(&self, context: &Context<'_>) -> Result<Decision, Stop> {
        let day = context.effective_on(self.effective_on)?;
        let (_, currency) = usable_account(context, self.account_id)?;
        let kind = CategoryKind::Income;
        let parts = parts(context, self.money, self.category_id, &self.splits, kind, currency)?;
        let mut postings = vec![Posting::account(self.account_id, self.money)];
        postings.extend(
            parts
                .iter()
                .map(|part| Posting::category(part.category_id, part.money.negated())),
        );
        let entry_id = EntryId::from_uuid(context.new_id(0));
        let added = IncomeAdded {
            entry_id,
            effective_on: day,
            postings,
            payee: text::note("payee", &self.payee)?,
            note: text::note("note", &self.note)?,
            entered_by: Some(context.asking_member()?.member_id),
        };
        let mut decision = Decision::default();
        post(context, &mut decision, entry_id, added, day)?;
        Ok(decision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actor::Role;
    use crate::{
        journal::{is_balanced, postings_of},
        ledger_account::AccountKind,
        testing::{Scenario, account, category, eur},
    };

    fn command() -> AddIncome {
        AddIncome {
            account_id: account(1),
            money: eur("1350.60"),
            category_id: Some(category(1)),
            splits: vec![],
            effective_on: None,
            payee: "Babbage & Co".to_owned(),
            note: String::new(),
        }
    }

    fn scenario() -> Scenario {
        Scenario::family()
            .with_account(account(1), AccountKind::Bank, "EUR")
            .with_category(category(1), CategoryKind::Income)
            .with_category(category(2), CategoryKind::Expense)
    }

    #[test]
    fn an_income_is_a_balanced_entry() {
        let events = scenario().when(&command()).accepted();
        assert!(is_balanced(postings_of(&events[0].event)));
    }

    #[test]
    fn an_expense_category_is_refused() {
        scenario()
            .when(&AddIncome {
                category_id: Some(category(2)),
                ..command()
            })
            .refused("wrong-category-kind");
    }

    #[test]
    fn a_child_records_no_income() {
        scenario()
            .with_member(Role::Child)
            .asked_by(Role::Child)
            .when(&command())
            .refused("role-not-allowed");
    }
}
