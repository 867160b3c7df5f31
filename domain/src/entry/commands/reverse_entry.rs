//! A member undoes an entry by its mirror image. Nothing is deleted: both stay in the ledger and sum to nothing.

use chrono::NaiveDate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    access::Cell,
    decide::{Context, Decide, Decision, Stop},
    entry::{EntryRefusal, EntryReversed, shared_entry},
    family::FamilyRefusal,
    id::EntryId,
    journal::{post, reversed},
    ledger_account::ShareLevel,
    text,
};

/// A member undoes an entry by its mirror image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReverseEntry {
    /// The entry. A teen or child may undo what they entered themselves.
    pub entry_id: EntryId,
    /// The day the reversal counts for; the entry's own day when absent, so that the month reads as if it had not been.
    #[serde(default)]
    pub effective_on: Option<NaiveDate>,
    /// Why.
    #[serde(default)]
    #[schemars(length(max = 500))]
    pub reason: String,
}

impl Decide for ReverseEntry {
    const NAME: &'static str = "reverse-entry";
    const SUMMARY: &'static str = "Undo an entry by its mirror image";

    fn decide(&self, context: &Context<'_>) -> Result<Decision, Stop> {
        let member = context.asking_member()?;
        let entry = shared_entry(context, self.entry_id, ShareLevel::Full)?;
        let own_day = entry.effective_on().ok_or(EntryRefusal::UnknownEntry)?;
        if Self::ACCESS.of(member.role) == Cell::Own && entry.entered_by() != Some(member.member_id) {
            return Err(FamilyRefusal::NotYours.into());
        }
        if entry.is_reversed() {
            return Err(EntryRefusal::AlreadyReversed.into());
        }
        let day = match self.effective_on {
            Some(day) => context.effective_on(Some(day))?,
            None => own_day,
        };
        if day < own_day {
            return Err(EntryRefusal::BeforeEntry { day: own_day }.into());
        }
        let reversal = EntryReversed {
            entry_id: self.entry_id,
            postings: reversed(entry.postings()),
            reason: text::note("reason", &self.reason)?,
        };
        let mut decision = Decision::default();
        post(context, &mut decision, self.entry_id, reversal, day)?;
        Ok(decision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actor::Role;
    use crate::{
        category::CategoryKind,
        entry::commands::{AddExpense, Transfer},
        ledger_account::AccountKind,
        testing::{Scenario, account, category, eur},
    };

    fn with_expense() -> (Scenario, EntryId) {
        let scenario = Scenario::family()
            .with_member(Role::Child)
            .with_account(account(1), AccountKind::Bank, "EUR")
            .with_category(category(1), CategoryKind::Expense)
            .with_wallet(account(2), Role::Child);
        let expense = AddExpense {
            account_id: account(1),
            money: eur("3"),
            category_id: Some(category(1)),
            splits: vec![],
            effective_on: NaiveDate::from_ymd_opt(2026, 1, 31),
            payee: String::new(),
            note: String::new(),
        };
        let events = scenario.when(&expense).accepted();
        let entry_id = EntryId::from_uuid(events[0].stream.id);
        (scenario.given(events), entry_id)
    }

    fn reverse(entry_id: EntryId) -> ReverseEntry {
        ReverseEntry {
            entry_id,
            effective_on: None,
            reason: "twice".to_owned(),
        }
    }

    #[test]
    fn an_entry_is_reversed_once_on_its_own_day() {
        let (scenario, entry_id) = with_expense();
        let events = scenario.when(&reverse(entry_id)).accepted();
        assert_eq!(
            events[0].effective_on,
            NaiveDate::from_ymd_opt(2026, 1, 31).expect("a day")
        );
        scenario
            .given(events)
            .when(&reverse(entry_id))
            .refused("already-reversed");
    }

    #[test]
    fn an_entry_is_not_undone_before_it_was() {
        let (scenario, entry_id) = with_expense();
        let on = |day| ReverseEntry {
            effective_on: NaiveDate::from_ymd_opt(2026, 1, day),
            ..reverse(entry_id)
        };
        scenario.when(&on(30)).refused("reversal-before-entry");
        assert_eq!(scenario.when(&on(31)).accepted().len(), 1);
    }

    #[test]
    fn a_partner_or_teen_undoes_only_what_they_entered_and_a_child_asks_an_adult() {
        let (scenario, entry_id) = with_expense();
        let scenario = scenario.with_member(Role::Partner).with_member(Role::Teen);
        for (role, code) in [
            (Role::Partner, "not-yours"),
            (Role::Teen, "unknown-entry"),
            (Role::Child, "role-not-allowed"),
        ] {
            scenario.clone().asked_by(role).when(&reverse(entry_id)).refused(code);
        }
        let own = AddExpense {
            account_id: account(1),
            money: eur("1"),
            category_id: Some(category(1)),
            splits: vec![],
            effective_on: None,
            payee: String::new(),
            note: String::new(),
        };
        let scenario = scenario.asked_by(Role::Partner);
        let events = scenario.when(&own).accepted();
        let entry_id = EntryId::from_uuid(events[0].stream.id);
        assert_eq!(scenario.given(events).when(&reverse(entry_id)).accepted().len(), 1);
    }

    #[test]
    fn what_was_spent_from_a_wallet_since_stays_spent() {
        let (scenario, _) = with_expense();
        let (from, to) = (account(1), account(2));
        let pocket_money = Transfer {
            from,
            to,
            money: eur("5"),
            received: None,
            effective_on: None,
            note: String::new(),
        };
        let events = scenario.when(&pocket_money).accepted();
        let entry_id = EntryId::from_uuid(events[0].stream.id);
        let spent = AddExpense {
            account_id: account(2),
            money: eur("4"),
            category_id: Some(category(1)),
            splits: vec![],
            effective_on: None,
            payee: String::new(),
            note: String::new(),
        };
        let scenario = scenario
            .given(events)
            .asked_by(Role::Child)
            .after(&spent)
            .asked_by(Role::Parent);
        scenario.when(&reverse(entry_id)).refused("wallet-too-low");
    }

    #[test]
    fn an_unknown_entry_is_refused() {
        let (scenario, _) = with_expense();
        scenario
            .when(&reverse(EntryId::from_uuid(uuid::Uuid::nil())))
            .refused("unknown-entry");
    }
}
