//! cqrs-es and postgres-es: our store under their traits, their reader over our table.

use std::collections::HashMap;

use cqrs_es::{
    AggregateContext, AggregateError, CqrsFramework, EventStore,
    persist::{PersistedEventRepository, PersistedEventStore},
};
use domain::{
    aggregate::{LedgerEvent, LedgerUpcaster, Record},
    family::{Family, FamilyEvent},
};
use event_store::{Lane, cqrs::LedgerStore};
use postgres_es::PostgresEventRepository;

use crate::support::{Fixture, LANE, command, family, member_added};

#[tokio::test]
async fn the_reader_of_postgres_es_folds_our_log_to_the_same_state() {
    let fixture = Fixture::new().await;
    // Another family and another lane beside it.
    fixture.family_of(2, 3).await;
    fixture.log.append(Lane(1), &[command(family(3), 0, 2)]).await.unwrap();
    let id = fixture.family_of(1, 3).await;
    fixture.append(command(id, 3, 2)).await;
    let aggregate_id = id.uuid().to_string();

    let tables = |pool| PostgresEventRepository::new(pool).with_tables("log.events", "log.snapshots");
    let pool = fixture.whole.pool().clone();
    let theirs = PersistedEventStore::<_, Family>::new_event_store(tables(pool.clone()))
        .with_upcasters(vec![Box::new(LedgerUpcaster)]);
    let ours = LedgerStore::<Family>::new(fixture.log.clone(), LANE, id);

    let mut loaded_by_them = theirs.load_aggregate(&aggregate_id).await.unwrap();
    let mut loaded_by_us = ours.load_aggregate(&aggregate_id).await.unwrap();
    assert_eq!(loaded_by_them.current_sequence, 5);
    assert_ne!(loaded_by_us.aggregate(), &Family::default());
    // Their reader has no keys: what it folds is the same but for the texts, which are sealed.
    let names = |family: &mut Family| {
        let mut family = serde_json::to_value(family).unwrap();
        let members = family["members"].as_object_mut().unwrap();
        assert_eq!(members.len(), 5);
        for member in members.values_mut() {
            assert_ne!(member["display_name"].take(), serde_json::Value::Null);
        }
        family
    };
    assert_eq!(names(loaded_by_them.aggregate()), names(loaded_by_us.aggregate()));

    let their_events = theirs.load_events(&aggregate_id).await.unwrap();
    let our_events = ours.load_events(&aggregate_id).await.unwrap();
    assert_eq!(their_events.len(), 5);
    for (theirs, ours) in their_events.iter().zip(&our_events) {
        assert_eq!(
            (&theirs.aggregate_id, theirs.sequence),
            (&ours.aggregate_id, ours.sequence)
        );
        let without_texts = |event: &FamilyEvent| {
            let mut event = LedgerEvent::from(event.clone());
            event.visit_personal(&mut |personal| personal.text.clear());
            event
        };
        assert_eq!(without_texts(&theirs.payload), without_texts(&ours.payload));
        assert_ne!(theirs.payload, ours.payload, "sealed, and opened");
        assert_eq!(theirs.metadata, ours.metadata);
    }
    let raw = tables(pool).get_events::<Family>(&aggregate_id).await.unwrap();
    assert_eq!(
        raw.iter().map(|event| event.sequence).collect::<Vec<_>>(),
        [1, 2, 3, 4, 5]
    );
    fixture.end().await;
}

#[tokio::test]
async fn the_framework_of_cqrs_es_writes_through_the_one_append() {
    let fixture = Fixture::new().await;
    let id = family(1);
    let aggregate_id = id.uuid().to_string();
    let framework = CqrsFramework::new(LedgerStore::<Family>::new(fixture.log.clone(), LANE, id), vec![], ());
    for name in ["Ada", "Béla"] {
        framework
            .execute(&aggregate_id, Record(vec![member_added(name), member_added(name)]))
            .await
            .unwrap();
    }
    let store = LedgerStore::<Family>::new(fixture.log.clone(), LANE, id);
    let envelopes = store.load_events(&aggregate_id).await.unwrap();
    assert_eq!(
        envelopes.iter().map(|envelope| envelope.sequence).collect::<Vec<_>>(),
        [1, 2, 3, 4]
    );
    event_store::verify::verify_family(&fixture.log, LANE, id, |_| ())
        .await
        .unwrap();
    fixture.end().await;
}

#[tokio::test]
async fn of_two_commits_on_the_same_state_one_is_a_conflict() {
    let fixture = Fixture::new().await;
    let id = fixture.family_of(1, 1).await;
    let aggregate_id = id.uuid().to_string();
    let store = LedgerStore::<Family>::new(fixture.log.clone(), LANE, id);
    let first = store.load_aggregate(&aggregate_id).await.unwrap();
    let second = store.load_aggregate(&aggregate_id).await.unwrap();
    let metadata = HashMap::from([("role".to_owned(), "parent".to_owned())]);
    store
        .commit(vec![member_added("Ada")], first, metadata.clone())
        .await
        .unwrap();
    let lost = store.commit(vec![member_added("Béla")], second, metadata).await;
    assert!(matches!(lost, Err(AggregateError::AggregateConflict)), "{lost:?}");
    fixture.end().await;
}
