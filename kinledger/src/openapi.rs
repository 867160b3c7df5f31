//! The OpenAPI document: every part's paths, generated from the lists the routes are made of.

use domain::access::{Place, of_route};
use serde_json::{Map, Value, json};
use service_kit::auth::Scope;

/// The whole document.
pub fn document() -> Value {
    let mut paths = json!({});
    for part in [
        command_api::openapi_paths(),
        command_api::identity::openapi_paths(),
        command_api::audit::openapi_paths(),
        command_api::person::openapi_paths(),
        query_api::openapi_paths(),
        reactors::imports::openapi_paths(),
        replay_api::openapi_paths(),
        operations(),
    ] {
        merge(&mut paths, part);
    }
    say_who(&mut paths);
    say_scopes(&mut paths);
    answer_at_the_edge(&mut paths);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Kinledger",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "A family's money, chores and rewards as one ledger that explains every cent. \
                            Post commands, read views, replay and verify. Every accepted command is durable when it is answered.",
            "license": {"name": "AGPL-3.0-or-later", "identifier": "AGPL-3.0-or-later"}
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "apiKey": {"type": "http", "scheme": "bearer", "bearerFormat": "klk_…", "description": "A key for programs, from POST /api/v1/auth/api-keys; an operation names the scope it needs."}
            },
            "schemas": {"Problem": problem()}
        }
    })
}

/// Says of every operation which scopes of an API key it takes, from the same place that lets keys in. What asks for a fresh
/// proof takes none, but exports.
fn say_scopes(paths: &mut Value) {
    for (path, operations) in paths.as_object_mut().into_iter().flatten() {
        for (method, operation) in operations.as_object_mut().into_iter().flatten() {
            let Ok(method) = method.to_uppercase().parse() else {
                continue;
            };
            let scopes = Scope::needed(&method, path);
            let asks_for_proof = operation["x-step-up"] == true && scopes != [Scope::Export];
            if scopes.is_empty() || asks_for_proof || operation["security"] == json!([]) {
                continue;
            }
            let mut security = vec![json!({"bearer": []})];
            security.extend(scopes.iter().map(|scope| json!({"apiKey": [scope.as_str()]})));
            operation["security"] = json!(security);
        }
    }
}

/// Adds operations; two parts may serve one path with different methods.
fn merge(paths: &mut Value, part: Value) {
    let (Some(paths), Value::Object(part)) = (paths.as_object_mut(), part) else {
        return;
    };
    for (path, operations) in part {
        let place = paths.entry(path).or_insert_with(|| json!({}));
        if let (Some(place), Value::Object(operations)) = (place.as_object_mut(), operations) {
            place.extend(operations);
        }
    }
}

/// Adds to every operation what the role matrix says of it: `x-roles` is `public`, `signed-in` for what is about the person who
/// asks, or everybody's word for what is about a family; `x-account` the level of sharing that it needs of an account. An operation that the matrix does not know gets none, and fails a test.
fn say_who(paths: &mut Value) {
    for (path, operations) in paths.as_object_mut().into_iter().flatten() {
        for (method, operation) in operations.as_object_mut().into_iter().flatten() {
            let (roles, step_up, account) = match of_route(&method.to_uppercase(), path) {
                Some(Place::Public) => (json!("public"), false, None),
                Some(Place::Personal) => (json!("signed-in"), false, None),
                Some(Place::Row(row)) => {
                    let words = row.words().map(|(asker, word)| (asker.to_owned(), json!(word)));
                    (words.collect::<Map<_, _>>().into(), row.step_up, row.account.as_str())
                }
                None => continue,
            };
            operation["x-roles"] = roles;
            if step_up {
                operation["x-step-up"] = json!(true);
            }
            if let Some(needed) = account {
                operation["x-account"] = json!(needed);
            }
        }
    }
}

/// What any operation may answer before its handler is asked, unless it says more about it itself.
fn answer_at_the_edge(paths: &mut Value) {
    let refusal = |description: &str, waits: bool| {
        let mut answer = json!({
            "description": description,
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
        });
        if waits {
            answer["headers"] =
                json!({"Retry-After": {"description": "seconds", "schema": {"type": "integer", "minimum": 1}}});
        }
        answer
    };
    for (path, operations) in paths.as_object_mut().into_iter().flatten() {
        for (_, operation) in operations.as_object_mut().into_iter().flatten() {
            let has_body = operation.get("requestBody").is_some();
            let Some(answers) = operation["responses"].as_object_mut() else {
                continue;
            };
            let mut may = |status: &str, answer: Value| {
                answers.entry(status).or_insert(answer);
            };
            if has_body {
                may("408", refusal("The body did not arrive in time", false));
            }
            may("414", refusal("The address is longer than 8 KiB", false));
            may("431", refusal("The headers are longer than 32 KiB", false));
            if path.starts_with("/api/v1/") {
                may(
                    "429",
                    refusal("Too many requests: RateLimit-Policy says how many there may be", true),
                );
                may("503", refusal("Not now: the database does not answer", true));
            }
        }
    }
}

fn problem() -> Value {
    json!({
        "type": "object",
        "description": "RFC 9457 problem details; `type` is stable.",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": {"type": "string", "examples": ["/problems/wallet-too-low"]},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"}
        }
    })
}

/// The routes every process has.
fn operations() -> Value {
    let plain = |summary: &str| {
        json!({"get": {
            "tags": ["operations"], "summary": summary, "description": "Who may call: everybody who reaches the port.", "security": [],
            "responses": {"200": {"description": "Well"}, "503": {"description": "Not well"}}
        }})
    };
    let figures = json!({"get": {
        "tags": ["operations"], "summary": "Figures in Prometheus' form",
        "description": "Who may call: everybody at an address in the networks of KINLEDGER_METRICS_FOR, this machine unless it says otherwise.",
        "security": [],
        "responses": {"200": {"description": "The figures"}, "404": {"description": "Not for this address"}}
    }});
    json!({
        "/healthz": plain("Is the process alive?"),
        "/readyz": plain("Is it ready, and if not, why?"),
        "/metrics": figures
    })
}
