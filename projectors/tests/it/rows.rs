//! Given events, then rows: one test per projection.

use domain::{
    actor::Role,
    aggregate::LedgerEvent,
    bank_connection::BankSyncUndone,
    calendar::Period,
    family::{AgeBandSet, ConsentRevoked, LeaderboardChoiceMade, MemberRoleChanged, consent::AgeBand},
    id::{ConnectionId, ImportId},
    inbox::{InboxEvent, NotificationsRead},
    ledger_account::{AccountClosed, LedgerAccountEvent},
    spending::SpendingLimitRemoved,
};

use crate::{given::*, ledger::*, stories::*};

#[tokio::test]
async fn members_families_and_categories_are_what_was_last_said() {
    let mut ledger = Ledger::new().await;
    let f = family(1);
    ledger.append(f, founding(f)).await;
    let grown = MemberRoleChanged {
        member_id: member(f, 3),
        from: Role::Teen,
        to: Role::Partner,
    };
    let hidden = LeaderboardChoiceMade {
        member_id: member(f, 4),
        on_leaderboard: false,
    };
    ledger
        .append(f, vec![family_event(f, grown), family_event(f, hidden)])
        .await;
    ledger.project(5_000).await;
    assert_eq!(
        ledger
            .value("select string_agg(role, ' ' order by member_id) from views.members")
            .await,
        "parent partner partner child"
    );
    assert_eq!(
        ledger
            .value("select string_agg(on_leaderboard::text, ' ' order by member_id) from views.members")
            .await,
        "true true true false"
    );
    assert_eq!(
        ledger
            .value("select count(*) from views.members where user_id is not null")
            .await,
        "1"
    );
    assert_eq!(
        ledger
            .value("select name || ' ' || zone || ' ' || week_start from views.families")
            .await,
        "Lovelace Europe/Berlin monday"
    );
    assert_eq!(
        ledger
            .value("select count(*) from views.categories where kind = 'expense'")
            .await,
        "2"
    );
    assert_eq!(ledger.value("select family_seq from views.family_heads").await, "13");
    ledger.database.drop().await;
}

#[tokio::test]
async fn balances_and_buckets_are_sums_of_postings() {
    let mut ledger = Ledger::new().await;
    let f = family(1);
    ledger.append(f, founding(f)).await;
    let events = vec![
        opening(f, 1, 1, "100.00", day(1, 1)),
        expense(f, 2, (1, 1), "12.30", day(2, 1), 1),
        expense(f, 3, (1, 1), "7.70", day(2, 1), 1),
        income(f, 4, "50.00", day(2, 28)),
        pocket_money(f, 5, "5.00", day(3, 1)),
        expense(f, 6, (2, 2), "1.25", day(3, 2), 4),
    ];
    ledger.append(f, events).await;
    let closed = AccountClosed {
        account_id: account(f, 2),
    };
    ledger
        .append(
            f,
            vec![(
                account(f, 2).uuid(),
                LedgerEvent::LedgerAccount(LedgerAccountEvent::AccountClosed(closed)),
                day(4, 1),
            )],
        )
        .await;
    ledger.project(5_000).await;
    assert_eq!(
        ledger
            .value("select string_agg(balance || ' ' || is_closed, ', ' order by account_id) from views.accounts")
            .await,
        "125.0000 false, 3.7500 true"
    );
    let feb = "select string_agg(amount::text, ' ') from views.spending_days where effective_on = '2026-02-01'";
    assert_eq!(ledger.value(feb).await, "20.0000");
    let months =
        "select string_agg(month_on || ' ' || amount, ', ' order by month_on, amount) from views.spending_months";
    assert_eq!(
        ledger.value(months).await,
        "2026-02-01 -50.0000, 2026-02-01 20.0000, 2026-03-01 1.2500"
    );
    ledger.assert_balanced().await;
    ledger.database.drop().await;
}

#[tokio::test]
async fn a_recategorised_and_reversed_entry_leaves_no_sum_behind_and_shows_its_last_category() {
    for size in [1, 5_000] {
        let mut ledger = Ledger::new().await;
        let f = family(1);
        ledger.append(f, founding(f)).await;
        ledger
            .append(
                f,
                vec![
                    expense(f, 1, (1, 1), "10.00", day(2, 1), 1),
                    expense(f, 2, (1, 1), "4.00", day(2, 1), 1),
                ],
            )
            .await;
        ledger
            .append(
                f,
                vec![
                    recategorised(f, 1, 1, 2, "10.00", day(2, 1)),
                    recategorised(f, 2, 1, 2, "4.00", day(2, 1)),
                ],
            )
            .await;
        ledger
            .append(
                f,
                vec![
                    recategorised(f, 2, 2, 1, "4.00", day(2, 1)),
                    recategorised(f, 2, 1, 2, "4.00", day(2, 1)),
                ],
            )
            .await;
        ledger
            .append(f, vec![expense_reversed(f, 1, (1, 2), "10.00", day(2, 3))])
            .await;
        ledger.project(size).await;
        let spent = format!(
            "select sum(amount) from views.spending_months where category_id = '{}'",
            category(f, 2).uuid()
        );
        assert_eq!(ledger.value(&spent).await, "4.0000");
        let old = format!(
            "select sum(amount) from views.spending_months where category_id = '{}'",
            category(f, 1).uuid()
        );
        assert_eq!(ledger.value(&old).await, "0.0000");
        let lines = format!(
            "select count(*) from views.entry_postings where ledger_account = '{}'",
            category(f, 2)
        );
        assert_eq!(ledger.value(&lines).await, "2");
        let reversed =
            "select string_agg(is_reversed || ' ' || reversal_reason, ', ' order by entry_id) from views.entries";
        assert_eq!(ledger.value(reversed).await, "true Twice, false ");
        assert_eq!(ledger.value("select sum(balance) from views.accounts").await, "-4.0000");
        ledger.assert_balanced().await;
        ledger.database.drop().await;
    }
}

#[tokio::test]
async fn budgets_keep_every_amount_they_were_given() {
    let mut ledger = Ledger::new().await;
    let f = family(1);
    ledger.append(f, founding(f)).await;
    let set = vec![
        budget_set(f, 1, Period::Month, "100.00", day(1, 1)),
        budget_set(f, 1, Period::Month, "80.00", day(3, 9)),
    ];
    ledger.append(f, set).await;
    ledger.project(5_000).await;
    let history = "select string_agg(effective_on || ' ' || amount, ', ' order by family_seq) from views.budgets";
    assert_eq!(ledger.value(history).await, "2026-01-01 100.0000, 2026-03-09 80.0000");
    ledger.database.drop().await;
}

#[tokio::test]
async fn a_chore_earns_points_and_tells_who_has_to_know() {
    let mut ledger = Ledger::new().await;
    let f = family(1);
    ledger.append(f, founding(f)).await;
    ledger
        .append(f, vec![country_set(f), consent_given(f, 3), consent_given(f, 4)])
        .await;
    ledger.append(f, chore_story(f)).await;
    ledger.append(f, vec![badge(f)]).await;
    let read = NotificationsRead {
        member_id: member(f, 4),
        up_to_family_seq: 21,
    };
    ledger
        .append(
            f,
            vec![(
                member(f, 4).uuid(),
                LedgerEvent::Inbox(InboxEvent::NotificationsRead(read)),
                day(5, 6),
            )],
        )
        .await;
    ledger.project(5_000).await;
    assert_eq!(
        ledger
            .value("select status || ' ' || claimed_by || ' ' || entry_id from views.chores")
            .await,
        format!("approved {} {}", member(f, 4).uuid(), entry(f, 90).uuid())
    );
    assert_eq!(ledger.value("select points from views.point_totals").await, "8");
    let days =
        "select string_agg(earned_on || ' ' || source || ' ' || points, ', ' order by earned_on) from views.point_days";
    assert_eq!(ledger.value(days).await, "2026-05-04 chore 5, 2026-05-05 badge 3");
    assert_eq!(
        ledger.value("select badge || ' ' || points from views.badges").await,
        "Helper 3"
    );
    let told = |number: u128| {
        format!(
            "select string_agg(kind, ' ' order by family_seq) from views.notifications where member_id = '{}'",
            member(f, number).uuid()
        )
    };
    assert_eq!(
        ledger.value(&told(1)).await,
        "member-added member-added member-added chore-completed chore-completed"
    );
    assert_eq!(
        ledger.value(&told(2)).await,
        "member-added member-added chore-completed chore-completed"
    );
    assert_eq!(ledger.value(&told(3)).await, "chore-offered");
    assert_eq!(
        ledger.value(&told(4)).await,
        "chore-offered chore-rejected chore-approved badge-awarded"
    );
    assert_eq!(ledger.value("select read_up_to from views.inbox_marks").await, "21");
    ledger.database.drop().await;
}

/// Before a country is said, without consent, and after it was taken back; with consent, or of age, they are.
#[tokio::test]
async fn a_teen_or_child_who_waits_for_consent_is_told_nothing() {
    for size in [1, 5_000] {
        let mut ledger = Ledger::new().await;
        let f = family(1);
        ledger.append(f, founding(f)).await;
        ledger.append(f, chore_story(f)).await;
        ledger.append(f, vec![country_set(f), chore_offered(f, 2)]).await;
        let revoked = ConsentRevoked {
            member_id: member(f, 4),
            revoked_by: member(f, 1),
        };
        let of_age = AgeBandSet {
            member_id: member(f, 3),
            band: AgeBand::From16,
        };
        ledger.append(f, vec![consent_given(f, 4), chore_offered(f, 3)]).await;
        ledger
            .append(
                f,
                vec![family_event(f, revoked), family_event(f, of_age), chore_offered(f, 4)],
            )
            .await;
        ledger.project(size).await;
        let told = "select string_agg(member_id || ' ' || chore_id, ', ' order by family_seq)
            from views.notifications where kind = 'chore-offered'";
        let (teen, child) = (member(f, 3).uuid(), member(f, 4).uuid());
        assert_eq!(
            ledger.value(told).await,
            format!("{child} {}, {teen} {}", id(f, 0x5103), id(f, 0x5104))
        );
        let young = format!("select count(*) from views.notifications where member_id in ('{teen}', '{child}')");
        assert_eq!(ledger.value(&young).await, "2", "and of nothing else");
        ledger.database.drop().await;
    }
}

#[tokio::test]
async fn adults_hear_of_a_childs_expense_as_roles_were_at_that_event() {
    for size in [1, 5_000] {
        let mut ledger = Ledger::new().await;
        let f = family(1);
        ledger.append(f, founding(f)).await;
        ledger
            .append(
                f,
                vec![
                    expense(f, 1, (2, 1), "1.00", day(2, 1), 4),
                    expense(f, 2, (1, 1), "9.00", day(2, 1), 1),
                ],
            )
            .await;
        let grown = MemberRoleChanged {
            member_id: member(f, 3),
            from: Role::Teen,
            to: Role::Partner,
        };
        ledger
            .append(
                f,
                vec![family_event(f, grown), expense(f, 3, (2, 1), "1.50", day(2, 1), 4)],
            )
            .await;
        ledger.project(size).await;
        let told = "select string_agg(member_id || '', ' ' order by family_seq, member_id) from views.notifications where kind = 'expense-added'";
        let of = |number| member(f, number).uuid();
        assert_eq!(
            ledger.value(told).await,
            format!("{} {} {} {} {}", of(1), of(2), of(1), of(2), of(3))
        );
        assert_eq!(
            ledger
                .value("select kind from views.notifications where kind = 'role-changed'")
                .await,
            "role-changed"
        );
        ledger.database.drop().await;
    }
}

#[tokio::test]
async fn an_import_is_counted_and_can_be_taken_back() {
    for size in [1, 5_000] {
        let mut ledger = Ledger::new().await;
        let f = family(1);
        ledger.append(f, founding(f)).await;
        ledger.append(f, import_story(f)).await;
        ledger.project(size).await;
        let row = "select source || ' ' || rows_booked || ' ' || rows_known || ' ' || booked || ' ' || is_undone || ' ' || family_seq from views.imports";
        assert_eq!(ledger.value(row).await, "ofx 2 1 -17.5000 false 13");
        assert_eq!(
            ledger
                .value("select bank_balance || ' ' || is_proved from views.bank_connections")
                .await,
            "82.5000 true"
        );
        let connection_id = ConnectionId::from_uuid(id(f, 0x7001));
        let import_id = ImportId::from_uuid(id(f, 0x8001));
        let undone = BankSyncUndone {
            connection_id,
            import_id,
            entries_reversed: 2,
            ledger: None,
        };
        ledger
            .append(
                f,
                vec![(
                    connection_id.uuid(),
                    LedgerEvent::BankConnection(undone.into()),
                    day(6, 2),
                )],
            )
            .await;
        ledger.project(size).await;
        assert_eq!(
            ledger
                .value("select is_undone || ' ' || entries_reversed from views.imports")
                .await,
            "true 2"
        );
        assert_eq!(
            ledger.value("select bank_balance from views.bank_connections").await,
            "null"
        );
        assert_eq!(
            ledger
                .value("select synced_at is not null from views.bank_connections")
                .await,
            "true"
        );
        assert_eq!(
            ledger
                .value("select count(*) from views.notifications where kind in ('bank-synced', 'import-undone')")
                .await,
            "4"
        );
        ledger.database.drop().await;
    }
}

#[tokio::test]
async fn a_bank_row_that_gets_its_category_later_counts_as_spending_of_its_account() {
    for size in [1, 5_000] {
        let mut ledger = Ledger::new().await;
        let f = family(1);
        ledger.append(f, founding(f)).await;
        ledger.append(f, vec![bank_row(f, 1, "-8.00", day(2, 1))]).await;
        ledger.append(f, vec![taken_for(f, 1, 2, "8.00", day(2, 1))]).await;
        ledger.project(size).await;
        let row = "select account_id || ' ' || category_id || ' ' || amount from views.spending_days";
        let expected = format!("{} {} 8.0000", account(f, 1).uuid(), category(f, 2).uuid());
        assert_eq!(ledger.value(row).await, expected);
        let lines = "select string_agg(ledger_account, ' ' order by line) from views.entry_postings";
        assert_eq!(
            ledger.value(lines).await,
            format!("{} {}", account(f, 1), category(f, 2))
        );
        ledger.assert_balanced().await;
        ledger.database.drop().await;
    }
}

#[tokio::test]
async fn a_limit_what_counts_for_it_and_requests_have_rows() {
    for size in [1, 5_000] {
        let mut ledger = Ledger::new().await;
        let f = family(1);
        ledger.append(f, founding(f)).await;
        ledger.append(f, vec![country_set(f), consent_given(f, 4)]).await;
        ledger.append(f, spending_story(f)).await;
        ledger.project(size).await;
        let limit = "select concat_ws(' ', per_entry, per_day, per_week, per_month) from views.spending_limits";
        assert_eq!(ledger.value(limit).await, "10.0000 50.0000");
        let spent = "select spent_on || ' ' || amount from views.spending_limit_days";
        assert_eq!(ledger.value(spent).await, "2026-05-06 1.2500");
        let requests = "select string_agg(concat_ws(' ', amount, status, nullif(reason, '')), ', ' order by family_seq)
            from views.spending_requests";
        assert_eq!(
            ledger.value(requests).await,
            "25.5000 approved, 60.0000 waiting, 6.0000 ended limit-changed"
        );
        let told = |number: u128| {
            format!(
                "select string_agg(kind, ' ' order by family_seq) from views.notifications
                where kind like 'spending-%' and member_id = '{}'",
                member(f, number).uuid()
            )
        };
        for adult in [1, 2] {
            assert_eq!(
                ledger.value(&told(adult)).await,
                "spending-requested spending-requested spending-requested"
            );
        }
        assert_eq!(
            ledger.value(&told(4)).await,
            "spending-limit-set spending-approved spending-limit-set"
        );
        let removed = SpendingLimitRemoved {
            member_id: member(f, 4),
        };
        ledger.append(f, vec![spending_event(f, removed)]).await;
        ledger.project(size).await;
        assert_eq!(
            ledger.value("select count(*)::text from views.spending_limits").await,
            "0"
        );
        ledger.database.drop().await;
    }
}
