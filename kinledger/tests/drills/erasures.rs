//! Members are erased one after the other while others write and rows are built again; then yesterday's backup is restored.
//!
//! Each has canaries: a name, an account, a badge and its reason. Counted is where any of them is found: in the views and the whole
//! database before the restore, and in both after it. Only the register of erasures, outside the database, knows then who was erased.
//!
//! An erasure takes from its request to the first look at the family's views that finds nothing of the member.

use std::{
    collections::{BTreeSet, HashMap},
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use rand::{Rng, rngs::StdRng, seq::SliceRandom};
use serde_json::json;

use crate::{
    chance,
    fleet::{Fleet, SECRET},
    load::{Ledger, Progress, under_load},
    oracle::compare,
    servers::Database,
    support::{Over, consent, pause, payload, program, wait_until},
    times, verdict,
};

/// How long an erasure may take, and how long a restored database may hold anything of it once its first part is up.
const ERASED_WITHIN: Duration = Duration::from_secs(60);
/// How long the load may take to come to something.
const SOON: Duration = Duration::from_secs(60);
/// Between two rebuilds.
const BREATH: Duration = Duration::from_millis(50);
/// Views that show canaries to a parent.
const SHOWN: [&str; 4] = ["accounts", "badges", "members", "notifications?limit=200"];
const PARTS: [&str; 4] = ["command-api", "projectors-1", "projectors-2", "query-api"];

/// Somebody who will be erased.
struct Canary {
    /// In which family.
    family: usize,
    member_id: String,
    texts: [String; 4],
}

#[test]
fn members_erased_under_load_and_rebuilds_are_nowhere_nor_after_yesterdays_backup_is_restored() {
    let (mut random, seed) = chance();
    let database = Database::shared();
    let mut fleet = Fleet::new(&database.url()).with_register();
    fleet.start_all(&PARTS);
    let ledgers = ["The Quevedos", "The Ribas", "The Seabras"].map(|name| Ledger::found(&fleet, name));
    let members = times(6, 100);
    let mut canaries: Vec<Canary> = (0..members)
        .map(|number| plant(&ledgers, number % ledgers.len(), &mut random))
        .collect();
    let texts = Texts::of(&canaries);
    assert!(
        wait_until(SOON, || texts.in_database(&database) == texts.count()),
        "each is there before"
    );
    let backup = fleet.register().with_file_name("backup.dump");
    run(Command::new("pg_dump")
        .args(["--format=custom", "--file"])
        .arg(&backup)
        .arg(database.url()));

    canaries.shuffle(&mut random);
    let ((times_taken, rebuilds), histories) = under_load(&ledgers, 2, &mut random, |progress| {
        progress.wait_for_accepted(20, SOON);
        while_rows_are_built_again(&database, || {
            canaries
                .iter()
                .map(|canary| erase(&ledgers[canary.family], canary, progress))
                .collect::<Vec<_>>()
        })
    });
    let slowest = times_taken.iter().max().copied().unwrap_or_default();
    assert!(slowest <= ERASED_WITHIN, "{slowest:?}");
    let before = texts.in_database(&database);
    let report = compare(&database.url(), &ledgers, &histories);
    assert!(report.faults().is_empty(), "{report}\n{:#?}", report.faults());
    verify(&database);

    let restored = restore(&mut fleet, &database, &backup, &texts);
    let after = texts.in_database(&database) + ledgers.iter().map(|ledger| texts.in_views(ledger)).sum::<usize>();
    let logged: usize = PARTS
        .iter()
        .map(|part| texts.within(fleet.logged(part).as_bytes()).len())
        .sum();
    verify(&database);
    let counts = format!(
        "erased={} canaries={} rebuilds={rebuilds} erasure_max={:.1}s hits_before_restore={before} hits_after_restore={after} \
         hits_in_logs={logged}",
        times_taken.len(),
        texts.count(),
        slowest.as_secs_f64(),
    );
    verdict("erasures", &report, &counts, restored, seed);
    assert_eq!((times_taken.len(), before, after, logged), (members, 0, 0, 0));
}

fn plant(ledgers: &[Ledger], family: usize, random: &mut StdRng) -> Canary {
    let household = &ledgers[family].household;
    let texts = [(); 4].map(|()| format!("zq{:024x}", random.random::<u128>() >> 32));
    let [name, account, badge, reason] = &texts;
    let body = json!({"display_name": name, "role": "teen", "consent": consent()});
    let added = household.accepted(&household.parent, "add-member", &body);
    let member_id = payload(&added, "MemberAdded")["member_id"].as_str().unwrap().to_owned();
    household.open_account(&json!({"name": account, "kind": "wallet", "owner": member_id}));
    let body = json!({"member_id": member_id, "badge": badge, "reason": reason});
    household.accepted(&household.parent, "award-badge", &body);
    Canary {
        family,
        member_id,
        texts,
    }
}

/// Erases somebody, and says how long it took until no view of the family had anything of them.
fn erase(ledger: &Ledger, canary: &Canary, progress: &Progress) -> Duration {
    let household = &ledger.household;
    let parent = household.parent.proven();
    let texts = Texts::of(std::slice::from_ref(canary));
    let began = Instant::now();
    household.accepted(&parent, "erase-member", &json!({"member_id": canary.member_id}));
    let is_gone = wait_until(ERASED_WITHIN, || texts.in_views(ledger) == 0);
    let took = began.elapsed();
    assert!(is_gone, "{} is still there after {took:?}", canary.member_id);
    progress.wait_for_accepted(1, SOON);
    took
}

/// Does something while `kinledger rebuild` runs again and again; says how often it did, to its end.
fn while_rows_are_built_again<T>(database: &Database, act: impl FnOnce() -> T) -> (T, usize) {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let rebuilding = scope.spawn(|| {
            let mut rebuilds = 0;
            while !is_over.load(Ordering::SeqCst) {
                let rebuilt = program()
                    .args(["rebuild", "--database-url", &database.url()])
                    .env("KINLEDGER_SECRET", SECRET)
                    .output()
                    .unwrap();
                let said = String::from_utf8_lossy(&rebuilt.stderr);
                // The lock of the one before goes with its connection, a moment after its process.
                let is_too_early = said.contains("another rebuild is under way");
                assert!(rebuilt.status.success() || is_too_early, "{}: {said}", rebuilt.status);
                rebuilds += usize::from(rebuilt.status.success());
                pause(BREATH);
            }
            rebuilds
        });
        let over = Over(&is_over);
        let came_to = act();
        drop(over);
        (came_to, rebuilding.join().unwrap())
    })
}

/// Restores the backup as docs/operations.md says, and says how long after the first part's start nothing was left.
fn restore(fleet: &mut Fleet, database: &Database, backup: &Path, texts: &Texts) -> Duration {
    for part in PARTS {
        assert_eq!(fleet.stop(part), Some(0), "{part}");
    }
    database.empty();
    run(Command::new("pg_restore")
        .args(["--exit-on-error", "--dbname"])
        .arg(database.url())
        .arg(backup));
    assert_eq!(
        texts.in_database(database),
        texts.count(),
        "the backup brings each of them back"
    );
    let began = Instant::now();
    fleet.start_all(&PARTS);
    let is_gone = wait_until(ERASED_WITHIN, || texts.in_database(database) == 0);
    assert!(is_gone, "{} canaries are back", texts.in_database(database));
    began.elapsed()
}

/// The chain holds, and the rows are those of the log.
fn verify(database: &Database) {
    run(program()
        .args(["audit", "verify", "--views", "--database-url", &database.url()])
        .env("KINLEDGER_SECRET", SECRET));
}

fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {} {said}", output.status);
    output.stdout
}

/// Canaries as they would be written: as text, or in hexadecimal.
struct Texts(HashMap<Vec<u8>, usize>);

/// How both ways begin.
const BEGIN: [&[u8]; 2] = [b"zq", b"7a71"];
const LENGTH: usize = 26;

impl Texts {
    fn of(canaries: &[Canary]) -> Self {
        let texts = canaries.iter().flat_map(|canary| &canary.texts).enumerate();
        Self(
            texts
                .flat_map(|(index, text)| {
                    [
                        (text.clone().into_bytes(), index),
                        (hex::encode(text).into_bytes(), index),
                    ]
                })
                .collect(),
        )
    }

    fn count(&self) -> usize {
        self.0.len() / BEGIN.len()
    }

    fn within(&self, bytes: &[u8]) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        for at in 0..bytes.len() {
            let rest = &bytes[at..];
            if let Some(way) = BEGIN.iter().position(|begin| rest.starts_with(begin)) {
                found.extend(rest.get(..LENGTH * (way + 1)).and_then(|text| self.0.get(text)));
            }
        }
        found
    }

    fn in_views(&self, ledger: &Ledger) -> usize {
        let household = &ledger.household;
        let mut found = BTreeSet::new();
        for view in SHOWN {
            let reply = household.parent.client.get(&format!("{}/{view}", household.path()));
            assert_eq!(reply.status, 200, "{view}: {}", reply.text());
            found.extend(self.within(&reply.body));
        }
        found.len()
    }

    fn in_database(&self, database: &Database) -> usize {
        self.within(&run(Command::new("pg_dump").arg("--no-owner").arg(database.url())))
            .len()
    }
}
