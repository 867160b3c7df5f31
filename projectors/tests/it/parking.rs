//! An event that cannot be folded parks its family, and nobody else.

use domain::{
    aggregate::LedgerEvent,
    ledger_account::{AccountClosed, LedgerAccountEvent},
};
use event_store::{Record, chain};
use projectors::parking::{RetryError, retry_parked};

use crate::{given::*, ledger::*};

/// Closing an account that was never opened: no rule lets this into a log, so no row is there for it.
pub fn poison(f: domain::id::FamilyId) -> Given {
    let closed = AccountClosed {
        account_id: account(f, 99),
    };
    (
        account(f, 99).uuid(),
        LedgerEvent::LedgerAccount(LedgerAccountEvent::AccountClosed(closed)),
        day(2, 2),
    )
}

#[tokio::test]
async fn a_poisoned_event_parks_its_family_at_that_event_and_others_go_on() {
    let mut ledger = Ledger::new().await;
    let (sick, well) = (family(1), family(2));
    ledger.append(sick, founding(sick)).await;
    ledger.append(well, founding(well)).await;
    ledger
        .append(
            sick,
            vec![
                income(sick, 1, "1.00", day(1, 1)),
                poison(sick),
                income(sick, 2, "2.00", day(1, 1)),
            ],
        )
        .await;
    ledger.append(well, vec![income(well, 1, "5.00", day(1, 1))]).await;
    let checkpoint = ledger.applier.checkpoint(LANE).await.expect("a checkpoint");
    let records = ledger.records().await;
    let to = records.last().expect("records").position;
    let failed = ledger.applier.apply(LANE, checkpoint, to, records.clone(), false).await;
    assert!(
        failed.as_ref().is_err_and(|error| error.is_about_events()),
        "{failed:?}"
    );
    let applied = ledger
        .applier
        .apply(LANE, checkpoint, to, records, true)
        .await
        .expect("the batch applies");
    assert_eq!((applied.events, applied.parked), (11 + 1 + 11 + 1, 1));
    let parked = "select family_seq || ' ' || event_type || ' ' || error from views.parked_families";
    let said = ledger.value(parked).await;
    assert!(
        said.starts_with("13 AccountClosed projection accounts failed: an event is about an account"),
        "{said}"
    );
    assert_eq!(
        ledger
            .value("select payload like '%AccountClosed%' from views.parked_families")
            .await,
        "true"
    );
    let balance = |f: domain::id::FamilyId| {
        format!(
            "select sum(balance) from views.accounts where family_id = '{}'",
            f.uuid()
        )
    };
    assert_eq!(ledger.value(&balance(sick)).await, "1.0000");
    assert_eq!(ledger.value(&balance(well)).await, "5.0000");

    // Later events of the parked family wait; those of others do not.
    ledger.append(sick, vec![income(sick, 3, "3.00", day(1, 1))]).await;
    ledger.append(well, vec![income(well, 2, "6.00", day(1, 1))]).await;
    ledger.project(5_000).await;
    assert_eq!(ledger.value(&balance(sick)).await, "1.0000");
    assert_eq!(ledger.value(&balance(well)).await, "11.0000");
    let refused = retry_parked(&ledger.applier, sick).await;
    assert!(
        matches!(refused, Err(RetryError::Still { family_seq: 13, .. })),
        "{refused:?}"
    );
    assert_eq!(ledger.value("select count(*) from views.parked_families").await, "1");
    ledger.database.drop().await;
}

async fn delivered_altered(alter: impl Fn(&mut Record)) {
    let mut ledger = Ledger::new().await;
    let (f, other) = (family(1), family(2));
    ledger.append(f, founding(f)).await;
    ledger
        .append(
            f,
            vec![income(f, 1, "1.00", day(1, 1)), income(f, 2, "2.00", day(1, 1))],
        )
        .await;
    ledger.append(other, founding(other)).await;
    let mut records = ledger.records().await;
    alter(&mut records[11]);
    let to = records.last().expect("records").position;
    let checkpoint = ledger.applier.checkpoint(LANE).await.expect("a checkpoint");
    let applied = ledger
        .applier
        .apply(LANE, checkpoint, to, records, false)
        .await
        .expect("the batch applies");
    assert_eq!((applied.events, applied.parked), (22, 1));
    assert_eq!(ledger.value("select family_seq from views.parked_families").await, "12");
    assert_eq!(ledger.value("select count(*) from views.entries").await, "0");

    // The log itself is sound, so taking the family up again from there brings everything, what came later included.
    ledger.append(f, vec![income(f, 3, "3.00", day(1, 1))]).await;
    ledger.project(5_000).await;
    let retried = retry_parked(&ledger.applier, f).await.expect("the family is taken up");
    assert_eq!((retried.events, retried.family_seq), (3, 14));
    assert_eq!(ledger.value("select sum(balance) from views.accounts").await, "6.0000");
    assert_eq!(ledger.value("select count(*) from views.parked_families").await, "0");
    assert!(matches!(
        retry_parked(&ledger.applier, f).await,
        Err(RetryError::NotParked)
    ));
    ledger.append(f, vec![income(f, 4, "4.00", day(1, 1))]).await;
    ledger.project(5_000).await;
    assert_eq!(ledger.value("select sum(balance) from views.accounts").await, "10.0000");
    ledger.database.drop().await;
}

#[tokio::test]
async fn a_record_altered_on_the_way_parks_its_family_until_the_log_is_asked() {
    delivered_altered(|record| record.payload = record.payload.replace("1.00", "9.00")).await;
}

#[tokio::test]
async fn an_event_of_an_unknown_name_is_parked_with_its_bytes() {
    delivered_altered(|record| {
        // Hashed as it should be, so that only its name is in the way.
        let previous_chain = record.chain_hash;
        record.event_type = "FromTheFuture".to_owned();
        record.leaf_hash = chain::leaf_of(record);
        assert_eq!(previous_chain, record.chain_hash);
    })
    .await;
}

/// Changes an event's stored bytes, as no role may: as the owner, past the trigger.
async fn store(ledger: &Ledger, f: domain::id::FamilyId, family_seq: i64, payload: &str) -> String {
    let hands = ledger.database.superuser().await;
    let mut tx = hands.begin().await.expect("a transaction");
    sqlx::query("set local session_replication_role = replica")
        .execute(&mut *tx)
        .await
        .expect("triggers are off");
    let was: String =
        sqlx::query_scalar("select payload::text from log.events where family_id = $1 and family_seq = $2")
            .bind(f.uuid())
            .bind(family_seq)
            .fetch_one(&mut *tx)
            .await
            .expect("the event");
    sqlx::query("update log.events set payload = $3::json where family_id = $1 and family_seq = $2")
        .bind(f.uuid())
        .bind(family_seq)
        .bind(payload)
        .execute(&mut *tx)
        .await
        .expect("the bytes are changed");
    tx.commit().await.expect("a commit");
    hands.close().await;
    was
}

#[tokio::test]
async fn a_family_is_taken_up_as_far_as_its_events_fold_and_whole_once_the_bytes_are_right_again() {
    let mut ledger = Ledger::new().await;
    let f = family(1);
    ledger.append(f, founding(f)).await;
    let incomes = (1..=4).map(|number| income(f, number, "1.00", day(1, 1))).collect();
    ledger.append(f, incomes).await;
    let first = store(&ledger, f, 12, "{\"damaged\": 1}").await;
    let third = store(&ledger, f, 14, "{\"damaged\": 2}").await;
    ledger.project_isolating(5_000).await;
    let parked = "select string_agg(family_seq::text, ' ') from views.parked_families";
    let balance = "select sum(balance) from views.accounts";
    assert_eq!(
        (
            ledger.value(parked).await.as_str(),
            ledger.value(balance).await.as_str()
        ),
        ("12", "0.0000")
    );
    // Nothing mended: it stays where it is.
    let refused = retry_parked(&ledger.applier, f).await;
    assert!(
        matches!(
            refused,
            Err(RetryError::Still {
                family_seq: 12,
                events: 0,
                ..
            })
        ),
        "{refused:?}"
    );
    // Half mended: what folds is folded, and it is parked at the next.
    store(&ledger, f, 12, &first).await;
    let refused = retry_parked(&ledger.applier, f).await;
    assert!(
        matches!(
            refused,
            Err(RetryError::Still {
                family_seq: 14,
                events: 2,
                ..
            })
        ),
        "{refused:?}"
    );
    assert_eq!(
        (
            ledger.value(parked).await.as_str(),
            ledger.value(balance).await.as_str()
        ),
        ("14", "2.0000")
    );
    let cause = ledger.value("select error from views.parked_families").await;
    assert_eq!(cause, "the chain hash does not follow from the event before");
    // Mended: all of it, once.
    store(&ledger, f, 14, &third).await;
    let retried = retry_parked(&ledger.applier, f).await.expect("the family is taken up");
    assert_eq!((retried.events, retried.family_seq), (2, 15));
    assert_eq!(
        (
            ledger.value(parked).await.as_str(),
            ledger.value(balance).await.as_str()
        ),
        ("null", "4.0000")
    );
    ledger.project_isolating(5_000).await;
    assert_eq!(ledger.value(balance).await, "4.0000");
    ledger.database.drop().await;
}

#[tokio::test]
async fn taking_up_a_family_while_its_lane_is_folded_loses_and_doubles_nothing() {
    let mut ledger = Ledger::new().await;
    let f = family(1);
    ledger.append(f, founding(f)).await;
    ledger.append(f, vec![income(f, 1, "1.00", day(1, 1))]).await;
    let right = store(&ledger, f, 12, "{}").await;
    ledger.project_isolating(5_000).await;
    store(&ledger, f, 12, &right).await;
    for number in 2..=60 {
        ledger.append(f, vec![income(f, number, "1.00", day(1, 1))]).await;
    }
    let (_, retried) = tokio::join!(ledger.project_isolating(3), async {
        // Somewhere in the middle of the batches.
        while ledger.applier.checkpoint(LANE).await.expect("a checkpoint") < 30 {
            tokio::task::yield_now().await;
        }
        retry_parked(&ledger.applier, f).await
    });
    let retried = retried.expect("the family is taken up");
    assert!(retried.events >= 19 && retried.family_seq < 71, "{retried:?}");
    assert_eq!(ledger.value("select sum(balance) from views.accounts").await, "60.0000");
    assert_eq!(ledger.value("select family_seq from views.family_heads").await, "71");
    assert_eq!(ledger.value("select count(*) from views.parked_families").await, "0");
    ledger.database.drop().await;
}
