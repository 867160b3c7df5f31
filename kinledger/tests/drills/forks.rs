//! Postgres is restored to an earlier moment under parts that have seen more: they halt and say so, publish nothing, overwrite
//! nothing, and go on once an operator has decided.

use std::{process::Command, time::Duration};

use crate::{
    chance,
    fleet::Fleet,
    load::{Ledger, under_load},
    oracle::{nothing_is_lost_doubled_or_out_of_order, the_books_hold},
    servers::{Database, Postgres, named},
    support::wait_until,
    topic, verdict,
};

const SOON: Duration = Duration::from_secs(60);
const LANES: i16 = 8;
const FOLLOWERS: [&str; 2] = ["relay", "projectors"];
const OTHERS: [&str; 2] = ["command-api", "query-api"];

#[test]
fn a_database_restored_to_an_earlier_moment_is_a_fork_and_nothing_is_overwritten() {
    let (mut random, seed) = chance();
    let postgres = Postgres::start();
    let database = Database::create(&postgres.url());
    let brokers = named("KINLEDGER_TEST_KAFKA_BROKERS", "Kafka");
    let mut fleet = Fleet::new(&database.url()).with_kafka(&brokers);
    let topic_name = fleet.get("KINLEDGER_TOPIC");
    fleet.start_all(&FOLLOWERS);
    fleet.start_all(&OTHERS);
    let ledgers = [Ledger::found(&fleet, "The Machados")];
    let loaded = |fleet: &Fleet, random: &mut _| {
        let ((), histories) = under_load(&ledgers, 3, random, |progress| progress.wait_for_accepted(40, SOON));
        let report = nothing_is_lost_doubled_or_out_of_order(&database.url(), &ledgers, &histories);
        assert_eq!(fleet.names().len(), 4);
        topic::holds_the_log(&brokers, &topic_name, &database.url());
        report
    };
    let report = loaded(&fleet, &mut random);
    moved(&mut fleet, &postgres, "cp -a data kept");
    let report = report.and(loaded(&fleet, &mut random));
    let published = topic::messages(&brokers, &topic_name, LANES);
    moved(&mut fleet, &postgres, "mv data later && cp -a kept data");

    // What the rows held then is what they hold; what is published stays as it is.
    all_say_fork(&fleet);
    let family = &ledgers[0].household;
    for number in 0..5 {
        let category = serde_json::json!({"name": format!("After {number}"), "kind": "expense"});
        let reply = family.command(&family.parent, "add-category", &category);
        assert_eq!(reply.status, 200, "commands go on: {}", reply.text());
    }
    for name in FOLLOWERS {
        let (status, said) = fleet.readiness(name).unwrap();
        assert!(
            status == 503 && said.to_string().contains("fork detected"),
            "{name}: {said}"
        );
    }
    assert_eq!(
        topic::messages(&brokers, &topic_name, LANES),
        published,
        "nothing is published"
    );

    // What was lost is brought back under them: whoever has halted goes on by itself.
    stop_all(&mut fleet, &OTHERS);
    exchanged(&postgres, "rm -rf data && mv later data");
    fleet.start_all(&OTHERS);
    for name in FOLLOWERS {
        let goes_on = wait_until(SOON, || fleet.readiness(name).is_some_and(|(status, _)| status == 200));
        assert!(goes_on, "{name}: {:?}", fleet.readiness(name));
    }
    let report = report.and(loaded(&fleet, &mut random));
    moved(&mut fleet, &postgres, "rm -rf data && mv kept data");
    all_say_fork(&fleet);

    // The operator decides that the log is the truth.
    stop_all(&mut fleet, &FOLLOWERS);
    topic::delete(&brokers, &topic_name);
    let is_gone = wait_until(SOON, || topic::messages(&brokers, &topic_name, LANES) == 0);
    assert!(is_gone, "the topic cannot be deleted");
    fleet.start_all(&FOLLOWERS);
    the_books_hold(&database.url(), &[]);
    topic::holds_the_log(&brokers, &topic_name, &database.url());
    verdict(
        "fork",
        &report,
        &format!("published_before={published}"),
        Duration::ZERO,
        seed,
    );
}

/// Followers halt, and readiness says why.
fn all_say_fork(fleet: &Fleet) {
    for name in FOLLOWERS {
        let says_so = wait_until(SOON, || {
            fleet
                .readiness(name)
                .is_some_and(|(status, said)| status == 503 && said.to_string().contains("fork detected"))
        });
        assert!(says_so, "{name}: {:?}", fleet.readiness(name));
    }
}

/// Exchanges folders while everything is stopped, and starts everything again; the followers need not be ready.
fn moved(fleet: &mut Fleet, postgres: &Postgres, script: &str) {
    stop_all(fleet, &FOLLOWERS);
    stop_all(fleet, &OTHERS);
    exchanged(postgres, script);
    FOLLOWERS.iter().for_each(|name| fleet.launch(name));
    fleet.start_all(&OTHERS);
}

/// Stops the database, exchanges its folder by a script, and starts it again.
fn exchanged(postgres: &Postgres, script: &str) {
    postgres.stop_in_order();
    let home = postgres.home();
    let copied = Command::new("sh")
        .args(["-c", script])
        .current_dir(home)
        .status()
        .unwrap();
    assert!(copied.success(), "{script}");
    postgres.start_again();
}

fn stop_all(fleet: &mut Fleet, names: &[&str]) {
    for name in names {
        fleet.stop(name);
    }
}
