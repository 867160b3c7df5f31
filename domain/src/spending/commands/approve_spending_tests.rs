//! Requests from asking to the decision, or to an end without one.

use chrono::{DateTime, Days, NaiveDate, Utc};
use uuid::Uuid;

use super::super::{
    ApproveSpending, CancelSpendingRequest, DeclineSpending, RemoveSpendingLimit, RequestSpending, SetSpendingLimit,
};
use crate::{
    Money,
    actor::Role,
    aggregate::LedgerEvent,
    category::CategoryKind,
    entry::{
        EntryEvent,
        commands::{AddExpense, ReverseEntry, Transfer},
    },
    family::{
        commands::{ChangeNotice, ChangeRole, EraseMember, GiveConsent, RemoveMember, RevokeConsent},
        consent::ConsentMethod,
    },
    id::{EntryId, SpendingRequestId},
    journal::{Posting, postings_of},
    ledger_account::{
        AccountKind, ShareLevel,
        commands::{CloseAccount, ShareAccount},
    },
    spending::{EndedBecause, SpendingEvent},
    testing::{Scenario, account, category, eur, member_id, today},
};

fn limit(amount: &str) -> SetSpendingLimit {
    SetSpendingLimit {
        member_id: member_id(Role::Child),
        per_entry: None,
        per_day: Some(eur(amount)),
        per_week: None,
        per_month: None,
    }
}

/// A child with a hundred euros and a limit of ten a day; the child asks.
fn limited() -> Scenario {
    let pocket_money = Transfer {
        from: account(1),
        to: account(2),
        money: eur("100"),
        received: None,
        effective_on: None,
        note: String::new(),
    };
    Scenario::family()
        .with_member(Role::Partner)
        .with_member(Role::Teen)
        .with_member(Role::Child)
        .with_account(account(1), AccountKind::Bank, "EUR")
        .with_category(category(1), CategoryKind::Expense)
        .with_category(category(9), CategoryKind::Income)
        .with_wallet(account(2), Role::Child)
        .after(&pocket_money)
        .after(&limit("10"))
        .asked_by(Role::Child)
}

fn ask(amount: &str) -> RequestSpending {
    RequestSpending {
        account_id: account(2),
        money: eur(amount),
        category_id: category(1),
        payee: "Bicycles".to_owned(),
        note: "a bell".to_owned(),
        until_on: None,
    }
}

fn expense(amount: &str) -> AddExpense {
    AddExpense {
        account_id: account(2),
        money: eur(amount),
        category_id: Some(category(1)),
        splits: vec![],
        effective_on: None,
        payee: "Bicycles".to_owned(),
        note: String::new(),
    }
}

/// The history after asking for this much, and the request.
fn asked(scenario: Scenario, amount: &str) -> (Scenario, SpendingRequestId) {
    let events = scenario.when(&ask(amount)).accepted();
    let request_id = events.iter().find_map(|new| match &new.event {
        LedgerEvent::Spending(SpendingEvent::SpendingRequested(requested)) => Some(requested.request_id),
        _ => None,
    });
    (scenario.given(events), request_id.expect("a request"))
}

fn approve(request_id: SpendingRequestId) -> ApproveSpending {
    ApproveSpending {
        member_id: member_id(Role::Child),
        request_id,
    }
}

fn decline(request_id: SpendingRequestId) -> DeclineSpending {
    DeclineSpending {
        member_id: member_id(Role::Child),
        request_id,
        reason: "you have one".to_owned(),
    }
}

fn instant(at: &str) -> DateTime<Utc> {
    at.parse().expect("an instant")
}

#[test]
fn approval_books_exactly_what_was_asked_for_in_the_same_append_and_once() {
    let (scenario, request_id) = asked(limited(), "25.50");
    for role in [Role::Parent, Role::Partner] {
        let scenario = scenario.clone().asked_by(role);
        let events = scenario.when(&approve(request_id)).accepted();
        let names: Vec<_> = events.iter().map(|event| event.kind().0).collect();
        assert_eq!(names, ["SpendingApproved", "ExpenseAdded", "WalletBalanceChanged"]);
        let postings = [
            Posting::account(account(2), eur("-25.50")),
            Posting::category(category(1), eur("25.50")),
        ];
        assert_eq!(postings_of(&events[1].event), postings);
        let LedgerEvent::Entry(EntryEvent::ExpenseAdded(added)) = &events[1].event else {
            panic!("{events:?}");
        };
        assert_eq!((added.payee.as_str(), added.note.as_str()), ("Bicycles", "a bell"));
        assert_eq!(added.entered_by, Some(member_id(Role::Child)));
        let scenario = scenario.given(events);
        scenario.when(&approve(request_id)).refused("request-done");
        scenario.when(&decline(request_id)).refused("request-done");
        let cancel = CancelSpendingRequest { request_id };
        scenario.asked_by(Role::Child).when(&cancel).refused("request-done");
    }
}

#[test]
fn an_approval_leaves_the_limit_as_it_was_and_opens_nothing_else() {
    let (scenario, request_id) = asked(limited(), "25.50");
    let scenario = scenario
        .asked_by(Role::Parent)
        .after(&approve(request_id))
        .asked_by(Role::Child);
    scenario.when(&expense("25.50")).refused("spending-limit-exceeded");
    let scenario = scenario.after(&expense("10"));
    scenario.when(&expense("0.01")).refused("spending-limit-exceeded");
}

#[test]
fn undoing_what_was_approved_gives_nothing_back_to_the_limit() {
    let (scenario, request_id) = asked(limited(), "25.50");
    let events = scenario
        .clone()
        .asked_by(Role::Parent)
        .when(&approve(request_id))
        .accepted();
    let entry_id = EntryId::from_uuid(events[1].stream.id);
    let undone = ReverseEntry {
        entry_id,
        effective_on: None,
        reason: String::new(),
    };
    let scenario = scenario.given(events).asked_by(Role::Parent);
    let events = scenario.when(&undone).accepted();
    assert_eq!(events.len(), 2, "{events:?}");
    scenario
        .given(events)
        .when(&approve(request_id))
        .refused("request-done");
}

#[test]
fn nobody_decides_a_request_of_their_own_in_whatever_role() {
    let (scenario, request_id) = asked(limited(), "25.50");
    scenario.when(&approve(request_id)).refused("role-not-allowed");
    scenario
        .clone()
        .asked_by(Role::Teen)
        .when(&approve(request_id))
        .refused("role-not-allowed");
    let promoted = ChangeRole {
        member_id: member_id(Role::Child),
        role: Role::Parent,
    };
    let scenario = scenario.asked_by(Role::Parent).after(&promoted).asked_by(Role::Child);
    scenario.when(&approve(request_id)).refused("own-request");
    scenario.when(&decline(request_id)).refused("own-request");
}

#[test]
fn a_declined_or_cancelled_request_is_over() {
    let (scenario, request_id) = asked(limited(), "25.50");
    let cancel = CancelSpendingRequest { request_id };
    let declined = scenario.clone().asked_by(Role::Partner).after(&decline(request_id));
    declined.when(&approve(request_id)).refused("request-done");
    declined.asked_by(Role::Child).when(&cancel).refused("request-done");
    scenario
        .clone()
        .asked_by(Role::Teen)
        .when(&cancel)
        .refused("unknown-request");
    let cancelled = scenario.after(&cancel).asked_by(Role::Parent);
    cancelled.when(&approve(request_id)).refused("request-done");
}

#[test]
fn a_request_is_over_after_its_last_day_in_the_familys_zone() {
    let until = |until_on| RequestSpending {
        until_on,
        ..ask("25.50")
    };
    let scenario = limited();
    for day in [today() - Days::new(1), today() + Days::new(8)] {
        scenario.when(&until(Some(day))).refused("until-out-of-range");
    }
    // In Berlin the 29th of March 2026 ends at 22:00 UTC, an hour earlier than the days before it.
    let scenario = scenario.at(instant("2026-03-28T12:00:00Z"));
    let events = scenario.when(&until(NaiveDate::from_ymd_opt(2026, 3, 29))).accepted();
    let LedgerEvent::Spending(SpendingEvent::SpendingRequested(requested)) = &events[0].event else {
        panic!("{events:?}");
    };
    let request_id = requested.request_id;
    let scenario = scenario.given(events).asked_by(Role::Parent);
    let on_time = scenario.clone().at(instant("2026-03-29T21:59:59Z"));
    assert_eq!(on_time.when(&approve(request_id)).accepted().len(), 3);
    let late = scenario.at(instant("2026-03-29T22:00:00Z"));
    late.when(&approve(request_id)).refused("request-over");
    late.when(&decline(request_id)).refused("request-over");
    // The next thing that is asked for closes it.
    let events = late.asked_by(Role::Child).when(&ask("11")).accepted();
    assert!(
        matches!(&events[0].event, LedgerEvent::Spending(SpendingEvent::SpendingRequestEnded(ended)) if ended.because == EndedBecause::TimeOver),
        "{events:?}"
    );
}

#[test]
fn what_makes_a_request_pointless_ends_it_for_good() {
    let (scenario, request_id) = asked(limited(), "25.50");
    let scenario = scenario.asked_by(Role::Parent);
    let member_id = member_id(Role::Child);
    let role = |role| ChangeRole { member_id, role };
    let ends = [
        (
            scenario.when(&RemoveMember { member_id }).accepted(),
            EndedBecause::MemberGone,
        ),
        (
            scenario.when(&EraseMember { member_id }).accepted(),
            EndedBecause::MemberGone,
        ),
        (
            scenario.when(&role(Role::Partner)).accepted(),
            EndedBecause::RoleChanged,
        ),
        (
            scenario.when(&RemoveSpendingLimit { member_id }).accepted(),
            EndedBecause::LimitChanged,
        ),
        (scenario.when(&limit("25.50")).accepted(), EndedBecause::LimitChanged),
    ];
    for (events, because) in ends {
        let ended = events.iter().find_map(|new| match &new.event {
            LedgerEvent::Spending(SpendingEvent::SpendingRequestEnded(ended)) => Some(ended.because),
            _ => None,
        });
        assert_eq!(ended, Some(because), "{events:?}");
        scenario
            .clone()
            .given(events)
            .when(&approve(request_id))
            .refused("request-done");
    }
    // Another limit that leaves no room for it leaves it standing, and so does another young role.
    let still = scenario.clone().after(&limit("25.49")).after(&role(Role::Teen));
    assert_eq!(still.when(&approve(request_id)).accepted().len(), 3);
}

#[test]
fn consent_that_is_missing_holds_a_request_up_and_consent_taken_back_ends_it() {
    let give = |notice_version| GiveConsent {
        member_id: member_id(Role::Child),
        notice_version,
        method: ConsentMethod::SignedForm,
    };
    let (scenario, request_id) = asked(limited().asked_by(Role::Child), "25.50");
    let scenario = scenario.asked_by(Role::Parent);
    let changed = scenario.clone().after(&ChangeNotice { notice_version: 2 });
    changed.when(&approve(request_id)).refused("consent-required");
    changed.when(&decline(request_id)).refused("consent-required");
    changed.when(&limit("20")).refused("consent-required");
    changed
        .clone()
        .asked_by(Role::Child)
        .when(&ask("30"))
        .refused("consent-required");
    assert_eq!(changed.after(&give(2)).when(&approve(request_id)).accepted().len(), 3);
    let revoke = RevokeConsent {
        member_id: member_id(Role::Child),
    };
    let revoked = scenario.after(&revoke);
    revoked.when(&approve(request_id)).refused("request-done");
    revoked
        .after(&give(1))
        .when(&approve(request_id))
        .refused("request-done");
}

#[test]
fn what_is_not_there_or_hidden_is_unknown() {
    let (scenario, request_id) = asked(limited(), "25.50");
    let hide = |level| ShareAccount {
        account_id: account(2),
        member_id: member_id(Role::Partner),
        level,
    };
    let scenario = scenario.asked_by(Role::Parent);
    let nobodys = SpendingRequestId::from_uuid(Uuid::nil());
    scenario.when(&approve(nobodys)).refused("unknown-request");
    let anothers = ApproveSpending {
        member_id: member_id(Role::Teen),
        request_id,
    };
    scenario.when(&anothers).refused("unknown-request");
    let hidden = scenario.clone().after(&hide(ShareLevel::None)).asked_by(Role::Partner);
    hidden.when(&approve(request_id)).refused("unknown-request");
    let decided = scenario
        .clone()
        .after(&hide(ShareLevel::None))
        .after(&decline(request_id));
    decided
        .asked_by(Role::Partner)
        .when(&approve(request_id))
        .refused("unknown-request");
    let seen = scenario.after(&hide(ShareLevel::View)).asked_by(Role::Partner);
    seen.when(&approve(request_id)).refused("share-too-small");
}

#[test]
fn approval_is_held_to_what_the_account_allows_then() {
    let (scenario, request_id) = asked(limited(), "25.50");
    let spent = expense("90");
    let parent = scenario.asked_by(Role::Parent);
    parent
        .clone()
        .after(&spent)
        .when(&approve(request_id))
        .refused("wallet-too-low");
    let closed = parent
        .after(&expense("100"))
        .after(&CloseAccount { account_id: account(2) });
    closed.when(&approve(request_id)).refused("account-closed");
}

#[test]
fn an_account_that_is_shared_no_more_is_not_spent_from() {
    let share = |level| ShareAccount {
        account_id: account(1),
        member_id: member_id(Role::Child),
        level,
    };
    let scenario = limited().asked_by(Role::Parent).after(&share(ShareLevel::Full));
    let household = RequestSpending {
        account_id: account(1),
        ..ask("25.50")
    };
    let scenario = scenario.asked_by(Role::Child);
    let events = scenario.when(&household).accepted();
    let LedgerEvent::Spending(SpendingEvent::SpendingRequested(requested)) = &events[0].event else {
        panic!("{events:?}");
    };
    let request_id = requested.request_id;
    let scenario = scenario
        .given(events)
        .asked_by(Role::Parent)
        .after(&share(ShareLevel::View));
    scenario.when(&approve(request_id)).refused("request-moot");
    scenario
        .asked_by(Role::Child)
        .when(&household)
        .refused("share-too-small");
}

#[test]
fn only_what_is_beyond_a_limit_is_asked_for() {
    let scenario = limited();
    scenario.when(&ask("10")).refused("approval-not-needed");
    let beyond = scenario.clone().after(&expense("9.99"));
    assert_eq!(beyond.when(&ask("0.02")).accepted().len(), 1);
    let unlimited = scenario.clone().asked_by(Role::Teen);
    let own = RequestSpending {
        account_id: account(3),
        ..ask("500")
    };
    unlimited
        .with_wallet(account(3), Role::Teen)
        .when(&own)
        .refused("approval-not-needed");
    scenario
        .asked_by(Role::Parent)
        .when(&ask("500"))
        .refused("role-not-allowed");
}

#[test]
fn a_request_names_a_purse_of_ones_own_a_purpose_and_an_amount() {
    let scenario = limited();
    let other_account = RequestSpending {
        account_id: account(1),
        ..ask("20")
    };
    scenario.when(&other_account).refused("unknown-account");
    let dollars = RequestSpending {
        money: Money::parse("20", "USD".parse().expect("dollars")).expect("money"),
        ..ask("20")
    };
    scenario.when(&dollars).refused("other-currency");
    scenario.when(&ask("0")).refused("amount-not-positive");
    scenario.when(&ask("-20")).refused("amount-not-positive");
    let of_category = |number| RequestSpending {
        category_id: category(number),
        ..ask("20")
    };
    scenario.when(&of_category(9)).refused("wrong-category-kind");
    scenario.when(&of_category(7)).refused("unknown-category");
    let long = RequestSpending {
        payee: "x".repeat(501),
        ..ask("20")
    };
    scenario.when(&long).refused("bad-text");
}

#[test]
fn twenty_requests_wait_and_no_more() {
    let mut scenario = limited();
    let mut last = None;
    for _ in 0..20 {
        let (next, request_id) = asked(scenario, "11");
        (scenario, last) = (next, Some(request_id));
    }
    scenario.when(&ask("11")).refused("spending-requests-max");
    let request_id = last.expect("a request");
    let scenario = scenario.after(&CancelSpendingRequest { request_id });
    let scenario = scenario.after(&ask("11"));
    scenario.when(&ask("11")).refused("spending-requests-max");
    let later = scenario.at(instant("2026-11-29T12:00:00Z"));
    let events = later.when(&ask("11")).accepted();
    assert_eq!(events.len(), 21, "twenty are closed, one is opened");
}
