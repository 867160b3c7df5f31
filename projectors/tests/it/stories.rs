//! Stories of several events that more than one test tells.

use domain::{
    Money,
    aggregate::LedgerEvent,
    bank_connection::{BankConnected, BankConnectionEvent, BankLedger, BankSynced},
    chore::{ChoreApproved, ChoreClaimed, ChoreCompleted, ChoreEvent, ChoreOffered, ChoreRejected, Reward},
    id::{AwardId, ChoreId, ConnectionId, FamilyId, ImportId, SpendingRequestId},
    inbox::{InboxEvent, NotificationsRead},
    rewards::{BadgeAwarded, RewardsEvent},
    spending::{
        EndedBecause, SpendingApproved, SpendingCounted, SpendingEvent, SpendingGivenBack, SpendingLimit,
        SpendingLimitSet, SpendingRequestEnded, SpendingRequested,
    },
    statement_import::{StatementImportEvent, StatementImported},
};

use crate::given::*;

fn chore_event(f: FamilyId, event: impl Into<ChoreEvent>) -> Given {
    (id(f, 0x5001), LedgerEvent::Chore(event.into()), day(5, 4))
}

pub fn chore_story(f: FamilyId) -> Vec<Given> {
    let chore_id = ChoreId::from_uuid(id(f, 0x5001));
    let child = member(f, 4);
    let reward = Reward {
        money: eur("2.00"),
        pay_from: account(f, 1),
    };
    vec![
        chore_event(
            f,
            ChoreOffered {
                chore_id,
                title: "Dishes".into(),
                points: 5,
                reward: Some(reward),
                offered_to: None,
                due_on: None,
            },
        ),
        chore_event(
            f,
            ChoreClaimed {
                chore_id,
                member_id: child,
            },
        ),
        chore_event(
            f,
            ChoreCompleted {
                chore_id,
                member_id: child,
            },
        ),
        chore_event(
            f,
            ChoreRejected {
                chore_id,
                member_id: child,
                reason: "Still wet".into(),
            },
        ),
        chore_event(
            f,
            ChoreCompleted {
                chore_id,
                member_id: child,
            },
        ),
        pocket_money(f, 90, "2.00", day(5, 4)),
        chore_event(
            f,
            ChoreApproved {
                chore_id,
                title: "Dishes".into(),
                member_id: child,
                points: 5,
                reward: Some(eur("2.00")),
                entry_id: Some(entry(f, 90)),
            },
        ),
    ]
}

/// A chore for anybody.
pub fn chore_offered(f: FamilyId, number: u128) -> Given {
    chore_event(
        f,
        ChoreOffered {
            chore_id: ChoreId::from_uuid(id(f, 0x5100 + number)),
            title: "Rubbish".into(),
            points: 1,
            reward: None,
            offered_to: None,
            due_on: None,
        },
    )
}

pub fn badge(f: FamilyId) -> Given {
    let awarded = BadgeAwarded {
        award_id: AwardId::from_uuid(id(f, 0x6001)),
        member_id: member(f, 4),
        badge: "Helper".into(),
        reason: "Dishes".into(),
        points: 3,
    };
    (
        member(f, 4).uuid(),
        LedgerEvent::Rewards(RewardsEvent::BadgeAwarded(awarded)),
        day(5, 5),
    )
}

pub fn import_story(f: FamilyId) -> Vec<Given> {
    let connection_id = ConnectionId::from_uuid(id(f, 0x7001));
    let import_id = ImportId::from_uuid(id(f, 0x8001));
    let bank_ledger = |balance: &str| BankLedger {
        opening: eur("0.00"),
        opening_entry: None,
        first_on: day(1, 2),
        last_on: day(3, 4),
        balance: eur(balance),
        is_proved: true,
    };
    let connection = |event: BankConnectionEvent| (connection_id.uuid(), LedgerEvent::BankConnection(event), day(6, 1));
    let account_id = account(f, 1);
    let booked: Money = eur("-17.50");
    vec![
        connection(
            BankConnected {
                connection_id,
                account_id,
                provider: "statement-file".into(),
                institution: "Bank".into(),
            }
            .into(),
        ),
        (
            import_id.uuid(),
            LedgerEvent::StatementImport(StatementImportEvent::StatementImported(StatementImported {
                import_id,
                connection_id,
                source: "ofx".into(),
                file_sha256: "ab".into(),
                ledger_before: None,
                ledger_after: Some(bank_ledger("82.50")),
            })),
            day(6, 1),
        ),
        connection(
            BankSynced {
                connection_id,
                account_id,
                import_id,
                rows: 3,
                rows_booked: 2,
                rows_known: 1,
                rows_categorised: 0,
                rows_zero: 0,
                booked,
                ledger: Some(bank_ledger("82.50")),
            }
            .into(),
        ),
    ]
}

/// The child has read what it was told so far.
pub fn inbox_read(f: FamilyId) -> Given {
    let read = NotificationsRead {
        member_id: member(f, 4),
        up_to_family_seq: 18,
    };
    (
        member(f, 4).uuid(),
        LedgerEvent::Inbox(InboxEvent::NotificationsRead(read)),
        day(5, 5),
    )
}

pub fn spending_event(f: FamilyId, event: impl Into<SpendingEvent>) -> Given {
    (member(f, 4).uuid(), LedgerEvent::Spending(event.into()), day(5, 6))
}

pub fn request(f: FamilyId, number: u128) -> SpendingRequestId {
    SpendingRequestId::from_uuid(id(f, 0x7100 + number))
}

/// A limit that is set, changed, spent from and given back to, and requests: one approved, one that waits, one that ended.
pub fn spending_story(f: FamilyId) -> Vec<Given> {
    let member_id = member(f, 4);
    let limit = |per_day: &str| SpendingLimitSet {
        member_id,
        limit: SpendingLimit {
            currency: "EUR".parse().expect("a code"),
            per_entry: None,
            per_day: Some(eur(per_day)),
            per_week: None,
            per_month: Some(eur("50.00")),
        },
    };
    let counted = |number: u128, amount: &str| SpendingCounted {
        member_id,
        entry_id: entry(f, number),
        spent_on: day(5, 6),
        money: eur(amount),
    };
    let requested = |number: u128, amount: &str| SpendingRequested {
        request_id: request(f, number),
        member_id,
        account_id: account(f, 2),
        money: eur(amount),
        category_id: category(f, 1),
        payee: "Bicycles".into(),
        note: "a bell".into(),
        until_on: day(5, 13),
    };
    let given_back = SpendingGivenBack {
        member_id,
        entry_id: entry(f, 701),
        spent_on: day(5, 6),
        money: eur("2.00"),
    };
    let approved = SpendingApproved {
        request_id: request(f, 1),
        member_id,
        approved_by: member(f, 2),
        account_id: account(f, 2),
        money: eur("25.50"),
        entry_id: entry(f, 703),
    };
    let ended = SpendingRequestEnded {
        request_id: request(f, 3),
        member_id,
        because: EndedBecause::LimitChanged,
    };
    vec![
        spending_event(f, limit("5.00")),
        spending_event(f, counted(701, "2.00")),
        spending_event(f, counted(702, "1.25")),
        spending_event(f, requested(1, "25.50")),
        spending_event(f, requested(2, "60.00")),
        spending_event(f, requested(3, "6.00")),
        spending_event(f, given_back),
        spending_event(f, approved),
        spending_event(f, limit("10.00")),
        spending_event(f, ended),
    ]
}
