//! What a lane keeps in memory is what the log folds to, however many processes write and whatever is forgotten.
//!
//! The real state machine of the lane worker, several of them on one lane as if in several processes, against the real log:
//! random commands, the questions of all of them performed in a random order one at a time, memory small or thrown away at
//! random. A seed replays the commands and the order of the questions (`KINLEDGER_TEST_SEED`).

use std::collections::{BTreeMap, BTreeSet};

use chrono::Utc;
use command_api::{
    Receipt,
    lanes::{
        Job, LaneSettings,
        machine::{Effect, Input, LaneMachine, Queued},
    },
};
use domain::{
    aggregate::{AggregateState, aggregate_type},
    category::CategoryKind,
    family::commands::JoinFamily,
    id::{AccountId, CategoryId, CommandId, FamilyId, MemberId, UserId},
    stream::StreamId,
};
use event_store::{Lane, Log, Record};
use serde_json::{Value, json};
use service_kit::{database::DatabaseRole, problem::Problem, testing::TestDatabase};
use uuid::Uuid;

use super::support::{CLAIM_KEY, PARENT, WriteSide, euros, parsed};

const CHILD: UserId = UserId::from_uuid(Uuid::from_u128(0xC1));
const LANE: Lane = Lane(0);
const PROCESSES: usize = 3;
const FAMILIES: usize = 4;
const ROUNDS: usize = 60;

/// SplitMix64: small, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % sides as u64) as usize
    }

    fn uuid(&mut self) -> Uuid {
        let parts = [self.roll(usize::MAX), self.roll(usize::MAX)].map(|part| part as u64);
        Uuid::from_u64_pair(parts[0], parts[1])
    }
}

/// A family of the test, and what has become of it as far as its clients know.
struct Home {
    id: FamilyId,
    account: AccountId,
    wallet: AccountId,
    groceries: CategoryId,
    salary: CategoryId,
    chores: Vec<String>,
    entries: Vec<String>,
}

/// One worker, and the questions it waits for.
struct Process {
    machine: LaneMachine<usize>,
    log: Log,
    effects: Vec<Effect<usize>>,
}

fn worker(dice: &mut Dice) -> LaneMachine<usize> {
    let settings = LaneSettings {
        // From nothing but one family to all of them.
        cached_families_max: 1 + dice.roll(FAMILIES + 1),
        batch_commands_max: 1 + dice.roll(12),
        batch_events_max: 1 + dice.roll(30),
        ..LaneSettings::default()
    };
    LaneMachine::new(LANE, &settings)
}

#[tokio::test]
async fn the_state_in_memory_is_the_fold_of_the_log() {
    let seed = std::env::var("KINLEDGER_TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| Uuid::new_v4().as_u64_pair().0);
    println!("KINLEDGER_TEST_SEED={seed}");
    let mut dice = Dice(seed);
    let database = TestDatabase::create().await;
    let mut homes = found(&database).await;
    let mut processes = Vec::new();
    for _ in 0..PROCESSES {
        // A log of its own, for clones of one share their statements as one process does.
        let log = Log::new(database.pool(DatabaseRole::Writer).await, CLAIM_KEY);
        processes.push(Process {
            machine: worker(&mut dice),
            log,
            effects: Vec::new(),
        });
    }

    let mut answers: BTreeMap<usize, Result<Receipt, Problem>> = BTreeMap::new();
    let (mut sent, mut forgotten, mut compared, mut behind) = (0, 0, 0, 0);
    let mut raced = BTreeSet::new();
    for _ in 0..ROUNDS {
        let mut of_family = BTreeMap::new();
        for process in &mut processes {
            for _ in 0..dice.roll(7) {
                let number = dice.roll(homes.len());
                let job = command(&mut dice, &homes[number]);
                of_family.insert(sent, number);
                process.machine.push(Queued::new(job, sent, &process.log.request_key()));
                sent += 1;
            }
        }
        // Until all is answered: batches begin, and one question after another is performed, of any process.
        loop {
            for process in &mut processes {
                if process.machine.is_idle() && process.machine.waiting() > 0 && process.effects.is_empty() {
                    process.machine.begin(Utc::now(), &mut process.effects);
                }
            }
            let asking: Vec<usize> = (0..PROCESSES)
                .filter(|number| !processes[*number].effects.is_empty())
                .collect();
            if asking.is_empty() {
                break;
            }
            let process = &mut processes[asking[dice.roll(asking.len())]];
            let effect = process.effects.swap_remove(dice.roll(process.effects.len()));
            perform(process, effect, &mut answers).await;
        }
        for (command, number) in &of_family {
            if let Ok(receipt) = &answers[command] {
                remember(&mut homes[*number], receipt);
            }
        }
        // The comparison, for every process: cache against fold, both at the cache's own head.
        let logs = histories(&processes[0].log, &homes).await;
        for (number, process) in processes.iter().enumerate() {
            let kept = process.machine.cached().count();
            assert!(kept <= FAMILIES);
            for (family_id, head, streams) in process.machine.cached() {
                let history = &logs[&family_id];
                let last = history.last().map_or(0, |record| record.family_seq);
                assert!(head <= last, "process {number} remembers {head} events of {last}");
                if head < last {
                    behind += 1;
                    raced.insert(family_id);
                }
                for (stream, (state, sequence)) in fold(history, head) {
                    // What is not in memory is loaded when it is needed; what is must be right.
                    let Some((cached, cached_sequence)) = streams.get(&stream) else {
                        continue;
                    };
                    assert_eq!(*cached_sequence, sequence, "{stream} at {head}, seed {seed}");
                    assert_eq!(
                        format!("{cached:?}"),
                        format!("{state:?}"),
                        "{stream} at {head}, seed {seed}"
                    );
                    compared += 1;
                }
            }
        }
        let one = dice.roll(PROCESSES * 3);
        if let Some(process) = processes.get_mut(one) {
            process.machine = worker(&mut dice);
            forgotten += 1;
        }
    }

    // Everything sent was answered; what was accepted is in the log exactly once, and nothing else is.
    assert_eq!(answers.len(), sent);
    let accepted: BTreeSet<Uuid> = answers
        .values()
        .filter_map(|answer| answer.as_ref().ok().map(|receipt| receipt.command_id))
        .collect();
    let logs = histories(&processes[0].log, &homes).await;
    let stored: BTreeSet<Uuid> = logs
        .values()
        .flatten()
        .map(|record| record.command_id.uuid())
        .filter(|id| *id != Uuid::nil())
        .collect();
    let unknown: Vec<_> = accepted.difference(&stored).collect();
    assert!(
        unknown.is_empty(),
        "acknowledged and not stored: {unknown:?}, seed {seed}"
    );
    let founding = FAMILIES * FOUNDING_COMMANDS;
    assert_eq!(
        stored.len(),
        accepted.len() + founding,
        "stored and not acknowledged, seed {seed}"
    );
    // A run in which nothing raced and nothing was refused would prove little.
    let refused = answers.values().filter(|answer| answer.is_err()).count();
    println!(
        "{sent} sent, {refused} refused, {compared} streams compared, {behind} families behind, {forgotten} memories lost"
    );
    assert!(accepted.len() > 100 && refused > 20 && compared > 1_000 && behind > 20 && forgotten > 5);
    assert_eq!(raced.len(), FAMILIES);
    for process in processes {
        process.log.pool().close().await;
    }
    database.drop().await;
}

async fn perform(
    process: &mut Process,
    effect: Effect<usize>,
    answers: &mut BTreeMap<usize, Result<Receipt, Problem>>,
) {
    let log = &process.log;
    let input = match effect {
        Effect::Load {
            ticket,
            family_id,
            streams,
        } => Input::Loaded {
            ticket,
            result: log.load(LANE, family_id, &streams).await,
        },
        Effect::Append { commands } => {
            let result = log.append(LANE, &commands).await;
            Input::Appended { commands, result }
        }
        Effect::Find {
            ticket,
            family_id,
            command_id,
        } => Input::Found {
            ticket,
            result: log.command(LANE, family_id, command_id).await,
        },
        Effect::Read {
            ticket,
            family_id,
            after_seq,
            limit,
        } => Input::Read {
            ticket,
            result: log.read_family(LANE, family_id, after_seq, limit).await,
        },
        Effect::Answer { to, answer } => {
            assert!(answers.insert(to, answer).is_none(), "command {to} was answered twice");
            return;
        }
    };
    process.machine.handle(input, Utc::now(), &mut process.effects);
}

/// Commands that make up a family before the test begins.
const FOUNDING_COMMANDS: usize = 5;

/// Families of the test's lane, each with a parent, a child, a bank account and the child's wallet.
async fn found(database: &TestDatabase) -> Vec<Home> {
    let side = WriteSide::start(&database.url(), 4, LaneSettings::default()).await;
    let lanes = side.log.lanes().await.expect("the log answers");
    let mut homes = Vec::new();
    let ids = std::iter::repeat_with(|| FamilyId::from_uuid(Uuid::new_v4()));
    for id in ids
        .filter(|id| side.log.lane_for_new(*id, lanes) == LANE)
        .take(FAMILIES)
    {
        let run = async |name: &str, body: Value| {
            let receipt = side.execute(id, name, &body).await.expect("accepted");
            receipt.events[0].aggregate_id.clone()
        };
        run(
            "create-family",
            json!({"name": "Lovelace", "currency": "EUR", "country": "DE"}),
        )
        .await;
        let open = json!({"name": "Current account", "kind": "bank", "opening_balance": euros("500.00")});
        let account = run("open-account", open).await;
        let body = json!({"display_name": "Byron", "role": "child", "consent": {"method": "signed-form", "notice_version": 1}});
        let added = side.execute(id, "add-member", &body).await.expect("accepted");
        let payload: Value =
            serde_json::from_str(added.events[0].payload.as_ref().expect("a payload").get()).expect("JSON");
        let child: MemberId = payload["member_id"].as_str().expect("an id").parse().expect("an id");
        let mut join = side.request(id, "add-member", &body);
        join.command = std::sync::Arc::new(JoinFamily { member_id: child });
        join.signed_in.user_id = CHILD;
        side.api.execute(join).await.expect("accepted");
        let wallet = run(
            "open-account",
            json!({"name": "Pocket", "kind": "wallet", "owner": child}),
        )
        .await;
        homes.push(Home {
            id,
            account: account.parse().expect("an id"),
            wallet: wallet.parse().expect("an id"),
            groceries: CategoryId::of_name(id, CategoryKind::Expense, "Groceries"),
            salary: CategoryId::of_name(id, CategoryKind::Income, "Salary"),
            chores: Vec::new(),
            entries: Vec::new(),
        });
    }
    side.api.stop();
    homes
}

/// A command a member might send: sensible most of the time, and refused often enough.
fn command(dice: &mut Dice, home: &Home) -> Job {
    let money = euros(&format!("{}.{:02}", dice.roll(40), dice.roll(100)));
    let pick = |dice: &mut Dice, of: &[String], otherwise: &str| match of.len() {
        0 => format!("{otherwise}_{}", dice.uuid()),
        known => of[dice.roll(known)].clone(),
    };
    let chore = pick(dice, &home.chores, "cho");
    let entry = pick(dice, &home.entries, "ent");
    let (account, wallet) = (home.account, home.wallet);
    let (user_id, name, body) = match dice.roll(11) {
        0 | 1 => (
            PARENT,
            "add-expense",
            json!({"account_id": account, "money": money, "category_id": home.groceries}),
        ),
        2 => (
            PARENT,
            "add-income",
            json!({"account_id": account, "money": money, "category_id": home.salary}),
        ),
        3 => (
            PARENT,
            "transfer",
            json!({"from": account, "to": wallet, "money": money}),
        ),
        // More than a child has, as often as not.
        4 | 5 => (
            CHILD,
            "add-expense",
            json!({"account_id": wallet, "money": money, "category_id": home.groceries}),
        ),
        6 => (
            PARENT,
            "offer-chore",
            json!({"title": "Dishes", "points": 3, "reward": {"money": euros("2.50"), "pay_from": account}}),
        ),
        7 => (CHILD, "claim-chore", json!({"chore_id": chore})),
        8 => (CHILD, "complete-chore", json!({"chore_id": chore})),
        9 => (PARENT, "approve-chore", json!({"chore_id": chore})),
        _ => (PARENT, "reverse-entry", json!({"entry_id": entry})),
    };
    Job {
        family_id: home.id,
        command_id: CommandId::from_uuid(dice.uuid()),
        user_id,
        command: parsed(name, &body),
        if_match: None,
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned(),
        bytes: 0,
    }
}

fn remember(home: &mut Home, receipt: &Receipt) {
    for event in &receipt.events {
        match event.event_type.as_str() {
            "ChoreOffered" => home.chores.push(event.aggregate_id.clone()),
            "ExpenseAdded" | "IncomeAdded" | "TransferMade" => home.entries.push(event.aggregate_id.clone()),
            _ => {}
        }
    }
}

async fn histories(log: &Log, homes: &[Home]) -> BTreeMap<FamilyId, Vec<Record>> {
    let mut histories = BTreeMap::new();
    for home in homes {
        let records = log
            .read_family(LANE, home.id, 0, i64::MAX)
            .await
            .expect("the log answers");
        histories.insert(home.id, records);
    }
    histories
}

/// Every stream of a family as the first `head` events leave it: state, and sequence of the last event.
fn fold(history: &[Record], head: i64) -> BTreeMap<StreamId, (AggregateState, i64)> {
    let mut streams = BTreeMap::new();
    for record in history.iter().filter(|record| record.family_seq <= head) {
        let stream = StreamId {
            kind: aggregate_type(&record.aggregate_type).expect("a kind of ours"),
            id: record.aggregate_id,
        };
        let (state, sequence) = streams
            .entry(stream)
            .or_insert_with(|| (AggregateState::empty(stream.kind), 0));
        state.apply(record.decode().expect("an event of ours"));
        *sequence = record.sequence;
    }
    streams
}
