//! Past views in OpenAPI: the views' own descriptions with the bounds of a replay.

use query_api::views::VIEWS;
use serde_json::{Map, Value, json};

use crate::serve::{EVENTS_MAX, path};

/// Path to operations, to be merged into the whole document.
pub fn openapi_paths() -> Value {
    let live = query_api::openapi_paths();
    let mut paths = Map::new();
    for view in VIEWS {
        let operation = past(live[view.path()]["get"].clone(), view.name);
        paths.insert(path(view), json!({"get": operation}));
    }
    Value::Object(paths)
}

fn past(mut operation: Value, name: &str) -> Value {
    operation["operationId"] = json!(format!("as-of-{name}"));
    operation["tags"] = json!(["as of"]);
    let summary = operation["summary"].as_str().unwrap_or_default().to_owned();
    operation["summary"] = json!(format!("{summary}, as it was: replayed from the log"));
    let visibility = operation["description"].as_str().unwrap_or_default().to_owned();
    operation["description"] = json!(format!(
        "{visibility} The role one has now decides what one sees of the past; a teen or child sees nothing of the time before they came. \
         Without `recorded_at` and `family_seq`, everything recorded so far. What the view calls today is the day of that moment in the family's zone."
    ));
    if let Some(parameters) = operation["parameters"].as_array_mut() {
        parameters.retain(|parameter| parameter["name"] != "min_family_seq");
        parameters.extend([
            bound(
                "recorded_at",
                json!({"type": "string", "format": "date-time"}),
                "As of this instant: nothing recorded after it; not with family_seq",
            ),
            bound(
                "family_seq",
                json!({"type": "integer", "format": "int64", "minimum": 0}),
                "As of this event: nothing recorded after it, even of the same command; not with recorded_at",
            ),
        ]);
    }
    if let Some(responses) = operation["responses"].as_object_mut() {
        responses.remove("202");
        for (status, description) in [
            (
                "400",
                "A parameter cannot be read, or family_seq lies beyond the ledger's end".to_owned(),
            ),
            (
                "404",
                "No such family, not yours, or nothing in it yet at that moment".to_owned(),
            ),
            (
                "422",
                format!("The history up to there has more than {EVENTS_MAX} events: use the command line"),
            ),
            ("429", "Too many replays at once: see Retry-After".to_owned()),
        ] {
            let content = json!({"application/problem+json": {"schema": {"type": "object"}}});
            responses.insert(
                status.to_owned(),
                json!({"description": description, "content": content}),
            );
        }
        responses["200"]["headers"]["Kinledger-Chain-Hash"] = json!({
            "schema": {"type": "string"},
            "description": "The chain hash of the last event within the bound: which history this is an answer of"
        });
    }
    operation
}

fn bound(name: &str, schema: Value, description: &str) -> Value {
    json!({"name": name, "in": "query", "required": false, "schema": schema, "description": description})
}
