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
