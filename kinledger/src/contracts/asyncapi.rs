//! The Kafka topic and its messages, as AsyncAPI 3. Messages of every version: a topic holds what was written in earlier ones.

use serde_json::{Map, Value, json};

use super::versions;

/// The topic events are published to.
const TOPIC: &str = "kinledger.events.v1";

/// The topic and its messages, as AsyncAPI 3.
pub fn document() -> Value {
    let mut messages = Map::new();
    let mut references = Map::new();
    for version in versions() {
        let name = format!("{}.v{}", version.event_type, version.event_version);
        messages.insert(
            name.clone(),
            json!({
                "name": name,
                "contentType": "application/json",
                "headers": {"$ref": "#/components/schemas/Headers"},
                "payload": {"$ref": format!("events/{}.json", version.name())},
                "bindings": {"kafka": {"key": {"type": "string", "description": "The family's id"}}}
            }),
        );
        references.insert(name.clone(), json!({"$ref": format!("#/components/messages/{name}")}));
    }
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Kinledger events",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Every event of every family, in the order of its lane. The value is the payload exactly as stored and hashed; \
                            CloudEvents binary mode. Delivery is at least once: skip what you have by family and family_seq."
        },
        "channels": {"events": {
            "address": TOPIC,
            "messages": references,
            "bindings": {"kafka": {"topic": TOPIC}}
        }},
        "operations": {"publishEvents": {"action": "send", "channel": {"$ref": "#/channels/events"}}},
        "components": {
            "messages": messages,
            "schemas": {"Headers": {
                "type": "object",
                "description": "Kafka headers, all of them text.",
                "properties": event_store::relay::HEADERS.iter().map(|name| ((*name).to_owned(), json!({"type": "string"}))).collect::<Map<_, _>>()
            }}
        }
    })
}
