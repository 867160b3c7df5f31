//! The disk under the database is full, or slow, or stalls.

use std::{
    fs,
    io::Write,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use rand::Rng;
use tempfile::TempDir;

use crate::{
    chance,
    faults::Faults,
    fleet::Fleet,
    load::{Ledger, under_load},
    oracle::nothing_is_lost_doubled_or_out_of_order,
    servers::{Database, Postgres, folder},
    support::{pause, wait_until},
    times, verdict,
};

const SOON: Duration = Duration::from_secs(60);
/// Set where mounting is not permitted and the drill shall be left out. Without it that is a failure: what was not tried is not
/// promised.
const WITHOUT_MOUNT: &str = "KINLEDGER_DRILLS_WITHOUT_MOUNT";
const PROCESSES: [&str; 3] = ["command-api", "query-api", "projectors"];

/// A small file system in memory.
struct SmallDisk(TempDir);

impl SmallDisk {
    /// None where mounting is not permitted.
    fn mount(megabytes: u32) -> Option<Self> {
        let folder = folder();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={megabytes}m,mode=711"), "tmpfs"])
            .arg(folder.path())
            .output();
        mounted
            .is_ok_and(|output| output.status.success())
            .then(|| Self(folder))
    }

    fn filler(&self) -> PathBuf {
        self.0.path().join("filler")
    }

    /// Writes until only so much is left.
    fn fill_up_to(&self, left: u64) {
        let mut file = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.filler())
            .unwrap();
        let block = [1; 64 * 1024];
        while file.write_all(&block).is_ok() {}
        let size = file.metadata().unwrap().len();
        file.set_len(size.saturating_sub(left)).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(self.0.path()).status());
    }
}

#[test]
fn a_full_disk_refuses_commands_and_loses_none() {
    let (mut random, seed) = chance();
    let Some(disk) = SmallDisk::mount(256) else {
        assert!(
            std::env::var_os(WITHOUT_MOUNT).is_some(),
            "the drill of the full disk has to mount a file system, which is not permitted here: run it as root, or leave it out \
            with {WITHOUT_MOUNT}=1"
        );
        eprintln!("LEFT OUT: the drill of the full disk, by {WITHOUT_MOUNT}");
        return;
    };
    let environment = vec![("KINLEDGER_INITDB_OPTIONS".to_owned(), "--wal-segsize=1".to_owned())];
    let settings = "max_wal_size = '8MB'\nmin_wal_size = '2MB'\n";
    let postgres = Postgres::start_in(disk.0.path().join("postgres"), None, environment, settings);
    let database = Database::create(&postgres.url());
    let mut fleet = Fleet::new(&database.url());
    fleet.start_all(&PROCESSES);
    let ledgers = [Ledger::found(&fleet, "The Nogueiras")];
    let rounds = times(2, 20);
    let mut order = random.clone();
    let ((slowest, ends), histories) = under_load(&ledgers, 6, &mut random, |progress| {
        let (mut slowest, mut ends) = (Duration::ZERO, 0);
        for _ in 0..rounds {
            progress.wait_for_accepted(30, SOON);
            // What is left decides what fails first: the journal of the server, or a table.
            disk.fill_up_to(order.random_range(0..4) * 256 * 1024);
            commands_are_refused(&disk, &ledgers[0]);
            fs::remove_file(disk.filler()).unwrap();
            let began = Instant::now();
            // Where it gave up altogether, whoever keeps it running starts it again; nothing is repaired by hand.
            if !wait_until(Duration::from_secs(2), || postgres.pid().is_some()) {
                ends += 1;
                postgres.start_again();
            }
            progress.wait_for_accepted(10, SOON);
            slowest = slowest.max(began.elapsed());
        }
        (slowest, ends)
    });
    assert!(
        PROCESSES.iter().all(|name| fleet.is_running(name)),
        "the parts must live through it"
    );
    let report = nothing_is_lost_doubled_or_out_of_order(&database.url(), &ledgers, &histories);
    verdict(
        "disk-full",
        &report,
        &format!("times_full={rounds} server_ended={ends}"),
        slowest,
        seed,
    );
    drop(postgres);
}

/// Keeps the disk full until a command gets a 503, in our own form.
fn commands_are_refused(disk: &SmallDisk, ledger: &Ledger) {
    let family = &ledger.household;
    let client = family.parent.client.impatient(Duration::from_secs(30));
    let path = family.command_path("add-category");
    let post = || {
        let id = uuid::Uuid::new_v4();
        let category = serde_json::json!({"name": format!("Later {}", id.simple()), "kind": "expense"});
        client.try_post_as(&path, id, &category)
    };
    let are_refused = wait_until(SOON * 2, || {
        match post() {
            Ok(reply) if reply.status == 503 => {
                assert_eq!(reply.content_type, "application/problem+json");
                true
            }
            Ok(reply) if reply.status == 429 => false,
            Ok(reply) => {
                assert_eq!(reply.status, 200, "{} {}", reply.status, reply.text());
                // There was room still, in what the server had set aside.
                disk.fill_up_to(0);
                false
            }
            Err(_) => false,
        }
    });
    assert!(are_refused, "the disk is full, and commands are accepted still");
}

#[test]
fn a_slow_and_a_stalling_disk_lose_and_double_nothing() {
    let (mut random, seed) = chance();
    let faults = Faults::new();
    let folder = folder();
    let home = folder.path().join("postgres");
    let postgres = Postgres::start_in(home, Some(folder), faults.environment(), "");
    let database = Database::create(&postgres.url());
    let mut fleet = Fleet::new(&database.url());
    fleet.start_all(&PROCESSES);
    let ledgers = [Ledger::found(&fleet, "The Pachecos")];
    let rounds = times(3, 30);
    let mut order = random.clone();
    let (slowest, histories) = under_load(&ledgers, 6, &mut random, |progress| {
        let mut slowest = Duration::ZERO;
        for _ in 0..rounds {
            faults.slow_disk(Duration::from_millis(order.random_range(100..400)));
            progress.wait_for_accepted(20, SOON);
            faults.slow_disk(Duration::ZERO);
            // Everything of it stands still, longer than a client waits.
            postgres.freeze(true);
            pause(Duration::from_millis(order.random_range(500..6_000)));
            postgres.freeze(false);
            let began = Instant::now();
            progress.wait_for_accepted(10, SOON);
            slowest = slowest.max(began.elapsed());
        }
        slowest
    });
    let report = nothing_is_lost_doubled_or_out_of_order(&database.url(), &ledgers, &histories);
    verdict("disk-slow", &report, &format!("rounds={rounds}"), slowest, seed);
}
