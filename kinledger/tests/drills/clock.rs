//! Clocks jump: those of the services by a month and back by an hour, that of the database's host by minutes. Nothing is out of
//! order, and no token that has expired counts again.

use std::time::Duration;

use sqlx::{Connection, PgConnection};

use crate::{
    chance,
    faults::Faults,
    fleet::Fleet,
    load::{Ledger, under_load},
    oracle::{nothing_is_lost_doubled_or_out_of_order, the_books_hold},
    servers::{Database, Postgres, folder, runtime},
    support::wait_until,
    verdict,
};

const SOON: Duration = Duration::from_secs(60);
const HOUR_S: i64 = 3_600;
const MONTH_S: i64 = 30 * 24 * HOUR_S;
const PROCESSES: [&str; 4] = ["command-api", "query-api", "projectors-1", "projectors-2"];

#[test]
fn clocks_that_jump_disorder_nothing_and_revive_no_token() {
    let (mut random, seed) = chance();
    let (of_services, of_database) = (Faults::new(), Faults::new());
    let home_folder = folder();
    let home = home_folder.path().join("postgres");
    let postgres = Postgres::start_in(home, Some(home_folder), of_database.environment(), "");
    let database = Database::create(&postgres.url());
    let mut fleet = Fleet::new(&database.url());
    for (key, value) in of_services.environment() {
        fleet.set(&key, &value);
    }
    fleet.start_all(&PROCESSES);
    let ledgers = [Ledger::found(&fleet, "The Quintelas")];
    let steps = [MONTH_S, -MONTH_S, 0, -HOUR_S, 0];
    let ((), histories) = under_load(&ledgers, 4, &mut random, |progress| {
        for seconds in steps {
            of_services.shift_clock(seconds);
            progress.wait_for_accepted(25, SOON);
        }
        // Less than a token lives: by this clock it counts.
        for seconds in [600, 0, -HOUR_S, 0] {
            of_database.shift_clock(seconds);
            progress.wait_for_accepted(25, SOON);
        }
    });
    // The business date is the services' today: so they have seen their clocks jump.
    let days = "select array[current_date - min(effective_on), max(effective_on) - current_date] from log.events";
    let (back, ahead) = runtime().block_on(async {
        let mut connection = PgConnection::connect(&database.url()).await.unwrap();
        let days: Vec<i32> = sqlx::query_scalar(days).fetch_one(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        (days[0], days[1])
    });
    assert!(
        back > 25 && ahead > 25,
        "the clocks have not jumped: {back} and {ahead} days"
    );
    let report = nothing_is_lost_doubled_or_out_of_order(&database.url(), &ledgers, &histories);

    let family = &ledgers[0].household;
    let views = format!("{}/accounts", family.path());
    let category = serde_json::json!({"name": "Late", "kind": "expense"});
    let answers = || {
        let client = &family.parent.client;
        let posted = client.post(&family.command_path("add-category"), &category).status;
        (client.get(&views).status, posted)
    };
    // Each process looks every two seconds how late it is.
    of_database.shift_clock(HOUR_S);
    assert!(
        wait_until(SOON, || answers() == (401, 401)),
        "the token has expired: {:?}",
        answers()
    );
    of_database.shift_clock(0);
    of_services.shift_clock(-MONTH_S);
    let is_revived = wait_until(Duration::from_secs(5), || answers() != (401, 401));
    assert!(!is_revived, "a token that has expired counts again: {:?}", answers());
    the_books_hold(&database.url(), &[]);
    verdict(
        "clocks-jump",
        &report,
        &format!("steps={}", steps.len() + 4),
        Duration::ZERO,
        seed,
    );
}
