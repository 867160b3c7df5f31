//! Events as they were once stored. A fixture is never edited: what is in a log stays there.
//!
//! A new event, or a new version of one, gets its fixture from the session below, which records every kind there is:
//! `KINLEDGER_WRITE_FIXTURES=1 cargo test -p kinledger --test it fixtures` writes those that are missing, and no other.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use domain::{
    aggregate::{EventKind, LedgerEvent},
    upcasters::{STILL_WRITTEN, UPCASTERS},
};
use serde::Deserialize;
use serde_json::{json, value::RawValue};

use super::previous;
use crate::{
    session::{APRIL, MARCH},
    support::{Household, Kinledger, payload, today},
};

#[test]
fn every_fixture_loads_and_is_stored_again_byte_for_byte() {
    for kind in LedgerEvent::kinds() {
        let path = fixture(kind.event_type, kind.event_version);
        let stored = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let stored = stored.trim_end();
        let event = LedgerEvent::decode(kind.aggregate_type, kind.event_type, kind.event_version, stored).unwrap();
        assert_eq!(event.encode(), stored, "{}", path.display());
        assert_eq!(event.kind(), (kind.event_type, kind.event_version));
    }
}

/// A fixture of an earlier version loads as today's event; from there it is stored in today's version.
#[test]
fn every_fixture_of_an_earlier_version_loads_through_its_upcasters() {
    let kinds = LedgerEvent::kinds();
    for step in UPCASTERS {
        let kind = kinds.iter().find(|kind| kind.event_type == step.event_type).unwrap();
        let stored = fs::read_to_string(fixture(step.event_type, step.from_version)).unwrap();
        let read = |version, payload: &str| LedgerEvent::decode(kind.aggregate_type, kind.event_type, version, payload);
        let event = read(step.from_version, stored.trim_end()).unwrap();
        assert_eq!(event.kind(), (kind.event_type, kind.event_version));
        assert_eq!(read(kind.event_version, &event.encode()).unwrap(), event);
        assert!(
            read(kind.event_version, stored.trim_end()).is_err(),
            "{} {} is no version of its own",
            kind.event_type,
            step.from_version
        );
    }
}

#[test]
fn a_session_records_every_kind_of_event_and_reads_it_back() {
    let kinledger = Kinledger::start();
    let family = Household::found(&kinledger, "The Examples", "EUR");
    live_through_everything(&family);

    let mut fullest: BTreeMap<(String, String), Event> = BTreeMap::new();
    let mut all = stored(&family);
    all.push(deleted(&kinledger, &family));
    for event in all {
        let payload = event.payload.get();
        let decoded =
            LedgerEvent::decode(&event.aggregate_type, &event.event_type, &event.event_version, payload).unwrap();
        let written = decoded.written();
        assert_eq!(
            written.payload, payload,
            "{} is stored as it is written",
            event.event_type
        );
        assert_eq!(written.event_version, event.event_version);
        previous::reads_the_same(&event.aggregate_type, &event.event_type, &event.event_version, payload);
        let held = fullest.get(&(event.event_type.clone(), event.event_version.clone()));
        if held.is_none_or(|held| held.payload.get().len() < payload.len()) {
            fullest.insert((event.event_type.clone(), event.event_version.clone()), event);
        }
    }
    for kind in LedgerEvent::kinds() {
        let version = written_version(&kind);
        let event = fullest.get(&(kind.event_type.to_owned(), version.to_owned()));
        let event = event.unwrap_or_else(|| panic!("the session has no {} {version}", kind.event_type));
        let path = fixture(kind.event_type, version);
        if !path.exists() && std::env::var_os("KINLEDGER_WRITE_FIXTURES").is_some() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, format!("{}\n", event.payload.get())).unwrap();
        }
        assert!(
            path.exists(),
            "{} is missing: run with KINLEDGER_WRITE_FIXTURES=1",
            path.display()
        );
    }
}

/// One of each.
fn live_through_everything(family: &Household) {
    let parent = &family.parent;
    let giro = family.open_account(&json!({"name": "Giro", "kind": "bank"}));
    let cash = family.open_account(
        &json!({"name": "Cash", "kind": "cash", "opening_balance": family.money("80"), "effective_on": "2025-01-01"}),
    );
    let wallet = family.open_account(&json!({"name": "Pocket", "kind": "wallet", "owner": family.child.member_id}));
    family.accepted(
        parent,
        "share-account",
        &json!({"account_id": giro, "member_id": family.teen.member_id, "level": "view"}),
    );
    let old = family.open_account(&json!({"name": "Old card", "kind": "card", "owner": family.partner.member_id}));
    family.accepted(parent, "close-account", &json!({"account_id": old}));
    family.accepted(parent, "add-category", &json!({"name": "Fairs", "kind": "expense"}));
    let (fairs, salary, leisure) = (
        family.category("Fairs"),
        family.category("Salary"),
        family.category("Leisure"),
    );

    let spent = json!({
        "account_id": cash, "money": family.money("12.30"), "payee": "Harbour fair", "note": "rides", "effective_on": "2025-03-02",
        "splits": [{"category_id": fairs, "money": family.money("10")}, {"category_id": leisure, "money": family.money("2.30")}],
    });
    let entry = family.accepted(parent, "add-expense", &spent)["events"][0]["aggregate_id"].clone();
    let earned = json!({"account_id": cash, "money": family.money("20"), "category_id": salary, "payee": "A neighbour", "note": "mowing"});
    family.accepted(parent, "add-income", &earned);
    family.accepted(
        parent,
        "transfer",
        &json!({"from": cash, "to": wallet, "money": family.money("5"), "note": "allowance"}),
    );
    family.accepted(
        parent,
        "recategorise-entry",
        &json!({"entry_id": entry, "from": leisure, "to": fairs}),
    );
    family.accepted(
        parent,
        "reverse-entry",
        &json!({"entry_id": entry, "reason": "paid back"}),
    );
    family.accepted(
        parent,
        "set-budget",
        &json!({"category_id": fairs, "amount": family.money("40"), "period": "month"}),
    );

    let reward = json!({"money": family.money("2.50"), "pay_from": cash});
    let offer = json!({"title": "Sweep the yard", "points": 10, "reward": reward, "offered_to": family.child.member_id, "due_on": today(7)});
    let chore = json!({"chore_id": family.accepted(parent, "offer-chore", &offer)["events"][0]["aggregate_id"]});
    family.accepted(&family.child, "claim-chore", &chore);
    family.accepted(&family.child, "complete-chore", &chore);
    family.accepted(
        parent,
        "reject-chore",
        &json!({"chore_id": chore["chore_id"], "reason": "the corners too"}),
    );
    family.accepted(&family.child, "complete-chore", &chore);
    let approved = family.accepted(parent, "approve-chore", &chore);
    let badge = json!({"member_id": family.child.member_id, "badge": "Early bird", "reason": "a week without a reminder", "points": 5});
    family.accepted(parent, "award-badge", &badge);
    family.accepted(
        &family.child,
        "mark-notifications-read",
        &json!({"up_to_family_seq": approved["family_seq"]}),
    );
    family.accepted(
        parent,
        "choose-leaderboard",
        &json!({"member_id": family.teen.member_id, "on_leaderboard": false}),
    );
    family.accepted(
        parent,
        "change-role",
        &json!({"member_id": family.partner.member_id, "role": "parent"}),
    );
    family.accepted(
        parent,
        "change-role",
        &json!({"member_id": family.partner.member_id, "role": "partner"}),
    );
    let grace = json!({"member_id": family.partner.member_id, "display_name": "Grace"});
    family.accepted(&family.partner, "rename-member", &grace);
    let auditor = json!({"display_name": "Auditor", "role": "auditor", "until_on": today(30)});
    let auditor = payload(&family.accepted(parent, "add-member", &auditor), "MemberAdded")["member_id"].clone();
    family.accepted(parent, "remove-member", &json!({"member_id": auditor}));
    family.accepted(parent, "hand-over-family", &json!({"to": family.partner.member_id}));
    family.accepted(parent, "withdraw-handover", &json!({}));
    for (from, to) in [(parent, &family.partner), (&family.partner, parent)] {
        family.accepted(from, "hand-over-family", &json!({"to": to.member_id}));
        family.accepted(to, "accept-handover", &json!({}));
    }
    family.accepted(&family.partner, "leave-family", &json!({}));
    spend_and_ask(family, &wallet, &fairs);
    let child = &family.child.member_id;
    family.accepted(parent, "set-country", &json!({"country": "PT"}));
    family.accepted(parent, "set-age-band", &json!({"member_id": child, "band": "under-13"}));
    family.accepted(parent, "change-notice", &json!({"notice_version": 2}));
    let consent = json!({"member_id": child, "method": "video-call", "notice_version": 2});
    family.accepted(parent, "give-consent", &consent);
    family.accepted(parent, "revoke-consent", &json!({"member_id": child}));

    family.accepted(
        parent,
        "connect-bank",
        &json!({"account_id": giro, "institution": "Harbour Bank"}),
    );
    family.import(&giro, MARCH.as_bytes()).accepted();
    let april = family.import(&giro, APRIL.as_bytes()).accepted();
    family.accepted(parent, "undo-import", &json!({"import_id": april["import_id"]}));
    family.accepted(parent, "erase-member", &json!({"member_id": family.teen.member_id}));
}

/// Within a limit, and beyond it with every end that a request can have.
fn spend_and_ask(family: &Household, wallet: &str, category: &str) {
    let (parent, child) = (&family.parent, &family.child);
    let member_id = &child.member_id;
    let each = ["per_entry", "per_day", "per_week", "per_month"].map(|part| (part.to_owned(), family.money("2")));
    let mut limit: serde_json::Map<_, _> = each.into_iter().collect();
    limit.insert("member_id".to_owned(), json!(member_id));
    family.accepted(parent, "set-spending-limit", &json!(limit));
    let spend = |sum: &str| json!({"account_id": wallet, "money": family.money(sum), "category_id": category, "payee": "Kiosk", "note": "ice"});
    let spent = family.accepted(child, "add-expense", &spend("1.10"));
    let entry = &spent["events"][0]["aggregate_id"];
    family.accepted(
        parent,
        "reverse-entry",
        &json!({"entry_id": entry, "reason": "brought back"}),
    );
    let ask = || {
        let asked = family.accepted(child, "request-spending", &spend("2.50"));
        payload(&asked, "SpendingRequested")["request_id"].clone()
    };
    family.accepted(
        parent,
        "approve-spending",
        &json!({"member_id": member_id, "request_id": ask()}),
    );
    let decline = json!({"member_id": member_id, "request_id": ask(), "reason": "too much ice"});
    family.accepted(parent, "decline-spending", &decline);
    family.accepted(child, "cancel-spending-request", &json!({"request_id": ask()}));
    ask();
    family.accepted(parent, "remove-spending-limit", &json!({"member_id": member_id}));
}

#[derive(Deserialize)]
struct Event {
    aggregate_type: String,
    event_type: String,
    event_version: String,
    payload: Box<RawValue>,
}

/// The last event of all: the family is given up, and only the operator reads its log.
fn deleted(kinledger: &Kinledger, family: &Household) -> Event {
    family.accepted(&family.parent, "delete-family", &json!({"name": "The Examples"}));
    let exported = kinledger.run(&["audit", "export", "--family", &family.id, "--format", "ndjson"]);
    let text = String::from_utf8(exported.stdout).unwrap();
    let last = text.lines().find(|line| line.contains("\"FamilyDeleted\""));
    let last = last.unwrap_or_else(|| panic!("{text}{}", String::from_utf8_lossy(&exported.stderr)));
    serde_json::from_str(last).unwrap()
}

/// The log with its payloads as they are stored.
fn stored(family: &Household) -> Vec<Event> {
    #[derive(Deserialize)]
    struct Page {
        events: Vec<Event>,
    }
    let page = family
        .parent
        .client
        .get(&format!("{}/audit/events?limit=1000", family.path()));
    serde_json::from_slice::<Page>(&page.body).unwrap().events
}

/// The version an event goes to the log in.
fn written_version(kind: &EventKind) -> &'static str {
    let older = STILL_WRITTEN.iter().find(|older| older.event_type == kind.event_type);
    older.map_or(kind.event_version, |older| older.event_version)
}

pub fn schemas() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas")
}

pub fn fixture(event_type: &str, version: &str) -> PathBuf {
    schemas()
        .join("fixtures")
        .join(event_type)
        .join(format!("v{version}.json"))
}
