//! The views in OpenAPI 3.1, made from the same list and types that serve them.

use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use crate::{
    view::ViewEntry,
    views::{VIEWS, families},
};

/// Paths of all views, to be merged into the API's document.
pub fn openapi_paths() -> Value {
    let mut paths = Map::new();
    let mut generator = generator();
    paths.insert(
        families::PATH.to_owned(),
        json!({"get": {
            "tags": ["views"],
            "operationId": "families",
            "summary": "The families the signed-in person belongs to",
            "security": [{"bearer": []}],
            "parameters": [if_none_match()],
            "responses": {
                "200": answer("The families", families::FamiliesAnswer::json_schema(&mut generator).to_value()),
                "304": {"description": "Unchanged since the answer whose ETag was given"},
                "400": problem("A parameter cannot be read"),
                "401": problem("Nobody is signed in"),
            },
        }}),
    );
    for view in VIEWS {
        paths.insert(view.path(), json!({"get": operation(view, &mut generator)}));
    }
    Value::Object(paths)
}

/// Schemas are written out in place, so that a path can be moved into another document as it is.
fn generator() -> SchemaGenerator {
    SchemaSettings::draft2020_12()
        .with(|settings| {
            settings.inline_subschemas = true;
            settings.meta_schema = None;
        })
        .into_generator()
}

fn operation(view: &ViewEntry, generator: &mut SchemaGenerator) -> Value {
    let params = (view.params)(generator).to_value();
    let mut parameters = vec![
        json!({
            "name": "family_id",
            "in": "path",
            "required": true,
            "description": "`fam_…` or the bare UUID",
            "schema": {"type": "string"},
        }),
        json!({
            "name": "min_family_seq",
            "in": "query",
            "description": "Answer only from views that hold this event: read your own write. Waits up to 2 s, then 202.",
            "schema": {"type": "integer", "format": "int64", "minimum": 0},
        }),
        if_none_match(),
    ];
    if let Some(by_day) = view.by_day {
        parameters.push(effective_on(by_day));
    }
    if let Some(properties) = params.get("properties").and_then(Value::as_object) {
        parameters.extend(properties.iter().map(|(name, schema)| query_parameter(name, schema)));
    }
    let responses = json!({
        "200": answer(view.summary, envelope((view.answer)(generator).to_value())),
        "202": problem("The views do not hold `min_family_seq` yet; come back after `retry_after_ms`"),
        "304": {"description": "Unchanged since the answer whose ETag was given"},
        "400": problem("A parameter cannot be read"),
        "401": problem("Nobody is signed in"),
        "403": problem("The role may not see this view, or a parent has to consent first"),
        "404": problem("There is no such family, or the person does not belong to it"),
        "503": problem("The answer took too long, or the database is away"),
    });
    json!({
        "tags": ["views"],
        "operationId": view.name,
        "summary": view.summary,
        "description": view.visibility,
        "security": [{"bearer": []}],
        "parameters": parameters,
        "responses": responses,
    })
}

fn query_parameter(name: &str, schema: &Value) -> Value {
    let mut schema = schema.clone();
    let description = schema.as_object_mut().and_then(|schema| schema.remove("description"));
    json!({
        "name": name,
        "in": "query",
        "description": description.unwrap_or_default(),
        "schema": schema,
    })
}

/// The bound by day, the same of every view that has one.
fn effective_on(by_day: &str) -> Value {
    json!({
        "name": "effective_on",
        "in": "query",
        "description": format!("As of the end of this day: nothing that counts for a later one. {by_day}"),
        "schema": {"type": "string", "format": "date"},
    })
}

fn if_none_match() -> Value {
    json!({
        "name": "If-None-Match",
        "in": "header",
        "description": "The ETag of an answer the client holds",
        "schema": {"type": "string"},
    })
}

/// Adds what every answer begins with.
fn envelope(mut schema: Value) -> Value {
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        let family_seq = json!({
            "type": "integer",
            "format": "int64",
            "description": "The last event of the family that the answer contains",
        });
        properties.insert("family_seq".to_owned(), family_seq);
    }
    if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
        required.insert(0, json!("family_seq"));
    }
    schema
}

fn answer(description: &str, schema: Value) -> Value {
    json!({
        "description": description,
        "headers": {"ETag": {"schema": {"type": "string"}}},
        "content": {"application/json": {"schema": schema}},
    })
}

fn problem(description: &str) -> Value {
    json!({
        "description": description,
        "content": {"application/problem+json": {"schema": {"type": "object"}}},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_view_is_described_without_references() {
        let paths = openapi_paths();
        assert_eq!(paths.as_object().map(Map::len), Some(VIEWS.len() + 1));
        assert!(!paths.to_string().contains("$ref"), "a path must stand on its own");
        let entries = &paths["/api/v1/families/{family_id}/entries"]["get"];
        let names: Vec<_> = entries["parameters"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|p| p["name"].clone())
            .collect();
        assert!(names.contains(&json!("min_amount")), "{names:?}");
        let schema = &entries["responses"]["200"]["content"]["application/json"]["schema"];
        assert_eq!(schema["required"][0], json!("family_seq"));
    }
}
