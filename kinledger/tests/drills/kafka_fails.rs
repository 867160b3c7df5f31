//! Kafka stalls, loses a leader, dies and stays away; the topic is deleted. Relay and projectors die or are stopped at the
//! worst moment: between acknowledgement and checkpoint, between rows and commit, as the owner of every lane.

use std::time::{Duration, Instant};

use rand::Rng;
use sqlx::{Connection, Executor, PgConnection};

use crate::{
    chance,
    fleet::Fleet,
    load::{Ledger, Progress, under_load},
    oracle::nothing_is_lost_doubled_or_out_of_order,
    servers::{Database, Kafka, named, runtime},
    support::{pause, wait_until},
    times, topic, verdict,
};

const SOON: Duration = Duration::from_secs(60);
/// A relay's session ends after ten seconds of silence, a batch's transaction after eight.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(25);

#[test]
fn an_outage_of_kafka_costs_no_command_and_no_event() {
    let (mut random, seed) = chance();
    let database = Database::shared();
    let first = Kafka::start();
    let second = first.start_beside();
    let brokers = format!("{},{}", first.brokers(), second.brokers());
    let mut fleet = Fleet::new(&database.url()).with_kafka(&brokers);
    fleet.start_all(&[
        "relay-1",
        "relay-2",
        "projectors-1",
        "projectors-2",
        "command-api",
        "query-api",
    ]);
    let ledgers = [Ledger::found(&fleet, "The Gaspars")];
    let away = Duration::from_secs(times(15, 240) as u64);
    let topic_name = fleet.get("KINLEDGER_TOPIC");
    let (slowest, histories) = under_load(&ledgers, 3, &mut random, |progress| {
        let events_are_published = || {
            let began = Instant::now();
            assert!(
                wait_until(SOON * 2, || is_published(&database)),
                "the relay does not catch up"
            );
            began.elapsed()
        };
        // Half of the partitions lose their leader.
        second.kill();
        progress.wait_for_accepted(40, SOON);
        let slowest = events_are_published();
        // Connections stay open, and nobody answers.
        first.freeze(true);
        progress.wait_for_accepted(40, SOON);
        pause(away / 4);
        first.freeze(false);
        let slowest = slowest.max(events_are_published());
        // Nobody is there, for long.
        first.kill();
        let began = Instant::now();
        while began.elapsed() < away {
            progress.wait_for_accepted(5, Duration::from_secs(20));
        }
        // The alarm for it.
        for name in ["relay-1", "relay-2"] {
            let lag = fleet.metric(name, "kinledger_relay_lag_seconds");
            assert!(lag > away.as_secs_f64() / 2.0, "{name} says it is {lag} s behind");
        }
        first.start_again();
        second.start_again();
        slowest.max(events_are_published())
    });
    let report = nothing_is_lost_doubled_or_out_of_order(&database.url(), &ledgers, &histories);
    let (events, repeats) = topic::holds_the_log(&brokers, &topic_name, &database.url());
    let more = format!("away={}s published={events} repeats={repeats} kills=2", away.as_secs());
    verdict("kafka-fails", &report, &more, slowest, seed);
}

#[test]
fn relay_and_projectors_stopped_at_the_worst_moment_lose_and_double_nothing() {
    let (mut random, seed) = chance();
    let database = Database::shared();
    let brokers = named("KINLEDGER_TEST_KAFKA_BROKERS", "Kafka");
    let mut fleet = Fleet::new(&database.url()).with_kafka(&brokers);
    fleet.start_all(&["relay-1", "projectors-1", "command-api", "query-api"]);
    let ledgers = [
        Ledger::found(&fleet, "The Henriques"),
        Ledger::found(&fleet, "The Inacios"),
    ];
    let topic_name = fleet.get("KINLEDGER_TOPIC");
    let rounds = times(3, 30);
    let mut order = random.clone();
    let ((slowest, kills), histories) = under_load(&ledgers, 3, &mut random, |progress| {
        let (mut slowest, mut kills) = (Duration::ZERO, 0);
        for _ in 0..rounds {
            killed_while_it_waits(&mut fleet, &database, progress, RELAY_SAVES);
            killed_while_it_waits(&mut fleet, &database, progress, PROJECTORS_FOLD);
            kills += 2;
            progress.wait_for_accepted(order.random_range(5..20), SOON);
        }
        // A process that is stopped keeps its connections, its locks and what it had in hand.
        fleet.start_all(&["relay-2", "projectors-2"]);
        for (name, blocked) in [("relay-1", RELAY_SAVES), ("projectors-1", PROJECTORS_FOLD)] {
            slowest = slowest.max(zombie(&mut fleet, name, blocked, &database, progress));
        }
        topic::delete(&brokers, &topic_name);
        progress.wait_for_accepted(30, SOON);
        (slowest, kills)
    });
    let report = nothing_is_lost_doubled_or_out_of_order(&database.url(), &ledgers, &histories);
    let (events, repeats) = topic::holds_the_log(&brokers, &topic_name, &database.url());
    let fenced: f64 = ["projectors-1", "projectors-2"]
        .map(|name| fleet.metric(name, "kinledger_projector_zombies_total"))
        .iter()
        .fold(0.0, |sum, count| sum + count);
    let more =
        format!("kills={kills} zombies=2 fenced={fenced:.0} topics_deleted=1 published={events} repeats={repeats}");
    verdict("worst-moments", &report, &more, slowest, seed);
}

/// Where a process is caught: which rows are held so that it waits, the statement it waits in, and the process.
#[derive(Clone, Copy)]
struct Moment {
    part: &'static str,
    hold: &'static str,
    waits_in: &'static str,
}

/// Kafka has acknowledged, the checkpoint is not saved.
const RELAY_SAVES: Moment = Moment {
    part: "relay-1",
    hold: "select from log.relay_checkpoints for update",
    waits_in: "update log.relay_checkpoints%",
};

/// The batch is read, and nothing of it is committed.
const PROJECTORS_FOLD: Moment = Moment {
    part: "projectors-1",
    hold: "select from views.checkpoints for update",
    waits_in: "update checkpoints%",
};

/// Holds the rows until somebody waits for them, then does something, and lets go.
fn at<T>(moment: Moment, database: &Database, progress: &Progress, act: impl FnOnce() -> T) -> T {
    runtime().block_on(async {
        let mut holder = PgConnection::connect(&database.url()).await.unwrap();
        let mut watcher = PgConnection::connect(&database.url()).await.unwrap();
        holder
            .execute(sqlx::raw_sql(&format!("begin; {}", moment.hold)))
            .await
            .unwrap();
        progress.wait_for_accepted(4, SOON);
        let waiting = "select count(*) from pg_stat_activity
            where datname = current_database() and wait_event_type = 'Lock' and query like $1";
        let began = Instant::now();
        while sqlx::query_scalar::<_, i64>(waiting)
            .bind(moment.waits_in)
            .fetch_one(&mut watcher)
            .await
            .unwrap()
            == 0
        {
            assert!(began.elapsed() < SOON, "{} never waits", moment.part);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let came_to = act();
        holder.execute("rollback").await.unwrap();
        holder.close().await.unwrap();
        watcher.close().await.unwrap();
        came_to
    })
}

fn killed_while_it_waits(fleet: &mut Fleet, database: &Database, progress: &Progress, moment: Moment) {
    at(moment, database, progress, || fleet.kill(moment.part));
    fleet.start(moment.part);
}

/// Stops a process in the middle of its work; others take over all of it while it is stopped; then it wakes up. Returns how long
/// the others took.
fn zombie(fleet: &mut Fleet, name: &str, moment: Moment, database: &Database, progress: &Progress) -> Duration {
    at(moment, database, progress, || fleet.freeze(name, true));
    let began = Instant::now();
    let head = events(database);
    let is_taken_over = || match moment.part {
        "relay-1" => is_published_up_to(database, head),
        _ => is_folded_up_to(database, head),
    };
    assert!(
        wait_until(TAKEN_OVER_WITHIN, is_taken_over),
        "nobody took over from {name}"
    );
    let took = began.elapsed();
    progress.wait_for_accepted(10, SOON);
    fleet.freeze(name, false);
    progress.wait_for_accepted(20, SOON);
    took
}

fn number(database: &Database, question: &str) -> i64 {
    runtime().block_on(async {
        let mut connection = PgConnection::connect(&database.url()).await.unwrap();
        let number = sqlx::query_scalar(question).fetch_one(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        number
    })
}

fn events(database: &Database) -> i64 {
    number(database, "select count(*) from log.events")
}

fn is_published_up_to(database: &Database, events: i64) -> bool {
    number(
        database,
        "select coalesce(sum(position), 0)::bigint from log.relay_checkpoints",
    ) >= events
}

fn is_folded_up_to(database: &Database, events: i64) -> bool {
    number(
        database,
        "select coalesce(sum(position), 0)::bigint from views.checkpoints",
    ) >= events
}

/// Is what is in the log now published, as far as the relay knows?
fn is_published(database: &Database) -> bool {
    let head = events(database);
    wait_until(Duration::from_secs(5), || is_published_up_to(database, head))
}
