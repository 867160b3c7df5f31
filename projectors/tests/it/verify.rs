//! Rows that were altered are named, each by its own view and no other, whatever table they are in.

use std::collections::BTreeSet;

use domain::{
    actor::Role,
    calendar::Period,
    family::{AgeBandSet, MemberLeft, consent::AgeBand},
    id::FamilyId,
    ledger_account::ShareLevel,
};
use projectors::{
    projections::{FAMILIES_TABLES, PROJECTIONS},
    verify::Verifier,
};
use sqlx::PgPool;

use crate::{given::*, ledger::*, sameness::lived, stories};

/// Every table with rows of families, and what is changed in it: a value that no other table holds.
const ALTERED: &[(&str, &str, &str)] = &[
    ("account_days", "account_days", "amount = amount + 0.01"),
    ("account_shares", "account_shares", "level = 'annotate'"),
    ("accounts", "accounts", "balance = balance - 0.01"),
    ("badges", "badges", "points = points + 1"),
    ("bank_connections", "bank_connections", "is_proved = not is_proved"),
    ("budgets", "budgets", "amount = amount * 2"),
    ("categories", "categories", "name = name || ' '"),
    ("chores", "chores", "status = 'open'"),
    ("consents", "consent_rules", "age = age - 1"),
    ("consents", "consents", "is_revoked = not is_revoked"),
    ("entries", "entries", "payee = payee || '.'"),
    ("entries", "entry_postings", "ledger_account = 'cat_0'"),
    ("families", "families", "zone = 'Europe/Paris'"),
    ("imports", "imports", "is_undone = not is_undone"),
    ("inbox_marks", "inbox_marks", "read_up_to = read_up_to + 1"),
    ("leaderboard", "point_days", "points = points + 1"),
    ("leaderboard", "point_totals", "points = points - 1"),
    ("members", "members", "role = 'parent', display_name = 'Somebody'"),
    ("notifications", "notification_consents", "is_revoked = not is_revoked"),
    ("notifications", "notification_recipients", "role = 'auditor'"),
    ("notifications", "notification_rules", "age = age + 1"),
    ("notifications", "notifications", "subject = subject || '!'"),
    ("spending", "spending_days", "amount = amount + 1"),
    ("spending", "spending_months", "amount = 0.01 + amount"),
    ("spending_limits", "spending_limit_days", "amount = amount + 0.01"),
    ("spending_limits", "spending_limits", "per_day = per_day + 1"),
    ("spending_requests", "spending_requests", "payee = payee || '?'"),
    ("standings", "standings", "has_left = not has_left"),
    ("family_heads", "family_heads", "family_seq = family_seq - 1"),
];

/// Two families with rows in every table.
async fn full(ledger: &mut Ledger) {
    lived(ledger).await;
    for number in 1..=2 {
        let f = family(number);
        let band = AgeBandSet {
            member_id: member(f, 4),
            band: AgeBand::Of14,
        };
        let more = vec![
            budget_set(f, 1, Period::Month, "100.00", day(1, 1)),
            account_shared(f, 1, 4, ShareLevel::View),
            account_shared(f, 1, 4, ShareLevel::Full),
            stories::inbox_read(f),
            country_set(f),
            consent_given(f, 4),
            family_event(f, band),
            member_added(f, 9, Role::Partner),
            family_event(
                f,
                MemberLeft {
                    member_id: member(f, 9),
                },
            ),
            income(f, 901, "3.00", day(4, 1)),
        ];
        ledger.append(f, more).await;
    }
    ledger.project(5_000).await;
}

/// Views named for a family.
async fn named(verifier: &mut Verifier, family: FamilyId) -> Vec<(&'static str, &'static str)> {
    let verified = verifier.verify(LANE, family).await.expect("rows are verified");
    let all_of_it = verified.differences.iter().all(|found| found.family_id == family);
    assert!(all_of_it, "{verified:?}");
    verified
        .differences
        .iter()
        .map(|found| (found.view, found.table))
        .collect()
}

async fn run(pool: &PgPool, statement: &str) -> u64 {
    let done = sqlx::query(statement).execute(pool).await;
    done.unwrap_or_else(|error| panic!("{statement}: {error}"))
        .rows_affected()
}

#[tokio::test]
async fn an_altered_row_of_any_table_is_named_by_its_view_and_family_alone() {
    let mut ledger = Ledger::new().await;
    full(&mut ledger).await;
    let everything: BTreeSet<&str> = PROJECTIONS
        .iter()
        .flat_map(|projection| projection.tables().iter().copied())
        .chain(["family_heads"])
        .collect();
    assert_eq!(
        ALTERED.iter().map(|(_, table, _)| *table).collect::<BTreeSet<_>>(),
        everything
    );
    let hands = ledger.database.superuser().await;
    let mut verifier = Verifier::open(&ledger.views, &ledger.applier.log)
        .await
        .expect("a verifier");
    let (sound, altered) = (family(1), family(2));
    assert_eq!(named(&mut verifier, sound).await, []);
    assert_eq!(named(&mut verifier, altered).await, []);
    for (view, table, change) in ALTERED {
        // One row changed, one row lost, one row too many.
        let of_family = format!(
            "where ctid = (select ctid from views.{table} where family_id = '{}' limit 1)",
            altered.uuid()
        );
        let copy = format!("create table kept as select * from views.{table}");
        let back = format!("truncate views.{table}; insert into views.{table} select * from kept; drop table kept");
        for act in [
            format!("update views.{table} set {change} {of_family}"),
            format!("delete from views.{table} {of_family}"),
        ] {
            run(&hands, &copy).await;
            assert_eq!(run(&hands, &act).await, 1, "{act}");
            assert_eq!(named(&mut verifier, altered).await, [(*view, *table)], "{act}");
            assert_eq!(named(&mut verifier, sound).await, [], "{act}");
            sqlx::raw_sql(&back)
                .execute(&hands)
                .await
                .expect("the rows are put back");
            assert_eq!(named(&mut verifier, altered).await, [], "{act}");
        }
        let stranger = "00000000-0000-0000-0000-00000000beef";
        run(&hands, &format!("create table kept as select * from views.{table}")).await;
        run(&hands, &format!("update kept set family_id = '{stranger}'")).await;
        run(&hands, &format!("insert into views.{table} select * from kept limit 1")).await;
        let found = verifier.strangers().await.expect("rows are verified");
        assert_eq!(
            found.iter().map(|found| (found.view, found.table)).collect::<Vec<_>>(),
            [(*view, *table)]
        );
        run(
            &hands,
            &format!("delete from views.{table} where family_id = '{stranger}'"),
        )
        .await;
        run(&hands, "drop table kept").await;
    }
    assert_eq!(verifier.strangers().await.expect("rows are verified"), []);
    ledger.database.drop().await;
}

#[tokio::test]
async fn altered_book_keeping_is_named_and_not_taken_for_altered_views() {
    let mut ledger = Ledger::new().await;
    full(&mut ledger).await;
    assert_eq!(FAMILIES_TABLES, ["family_heads", "parked_families"]);
    let hands = ledger.database.superuser().await;
    let mut verifier = Verifier::open(&ledger.views, &ledger.applier.log)
        .await
        .expect("a verifier");
    let f = family(1);
    let insert = format!(
        "insert into views.parked_families (family_id, lane, family_seq, event_type, event_version, error, payload)
        values ('{}', 3, 20, 'X', '1', 'made up', '{{}}')",
        f.uuid()
    );
    run(&hands, &insert).await;
    assert_eq!(named(&mut verifier, f).await, [("parked_families", "parked_families")]);
    run(&hands, "delete from views.parked_families").await;
    run(&hands, "update views.checkpoints set position = position - 12").await;
    assert_eq!(named(&mut verifier, f).await, [("checkpoints", "checkpoints")]);
    run(&hands, "update views.checkpoints set position = position + 12").await;
    assert_eq!(named(&mut verifier, f).await, []);
    ledger.database.drop().await;
}
