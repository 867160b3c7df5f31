//! Every command there is, by a child and about it: with a parent's consent it is accepted, and once that is revoked it is refused, or
//! is named here as one that needs none. One goes both ways: to be put on the leaderboard needs consent, to be taken off it does not.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{ChangeNotice, RevokeConsent};
use crate::{
    access::Cell,
    actor::Role,
    aggregate::LedgerEvent,
    category::CategoryKind,
    commands::COMMANDS,
    id::{ChoreId, ConnectionId, EntryId, ImportId},
    ledger_account::AccountKind,
    spending::SpendingEvent,
    testing::{Scenario, account, category, eur, member_id},
};

/// Commands of adults that go on while a parent's consent is missing: they give consent or need it to be given, take data away or make it right.
/// `change-role` makes a teen of a child or a child of a teen; it calls nobody an adult who needs consent.
const GO_ON: &[&str] = &[
    "add-member",
    "change-role",
    "erase-member",
    "give-consent",
    "remove-member",
    "rename-member",
    "set-age-band",
];

/// Commands that are about no child, and that no child may ask for.
const OF_OTHERS: &[&str] = &[
    "accept-handover",
    "add-category",
    "change-notice",
    "create-family",
    "delete-family",
    "hand-over-family",
    "leave-family",
    "revoke-consent",
    "set-audit-term",
    "set-budget",
    "set-country",
    "withdraw-handover",
];

/// A command as it is posted: its name, who asks, and the body.
type Posted = (&'static str, Role, Value);

/// A family whose child has something of everything, and every command by or about it that goes through as long as there is consent.
fn everything() -> (Scenario, Vec<Posted>) {
    let child = member_id(Role::Child);
    let mut scenario = Scenario::family()
        .with_member(Role::Partner)
        .with_member(Role::Child)
        .with_account(account(1), AccountKind::Bank, "EUR")
        .with_category(category(1), CategoryKind::Expense)
        .with_category(category(2), CategoryKind::Income)
        .with_category(category(3), CategoryKind::Expense)
        .with_wallet(account(2), Role::Child)
        .with_account_of(account(3), AccountKind::Bank, Role::Child)
        .with_account_of(account(4), AccountKind::Bank, Role::Child);
    let mut done = |role: Role, name: &str, body: &Value| {
        let events = scenario.clone().asked_by(role).when_posted(name, body).accepted();
        scenario = scenario.clone().given(events.clone());
        events
    };
    let to_wallet = json!({"from": account(1), "to": account(2), "money": eur("9")});
    done(Role::Parent, "transfer", &to_wallet);
    let limit = json!({"member_id": child, "per_entry": eur("5")});
    done(Role::Parent, "set-spending-limit", &limit);
    let expense = json!({"account_id": account(2), "money": eur("1"), "category_id": category(1)});
    let entry = done(Role::Child, "add-expense", &expense)[0].stream.id;
    let asked = json!({"account_id": account(2), "money": eur("6"), "category_id": category(1)});
    let request = done(Role::Child, "request-spending", &asked)
        .into_iter()
        .find_map(|new| match new.event {
            LedgerEvent::Spending(SpendingEvent::SpendingRequested(requested)) => Some(requested.request_id),
            _ => None,
        });
    let chore = json!({"title": "Dishes", "points": 1, "offered_to": child});
    let chores = [0; 3].map(|_| {
        let offered = done(Role::Parent, "offer-chore", &chore)[0].stream.id;
        json!({"chore_id": ChoreId::from_uuid(offered)})
    });
    for step in ["claim-chore", "complete-chore"] {
        for chore in chores.iter().skip(if step == "claim-chore" { 1 } else { 2 }) {
            done(Role::Child, step, chore);
        }
    }
    done(
        Role::Parent,
        "connect-bank",
        &json!({"account_id": account(3), "provider": "statement-file"}),
    );
    let row = json!({"booked_on": "2026-04-01", "amount": eur("2"), "counterparty": "Gran"});
    let statement = |rows: Value| {
        json!({
            "connection_id": ConnectionId::of_account(account(3)),
            "statement": {"currency": "EUR", "rows": rows}, "source": "csv",
        })
    };
    let imported = done(Role::Parent, "sync-bank", &statement(json!([row])));
    let import = imported
        .iter()
        .find(|new| new.stream.kind == "statement-import")
        .expect("an import");
    let import = json!({"import_id": ImportId::from_uuid(import.stream.id)});

    let about = |name, body| (name, Role::Parent, body);
    let by = |name, body| (name, Role::Child, body);
    let [offered, claimed, completed] = chores;
    let of_request = json!({"member_id": child, "request_id": request});
    let of_entry = json!({"entry_id": EntryId::from_uuid(entry)});
    let commands = vec![
        by("add-expense", expense.clone()),
        by("cancel-spending-request", json!({"request_id": request})),
        by("claim-chore", offered.clone()),
        by("complete-chore", claimed.clone()),
        by("mark-notifications-read", json!({"up_to_family_seq": 1})),
        by("rename-member", json!({"member_id": child, "display_name": "Ace"})),
        by("request-spending", asked),
        by(
            "transfer",
            json!({"from": account(2), "to": account(3), "money": eur("1")}),
        ),
        about("add-expense", expense),
        about(
            "add-income",
            json!({"account_id": account(2), "money": eur("1"), "category_id": category(2)}),
        ),
        about("approve-chore", completed.clone()),
        about("approve-spending", of_request.clone()),
        about(
            "award-badge",
            json!({"member_id": child, "badge": "Early bird", "points": 1}),
        ),
        about(
            "choose-leaderboard",
            json!({"member_id": child, "on_leaderboard": true}),
        ),
        about("close-account", json!({"account_id": account(4)})),
        about(
            "connect-bank",
            json!({"account_id": account(4), "provider": "statement-file"}),
        ),
        about("decline-spending", of_request),
        about("offer-chore", chore),
        about(
            "open-account",
            json!({"name": "Savings", "kind": "cash", "owner": child, "currency": "EUR"}),
        ),
        about(
            "recategorise-entry",
            json!({"entry_id": of_entry["entry_id"], "to": category(3)}),
        ),
        about("reject-chore", completed),
        about("remove-spending-limit", json!({"member_id": child})),
        about("reverse-entry", of_entry),
        about("set-spending-limit", json!({"member_id": child, "per_day": eur("5")})),
        about(
            "share-account",
            json!({"account_id": account(1), "member_id": child, "level": "view"}),
        ),
        about("sync-bank", statement(json!([]))),
        about("transfer", to_wallet),
        about("undo-import", import),
    ];
    (scenario, commands)
}

#[test]
fn no_command_by_or_about_a_child_goes_on_without_consent_unless_it_is_named() {
    let (scenario, commands) = everything();
    let revoked = scenario.clone().after(&RevokeConsent {
        member_id: member_id(Role::Child),
    });
    let asked_again = scenario.clone().after(&ChangeNotice { notice_version: 2 });
    for (name, role, body) in &commands {
        let said = |scenario: &Scenario| scenario.clone().asked_by(*role).when_posted(name, body).code();
        assert_eq!(said(&scenario), None, "{name} by a {role:?}, with consent");
        assert_eq!(said(&asked_again), Some("consent-required"), "{name} by a {role:?}");
        // What the child had asked for ended with the consent, so there is nothing left to decide.
        let is_over = ["approve-spending", "decline-spending"].contains(name);
        let wanted = if is_over { "request-done" } else { "consent-required" };
        assert_eq!(said(&revoked), Some(wanted), "{name} by a {role:?}");
    }
    let asked_by = |of: Role| -> BTreeSet<&str> {
        let theirs = commands.iter().filter(|(_, role, _)| *role == of);
        theirs.map(|(name, ..)| *name).collect()
    };
    let (by_child, about_child) = (asked_by(Role::Child), asked_by(Role::Parent));
    for command in COMMANDS {
        let name = command.name;
        let lists = [
            about_child.contains(name),
            GO_ON.contains(&name),
            OF_OTHERS.contains(&name),
        ];
        let stands_in = lists.iter().filter(|is| **is).count();
        assert!(
            stands_in == 1 || stands_in == 0 && by_child.contains(name),
            "{name} stands in {stands_in} lists"
        );
        // Whoever has an account founds a family of their own; this one has no part in it.
        let may = command.access.of(Role::Child) != Cell::No && name != "create-family";
        assert_eq!(by_child.contains(name), may, "a child's {name}");
    }
}

#[test]
fn what_gives_consent_or_takes_data_away_goes_on_without_it() {
    let (scenario, _) = everything();
    let child = member_id(Role::Child);
    let revoked = scenario.after(&RevokeConsent { member_id: child });
    let bodies = [
        ("add-member", json!({"display_name": "Second", "role": "child"})),
        ("change-role", json!({"member_id": child, "role": "teen"})),
        ("erase-member", json!({"member_id": child})),
        (
            "give-consent",
            json!({"member_id": child, "method": "signed-form", "notice_version": 1}),
        ),
        ("remove-member", json!({"member_id": child})),
        ("rename-member", json!({"member_id": child, "display_name": "Right"})),
        ("set-age-band", json!({"member_id": child, "band": "13"})),
    ];
    assert_eq!(bodies.each_ref().map(|(name, _)| *name), *GO_ON);
    for (name, body) in bodies {
        assert_eq!(revoked.when_posted(name, &body).code(), None, "{name}");
    }
    for role in ["parent", "partner", "auditor"] {
        let body = json!({"member_id": child, "role": role});
        assert_eq!(
            revoked.when_posted("change-role", &body).code(),
            Some("consent-required"),
            "{role}"
        );
    }
}

#[test]
fn a_child_is_put_on_the_leaderboard_with_consent_only_and_taken_off_it_at_any_time() {
    let (scenario, _) = everything();
    let child = member_id(Role::Child);
    let choice = |on_leaderboard: bool| json!({"member_id": child, "on_leaderboard": on_leaderboard});
    let (on, off) = (choice(true), choice(false));
    let revoke = RevokeConsent { member_id: child };
    let shown = scenario.clone().when_posted("choose-leaderboard", &on).accepted();
    let shown = scenario.clone().given(shown);
    for without in [
        shown.clone().after(&revoke),
        shown.after(&ChangeNotice { notice_version: 2 }),
    ] {
        let taken_off = without.clone().when_posted("choose-leaderboard", &off).accepted();
        assert_eq!(taken_off.len(), 1);
        let again = without.given(taken_off).when_posted("choose-leaderboard", &on);
        assert_eq!(again.code(), Some("consent-required"));
    }
}
