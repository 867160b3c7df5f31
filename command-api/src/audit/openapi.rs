//! The auditor's routes as OpenAPI paths.

use domain::access;
use event_store::export::FORMATS;
use serde_json::{Value, json};

use super::events::{LIMIT_DEFAULT, LIMIT_MAX};

/// Path to operations, to be merged into the whole document.
pub fn openapi_paths() -> Value {
    json!({
        "/api/v1/families/{family_id}/audit/events": {"get": operation(
            "audit-events",
            "The log itself: every event with its exact payload, numbers and hashes",
            vec![
                parameter("after_family_seq", json!({"type": "integer", "minimum": 0, "default": 0}), "Events after this number"),
                parameter("limit", json!({"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT}), "Events at most"),
            ],
            json!({"application/json": {"schema": events_schema()}}),
        )},
        "/api/v1/families/{family_id}/audit/as-of": {"get": operation(
            "audit-as-of",
            "What stood in the books at any moment, replayed from the log",
            bounds(),
            json!({"application/json": {"schema": statement_schema()}}),
        )},
        "/api/v1/families/{family_id}/audit/export": {"get": export()},
        "/api/v1/families/{family_id}/audit/verify": {"get": operation(
            "audit-verify",
            "Was anything altered? Every hash of the chain made again",
            vec![],
            json!({"application/json": {"schema": verdict_schema()}}),
        )},
        "/api/v1/families/{family_id}/audit/checkpoint": {"get": operation(
            "audit-checkpoint",
            "The newest signed checkpoint of the family's lane: a note as c2sp.org/tlog-checkpoint has it",
            vec![parameter("size", json!({"type": "integer", "minimum": 1}), "The checkpoint for so many events of the lane")],
            json!({"text/plain": {"schema": {"type": "string"}}}),
        )},
        "/api/v1/families/{family_id}/audit/proof/inclusion": {"get": operation(
            "audit-proof-inclusion",
            "Proof that an event is under a checkpoint (RFC 6962, 2.1.1)",
            vec![
                parameter("family_seq", json!({"type": "integer", "minimum": 1}), "The event; the last sealed one when absent"),
                parameter("size", json!({"type": "integer", "minimum": 1}), "The checkpoint; the newest when absent"),
            ],
            json!({"application/json": {"schema": proof_schema(&["family_seq", "position", "tree_leaf", "hashes", "checkpoint"])}}),
        )},
        "/api/v1/families/{family_id}/audit/proof/consistency": {"get": operation(
            "audit-proof-consistency",
            "Proof that one checkpoint's log begins another's (RFC 6962, 2.1.2)",
            vec![
                parameter("from", json!({"type": "integer", "minimum": 1}), "The earlier checkpoint; the later one when absent"),
                parameter("to", json!({"type": "integer", "minimum": 1}), "The later checkpoint; the newest when absent"),
            ],
            json!({"application/json": {"schema": proof_schema(&["from", "to", "hashes", "from_checkpoint", "to_checkpoint"])}}),
        )},
        "/api/v1/families/{family_id}/audit/proof/head": {"get": operation(
            "audit-proof-head",
            "Proof of where the family ended at the newest checkpoint",
            vec![],
            json!({"application/json": {"schema": proof_schema(&["family_seq", "position", "chain_hash", "siblings", "checkpoint"])}}),
        )},
        "/api/v1/families/{family_id}/audit/pack": {"get": operation(
            "audit-pack",
            "The auditor's pack: events, proofs, checkpoints and journals, to be verified without us; streamed",
            vec![],
            json!({"application/zip": {"schema": {"type": "string", "format": "binary"}}}),
        )},
        "/.well-known/kinledger-log-keys": {"get": {
            "tags": ["audit"],
            "operationId": "log-keys",
            "summary": "The public keys that checkpoints are signed with",
            "description": "Who may call: anybody.",
            "security": [],
            "responses": {
                "200": {"description": "The newest last", "content": {"application/json": {"schema": proof_schema(&["log", "keys"])}}},
                "503": problem("Not now: see Retry-After")
            }
        }},
    })
}

fn export() -> Value {
    let names: Vec<&str> = FORMATS.iter().map(|format| format.name()).collect();
    let content: serde_json::Map<String, Value> = FORMATS
        .iter()
        .map(|format| (format.content_type().to_owned(), json!({"schema": {"type": "string"}})))
        .collect();
    let mut parameters = vec![json!({
        "name": "format", "in": "query", "required": true, "schema": {"type": "string", "enum": names},
        "description": "ndjson is the log itself; hledger and beancount files assert every balance at their end"
    })];
    parameters.extend(bounds());
    operation(
        "audit-export",
        "The whole ledger as a file, streamed",
        parameters,
        Value::Object(content),
    )
}

/// The matrix calls an operation as the document does, without what all of them begin with.
fn row_of(id: &str) -> &str {
    match id.trim_start_matches("audit-") {
        "as-of" => "statement",
        name => name,
    }
}

fn operation(id: &str, summary: &str, parameters: Vec<Value>, content: Value) -> Value {
    let mut all = vec![json!({
        "name": "family_id", "in": "path", "required": true, "schema": {"type": "string"}, "description": "fam_… or the bare UUID"
    })];
    all.extend(parameters);
    json!({
        "tags": ["audit"],
        "operationId": id,
        "summary": summary,
        "description": access::route(row_of(id)).who(),
        "parameters": all,
        "responses": {
            "200": {"description": "As asked", "content": content},
            "400": problem("A parameter cannot be read, or lies beyond the ledger's end"),
            "401": problem("Not signed in"),
            "403": problem("The role may not"),
            "404": problem("No such family, or not yours"),
            "429": problem("Too many replays at once: see Retry-After"),
            "503": problem("Not now: see Retry-After")
        }
    })
}

fn problem(description: &str) -> Value {
    json!({"description": description, "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}})
}

fn parameter(name: &str, schema: Value, description: &str) -> Value {
    json!({"name": name, "in": "query", "required": false, "schema": schema, "description": description})
}

fn bounds() -> Vec<Value> {
    vec![
        parameter(
            "recorded_at",
            json!({"type": "string", "format": "date-time"}),
            "Nothing recorded after this instant; not with family_seq",
        ),
        parameter(
            "family_seq",
            json!({"type": "integer", "minimum": 0}),
            "Nothing recorded after this event; not with recorded_at",
        ),
        parameter(
            "effective_on",
            json!({"type": "string", "format": "date"}),
            "No posting of a later day; goes with either of the others",
        ),
    ]
}

fn events_schema() -> Value {
    json!({"type": "object", "required": ["events", "next_after_family_seq"], "properties": {
        "events": {"type": "array", "items": {"type": "object", "properties": {
            "family_id": {"type": "string"}, "family_seq": {"type": "integer"}, "lane": {"type": "integer"},
            "position": {"type": "integer"}, "aggregate_type": {"type": "string"},
            "aggregate_id": {"type": "string", "format": "uuid"}, "sequence": {"type": "integer"},
            "event_type": {"type": "string"}, "event_version": {"type": "string"}, "command_id": {"type": "string"},
            "effective_on": {"type": "string", "format": "date"}, "recorded_at": {"type": "string", "format": "date-time"},
            "leaf_hash": {"type": "string"}, "chain_hash": {"type": "string"},
            "metadata": {"type": "object"}, "payload": {"type": "object"}
        }}},
        "next_after_family_seq": {"type": ["integer", "null"], "description": "Ask for the next page with this; null at the end"}
    }})
}

fn statement_schema() -> Value {
    let money = json!({"type": "object", "properties": {"amount": {"type": "string"}, "currency": {"type": "string"}}});
    let rows = json!({"type": "array", "items": {"type": "object"}});
    json!({"type": "object", "properties": {
        "family_id": {"type": "string"}, "as_of": {"type": "object"}, "family_seq": {"type": "integer"},
        "recorded_at": {"type": ["string", "null"], "format": "date-time"}, "chain_hash": {"type": ["string", "null"]},
        "events": {"type": "integer"}, "family": {"type": ["object", "null"]},
        "balances": {"type": "array", "items": {"type": "object", "properties": {
            "ledger_account": {"type": "string"}, "name": {"type": "string"}, "kind": {"type": "string"}, "balance": money
        }}},
        "trial_balance": {"type": "array", "items": money, "description": "Zero in every currency"},
        "entries": {"type": "object"}, "accounts": rows, "categories": rows, "members": rows, "budgets": rows,
        "chores": rows, "bank_connections": rows, "imports": rows
    }})
}

/// An object with these fields: hashes are lists of hexadecimal text, checkpoints signed notes.
fn proof_schema(fields: &[&str]) -> Value {
    let schema = |name: &str| match name {
        "hashes" | "siblings" => json!({"type": "array", "items": {"type": "string"}}),
        "keys" => json!({"type": "array", "items": {"type": "object", "properties": {
            "number": {"type": "integer"}, "verifier_key": {"type": "string"}, "transition": {"type": ["string", "null"]}
        }}}),
        "family_seq" | "position" | "from" | "to" => json!({"type": "integer"}),
        _ => json!({"type": "string"}),
    };
    let properties: serde_json::Map<String, Value> =
        fields.iter().map(|name| ((*name).to_owned(), schema(name))).collect();
    json!({"type": "object", "required": fields, "properties": properties})
}

fn verdict_schema() -> Value {
    json!({"type": "object", "required": ["verified", "family_id"], "properties": {
        "verified": {"type": "boolean"}, "family_id": {"type": "string"}, "events": {"type": "integer"},
        "family_seq": {"type": "integer"}, "chain_hash": {"type": "string"},
        "first_bad_family_seq": {"type": "integer"}, "fault": {"type": "string"}
    }})
}
