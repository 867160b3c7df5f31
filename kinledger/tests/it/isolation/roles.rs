//! Inside a family: what a role may not see is nowhere in any answer. What it may do at all, `matrix.rs` walks.

use serde_json::json;

use super::{
    bodies::send,
    world::{CANARIES, Ids, Route, furnish, routes},
};
use crate::support::{Household, Kinledger, Person};

#[test]
fn a_young_member_sees_nothing_of_the_adults_money_in_any_answer() {
    let kinledger = Kinledger::start();
    let family = Household::found(&kinledger, "The Barbosas", "EUR");
    let ids = furnish(&family);
    let auditor = family.invite(&kinledger, "Auditor", "auditor");
    let log = family.export();
    let routes = routes(&kinledger);
    for young in [&family.teen, &family.child] {
        nothing_of_the_adults_money_is_told(&family, &routes, young, &ids);
    }
    assert_eq!(family.export(), log, "nothing of it changed anything");
    the_auditor_sees_the_money(&routes, &auditor, &ids);
}

/// Everything a young member can ask, in every way of asking that could widen it.
fn nothing_of_the_adults_money_is_told(family: &Household, routes: &[Route], young: &Person, ids: &Ids) {
    let mut answers = Vec::new();
    for route in routes.iter().filter(|route| route.method == "GET") {
        answers.push((route.path.clone(), send(&young.client, route, ids, ids, &[]).text()));
    }
    let asked = [
        "accounts?on=2030-01-01",
        "entries?limit=200",
        "entries?text=canary",
        "entries?min_amount=10000",
        "spending?from=2020-01-01",
        "trend?months=120",
        "notifications?limit=200",
        "chores?status=all",
        "leaderboard?period=all",
        "members",
        "badges",
        "categories",
        "imports",
        "bank-connections",
        "budgets",
        "spending-limits",
        "spending-requests?status=all",
    ];
    for what in asked {
        answers.push((
            what.to_owned(),
            young.client.get(&format!("{}/{what}", family.path())).text(),
        ));
    }
    let more = [
        format!("entries?account_id={}", ids.other_account),
        format!("entries?member_id={}", family.parent.member_id),
        format!("entries?category_id={}", ids.category),
        format!("commands/{}", ids.command),
    ];
    for what in more {
        answers.push((
            what.clone(),
            young.client.get(&format!("{}/{what}", family.path())).text(),
        ));
    }
    // Refusals must not tell either: what an entry is, what an account holds.
    for (name, body) in [
        (
            "transfer",
            json!({"from": ids.other_account, "to": ids.wallet, "money": family.money("1")}),
        ),
        (
            "transfer",
            json!({"from": ids.account, "to": ids.wallet, "money": family.money("1")}),
        ),
        (
            "add-expense",
            json!({"account_id": ids.other_account, "money": family.money("99999"), "category_id": ids.category}),
        ),
        ("reverse-entry", json!({"entry_id": ids.entry})),
    ] {
        let reply = family.command(young, name, &body);
        assert!(reply.status >= 400, "{name}: {}", reply.text());
        answers.push((name.to_owned(), reply.text()));
    }
    assert!(
        answers.iter().any(|(_, said)| said.contains("Feed the cat")),
        "the crawl reads something"
    );
    for (what, said) in answers {
        for canary in CANARIES {
            assert!(!said.contains(canary), "{what} tells {canary}: {said}");
        }
    }
}

fn the_auditor_sees_the_money(routes: &[Route], auditor: &Person, ids: &Ids) {
    let entries = routes.iter().find(|route| route.path.ends_with("/accounts")).unwrap();
    let said = send(&auditor.client, entries, ids, ids, &[]).text();
    assert!(said.contains("Canary Cash"), "the canaries sing where they may: {said}");
}
