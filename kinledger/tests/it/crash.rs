//! kill -9 in the middle of the work: nothing acknowledged is lost, nothing is there twice.
//!
//! Every round lets clients post commands under keys they remember, kills the process at a random moment, starts it again and
//! compares what the clients know with what the ledger says. The seed is printed; `KINLEDGER_SEED` repeats a run's choices.

use std::{collections::HashMap, thread, time::Duration};

use rand::{Rng, SeedableRng, rngs::StdRng};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Household, Kinledger, Person, amount, dec, pause, wait_until};

const KILLS: usize = 6;
const CLIENTS: usize = 6;

/// A command a client has sent, and what it knows of it.
struct Sent {
    key: Uuid,
    name: &'static str,
    body: Value,
    receipt: Option<Vec<u8>>,
}

#[test]
fn kill_9_loses_nothing_acknowledged_and_doubles_nothing() {
    let seed = std::env::var("KINLEDGER_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(rand::random::<u64>);
    println!("KINLEDGER_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut kinledger = Kinledger::start();
    let family = Household::found(&kinledger, "The Mouras", "EUR");
    let accounts = Accounts::open(&family);
    let mut sent: Vec<Sent> = Vec::new();
    for round in 0..KILLS {
        let dies_after = Duration::from_millis(random.random_range(20..450));
        let seeds: Vec<u64> = (0..CLIENTS).map(|_| random.random()).collect();
        let of_round = thread::scope(|scope| {
            let clients: Vec<_> = seeds
                .iter()
                .map(|seed| scope.spawn(|| post_until_it_dies(&family, &accounts, *seed)))
                .collect();
            pause(dies_after);
            if round % 2 == 0 {
                kinledger.kill();
            } else {
                kinledger.kill_with_its_database();
            }
            clients
                .into_iter()
                .flat_map(|client| client.join().unwrap())
                .collect::<Vec<Sent>>()
        });
        let lost = of_round.iter().filter(|one| one.receipt.is_none()).count();
        let ready_after = kinledger.start_again();
        println!(
            "round {round}: killed after {dies_after:?}, {} sent, {lost} without an answer, ready after {ready_after:?}",
            of_round.len()
        );
        let mut of_round = of_round;
        acknowledged_commands_are_there(&family, &of_round);
        everything_sent_again_lands_once(&family, &mut of_round);
        sent.extend(of_round);
        the_books_hold(&family, &accounts, &sent);
    }
    acknowledged_commands_are_there(&family, &sent);
    assert!(sent.len() > KILLS * CLIENTS, "there was no load: {}", sent.len());
}

#[test]
fn a_database_that_dies_alone_is_started_again_and_nothing_acknowledged_is_lost() {
    const DEATHS: usize = 3;
    let mut kinledger = Kinledger::start();
    let family = Household::found(&kinledger, "The Dalloways", "EUR");
    let accounts = Accounts::open(&family);
    let mut sent: Vec<Sent> = Vec::new();
    for death in 0..DEATHS {
        kinledger.kill_its_database();
        // Everybody goes on with the same process: refused meanwhile, never answered wrongly.
        let key = Uuid::new_v4();
        let body = json!({"account_id": accounts.cash, "category_id": accounts.leisure, "money": family.money("1.00")});
        let mut refused = 0;
        let mut receipt = None;
        let answered = wait_until(Duration::from_secs(60), || {
            let reply = family.command_as(&family.parent, "add-expense", key, &body);
            assert!([200, 503].contains(&reply.status), "{}: {}", reply.status, reply.text());
            refused += usize::from(reply.status == 503);
            receipt = (reply.status == 200).then_some(reply.body);
            receipt.is_some()
        });
        assert!(answered, "death {death}: the database did not come back");
        println!("death {death}: {refused} refused");
        sent.push(Sent {
            key,
            name: "add-expense",
            body,
            receipt,
        });
        let ready = wait_until(Duration::from_secs(30), || {
            family.parent.client.get("/readyz").status == 200
        });
        assert!(ready, "death {death}: not ready again");
        acknowledged_commands_are_there(&family, &sent);
        the_books_hold(&family, &accounts, &sent);
    }
    assert_eq!(
        kinledger
            .logged()
            .matches("the private database ended by itself")
            .count(),
        DEATHS
    );
    // And a stop while it is away is a stop.
    kinledger.kill_its_database();
    assert!(kinledger.interrupt().success());
    kinledger.start_again();
    the_books_hold(&family, &accounts, &sent);
}

struct Accounts {
    cash: String,
    wallet: String,
    leisure: String,
}

impl Accounts {
    fn open(family: &Household) -> Self {
        let cash =
            family.open_account(&json!({"name": "Cash", "kind": "cash", "opening_balance": family.money("100000")}));
        let wallet = family.open_account(&json!({"name": "Pocket", "kind": "wallet", "owner": family.child.member_id}));
        Self {
            cash,
            wallet,
            leisure: family.category("Leisure"),
        }
    }
}

fn post_until_it_dies(family: &Household, accounts: &Accounts, seed: u64) -> Vec<Sent> {
    let mut random = StdRng::seed_from_u64(seed);
    let client = family.parent.client.apart();
    let mut sent = Vec::new();
    loop {
        let money = family.money(&format!("0.{:02}", random.random_range(1..100)));
        let (name, body) = match random.random_range(0..3) {
            0 => (
                "add-expense",
                json!({"account_id": accounts.cash, "money": money, "category_id": accounts.leisure}),
            ),
            // Three events in two streams, which must all be there or none.
            1 => (
                "transfer",
                json!({"from": accounts.cash, "to": accounts.wallet, "money": money}),
            ),
            _ => (
                "transfer",
                json!({"from": accounts.cash, "to": accounts.wallet, "money": family.money("0.01")}),
            ),
        };
        let key = Uuid::from_u128(random.random());
        let answer = client.try_post_as(&family.command_path(name), key, &body);
        let receipt = match answer {
            Ok(reply) if reply.status == 200 => Some(reply.body),
            Ok(reply) => panic!("{name}: {} {}", reply.status, reply.text()),
            Err(_) => None,
        };
        let is_over = receipt.is_none();
        sent.push(Sent {
            key,
            name,
            body,
            receipt,
        });
        if is_over {
            return sent;
        }
    }
}

fn acknowledged_commands_are_there(family: &Household, sent: &[Sent]) {
    for one in sent {
        let Some(receipt) = &one.receipt else { continue };
        let outcome = family.parent.client.get(&family.command_path(&one.key.to_string()));
        assert_eq!(
            outcome.status,
            200,
            "{} was acknowledged and is gone: {}",
            one.key,
            outcome.text()
        );
        assert_eq!(
            outcome.text(),
            String::from_utf8_lossy(receipt),
            "the outcome is the receipt"
        );
    }
}

/// What has no answer is sent again and gets one; what had one gets the same.
fn everything_sent_again_lands_once(family: &Household, sent: &mut [Sent]) {
    for one in sent.iter_mut() {
        let reply = family.command_as(&family.parent, one.name, one.key, &one.body);
        assert_eq!(reply.status, 200, "{}", reply.text());
        match &one.receipt {
            Some(receipt) => assert_eq!(reply.text(), String::from_utf8_lossy(receipt)),
            None => one.receipt = Some(reply.body),
        }
    }
}

/// The log against what the clients sent, and the views against the log.
fn the_books_hold(family: &Household, accounts: &Accounts, sent: &[Sent]) {
    assert_eq!(family.audit("verify")["verified"], true);
    let events = family.events();
    let is_numbered = events.iter().zip(1..).all(|(event, seq)| event["family_seq"] == seq);
    assert!(is_numbered, "family_seq has no gaps and no repeats");
    let mut entries_of: HashMap<String, usize> = HashMap::new();
    for event in events.iter().filter(|event| {
        ["ExpenseAdded", "TransferMade"]
            .iter()
            .any(|kind| event["event_type"] == *kind)
    }) {
        *entries_of
            .entry(event["command_id"].as_str().unwrap().to_owned())
            .or_default() += 1;
    }
    assert_eq!(entries_of.len(), sent.len(), "as many entries as accepted keys");
    assert!(entries_of.values().all(|count| *count == 1), "no key has two entries");
    let statement = family.audit("as-of");
    // The opening balance is an entry too.
    assert_eq!(
        statement["entries"]["recorded"].as_u64().unwrap(),
        sent.len() as u64 + 1
    );

    let (mut cash, mut wallet) = (dec("100000.00"), Decimal::ZERO);
    for one in sent {
        let sum = amount(&one.body["money"]);
        cash -= sum;
        wallet += if one.name == "transfer" { sum } else { Decimal::ZERO };
    }
    assert_eq!(
        (family.balance(&accounts.cash), family.balance(&accounts.wallet)),
        (cash, wallet)
    );
    views_equal_the_log(family, &family.parent, &statement);
}

/// Every account's balance in the views is that of a replay.
pub fn views_equal_the_log(family: &Household, person: &Person, statement: &Value) {
    let accounts = family.view(person, "accounts");
    for account in accounts["accounts"].as_array().unwrap() {
        let rows = statement["balances"].as_array().unwrap();
        let replayed = rows
            .iter()
            .find(|row| row["ledger_account"] == account["account_id"])
            .unwrap();
        assert_eq!(replayed["balance"], account["balance"], "{account}");
    }
}
