//! The same events leave the same rows: delivered twice, one by one, in batches, or folded again from nothing.

use chrono::Days;
use projectors::{
    apply::{Applied, ApplyError},
    reset,
};

use crate::{given::*, ledger::*, stories};

/// Two families whose events interleave: founding, chores, an import, and a few hundred entries that are moved and reversed.
pub async fn lived(ledger: &mut Ledger) {
    for number in 1..=2 {
        let f = family(number);
        ledger.append(f, founding(f)).await;
        ledger
            .append(f, vec![country_set(f), consent_given(f, 3), consent_given(f, 4)])
            .await;
    }
    for number in 1..=2 {
        let f = family(number);
        ledger.append(f, stories::chore_story(f)).await;
        ledger.append(f, stories::import_story(f)).await;
        ledger.append(f, stories::spending_story(f)).await;
        ledger
            .append(f, vec![stories::badge(f), income(f, 80, "1000.00", day(1, 31))])
            .await;
    }
    for entry in 100..200_u128 {
        for number in 1..=2 {
            let f = family(number);
            let on = day(1, 1) + Days::new(entry as u64 % 90);
            let amount = format!("{}.{:02}", entry % 17 + 1, entry % 100);
            ledger
                .append(
                    f,
                    vec![expense(f, entry, (entry % 2 + 1, 1), &amount, on, entry % 4 + 1)],
                )
                .await;
            if entry % 3 == 0 {
                ledger.append(f, vec![recategorised(f, entry, 1, 2, &amount, on)]).await;
            }
            if entry % 6 == 0 {
                ledger
                    .append(f, vec![expense_reversed(f, entry, (entry % 2 + 1, 2), &amount, on)])
                    .await;
            }
        }
    }
}

#[tokio::test]
async fn batched_one_by_one_and_rebuilt_rows_are_the_same() {
    let mut ledger = Ledger::new().await;
    lived(&mut ledger).await;
    ledger.project(5_000).await;
    let batched = ledger.dump().await;
    assert!(batched.len() > 500, "{}", batched.len());
    ledger.assert_balanced().await;
    for size in [1, 7, 64] {
        reset(&ledger.views).await.expect("the views are emptied");
        assert!(ledger.dump().await.is_empty());
        ledger.project(size).await;
        let again = ledger.dump().await;
        for (one, other) in batched.iter().zip(&again) {
            assert_eq!(one, other, "in batches of {size}");
        }
        assert_eq!(batched.len(), again.len(), "in batches of {size}");
    }
    ledger.database.drop().await;
}

#[tokio::test]
async fn a_batch_delivered_twice_changes_nothing() {
    let mut ledger = Ledger::new().await;
    lived(&mut ledger).await;
    ledger.project(50).await;
    let before = ledger.dump().await;
    let records = ledger.records().await;
    let to = records.last().expect("records").position;
    let count = records.len();
    let applied = ledger
        .applier
        .apply(LANE, to, to, records, false)
        .await
        .expect("the batch applies");
    assert_eq!(
        applied,
        Applied {
            events: 0,
            duplicates: count,
            filled: 0,
            parked: 0
        }
    );
    assert_eq!(ledger.dump().await, before);
    ledger.database.drop().await;
}

#[tokio::test]
async fn a_zombie_that_starts_from_an_old_checkpoint_writes_nothing() {
    let mut ledger = Ledger::new().await;
    let f = family(1);
    ledger.append(f, founding(f)).await;
    ledger.project(5_000).await;
    let before = ledger.dump().await;
    ledger.append(f, vec![income(f, 1, "1.00", day(1, 1))]).await;
    let records = ledger.records().await;
    let to = records.last().expect("records").position;
    let refused = ledger.applier.apply(LANE, 3, to, records, false).await;
    assert!(matches!(refused, Err(ApplyError::Zombie { .. })), "{refused:?}");
    assert_eq!(ledger.dump().await, before);
    ledger.project(5_000).await;
    assert_eq!(ledger.value("select sum(balance) from views.accounts").await, "1.0000");
    ledger.database.drop().await;
}

#[tokio::test]
async fn of_two_processes_on_one_lane_only_one_counts() {
    let mut ledger = Ledger::new().await;
    let f = family(1);
    ledger.append(f, founding(f)).await;
    ledger.append(f, vec![income(f, 1, "1.00", day(1, 1))]).await;
    let checkpoint = ledger.applier.checkpoint(LANE).await.expect("a checkpoint");
    let records = ledger.records().await;
    let to = records.last().expect("records").position;
    let one = ledger.applier.apply(LANE, checkpoint, to, records.clone(), false);
    let other = ledger.applier.apply(LANE, checkpoint, to, records, false);
    let (one, other) = tokio::join!(one, other);
    assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
    assert_eq!(ledger.value("select sum(balance) from views.accounts").await, "1.0000");
    ledger.database.drop().await;
}

#[tokio::test]
async fn a_hole_in_the_feed_is_filled_from_the_log() {
    let mut ledger = Ledger::new().await;
    lived(&mut ledger).await;
    let records = ledger.records().await;
    let to = records.last().expect("records").position;
    let count = records.len();
    // Only the last event of each family arrives.
    let mut kept: Vec<_> = records.iter().rev().take(1).cloned().collect();
    kept.extend(
        records
            .iter()
            .rev()
            .find(|record| record.family_id != kept[0].family_id)
            .cloned(),
    );
    let checkpoint = ledger.applier.checkpoint(LANE).await.expect("a checkpoint");
    let applied = ledger
        .applier
        .apply(LANE, checkpoint, to, kept, false)
        .await
        .expect("the batch applies");
    assert_eq!((applied.events, applied.filled), (count, count - 2));
    let filled = ledger.dump().await;
    reset(&ledger.views).await.expect("the views are emptied");
    ledger.project(5_000).await;
    assert_eq!(ledger.dump().await, filled);
    ledger.database.drop().await;
}
