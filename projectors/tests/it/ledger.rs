//! A log to append to, and the rows that come of it.

use std::collections::HashMap;

use chrono::NaiveDate;
use domain::{
    Money,
    actor::Role,
    aggregate::LedgerEvent,
    calendar::{Period, WeekStart},
    category::{CategoryAdded, CategoryEvent, CategoryKind},
    entry::{EntryEvent, EntryRecategorised, EntryReversed, ExpenseAdded, IncomeAdded, OpeningBalanceRecorded, TransferMade},
    family::{FamilyCreated, FamilyEvent, MemberAdded, MemberJoined},
    id::{AccountId, BudgetId, CategoryId, CommandId, EntryId, FamilyId, MemberId, UserId},
    journal::{Equity, Posting, reversed},
    ledger_account::{AccountKind, AccountOpened, LedgerAccountEvent},
    stream::StreamId,
};
use event_store::{AppendCommand, AppendEvent, Lane, Log, Record, Verdict};
use projectors::{apply::Applier, projections::PROJECTIONS};
use service_kit::{database::DatabaseRole, testing::TestDatabase};
use sqlx::PgPool;
use uuid::Uuid;

/// Tables that hold rows of families; compared whole.
const TABLES: &[(&str, &str)] = &[
    ("account_days", "family_id, ledger_account, currency, effective_on"),
    ("accounts", "family_id, account_id"),
    ("badges", "family_id, award_id"),
    ("bank_connections", "family_id, connection_id"),
    ("budgets", "family_id, budget_id, family_seq"),
    ("categories", "family_id, category_id"),
    ("chores", "family_id, chore_id"),
    ("entries", "family_id, entry_id"),
    ("entry_postings", "family_id, entry_id, line"),
    ("families", "family_id"),
    ("family_heads", "family_id"),
    ("imports", "family_id, import_id"),
    ("inbox_marks", "family_id, member_id"),
    ("members", "family_id, member_id"),
    ("notification_recipients", "family_id, member_id"),
    ("notifications", "family_id, member_id, family_seq"),
    ("point_days", "family_id, earned_on, member_id, source"),
    ("point_totals", "family_id, member_id"),
    ("spending_days", "family_id, effective_on, category_id, account_id, currency"),
    ("spending_months", "family_id, month_on, category_id, account_id, currency"),
];

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
        let applier = Applier { pool: views.clone(), log: log_to_read, projections: PROJECTIONS };
        Self { database, log, views, applier, heads: HashMap::new(), sequences: HashMap::new() }
    }

    /// Appends one command's events; each with the stream's id and the day it counts for.
    pub async fn append(&mut self, family: FamilyId, events: Vec<(Uuid, LedgerEvent, NaiveDate)>) {
        let head = self.heads.entry(family.uuid()).or_default();
        let count = i64::try_from(events.len()).expect("few events");
        let mut new = Vec::new();
        for (id, event, effective_on) in events {
            let stream = StreamId { kind: event.aggregate_type(), id };
            let sequence = self.sequences.entry(stream).or_default();
            *sequence += 1;
            new.push(AppendEvent { stream, sequence: *sequence, event, effective_on });
        }
        let command = AppendCommand {
            family_id: family,
            command_id: CommandId::from_uuid(Uuid::new_v4()),
            request_hash: [1; 32],
            expected_family_seq: *head,
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
        self.log.read_lane(LANE, 0, 100_000).await.expect("the lane reads")
    }

    /// Applies everything from the checkpoint on, in batches of `size`.
    pub async fn project(&self, size: usize) {
        let mut checkpoint = self.applier.checkpoint(LANE).await.expect("a checkpoint");
        let records = self.log.read_lane(LANE, checkpoint, 100_000).await.expect("the lane reads");
        for batch in records.chunks(size) {
            let to = batch.last().expect("chunks are not empty").position;
            self.applier.apply(LANE, checkpoint, to, batch.to_vec(), false).await.expect("the batch applies");
            checkpoint = to;
        }
    }

    /// Every row of every table, as text.
    pub async fn dump(&self) -> Vec<String> {
        let mut dump = Vec::new();
        for (table, order) in TABLES {
            let rows: Vec<String> =
                sqlx::query_scalar(&format!("select row_to_json(t)::text from views.{table} t order by {order}"))
                    .fetch_all(&self.views)
                    .await
                    .expect("rows");
            dump.extend(rows.into_iter().map(|row| format!("{table} {row}")));
        }
        dump
    }

    /// One value of one row.
    pub async fn value(&self, query: &str) -> String {
        let value: Option<String> = sqlx::query_scalar(&format!("select ({query})::text"))
            .fetch_one(&self.views)
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

pub fn family(number: u128) -> FamilyId {
    FamilyId::from_uuid(Uuid::from_u128(0xF000 + number))
}

/// An id of a family's own: numbers are unique within it only.
pub fn id(family: FamilyId, number: u128) -> Uuid {
    Uuid::from_u128(family.uuid().as_u128() * 0x1_0000_0000 + number)
}

pub fn member(family: FamilyId, number: u128) -> MemberId {
    MemberId::from_uuid(id(family, 0x1000 + number))
}

pub fn account(family: FamilyId, number: u128) -> AccountId {
    AccountId::from_uuid(id(family, 0x2000 + number))
}

pub fn category(family: FamilyId, number: u128) -> CategoryId {
    CategoryId::from_uuid(id(family, 0x3000 + number))
}

pub fn entry(family: FamilyId, number: u128) -> EntryId {
    EntryId::from_uuid(id(family, 0x10_0000 + number))
}

pub fn budget(family: FamilyId, number: u128) -> BudgetId {
    BudgetId::from_uuid(id(family, 0x4000 + number))
}

pub fn eur(amount: &str) -> Money {
    Money::parse(amount, "EUR".parse().expect("a code")).expect("an amount")
}

pub fn day(m: u32, d: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, m, d).expect("a day")
}

pub type Given = (Uuid, LedgerEvent, NaiveDate);

pub fn family_event(family: FamilyId, event: impl Into<FamilyEvent>) -> Given {
    (family.uuid(), LedgerEvent::Family(event.into()), day(1, 1))
}

pub fn member_added(family: FamilyId, number: u128, role: Role) -> Given {
    let added = MemberAdded {
        member_id: member(family, number),
        display_name: format!("Member {number}"),
        role,
        on_leaderboard: true,
    };
    family_event(family, added)
}

pub fn account_opened(family: FamilyId, number: u128, kind: AccountKind, owner: Option<MemberId>) -> Given {
    let account_id = account(family, number);
    let opened = AccountOpened {
        account_id,
        name: format!("Account {number}"),
        kind,
        currency: "EUR".parse().expect("a code"),
        owner,
        opening_balance: None,
    };
    (account_id.uuid(), LedgerEvent::LedgerAccount(LedgerAccountEvent::AccountOpened(opened)), day(1, 1))
}

pub fn category_added(family: FamilyId, number: u128, kind: CategoryKind) -> Given {
    let category_id = category(family, number);
    let added = CategoryAdded { category_id, name: format!("Category {number}"), kind };
    (category_id.uuid(), LedgerEvent::Category(CategoryEvent::CategoryAdded(added)), day(1, 1))
}

/// A family of a parent (1, who has signed in), a partner (2), a teen (3) and a child (4); a bank account (1), the child's
/// wallet (2); expense categories 1 and 2, an income category 3.
pub fn founding(family: FamilyId) -> Vec<Given> {
    let created = FamilyCreated {
        family_id: family,
        name: "Lovelace".to_owned(),
        currency: "EUR".parse().expect("a code"),
        zone: "Europe/Berlin".to_owned(),
        week_start: WeekStart::Monday,
    };
    let joined = MemberJoined { member_id: member(family, 1), user_id: UserId::from_uuid(id(family, 0x9001)) };
    vec![
        family_event(family, created),
        member_added(family, 1, Role::Parent),
        family_event(family, joined),
        member_added(family, 2, Role::Partner),
        member_added(family, 3, Role::Teen),
        member_added(family, 4, Role::Child),
        account_opened(family, 1, AccountKind::Bank, None),
        account_opened(family, 2, AccountKind::Wallet, Some(member(family, 4))),
        category_added(family, 1, CategoryKind::Expense),
        category_added(family, 2, CategoryKind::Expense),
        category_added(family, 3, CategoryKind::Income),
    ]
}

fn entry_event(family: FamilyId, number: u128, event: impl Into<EntryEvent>, on: NaiveDate) -> Given {
    (entry(family, number).uuid(), LedgerEvent::Entry(event.into()), on)
}

fn expense_postings(family: FamilyId, account_number: u128, category_number: u128, amount: &str) -> Vec<Posting> {
    vec![
        Posting::account(account(family, account_number), eur(amount).negated()),
        Posting::category(category(family, category_number), eur(amount)),
    ]
}

pub fn opening(family: FamilyId, number: u128, account_number: u128, amount: &str, on: NaiveDate) -> Given {
    let postings = vec![
        Posting::account(account(family, account_number), eur(amount)),
        Posting::equity(Equity::OpeningBalances, eur(amount).negated()),
    ];
    entry_event(family, number, OpeningBalanceRecorded { entry_id: entry(family, number), effective_on: on, postings }, on)
}

/// An expense from an account into a category, entered by a member.
pub fn expense(family: FamilyId, number: u128, from: (u128, u128), amount: &str, on: NaiveDate, by: u128) -> Given {
    let added = ExpenseAdded {
        entry_id: entry(family, number),
        effective_on: on,
        postings: expense_postings(family, from.0, from.1, amount),
        payee: format!("Shop {number}"),
        note: String::new(),
        entered_by: Some(member(family, by)),
    };
    entry_event(family, number, added, on)
}

pub fn income(family: FamilyId, number: u128, amount: &str, on: NaiveDate) -> Given {
    let postings = vec![
        Posting::account(account(family, 1), eur(amount)),
        Posting::category(category(family, 3), eur(amount).negated()),
    ];
    let added = IncomeAdded {
        entry_id: entry(family, number),
        effective_on: on,
        postings,
        payee: "Employer".to_owned(),
        note: String::new(),
        entered_by: Some(member(family, 1)),
    };
    entry_event(family, number, added, on)
}

pub fn pocket_money(family: FamilyId, number: u128, amount: &str, on: NaiveDate) -> Given {
    let postings = vec![
        Posting::account(account(family, 1), eur(amount).negated()),
        Posting::account(account(family, 2), eur(amount)),
    ];
    let made = TransferMade {
        entry_id: entry(family, number),
        effective_on: on,
        postings,
        note: "Pocket money".to_owned(),
        entered_by: Some(member(family, 1)),
        chore_id: None,
    };
    entry_event(family, number, made, on)
}

/// Moves an expense of [`expense`] to another category.
pub fn recategorised(family: FamilyId, number: u128, from: u128, to: u128, amount: &str, on: NaiveDate) -> Given {
    let moved = EntryRecategorised {
        entry_id: entry(family, number),
        from: category(family, from),
        to: category(family, to),
        postings: vec![
            Posting::category(category(family, from), eur(amount).negated()),
            Posting::category(category(family, to), eur(amount)),
        ],
    };
    entry_event(family, number, moved, on)
}

/// Undoes an expense of [`expense`], wherever it was moved to.
pub fn expense_reversed(family: FamilyId, number: u128, from: (u128, u128), amount: &str, on: NaiveDate) -> Given {
    let event = EntryReversed {
        entry_id: entry(family, number),
        postings: reversed(&expense_postings(family, from.0, from.1, amount)),
        reason: "Twice".to_owned(),
    };
    entry_event(family, number, event, on)
}

pub fn budget_set(family: FamilyId, category_number: u128, period: Period, amount: &str, on: NaiveDate) -> Given {
    let budget_id = budget(family, category_number);
    let set = domain::budget::BudgetSet { budget_id, category_id: category(family, category_number), period, amount: eur(amount) };
    (budget_id.uuid(), LedgerEvent::Budget(domain::budget::BudgetEvent::BudgetSet(set)), on)
}
