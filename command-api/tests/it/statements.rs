//! How often a command goes to the database: counted on the wire, so that a change which adds a question fails here.

use command_api::lanes::LaneSettings;
use futures::future::join_all;
use serde_json::json;
use service_kit::testing::{
    TestDatabase,
    statements::{Sent, Wire},
};
use uuid::Uuid;

use super::support::{Served, WriteSide, euros};

/// A write side whose every statement is seen.
async fn watched() -> (TestDatabase, Wire, WriteSide) {
    let database = TestDatabase::create().await;
    let wire = Wire::to(&database).await;
    let side = WriteSide::start(wire.url(), 4, LaneSettings::default()).await;
    (database, wire, side)
}

/// At most once a second a process asks whether keys were destroyed; that is part of no command.
const EPOCH: &str = "select epoch from keys.changes";

/// A look into the log names its family in the message that begins it, and is over without anybody waiting for that.
const BEGINS: &str = "begin read only; set local kinledger.family_id = '";
const ENDS: &str = "ROLLBACK";

/// What was asked since the last call, by what for. Opening a connection is not part of any command; every look named a family.
fn asked(wire: &Wire) -> Vec<&'static str> {
    let known = [
        ("log.append_lanes", "append"),
        ("stream_number", "load"),
        ("from log.commands", "find"),
        ("from log.families", "lane"),
        ("e.family_seq > $3", "read"),
        ("keys.member_keys", "keys"),
    ];
    let (begun, statements): (Vec<String>, Vec<String>) = wire
        .take_statements()
        .into_iter()
        .filter(|text| !text.starts_with("set role") && text != EPOCH && text != ENDS)
        .partition(|text| text.starts_with(BEGINS));
    let name = |text: String| {
        let found = known.iter().find(|(part, _)| text.contains(part));
        found.unwrap_or_else(|| panic!("a statement nobody expects: {text}")).1
    };
    let asked: Vec<&str> = statements.into_iter().map(name).collect();
    let looks = asked.iter().filter(|what| !["append", "keys"].contains(what)).count();
    assert_eq!(begun.len(), looks, "{asked:?}");
    asked
}

#[tokio::test]
async fn a_command_of_a_family_in_memory_is_one_statement_and_nothing_else() {
    let (database, wire, side) = watched().await;
    let home = side.found().await;
    // Twice, so that the looks of the first are over.
    for _ in 0..2 {
        side.execute(home.id, "add-expense", &home.expense("1.00"))
            .await
            .expect("accepted");
    }
    wire.take();
    for _ in 0..10 {
        side.execute(home.id, "add-expense", &home.expense("1.00"))
            .await
            .expect("accepted");
    }
    let mut sent = wire.take();
    sent.retain(|sent| !matches!(sent, Sent::Statement(text) if text == EPOCH));
    let is_append = |sent: &Sent| matches!(sent, Sent::Statement(text) if text.contains("log.append_lanes"));
    assert_eq!(sent.iter().filter(|sent| is_append(sent)).count(), 10);
    // No question whether the connection lives, no begin, no commit: one round trip a command.
    assert_eq!(sent.len(), 10, "{sent:?}");
    database.drop().await;
}

#[tokio::test]
async fn commands_in_flight_share_statements() {
    let (database, wire, side) = watched().await;
    let mut homes = Vec::new();
    for _ in 0..16 {
        let home = side.found().await;
        side.execute(home.id, "add-expense", &home.expense("1.00"))
            .await
            .expect("accepted");
        homes.push(home);
    }
    wire.take();
    let commands = (0..800).map(|number| {
        let home = homes[number % homes.len()];
        let side = &side;
        async move { side.execute(home.id, "add-expense", &home.expense("0.01")).await }
    });
    let accepted = join_all(commands).await.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(accepted, 800);
    let asked = asked(&wire);
    assert!(asked.iter().all(|what| *what == "append"), "{asked:?}");
    // Eight lanes, all of whose commands were there at once: two rounds at most, the first of whoever was there first.
    assert!(asked.len() <= 16, "{} statements for 800 commands", asked.len());
    database.drop().await;
}

#[tokio::test]
async fn a_first_command_after_a_start_reads_only_what_it_needs() {
    let (database, wire, side) = watched().await;
    let home = side.found().await;
    for _ in 0..5 {
        side.execute(home.id, "add-expense", &home.expense("1.00"))
            .await
            .expect("accepted");
    }
    let fresh = WriteSide::start(wire.url(), 4, LaneSettings::default()).await;
    wire.take();
    fresh
        .execute(home.id, "add-expense", &home.expense("1.00"))
        .await
        .expect("accepted");
    // The lane, the family's stream and the keys of its texts, the account's, the category's; then the append.
    assert_eq!(asked(&wire), ["lane", "load", "keys", "load", "load", "append"]);
    fresh
        .execute(home.id, "add-expense", &home.expense("1.00"))
        .await
        .expect("accepted");
    assert_eq!(asked(&wire), ["append"]);
    database.drop().await;
}

#[tokio::test]
async fn a_repeat_costs_one_look_more_and_a_refusal_two() {
    let (database, wire, side) = watched().await;
    let home = side.found().await;
    let first = side.request(home.id, "add-expense", &home.expense("1.00"));
    let (command_id, command) = (first.command_id, first.command.clone());
    let receipt = side.api.execute(first).await.expect("accepted");
    wire.take();

    let mut again = side.request(home.id, "add-expense", &home.expense("1.00"));
    (again.command_id, again.command) = (command_id, command);
    let repeated = side.api.execute(again).await.expect("the first answer again");
    assert_eq!(repeated.position, receipt.position);
    assert_eq!(asked(&wire), ["append", "read"]);

    // What the rules refuse is never sent to the log, only looked for there: the head it stands on, and the command itself.
    side.execute(home.id, "add-expense", &home.expense("1.00"))
        .await
        .expect("accepted");
    wire.take();
    let nothing = json!({"account_id": home.account, "money": euros("1.00"), "category_id": home.account.to_string().replace("acc_", "cat_")});
    for _ in 0..2 {
        let refused = side.execute(home.id, "add-expense", &nothing).await;
        assert!(refused.is_err());
    }
    assert_eq!(asked(&wire), ["load", "load", "find", "load", "find"]);
    database.drop().await;
}

#[tokio::test]
async fn a_family_that_does_not_exist_costs_one_look() {
    let (database, wire, side) = watched().await;
    let home = side.found().await;
    wire.take();
    let nowhere = domain::id::FamilyId::from_uuid(Uuid::new_v4());
    for _ in 0..3 {
        let refused = side.execute(nowhere, "add-expense", &home.expense("1.00")).await;
        assert_eq!(refused.expect_err("there is no such family").status().as_u16(), 404);
    }
    assert_eq!(asked(&wire), ["lane", "lane", "lane"]);
    database.drop().await;
}

#[tokio::test]
async fn over_http_the_token_and_the_role_cost_no_statement() {
    let database = TestDatabase::create().await;
    let wire = Wire::to(&database).await;
    let served = Served::start(wire.url(), LaneSettings::default()).await;
    let body = served.household.expense("1.00").to_string();
    served.command("add-expense", body.clone()).await;
    wire.take();
    for _ in 0..5 {
        let answer = served.command("add-expense", body.clone()).await;
        assert_eq!(answer.status.as_u16(), 200, "{}", answer.body);
    }
    assert_eq!(asked(&wire), ["append"; 5]);
    let items: Vec<_> = (0..1_000)
        .map(|_| json!({"name": "add-expense", "idempotency_key": Uuid::new_v4(), "body": served.household.expense("0.01")}))
        .collect();
    let path = format!("/api/v1/families/{}/commands", served.household.id);
    let answer = served.post(&path, json!({"commands": items}).to_string()).await;
    let results = answer.body["results"].as_array().expect("results");
    assert!(results.iter().all(|result| result["status"] == 200));
    assert_eq!(results.len(), 1_000);
    let asked = asked(&wire);
    assert!(asked.iter().all(|what| *what == "append"), "{asked:?}");
    // As many as the limit of a batch makes of a thousand; one more when the first went ahead alone.
    assert!(asked.len() <= 2, "{} statements for a batch of 1,000", asked.len());
    database.drop().await;
}
