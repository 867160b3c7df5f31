//! The generated contracts in `schemas/`: JSON Schema per event version, OpenAPI, AsyncAPI. Written by `kinledger contracts
//! --write`, compared by `--check`, so that a changed contract shows in the diff.
//!
//! Fixtures (`schemas/fixtures/<Event>/v<n>.json`) are not generated: they are events as once stored, and only ever added.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use domain::{aggregate::LedgerEvent, upcasters::UPCASTERS};
use serde_json::{Map, Value, json};

/// The topic events are published to.
const TOPIC: &str = "kinledger.events.v1";

/// Every generated file by its path below `schemas/`.
fn generated() -> Result<BTreeMap<PathBuf, String>> {
    let mut files = BTreeMap::new();
    for kind in LedgerEvent::kinds() {
        let path = format!(
            "events/{}/{}.v{}.json",
            kind.aggregate_type, kind.event_type, kind.event_version
        );
        files.insert(PathBuf::from(path), pretty(&(kind.schema)().to_value())?);
    }
    files.insert(PathBuf::from("openapi.json"), pretty(&crate::openapi::document())?);
    files.insert(PathBuf::from("asyncapi.json"), pretty(&asyncapi())?);
    Ok(files)
}

/// Writes every generated file.
///
/// # Errors
/// When one cannot be written.
pub fn write(folder: &Path) -> Result<()> {
    let files = generated()?;
    for (path, text) in &files {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap_or(folder))?;
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    println!("wrote {} contracts to {}", files.len(), folder.display());
    Ok(())
}

/// Compares every generated file with the committed one, and every fixture with what still loads.
///
/// # Errors
/// Naming each file that differs, is missing, or does not load.
pub fn check(folder: &Path) -> Result<()> {
    let mut wrong = Vec::new();
    for (path, text) in generated()? {
        match fs::read_to_string(folder.join(&path)) {
            Ok(found) if found == text => {}
            Ok(_) => wrong.push(format!("{} differs from the code", path.display())),
            Err(_) => wrong.push(format!("{} is missing", path.display())),
        }
    }
    wrong.extend(check_fixtures(folder)?);
    if !wrong.is_empty() {
        bail!(
            "contracts have drifted; look at the difference, then run `make contracts`:\n  {}",
            wrong.join("\n  ")
        );
    }
    println!("contracts are as committed; every fixture loads");
    Ok(())
}

/// Every version ever released has a fixture, and every fixture still loads.
fn check_fixtures(folder: &Path) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    let current = LedgerEvent::kinds();
    let mut wanted: Vec<(&str, &str, &str)> = current
        .iter()
        .map(|kind| (kind.aggregate_type, kind.event_type, kind.event_version))
        .collect();
    for old in UPCASTERS {
        let owner = current.iter().find(|kind| kind.event_type == old.event_type);
        wanted.extend(owner.map(|kind| (kind.aggregate_type, old.event_type, old.from_version)));
    }
    for (aggregate_type, event_type, version) in wanted {
        let path = fixture_path(folder, event_type, version);
        match fs::read_to_string(&path) {
            Ok(text) => {
                if let Err(error) = LedgerEvent::decode(aggregate_type, event_type, version, text.trim_end()) {
                    wrong.push(format!("{} does not load: {error}", path.display()));
                }
            }
            Err(_) => wrong.push(format!("{} is missing: add an event as stored", path.display())),
        }
    }
    Ok(wrong)
}

/// Where the fixture of an event version lies.
pub fn fixture_path(folder: &Path, event_type: &str, version: &str) -> PathBuf {
    folder
        .join("fixtures")
        .join(event_type)
        .join(format!("v{version}.json"))
}

fn pretty(value: &Value) -> Result<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

/// The topic and its messages, as AsyncAPI 3.
fn asyncapi() -> Value {
    let mut messages = Map::new();
    let mut references = Map::new();
    for kind in LedgerEvent::kinds() {
        let name = format!("{}.v{}", kind.event_type, kind.event_version);
        messages.insert(
            name.clone(),
            json!({
                "name": name,
                "contentType": "application/json",
                "headers": {"$ref": "#/components/schemas/Headers"},
                "payload": {"$ref": format!("events/{}/{name}.json", kind.aggregate_type)},
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
