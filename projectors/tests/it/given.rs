//! Given events: a household's, each with its stream and the day it counts for.

use chrono::NaiveDate;
use domain::{
    Money,
    actor::Role,
    aggregate::LedgerEvent,
    calendar::{Period, WeekStart},
    category::{CategoryAdded, CategoryEvent, CategoryKind},
    entry::{
        BankTransactionBooked, EntryEvent, EntryRecategorised, EntryReversed, ExpenseAdded, IncomeAdded,
        OpeningBalanceRecorded, TransferMade,
    },
    family::{ConsentGiven, CountrySet, FamilyCreated, FamilyEvent, MemberAdded, MemberJoined, consent::ConsentMethod},
    id::{AccountId, BudgetId, CategoryId, EntryId, FamilyId, ImportId, MemberId, UserId},
    journal::{Equity, Posting, PostingAccount, reversed},
    ledger_account::{AccountKind, AccountOpened, AccountShared, LedgerAccountEvent, ShareLevel},
};
use uuid::Uuid;

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

/// The family says a country in which a teen or child needs a parent's consent.
pub fn country_set(family: FamilyId) -> Given {
    let set = CountrySet {
        country: "DE".to_owned(),
        consent_age: 16,
    };
    family_event(family, set)
}

pub fn consent_given(family: FamilyId, number: u128) -> Given {
    let given = ConsentGiven {
        member_id: member(family, number),
        given_by: member(family, 1),
        method: ConsentMethod::SignedForm,
        notice_version: 1,
    };
    family_event(family, given)
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
    (
        account_id.uuid(),
        LedgerEvent::LedgerAccount(LedgerAccountEvent::AccountOpened(opened)),
        day(1, 1),
    )
}

pub fn account_shared(family: FamilyId, number: u128, with: u128, level: ShareLevel) -> Given {
    let account_id = account(family, number);
    let shared = AccountShared {
        account_id,
        member_id: member(family, with),
        level,
        by: Some(member(family, 1)),
    };
    (
        account_id.uuid(),
        LedgerEvent::LedgerAccount(LedgerAccountEvent::AccountShared(shared)),
        day(1, 1),
    )
}

pub fn category_added(family: FamilyId, number: u128, kind: CategoryKind) -> Given {
    let category_id = category(family, number);
    let added = CategoryAdded {
        category_id,
        name: format!("Category {number}"),
        kind,
    };
    (
        category_id.uuid(),
        LedgerEvent::Category(CategoryEvent::CategoryAdded(added)),
        day(1, 1),
    )
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
    let joined = MemberJoined {
        member_id: member(family, 1),
        user_id: UserId::from_uuid(id(family, 0x9001)),
    };
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
    entry_event(
        family,
        number,
        OpeningBalanceRecorded {
            entry_id: entry(family, number),
            effective_on: on,
            postings,
        },
        on,
    )
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
        earned_by: None,
    };
    entry_event(family, number, made, on)
}

/// Moves an expense of [`expense`] to another category.
pub fn recategorised(family: FamilyId, number: u128, from: u128, to: u128, amount: &str, on: NaiveDate) -> Given {
    let moved = EntryRecategorised {
        entry_id: entry(family, number),
        from: PostingAccount::Category(category(family, from)),
        to: PostingAccount::Category(category(family, to)),
        postings: vec![
            Posting::category(category(family, from), eur(amount).negated()),
            Posting::category(category(family, to), eur(amount)),
        ],
    };
    entry_event(family, number, moved, on)
}

/// A statement's row whose far side is not known yet.
pub fn bank_row(family: FamilyId, number: u128, amount: &str, on: NaiveDate) -> Given {
    let event = BankTransactionBooked {
        entry_id: entry(family, number),
        account_id: account(family, 1),
        owner: None,
        import_id: ImportId::from_uuid(id(family, 0x8001)),
        booked_on: on,
        value_on: None,
        amount: eur(amount),
        postings: vec![
            Posting::account(account(family, 1), eur(amount)),
            Posting::equity(Equity::TransfersInTransit, eur(amount).negated()),
        ],
        counterparty: "Shop".to_owned(),
        remittance: String::new(),
        reference: None,
    };
    entry_event(family, number, event, on)
}

/// Takes a row of [`bank_row`] for an expense.
pub fn taken_for(family: FamilyId, number: u128, to: u128, amount: &str, on: NaiveDate) -> Given {
    let moved = EntryRecategorised {
        entry_id: entry(family, number),
        from: PostingAccount::Equity(Equity::TransfersInTransit),
        to: PostingAccount::Category(category(family, to)),
        postings: vec![
            Posting::equity(Equity::TransfersInTransit, eur(amount).negated()),
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
    let set = domain::budget::BudgetSet {
        budget_id,
        category_id: category(family, category_number),
        period,
        amount: eur(amount),
    };
    (
        budget_id.uuid(),
        LedgerEvent::Budget(domain::budget::BudgetEvent::BudgetSet(set)),
        on,
    )
}
