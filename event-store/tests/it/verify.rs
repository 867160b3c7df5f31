//! Alterations: somebody who owns the database changes it, and the verification names the first bad event.

use domain::id::FamilyId;
use event_store::{
    chain::chain,
    verify::{ChainError, Fault, Progress, verify_family},
};
use sqlx::{Executor, PgPool};

use crate::support::{Fixture, LANE, command, family};

const EVENTS: i64 = 10;

/// What is found in a family of ten events after `tampering`; its statements name the family `:family`.
async fn fault_after(tampering: &str) -> (i64, Fault) {
    let fixture = Fixture::new().await;
    let id = family(1);
    fixture.append(command(id, 0, 4)).await;
    fixture.family_of(2, 2).await;
    fixture.append(command(id, 4, 6)).await;
    verify_family(&fixture.log, LANE, id, |_| ())
        .await
        .expect("it was whole before");
    let superuser = fixture.database.superuser().await;
    tamper(&superuser, id, tampering).await;
    let fault = match verify_family(&fixture.log, LANE, id, |_| ()).await {
        Err(ChainError::Broken {
            family_id,
            family_seq,
            fault,
        }) => {
            assert_eq!(family_id, id);
            (family_seq, fault)
        }
        other => panic!("{tampering}: {other:?}"),
    };
    assert_eq!(
        verify_family(&fixture.log, LANE, family(2), |_| ())
            .await
            .unwrap()
            .events,
        2,
        "a bystander"
    );
    superuser.close().await;
    fixture.end().await;
    fault
}

async fn tamper(superuser: &PgPool, id: FamilyId, tampering: &str) {
    let family_id = format!("family_id = '{}'", id.uuid());
    let statements = format!(
        "set session_replication_role = replica; {}",
        tampering.replace(":family", &family_id)
    );
    superuser.execute(sqlx::raw_sql(&statements)).await.expect(tampering);
}

#[tokio::test]
async fn a_whole_history_is_found_whole_and_its_progress_told() {
    let fixture = Fixture::new().await;
    let id = fixture.family_of(1, 2_500).await;
    let mut heard = Vec::new();
    let verified = verify_family(&fixture.log, LANE, id, |progress| heard.push(progress))
        .await
        .unwrap();
    assert_eq!(verified.events, 2_500);
    assert_eq!(verified.head, fixture.log.load(LANE, id, &[]).await.unwrap().head);
    let expected = [1_000, 2_000, 2_500].map(|verified| Progress { verified, total: 2_500 });
    assert_eq!(heard, expected);
    let nobody = verify_family(&fixture.log, LANE, family(9), |_| ()).await.unwrap();
    assert_eq!(nobody.events, 0);
    fixture.end().await;
}

#[tokio::test]
async fn a_changed_byte_is_found() {
    for (change, fault) in [
        (
            "payload = replace(payload::text, 'Member', 'member')::json",
            Fault::Content,
        ),
        ("payload = (payload::text || ' ')::json", Fault::Content),
        ("metadata = '{}'", Fault::Content),
        ("effective_on = effective_on + 1", Fault::Content),
        ("event_version = '2'", Fault::Content),
        ("command_id = gen_random_uuid()", Fault::Content),
        (
            "leaf_hash = set_byte(leaf_hash, 31, get_byte(leaf_hash, 31) # 1)",
            Fault::Content,
        ),
        (
            "chain_hash = set_byte(chain_hash, 0, get_byte(chain_hash, 0) # 128)",
            Fault::Chain,
        ),
        ("recorded_at = recorded_at + interval '1 microsecond'", Fault::Chain),
        ("position = 1000", Fault::Position),
    ] {
        let found = fault_after(&format!(
            "update log.events set {change} where :family and family_seq = 7"
        ))
        .await;
        // A position too high shows at the event that comes after it.
        let first_bad = if fault == Fault::Position { 8 } else { 7 };
        assert_eq!(found, (first_bad, fault), "{change}");
    }
}

#[tokio::test]
async fn two_events_that_changed_places_are_found() {
    let renumbered = "update log.events set family_seq = 1000 where :family and family_seq = 3; \
         update log.events set family_seq = 3 where :family and family_seq = 4; \
         update log.events set family_seq = 4 where :family and family_seq = 1000";
    assert_eq!(fault_after(renumbered).await, (3, Fault::Chain));
    let payloads = "update log.events e set payload = o.payload from log.events o \
         where e.family_id = o.family_id and e.:family and e.family_seq in (3, 4) and o.family_seq = 7 - e.family_seq";
    assert_eq!(fault_after(payloads).await, (3, Fault::Content));
}

#[tokio::test]
async fn a_deleted_event_is_found_the_last_one_too() {
    for family_seq in [1, 5, EVENTS] {
        let deleted = format!("delete from log.events where :family and family_seq = {family_seq}");
        assert_eq!(fault_after(&deleted).await, (family_seq, Fault::Missing));
    }
    assert_eq!(
        fault_after("delete from log.events where :family").await,
        (1, Fault::Missing)
    );
}

#[tokio::test]
async fn a_deleted_event_is_found_when_the_numbers_are_closed_up() {
    let closed_up = "delete from log.events where :family and family_seq = 5; \
         update log.events set family_seq = family_seq + 100 where :family and family_seq > 5; \
         update log.events set family_seq = family_seq - 101 where :family and family_seq > 5";
    assert_eq!(fault_after(closed_up).await, (5, Fault::Chain));
}

#[tokio::test]
async fn an_inserted_event_is_found() {
    let inserted = "update log.events set family_seq = family_seq + 100 where :family and family_seq > 4; \
         update log.events set family_seq = family_seq - 99 where :family and family_seq > 4; \
         insert into log.events (lane, position, family_id, family_seq, aggregate_type, aggregate_id, sequence, event_type, event_version, payload, \
         metadata, command_id, effective_on, recorded_at, leaf_hash, chain_hash) \
         select lane, 1000, family_id, 5, aggregate_type, aggregate_id, 1000, event_type, event_version, \
         payload, metadata, command_id, effective_on, recorded_at, \
         log.leaf_hash(family_id, aggregate_type, aggregate_id, 1000, event_type, event_version, command_id, effective_on, \
         payload::text, metadata::text), chain_hash from log.events where :family and family_seq = 4";
    assert_eq!(fault_after(inserted).await, (5, Fault::Chain));
}

#[tokio::test]
async fn an_event_added_behind_the_end_with_right_hashes_is_found() {
    let forged = "insert into log.events (lane, position, family_id, family_seq, aggregate_type, aggregate_id, sequence, event_type, event_version, payload, \
         metadata, command_id, effective_on, recorded_at, leaf_hash, chain_hash) \
         select lane, 1000, family_id, 11, aggregate_type, aggregate_id, 11, event_type, \
         event_version, payload, metadata, command_id, effective_on, recorded_at, h.leaf, \
         log.chain_hash(chain_hash, 11, recorded_at, h.leaf) \
         from log.events, lateral (select log.leaf_hash(family_id, aggregate_type, aggregate_id, 11, event_type, event_version, \
         command_id, effective_on, payload::text, metadata::text) as leaf) h where :family and family_seq = 10";
    assert_eq!(fault_after(forged).await, (11, Fault::Unexplained));
}

#[tokio::test]
async fn chain_hashes_of_the_database_are_those_of_rust() {
    let fixture = Fixture::new().await;
    let id = fixture.family_of(1, 3).await;
    let records = fixture.log.read_family(LANE, id, 0, 10).await.unwrap();
    for pair in records.windows(2) {
        let [before, record] = pair else {
            unreachable!("windows of two")
        };
        let made = chain(
            &before.chain_hash,
            record.family_seq,
            record.recorded_at_us(),
            &record.leaf_hash,
        );
        assert_eq!(made, record.chain_hash);
    }
    fixture.end().await;
}
