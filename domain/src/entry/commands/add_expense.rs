//! A member records money that left the family.

use chrono::NaiveDate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::splits::{Split, parts};
use crate::{
    Money,
    category::CategoryKind,
    decide::{Context, Decide, Decision, Stop},
    entry::ExpenseAdded,
    id::{AccountId, CategoryId, EntryId},
    journal::{Posting, post, usable_account},
    text,
};

/// A member records money that left the family.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddExpense {
    /// The account it was paid from; one that is shared with the asking member in full, as their own wallet is.
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
    /// Who was paid.
    #[serde(default)]
    #[schemars(length(max = 500))]
    pub payee: String,
    /// A free note.
    #[serde(default)]
    #[schemars(length(max = 500))]
    pub note: String,
}

impl Decide for AddExpense {
    const NAME: &'static str = "add-expense";
    const SUMMARY: &'static str = "Record money that left the family";

    fn decide(&self, context: &Context<'_>) -> Result<Decision, Stop> {
        let day = context.effective_on(self.effective_on)?;
        let (_, currency) = usable_account(context, self.account_id)?;
        let kind = CategoryKind::Expense;
        let parts = parts(context, self.money, self.category_id, &self.splits, kind, currency)?;
        let mut postings = vec![Posting::account(self.account_id, self.money.negated())];
        postings.extend(parts.iter().map(|part| Posting::category(part.category_id, part.money)));
        let entry_id = EntryId::from_uuid(context.new_id(0));
        let added = ExpenseAdded {
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
        ledger_account::commands::CloseAccount,
        testing::{Scenario, account, category, currency, eur},
    };

    fn scenario() -> Scenario {
        Scenario::family()
            .with_account(account(1), AccountKind::Bank, "EUR")
            .with_category(category(1), CategoryKind::Expense)
            .with_category(category(2), CategoryKind::Expense)
            .with_category(category(9), CategoryKind::Income)
    }

    fn command(amount: &str) -> AddExpense {
        AddExpense {
            account_id: account(1),
            money: eur(amount),
            category_id: Some(category(1)),
            splits: vec![],
            effective_on: None,
            payee: "Corner shop".to_owned(),
            note: String::new(),
        }
    }

    fn split(number: u128, amount: &str) -> Split {
        Split {
            category_id: category(number),
            money: eur(amount),
        }
    }

    #[test]
    fn an_expense_is_a_balanced_entry() {
        let events = scenario().when(&command("12.30")).accepted();
        assert!(is_balanced(postings_of(&events[0].event)));
        assert_eq!(events.len(), 1, "an account that is no wallet gets no event of its own");
    }

    #[test]
    fn splits_must_sum_to_the_amount() {
        let both = AddExpense {
            category_id: None,
            splits: vec![split(1, "10.00"), split(2, "2.30")],
            ..command("12.30")
        };
        let events = scenario().when(&both).accepted();
        assert_eq!(postings_of(&events[0].event).len(), 3);
        let short = AddExpense {
            category_id: None,
            splits: vec![split(1, "10.00"), split(2, "2.29")],
            ..command("12.30")
        };
        scenario().when(&short).refused("splits-do-not-sum");
    }

    #[test]
    fn a_category_or_splits_but_not_both_or_neither() {
        scenario()
            .when(&AddExpense {
                category_id: None,
                ..command("1")
            })
            .refused("splits-missing");
        scenario()
            .when(&AddExpense {
                splits: vec![split(1, "1")],
                ..command("1")
            })
            .refused("splits-missing");
    }

    #[test]
    fn nothing_and_less_is_refused() {
        scenario().when(&command("0")).refused("amount-not-positive");
        scenario().when(&command("-1")).refused("amount-not-positive");
        let sly = AddExpense {
            category_id: None,
            splits: vec![split(1, "2"), split(2, "-1")],
            ..command("1")
        };
        scenario().when(&sly).refused("amount-not-positive");
    }

    #[test]
    fn an_income_category_is_refused() {
        scenario()
            .when(&AddExpense {
                category_id: Some(category(9)),
                ..command("1")
            })
            .refused("wrong-category-kind");
    }

    #[test]
    fn what_is_not_there_is_unknown() {
        scenario()
            .when(&AddExpense {
                category_id: Some(category(7)),
                ..command("1")
            })
            .refused("unknown-category");
        scenario()
            .when(&AddExpense {
                account_id: account(7),
                ..command("1")
            })
            .refused("unknown-account");
    }

    #[test]
    fn another_currency_is_refused() {
        let dollars = Money::parse("1", currency("USD")).expect("money");
        scenario()
            .when(&AddExpense {
                money: dollars,
                ..command("1")
            })
            .refused("other-currency");
    }

    #[test]
    fn a_closed_account_takes_no_more() {
        let scenario = scenario().after(&CloseAccount { account_id: account(1) });
        scenario.when(&command("1")).refused("account-closed");
    }

    #[test]
    fn a_child_spends_from_the_own_wallet_down_to_nothing() {
        let scenario = Scenario::family()
            .with_member(Role::Child)
            .with_account(account(1), AccountKind::Bank, "EUR")
            .with_category(category(1), CategoryKind::Expense)
            .with_wallet(account(2), Role::Child)
            .after(&super::super::Transfer {
                from: account(1),
                to: account(2),
                money: eur("5"),
                received: None,
                effective_on: None,
                note: String::new(),
            })
            .asked_by(Role::Child);
        scenario.when(&command("1")).refused("unknown-account");
        let own = AddExpense {
            account_id: account(2),
            ..command("5.00")
        };
        scenario
            .when(&AddExpense {
                money: eur("5.01"),
                ..own.clone()
            })
            .refused("wallet-too-low");
        let events = scenario.when(&own).accepted();
        assert_eq!(events[1].kind().0, "WalletBalanceChanged");
        scenario
            .given(events)
            .when(&AddExpense {
                money: eur("0.01"),
                ..own
            })
            .refused("wallet-too-low");
    }

    #[test]
    fn the_twenty_ninth_of_february_counts() {
        let day = NaiveDate::from_ymd_opt(2024, 2, 29);
        assert_eq!(
            scenario()
                .when(&AddExpense {
                    effective_on: day,
                    ..command("1")
                })
                .accepted()[0]
                .effective_on,
            day.expect("a day")
        );
    }
}
