//! The same where the parts stand apart, with Kafka and Redis between them, and a dump of the running database for a backup.
//!
//! What is looked through beside everything that [`super::searching`] knows:
//!
//! - **Kafka**: every record of the topic, keys, values and headers, from the first. Texts are sealed there from the first moment, so
//!   none is ever to be found, before an erasure neither; that they are there, as envelopes, is counted.
//! - **Redis**: every key. Answers are kept there readable, for half a minute: found before, and gone soon after.
//!
//! The restore follows docs/operations.md, "Bring a dump back where the parts stand apart", step by step.

use std::{process::Command, time::Instant};

use domain::event::LedgerEvent;
use serde_json::json;

use super::{
    Gateways, OVER_WITHIN, assert_forgotten, assert_held_answers_are_over, assert_history_goes_on,
    assert_nothing_secret, assert_planted, balances,
    outside::{all_is_sealed, delete_topic, redis, topic},
    planting::{Planted, plant},
    searching::{dump, found},
    stored,
};
use crate::{
    apart::parts::{PARTS, Parts},
    support::{Household, wait_until},
};

#[test]
fn where_parts_stand_apart_no_planted_string_is_left_in_kafka_in_redis_or_after_a_restored_dump() {
    let gateways = Gateways::start();
    let mut parts = Parts::start_with(&gateways.settings());
    let (family, planted) = plant(&parts, &gateways);
    assert_planted(&parts, &family, &planted);
    let kept = found(&planted.texts, &redis());
    assert!(kept.len() > 20, "Redis keeps answers: {}", kept.len());
    kafka_never_held_one(&parts, &family, &planted);

    let (sums, before) = (balances(&family), stored(&family));
    let members = format!("{}/members", family.path());
    let tag = family.parent.client.get(&members).etag;
    let backup = parts.folder().join("backup.dump");
    run(Command::new("pg_dump")
        .args(["--format=custom", "--file", backup.to_str().unwrap()])
        .arg(parts.database_url()));

    planted.erase(&family);
    let erased_at = Instant::now();
    assert_forgotten(&parts, &family, &planted);
    assert_eq!(balances(&family), sums);
    assert_history_goes_on(&before, &stored(&family), &planted);
    assert_eq!(family.audit("verify")["verified"], true);
    assert_held_answers_are_over(&family, &members, &tag);
    kafka_never_held_one(&parts, &family, &planted);

    let lost = lost_answer(&family);
    restore(&mut parts, &backup, &planted);
    println!(
        "Redis was free of them within {:.1} s",
        erased_at.elapsed().as_secs_f64()
    );
    let restored = Household::again(&family);
    assert_forgotten(&parts, &restored, &planted);
    assert_eq!(balances(&restored), sums);
    assert_eq!(restored.audit("verify")["verified"], true);
    assert_held_answers_are_over(&restored, &members, &tag);
    // 7. The rows are those of the log.
    let verified = parts.run(&["audit", "verify", "--views", "--family", &family.id]);
    assert!(
        verified.status.success(),
        "{}",
        String::from_utf8_lossy(&verified.stdout)
    );
    assert_lost_answer_is_none_of_this_history(&restored, lost);
    let again = planted.as_each(&restored);
    assert!(again.iter().all(|status| *status == 404 || *status == 401), "{again:?}");
    kafka_never_held_one(&parts, &restored, &planted);
    // Answers given while the rows were folded anew are kept no longer than others.
    assert_redis_forgets(&planted);
    let codes = parts.terminate();
    assert!(codes.iter().all(|(_, code)| *code == Some(0)), "{codes:?}");
}

/// An answer that only the history knew which the restore gives up: by what number of the family.
fn lost_answer(family: &Household) -> i64 {
    let category = json!({"name": "Of the lost history", "kind": "expense"});
    let head = family.accepted(&family.parent, "add-category", &category)["family_seq"]
        .as_i64()
        .unwrap();
    family.view(&family.parent, "categories");
    head
}

/// Once the restored family has come to the same number, Redis does not answer for it.
fn assert_lost_answer_is_none_of_this_history(family: &Household, head: i64) {
    let mut seq = family.audit("as-of")["family_seq"].as_i64().unwrap();
    assert!(seq < head, "{seq} is not before {head}");
    while seq < head {
        let category = json!({"name": format!("Of this history {seq}"), "kind": "expense"});
        seq = family.accepted(&family.parent, "add-category", &category)["family_seq"]
            .as_i64()
            .unwrap();
    }
    let shown = family.view(&family.parent, "categories").to_string();
    assert!(
        shown.contains("Of this history") && !shown.contains("Of the lost history"),
        "{shown}"
    );
}

/// Every event is in the topic once it is in the log, every personal text of it as an envelope.
fn kafka_never_held_one(parts: &Parts, family: &Household, planted: &Planted) {
    let logged = family.events().len();
    let catalogue = LedgerEvent::kinds();
    let (mut records, mut sealed) = (0, 0);
    let is_published = wait_until(OVER_WITHIN, || {
        (records, sealed) = all_is_sealed(parts.topic(), &catalogue);
        records == logged
    });
    assert!(is_published, "{records} of {logged} events are in Kafka");
    assert!(sealed >= planted.texts.len() - 30, "{sealed}");
    let places = topic(parts.topic());
    let id = family.id.trim_start_matches("fam_");
    let id = uuid::Uuid::parse_str(id).unwrap().to_string();
    assert!(!found(&[id], &places).is_empty(), "what is there is found there");
    let seen = found(&planted.texts, &places);
    assert!(seen.is_empty(), "{seen:?}");
    assert_nothing_secret(planted, &places);
    println!("Kafka: {records} records, {sealed} texts sealed in them, none readable");
}

fn assert_redis_forgets(planted: &Planted) {
    let forgets = wait_until(OVER_WITHIN, || found(&planted.texts, &redis()).is_empty());
    assert!(forgets, "{:?}", found(&planted.texts, &redis()));
}

/// Steps of docs/operations.md, by their numbers.
fn restore(parts: &mut Parts, backup: &std::path::Path, planted: &Planted) {
    // 1. Everything is stopped.
    let codes = parts.terminate();
    assert!(codes.iter().all(|(_, code)| *code == Some(0)), "{codes:?}");
    // 2. An empty database, and the dump into it.
    parts.empty_database();
    run(Command::new("pg_restore")
        .args(["--exit-on-error", "--dbname"])
        .arg(parts.database_url())
        .arg(backup));
    let back = found(&planted.texts, &[("dump".to_owned(), dump(&parts.database_url()))]);
    assert!(
        back.len() >= planted.texts.len() - 30,
        "the backup brings back {}",
        back.len()
    );
    // 3. Whatever is of the history that was given up.
    delete_topic(parts.topic());
    parts.keep_checkpoints_in("checkpoints-after");
    assert_redis_forgets(planted);
    // 4. The tables of this release, and the rights of the services' login.
    let migrated = parts.run(&["migrate"]);
    assert!(
        migrated.status.success(),
        "{}",
        String::from_utf8_lossy(&migrated.stderr)
    );
    // 5. command-api alone applies the register.
    parts.start_part("command-api");
    // 6. The others; views last.
    for part in PARTS
        .into_iter()
        .filter(|part| !["command-api", "query-api"].contains(part))
    {
        parts.start_part(part);
    }
    parts.start_part("query-api");
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
