use chrono::NaiveDate;

use super::*;
use crate::{
    actor::Role,
    aggregate::LedgerEvent,
    bank_connection::commands::ConnectBank,
    decide::NewEvent,
    family::commands::RevokeConsent,
    journal::postings_of,
    ledger_account::AccountKind,
    statement_import::commands::UndoImport,
    testing::{Scenario, account, eur, member_id},
};

fn scenario() -> Scenario {
    let connect = ConnectBank {
        account_id: account(1),
        provider: "statement-file".to_owned(),
        institution: String::new(),
    };
    Scenario::family()
        .with_account(account(1), AccountKind::Bank, "EUR")
        .after(&connect)
}

fn row(day: u32, amount: &str, reference: Option<&str>) -> BankTransaction {
    BankTransaction {
        booked_on: NaiveDate::from_ymd_opt(2026, 4, day).expect("a day"),
        value_on: None,
        amount: eur(amount),
        reference: reference.map(str::to_owned),
        counterparty: "City Coffee".to_owned(),
        remittance: String::new(),
        category: None,
    }
}

fn sync(source: &str, opening: Option<&str>, rows: Vec<BankTransaction>, closing: Option<&str>) -> SyncBank {
    SyncBank {
        connection_id: ConnectionId::of_account(account(1)),
        statement: Statement {
            bank_account: String::new(),
            currency: "EUR".parse().expect("a code"),
            opening: opening.map(eur),
            closing: closing.map(eur),
            closing_on: None,
            rows,
        },
        source: source.to_owned(),
        file_sha256: String::new(),
    }
}

fn synced(events: &[NewEvent]) -> BankSynced {
    let last = events.last().map(|new| &new.event);
    match last {
        Some(LedgerEvent::BankConnection(crate::bank_connection::BankConnectionEvent::BankSynced(synced))) => {
            synced.clone()
        }
        other => panic!("{other:?}"),
    }
}

fn balance(events: &[NewEvent]) -> Money {
    let own = |posting: &&Posting| posting.ledger_account == PostingAccount::Account(account(1));
    let amounts = events
        .iter()
        .flat_map(|new| postings_of(&new.event))
        .filter(own)
        .map(|posting| posting.money);
    sum(amounts, eur("0"))
}

#[test]
fn two_equal_rows_on_one_day_are_two_payments_and_a_second_import_adds_nothing() {
    let command = sync("camt", None, vec![row(7, "-4.50", None), row(7, "-4.50", None)], None);
    let scenario = scenario();
    let events = scenario.when(&command).accepted();
    assert_eq!(synced(&events).rows_booked, 2);
    assert_eq!(balance(&events), eur("-9.00"));
    let again = scenario.given(events).when(&command).accepted();
    assert_eq!((synced(&again).rows_booked, synced(&again).rows_known), (0, 2));
    assert_eq!(balance(&again), eur("0"));
}

#[test]
fn an_overlapping_file_adds_what_is_new() {
    let scenario = scenario().after(&sync(
        "csv",
        None,
        vec![row(6, "-1", None), row(7, "-4.50", None)],
        None,
    ));
    let later = sync(
        "csv",
        None,
        vec![row(7, "-4.50", None), row(7, "-4.50", None), row(8, "-2", None)],
        None,
    );
    let events = scenario.when(&later).accepted();
    assert_eq!((synced(&events).rows_booked, synced(&events).rows_known), (2, 1));
}

#[test]
fn another_reference_is_another_payment() {
    let scenario = scenario().after(&sync("ofx", None, vec![row(7, "-4.50", Some("a"))], None));
    let events = scenario
        .when(&sync("ofx", None, vec![row(7, "-4.50", Some("b"))], None))
        .accepted();
    assert_eq!(synced(&events).rows_booked, 1);
    let events = scenario
        .when(&sync("ofx", None, vec![row(7, "-4.50", Some("a"))], None))
        .accepted();
    assert_eq!(synced(&events).rows_booked, 0);
}

#[test]
fn the_same_days_from_another_kind_of_source_meet() {
    let scenario = scenario().after(&sync("ofx", None, vec![row(7, "-4.50", Some("a"))], None));
    let events = scenario
        .when(&sync("csv", None, vec![row(7, "-4.50", None)], None))
        .accepted();
    assert_eq!(synced(&events).rows_known, 1);
}

#[test]
fn what_does_not_add_up_is_refused_whole() {
    let rows = vec![row(7, "-4.50", None)];
    scenario()
        .when(&sync("camt", Some("10"), rows.clone(), Some("5.51")))
        .refused("statement-not-proved");
    assert_eq!(
        synced(
            &scenario()
                .when(&sync("camt", Some("10"), rows, Some("5.50")))
                .accepted()
        )
        .rows_booked,
        1
    );
}

#[test]
fn the_opening_balance_follows_from_the_closing_one() {
    let events = scenario()
        .when(&sync("ofx", None, vec![row(7, "-4.50", None)], Some("95.50")))
        .accepted();
    assert_eq!(balance(&events), eur("95.50"));
    assert_eq!(events[0].kind().0, "OpeningBalanceRecorded");
}

#[test]
fn a_missing_statement_between_two_is_noticed() {
    let scenario = scenario().after(&sync("ofx", None, vec![row(7, "-4.50", None)], Some("95.50")));
    scenario
        .when(&sync("ofx", None, vec![row(9, "-1", None)], Some("90")))
        .refused("statement-not-continuous");
    scenario
        .when(&sync("ofx", None, vec![row(9, "-1", None)], Some("94.50")))
        .accepted();
    scenario
        .when(&sync("camt", Some("91"), vec![row(9, "-1", None)], Some("90")))
        .refused("statement-not-continuous");
}

#[test]
fn an_earlier_statement_moves_the_opening_balance_back() {
    let scenario = scenario();
    let first = scenario
        .when(&sync("ofx", None, vec![row(7, "-4.50", None)], Some("95.50")))
        .accepted();
    let scenario = scenario.given(first.clone());
    scenario
        .when(&sync("ofx", None, vec![row(2, "30", None)], Some("99")))
        .refused("statement-not-continuous");
    let earlier = scenario
        .when(&sync("ofx", None, vec![row(2, "30", None)], Some("100")))
        .accepted();
    let all: Vec<_> = first.iter().cloned().chain(earlier.clone()).collect();
    assert_eq!(balance(&all), eur("95.50"), "the balance of today does not move");

    let undo = UndoImport {
        import_id: synced(&earlier).import_id,
    };
    let undone = scenario.given(earlier).when(&undo).accepted();
    let all: Vec<_> = all.into_iter().chain(undone).collect();
    assert_eq!(balance(&all), eur("95.50"));
}

#[test]
fn an_import_is_undone_once_and_may_come_again() {
    let command = sync(
        "ofx",
        None,
        vec![row(7, "-4.50", Some("a")), row(8, "-1", Some("b"))],
        Some("95"),
    );
    let scenario = scenario();
    let events = scenario.when(&command).accepted();
    let undo = UndoImport {
        import_id: synced(&events).import_id,
    };
    let scenario = scenario.given(events.clone());
    let undone = scenario.when(&undo).accepted();
    let all: Vec<_> = events.into_iter().chain(undone.clone()).collect();
    assert_eq!(balance(&all), eur("0"));
    let scenario = scenario.given(undone);
    scenario.when(&undo).refused("import-already-undone");
    let again = scenario.when(&command).accepted();
    assert_eq!(synced(&again).rows_booked, 2);
    assert_eq!(balance(&again), eur("95"));
}

#[test]
fn the_latest_import_is_undone_first() {
    let scenario = scenario();
    let first = scenario
        .when(&sync("ofx", None, vec![row(7, "-4.50", None)], Some("95.50")))
        .accepted();
    let scenario = scenario.given(first.clone());
    let second = scenario
        .when(&sync("ofx", None, vec![row(8, "-5.50", None)], Some("90")))
        .accepted();
    let scenario = scenario.given(second.clone());
    let undo_first = UndoImport {
        import_id: synced(&first).import_id,
    };
    scenario.when(&undo_first).refused("import-not-latest");
    let scenario = scenario.after(&UndoImport {
        import_id: synced(&second).import_id,
    });
    assert!(!scenario.when(&undo_first).accepted().is_empty());
}

#[test]
fn the_files_own_categories_are_used_and_added() {
    let named = |day, amount, name: &str| BankTransaction {
        category: Some(name.to_owned()),
        ..row(day, amount, None)
    };
    let rows = vec![
        named(1, "-3", "Expenses:Food:Groceries"),
        named(2, "1", "Expenses:Food:Groceries"),
        named(3, "9", "Income:Salary"),
        named(4, "-5", "Assets:Savings"),
        named(5, "-6", "Pets"),
    ];
    let events = scenario().when(&sync("csv", None, rows, None)).accepted();
    let added: Vec<_> = events.iter().filter(|new| new.kind().0 == "CategoryAdded").collect();
    assert_eq!(added.len(), 3);
    let transit = PostingAccount::Equity(Equity::TransfersInTransit);
    assert!(
        events
            .iter()
            .flat_map(|new| postings_of(&new.event))
            .any(|posting| posting.ledger_account == transit)
    );
}

#[test]
fn rows_over_nothing_are_counted_and_left_out() {
    let events = scenario()
        .when(&sync("mt940", None, vec![row(7, "0", None), row(8, "-1", None)], None))
        .accepted();
    assert_eq!((synced(&events).rows_zero, synced(&events).rows_booked), (1, 1));
}

#[test]
fn an_account_opened_with_a_balance_is_brought_to_the_banks() {
    let connect = ConnectBank {
        account_id: account(2),
        provider: "statement-file".to_owned(),
        institution: String::new(),
    };
    let opened = crate::ledger_account::AccountOpened {
        account_id: account(2),
        name: "Giro".to_owned(),
        kind: AccountKind::Bank,
        currency: "EUR".parse().expect("a code"),
        owner: None,
        opening_balance: Some(eur("100")),
    };
    let stream = crate::stream::StreamId {
        kind: "ledger-account",
        id: account(2).uuid(),
    };
    let given = NewEvent {
        stream,
        event: LedgerEvent::LedgerAccount(opened.into()),
        effective_on: crate::testing::today(),
    };
    let scenario = Scenario::family().given(vec![given]).after(&connect);
    let command = SyncBank {
        connection_id: ConnectionId::of_account(account(2)),
        ..sync("ofx", None, vec![row(7, "-4.50", None)], Some("100.50"))
    };
    let events = scenario.when(&command).accepted();
    let own = |posting: &&Posting| posting.ledger_account == PostingAccount::Account(account(2));
    let amounts = events
        .iter()
        .flat_map(|new| postings_of(&new.event))
        .filter(own)
        .map(|posting| posting.money);
    assert_eq!(sum(amounts, eur("100")), eur("100.50"));
}

#[test]
fn another_currency_and_too_many_rows_are_refused() {
    let mut dollars = sync("csv", None, vec![row(7, "-1", None)], None);
    dollars.statement.currency = "USD".parse().expect("a code");
    scenario().when(&dollars).refused("other-currency");
    let many = vec![row(7, "-1", None); ROWS_MAX + 1];
    scenario().when(&sync("csv", None, many, None)).refused("rows-max");
}

#[test]
fn an_unknown_connection_is_refused() {
    Scenario::family()
        .when(&sync("csv", None, vec![], None))
        .refused("unknown-connection");
}

#[test]
fn a_file_that_names_categories_names_those_of_rows_known_without() {
    let scenario = scenario().after(&sync(
        "ofx",
        None,
        vec![row(7, "-4.50", Some("a")), row(8, "-50", Some("b"))],
        None,
    ));
    let named = |day, amount, name: &str| BankTransaction {
        category: Some(name.to_owned()),
        ..row(day, amount, None)
    };
    let csv = sync(
        "csv",
        None,
        vec![named(7, "-4.50", "Coffee"), named(8, "-50", "Liabilities:Card")],
        None,
    );
    let events = scenario.when(&csv).accepted();
    assert_eq!((synced(&events).rows_known, synced(&events).rows_categorised), (2, 2));
    assert_eq!(balance(&events), eur("0"), "the account is not touched");
    let again = scenario.given(events).when(&csv).accepted();
    assert_eq!(synced(&again).rows_categorised, 0, "what is named stays as it is");
}

/// What each category holds after some events, by id.
fn categories(history: &[NewEvent]) -> std::collections::BTreeMap<PostingAccount, Money> {
    let mut sums = std::collections::BTreeMap::new();
    for posting in history.iter().flat_map(|new| postings_of(&new.event)) {
        if matches!(posting.ledger_account, PostingAccount::Category(_)) {
            let held = sums.entry(posting.ledger_account).or_insert_with(|| eur("0"));
            *held = held.checked_add(&posting.money).expect("small sums");
        }
    }
    sums.retain(|_, held| !held.is_zero());
    sums
}

fn imported(events: &[NewEvent]) -> UndoImport {
    UndoImport {
        import_id: synced(events).import_id,
    }
}

fn named(day: u32, amount: &str, name: &str) -> BankTransaction {
    BankTransaction {
        category: Some(name.to_owned()),
        ..row(day, amount, None)
    }
}

#[test]
fn undoing_an_import_takes_back_the_categories_it_named_for_earlier_rows() {
    let first = sync(
        "ofx",
        None,
        vec![row(7, "-4.50", Some("a")), row(8, "-50", Some("b"))],
        None,
    );
    let scenario = scenario();
    let mut history = scenario.when(&first).accepted();
    let before = categories(&history);
    let scenario = scenario.given(history.clone());
    let naming = sync(
        "csv",
        None,
        vec![
            named(7, "-4.50", "Coffee"),
            named(8, "-50", "Liabilities:Card"),
            named(9, "-2", "Coffee"),
        ],
        None,
    );
    let events = scenario.when(&naming).accepted();
    history.extend(events.clone());
    assert_ne!(categories(&history), before);
    let undo = imported(&events);
    let scenario = scenario.given(events);
    let undone = scenario.when(&undo).accepted();
    history.extend(undone.clone());
    assert_eq!(categories(&history), before);
    assert_eq!(
        balance(&history),
        eur("-54.50"),
        "the account holds what the first file said"
    );
    // And the same file may come again.
    let again = scenario.given(undone).when(&naming).accepted();
    assert_eq!((synced(&again).rows_booked, synced(&again).rows_categorised), (1, 2));
}

#[test]
fn a_category_that_somebody_chose_since_stays_when_the_import_is_undone() {
    let scenario = scenario().after(&sync("ofx", None, vec![row(7, "-4.50", Some("a"))], None));
    let events = scenario
        .when(&sync("csv", None, vec![named(7, "-4.50", "Coffee")], None))
        .accepted();
    let undo = imported(&events);
    let moved_entry = events
        .iter()
        .find(|new| new.kind().0 == "EntryRecategorised")
        .expect("it is named");
    let choose = crate::entry::commands::RecategoriseEntry {
        entry_id: EntryId::from_uuid(moved_entry.stream.id),
        from: None,
        to: PostingAccount::Equity(Equity::TransfersInTransit),
    };
    let undone = scenario.given(events).after(&choose).when(&undo).accepted();
    assert_eq!(
        undone.iter().filter(|new| new.kind().0 == "EntryRecategorised").count(),
        0
    );
}

#[test]
fn an_entry_that_was_reversed_since_is_left_alone_when_the_import_is_undone() {
    let scenario = scenario().after(&sync("ofx", None, vec![row(7, "-4.50", Some("a"))], None));
    let events = scenario
        .when(&sync("csv", None, vec![named(7, "-4.50", "Coffee")], None))
        .accepted();
    let undo = imported(&events);
    let entry = events
        .iter()
        .find(|new| new.kind().0 == "EntryRecategorised")
        .expect("it is named");
    let reverse = crate::entry::commands::ReverseEntry {
        entry_id: EntryId::from_uuid(entry.stream.id),
        effective_on: None,
        reason: String::new(),
    };
    let undone = scenario.given(events).after(&reverse).when(&undo).accepted();
    assert_eq!(postings_of_all(&undone), 0);
}

fn postings_of_all(events: &[NewEvent]) -> usize {
    events.iter().map(|new| postings_of(&new.event).len()).sum()
}

#[test]
fn a_statement_without_a_row_waits_for_consent_to_its_owner_as_any_other() {
    let connect = ConnectBank {
        account_id: account(1),
        provider: "statement-file".to_owned(),
        institution: String::new(),
    };
    let consented = Scenario::family()
        .with_member(Role::Child)
        .with_account_of(account(1), AccountKind::Bank, Role::Child)
        .after(&connect);
    let empty = sync("csv", Some("0"), vec![], Some("0"));
    consented.when(&empty).accepted();
    let revoke = RevokeConsent {
        member_id: member_id(Role::Child),
    };
    consented.after(&revoke).when(&empty).refused("consent-required");
}
