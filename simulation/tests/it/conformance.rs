//! The simulated log gives the verdicts of the real one: the same random batches, command by command.

use chrono::{NaiveDate, Utc};
use domain::{
    actor::Role,
    decide::Claim,
    family::{FamilyEvent, MemberAdded},
    id::{CommandId, FamilyId, MemberId},
    ledger_account::LedgerAccountRefusal,
    stream::StreamId,
};
use event_store::{AppendCommand, AppendEvent, Log, Verdict};
use service_kit::{database::DatabaseRole, testing::TestDatabase};
use simulation::{LANE, SimLog};
use uuid::Uuid;

/// Batches of one run.
const BATCHES: usize = 150;

/// A generator good enough for a test; its seed is printed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

fn family(number: u64) -> FamilyId {
    FamilyId::from_uuid(Uuid::from_u128(0xF000 + u128::from(number)))
}

/// A command whose events all go to the family's own stream, where `sequence` is `family_seq`.
fn command(random: &mut Random, log: &SimLog, batch: &[AppendCommand]) -> AppendCommand {
    let family_id = family(random.below(4));
    let before = batch.iter().rev().find(|other| other.family_id == family_id);
    let head = before.map_or_else(
        || log.family_head(family_id),
        |other| other.expected_family_seq + other.events.len() as i64,
    );
    // Mostly right, sometimes of yesterday or ahead.
    let expected = match random.below(10) {
        0 => (head - 1).max(0),
        1 => head + 1,
        _ => head,
    };
    let events = (0..i64::try_from(random.below(4)).expect("small")).map(|number| {
        let added = MemberAdded {
            member_id: MemberId::from_uuid(Uuid::from_u128(u128::from(random.below(1 << 30)))),
            display_name: "Teen".to_owned(),
            role: Role::Teen,
            on_leaderboard: false,
        };
        AppendEvent {
            stream: StreamId {
                kind: "family",
                id: family_id.uuid(),
            },
            sequence: expected + 1 + number,
            event: FamilyEvent::from(added).into(),
            effective_on: NaiveDate::from_ymd_opt(2026, 11, 21).expect("a day"),
        }
    });
    let events: Vec<_> = events.collect();
    // Where a family's commands begin, sometimes decided on another history of the same length.
    let is_foreign = before.is_none() && random.below(12) == 0;
    let claims = (0..random.below(3)).map(|_| Claim {
        scope: if random.below(2) == 0 { "account-name" } else { "badge" },
        value: random.below(40).to_string(),
        taken: LedgerAccountRefusal::NameTaken.into(),
    });
    let claims = claims.collect();
    let exists = log.family_head(family_id) > 0 || before.is_some();
    AppendCommand {
        family_id,
        // Few ids, so that they come again, in the same batch too.
        command_id: CommandId::from_uuid(Uuid::from_u128(u128::from(random.below(400)))),
        request_hash: [random.below(2) as u8; 32],
        expected_family_seq: expected,
        expected_chain_hash: is_foreign.then_some([0xFF; 32]),
        creates_family: if random.below(12) == 0 { exists } else { !exists },
        metadata: "{}".to_owned(),
        events,
        claims,
    }
}

/// A verdict without what only the real one can know: hashes over its own clock, and that clock.
fn comparable(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Ok(appended) => format!(
            "ok {} {} {}",
            appended.first_family_seq, appended.last_family_seq, appended.last_position
        ),
        Verdict::Duplicate(stored) => format!(
            "duplicate {:?} {} {} {}",
            stored.request_hash, stored.first_family_seq, stored.last_family_seq, stored.last_position
        ),
        Verdict::Conflict => "conflict".to_owned(),
        Verdict::ClaimTaken { scope } => format!("taken {scope}"),
    }
}

#[tokio::test]
async fn the_simulated_log_gives_the_verdicts_of_the_real_one() {
    let database = TestDatabase::create().await;
    let real = Log::new(database.pool(DatabaseRole::Writer).await, [7; 32]);
    let mut simulated = SimLog::new(None);
    let mut counts = std::collections::BTreeMap::<String, usize>::new();
    for seed in 1..=BATCHES as u64 {
        let mut random = Random(seed);
        let mut batch = Vec::new();
        for _ in 0..=random.below(6) {
            let next = command(&mut random, &simulated, &batch);
            batch.push(next);
        }
        let theirs = real.append(LANE, &batch).await.expect("the batch is judged");
        let ours = simulated.append(&batch, Utc::now()).expect("the batch is judged");
        let theirs: Vec<String> = theirs.iter().map(comparable).collect();
        let ours: Vec<String> = ours.iter().map(comparable).collect();
        assert_eq!(ours, theirs, "seed {seed}: {batch:#?}");
        for verdict in ours {
            let kind = verdict.split(' ').next().unwrap_or_default().to_owned();
            *counts.entry(kind).or_default() += 1;
        }
    }
    println!("{counts:?}");
    assert_eq!(counts.len(), 4, "every verdict is given: {counts:?}");
    assert!(counts.values().all(|count| *count > 10), "{counts:?}");

    let whole = Log::new(database.pool(DatabaseRole::Auditor).await, [7; 32]);
    let head = whole.lane_head(LANE).await.expect("a head");
    assert_eq!(head, simulated.head());
    let records = whole.read_lane(LANE, 0, head).await.expect("records");
    for (theirs, ours) in records.iter().zip(simulated.events()) {
        // The played log seals no texts, so stored bytes and their hashes differ; what they say does not.
        let of = |record: &event_store::Record| {
            let event = record.decode().expect("an event of ours");
            (record.family_id, record.family_seq, record.position, event)
        };
        assert_eq!(of(theirs), of(ours));
    }
    for number in 0..4 {
        let theirs = real.load(LANE, family(number), &[]).await.expect("a head");
        let ours = simulated.load(family(number), &[]).expect("a head");
        assert_eq!(theirs.head.family_seq, ours.head.family_seq);
    }
    real.pool().close().await;
    database.drop().await;
}
