//! A place in the family ends: by leaving, by being removed, by handing the family over, or with an auditor's last day. From then
//! on nothing is open any more, on any way there is; what was done and owned stays.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    apart::parts::Parts,
    faults::Faults,
    support::{Entrance, Household, Kinledger, Over, PASSWORD, Person, consent, payload, today, wait_until},
};

/// How long after a removal anything may still be answered.
const OVER_WITHIN: Duration = Duration::from_secs(5);
/// How long until a new family or member is read, also where parts stand apart and have just met their broker.
const READ_WITHIN: Duration = Duration::from_secs(60);
/// How long until everybody has heard that it is another day.
const HEARD_WITHIN: Duration = Duration::from_secs(30);
/// From any moment of a day to after the end of the next one, in Lisbon too.
const TOMORROW_IS_OVER_S: i64 = 49 * 3_600;
/// Removals under load.
const REMOVALS: usize = 100;

/// Every way to something of the family that the person had.
fn ways(family: &Household, key: Uuid) -> Vec<String> {
    let ways = [
        "members",
        "accounts",
        "dashboard",
        "as-of/accounts",
        "audit/events",
        "audit/verify",
        "audit/export?format=ndjson",
    ];
    let mut ways: Vec<String> = ways.iter().map(|way| format!("{}/{way}", family.path())).collect();
    ways.push(format!("{}/commands/{key}", family.path()));
    ways
}

/// Waits for the projection, and then everything reads as a family that does not exist.
fn assert_nothing_is_open(family: &Household, person: &Person, key: Uuid) {
    for way in ways(family, key) {
        let is_over = wait_until(OVER_WITHIN, || person.client.get(&way).status == 404);
        assert!(is_over, "{way}: {}", person.client.get(&way).text());
    }
    let expense = json!({"name": "Afterwards", "kind": "expense"});
    assert_eq!(
        family.refused(person, "add-category", &expense),
        (404, "unknown-family".to_owned())
    );
    let families = person.client.get("/api/v1/families").accepted();
    assert!(!families.to_string().contains(&family.id), "{families}");
}

fn add_category(family: &Household, person: &Person) -> Uuid {
    let key = Uuid::new_v4();
    let name = format!("Category {key}");
    family
        .command_as(person, "add-category", key, &json!({"name": name, "kind": "expense"}))
        .accepted();
    key
}

fn invite(family: &Household, by: &Person, role: &str) -> (String, Value) {
    let mut body = json!({"display_name": "Newcomer", "role": role});
    if ["teen", "child"].contains(&role) {
        body["consent"] = consent();
    }
    let added = family.accepted(&family.parent, "add-member", &body);
    let member_id = payload(&added, "MemberAdded")["member_id"].as_str().unwrap().to_owned();
    let path = format!("{}/members/{member_id}/invitation", family.path());
    let code = by.client.post(&path, &json!({})).accepted()["code"].clone();
    (member_id, code)
}

#[test]
fn a_removed_member_has_nothing_left_open_and_what_they_own_stays() {
    let kinledger = Kinledger::start();
    let family = Household::found(&kinledger, "The Leavers", "EUR");
    let key = add_category(&family, &family.partner);
    let wallet = family.open_account(&json!({"name": "Pocket", "kind": "wallet", "owner": family.partner.member_id, "opening_balance": family.money("5")}));
    let (_, code) = invite(&family, &family.partner, "teen");

    family.accepted(
        &family.parent,
        "remove-member",
        &json!({"member_id": family.partner.member_id}),
    );
    assert_nothing_is_open(&family, &family.partner, key);
    let late = family.teen.client.post("/api/v1/auth/join", &json!({"code": code}));
    assert_eq!(late.refused().0, 404, "an invitation ends with who made it");
    assert_eq!(family.balance(&wallet), "5".parse().unwrap());
    let members = family.view(&family.parent, "members");
    let left = members["members"]
        .as_array()
        .unwrap()
        .iter()
        .find(|member| member["member_id"] == family.partner.member_id)
        .unwrap();
    assert_eq!((&left["has_left"], &left["has_joined"]), (&json!(true), &json!(false)));
    let told = family.view(&family.parent, "notifications").to_string();
    assert!(told.contains("Partner was removed from the family"), "{told}");

    // The same person may be invited again, into another place.
    let (_, code) = invite(&family, &family.parent, "partner");
    family
        .partner
        .client
        .post("/api/v1/auth/join", &json!({"code": code}))
        .accepted();
    let is_back = wait_until(OVER_WITHIN, || {
        family.partner.client.get(&format!("{}/accounts", family.path())).status == 200
    });
    assert!(is_back);
    assert!(family.view(&family.partner, "accounts").to_string().contains(&wallet));
}

#[test]
fn an_invitation_to_a_place_that_was_removed_opens_nothing() {
    let kinledger = Kinledger::start();
    let family = Household::found(&kinledger, "The Withdrawn", "EUR");
    let (member_id, code) = invite(&family, &family.parent, "partner");
    family.accepted(&family.parent, "remove-member", &json!({"member_id": member_id}));
    let person = crate::support::register(&kinledger, "Late");
    let refused = person
        .client
        .post("/api/v1/auth/join", &json!({"code": code}))
        .refused();
    assert_eq!(refused, (422, "member-gone".to_owned()));
    let path = format!("{}/members/{member_id}/invitation", family.path());
    assert_eq!(family.parent.client.post(&path, &json!({})).refused().0, 422);
}

#[test]
fn the_last_parent_leaves_only_after_a_partner_has_taken_over() {
    let kinledger = Kinledger::start();
    let family = Household::found(&kinledger, "The Heirs", "EUR");
    let (parent, partner) = (&family.parent, &family.partner);
    let key = add_category(&family, parent);
    let nothing = json!({});
    assert_eq!(family.refused(parent, "leave-family", &nothing).1, "last-parent");
    assert_eq!(
        family.refused(partner, "accept-handover", &nothing).1,
        "nothing-offered"
    );
    family.accepted(parent, "hand-over-family", &json!({"to": partner.member_id}));
    family.accepted(parent, "withdraw-handover", &nothing);
    assert_eq!(
        family.refused(partner, "accept-handover", &nothing).1,
        "nothing-offered"
    );
    family.accepted(parent, "hand-over-family", &json!({"to": partner.member_id}));
    let told = family.view(partner, "notifications");
    let kinds = told["notifications"].as_array().unwrap().iter();
    let kinds: Vec<&str> = kinds.take(3).map(|one| one["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["handover-offered", "handover-withdrawn", "handover-offered"]);
    assert_eq!(family.refused(parent, "leave-family", &nothing).1, "last-parent");
    family.accepted(partner, "accept-handover", &nothing);
    family.accepted(parent, "leave-family", &nothing);
    assert_nothing_is_open(&family, parent, key);
    let members = family.view(partner, "members");
    let heir = members["members"]
        .as_array()
        .unwrap()
        .iter()
        .find(|member| member["is_me"] == true)
        .unwrap();
    assert_eq!(heir["role"], "parent");
}

#[test]
fn an_auditor_looks_until_their_last_day_and_not_after_it() {
    let machine = Faults::new();
    let environment = machine.environment();
    let environment: Vec<(&str, String)> = environment
        .iter()
        .map(|(key, value)| (key.as_str(), value.clone()))
        .collect();
    let kinledger = Kinledger::start_with(&environment);
    let family = Household::found(&kinledger, "The Audited", "EUR");
    let auditor = family.invite(&kinledger, "Auditor", "auditor");
    let until = |day: i64| json!({"member_id": auditor.member_id, "until_on": today(day)});
    let key = add_category(&family, &family.parent);
    assert_eq!(
        family.refused(&family.parent, "set-audit-term", &until(-2)).1,
        "term-over"
    );
    family.accepted(&family.parent, "set-audit-term", &until(1));
    family.view(&auditor, "accounts");
    assert_everything_is_open(&family, &auditor, key);
    assert_eq!(
        family
            .refused(&auditor, "add-category", &json!({"name": "Mine", "kind": "expense"}))
            .0,
        403
    );

    let leaver = family.invite(&kinledger, "Leaver", "auditor");
    let until_tomorrow = json!({"member_id": leaver.member_id, "until_on": today(1)});
    family.accepted(&family.parent, "set-audit-term", &until_tomorrow);
    // Of another place nobody makes use in time.
    let (empty, code) = invite(&family, &family.parent, "auditor");
    let empty_until = |day: i64| json!({"member_id": empty, "until_on": today(day)});
    family.accepted(&family.parent, "set-audit-term", &empty_until(1));

    // Tomorrow is over, for the services and for their database. Whoever signs in now has a fresh proof of who they are: nothing else
    // than the term can refuse them.
    machine.shift_clock(TOMORROW_IS_OVER_S);
    // Every two seconds the services ask the database how late it is; from then on what was signed yesterday has expired.
    let mut ways = ways(&family, key);
    ways.push("/api/v1/auth/profile".to_owned());
    let has_expired = |way: &String| auditor.client.get(way).status == 401;
    assert!(wait_until(HEARD_WITHIN, || ways.iter().all(has_expired)));
    let (late, parent) = (
        signed_in_again(&kinledger, &auditor),
        signed_in_again(&kinledger, &family.parent),
    );
    assert_nothing_is_open(&family, &late, key);
    assert_eq!(
        family.refused(&late, "leave-family", &json!({})),
        (404, "unknown-family".to_owned())
    );
    assert_everything_is_open(&family, &parent, key);

    // Another one takes along what they wrote, with their account.
    let closing = signed_in_again(&kinledger, &leaver);
    let closed = closing
        .client
        .post("/api/v1/auth/close", &json!({"password": PASSWORD, "erase": true}));
    assert_eq!(closed.status, 204, "{}", closed.text());
    let gone = |view: Value| {
        let mut members = view["members"].as_array().unwrap().iter();
        members.any(|member| member["member_id"] == leaver.member_id.as_str() && member["has_left"] == true)
    };
    assert!(wait_until(OVER_WITHIN, || gone(family.view(&parent, "members"))));

    // The empty place is offered and taken again once a parent says another day.
    let newcomer = crate::support::register(&kinledger, "Newcomer");
    let join = || newcomer.client.post("/api/v1/auth/join", &json!({"code": code}));
    let audit_over = (422, "audit-over".to_owned());
    assert_eq!(join().refused(), audit_over);
    let invitation = format!("{}/members/{empty}/invitation", family.path());
    assert_eq!(parent.client.post(&invitation, &json!({})).refused(), audit_over);
    family.accepted(&parent, "set-audit-term", &empty_until(30));
    assert_eq!(join().accepted()["role"], "auditor");

    // The same sign-in looks again when the term is longer, and never again after a removal.
    family.accepted(&parent, "set-audit-term", &until(30));
    assert!(wait_until(OVER_WITHIN, || is_open(&family, &late, "accounts")));
    assert_everything_is_open(&family, &late, key);
    family.accepted(&parent, "remove-member", &json!({"member_id": auditor.member_id}));
    assert_nothing_is_open(&family, &late, key);
}

fn is_open(family: &Household, person: &Person, view: &str) -> bool {
    person.client.get(&format!("{}/{view}", family.path())).status == 200
}

fn assert_everything_is_open(family: &Household, person: &Person, key: Uuid) {
    for way in ways(family, key) {
        let reply = person.client.get(&way);
        assert_eq!(reply.status, 200, "{way}: {}", reply.text());
    }
}

fn signed_in_again(kinledger: &Kinledger, person: &Person) -> Person {
    let credentials = json!({"email": person.email, "password": PASSWORD});
    let tokens = kinledger.client().post("/api/v1/auth/login", &credentials).accepted();
    Person {
        client: kinledger.client().with_token(tokens["access_token"].as_str().unwrap()),
        refresh_token: tokens["refresh_token"].as_str().unwrap().to_owned(),
        ..person.clone()
    }
}

#[test]
fn a_hundred_removals_under_load_leave_nothing_open_for_longer_than_seconds() {
    remove_a_hundred(&Kinledger::start());
}

#[test]
fn where_parts_stand_apart_a_hundred_removals_leave_nothing_open_for_longer_than_seconds_either() {
    let mut parts = Parts::start();
    remove_a_hundred(&parts);
    let codes = parts.terminate();
    assert!(codes.iter().all(|(_, code)| *code == Some(0)), "{codes:?}");
}

/// Lets somebody in and removes them, again and again, while others go on; whoever was removed tries at once to read and to write.
fn remove_a_hundred(installation: &impl Entrance) {
    let family = Household::found(installation, "The Hundred", "EUR");
    let person = crate::support::register(installation, "Guest");
    let way = format!("{}/dashboard", family.path());
    for other in [&family.parent, &family.teen] {
        assert!(wait_until(READ_WITHIN, || other.client.get(&way).status == 200));
    }
    let (mut slowest, mut answered) = (Duration::ZERO, 0_usize);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let _over = Over(&is_over);
        // Others go on with their lives meanwhile.
        for other in [&family.parent, &family.teen] {
            let (is_over, way, client) = (&is_over, &way, other.client.apart());
            scope.spawn(move || {
                while !is_over.load(Ordering::SeqCst) {
                    assert_eq!(client.get(way).status, 200);
                }
            });
        }
        for _ in 0..REMOVALS {
            let (member_id, code) = invite(&family, &family.parent, "partner");
            let joined = person.client.post("/api/v1/auth/join", &json!({"code": code}));
            assert_eq!(joined.status, 200, "{}", joined.text());
            let accounts = format!("{}/accounts", family.path());
            assert!(
                wait_until(READ_WITHIN, || person.client.get(&accounts).status == 200),
                "not let in"
            );
            let ways = ways(&family, add_category(&family, &person));
            let path = family.command_path("add-category");
            family.accepted(&family.parent, "remove-member", &json!({"member_id": member_id}));
            let removed = Instant::now();
            let mut last = Duration::ZERO;
            let is_closed = wait_until(OVER_WITHIN, || {
                let body = json!({"name": format!("Late {}", Uuid::new_v4()), "kind": "expense"});
                let mut statuses: Vec<u16> = ways.iter().map(|way| person.client.get(way).status).collect();
                statuses.push(person.client.post(&path, &body).status);
                let open = statuses.iter().filter(|status| **status < 300).count();
                if open > 0 {
                    last = removed.elapsed();
                    answered += open;
                }
                statuses.iter().all(|status| *status == 404)
            });
            assert!(is_closed, "still open after {OVER_WITHIN:?}");
            slowest = slowest.max(last);
        }
    });
    println!("{REMOVALS} removals: last answer {slowest:?} after one, {answered} answers in all");
    assert!(slowest <= OVER_WITHIN);
}
