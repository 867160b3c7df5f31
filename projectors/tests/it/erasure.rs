//! After an erasure the rows hold nothing of it, whatever they held before; and what is counted stays.

use std::time::{Duration, Instant};

use domain::{
    actor::Role,
    family::{FamilyDeleted, MemberErased},
    id::FamilyId,
};
use projectors::{
    generation,
    rebuild::{Progress, Request, rebuild},
    reset,
    verify::Verifier,
};
use tokio::sync::Notify;

use crate::{given::*, ledger::*, parking::poison, sameness::lived};

/// How long a household's erasure may take in the rows.
const WITHIN: Duration = Duration::from_secs(60);

fn erased(f: FamilyId, number: u128) -> Given {
    let member_id = member(f, number);
    family_event(f, MemberErased { member_id })
}

/// How many rows of the live generation, of any table, have a text.
async fn rows_with(ledger: &Ledger, f: FamilyId, text: &str) -> usize {
    let (family, all) = (f.uuid().to_string(), ledger.dump().await);
    all.iter()
        .filter(|row| row.contains(&family) && row.contains(text))
        .count()
}

async fn is_as_the_log_has_it(ledger: &Ledger, f: FamilyId) -> bool {
    let mut verifier = Verifier::open(&ledger.views, &ledger.applier.log)
        .await
        .expect("a verifier");
    let verified = verifier.verify(LANE, f).await.expect("rows are verified");
    verified.differences.is_empty()
}

async fn sums(ledger: &Ledger, f: FamilyId) -> String {
    let of = |table: &str, sum: &str| {
        format!(
            "(select string_agg(s, ',') from (select {sum} as s from views.{table} where family_id = '{}' order by 1) t)",
            f.uuid()
        )
    };
    let all = [
        of("accounts", "account_id || ' ' || balance"),
        of(
            "account_days",
            "ledger_account || currency || effective_on || ' ' || amount",
        ),
        of(
            "spending_months",
            "month_on || ' ' || category_id || account_id || ' ' || amount",
        ),
        of("point_totals", "member_id || ' ' || points"),
    ];
    ledger.value(&format!("concat_ws(';', {})", all.join(", "))).await
}

#[tokio::test]
async fn rows_hold_no_text_of_an_erased_member_and_the_same_sums() {
    let mut ledger = Ledger::new().await;
    lived(&mut ledger).await;
    let (f, other) = (family(1), family(2));
    ledger.project(5_000).await;
    let (before, of_other) = (sums(&ledger, f).await, rows_with(&ledger, other, "Still wet").await);
    for text in ["Member 4", "Still wet"] {
        assert!(rows_with(&ledger, f, text).await > 0, "{text} was there");
    }
    let began = Instant::now();
    // In one batch with more of the family, as it may come.
    ledger
        .append(
            f,
            vec![
                erased(f, 4),
                member_added(f, 9, Role::Partner),
                income(f, 901, "3.00", day(4, 1)),
            ],
        )
        .await;
    ledger.project(5_000).await;
    println!(
        "erased from {} rows in {:?}",
        ledger.dump().await.len(),
        began.elapsed()
    );
    assert!(began.elapsed() < WITHIN);
    for text in ["Member 4", "Still wet"] {
        assert_eq!(rows_with(&ledger, f, text).await, 0, "{text}");
    }
    assert!(rows_with(&ledger, f, "erased member").await > 0);
    assert!(rows_with(&ledger, f, "Member 9").await > 0, "others keep their names");
    assert_eq!(
        rows_with(&ledger, other, "Still wet").await,
        of_other,
        "and other families theirs"
    );
    assert!(is_as_the_log_has_it(&ledger, f).await && is_as_the_log_has_it(&ledger, other).await);
    assert_ne!(before, sums(&ledger, f).await, "the income counts");
    ledger.append(f, vec![income(f, 902, "4.00", day(4, 1))]).await;
    ledger.project(1).await;
    ledger.assert_balanced().await;

    // Folded again from nothing, in any way, the rows are the same.
    let rows = ledger.dump().await;
    reset(&ledger.views).await.expect("the views are emptied");
    ledger.project(7).await;
    assert_eq!(ledger.dump().await, rows);
    let rebuilt = rebuild(&ledger.views, &ledger.applier.log, &Request::default(), &|_| ()).await;
    rebuilt.expect("the rows are built again, and are found to be the same");
    assert_eq!(ledger.dump().await, rows);
    ledger.database.drop().await;
}

#[tokio::test]
async fn sums_before_and_after_an_erasure_are_equal() {
    let mut ledger = Ledger::new().await;
    lived(&mut ledger).await;
    ledger.project(5_000).await;
    let f = family(2);
    let before = sums(&ledger, f).await;
    assert!(before.len() > 1_000, "{before}");
    for number in [2, 3, 4] {
        ledger.append(f, vec![erased(f, number)]).await;
        ledger.project(5_000).await;
        assert_eq!(sums(&ledger, f).await, before);
    }
    ledger.assert_balanced().await;
    ledger.database.drop().await;
}

#[tokio::test]
async fn a_parked_family_is_scrubbed_up_to_where_it_is_parked() {
    let mut ledger = Ledger::new().await;
    let f = family(1);
    ledger.append(f, founding(f)).await;
    ledger.append(f, vec![poison(f), income(f, 1, "1.00", day(1, 1))]).await;
    ledger.project_isolating(5_000).await;
    assert!(rows_with(&ledger, f, "Member 4").await > 0);
    ledger.append(f, vec![erased(f, 4)]).await;
    ledger.project_isolating(5_000).await;
    assert_eq!(rows_with(&ledger, f, "Member 4").await, 0);
    assert!(rows_with(&ledger, f, "Member 3").await > 0, "its rows are still there");
    let parked = "select family_seq || ' ' || event_type from views.parked_families";
    assert_eq!(ledger.value(parked).await, "12 AccountClosed");
    ledger.database.drop().await;
}

#[tokio::test]
async fn of_a_deleted_family_nothing_is_kept_but_how_far_it_went() {
    let mut ledger = Ledger::new().await;
    lived(&mut ledger).await;
    ledger.project(5_000).await;
    let (f, other) = (family(1), family(2));
    let others = rows_with(&ledger, other, "").await;
    ledger
        .append(f, vec![family_event(f, FamilyDeleted { family_id: f })])
        .await;
    ledger.project(5_000).await;
    let rows = ledger.dump().await;
    let left: Vec<&String> = rows.iter().filter(|row| row.contains(&f.uuid().to_string())).collect();
    assert!(left.len() == 1 && left[0].starts_with("family_heads"), "{left:?}");
    assert_eq!(rows_with(&ledger, other, "").await, others);
    assert!(is_as_the_log_has_it(&ledger, f).await);
    let rebuilt = rebuild(&ledger.views, &ledger.applier.log, &Request::default(), &|_| ()).await;
    rebuilt.expect("the rows are built again, and are found to be the same");
    assert_eq!(ledger.dump().await, rows);
    ledger.database.drop().await;
}

#[tokio::test]
async fn rows_that_do_not_answer_any_more_go_with_the_first_erasure() {
    let mut ledger = Ledger::new().await;
    lived(&mut ledger).await;
    ledger.project(5_000).await;
    let request = Request {
        keeps_old: true,
        ..Request::default()
    };
    for _ in 0..2 {
        let rebuilt = rebuild(&ledger.views, &ledger.applier.log, &request, &|_| ()).await;
        rebuilt.expect("the rows are built again");
    }
    let kept = "select count(*) from generations.built where state <> 'live'";
    assert_ne!(ledger.value(kept).await, "0");
    let f = family(1);
    ledger.append(f, vec![erased(f, 4)]).await;
    ledger.project(5_000).await;
    assert_eq!(ledger.value(kept).await, "0");
    let hidden = "select count(*) from views.members where display_name = 'Member 4'";
    assert_eq!(ledger.value(hidden).await, "0");
    ledger.database.drop().await;
}

#[tokio::test]
async fn a_rebuild_that_meets_an_erasure_finds_the_rows_the_same() {
    let mut ledger = Ledger::new().await;
    lived(&mut ledger).await;
    ledger.project(5_000).await;
    let f = family(1);
    // The keys are gone, and the rows that answer do not know yet.
    ledger.append(f, vec![erased(f, 4)]).await;
    let (views, log) = (ledger.views.clone(), ledger.applier.log.clone());
    let compared = Notify::new();
    let progress = |progress| {
        if matches!(progress, Progress::Comparing { table: "members" }) {
            compared.notify_one();
        }
    };
    let request = Request::default();
    let (rebuilt, ()) = tokio::join!(rebuild(&views, &log, &request, &progress), async {
        compared.notified().await;
        ledger.project(5_000).await;
    });
    let report = rebuilt.expect("the rows are built again");
    assert!(report.is_same());
    assert_eq!(rows_with(&ledger, f, "Member 4").await, 0);
    assert!(is_as_the_log_has_it(&ledger, f).await);
    ledger.database.drop().await;
}

#[tokio::test]
async fn who_reads_meanwhile_sees_the_rows_of_before_or_of_after() {
    let mut ledger = Ledger::new().await;
    lived(&mut ledger).await;
    ledger.project(5_000).await;
    let f = family(1);
    let look = format!(
        "select (select count(*) from members where family_id = '{0}') || ' ' || (select count(*) from entries where family_id = '{0}')",
        f.uuid()
    );
    let whole = ledger.value(&look).await;
    let views = ledger.views.clone();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let looking = tokio::spawn(async move {
        let mut looks = Vec::new();
        while !*stopped.borrow() {
            let mut tx = generation::begin_live(&views).await.expect("a transaction");
            let seen: String = sqlx::query_scalar(&look).fetch_one(&mut *tx).await.expect("a look");
            looks.push(seen);
        }
        looks
    });
    for number in [2, 3, 4] {
        ledger.append(f, vec![erased(f, number)]).await;
        ledger.project(5_000).await;
    }
    stop.send_replace(true);
    let looks = looking.await.expect("looks");
    assert!(looks.len() > 3, "{}", looks.len());
    assert!(looks.iter().all(|seen| *seen == whole), "{whole}: {looks:?}");
    ledger.database.drop().await;
}
