//! The release before, put before today's events. Its reader is its own code, kept in `schemas/reader` when it was marked.
//!
//! Two things have to hold, so that parts of two releases can run beside each other and an upgrade can be taken back by one
//! release: it reads whatever this release writes, and it refuses loudly what it does not know.

use std::collections::BTreeSet;

use domain::aggregate::LedgerEvent;
use previous_release::event::{DecodeError, LedgerEvent as Previous};
use serde_json::{Map, Value, json};

use super::fixtures::fixture;

/// The release before reads the payload, and understands the same of it: everything it says after reading, the payload says.
/// (A field that this release has added, it passes over.)
///
/// An event whose name it does not know it refuses loudly: the commands that record it are for when every part is upgraded.
pub fn reads_the_same(aggregate_type: &str, event_type: &str, event_version: &str, payload: &str) {
    if !knows(event_type) {
        let refused = Previous::decode(aggregate_type, event_type, event_version, payload);
        assert!(
            matches!(refused, Err(DecodeError::Unknown { .. })),
            "{event_type}: {refused:?}"
        );
        return;
    }
    let read = Previous::decode(aggregate_type, event_type, event_version, payload).unwrap_or_else(|error| {
        panic!(
            "release {} cannot read what this one writes: {error}. A new version is read for one release before it is \
             written: put it into STILL_WRITTEN (domain/src/upcasters.rs)",
            previous_release::RELEASE
        )
    });
    let stored: Value = serde_json::from_str(payload).unwrap();
    let today = LedgerEvent::decode(aggregate_type, event_type, event_version, payload).unwrap();
    let (says, today) = (json!(read), json!(today));
    assert!(
        is_within(&says, &today) && (is_within(&says, &stored) || read.kind().1 != event_version),
        "release {} misreads {event_type} {event_version}: {says} of {stored}",
        previous_release::RELEASE
    );
}

/// Is there an event of this name in the release before?
fn knows(event_type: &str) -> bool {
    Previous::kinds().iter().any(|kind| kind.event_type == event_type)
}

/// Is everything that `part` says said by `whole`? A field that is left out says what its default says.
fn is_within(part: &Value, whole: &Value) -> bool {
    match (part, whole) {
        (Value::Object(part), Value::Object(whole)) => part.iter().all(|(name, value)| match whole.get(name) {
            Some(other) => is_within(value, other),
            None => [json!(null), json!(""), json!(0)].contains(value),
        }),
        (Value::Array(part), Value::Array(whole)) => {
            part.len() == whole.len() && part.iter().zip(whole).all(|(part, whole)| is_within(part, whole))
        }
        (part, whole) => part == whole,
    }
}

fn stored(event_type: &str, version: &str) -> String {
    std::fs::read_to_string(fixture(event_type, version))
        .unwrap()
        .trim_end()
        .to_owned()
}

#[test]
fn the_release_before_reads_every_event_in_the_version_it_is_written_in() {
    for kind in LedgerEvent::kinds() {
        let payload = stored(kind.event_type, kind.event_version);
        let event = LedgerEvent::decode(kind.aggregate_type, kind.event_type, kind.event_version, &payload).unwrap();
        let written = event.written();
        reads_the_same(
            kind.aggregate_type,
            written.event_type,
            written.event_version,
            &written.payload,
        );
    }
}

#[test]
fn the_release_before_refuses_versions_and_names_it_does_not_know() {
    for kind in LedgerEvent::kinds() {
        let payload = stored(kind.event_type, kind.event_version);
        let next = (kind.event_version.parse::<u32>().unwrap() + 1).to_string();
        for (event_type, version) in [
            (kind.event_type, next.as_str()),
            (kind.event_type, "0"),
            ("FromTheFuture", "1"),
        ] {
            let refused = Previous::decode(kind.aggregate_type, event_type, version, &payload);
            assert!(
                matches!(refused, Err(DecodeError::Unknown { .. })),
                "{event_type} {version}: {refused:?}"
            );
        }
        let elsewhere = Previous::decode("from-the-future", kind.event_type, kind.event_version, &payload);
        assert!(matches!(elsewhere, Err(DecodeError::Unknown { .. })), "{elsewhere:?}");
    }
}

/// A field is added everywhere one may be: both releases read the event as if it were not there, or refuse it. Which objects
/// refuse is known, and `contracts --check` asks for a new version before one of them grows.
#[test]
fn a_field_of_tomorrow_is_passed_over_or_refused_and_never_changes_what_is_read() {
    let mut refusing = BTreeSet::new();
    let mut passed_over = 0;
    for kind in LedgerEvent::kinds().iter().filter(|kind| knows(kind.event_type)) {
        let text = stored(kind.event_type, kind.event_version);
        let payload: Value = serde_json::from_str(&text).unwrap();
        let today = |text: &str| LedgerEvent::decode(kind.aggregate_type, kind.event_type, kind.event_version, text);
        let before = |text: &str| Previous::decode(kind.aggregate_type, kind.event_type, kind.event_version, text);
        for pointer in objects(&payload, String::new()) {
            let mut grown = payload.clone();
            let object = grown.pointer_mut(&pointer).and_then(Value::as_object_mut).unwrap();
            let fields: Vec<_> = object.keys().cloned().collect();
            object.insert("of_tomorrow".to_owned(), json!({"a": [1, "b"]}));
            let grown = grown.to_string();
            match (today(&grown), before(&grown)) {
                (Ok(event), Ok(read)) => {
                    assert_eq!(event, today(&text).unwrap());
                    assert_eq!(read, before(&text).unwrap());
                    passed_over += 1;
                }
                (Err(_), Err(_)) => drop(refusing.insert(fields)),
                (today, before) => panic!("{}{pointer}: {today:?} and {before:?}", kind.event_type),
            }
        }
    }
    let money = vec!["amount".to_owned(), "currency".to_owned()];
    let reward = vec!["money".to_owned(), "pay_from".to_owned()];
    assert_eq!(refusing, BTreeSet::from([money, reward]));
    assert!(passed_over > Previous::kinds().len(), "{passed_over}");
}

/// Pointers to every object in a payload.
fn objects(value: &Value, at: String) -> Vec<String> {
    let inner = |(name, value): (String, &Value)| objects(value, format!("{at}/{name}"));
    match value {
        Value::Object(fields) => {
            let fields: &Map<String, Value> = fields;
            let below = fields.iter().flat_map(|(name, value)| inner((name.clone(), value)));
            std::iter::once(at.clone()).chain(below).collect()
        }
        Value::Array(items) => items
            .iter()
            .enumerate()
            .flat_map(|(n, value)| inner((n.to_string(), value)))
            .collect(),
        _ => Vec::new(),
    }
}
