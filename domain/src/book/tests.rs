//! What an auditor relies on: the trial balance is nothing whatever happens, a reversal leaves no trace in a balance, and a
//! prefix says what was said at the time.

use chrono::{DateTime, Days, NaiveDate, TimeZone, Utc};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::{
    Money,
    budget::BudgetSet,
    calendar::Period,
    category::CategoryKind,
    chore::{ChoreApproved, ChoreOffered},
    entry::{EntryRecategorised, EntryReversed, ExpenseAdded, IncomeAdded, OpeningBalanceRecorded, TransferMade},
    id::{AwardId, BudgetId, EntryId},
    journal::{Equity, Posting, reversed},
    ledger_account::{AccountClosed, AccountKind},
    rewards::BadgeAwarded,
    testing::{account, category, currency, eur, member_id},
};

/// One step of a random ledger, small numbers only: what they pick is taken modulo what there is.
#[derive(Clone, Debug)]
enum Step {
    Expense { cents: i64, category: u8 },
    Income { cents: i64 },
    Transfer { cents: i64 },
    Exchange { cents: i64, yen: i64 },
    Opening { cents: i64 },
    Reverse { which: u8 },
    Recategorise { which: u8, category: u8 },
}

fn steps() -> impl Strategy<Value = Vec<(Step, u64)>> {
    let cents = 1_i64..1_000_000;
    let step = prop_oneof![
        (cents.clone(), any::<u8>()).prop_map(|(cents, category)| Step::Expense { cents, category }),
        cents.clone().prop_map(|cents| Step::Income { cents }),
        cents.clone().prop_map(|cents| Step::Transfer { cents }),
        (cents.clone(), cents.clone()).prop_map(|(cents, yen)| Step::Exchange { cents, yen }),
        cents.prop_map(|cents| Step::Opening { cents }),
        any::<u8>().prop_map(|which| Step::Reverse { which }),
        (any::<u8>(), any::<u8>()).prop_map(|(which, category)| Step::Recategorise { which, category }),
    ];
    proptest::collection::vec((step, 0_u64..800), 1..60)
}

fn euros(cents: i64) -> Money {
    Money::try_new(rust_decimal::Decimal::new(cents, 2), currency("EUR")).expect("an amount")
}

fn yen(amount: i64) -> Money {
    Money::try_new(rust_decimal::Decimal::new(amount, 0), currency("JPY")).expect("an amount")
}

fn day(offset: u64) -> NaiveDate {
    NaiveDate::from_ymd_opt(2024, 1, 1).expect("a day") + Days::new(offset)
}

fn instant(family_seq: i64) -> DateTime<Utc> {
    Utc.timestamp_opt(1_700_000_000 + family_seq, 0)
        .single()
        .expect("an instant")
}

/// Turns steps into events that the rules would accept, by keeping the postings in force beside them.
fn history(steps: &[(Step, u64)]) -> Vec<(LedgerEvent, NaiveDate)> {
    let mut events = vec![
        (opened(1, "EUR"), day(0)),
        (opened(2, "EUR"), day(0)),
        (opened(3, "JPY"), day(0)),
    ];
    let mut in_force: Vec<(EntryId, Vec<Posting>, NaiveDate)> = Vec::new();
    for (number, (step, offset)) in steps.iter().enumerate() {
        let entry_id = EntryId::from_uuid(Uuid::from_u128(0xE000 + number as u128));
        let on = day(*offset);
        let (event, on): (EntryEvent, NaiveDate) = match *step {
            Step::Reverse { which } => {
                if in_force.is_empty() {
                    continue;
                }
                let (entry_id, postings, on) = in_force.remove(usize::from(which) % in_force.len());
                (
                    EntryReversed {
                        entry_id,
                        postings: reversed(&postings),
                        reason: String::new(),
                    }
                    .into(),
                    on,
                )
            }
            Step::Recategorise { which, category: to } => {
                let spent = |p: &Posting| matches!(p.ledger_account, PostingAccount::Category(_));
                let index = usize::from(which) % in_force.len().max(1);
                let Some((entry_id, postings, on)) = in_force.get_mut(index) else {
                    continue;
                };
                let Some(posting) = postings.iter_mut().find(|p| spent(p)) else {
                    continue;
                };
                let PostingAccount::Category(from) = posting.ledger_account else {
                    continue;
                };
                let to = category(u128::from(to % 3));
                let moved = vec![
                    Posting::category(from, posting.money.negated()),
                    Posting::category(to, posting.money),
                ];
                posting.ledger_account = PostingAccount::Category(to);
                (
                    EntryRecategorised {
                        entry_id: *entry_id,
                        from: PostingAccount::Category(from),
                        to: PostingAccount::Category(to),
                        postings: moved,
                    }
                    .into(),
                    *on,
                )
            }
            _ => {
                let event = added(step, entry_id, on);
                in_force.push((entry_id, event.postings().to_vec(), on));
                (event, on)
            }
        };
        events.push((LedgerEvent::Entry(event), on));
    }
    events
}

fn opened(number: u128, code: &str) -> LedgerEvent {
    let (kind, name) = (AccountKind::Bank, format!("Account {number}"));
    let (account_id, currency) = (account(number), currency(code));
    let opened = AccountOpened {
        account_id,
        name,
        kind,
        currency,
        owner: None,
        opening_balance: None,
    };
    LedgerEvent::LedgerAccount(opened.into())
}

fn added(step: &Step, entry_id: EntryId, effective_on: NaiveDate) -> EntryEvent {
    let (payee, note) = (String::new(), String::new());
    match *step {
        Step::Expense { cents, category: at } => {
            let money = euros(cents);
            let spent = Posting::category(category(u128::from(at % 3)), money);
            let postings = vec![Posting::account(account(1), money.negated()), spent];
            ExpenseAdded {
                entry_id,
                effective_on,
                postings,
                payee,
                note,
                entered_by: None,
            }
            .into()
        }
        Step::Income { cents } => {
            let money = euros(cents);
            let postings = vec![
                Posting::account(account(1), money),
                Posting::category(category(9), money.negated()),
            ];
            IncomeAdded {
                entry_id,
                effective_on,
                postings,
                payee,
                note,
                entered_by: None,
            }
            .into()
        }
        Step::Opening { cents } => {
            let money = euros(cents);
            let against = Posting::equity(Equity::OpeningBalances, money.negated());
            let postings = vec![Posting::account(account(2), money), against];
            OpeningBalanceRecorded {
                entry_id,
                effective_on,
                postings,
            }
            .into()
        }
        Step::Transfer { cents } => {
            let money = euros(cents);
            let postings = vec![
                Posting::account(account(1), money.negated()),
                Posting::account(account(2), money),
            ];
            TransferMade {
                entry_id,
                effective_on,
                postings,
                note,
                entered_by: None,
                chore_id: None,
                earned_by: None,
            }
            .into()
        }
        Step::Exchange { cents, yen: amount } => {
            let (from, to) = (euros(cents), yen(amount));
            let postings = vec![
                Posting::account(account(1), from.negated()),
                Posting::equity(Equity::Conversion, from),
                Posting::equity(Equity::Conversion, to.negated()),
                Posting::account(account(3), to),
            ];
            TransferMade {
                entry_id,
                effective_on,
                postings,
                note,
                entered_by: None,
                chore_id: None,
                earned_by: None,
            }
            .into()
        }
        Step::Reverse { .. } | Step::Recategorise { .. } => unreachable!("these need an entry in force"),
    }
}

fn fold(mut book: Book, events: &[(LedgerEvent, NaiveDate)]) -> Book {
    for (event, on) in events {
        let family_seq = book.family_seq() + 1;
        book.apply(event, *on, instant(family_seq), family_seq)
            .expect("the history is whole");
    }
    book
}

/// The rows of a small history given by hand.
fn rows(events: &[(LedgerEvent, NaiveDate)]) -> BookRows {
    fold(Book::new(), events).rows().expect("the sums can be held")
}

proptest! {
    #[test]
    fn the_trial_balance_is_nothing_after_every_event(steps in steps()) {
        let mut book = Book::new();
        for (event, on) in history(&steps) {
            let family_seq = book.family_seq() + 1;
            book.apply(&event, on, instant(family_seq), family_seq).expect("the history is whole");
            prop_assert!(book.balances().trial().expect("a sum").iter().all(Money::is_zero));
        }
    }

    #[test]
    fn the_trial_balance_is_nothing_on_every_day(steps in steps(), until in 0_u64..800) {
        let book = fold(Book::effective_until(day(until)), &history(&steps));
        prop_assert!(book.balances().trial().expect("a sum").iter().all(Money::is_zero));
    }

    #[test]
    fn a_prefix_says_what_the_book_said_then(steps in steps(), cut in any::<prop::sample::Index>()) {
        let events = history(&steps);
        let cut = cut.index(events.len() + 1);
        let then = serde_json::to_string(&rows(&events[..cut])).expect("rows are JSON");
        let mut book = fold(Book::new(), &events[..cut]);
        prop_assert_eq!(&serde_json::to_string(&book.rows().expect("sums")).expect("rows are JSON"), &then);
        book = fold(book, &events[cut..]);
        prop_assert_eq!(book, fold(Book::new(), &events));
    }

    #[test]
    fn a_bound_on_days_leaves_out_exactly_the_later_ones(steps in steps(), until in 0_u64..800) {
        let events = history(&steps);
        let bounded = fold(Book::effective_until(day(until)), &events);
        let earlier: Vec<_> = events.into_iter().filter(|(_, on)| *on <= day(until)).collect();
        let unbounded = fold(Book::new(), &earlier);
        prop_assert_eq!(bounded.balances(), unbounded.balances());
    }

    #[test]
    fn reversing_everything_leaves_nothing(steps in steps()) {
        let mut events = history(&steps);
        let book = fold(Book::new().keeping_entries(), &events);
        for entry in book.entries().expect("kept") {
            let postings = reversed(&entry.postings);
            let event = EntryReversed { entry_id: entry.entry_id, postings, reason: String::new() };
            events.push((LedgerEvent::Entry(event.into()), entry.effective_on));
        }
        let after = fold(Book::new().keeping_entries(), &events);
        prop_assert!(after.balances().iter().all(|(_, sum)| sum.is_zero()));
        prop_assert_eq!(after.entries().expect("kept").len(), 0);
    }

    #[test]
    fn balances_are_the_sums_of_the_entries_in_force(steps in steps()) {
        let book = fold(Book::new().keeping_entries(), &history(&steps));
        let mut sums = Balances::default();
        for posting in book.entries().expect("kept").iter().flat_map(|entry| &entry.postings) {
            sums.add(posting).expect("a sum");
        }
        for (at, sum) in book.balances().iter() {
            prop_assert_eq!(sums.of(at, sum.currency()), sum);
        }
    }
}

#[test]
fn a_missing_event_is_an_error() {
    let mut book = Book::new();
    let gap = book.apply(&opened(1, "EUR"), day(0), instant(2), 2);
    assert_eq!(gap, Err(BookError::OutOfOrder { expected: 1, found: 2 }));
}

#[test]
fn an_open_account_has_a_balance_before_its_first_posting() {
    let rows = rows(&[(opened(1, "EUR"), day(0))]);
    assert_eq!(rows.balances.len(), 1);
    assert_eq!(rows.balances[0].balance, eur("0.00"));
    assert_eq!(rows.balances[0].kind, "bank");
    assert!(rows.trial_balance.is_empty());
}

#[test]
fn a_closed_account_says_since_when() {
    let closed = LedgerEvent::LedgerAccount(AccountClosed { account_id: account(1) }.into());
    let rows = rows(&[(opened(1, "EUR"), day(0)), (closed, day(5))]);
    assert_eq!(rows.accounts[0].closed_on, Some(day(5)));
}

#[test]
fn the_budget_of_the_latest_day_holds() {
    let set = |amount: &str| {
        let budget_id = BudgetId::from_uuid(Uuid::from_u128(1));
        let (period, category_id) = (Period::Month, category(1));
        LedgerEvent::Budget(
            BudgetSet {
                budget_id,
                category_id,
                period,
                amount: eur(amount),
            }
            .into(),
        )
    };
    let events = [
        (set("100.00"), day(31)),
        (set("50.00"), day(0)),
        (set("70.00"), day(60)),
    ];
    assert_eq!(rows(&events).budgets[0].amount, eur("70.00"));
    let bounded = fold(Book::effective_until(day(40)), &events).rows().expect("sums");
    assert_eq!(
        (bounded.budgets[0].amount, bounded.budgets[0].since),
        (eur("100.00"), day(31))
    );
}

#[test]
fn points_come_from_chores_and_badges_until_the_day_asked_for() {
    let teen = member_id(crate::actor::Role::Teen);
    let chore_id = ChoreId::from_uuid(Uuid::from_u128(2));
    let added = crate::family::MemberAdded {
        member_id: teen,
        display_name: "Tim".to_owned(),
        role: crate::actor::Role::Teen,
        on_leaderboard: true,
    };
    let title = "Dishes".to_owned();
    let offered = ChoreOffered {
        chore_id,
        title: title.clone(),
        points: 10,
        reward: None,
        offered_to: None,
        due_on: None,
    };
    let approved = ChoreApproved {
        chore_id,
        title,
        member_id: teen,
        points: 10,
        reward: None,
        entry_id: None,
    };
    let award_id = AwardId::from_uuid(Uuid::from_u128(3));
    let badge = BadgeAwarded {
        award_id,
        member_id: teen,
        badge: "Star".to_owned(),
        reason: String::new(),
        points: 5,
    };
    let events = [
        (LedgerEvent::Family(added.into()), day(0)),
        (LedgerEvent::Chore(offered.into()), day(0)),
        (LedgerEvent::Chore(approved.into()), day(1)),
        (LedgerEvent::Rewards(badge.into()), day(2)),
    ];
    let all = rows(&events);
    assert_eq!((all.members[0].points, all.members[0].badges.len()), (15, 1));
    assert_eq!(all.chores[0].status, "approved");
    let bounded = fold(Book::effective_until(day(1)), &events).rows().expect("sums");
    assert_eq!((bounded.members[0].points, bounded.members[0].badges.len()), (10, 0));
}

#[test]
fn a_category_is_named_in_its_balance() {
    let food = CategoryAdded {
        category_id: category(1),
        name: "Food".to_owned(),
        kind: CategoryKind::Expense,
    };
    let spent = added(
        &Step::Expense {
            cents: 1_230,
            category: 1,
        },
        EntryId::from_uuid(Uuid::from_u128(1)),
        day(3),
    );
    let rows = rows(&[
        (opened(1, "EUR"), day(0)),
        (LedgerEvent::Category(CategoryEvent::CategoryAdded(food)), day(0)),
        (LedgerEvent::Entry(spent), day(3)),
    ]);
    let food = rows.balances.iter().find(|row| row.kind == "expense").expect("a row");
    assert_eq!((food.name.as_str(), food.balance), ("Food", eur("12.30")));
    assert_eq!(rows.trial_balance, vec![eur("0.00")]);
}
