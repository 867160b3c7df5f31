//! What every test here begins with: a database of its own, a log on it, and commands to append.

use chrono::NaiveDate;
use domain::{
    actor::Role,
    family::{FamilyEvent, MemberAdded},
    id::{CommandId, FamilyId, MemberId},
    stream::StreamId,
};
use event_store::{AppendCommand, AppendEvent, Appended, Lane, Log, Verdict};
use service_kit::{database::DatabaseRole, testing::TestDatabase};
use uuid::Uuid;

/// The lane of most tests.
pub const LANE: Lane = Lane(0);

pub struct Fixture {
    pub database: TestDatabase,
    pub log: Log,
    /// The same log, read over all families, as those do who follow it.
    pub whole: Log,
}

impl Fixture {
    pub async fn new() -> Self {
        let database = TestDatabase::create().await;
        let log = Log::new(database.pool(DatabaseRole::Writer).await, [7; 32]);
        let whole = Log::new(database.pool(DatabaseRole::Auditor).await, [7; 32]).with_wakeups(log.wakeups().clone());
        Self { database, log, whole }
    }

    /// The log as another process has it: what it appends shares no statement with the fixture's own.
    pub fn instance(&self) -> Log {
        Log::new(self.log.pool().clone(), [7; 32])
    }

    /// Appends one command and expects it to be taken.
    pub async fn append(&self, command: AppendCommand) -> Appended {
        ok(&self.verdicts(&[command]).await[0])
    }

    pub async fn verdicts(&self, batch: &[AppendCommand]) -> Vec<Verdict> {
        self.log.append(LANE, batch).await.expect("the batch is appended")
    }

    /// A family with this many events.
    pub async fn family_of(&self, number: u128, events: i64) -> FamilyId {
        self.append(command(family(number), 0, events)).await;
        family(number)
    }

    pub async fn end(self) {
        self.log.pool().close().await;
        self.whole.pool().close().await;
        self.database.drop().await;
    }
}

pub fn ok(verdict: &Verdict) -> Appended {
    match verdict {
        Verdict::Ok(appended) => *appended,
        other => panic!("expected ok, got {other:?}"),
    }
}

pub fn family(number: u128) -> FamilyId {
    FamilyId::from_uuid(Uuid::from_u128(0xF000 + number))
}

pub fn family_stream(family: FamilyId) -> StreamId {
    StreamId {
        kind: "family",
        id: family.uuid(),
    }
}

pub fn day() -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 11, 21).expect("a day")
}

pub fn member_added(name: &str) -> FamilyEvent {
    let member_id = MemberId::from_uuid(Uuid::new_v4());
    MemberAdded {
        member_id,
        display_name: name.to_owned(),
        role: Role::Teen,
        on_leaderboard: false,
    }
    .into()
}

/// A command with this many events on the family's own stream, whose sequence therefore is the `family_seq`. On head 0 it
/// creates the family.
pub fn command(family: FamilyId, expected_family_seq: i64, events: i64) -> AppendCommand {
    let event = |sequence: i64| AppendEvent {
        stream: family_stream(family),
        sequence,
        event: member_added(&format!("Member {sequence}")).into(),
        effective_on: day(),
    };
    AppendCommand {
        family_id: family,
        command_id: CommandId::from_uuid(Uuid::new_v4()),
        request_hash: [9; 32],
        expected_family_seq,
        expected_chain_hash: None,
        creates_family: expected_family_seq == 0,
        metadata: r#"{"role":"parent","traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}"#
            .to_owned(),
        events: (expected_family_seq + 1..=expected_family_seq + events)
            .map(event)
            .collect(),
        claims: Vec::new(),
    }
}

/// One event appended by hand, with a name, a version and bytes of the test's choosing, in the caller's transaction.
pub async fn append_by_hand(
    executor: impl sqlx::PgExecutor<'_>,
    family: FamilyId,
    expected_family_seq: i64,
    (event_type, event_version, payload): (&str, &str, &str),
) -> String {
    sqlx::query_scalar(
        "select verdict from log.append_batch(0::smallint, array[$1], array[gen_random_uuid()], array[0], \
         array[decode(repeat('00', 32), 'hex')], array[$2], array[$2 = 0], array['{}'], array[1], array['family'], \
         array[$1::text], array[$2 + 1], array[$3], array[$4], array[$5], array[date '2026-11-21'], \
         array[decode(repeat('00', 32), 'hex')], '{}'::int[], '{}'::text[], '{}'::bytea[])",
    )
    .bind(family.uuid())
    .bind(expected_family_seq)
    .bind(event_type)
    .bind(event_version)
    .bind(payload)
    .fetch_one(executor)
    .await
    .expect("the event is appended")
}
