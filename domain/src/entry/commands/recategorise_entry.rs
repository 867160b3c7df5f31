//! A grown-up moves an entry's amount from one category to another, or says that it was a transfer all along.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Money,
    category::{Category, CategoryRefusal},
    decide::{Context, Decide, Decision, Stop},
    entry::{EntryRecategorised, EntryRefusal, check_consent_of_owners, shared_entry},
    id::EntryId,
    journal::{Equity, Posting, PostingAccount, post},
    ledger_account::ShareLevel,
};

/// A grown-up moves an entry's amount from one category to another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecategoriseEntry {
    /// The entry.
    pub entry_id: EntryId,
    /// The category it is in; may be left out when it is in one only.
    #[serde(default)]
    pub from: Option<PostingAccount>,
    /// The category it should be in; `equity:transfers-in-transit` for a payment between the family's own accounts.
    pub to: PostingAccount,
}

impl Decide for RecategoriseEntry {
    const NAME: &'static str = "recategorise-entry";
    const SUMMARY: &'static str = "Move an entry's amount to another category";

    fn decide(&self, context: &Context<'_>) -> Result<Decision, Stop> {
        let entry = shared_entry(context, self.entry_id, ShareLevel::Annotate)?;
        check_consent_of_owners(context, entry)?;
        let day = entry.effective_on().ok_or(EntryRefusal::UnknownEntry)?;
        if entry.is_reversed() {
            return Err(EntryRefusal::AlreadyReversed.into());
        }
        match self.to {
            PostingAccount::Category(to) => drop(context.get::<Category>(to.uuid())?.kind()?),
            PostingAccount::Equity(Equity::TransfersInTransit) => {}
            _ => return Err(CategoryRefusal::UnknownCategory.into()),
        }
        // What may be moved: the side that says what the money was for.
        let may_move = |place: PostingAccount| {
            matches!(
                place,
                PostingAccount::Category(_) | PostingAccount::Equity(Equity::TransfersInTransit)
            )
        };
        let mut in_entry = entry
            .postings()
            .iter()
            .map(|posting| posting.ledger_account)
            .filter(|place| may_move(*place));
        let from = match self.from {
            Some(from) if may_move(from) => from,
            Some(_) => return Err(CategoryRefusal::NoEntryOfIt.into()),
            None => {
                let first = in_entry.next().ok_or(CategoryRefusal::NoEntryOfIt)?;
                if in_entry.any(|other| other != first) {
                    return Err(EntryRefusal::SplitsMissing.into());
                }
                first
            }
        };
        if from == self.to {
            return Err(EntryRefusal::SameCategory.into());
        }
        let postings = moved(entry.postings(), from, self.to)?;
        let moved = EntryRecategorised {
            entry_id: self.entry_id,
            from,
            to: self.to,
            postings,
        };
        let mut decision = Decision::default();
        post(context, &mut decision, self.entry_id, moved, day)?;
        Ok(decision)
    }
}

/// What is in `from` goes out of it and into `to`.
pub(crate) fn moved(postings: &[Posting], from: PostingAccount, to: PostingAccount) -> Result<Vec<Posting>, Stop> {
    let in_from: Vec<Money> = postings
        .iter()
        .filter(|p| p.ledger_account == from)
        .map(|p| p.money)
        .collect();
    let Some(first) = in_from.first() else {
        return Err(CategoryRefusal::NoEntryOfIt.into());
    };
    let mut sum = Money::zero(first.currency());
    for money in &in_from {
        sum = sum
            .checked_add(money)
            .map_err(|problem| EntryRefusal::Money { problem })?;
    }
    Ok(vec![
        Posting {
            ledger_account: from,
            money: sum.negated(),
        },
        Posting {
            ledger_account: to,
            money: sum,
        },
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        category::CategoryKind,
        entry::commands::{AddExpense, ReverseEntry, Split},
        ledger_account::AccountKind,
        testing::{Scenario, account, category, eur},
    };

    fn with_expense(splits: Vec<Split>) -> (Scenario, EntryId) {
        let scenario = Scenario::family()
            .with_account(account(1), AccountKind::Bank, "EUR")
            .with_category(category(1), CategoryKind::Expense)
            .with_category(category(2), CategoryKind::Expense)
            .with_category(category(3), CategoryKind::Expense);
        let expense = AddExpense {
            account_id: account(1),
            money: eur("3"),
            category_id: splits.is_empty().then(|| category(1)),
            splits,
            effective_on: None,
            payee: String::new(),
            note: String::new(),
        };
        let events = scenario.when(&expense).accepted();
        let entry_id = EntryId::from_uuid(events[0].stream.id);
        (scenario.given(events), entry_id)
    }

    fn to(entry_id: EntryId, number: u128) -> RecategoriseEntry {
        RecategoriseEntry {
            entry_id,
            from: None,
            to: PostingAccount::Category(category(number)),
        }
    }

    #[test]
    fn it_moves_there_and_back() {
        let (scenario, entry_id) = with_expense(vec![]);
        let scenario = scenario.after(&to(entry_id, 2));
        scenario.when(&to(entry_id, 2)).refused("same-category");
        assert_eq!(scenario.when(&to(entry_id, 1)).accepted().len(), 1);
    }

    #[test]
    fn a_split_entry_needs_to_be_told_from_where() {
        let split = |number, amount: &str| Split {
            category_id: category(number),
            money: eur(amount),
        };
        let (scenario, entry_id) = with_expense(vec![split(1, "1"), split(2, "2")]);
        scenario.when(&to(entry_id, 3)).refused("splits-missing");
        let from_two = RecategoriseEntry {
            from: Some(PostingAccount::Category(category(2))),
            ..to(entry_id, 3)
        };
        assert_eq!(scenario.when(&from_two).accepted().len(), 1);
        scenario
            .when(&RecategoriseEntry {
                from: Some(PostingAccount::Category(category(3))),
                ..to(entry_id, 1)
            })
            .refused("category-not-in-entry");
    }

    #[test]
    fn a_reversed_entry_stays_where_it_is() {
        let (scenario, entry_id) = with_expense(vec![]);
        let scenario = scenario.after(&ReverseEntry {
            entry_id,
            effective_on: None,
            reason: String::new(),
        });
        scenario.when(&to(entry_id, 2)).refused("already-reversed");
    }

    #[test]
    fn a_payment_between_own_accounts_leaves_the_categories_and_comes_back() {
        let (scenario, entry_id) = with_expense(vec![]);
        let transit = PostingAccount::Equity(Equity::TransfersInTransit);
        let scenario = scenario.after(&RecategoriseEntry {
            entry_id,
            from: None,
            to: transit,
        });
        assert_eq!(scenario.when(&to(entry_id, 2)).accepted().len(), 1);
        let own_account = RecategoriseEntry {
            entry_id,
            from: None,
            to: PostingAccount::Account(account(1)),
        };
        scenario.when(&own_account).refused("unknown-category");
        let from_account = RecategoriseEntry {
            from: Some(PostingAccount::Account(account(1))),
            ..to(entry_id, 1)
        };
        scenario.when(&from_account).refused("category-not-in-entry");
    }

    #[test]
    fn an_unknown_category_is_refused() {
        let (scenario, entry_id) = with_expense(vec![]);
        scenario.when(&to(entry_id, 8)).refused("unknown-category");
    }
}
