//! A process that lives while the database under it is restored, and another history grows to the length of the one it remembers.

use command_api::lanes::LaneSettings;
use domain::id::FamilyId;
use serde_json::json;
use service_kit::testing::TestDatabase;

use super::support::{Household, WriteSide};

async fn side(database: &TestDatabase) -> WriteSide {
    WriteSide::start(&database.url(), 4, LaneSettings::default()).await
}

/// Books an expense: its entry, and where the family ends then.
async fn spend(side: &WriteSide, home: &Household, amount: &str) -> (String, i64) {
    let booked = side.execute(home.id, "add-expense", &home.expense(amount)).await;
    let booked = booked.expect("accepted");
    (booked.events[0].aggregate_id.clone(), booked.family_seq)
}

/// The database as a backup had it, when the family ended with this event.
async fn restore(database: &TestDatabase, family: FamilyId, head: i64) {
    let owner = database.superuser().await;
    let mut tx = owner.begin().await.unwrap();
    sqlx::raw_sql("set local session_replication_role = replica")
        .execute(&mut *tx)
        .await
        .unwrap();
    for statement in [
        "delete from log.events where family_id = $1 and family_seq > $2",
        "delete from log.commands where family_id = $1 and first_family_seq > $2",
    ] {
        let gone = sqlx::query(statement)
            .bind(family.uuid())
            .bind(head)
            .execute(&mut *tx)
            .await;
        assert!(gone.unwrap().rows_affected() > 0, "something was lost");
    }
    tx.commit().await.unwrap();
    owner.close().await;
}

/// Restores, and lets another process write until the family is as long as it was.
async fn restore_and_regrow(database: &TestDatabase, home: &Household, from: i64, to: i64) {
    restore(database, home.id, from).await;
    let other = side(database).await;
    let mut head = from;
    while head < to {
        (_, head) = spend(&other, home, "2.00").await;
    }
    assert_eq!(head, to, "another history of the same length");
}

#[tokio::test]
async fn what_a_restore_took_away_is_not_decided_on() {
    let database = TestDatabase::create().await;
    let living = side(&database).await;
    let home = living.found().await;
    let (_, kept) = spend(&living, &home, "1.00").await;
    let (lost, head) = spend(&living, &home, "1.00").await;
    restore_and_regrow(&database, &home, kept, head).await;

    // In memory the entry is there to be reversed; in the ledger it is not.
    let reversal = living
        .execute(home.id, "reverse-entry", &json!({"entry_id": lost}))
        .await;
    let refused = reversal.expect_err("there is no such entry");
    assert!(refused.status().is_client_error(), "{}", refused.body());
    let stored: i64 = sqlx::query_scalar("select max(family_seq) from log.events where family_id = $1")
        .bind(home.id.uuid())
        .fetch_one(&mut *living.log.about(home.id).await.unwrap())
        .await
        .unwrap();
    assert_eq!(stored, head, "nothing was written");
    let (_, next) = spend(&living, &home, "1.00").await;
    assert_eq!(next, head + 1, "the process goes on with the ledger there is");
    database.drop().await;
}

#[tokio::test]
async fn what_a_restore_took_away_refuses_nothing() {
    let database = TestDatabase::create().await;
    let living = side(&database).await;
    let home = living.found().await;
    let (entry, kept) = spend(&living, &home, "1.00").await;
    let reverse = json!({"entry_id": entry});
    let reversed = living
        .execute(home.id, "reverse-entry", &reverse)
        .await
        .expect("accepted");
    restore_and_regrow(&database, &home, kept, reversed.family_seq).await;

    // In memory the entry is reversed already; in the ledger it never was.
    let reversal = living.execute(home.id, "reverse-entry", &reverse).await;
    let head = reversal.expect("the entry stands").family_seq;
    assert!(head > reversed.family_seq);
    database.drop().await;
}
