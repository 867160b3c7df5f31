//! The parts apart: each a process of its own, with Postgres, Kafka and Redis between them. What people see is the same.

pub mod parts;

use std::{
    collections::HashSet,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use serde_json::json;

use crate::{
    crash::views_equal_the_log,
    session::MARCH,
    support::{Household, Over, dec, pause, wait_until},
};
use parts::{PARTS, Parts};

const CLIENTS: usize = 4;
/// Between two commands of a client: the load is to last, not to grow.
const BREATH: Duration = Duration::from_millis(10);
/// How long so many commands may take.
const LOAD_WITHIN: Duration = Duration::from_secs(60);

#[test]
fn the_parts_apart_give_the_same_books_whatever_dies_between_them() {
    let mut parts = Parts::start();
    let family = Household::found(&parts, "The Vieiras", "EUR");
    let giro = family.open_account(&json!({"name": "Giro", "kind": "bank"}));
    let cash = family.open_account(&json!({"name": "Cash", "kind": "cash", "opening_balance": family.money("1000")}));
    let march = family.import(&giro, MARCH.as_bytes()).accepted();
    assert_eq!(march["rows_booked"], 4);
    let leisure = family.category("Leisure");
    let expense = json!({"account_id": cash, "money": family.money("12.30"), "category_id": leisure});
    family.accepted(&family.parent, "add-expense", &expense);

    // Log, relay, Kafka, projectors, rows, Redis: every answer has come the whole way.
    assert_eq!(
        (family.balance(&giro), family.balance(&cash)),
        (dec("1730.45"), dec("987.70"))
    );
    let dashboard = family.view(&family.parent, "dashboard");
    assert_eq!(dashboard["family"], "The Vieiras");
    the_views_equal_the_log(&family);
    every_part_is_well(&parts);

    let spent = followers_die_under_load(&mut parts, &family, &cash, &leisure);
    println!("{spent} expenses of 0.01 under load");
    assert!(spent >= 200, "there was no load: {spent}");
    assert_eq!(
        family.balance(&cash),
        dec("987.70") - rust_decimal::Decimal::new(spent as i64, 2)
    );
    the_views_equal_the_log(&family);
    kafka_holds_the_log(&parts, &family);
    every_part_is_well(&parts);

    let codes = parts.terminate();
    assert!(codes.iter().all(|(_, code)| *code == Some(0)), "{codes:?}");
}

/// Posts expenses of a cent while relay and projectors are killed, stay away, and come back, twice; says how many were
/// accepted. The command side must not notice.
fn followers_die_under_load(parts: &mut Parts, family: &Household, cash: &str, leisure: &str) -> usize {
    let expense = json!({"account_id": cash, "money": family.money("0.01"), "category_id": leisure});
    let (accepted, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let post = || {
        // A client that fails ends the load, and with it the test.
        let _over = Over(&is_over);
        while !is_over.load(Ordering::SeqCst) {
            family.accepted(&family.parent, "add-expense", &expense);
            accepted.fetch_add(1, Ordering::SeqCst);
            pause(BREATH);
        }
    };
    let go_on_for = |commands: usize| {
        let until = accepted.load(Ordering::SeqCst) + commands;
        let is_done = wait_until(LOAD_WITHIN, || {
            accepted.load(Ordering::SeqCst) >= until || is_over.load(Ordering::SeqCst)
        });
        assert!(is_done, "{} commands, not {until}", accepted.load(Ordering::SeqCst));
    };
    thread::scope(|scope| {
        let _over = Over(&is_over);
        for _ in 0..CLIENTS {
            scope.spawn(post);
        }
        for (first, second) in [("relay", "projectors"), ("projectors", "relay")] {
            go_on_for(40);
            parts.kill(first);
            go_on_for(20);
            parts.kill(second);
            go_on_for(60);
            views_stay_where_they_were(family);
            parts.start_part(first);
            parts.start_part(second);
        }
        go_on_for(20);
    });
    accepted.into_inner()
}

/// With nobody to bring the rows, who insists on the newest is told to come back, and who does not gets what there is.
fn views_stay_where_they_were(family: &Household) {
    let head = family.audit("as-of")["family_seq"].as_i64().unwrap();
    let path = format!("{}/accounts", family.path());
    let client = &family.parent.client;
    assert_eq!(client.get(&path).status, 200);
    assert_eq!(client.get(&format!("{path}?min_family_seq={head}")).status, 202);
}

/// Balances and entries in the views are those of a replay, each entry once.
fn the_views_equal_the_log(family: &Household) {
    assert_eq!(family.audit("verify")["verified"], true);
    let statement = family.audit("as-of");
    views_equal_the_log(family, &family.parent, &statement);
    let (mut shown, mut ids, mut after) = (0, HashSet::new(), String::new());
    loop {
        let page = family.view(&family.parent, &format!("entries?limit=200{after}"));
        for entry in page["entries"].as_array().unwrap() {
            shown += 1;
            ids.insert(entry["entry_id"].as_str().unwrap().to_owned());
        }
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(ids.len(), shown, "no entry is there twice");
    assert_eq!(Some(shown as u64), statement["entries"]["recorded"].as_u64());
}

/// What a consumer of the topic gets is the log: every event, once, in order.
fn kafka_holds_the_log(parts: &Parts, family: &Household) {
    let published: Vec<_> = parts
        .records_in_kafka()
        .into_iter()
        .map(|record| (record.family_seq, record.event_type, record.command_id.to_string()))
        .collect();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let logged: Vec<_> = family
        .events()
        .iter()
        .map(|event| {
            (
                event["family_seq"].as_i64().unwrap(),
                text(&event["event_type"]),
                text(&event["command_id"]),
            )
        })
        .collect();
    let differing = published.iter().zip(&logged).find(|(there, here)| there != here);
    assert_eq!(differing, None, "in Kafka and in the log");
    assert_eq!(published.len(), logged.len());
}

/// Each answers the operator's three questions.
fn every_part_is_well(parts: &Parts) {
    for part in PARTS {
        let client = parts.client_of(part);
        assert_eq!(client.get("/healthz").accepted()["status"], "ok", "{part}");
        let ready = client.get("/readyz").accepted();
        assert_eq!(ready["checks"]["database"], "ok", "{part}");
        assert_eq!(client.get("/metrics").status, 200, "{part}");
    }
    let relayed = parts.client_of("relay").get("/metrics").text();
    assert!(relayed.contains("kinledger_relay_published_total"), "{relayed}");
    let folded = parts.client_of("projectors").get("/metrics").text();
    assert!(folded.contains("kinledger_projector_lag_events"), "{folded}");
}
