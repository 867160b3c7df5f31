//! Exports, judged by the programs they are for: hledger and beancount accept them, and compute the balances we do.

mod programs;
pub mod random_ledger;

use std::{collections::HashMap, path::PathBuf};

use chrono::NaiveDate;
use domain::{
    book::BalanceRow,
    id::{CommandId, FamilyId},
    stream::StreamId,
};
use event_store::{
    AppendCommand, AppendEvent, Lane, Log, Record, Verdict,
    chain::GENESIS,
    export::{Chunk, Exported, export, format},
    replay::{AsOf, ReplayError, Statement, replay},
};
use serde_json::Value;
use service_kit::{database::DatabaseRole, testing::TestDatabase};
use tokio::sync::mpsc;
use uuid::Uuid;

use programs::{Sums, beancount_accepts, beancount_balances, hledger_accepts, hledger_balances, hledger_prints};
use random_ledger::{Dice, Fact, random_ledger};

pub const LANE: Lane = Lane(3);
/// Events of one command in these tests.
const COMMAND_EVENTS: usize = 50;

struct Ledger {
    log: Log,
    family: FamilyId,
    facts: Vec<Fact>,
}

impl Ledger {
    async fn random(database: &TestDatabase, seed: u64, entries: usize) -> Self {
        let family = FamilyId::from_uuid(Uuid::from_u128(0xFA_0000 + u128::from(seed)));
        let log = Log::new(database.pool(DatabaseRole::Writer).await, [7; 32]);
        let facts = random_ledger(family, seed, entries);
        append(&log, family, &facts, 0).await;
        Self { log, family, facts }
    }

    async fn export(&self, name: &str, as_of: AsOf) -> (String, Exported) {
        let (sender, mut chunks) = mpsc::channel::<Chunk>(1);
        let format = format(name).expect("a format");
        let collect = async {
            let mut text = String::new();
            while let Some(chunk) = chunks.recv().await {
                text.push_str(&chunk.text);
            }
            text
        };
        let (exported, text) = tokio::join!(export(&self.log, LANE, self.family, format, as_of, sender), collect);
        (text, exported.expect("the export comes to its end"))
    }

    async fn statement(&self, as_of: AsOf) -> Statement {
        let replayed = replay(&self.log, LANE, self.family, as_of, false, |_| ()).await;
        replayed.expect("the ledger replays").statement
    }

    async fn records(&self) -> Vec<Record> {
        self.log
            .read_family(LANE, self.family, 0, i64::MAX)
            .await
            .expect("the log reads")
    }
}

/// Appends what comes after the first `from` facts.
pub async fn append(log: &Log, family: FamilyId, facts: &[Fact], from: usize) {
    append_in(log, LANE, family, facts, from).await;
}

/// The same in another lane.
pub async fn append_in(log: &Log, lane: Lane, family: FamilyId, facts: &[Fact], from: usize) {
    let mut sequences: HashMap<StreamId, i64> = HashMap::new();
    let mut events = Vec::new();
    for (stream, event, effective_on) in facts {
        let sequence = sequences.entry(*stream).or_insert(0);
        *sequence += 1;
        let (stream, sequence, event, effective_on) = (*stream, *sequence, event.clone(), *effective_on);
        events.push(AppendEvent {
            stream,
            sequence,
            event,
            effective_on,
        });
    }
    let mut head = from;
    for events in events[from..].chunks(COMMAND_EVENTS) {
        let command = AppendCommand {
            family_id: family,
            command_id: CommandId::from_uuid(Uuid::new_v5(&family.uuid(), &head.to_be_bytes())),
            request_hash: [0; 32],
            expected_family_seq: i64::try_from(head).expect("small"),
            expected_chain_hash: None,
            creates_family: head == 0,
            metadata: r#"{"role":"parent","note":"\"} , ä"}"#.to_owned(),
            events: events.to_vec(),
            claims: Vec::new(),
        };
        let verdicts = log.append(lane, &[command]).await.expect("the log answers");
        assert!(matches!(verdicts[..], [Verdict::Ok(_)]), "{verdicts:?}");
        head += events.len();
    }
}

fn ours(rows: &[BalanceRow]) -> Sums {
    let posted = rows.iter().filter(|row| !row.balance.is_zero());
    let key = |row: &BalanceRow| {
        (
            row.kind.to_owned(),
            row.name.clone(),
            row.balance.currency().to_string(),
        )
    };
    posted.map(|row| (key(row), row.balance)).collect()
}

/// A file of a name of its own in the tests' folder.
fn write(name: &str, text: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let path = folder.join(format!("{}-{name}", std::process::id()));
    std::fs::write(&path, text).expect("the file can be written");
    path
}

fn bounds_of(ledger: &Ledger, seed: u64, recorded: &[Record]) -> Vec<AsOf> {
    let mut dice = Dice::new(seed ^ 0xB0B);
    let mut fact = || usize::try_from(dice.below(ledger.facts.len() as u64)).expect("an index");
    vec![
        AsOf::default(),
        AsOf {
            family_seq: Some(0),
            ..AsOf::default()
        },
        AsOf {
            family_seq: i64::try_from(fact()).ok(),
            ..AsOf::default()
        },
        AsOf {
            effective_on: Some(ledger.facts[fact()].2),
            ..AsOf::default()
        },
        AsOf {
            recorded_at: Some(recorded[fact()].recorded_at),
            effective_on: Some(ledger.facts[fact()].2),
            family_seq: None,
        },
    ]
}

/// Day and number of every transaction of a journal, in the file's order.
fn transactions(journal: &str) -> Vec<(NaiveDate, i64)> {
    let transaction = |line: &str| {
        let (day, rest) = line.split_once(" * (")?;
        Some((day.parse().ok()?, rest.split_once(')')?.0.parse().ok()?))
    };
    journal.lines().filter_map(transaction).collect()
}

/// A journal is read on while the log is, and held against it entry by entry; days are put in order by whoever reads it.
#[tokio::test]
async fn a_journal_is_in_the_order_of_the_log_and_hledger_puts_it_in_that_of_days() {
    let database = TestDatabase::create().await;
    let ledger = Ledger::random(&database, 1, 250).await;
    let (text, exported) = ledger.export("hledger", AsOf::default()).await;
    let ours = transactions(&text);
    assert_eq!(ours.len(), usize::try_from(exported.written).expect("small"));
    assert!(
        ours.is_sorted_by_key(|(_, family_seq)| *family_seq),
        "the order of the log"
    );
    assert!(!ours.is_sorted_by_key(|(day, _)| *day), "some were entered late");
    let file = write("by-day.journal", &text);
    let theirs = transactions(&hledger_prints(&file));
    let mut sorted = ours;
    sorted.sort();
    assert_eq!(theirs, sorted, "by day, and within a day in our order");
    std::fs::remove_file(&file).expect("the file can be removed");
    database.drop().await;
}

#[tokio::test]
async fn hledger_and_beancount_come_to_our_balances() {
    let database = TestDatabase::create().await;
    for seed in 0..5 {
        let ledger = Ledger::random(&database, seed, 250).await;
        for (number, as_of) in bounds_of(&ledger, seed, &ledger.records().await)
            .into_iter()
            .enumerate()
        {
            let ours = ours(&ledger.statement(as_of).await.rows.balances);

            let file = write(
                &format!("{seed}-{number}.journal"),
                &ledger.export("hledger", as_of).await.0,
            );
            hledger_accepts(&file).unwrap_or_else(|words| panic!("{}: {words}", file.display()));
            assert_eq!(hledger_balances(&file), ours, "seed {seed}, {as_of:?}");
            std::fs::remove_file(&file).expect("the file can be removed");

            let file = write(
                &format!("{seed}-{number}.beancount"),
                &ledger.export("beancount", as_of).await.0,
            );
            beancount_accepts(&file).unwrap_or_else(|words| panic!("{}: {words}", file.display()));
            assert_eq!(beancount_balances(&file), ours, "seed {seed}, {as_of:?}");
            std::fs::remove_file(&file).expect("the file can be removed");
        }
    }
    database.drop().await;
}

#[tokio::test]
async fn a_cent_that_is_wrong_is_refused_by_both() {
    let database = TestDatabase::create().await;
    let ledger = Ledger::random(&database, 77, 60).await;
    for (name, assertion) in [("hledger", " EUR = "), ("beancount", " balance ")] {
        let (text, _) = ledger.export(name, AsOf::default()).await;
        let at = text.rfind(assertion).expect("an assertion");
        let point = at + text[at..].find('.').expect("a decimal point") + 2;
        let digit = if text.as_bytes()[point] == b'9' { "8" } else { "9" };
        let mut altered = text.clone();
        altered.replace_range(point..=point, digit);
        let file = write(&format!("altered.{name}"), &altered);
        let verdict = if name == "hledger" {
            hledger_accepts(&file)
        } else {
            beancount_accepts(&file)
        };
        assert!(
            verdict.is_err(),
            "{name} tolerates a wrong amount in {}",
            file.display()
        );
        std::fs::remove_file(&file).expect("the file can be removed");
    }
    database.drop().await;
}

#[tokio::test]
async fn ndjson_lines_prove_themselves() {
    let database = TestDatabase::create().await;
    let ledger = Ledger::random(&database, 5, 1_200).await;
    let (text, exported) = ledger.export("ndjson", AsOf::default()).await;
    let records = ledger.records().await;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), records.len() + 1, "an event a line, and the end mark");
    let mut previous = GENESIS;
    for (line, record) in lines.iter().zip(&records) {
        let json: Value = serde_json::from_str(line).expect("a line is JSON");
        assert!(
            line.ends_with(&format!(r#","payload":{}}}"#, record.payload)),
            "the payload is as stored"
        );
        assert!(
            line.contains(&format!(r#","metadata":{},"#, record.metadata)),
            "the metadata are as stored"
        );
        assert_eq!(json["family_seq"], record.family_seq);
        assert_eq!(json["leaf_hash"], hex::encode(event_store::chain::leaf_of(record)));
        previous = event_store::chain::chain(&previous, record.family_seq, record.recorded_at_us(), &record.leaf_hash);
        assert_eq!(json["chain_hash"], hex::encode(previous));
    }
    let end: Value = serde_json::from_str(lines[lines.len() - 1]).expect("the end mark is JSON");
    assert_eq!(
        (&end["end"], &end["events"]),
        (&Value::from(true), &Value::from(records.len()))
    );
    assert_eq!(end["chain_hash"], hex::encode(previous));
    assert_eq!(exported.chain_hash, Some(previous));
    database.drop().await;
}

#[tokio::test]
async fn a_statement_of_a_prefix_says_the_same_for_ever() {
    let database = TestDatabase::create().await;
    let family = FamilyId::from_uuid(Uuid::from_u128(9));
    let log = Log::new(database.pool(DatabaseRole::Writer).await, [7; 32]);
    let facts = random_ledger(family, 9, 200);
    append(&log, family, &facts[..100], 0).await;
    let ledger = Ledger { log, family, facts };
    let as_of = AsOf {
        family_seq: Some(100),
        ..AsOf::default()
    };
    let then = serde_json::to_string(&ledger.statement(as_of).await).expect("JSON");
    let last = ledger.records().await.pop().expect("a record").recorded_at;
    let unbounded = ledger.statement(AsOf::default()).await;
    append(&ledger.log, family, &ledger.facts, 100).await;
    assert_eq!(
        serde_json::to_string(&ledger.statement(as_of).await).expect("JSON"),
        then
    );
    let by_instant = ledger
        .statement(AsOf {
            recorded_at: Some(last),
            ..AsOf::default()
        })
        .await;
    assert_eq!(
        (by_instant.rows, by_instant.chain_hash),
        (unbounded.rows, unbounded.chain_hash)
    );
    database.drop().await;
}

#[tokio::test]
async fn nothing_before_the_first_event_and_an_error_beyond_the_last() {
    let database = TestDatabase::create().await;
    let ledger = Ledger::random(&database, 1, 10).await;
    let long_ago = NaiveDate::from_ymd_opt(1980, 1, 1)
        .and_then(|day| day.and_hms_opt(0, 0, 0))
        .expect("an instant");
    let before = ledger
        .statement(AsOf {
            recorded_at: Some(long_ago.and_utc()),
            ..AsOf::default()
        })
        .await;
    assert_eq!(
        (before.family_seq, before.chain_hash, before.rows.balances.len()),
        (0, None, 0)
    );
    let beyond = AsOf {
        family_seq: Some(10_000),
        ..AsOf::default()
    };
    let error = replay(&ledger.log, LANE, ledger.family, beyond, false, |_| ())
        .await
        .err();
    assert!(
        matches!(error, Some(ReplayError::BeyondHead { asked: 10_000, .. })),
        "{error:?}"
    );
    database.drop().await;
}

#[tokio::test]
async fn an_altered_log_is_not_replayed() {
    let database = TestDatabase::create().await;
    let ledger = Ledger::random(&database, 2, 40).await;
    let superuser = database.superuser().await;
    let mut tamper = superuser.begin().await.expect("a transaction");
    for statement in [
        "set local session_replication_role = replica",
        "update log.events set effective_on = effective_on + 1 where family_seq = 30",
    ] {
        sqlx::query(statement)
            .execute(&mut *tamper)
            .await
            .expect("a superuser can do anything");
    }
    tamper.commit().await.expect("a commit");
    let error = replay(&ledger.log, LANE, ledger.family, AsOf::default(), false, |_| ())
        .await
        .err();
    assert!(
        matches!(error, Some(ReplayError::Altered { family_seq: 30, .. })),
        "{error:?}"
    );
    superuser.close().await;
    database.drop().await;
}
