//! Inside a family: what a role may not do is refused, and what it may not see is nowhere in any answer.

use serde_json::{Value, json};

use super::{
    bodies::{of_command, send},
    world::{CANARIES, Ids, Route, furnish, routes},
};
use crate::support::{Household, Kinledger, Person};

#[test]
fn every_role_does_and_sees_what_it_may_and_no_more() {
    let kinledger = Kinledger::start();
    let family = Household::found(&kinledger, "The Barbosas", "EUR");
    let ids = furnish(&family);
    let auditor = family.invite(&kinledger, "Auditor", "auditor");
    let log = family.export();
    let routes = routes(&kinledger);

    let commands = kinledger.client().get("/api/v1/commands").accepted();
    for (role, person) in [
        ("partner", &family.partner),
        ("teen", &family.teen),
        ("child", &family.child),
        ("auditor", &auditor),
    ] {
        commands_of_other_roles_are_refused(&family, &commands, role, person, &ids);
        for route in &routes {
            views_of_other_roles_are_refused(route, role, person, &ids);
        }
    }
    for young in [&family.teen, &family.child] {
        nothing_of_the_adults_money_is_told(&family, &routes, young, &ids);
    }
    assert_eq!(family.export(), log, "nothing of it changed anything");
    the_auditor_sees_the_money(&routes, &auditor, &ids);
}

fn commands_of_other_roles_are_refused(family: &Household, commands: &Value, role: &str, person: &Person, ids: &Ids) {
    for command in commands["commands"].as_array().unwrap() {
        let (name, allowed) = (
            command["name"].as_str().unwrap(),
            command["allowed"].as_array().unwrap(),
        );
        // Founding another family is anybody's right; at this id there is one.
        if allowed.is_empty() || allowed.contains(&json!(role)) {
            continue;
        }
        let (status, _) = family.refused(person, name, &of_command(name, ids));
        assert_eq!(status, 403, "{name} by a {role}");
    }
    let invitation = person.client.post(
        &format!("{}/members/{}/invitation", family.path(), ids.member),
        &json!({}),
    );
    let import = person.client.post_file(
        &format!("{}/imports?account_id={}", family.path(), ids.account),
        b"Date,Amount\n",
    );
    if role != "partner" {
        assert_eq!((invitation.refused().0, import.refused().0), (403, 403), "{role}");
    }
}

fn views_of_other_roles_are_refused(route: &Route, role: &str, person: &Person, ids: &Ids) {
    if route.method != "GET" || !route.path.contains("{family_id}") {
        return;
    }
    let is_young = ["teen", "child"].contains(&role);
    let is_allowed = match route.operation["x-roles"].as_array() {
        Some(roles) => roles.contains(&json!(role)),
        None if route.path.contains("/audit/") => !is_young,
        None => return,
    };
    let reply = send(&person.client, route, ids, ids, &[]);
    assert_eq!(
        reply.status,
        if is_allowed { 200 } else { 403 },
        "{} as {role}: {}",
        route.path,
        reply.text()
    );
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
