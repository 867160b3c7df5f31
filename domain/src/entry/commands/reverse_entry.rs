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
    /// The entry. A teen may undo what they entered themselves, of today or yesterday.
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
        // What a teen has spent, or was allowed to spend, is settled after a day; from then on an adult decides.
        let yesterday = context.today()?.pred_opt();
        if member.role.is_young() && yesterday.is_some_and(|yesterday| own_day < yesterday) {
            return Err(EntryRefusal::Settled { day: own_day }.into());
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
    use chrono::{DateTime, Days, TimeDelta, Utc};
    use serde_json::json;

    use super::*;
    use crate::{
        actor::Role,
        aggregate::LedgerEvent,
        category::CategoryKind,
        entry::commands::{AddExpense, Transfer},
        ledger_account::AccountKind,
        spending::SpendingEvent,
        testing::{Scenario, account, category, eur, member_id, today},
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

    /// A teen with nine euros in their wallet, of whom what they spend counts for a day so many days ago.
    fn spent_by_a_teen(days: u64) -> (Scenario, EntryId) {
        let pocket_money = Transfer {
            from: account(1),
            to: account(2),
            money: eur("9"),
            received: None,
            effective_on: None,
            note: String::new(),
        };
        let scenario = Scenario::family()
            .with_member(Role::Teen)
            .with_account(account(1), AccountKind::Bank, "EUR")
            .with_category(category(1), CategoryKind::Expense)
            .with_wallet(account(2), Role::Teen)
            .after(&pocket_money)
            .asked_by(Role::Teen);
        let spent = AddExpense {
            account_id: account(2),
            money: eur("1"),
            category_id: Some(category(1)),
            splits: vec![],
            effective_on: Some(today() - Days::new(days)),
            payee: String::new(),
            note: String::new(),
        };
        let events = scenario.when(&spent).accepted();
        let entry_id = EntryId::from_uuid(events[0].stream.id);
        (scenario.given(events), entry_id)
    }

    #[test]
    fn a_teen_undoes_what_is_of_yesterday_and_asks_an_adult_for_what_is_older() {
        let settled = Some("entry-settled");
        for (days, code) in [(0, None), (1, None), (2, settled), (40, settled)] {
            let (scenario, entry_id) = spent_by_a_teen(days);
            // The day that the reversal counts for makes no difference.
            for effective_on in [None, Some(today())] {
                let undo = ReverseEntry {
                    effective_on,
                    ..reverse(entry_id)
                };
                assert_eq!(scenario.when(&undo).code(), code, "{days} {effective_on:?}");
                let adult = scenario.clone().asked_by(Role::Parent);
                assert_eq!(adult.when(&undo).code(), None, "{days} {effective_on:?}");
            }
        }
    }

    #[test]
    fn yesterday_is_over_with_the_day_in_the_familys_zone() {
        let (scenario, entry_id) = spent_by_a_teen(0);
        // Berlin is an hour ahead of UTC in November.
        let over: DateTime<Utc> = "2026-11-22T23:00:00Z".parse().expect("an instant");
        let before = scenario.clone().at(over - TimeDelta::microseconds(1));
        assert_eq!(before.when(&reverse(entry_id)).code(), None);
        scenario.at(over).when(&reverse(entry_id)).refused("entry-settled");
    }

    #[test]
    fn what_an_adult_approved_is_settled_like_what_the_teen_spent_by_themselves() {
        let (scenario, _) = spent_by_a_teen(0);
        let teen = member_id(Role::Teen);
        let done = |scenario: Scenario, role, name, body| {
            let scenario = scenario.asked_by(role);
            let events = scenario.when_posted(name, &body).accepted();
            (scenario.given(events.clone()), events)
        };
        let limit = json!({"member_id": teen, "per_entry": eur("1")});
        let (scenario, _) = done(scenario, Role::Parent, "set-spending-limit", limit);
        let asked = json!({"account_id": account(2), "money": eur("5"), "category_id": category(1)});
        let (scenario, events) = done(scenario, Role::Teen, "request-spending", asked);
        let request_id = events.iter().find_map(|new| match &new.event {
            LedgerEvent::Spending(SpendingEvent::SpendingRequested(requested)) => Some(requested.request_id),
            _ => None,
        });
        let approved = json!({"member_id": teen, "request_id": request_id});
        let (scenario, events) = done(scenario, Role::Parent, "approve-spending", approved);
        let entry_id = EntryId::from_uuid(events[1].stream.id);
        let later = scenario.clone().at(scenario.now() + TimeDelta::days(2));
        later
            .clone()
            .asked_by(Role::Teen)
            .when(&reverse(entry_id))
            .refused("entry-settled");
        assert_eq!(later.asked_by(Role::Parent).when(&reverse(entry_id)).code(), None);
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
