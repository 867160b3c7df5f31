//! A log to append to, and the rows that come of it.

use std::collections::HashMap;

use chrono::NaiveDate;
use domain::{
    aggregate::LedgerEvent,
    id::{CommandId, FamilyId},
    stream::StreamId,
};
use event_store::{AppendCommand, AppendEvent, Lane, Log, Record, Verdict};
use projectors::{apply::Applier, generation};
use service_kit::{database::DatabaseRole, testing::TestDatabase};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

/// Tables that hold rows of families; compared whole.
const TABLES: &[(&str, &str)] = &[
    ("account_days", "family_id, ledger_account, currency, effective_on"),
    ("account_shares", "family_id, account_id, member_id"),
    ("accounts", "family_id, account_id"),
    ("badges", "family_id, award_id"),
    ("bank_connections", "family_id, connection_id"),
    ("budgets", "family_id, budget_id, family_seq"),
    ("categories", "family_id, category_id"),
    ("chores", "family_id, chore_id"),
    ("consent_rules", "family_id"),
    ("consents", "family_id, member_id"),
    ("entries", "family_id, entry_id"),
    ("entry_postings", "family_id, entry_id, line"),
    ("families", "family_id"),
    ("family_heads", "family_id"),
    ("imports", "family_id, import_id"),
    ("inbox_marks", "family_id, member_id"),
    ("members", "family_id, member_id"),
    ("notification_consents", "family_id, member_id"),
    ("notification_recipients", "family_id, member_id"),
    ("notification_rules", "family_id"),
    ("notifications", "family_id, member_id, family_seq"),
    ("point_days", "family_id, earned_on, member_id, source"),
    ("point_totals", "family_id, member_id"),
    (
        "spending_days",
        "family_id, effective_on, category_id, account_id, currency",
    ),
    ("spending_limit_days", "family_id, member_id, currency, spent_on"),
    ("spending_limits", "family_id, member_id"),
    (
        "spending_months",
        "family_id, month_on, category_id, account_id, currency",
    ),
    ("spending_requests", "family_id, request_id"),
    ("standings", "family_id, member_id"),
];

/// Every row of every table that the connection finds, as text.
pub async fn dump_in(connection: &mut PgConnection) -> Vec<String> {
    let mut dump = Vec::new();
    for (table, order) in TABLES {
        let rows: Vec<String> =
            sqlx::query_scalar(&format!("select row_to_json(t)::text from {table} t order by {order}"))
                .fetch_all(&mut *connection)
                .await
                .expect("rows");
        dump.extend(rows.into_iter().map(|row| format!("{table} {row}")));
    }
    dump
}

pub const LANE: Lane = Lane(3);

pub struct Ledger {
    pub database: TestDatabase,
    pub log: Log,
    pub views: PgPool,
    pub applier: Applier,
    heads: HashMap<Uuid, i64>,
    sequences: HashMap<StreamId, i64>,
}

impl Ledger {
    pub async fn new() -> Self {
        let database = TestDatabase::create().await;
        let log = Log::new(database.pool(DatabaseRole::Writer).await, [7; 32]);
        let views = database.pool(DatabaseRole::Projector).await;
        let log_to_read = Log::new(views.clone(), [7; 32]).with_wakeups(log.wakeups().clone());
        let applier = Applier::new(views.clone(), log_to_read);
        Self {
            database,
            log,
            views,
            applier,
            heads: HashMap::new(),
            sequences: HashMap::new(),
        }
    }

    /// Appends one command's events; each with the stream's id and the day it counts for.
    pub async fn append(&mut self, family: FamilyId, events: Vec<(Uuid, LedgerEvent, NaiveDate)>) {
        let head = self.heads.entry(family.uuid()).or_default();
        let count = i64::try_from(events.len()).expect("few events");
        let mut new = Vec::new();
        for (id, event, effective_on) in events {
            let stream = StreamId {
                kind: event.aggregate_type(),
                id,
            };
            let sequence = self.sequences.entry(stream).or_default();
            *sequence += 1;
            new.push(AppendEvent {
                stream,
                sequence: *sequence,
                event,
                effective_on,
            });
        }
        let command = AppendCommand {
            family_id: family,
            command_id: CommandId::from_uuid(Uuid::new_v4()),
            request_hash: [1; 32],
            expected_family_seq: *head,
            expected_chain_hash: None,
            creates_family: *head == 0,
            metadata: r#"{"traceparent":"00-1-1-01"}"#.to_owned(),
            events: new,
            claims: Vec::new(),
        };
        let verdicts = self.log.append(LANE, &[command]).await.expect("an append");
        assert!(matches!(verdicts[0], Verdict::Ok(_)), "{verdicts:?}");
        *head += count;
    }

    pub async fn records(&self) -> Vec<Record> {
        self.applier
            .log
            .read_lane(LANE, 0, 100_000)
            .await
            .expect("the lane reads")
    }

    /// Applies everything from the checkpoint on, in batches of `size`.
    pub async fn project(&self, size: usize) {
        let mut checkpoint = self.applier.checkpoint(LANE).await.expect("a checkpoint");
        let records = self
            .applier
            .log
            .read_lane(LANE, checkpoint, 100_000)
            .await
            .expect("the lane reads");
        for batch in records.chunks(size) {
            let to = batch.last().expect("chunks are not empty").position;
            self.applier
                .apply(LANE, checkpoint, to, batch.to_vec(), false)
                .await
                .expect("the batch applies");
            checkpoint = to;
        }
    }

    /// The same, with failing families singled out and parked.
    pub async fn project_isolating(&self, size: usize) {
        let mut checkpoint = self.applier.checkpoint(LANE).await.expect("a checkpoint");
        let records = self
            .applier
            .log
            .read_lane(LANE, checkpoint, 100_000)
            .await
            .expect("the lane reads");
        for batch in records.chunks(size) {
            let to = batch.last().expect("chunks are not empty").position;
            let applied = self.applier.apply(LANE, checkpoint, to, batch.to_vec(), true).await;
            applied.expect("the batch applies");
            checkpoint = to;
        }
    }

    /// Every row of every table, as text.
    pub async fn dump(&self) -> Vec<String> {
        let mut tx = generation::begin_live(&self.views).await.expect("a transaction");
        dump_in(&mut tx).await
    }

    /// One value of one row.
    pub async fn value(&self, query: &str) -> String {
        let mut tx = generation::begin_live(&self.views).await.expect("a transaction");
        let value: Option<String> = sqlx::query_scalar(&format!("select ({query})::text"))
            .fetch_one(&mut *tx)
            .await
            .unwrap_or_else(|error| panic!("{query}: {error}"));
        value.unwrap_or_else(|| "null".to_owned())
    }

    /// Do all postings of every family sum to zero in every currency?
    pub async fn assert_balanced(&self) {
        let off: i64 = sqlx::query_scalar(
            "select count(*) from (select 1 from views.account_days group by family_id, currency having sum(amount) <> 0) t",
        )
        .fetch_one(&self.views)
        .await
        .expect("a count");
        assert_eq!(off, 0, "the trial balance is off");
    }
}
