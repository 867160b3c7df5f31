//! Would a client written against the earlier OpenAPI document be hurt by the later one?

use serde_json::{Map, Value, json};

use super::compatible::{Promise, breaks_within};

/// Every break, each as one line: the operation, the place, what happened.
pub fn breaks(earlier: &Value, later: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for (path, method, operation) in operations(earlier) {
        let name = format!("{} {path}", method.to_uppercase());
        match later["paths"][path].get(method) {
            Some(now) => compare(&name, (earlier, later), operation, now, &mut found),
            None => found.push(format!("{name}: it is gone")),
        }
    }
    found
}

fn compare(name: &str, roots: (&Value, &Value), earlier: &Value, later: &Value, found: &mut Vec<String>) {
    let mut schemas = |before: &Value, after: &Value, promise, what: String| {
        for found_break in breaks_within(roots, before, after, promise) {
            found.push(format!("{name}: {what} {}: {}", found_break.place, found_break.what));
        }
    };
    let mut lines = Vec::new();
    for before in parameters(earlier) {
        let same = |after: &&Value| after["name"] == before["name"] && after["in"] == before["in"];
        let what = format!("{} parameter {}", text(&before["in"]), text(&before["name"]));
        match parameters(later).iter().find(same) {
            None => lines.push(format!("{name}: {what} is gone")),
            Some(after) => {
                if after["required"] == json!(true) && before["required"] != json!(true) {
                    lines.push(format!("{name}: {what} is now required"));
                }
                schemas(&before["schema"], &after["schema"], Promise::Request, what);
            }
        }
    }
    for after in parameters(later) {
        let same = |before: &&Value| after["name"] == before["name"] && after["in"] == before["in"];
        if after["required"] == json!(true) && !parameters(earlier).iter().any(|before| same(&before)) {
            lines.push(format!(
                "{name}: new {} parameter {} is required",
                text(&after["in"]),
                text(&after["name"])
            ));
        }
    }
    let (body_before, body_after) = (&earlier["requestBody"], &later["requestBody"]);
    if body_after["required"] == json!(true) && body_before["required"] != json!(true) {
        lines.push(format!("{name}: a body is now required"));
    }
    for (kind, before) in entries(&body_before["content"]) {
        match body_after["content"].get(kind) {
            Some(after) => schemas(
                &before["schema"],
                &after["schema"],
                Promise::Request,
                format!("{kind} body"),
            ),
            None => lines.push(format!("{name}: a body of {kind} is no longer taken")),
        }
    }
    for (status, before) in entries(&earlier["responses"]) {
        // A refusal that no longer happens hurts nobody.
        let is_answer = status.starts_with('2');
        let Some(after) = later["responses"].get(status) else {
            if is_answer {
                lines.push(format!("{name}: it no longer answers {status}"));
            }
            continue;
        };
        for (kind, before) in entries(&before["content"]) {
            match after["content"].get(kind) {
                Some(after) => schemas(
                    &before["schema"],
                    &after["schema"],
                    Promise::Response,
                    format!("{status} {kind}"),
                ),
                None => lines.push(format!("{name}: {status} is no longer {kind}")),
            }
        }
    }
    found.extend(lines);
}

/// The document without what promises nothing: texts, examples, operation names.
pub fn bare(value: &Value) -> Value {
    const TEXTS: &[&str] = &[
        "description",
        "summary",
        "examples",
        "example",
        "tags",
        "title",
        "operationId",
    ];
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .filter(|(name, _)| !TEXTS.contains(&name.as_str()))
                .map(|(name, value)| match (name.as_str(), value) {
                    // Names below `properties` are the API's own, whatever they are called.
                    ("properties", Value::Object(properties)) => {
                        let bare = properties.iter().map(|(name, schema)| (name.clone(), bare(schema)));
                        (name.clone(), Value::Object(bare.collect()))
                    }
                    _ => (name.clone(), bare(value)),
                })
                .collect::<Map<_, _>>(),
        ),
        Value::Array(items) => Value::Array(items.iter().map(bare).collect()),
        other => other.clone(),
    }
}

const METHODS: &[&str] = &["get", "post", "put", "patch", "delete"];

fn operations(document: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
    entries(&document["paths"]).flat_map(|(path, item)| {
        entries(item)
            .filter(|(method, _)| METHODS.contains(method))
            .map(move |(method, operation)| (path, method, operation))
    })
}

fn parameters(operation: &Value) -> &[Value] {
    operation["parameters"].as_array().map_or(&[], Vec::as_slice)
}

fn entries(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.as_str(), value))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The document of this build, with one place of it edited.
    fn edited(pointer: &str, edit: impl Fn(&mut Value)) -> Value {
        let mut document = crate::openapi::document();
        edit(
            document
                .pointer_mut(pointer)
                .unwrap_or_else(|| panic!("{pointer} is somewhere")),
        );
        document
    }

    const EXPENSE: &str = "/paths/~1api~1v1~1families~1{family_id}~1commands~1add-expense/post";
    const ACCOUNTS: &str = "/paths/~1api~1v1~1families~1{family_id}~1accounts/get";

    fn remove(value: &mut Value, name: &str) {
        assert!(value.as_object_mut().unwrap().remove(name).is_some(), "{name}");
    }

    #[test]
    fn every_breaking_edit_of_the_api_is_named_with_its_operation() {
        let expense = "POST /api/v1/families/{family_id}/commands/add-expense";
        let accounts = "GET /api/v1/families/{family_id}/accounts";
        let later = [
            (
                edited("/paths", |paths| remove(paths, "/api/v1/families/{family_id}/accounts")),
                format!("{accounts}: it is gone"),
            ),
            (
                edited(&format!("{ACCOUNTS}/parameters"), |list| {
                    list.as_array_mut()
                        .unwrap()
                        .retain(|parameter| parameter["name"] != "on");
                }),
                format!("{accounts}: query parameter on is gone"),
            ),
            (
                edited(&format!("{ACCOUNTS}/parameters"), |list| {
                    list.as_array_mut()
                        .unwrap()
                        .push(json!({"in": "query", "name": "zone", "required": true, "schema": {"type": "string"}}));
                }),
                format!("{accounts}: new query parameter zone is required"),
            ),
            (
                edited(&format!("{ACCOUNTS}/responses"), |all| remove(all, "200")),
                format!("{accounts}: it no longer answers 200"),
            ),
            (
                edited(
                    &format!("{ACCOUNTS}/responses/200/content/application~1json/schema/properties"),
                    |all| remove(all, "accounts"),
                ),
                format!("{accounts}: 200 application/json /accounts: the field is gone"),
            ),
            (
                edited(
                    &format!("{EXPENSE}/requestBody/content/application~1json/schema"),
                    |schema| {
                        schema["properties"]["why"] = json!({"type": "string"});
                        schema["required"].as_array_mut().unwrap().push(json!("why"));
                    },
                ),
                format!("{expense}: application/json body /why: a new field is required"),
            ),
            (
                edited(
                    &format!("{EXPENSE}/requestBody/content/application~1json/schema/properties"),
                    |all| remove(all, "payee"),
                ),
                format!("{expense}: application/json body /payee: the field is gone"),
            ),
            (
                edited(
                    &format!("{EXPENSE}/requestBody/content/application~1json/schema/properties/payee"),
                    |payee| {
                        payee["maxLength"] = json!(3);
                    },
                ),
                format!("{expense}: application/json body /payee: its maxLength"),
            ),
        ];
        let earlier = bare(&crate::openapi::document());
        for (later, expected) in later {
            let found = breaks(&earlier, &later);
            assert!(
                found.iter().any(|line| line.starts_with(&expected)),
                "{expected}: {found:?}"
            );
        }
    }

    #[test]
    fn a_compatible_edit_of_the_api_passes() {
        let earlier = bare(&crate::openapi::document());
        for later in [
            crate::openapi::document(),
            edited("/paths", |paths| {
                paths["/api/v1/new"] = json!({"get": {"responses": {}}})
            }),
            edited(&format!("{ACCOUNTS}/parameters"), |list| {
                list.as_array_mut()
                    .unwrap()
                    .push(json!({"in": "query", "name": "zone", "schema": {"type": "string"}}));
            }),
            edited(
                &format!("{ACCOUNTS}/responses/200/content/application~1json/schema"),
                |schema| {
                    schema["properties"]["total"] = json!({"type": "string"});
                },
            ),
            edited(
                &format!("{EXPENSE}/requestBody/content/application~1json/schema"),
                |schema| {
                    schema["properties"]["why"] = json!({"type": "string"});
                },
            ),
            edited(&format!("{EXPENSE}/responses"), |all| remove(all, "429")),
            edited(&format!("{EXPENSE}/summary"), |summary| *summary = json!("Money went.")),
        ] {
            assert_eq!(breaks(&earlier, &later), Vec::<String>::new());
        }
    }
}
