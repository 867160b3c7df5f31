//! `kinledger rebuild` beside a running Kinledger, `audit verify --views` and `parked`, as an operator uses them.

mod drills;
mod rows;

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Household, Kinledger, Over, Person, amount, dec, wait_until};

/// Expenses of 0.01 in one request.
const BATCH: usize = 500;
const READERS: usize = 3;
const WRITERS: usize = 2;

/// A family with a history.
struct Lived {
    family: Household,
    cash: String,
    leisure: String,
}

impl Lived {
    fn found(kinledger: &Kinledger, name: &str, expenses: usize) -> Self {
        let family = Household::found(kinledger, name, "EUR");
        let cash =
            family.open_account(&json!({"name": "Cash", "kind": "cash", "opening_balance": family.money("1000")}));
        let leisure = family.category("Leisure");
        let lived = Self { family, cash, leisure };
        for _ in 0..expenses / BATCH {
            let expense = json!({
                "account_id": lived.cash, "money": lived.family.money("0.01"), "category_id": lived.leisure,
                "payee": "Kiosk", "note": "Gum\twith a tab, and a \\ too",
            });
            let batch: Vec<Value> = (0..BATCH)
                .map(|_| json!({"name": "add-expense", "idempotency_key": Uuid::new_v4(), "body": expense}))
                .collect();
            let path = format!("{}/commands", lived.family.path());
            let answer = lived.family.parent.client.post(&path, &json!(batch)).accepted();
            assert!(!answer.to_string().contains("problem"), "{answer}");
        }
        // What a batch answers is not waited for by itself.
        let left = dec("1000.00") - rust_decimal::Decimal::new(i64::try_from(expenses).unwrap(), 2);
        let is_there = wait_until(Duration::from_secs(60), || lived.family.balance(&lived.cash) == left);
        assert!(is_there, "the rows do not catch up");
        lived
    }

    fn spend(&self, person: &Person) -> i64 {
        let body = json!({"account_id": self.cash, "money": self.family.money("0.01"), "category_id": self.leisure});
        let receipt = self.family.accepted(person, "add-expense", &body);
        receipt["family_seq"].as_i64().unwrap()
    }
}

/// Runs `kinledger rebuild --json`; its exit code and its last line.
fn rebuild(kinledger: &Kinledger, arguments: &[&str]) -> (Option<i32>, Value, Vec<Value>) {
    let mut all = vec!["rebuild", "--json"];
    all.extend(arguments);
    let output = kinledger.run(&all);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = lines.last().cloned().unwrap_or_default();
    assert_eq!(
        last["step"],
        "done",
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    (output.status.code(), last, lines)
}

fn rows_are_those_of_the_log(kinledger: &Kinledger) {
    let output = kinledger.run(&["audit", "verify", "--views"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}{said}",
        String::from_utf8_lossy(&output.stdout)
    );
    assert!(said.contains("the views' rows are those of the log"), "{said}");
}

#[test]
fn every_view_answers_throughout_a_rebuild_under_load_and_none_goes_back() {
    let kinledger = Kinledger::start();
    let lived = Lived::found(&kinledger, "The Okafors", 2_000);
    let family = &lived.family;
    let is_over = AtomicBool::new(false);
    let (answers, writes) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let reports = thread::scope(|scope| {
        for number in 0..READERS {
            let (client, is_over, answers) = (family.parent.client.apart(), &is_over, &answers);
            scope.spawn(move || {
                // Each of them on every view: no answer but 200, and never an older one than before.
                let views = [
                    "accounts",
                    "entries?limit=20",
                    "dashboard",
                    "spending",
                    "budgets",
                    "members",
                    "notifications",
                ];
                let mut newest = 0;
                for view in views.iter().cycle().skip(number) {
                    let reply = client.get(&format!("{}/{view}", family.path()));
                    assert_eq!(reply.status, 200, "{view}: {}", reply.text());
                    let answer = reply.json();
                    let seq = answer["family_seq"].as_i64().unwrap();
                    assert!(seq >= newest, "{view} went back from {newest} to {seq}");
                    newest = seq;
                    if *view == "accounts" {
                        // The balance says which event it is of: 1000.00 less a cent per expense, each two events or more.
                        let balance = amount(&answer["accounts"][0]["balance"]);
                        assert!(balance <= dec("980.00") && balance > dec("0"), "{balance}");
                    }
                    answers.fetch_add(1, Ordering::SeqCst);
                    if is_over.load(Ordering::SeqCst) {
                        return;
                    }
                }
            });
        }
        for _ in 0..WRITERS {
            let (lived, is_over, writes) = (&lived, &is_over, &writes);
            scope.spawn(move || {
                let client = lived.family.parent.client.apart();
                while !is_over.load(Ordering::SeqCst) {
                    // Read your own write, through every switch.
                    let seq = lived.spend(&lived.family.parent);
                    let path = format!("{}/accounts?min_family_seq={seq}", lived.family.path());
                    let reply = (0..15).map(|_| client.get(&path)).find(|reply| reply.status != 202);
                    let reply = reply.unwrap_or_else(|| panic!("event {seq} did not get to the rows"));
                    assert_eq!(reply.status, 200, "{}", reply.text());
                    assert!(reply.json()["family_seq"].as_i64().unwrap() >= seq);
                    writes.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        // However this ends, the others are told, or they would go on for ever.
        let _over = Over(&is_over);
        let asked: [&[&str]; 4] = [&[], &["spending"], &["accounts", "entries"], &[]];
        asked.iter().map(|views| rebuild(&kinledger, views)).collect::<Vec<_>>()
    });
    for (code, report, _) in &reports {
        assert_eq!(
            (code, &report["switched"], &report["same"]),
            (&Some(0), &json!(true), &json!(true)),
            "{report}"
        );
    }
    let (answers, writes) = (answers.into_inner(), writes.into_inner());
    println!(
        "{answers} answers and {writes} writes during four rebuilds: {:?}",
        reports.iter().map(|r| &r.1["projectors_waited_ms"]).collect::<Vec<_>>()
    );
    assert!(
        answers > 100 && writes > 20,
        "there was no load: {answers} answers, {writes} writes"
    );
    let spent = rust_decimal::Decimal::new(2_000 + i64::try_from(writes).unwrap(), 2);
    assert_eq!(family.balance(&lived.cash), dec("1000.00") - spent);
    rows_are_those_of_the_log(&kinledger);

    // The same rows of another generation are another answer to a client that asks whether anything changed.
    let path = format!("{}/accounts", family.path());
    let before = family.parent.client.get(&path);
    assert_eq!(rebuild(&kinledger, &["accounts"]).0, Some(0));
    let after = family.parent.client.get(&path);
    assert_eq!(before.text(), after.text());
    assert_ne!(before.etag, after.etag);
}
