//! The write side's part of the OpenAPI document, generated from the list of commands.

use domain::{
    access,
    commands::{COMMANDS, CommandKind},
};
use schemars::schema_for;
use serde_json::{Map, Value, json};

use crate::receipt::Receipt;

/// Paths and operations of all commands: path → operations.
pub fn openapi_paths() -> Value {
    let mut paths = Map::new();
    for command in COMMANDS {
        paths.insert(
            format!("/api/v1/families/{{family_id}}/commands/{}", command.name),
            json!({"post": operation(command)}),
        );
    }
    paths.insert("/api/v1/families".to_owned(), json!({"post": found_family()}));
    paths.insert(
        "/api/v1/families/{family_id}/commands".to_owned(),
        json!({"post": batch()}),
    );
    paths.insert(
        "/api/v1/families/{family_id}/commands/{command_id}".to_owned(),
        json!({"get": outcome()}),
    );
    paths.insert(
        "/api/v1/commands".to_owned(),
        json!({"get": {
            "tags": ["commands"], "operationId": "list-commands", "summary": "Every command with its body's schema",
            "description": "Who may call: everybody.", "security": [],
            "responses": {"200": {"description": "The list", "content": {"application/json": {"schema": {"type": "object"}}}}}
        }}),
    );
    Value::Object(paths)
}

fn operation(command: &CommandKind) -> Value {
    json!({
        "tags": ["commands"],
        "operationId": command.name,
        "summary": command.summary,
        "description": command.access.who(),
        "parameters": [family_id(), idempotency_key(), if_match()],
        "requestBody": {"required": true, "content": {"application/json": {"schema": inlined((command.schema)())}}},
        "responses": answers(200, "Recorded, durable")
    })
}

fn found_family() -> Value {
    let schema = COMMANDS
        .iter()
        .find(|command| command.name == "create-family")
        .map(|command| inlined((command.schema)()));
    json!({
        "tags": ["commands"],
        "operationId": "found-family",
        "summary": "Found a family; its id is made for you",
        "description": "Who may call: any signed-in person. The same as create-family at an id of your own making.",
        "parameters": [idempotency_key()],
        "requestBody": {"required": true, "content": {"application/json": {"schema": schema}}},
        "responses": answers(201, "Recorded, durable")
    })
}

fn batch() -> Value {
    json!({
        "tags": ["commands"],
        "operationId": "batch",
        "summary": "Up to 1,000 commands, a verdict each, in order",
        "description": access::route("batch").who(),
        "parameters": [family_id()],
        "requestBody": {"required": true, "content": {"application/json": {"schema": {
            "type": "array", "minItems": 1, "maxItems": 1000,
            "items": {"type": "object", "required": ["name", "idempotency_key", "body"], "additionalProperties": false, "properties": {
                "name": {"type": "string"}, "idempotency_key": {"type": "string", "format": "uuid"}, "body": {"type": "object"}
            }}
        }}}},
        "responses": {
            "200": {"description": "Verdicts in order", "content": {"application/json": {"schema": {"type": "object", "properties": {
                "results": {"type": "array", "items": {"type": "object", "properties": {
                    "status": {"type": "integer"}, "receipt": inlined(schema_for!(Receipt)), "problem": {"$ref": "#/components/schemas/Problem"}
                }}}
            }}}}},
            "400": problem("Malformed"), "401": problem("Not signed in"), "404": problem("What is no family's id"), "408": problem("The body did not arrive in time"),
            "413": problem("Too large"), "429": problem("Too many large bodies just now: see Retry-After")
        }
    })
}

fn outcome() -> Value {
    json!({
        "tags": ["commands"],
        "operationId": "command-outcome",
        "summary": "What became of a command whose answer was lost",
        "description": access::route("receipt").who(),
        "parameters": [family_id(), {"name": "command_id", "in": "path", "required": true, "schema": {"type": "string"}, "description": "Its Idempotency-Key"}],
        "responses": answers(200, "It was recorded")
    })
}

fn answers(success: u16, description: &str) -> Value {
    let mut answers = json!({
        "400": problem("Malformed body or header"),
        "401": problem("Not signed in"),
        "403": problem("The role may not, or a fresh proof is asked for"),
        "404": problem("No such family, or not yours; no such thing in it"),
        "408": problem("The body did not arrive in time"),
        "409": problem("Lost race, or a key used for another request"),
        "412": problem("The ledger has moved on from If-Match"),
        "413": problem("The body is too large"),
        "422": problem("Refused by a rule of the ledger"),
        "429": problem("Too fast: see Retry-After"),
        "503": problem("Not now: see Retry-After, and use the same key again")
    });
    answers[success.to_string()] = json!({
        "description": description,
        "content": {"application/json": {"schema": inlined(schema_for!(Receipt))}}
    });
    answers
}

fn problem(description: &str) -> Value {
    json!({"description": description, "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}})
}

fn family_id() -> Value {
    json!({"name": "family_id", "in": "path", "required": true, "schema": {"type": "string"}, "description": "fam_… or the bare UUID"})
}

fn idempotency_key() -> Value {
    json!({"name": "Idempotency-Key", "in": "header", "required": true, "schema": {"type": "string", "format": "uuid"},
           "description": "A fresh UUID, best of version 7, whose places in the log lie beside one another; repeat it to repeat the request safely"})
}

fn if_match() -> Value {
    json!({"name": "If-Match", "in": "header", "required": false, "schema": {"type": "string"},
           "description": "A family_seq in quotes: decline with 412 when the ledger has moved on"})
}

/// A schema that stands alone: references into its own definitions are replaced by what they name.
fn inlined(schema: schemars::Schema) -> Value {
    let mut value = schema.to_value();
    let definitions = value.get_mut("$defs").map(Value::take).unwrap_or(Value::Null);
    if let Some(object) = value.as_object_mut() {
        object.remove("$defs");
        object.remove("$schema");
    }
    resolve(&mut value, &definitions, 0);
    value
}

fn resolve(value: &mut Value, definitions: &Value, depth: usize) {
    // Our types do not nest in themselves; the bound is for the one that some day might.
    if depth > 32 {
        return;
    }
    match value {
        Value::Object(object) => {
            let name = object
                .get("$ref")
                .and_then(Value::as_str)
                .and_then(|path| path.strip_prefix("#/$defs/"))
                .map(str::to_owned);
            if let Some(mut found) = name.and_then(|name| definitions.get(&name).cloned()) {
                object.remove("$ref");
                if let Value::Object(found) = &mut found {
                    for (key, value) in std::mem::take(object) {
                        found.insert(key, value);
                    }
                }
                *value = found;
                resolve(value, definitions, depth + 1);
                return;
            }
            for inner in object.values_mut() {
                resolve(inner, definitions, depth + 1);
            }
        }
        Value::Array(items) => {
            for item in items {
                resolve(item, definitions, depth + 1);
            }
        }
        _ => {}
    }
}
