//! An event that no release can read gets into the log, rightly hashed: its family is parked, and others do not notice.

use std::time::Duration;

use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::{
    chance,
    fleet::Fleet,
    load::{Ledger, under_load},
    oracle::{compare, the_books_hold},
    servers::{Database, runtime},
    support::wait_until,
    verdict,
};

const SOON: Duration = Duration::from_secs(60);

#[test]
fn a_poisoned_event_parks_its_family_and_others_go_on() {
    let (mut random, seed) = chance();
    let database = Database::shared();
    let mut fleet = Fleet::new(&database.url());
    fleet.start_all(&["command-api", "query-api", "projectors-1", "projectors-2"]);
    let poisoned = Ledger::found(&fleet, "The Rochas");
    let ledgers = [
        Ledger::found(&fleet, "The Salgados"),
        Ledger::found(&fleet, "The Teles"),
    ];
    let ((), histories) = under_load(&ledgers, 3, &mut random, |progress| {
        progress.wait_for_accepted(20, SOON);
        plant(&database, poisoned.id());
        let is_parked = || {
            let parked = |name: &str| fleet.metric(name, "kinledger_projector_parked_families");
            parked("projectors-1") == 1.0 && parked("projectors-2") == 1.0
        };
        assert!(wait_until(SOON, is_parked), "the family is not parked");
        progress.wait_for_accepted(60, SOON);
    });
    let report = compare(&database.url(), &ledgers, &histories);
    assert!(report.faults().is_empty(), "{report}\n{:#?}", report.faults());
    // Of the parked family's rows nothing is asked; every other row is compared.
    the_books_hold(&database.url(), &[poisoned.id()]);
    for ledger in &ledgers {
        let accounts = ledger.household.view(&ledger.household.parent, "accounts");
        assert!(accounts["family_seq"].as_i64() > Some(10), "{accounts}");
    }
    let told = poisoned
        .household
        .parent
        .client
        .get(&format!("{}/accounts", poisoned.household.path()));
    assert_eq!(told.status, 200, "its views stay as they were: {}", told.text());
    verdict("poison", &report, "parked=1", Duration::ZERO, seed);
}

/// Appends, as whoever owns the database could, an event of a kind that does not exist, with the hashes it ought to have.
fn plant(database: &Database, family: Uuid) {
    let verdict: String = runtime().block_on(async {
        let mut admin = PgConnection::connect(&database.url()).await.unwrap();
        let statement = "with f as (
                select f.lane, f.family_id, (select max(family_seq) from log.events e where e.family_id = f.family_id) as head,
                    gen_random_uuid() as command_id, gen_random_uuid()::text as aggregate_id
                from log.families f where f.family_id = $1
            )
            select verdict from f, lateral log.append_batch(f.lane, array[f.family_id], array[f.command_id], array[0],
                array[decode(repeat('00', 32), 'hex')], array[f.head], array[false], array['{}'], array[1], array['chore'],
                array[f.aggregate_id], array[1::bigint], array['ChoreDreamt'], array['1'], array['{}'], array[date '2026-11-21'],
                array[log.leaf_hash(f.family_id, 'chore', f.aggregate_id, 1, 'ChoreDreamt', '1', f.command_id, '2026-11-21', '{}', '{}')],
                '{}'::int[], '{}'::text[], '{}'::bytea[])";
        let verdict = sqlx::query_scalar(statement).bind(family).fetch_one(&mut admin).await.unwrap();
        admin.close().await.unwrap();
        verdict
    });
    assert_eq!(verdict, "ok");
}
