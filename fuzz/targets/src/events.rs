//! Stored events: whatever stands in the log, decoding answers, and what it reads it can write and read again.

use cqrs_es::persist::{EventUpcaster, SerializedEvent};
use domain::{
    aggregate::{AggregateState, LedgerEvent, LedgerUpcaster, aggregate_type},
    upcasters,
};
use previous_release::event::LedgerEvent as Previous;
use serde_json::{Value, json};

/// One line `aggregate_type/event_type version`, then the payload.
pub fn decode(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (head, payload) = text.split_once('\n').unwrap_or((text, ""));
    let (name, version) = head.split_once(' ').unwrap_or((head, "1"));
    let (aggregate, event_type) = name.split_once('/').unwrap_or(("entry", name));
    let read = LedgerEvent::decode(aggregate, event_type, version, payload);
    let before = Previous::decode(aggregate, event_type, version, payload);
    // What a release has read once is read for ever.
    assert!(
        read.is_ok() || before.is_err(),
        "release {} reads it: {read:?}",
        previous_release::RELEASE
    );
    let Ok(event) = read else { return };
    check(&event);
    if let Ok(before) = before {
        // A field of today that yesterday's release passes over is none of its concern; nothing else may differ.
        assert!(is_within(&json!(before), &json!(event)), "{before:?} is not {event:?}");
    }
}

fn check(event: &LedgerEvent) {
    let written = event.written();
    let again = LedgerEvent::decode(
        event.aggregate_type(),
        written.event_type,
        written.event_version,
        &written.payload,
    );
    assert_eq!(
        again.as_ref(),
        Ok(&event.clone().as_written()),
        "what is read can be written and read again"
    );
    let payload: Value = serde_json::from_str(&written.payload).expect("what is written is JSON");
    assert_eq!(payload["type"], written.event_type, "and reads alone");
    // Folding never panics, whatever came before: rules stand in decisions, not in facts.
    let kind = aggregate_type(event.aggregate_type()).expect("an aggregate of the list");
    let mut state = AggregateState::empty(kind);
    state.apply(event.clone());
    state.apply(event.clone());
}

/// A payload of an earlier version, by number; then JSON. Steps answer to anything, and both ways through them agree.
pub fn upcast(data: &[u8]) {
    let Some((number, payload)) = data.split_first() else {
        return;
    };
    let Ok(text) = std::str::from_utf8(payload) else { return };
    let Some(step) = upcasters::UPCASTERS.get(usize::from(*number) % upcasters::UPCASTERS.len().max(1)) else {
        return;
    };
    let Ok(value) = serde_json::from_str::<Value>(text) else {
        return;
    };
    let (version, lifted) =
        upcasters::upcast(step.event_type, step.from_version, value.clone()).expect("a step is there");
    let kinds = LedgerEvent::kinds();
    let kind = kinds
        .iter()
        .find(|kind| kind.event_type == step.event_type)
        .expect("of a known event");
    assert_eq!(version, kind.event_version, "the last step leads to today's version");
    let stored = SerializedEvent {
        aggregate_id: String::new(),
        sequence: 1,
        aggregate_type: kind.aggregate_type.to_owned(),
        event_type: step.event_type.to_owned(),
        event_version: step.from_version.to_owned(),
        payload: value.clone(),
        metadata: Value::Null,
    };
    assert!(LedgerUpcaster.can_upcast(step.event_type, step.from_version));
    let theirs = LedgerUpcaster.upcast(stored);
    assert_eq!((theirs.event_version.as_str(), &theirs.payload), (version, &lifted));
    let old = LedgerEvent::decode(
        kind.aggregate_type,
        step.event_type,
        step.from_version,
        &value.to_string(),
    );
    let new = LedgerEvent::decode(kind.aggregate_type, step.event_type, version, &lifted.to_string());
    assert_eq!(
        old.as_ref().ok(),
        new.as_ref().ok(),
        "decoding goes through the same steps"
    );
    if let Ok(event) = old {
        check(&event);
    }
}

/// Is everything that `part` says said by `whole`?
fn is_within(part: &Value, whole: &Value) -> bool {
    match (part, whole) {
        (Value::Object(part), Value::Object(whole)) => part
            .iter()
            .all(|(name, value)| whole.get(name).is_some_and(|other| is_within(value, other))),
        (Value::Array(part), Value::Array(whole)) => {
            part.len() == whole.len() && part.iter().zip(whole).all(|(part, whole)| is_within(part, whole))
        }
        (part, whole) => part == whole,
    }
}
