//! Many at once on one thing.

use std::{sync::Barrier, thread};

use rand::Rng;
use rust_decimal::Decimal;
use serde_json::json;
use uuid::Uuid;

use crate::support::{Household, Kinledger, Person, Reply, amount, dec};

#[test]
fn a_wallet_never_goes_below_zero_however_many_spend_from_it() {
    let kinledger = Kinledger::start();
    let family = Household::found(&kinledger, "The Ferreiras", "EUR");
    let opening = json!({"name": "Pocket", "kind": "wallet", "owner": family.child.member_id, "opening_balance": family.money("10")});
    let wallet = family.open_account(&opening);
    let leisure = family.category("Leisure");
    let sums: Vec<Decimal> = (0..100)
        .map(|_| Decimal::new(rand::rng().random_range(25..=100), 2))
        .collect();

    let replies = at_once(sums.len(), |number| {
        let person = if number % 2 == 0 { &family.child } else { &family.parent };
        let body =
            json!({"account_id": wallet, "money": family.money(&sums[number].to_string()), "category_id": leisure});
        apart(person).client.post(&family.command_path("add-expense"), &body)
    });

    let mut accepted = Decimal::ZERO;
    for (sum, reply) in sums.iter().zip(&replies) {
        match reply.status {
            200 => accepted += sum,
            _ => assert_eq!(reply.refused(), (422, "wallet-too-low".to_owned()), "{}", reply.text()),
        }
    }
    let left = dec("10.00") - accepted;
    assert!(
        left >= Decimal::ZERO && left < dec("1.00"),
        "{left} left: whoever could be served was"
    );
    // Reads what everybody wrote: the receipts went past the household.
    family.accepted(
        &family.parent,
        "add-category",
        &json!({"name": "Fairs", "kind": "expense"}),
    );
    assert_eq!(family.balance(&wallet), left);
    let balances: Vec<Decimal> = changes(&family)
        .iter()
        .map(|change| amount(&change["balance"]))
        .collect();
    assert!(balances.iter().all(|balance| *balance >= Decimal::ZERO), "{balances:?}");
    assert_eq!(balances.last(), Some(&left));
    let total: Decimal = changes(&family).iter().map(|change| amount(&change["change"])).sum();
    assert_eq!(total, left, "the log adds up");
}

#[test]
fn a_repeat_in_a_batch_costs_its_neighbours_nothing() {
    let kinledger = Kinledger::start();
    let family = Household::found(&kinledger, "The Moreiras", "EUR");
    let opening = json!({"name": "Pocket", "kind": "wallet", "owner": family.child.member_id, "opening_balance": family.money("4.50")});
    let wallet = family.open_account(&opening);
    let leisure = family.category("Leisure");
    let spend =
        |sum: &str| json!({"account_id": wallet, "money": family.money(sum), "category_id": leisure, "payee": "Fair"});
    let key = Uuid::new_v4();
    family
        .command_as(&family.child, "add-expense", key, &spend("2.00"))
        .accepted();

    let item = |key: Uuid, sum: &str| json!({"name": "add-expense", "idempotency_key": key, "body": spend(sum)});
    let batch = json!([
        item(key, "2.00"),
        item(Uuid::new_v4(), "2.50"),
        item(Uuid::new_v4(), "0.01")
    ]);
    let path = format!("{}/commands", family.path());
    let answer = family.child.client.post(&path, &batch).accepted();
    let statuses: Vec<_> = answer["results"]
        .as_array()
        .expect("results")
        .iter()
        .map(|one| one["status"].clone())
        .collect();
    assert_eq!(
        statuses,
        [200, 200, 422],
        "2.50 were left, whatever the repeat would have taken: {answer}"
    );
}

#[test]
fn a_chore_that_two_approve_is_paid_once() {
    let kinledger = Kinledger::start();
    let family = Household::found(&kinledger, "The Carvalhos", "EUR");
    let cash = family.open_account(&json!({"name": "Cash", "kind": "cash", "opening_balance": family.money("100")}));
    let wallet = family.open_account(&json!({"name": "Pocket", "kind": "wallet", "owner": family.child.member_id}));
    let offer =
        json!({"title": "Sweep the yard", "points": 7, "reward": {"money": family.money("3"), "pay_from": cash}});
    let offered = family.accepted(&family.parent, "offer-chore", &offer);
    let chore = json!({"chore_id": offered["events"][0]["aggregate_id"]});
    family.accepted(&family.child, "claim-chore", &chore);
    family.accepted(&family.child, "complete-chore", &chore);

    let replies = at_once(50, |number| {
        let person = if number % 2 == 0 {
            &family.parent
        } else {
            &family.partner
        };
        apart(person).client.post(&family.command_path("approve-chore"), &chore)
    });

    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 1);
    let declined = replies.iter().filter(|reply| reply.status != 200);
    declined.for_each(|reply| assert_eq!(reply.refused().0, 422, "{}", reply.text()));
    family.accepted(
        &family.parent,
        "add-category",
        &json!({"name": "Fairs", "kind": "expense"}),
    );
    assert_eq!(
        (family.balance(&cash), family.balance(&wallet)),
        (dec("97.00"), dec("3.00"))
    );
    let board = family.view(&family.parent, "leaderboard?period=all");
    assert_eq!(board["places"][0]["points"], 7);
}

#[test]
fn one_key_has_one_effect_and_one_answer() {
    let kinledger = Kinledger::start();
    let family = Household::found(&kinledger, "The Teixeiras", "EUR");
    let cash = family.open_account(&json!({"name": "Cash", "kind": "cash", "opening_balance": family.money("100")}));
    let leisure = family.category("Leisure");
    let expense =
        |sum: &str| json!({"account_id": cash, "money": family.money(sum), "category_id": leisure, "payee": "Fair"});

    for round in 0..5 {
        let key = Uuid::new_v4();
        let path = family.command_path("add-expense");
        let replies = at_once(8, |_| apart(&family.parent).client.post_as(&path, key, &expense("1")));
        assert!(
            replies.iter().all(|reply| reply.status == 200),
            "{:?}",
            replies.iter().map(|r| r.status).collect::<Vec<_>>()
        );
        assert!(
            replies.windows(2).all(|pair| pair[0].body == pair[1].body),
            "byte for byte the same receipt"
        );
        family.seen(&replies[0].json());
        let said_otherwise = br#" {"payee":"Fair", "category_id":"CATEGORY","money":{"currency":"EUR","amount":"1.00"},"account_id":"ACCOUNT"}"#;
        let said_otherwise = String::from_utf8_lossy(said_otherwise)
            .replace("CATEGORY", &leisure)
            .replace("ACCOUNT", &cash);
        let key_text = key.to_string();
        let headers = [
            ("content-type", "application/json"),
            ("idempotency-key", key_text.as_str()),
        ];
        let same = family
            .parent
            .client
            .send("POST", &path, &headers, Some(said_otherwise.as_bytes()));
        assert_eq!(same.text(), replies[0].text(), "the same request in other words");
        let other = family.command_as(&family.parent, "add-expense", key, &expense("2"));
        assert_eq!(other.refused(), (409, "idempotency-key-reused".to_owned()));
        let other = family.command_as(
            &family.parent,
            "add-category",
            key,
            &json!({"name": "Fairs", "kind": "expense"}),
        );
        assert_eq!(other.refused(), (409, "idempotency-key-reused".to_owned()));
        assert_eq!(family.balance(&cash), dec("99.00") - Decimal::from(round));
    }

    let founder = &family.parent.client;
    let key = Uuid::new_v4();
    let body = json!({"name": "The Other Teixeiras", "currency": "EUR"});
    let founded = at_once(8, |_| founder.apart().post_as("/api/v1/families", key, &body));
    assert!(
        founded
            .iter()
            .all(|reply| reply.status == 201 && reply.body == founded[0].body),
        "one family, however often asked for"
    );
    let families = founder.get("/api/v1/families").accepted();
    assert_eq!(families["families"].as_array().unwrap().len(), 2);
}

#[test]
fn one_import_sent_by_many_books_each_row_once() {
    let kinledger = Kinledger::start();
    let family = Household::found(&kinledger, "The Pintos", "EUR");
    let account = family.open_account(&json!({"name": "Giro", "kind": "bank"}));
    let path = format!("{}/imports?account_id={account}", family.path());
    let file = crate::session::MARCH.as_bytes();

    let replies = at_once(8, |_| apart(&family.parent).client.post_file(&path, file));

    let booked: Vec<u64> = replies
        .iter()
        .map(|reply| reply.accepted()["rows_booked"].as_u64().unwrap())
        .collect();
    assert_eq!(booked.iter().sum::<u64>(), 4, "{booked:?}");
    family.accepted(
        &family.parent,
        "add-category",
        &json!({"name": "Fairs", "kind": "expense"}),
    );
    assert_eq!(family.balance(&account), dec("1730.45"));
}

#[test]
fn if_match_declines_when_the_ledger_has_moved_on() {
    let kinledger = Kinledger::start();
    let family = Household::found(&kinledger, "The Duartes", "EUR");
    let add = |name: &str, head: i64, key: Uuid| {
        let (head, key) = (format!("\"{head}\""), key.to_string());
        let headers = [
            ("content-type", "application/json"),
            ("idempotency-key", key.as_str()),
            ("if-match", head.as_str()),
        ];
        let body = json!({"name": name, "kind": "expense"}).to_string();
        family.parent.client.send(
            "POST",
            &family.command_path("add-category"),
            &headers,
            Some(body.as_bytes()),
        )
    };
    let head = family.events().len() as i64;
    let key = Uuid::new_v4();

    let first = add("Fairs", head, key);
    assert_eq!(first.accepted()["family_seq"], head + 1);
    assert_eq!(
        add("Ferries", head, Uuid::new_v4()).refused(),
        (412, "precondition-failed".to_owned())
    );
    assert_eq!(
        add("Fairs", head, key).text(),
        first.text(),
        "a repeat of what was accepted is answered alike"
    );

    let replies = at_once(16, |number| {
        add(&format!("Category {number}"), head + 1, Uuid::new_v4())
    });
    assert_eq!(
        replies.iter().filter(|reply| reply.status == 200).count(),
        1,
        "one of many that insist on one head"
    );
    assert!(replies.iter().all(|reply| [200, 412].contains(&reply.status)));
}

/// What so many threads get who begin at the same moment.
pub fn at_once(count: usize, send: impl Fn(usize) -> Reply + Sync) -> Vec<Reply> {
    let (barrier, send) = (Barrier::new(count), &send);
    thread::scope(|scope| {
        let begin = |number| {
            let barrier = &barrier;
            move || {
                barrier.wait();
                send(number)
            }
        };
        let threads: Vec<_> = (0..count).map(|number| scope.spawn(begin(number))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// The same person with connections of their own.
pub fn apart(person: &Person) -> Person {
    Person {
        client: person.client.apart(),
        ..person.clone()
    }
}

fn changes(family: &Household) -> Vec<serde_json::Value> {
    let events = family.events().into_iter();
    events
        .filter(|event| event["event_type"] == "WalletBalanceChanged")
        .map(|event| event["payload"].clone())
        .collect()
}
