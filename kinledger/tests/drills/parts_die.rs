//! kill -9 of every part at random under load, with Kafka between them; and of the one process that is all parts.

use std::time::Duration;

use rand::Rng;

use crate::{
    chance,
    checker::Report,
    fleet::{Fleet, SECRET},
    load::{Ledger, under_load},
    oracle::{nothing_is_lost_doubled_or_out_of_order, the_seal_holds},
    servers::{Database, named},
    support::{Kinledger, pause},
    times, verdict,
};

const PROCESSES: [&str; 10] = [
    "relay-1",
    "relay-2",
    "projectors-1",
    "projectors-2",
    "sealer-1",
    "sealer-2",
    "command-api",
    "query-api",
    "reactors",
    "replay-api",
];

#[test]
fn parts_killed_at_random_lose_and_double_nothing() {
    let (mut random, seed) = chance();
    let database = Database::shared();
    let mut fleet = Fleet::new(&database.url())
        .with_kafka(&named("KINLEDGER_TEST_KAFKA_BROKERS", "Kafka"))
        .with_sealing();
    fleet.start_all(&PROCESSES);
    let ledgers = [
        Ledger::found(&fleet, "The Almeidas"),
        Ledger::found(&fleet, "The Barbosas"),
    ];
    let kills = times(70, 400);
    let mut order = random.clone();
    let (recovery_max, histories) = under_load(&ledgers, 3, &mut random, |progress| {
        let mut slowest = Duration::ZERO;
        for _ in 0..kills {
            let name = PROCESSES[order.random_range(0..PROCESSES.len())];
            fleet.kill(name);
            // Away for a moment, or for long enough that others take over.
            pause(Duration::from_millis(order.random_range(0..150)));
            slowest = slowest.max(fleet.start(name));
            progress.wait_for_accepted(order.random_range(1..8), Duration::from_secs(60));
        }
        slowest
    });
    let report = nothing_is_lost_doubled_or_out_of_order(&database.url(), &ledgers, &histories);
    let kept = the_seal_holds(&database.url(), &fleet.kept());
    for name in PROCESSES {
        assert_eq!(fleet.readiness(name).map(|(status, _)| status), Some(200), "{name}");
    }
    assert!(report.acknowledged >= kills * 2, "there was no load: {report}");
    let more = format!("kills={kills} kept={kept}");
    verdict("parts-die", &report, &more, recovery_max, seed);
}

#[test]
fn the_one_process_killed_with_and_without_its_database_loses_and_doubles_nothing() {
    let (mut random, seed) = chance();
    let mut kinledger = Kinledger::start_with_secret(SECRET);
    let ledgers = [Ledger::found(&kinledger, "The Cardosos")];
    let kills = times(12, 100);
    let mut order = random.clone();
    let (recovery_max, histories) = under_load(&ledgers, 5, &mut random, |progress| {
        let mut slowest = Duration::ZERO;
        for _ in 0..kills {
            progress.wait_for_accepted(order.random_range(1..40), Duration::from_secs(60));
            if order.random_bool(0.5) {
                kinledger.kill();
            } else {
                kinledger.kill_with_its_database();
            }
            slowest = slowest.max(kinledger.start_again());
        }
        slowest
    });
    let url = database_url(&kinledger);
    let report: Report = nothing_is_lost_doubled_or_out_of_order(&url, &ledgers, &histories);
    assert!(report.acknowledged >= kills, "there was no load: {report}");
    let kept = the_seal_holds(&url, &kinledger.data_dir().join("checkpoints"));
    verdict(
        "all-in-one-dies",
        &report,
        &format!("kills={kills} kept={kept}"),
        recovery_max,
        seed,
    );
}

/// The private database of a data folder.
fn database_url(kinledger: &Kinledger) -> String {
    let text = std::fs::read(kinledger.data_dir().join("running.json")).unwrap();
    let running: serde_json::Value = serde_json::from_slice(&text).unwrap();
    running["database_url"].as_str().unwrap().to_owned()
}
