//! The database dies under load: every process of it with kill -9, or `pg_ctl stop -m immediate`. And the negative control:
//! the same with commits that are answered before they are durable, which the checker must find.

use std::time::Duration;

use rand::Rng;
use sqlx::{Connection, Executor, PgConnection};

use crate::{
    chance,
    fleet::Fleet,
    load::{Ledger, under_load},
    oracle::{compare, nothing_is_lost_doubled_or_out_of_order},
    servers::{Database, Postgres, runtime},
    times, verdict,
};

const PROCESSES: [&str; 3] = ["command-api", "query-api", "projectors"];

#[test]
fn a_database_killed_or_stopped_at_once_loses_and_doubles_nothing() {
    let (mut random, seed) = chance();
    let postgres = Postgres::start();
    let database = Database::create(&postgres.url());
    let mut fleet = Fleet::new(&database.url());
    fleet.start_all(&PROCESSES);
    let ledgers = [
        Ledger::found(&fleet, "The Duartes"),
        Ledger::found(&fleet, "The Esteves"),
    ];
    let deaths = times(12, 100);
    let mut order = random.clone();
    let ((kills, recovery_max), histories) = under_load(&ledgers, 4, &mut random, |progress| {
        let (mut kills, mut slowest) = (0, Duration::ZERO);
        for death in 0..deaths {
            progress.wait_for_accepted(order.random_range(1..60), Duration::from_secs(60));
            if death % 3 != 2 {
                kills += 1;
                postgres.kill();
            } else {
                postgres.stop_immediate();
            }
            slowest = slowest.max(postgres.start_again());
        }
        progress.wait_for_accepted(20, Duration::from_secs(60));
        (kills, slowest)
    });
    assert!(
        PROCESSES.iter().all(|name| fleet.is_running(name)),
        "the parts must live through it: {:?}",
        fleet.names()
    );
    let report = nothing_is_lost_doubled_or_out_of_order(&database.url(), &ledgers, &histories);
    assert!(report.acknowledged >= deaths * 2, "there was no load: {report}");
    let more = format!("kills={kills} immediate={}", deaths - kills);
    verdict("postgres-dies", &report, &more, recovery_max, seed);
}

#[test]
fn commits_answered_before_they_are_durable_are_found_to_be_lost() {
    let (mut random, seed) = chance();
    // Long enough that a kill comes before the server writes by itself.
    let folder = crate::servers::folder();
    let home = folder.path().join("postgres");
    let postgres = Postgres::start_in(
        home,
        Some(folder),
        Vec::new(),
        "wal_writer_delay = '10s'\nbgwriter_delay = '10s'\n",
    );
    let database = Database::create(&postgres.url());
    let mut fleet = Fleet::new(&database.url());
    fleet.start("command-api");
    fleet.start("query-api");
    fleet.start("projectors");
    let ledgers = [Ledger::found(&fleet, "The Frazaos")];
    // What an operator's slip or a hurried setting would do, for the log alone.
    runtime().block_on(async {
        let mut admin = PgConnection::connect(&database.url()).await.unwrap();
        let sloppy = "create function public.sloppy() returns trigger language plpgsql security definer as
                $$ begin perform set_config('synchronous_commit', 'off', true); return null; end $$;
            create trigger sloppy after insert on log.commands for each statement execute function public.sloppy();";
        admin.execute(sqlx::raw_sql(sloppy)).await.unwrap();
        admin.close().await.unwrap();
    });
    fleet.kill("projectors");
    let (recovery, histories) = under_load(&ledgers, 4, &mut random, |progress| {
        // Several times, for now and then somebody else's commit has just made all of it durable.
        let die = |_| {
            progress.wait_for_accepted(40, Duration::from_secs(60));
            postgres.kill();
            postgres.start_again()
        };
        (0..5).map(die).max().unwrap_or_default()
    });
    let report = compare(&database.url(), &ledgers, &histories);
    assert!(!report.lost.is_empty(), "the drill does not see what is lost: {report}");
    verdict("negative-control", &report, "kills=5", recovery, seed);
}
