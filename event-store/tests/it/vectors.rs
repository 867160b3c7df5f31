//! The hashes of `tests/vectors/chain.json`, made elsewhere: Rust and SQL come to the same bytes.

use chrono::{DateTime, NaiveDate};
use event_store::chain::{Leaf, chain};
use serde::Deserialize;
use sqlx::Row;
use uuid::Uuid;

use crate::support::Fixture;

#[derive(Deserialize)]
struct Vector {
    family_id: Uuid,
    aggregate_type: String,
    aggregate_id: String,
    sequence: i64,
    event_type: String,
    event_version: String,
    command_id: Uuid,
    effective_on: NaiveDate,
    payload: String,
    metadata: String,
    previous: String,
    family_seq: i64,
    recorded_at_us: i64,
    leaf_hash: String,
    chain_hash: String,
}

fn vectors() -> Vec<Vector> {
    let vectors: Vec<Vector> = serde_json::from_str(include_str!("../vectors/chain.json")).unwrap();
    assert!(vectors.len() >= 5);
    vectors
}

fn bytes(hex_text: &str) -> [u8; 32] {
    hex::decode(hex_text).unwrap().try_into().unwrap()
}

#[test]
fn rust_makes_the_hashes_of_the_vectors() {
    for vector in vectors() {
        let leaf = Leaf {
            family_id: vector.family_id,
            aggregate_type: &vector.aggregate_type,
            aggregate_id: &vector.aggregate_id,
            sequence: vector.sequence,
            event_type: &vector.event_type,
            event_version: &vector.event_version,
            command_id: vector.command_id,
            effective_on: vector.effective_on,
            payload: &vector.payload,
            metadata: &vector.metadata,
        };
        assert_eq!(hex::encode(leaf.hash()), vector.leaf_hash);
        let hash = chain(
            &bytes(&vector.previous),
            vector.family_seq,
            vector.recorded_at_us,
            &leaf.hash(),
        );
        assert_eq!(hex::encode(hash), vector.chain_hash);
    }
}

#[tokio::test]
async fn sql_makes_the_hashes_of_the_vectors() {
    let fixture = Fixture::new().await;
    for vector in vectors() {
        let row = sqlx::query(
            "with leaf as (select log.leaf_hash($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) as hash) \
             select hash as leaf, log.chain_hash($11, $12, $13, hash) as chain from leaf",
        )
        .bind(vector.family_id)
        .bind(&vector.aggregate_type)
        .bind(&vector.aggregate_id)
        .bind(vector.sequence)
        .bind(&vector.event_type)
        .bind(&vector.event_version)
        .bind(vector.command_id)
        .bind(vector.effective_on)
        .bind(&vector.payload)
        .bind(&vector.metadata)
        .bind(bytes(&vector.previous))
        .bind(vector.family_seq)
        .bind(DateTime::from_timestamp_micros(vector.recorded_at_us).unwrap())
        .fetch_one(fixture.log.pool())
        .await
        .unwrap();
        assert_eq!(hex::encode(row.get::<Vec<u8>, _>("leaf")), vector.leaf_hash);
        assert_eq!(hex::encode(row.get::<Vec<u8>, _>("chain")), vector.chain_hash);
    }
    fixture.end().await;
}
