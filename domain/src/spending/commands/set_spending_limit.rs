//! A parent says how much a teen or child may spend by themselves.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Money,
    decide::{Context, Decide, Decision, Stop},
    id::MemberId,
    spending::{EndedBecause, Spending, SpendingLimit, SpendingLimitSet, SpendingRefusal, requests::end_some},
};

/// A parent says how much a teen or child may spend by themselves: all of it anew, so what is left out is limited no more.
/// Of what is not said at all, nothing is limited; nothing (`0`) means that an adult approves everything.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetSpendingLimit {
    /// A teen or child.
    pub member_id: MemberId,
    /// In one entry.
    #[serde(default)]
    pub per_entry: Option<Money>,
    /// In a day of the family's.
    #[serde(default)]
    pub per_day: Option<Money>,
    /// In a week, from the family's week start.
    #[serde(default)]
    pub per_week: Option<Money>,
    /// In a calendar month.
    #[serde(default)]
    pub per_month: Option<Money>,
}

impl SetSpendingLimit {
    fn limit(&self) -> Result<SpendingLimit, SpendingRefusal> {
        let said = [self.per_entry, self.per_day, self.per_week, self.per_month];
        let mut said = said.into_iter().flatten();
        let first = said.next().ok_or(SpendingRefusal::LimitMissing)?;
        let currency = first.currency();
        for money in said.chain([first]) {
            if money.currency() != currency {
                return Err(SpendingRefusal::LimitCurrencies);
            }
            if money.is_negative() {
                return Err(SpendingRefusal::LimitNegative);
            }
        }
        Ok(SpendingLimit {
            currency,
            per_entry: self.per_entry,
            per_day: self.per_day,
            per_week: self.per_week,
            per_month: self.per_month,
        })
    }
}

impl Decide for SetSpendingLimit {
    const NAME: &'static str = "set-spending-limit";
    const SUMMARY: &'static str = "Say how much a teen or child may spend by themselves";

    fn decide(&self, context: &Context<'_>) -> Result<Decision, Stop> {
        let family = context.family()?;
        if !family.consented(self.member_id)?.role.is_young() {
            return Err(SpendingRefusal::OnlyYoung.into());
        }
        let limit = self.limit()?;
        let spending = context.get::<Spending>(self.member_id.uuid())?;
        if spending.limit() == Some(&limit) {
            return Err(SpendingRefusal::SameLimit.into());
        }
        let (calendar, today) = (family.calendar(), context.today()?);
        let mut decision = Decision::default();
        let set = SpendingLimitSet {
            member_id: self.member_id,
            limit: limit.clone(),
        };
        decision.record::<Spending>(self.member_id.uuid(), set.into(), today);
        end_some(
            context,
            &mut decision,
            self.member_id,
            EndedBecause::LimitChanged,
            |request| Ok(spending.check(&limit, calendar, today, &request.money).is_ok()),
        )?;
        Ok(decision)
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Days, NaiveDate, Utc};

    use super::super::RemoveSpendingLimit;
    use super::*;
    use crate::{
        actor::Role,
        calendar::WeekStart,
        category::CategoryKind,
        entry::commands::{AddExpense, ReverseEntry, Transfer},
        id::{AccountId, EntryId},
        ledger_account::{
            AccountKind, ShareLevel,
            commands::{OpenAccount, ShareAccount},
        },
        testing::{Scenario, account, category, currency, eur, member_id, today},
    };

    fn none_for(role: Role) -> SetSpendingLimit {
        SetSpendingLimit {
            member_id: member_id(role),
            per_entry: None,
            per_day: None,
            per_week: None,
            per_month: None,
        }
    }

    fn daily(amount: &str) -> SetSpendingLimit {
        SetSpendingLimit {
            per_day: Some(eur(amount)),
            ..none_for(Role::Teen)
        }
    }

    fn pocket(scenario: Scenario) -> Scenario {
        scenario
            .with_member(Role::Partner)
            .with_member(Role::Teen)
            .with_account(account(1), AccountKind::Bank, "EUR")
            .with_category(category(1), CategoryKind::Expense)
            .with_wallet(account(2), Role::Teen)
            .after(&moved(account(1), account(2), "1000"))
    }

    /// A teen with a thousand euros in the wallet; a parent asks.
    fn scenario() -> Scenario {
        pocket(Scenario::family())
    }

    fn moved(from: AccountId, to: AccountId, amount: &str) -> Transfer {
        Transfer {
            from,
            to,
            money: eur(amount),
            received: None,
            effective_on: None,
            note: String::new(),
        }
    }

    fn spend(amount: &str, effective_on: Option<NaiveDate>) -> AddExpense {
        AddExpense {
            account_id: account(2),
            money: eur(amount),
            category_id: Some(category(1)),
            splits: vec![],
            effective_on,
            payee: "Kiosk".to_owned(),
            note: String::new(),
        }
    }

    fn instant(at: &str) -> DateTime<Utc> {
        at.parse().expect("an instant")
    }

    #[test]
    fn a_limit_is_spent_to_the_cent_and_no_further() {
        let scenario = scenario().after(&daily("10")).asked_by(Role::Teen);
        let events = scenario.when(&spend("4.01", None)).accepted();
        let names: Vec<_> = events.iter().map(|event| event.kind().0).collect();
        assert_eq!(names, ["ExpenseAdded", "WalletBalanceChanged", "SpendingCounted"]);
        let scenario = scenario.given(events);
        scenario.when(&spend("6", None)).refused("spending-limit-exceeded");
        let scenario = scenario.after(&spend("5.99", None));
        scenario.when(&spend("0.01", None)).refused("spending-limit-exceeded");
    }

    #[test]
    fn every_part_of_a_limit_holds() {
        let limit = SetSpendingLimit {
            per_entry: Some(eur("5")),
            per_week: Some(eur("12")),
            per_month: Some(eur("13")),
            ..none_for(Role::Teen)
        };
        // A Saturday, a Sunday and the Monday after.
        let scenario = scenario().after(&limit).asked_by(Role::Teen);
        scenario.when(&spend("5.01", None)).refused("spending-limit-exceeded");
        let scenario = scenario.after(&spend("5", None)).after(&spend("5", None));
        scenario.when(&spend("2.01", None)).refused("spending-limit-exceeded");
        let scenario = scenario.after(&spend("2", None)).at(instant("2026-11-23T12:00:00Z"));
        scenario.when(&spend("1.01", None)).refused("spending-limit-exceeded");
        let scenario = scenario.after(&spend("1", None)).at(instant("2026-12-01T12:00:00Z"));
        scenario.when(&spend("5", None)).accepted();
    }

    #[test]
    fn nothing_is_left_of_a_limit_of_nothing() {
        let scenario = scenario().after(&daily("0")).asked_by(Role::Teen);
        scenario.when(&spend("0.01", None)).refused("spending-limit-exceeded");
    }

    #[test]
    fn a_day_is_the_familys_own_across_the_change_of_clocks() {
        // In Berlin the 29th of March 2026 has 23 hours, from 23:00 UTC to 22:00.
        let scenario = scenario().after(&daily("10")).asked_by(Role::Teen);
        let scenario = scenario.at(instant("2026-03-28T22:59:59Z")).after(&spend("10", None));
        scenario.when(&spend("0.01", None)).refused("spending-limit-exceeded");
        let scenario = scenario.at(instant("2026-03-28T23:00:00Z")).after(&spend("10", None));
        let scenario = scenario.at(instant("2026-03-29T21:59:59Z"));
        scenario.when(&spend("0.01", None)).refused("spending-limit-exceeded");
        let scenario = scenario.at(instant("2026-03-29T22:00:00Z"));
        assert_eq!(scenario.when(&spend("10", None)).accepted().len(), 3);
    }

    #[test]
    fn what_is_dated_back_counts_in_the_period_of_its_day() {
        let monthly = SetSpendingLimit {
            per_month: Some(eur("10")),
            ..none_for(Role::Teen)
        };
        let leap = NaiveDate::from_ymd_opt(2028, 2, 29);
        let scenario = pocket(Scenario::family_in("Pacific/Apia", WeekStart::Sunday));
        let scenario = scenario.after(&monthly).asked_by(Role::Teen);
        let scenario = scenario.at(instant("2028-03-02T12:00:00Z"));
        let scenario = scenario.after(&spend("10", None)).after(&spend("9", leap));
        scenario.when(&spend("1.01", leap)).refused("spending-limit-exceeded");
        scenario.when(&spend("0.01", None)).refused("spending-limit-exceeded");
        assert_eq!(
            scenario.when(&spend("1", leap)).accepted()[2].effective_on,
            leap.expect("a day")
        );
    }

    #[test]
    fn days_to_come_and_days_long_past_are_for_adults() {
        let scenario = scenario().after(&daily("10")).asked_by(Role::Teen);
        for day in [today() + Days::new(1), today() - Days::new(8)] {
            scenario
                .when(&spend("1", Some(day)))
                .refused("spending-day-out-of-range");
            assert_eq!(
                scenario
                    .clone()
                    .asked_by(Role::Parent)
                    .when(&spend("1", Some(day)))
                    .accepted()
                    .len(),
                2
            );
        }
        assert_eq!(
            scenario
                .when(&spend("1", Some(today() - Days::new(7))))
                .accepted()
                .len(),
            3
        );
    }

    #[test]
    fn an_undone_entry_gives_back_what_it_used_up_once() {
        let scenario = scenario().after(&daily("10")).asked_by(Role::Teen);
        let yesterday = Some(today() - Days::new(1));
        let events = scenario.when(&spend("10", yesterday)).accepted();
        let entry_id = EntryId::from_uuid(events[0].stream.id);
        let scenario = scenario.given(events);
        scenario.when(&spend("1", yesterday)).refused("spending-limit-exceeded");
        let undone = ReverseEntry {
            entry_id,
            effective_on: Some(today()),
            reason: "returned".to_owned(),
        };
        for role in [Role::Teen, Role::Parent] {
            let events = scenario.clone().asked_by(role).when(&undone).accepted();
            let names: Vec<_> = events.iter().map(|event| event.kind().0).collect();
            assert_eq!(names, ["EntryReversed", "WalletBalanceChanged", "SpendingGivenBack"]);
            let scenario = scenario.clone().given(events).asked_by(Role::Teen);
            let scenario = scenario.after(&spend("10", yesterday));
            scenario
                .when(&spend("0.01", yesterday))
                .refused("spending-limit-exceeded");
        }
    }

    #[test]
    fn what_an_adult_enters_counts_for_nobodys_limit() {
        let scenario = scenario().after(&daily("10"));
        for role in [Role::Parent, Role::Partner] {
            let events = scenario.clone().asked_by(role).when(&spend("500", None)).accepted();
            assert_eq!(events.len(), 2);
        }
    }

    #[test]
    fn transfers_out_of_ones_hands_count_and_between_ones_own_accounts_do_not() {
        let scenario = scenario()
            .with_account_of(account(3), AccountKind::Cash, Role::Teen)
            .with_account(account(4), AccountKind::Cash, "EUR")
            .after(&ShareAccount {
                account_id: account(4),
                member_id: member_id(Role::Teen),
                level: ShareLevel::Full,
            })
            .after(&daily("10"))
            .asked_by(Role::Teen);
        let own = scenario.when(&moved(account(2), account(3), "300")).accepted();
        assert_eq!(own.len(), 2, "nothing is counted");
        let scenario = scenario.given(own);
        scenario
            .when(&moved(account(3), account(4), "10.01"))
            .refused("spending-limit-exceeded");
        // Nor does a limit let the family's money into the own pocket.
        scenario
            .when(&moved(account(4), account(3), "10.01"))
            .refused("spending-limit-exceeded");
        let scenario = scenario.after(&moved(account(3), account(4), "6"));
        scenario
            .when(&moved(account(4), account(2), "4.01"))
            .refused("spending-limit-exceeded");
        assert_eq!(scenario.when(&moved(account(4), account(2), "4")).accepted().len(), 3);
    }

    #[test]
    fn taking_back_what_was_given_before_the_limit_counts_as_the_transfer_that_it_is() {
        let scenario = scenario()
            .with_account(account(4), AccountKind::Cash, "EUR")
            .after(&ShareAccount {
                account_id: account(4),
                member_id: member_id(Role::Teen),
                level: ShareLevel::Full,
            })
            .asked_by(Role::Teen);
        let given = |scenario: Scenario, amount| {
            let events = scenario.when(&moved(account(2), account(4), amount)).accepted();
            let undo = ReverseEntry {
                entry_id: EntryId::from_uuid(events[0].stream.id),
                effective_on: None,
                reason: String::new(),
            };
            (scenario.given(events), undo)
        };
        let (scenario, much) = given(scenario, "100");
        let (scenario, little) = given(scenario, "9");
        let bought = scenario.when(&spend("50", None)).accepted();
        let entry_id = EntryId::from_uuid(bought[0].stream.id);
        let scenario = scenario.given(bought).asked_by(Role::Parent).after(&daily("10"));
        assert_eq!(
            scenario.when(&much).accepted().len(),
            2,
            "an adult undoes what they like"
        );
        let scenario = scenario.asked_by(Role::Teen);
        scenario.when(&much).refused("spending-limit-exceeded");
        let scenario = scenario.after(&little);
        scenario.when(&spend("1.01", None)).refused("spending-limit-exceeded");
        // An expense that is undone takes money from nobody.
        let undone = ReverseEntry { entry_id, ..much };
        assert_eq!(scenario.when(&undone).accepted().len(), 2);
    }

    #[test]
    fn another_currency_needs_approval_whatever_the_limit() {
        let yen = |amount: &str| Money::parse(amount, currency("JPY")).expect("yen");
        let open = OpenAccount {
            name: "Trip".to_owned(),
            kind: AccountKind::Wallet,
            owner: Some(member_id(Role::Teen)),
            currency: Some(currency("JPY")),
            opening_balance: Some(yen("5000")),
            effective_on: None,
        };
        let scenario = scenario().after(&daily("1000"));
        let events = scenario.when(&open).accepted();
        let wallet = AccountId::from_uuid(events[0].stream.id);
        let spent = AddExpense {
            account_id: wallet,
            money: yen("1"),
            ..spend("1", None)
        };
        let scenario = scenario.given(events).asked_by(Role::Teen);
        scenario.when(&spent).refused("spending-needs-approval");
        let free = scenario
            .asked_by(Role::Parent)
            .after(&RemoveSpendingLimit {
                member_id: member_id(Role::Teen),
            })
            .asked_by(Role::Teen);
        assert_eq!(free.when(&spent).accepted().len(), 2);
    }

    #[test]
    fn a_limit_counts_from_when_it_is_set_and_a_change_forgets_nothing() {
        let scenario = scenario().asked_by(Role::Teen).after(&spend("50", None));
        let scenario = scenario.asked_by(Role::Parent).after(&daily("10"));
        let scenario = scenario.asked_by(Role::Teen).after(&spend("10", None));
        let scenario = scenario.asked_by(Role::Parent).after(&daily("12")).asked_by(Role::Teen);
        scenario.when(&spend("2.01", None)).refused("spending-limit-exceeded");
        let scenario = scenario.asked_by(Role::Parent).after(&daily("5")).asked_by(Role::Teen);
        scenario.when(&spend("0.01", None)).refused("spending-limit-exceeded");
    }

    #[test]
    fn nobody_but_a_parent_sets_or_lifts_a_limit() {
        let scenario = scenario().after(&daily("10"));
        let lift = RemoveSpendingLimit {
            member_id: member_id(Role::Teen),
        };
        for role in [Role::Partner, Role::Teen] {
            let scenario = scenario.clone().asked_by(role);
            scenario.when(&daily("1000")).refused("role-not-allowed");
            scenario.when(&lift).refused("role-not-allowed");
        }
    }

    #[test]
    fn a_limit_says_something_in_one_currency_about_somebody_young() {
        let yen = Money::parse("5", currency("JPY")).expect("yen");
        let scenario = scenario();
        scenario.when(&none_for(Role::Teen)).refused("spending-limit-missing");
        scenario.when(&daily("-1")).refused("spending-limit-negative");
        let mixed = SetSpendingLimit {
            per_month: Some(yen),
            ..daily("5")
        };
        scenario.when(&mixed).refused("spending-limit-currencies");
        let adult = SetSpendingLimit {
            member_id: member_id(Role::Partner),
            ..daily("5")
        };
        scenario.when(&adult).refused("limit-only-for-young");
        let nobody = SetSpendingLimit {
            member_id: MemberId::from_uuid(uuid::Uuid::nil()),
            ..daily("5")
        };
        scenario.when(&nobody).refused("unknown-member");
        scenario
            .after(&daily("5"))
            .when(&daily("5.00"))
            .refused("same-spending-limit");
    }
}
