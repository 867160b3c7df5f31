//! What stands between the parts: every record of every topic, and every key of Redis.

use std::time::Duration;

use domain::event::EventKind;
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
    message::{BorrowedMessage, Headers},
};
use redis::Commands;
use serde_json::Value;

use super::searching::Place;
use crate::apart::parts::{brokers, named};

const ANSWERS_WITHIN: Duration = Duration::from_secs(20);
/// What a sealed text begins with.
const SEALED: &str = "sealed:1:";

fn consumer() -> BaseConsumer {
    ClientConfig::new()
        .set("bootstrap.servers", brokers())
        .set("group.id", "kinledger.test.searching")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap()
}

/// Every partition of a topic as a place: of each record its key, value and headers. No record may have gone from the beginning, so
/// this is what the topic ever held.
pub fn topic(name: &str) -> Vec<Place> {
    let mut places = Vec::new();
    each_record(name, |partition, message| {
        let partition = usize::try_from(partition).unwrap();
        while places.len() <= partition {
            places.push((format!("kafka/{name}/{}", places.len()), Vec::new()));
        }
        let bytes = &mut places[partition].1;
        let mut put = |part: Option<&[u8]>| {
            bytes.extend_from_slice(part.unwrap_or_default());
            bytes.push(b'\n');
        };
        put(message.key());
        put(message.payload());
        for header in message.headers().into_iter().flat_map(Headers::iter) {
            put(Some(header.key.as_bytes()));
            put(header.value);
        }
    });
    places
}

/// Says how many records a topic has and how many texts are sealed in them: every text that the catalogue does not declare plain, in
/// every record from the very first.
#[track_caller]
pub fn all_is_sealed(name: &str, catalogue: &[EventKind]) -> (usize, usize) {
    let (mut records, mut sealed) = (0, 0);
    each_record(name, |_, message| {
        records += 1;
        let headers = message.headers().unwrap();
        let header = |name: &str| {
            let found = headers.iter().find(|header| header.key == name).unwrap();
            std::str::from_utf8(found.value.unwrap()).unwrap()
        };
        let kind = catalogue
            .iter()
            .find(|kind| kind.event_type == header("event_type"))
            .unwrap();
        let payload: Value = serde_json::from_slice(message.payload().unwrap()).unwrap();
        for text in kind.texts.iter().filter(|text| text.is_personal()) {
            let read = text.path.split('.').fold(&payload, |within, field| &within[field]);
            let read = read.as_str().unwrap_or_default();
            assert!(
                read.is_empty() || read.starts_with(SEALED),
                "{} {}: {read}",
                kind.event_type,
                text.path
            );
            sealed += usize::from(!read.is_empty());
        }
    });
    (records, sealed)
}

fn each_record(name: &str, mut see: impl FnMut(i32, &BorrowedMessage<'_>)) {
    let consumer = consumer();
    let metadata = consumer.fetch_metadata(Some(name), ANSWERS_WITHIN).unwrap();
    let partitions: Vec<i32> = metadata.topics()[0].partitions().iter().map(|one| one.id()).collect();
    assert!(!partitions.is_empty(), "there is no topic {name}");
    let (mut wanted, mut assigned) = (0, TopicPartitionList::new());
    for partition in partitions {
        let (low, high) = consumer.fetch_watermarks(name, partition, ANSWERS_WITHIN).unwrap();
        assert_eq!(low, 0, "records of partition {partition} are gone");
        assigned
            .add_partition_offset(name, partition, Offset::Beginning)
            .unwrap();
        wanted += high;
    }
    consumer.assign(&assigned).unwrap();
    for read in 0..wanted {
        let message = consumer.poll(ANSWERS_WITHIN);
        let message = message
            .unwrap_or_else(|| panic!("{name}: {read} of {wanted} records"))
            .unwrap();
        see(message.partition(), &message);
    }
}

/// Deletes a topic, as an operator does after a restore to an earlier moment.
pub fn delete_topic(name: &str) {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", brokers())
        .create()
        .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let deleted = runtime
        .block_on(admin.delete_topics(&[name], &AdminOptions::new()))
        .unwrap();
    deleted[0].as_ref().unwrap();
}

/// Every key of Redis with what it holds, whoever wrote it.
pub fn redis() -> Vec<Place> {
    let client = redis::Client::open(named("KINLEDGER_TEST_REDIS_URL", "Redis")).unwrap();
    let mut connection = client.get_connection().unwrap();
    let keys: Vec<Vec<u8>> = connection.scan().unwrap().map(Result::unwrap).collect();
    let mut places = Vec::new();
    for key in keys {
        let kind: String = redis::cmd("TYPE").arg(&key).query(&mut connection).unwrap();
        let whole: &[&str] = match kind.as_str() {
            "string" => &["GET"],
            "hash" => &["HGETALL"],
            "list" => &["LRANGE", "0", "-1"],
            "set" => &["SMEMBERS"],
            "zset" => &["ZRANGE", "0", "-1"],
            "stream" => &["XRANGE", "-", "+"],
            // It has expired meanwhile.
            "none" => continue,
            other => panic!("a key of Redis is of a kind nobody looked for: {other}"),
        };
        let mut ask = redis::cmd(whole[0]);
        ask.arg(&key).arg(&whole[1..]);
        let mut bytes = key.clone();
        bytes.push(b'\n');
        gather(&ask.query(&mut connection).unwrap(), &mut bytes);
        places.push((format!("redis/{}", String::from_utf8_lossy(&key)), bytes));
    }
    places
}

fn gather(value: &redis::Value, bytes: &mut Vec<u8>) {
    match value {
        redis::Value::BulkString(text) => bytes.extend_from_slice(text),
        redis::Value::Array(values) | redis::Value::Set(values) => values.iter().for_each(|value| gather(value, bytes)),
        redis::Value::Map(pairs) => pairs.iter().for_each(|(key, value)| {
            gather(key, bytes);
            gather(value, bytes);
        }),
        other => bytes.extend_from_slice(format!("{other:?}").as_bytes()),
    }
    bytes.push(b'\n');
}
