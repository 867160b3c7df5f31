//! What earlier releases promised, and whether this build keeps it.
//!
//! A release is marked by `scripts/release.sh`, which writes `schemas/released/<version>/`:
//!
//! - `files.json`: the SHA-256 of every event schema and fixture there was, and of the two files beside it;
//! - `events.json`: the schema of every event version it wrote or read, without texts;
//! - `openapi.json`: the HTTP API, without texts.
//!
//! and puts the code that reads its events into `schemas/reader`, where tests put it before today's events. None of this needs
//! the history of the repository. A release is one line in [`RELEASES`]; its files are pinned there and never change.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{
    compatible::{Promise, breaks},
    http,
};

/// A release that was marked.
pub struct Release {
    /// Its version.
    pub version: &'static str,
    /// The SHA-256 of its `files.json`, hex.
    pub files_sha256: &'static str,
}

/// Every release, oldest first, one line each.
pub const RELEASES: &[Release] = &[Release {
    version: "0.1.0",
    files_sha256: "30250119b2fd9ee3734e5420178a387d2360a33ccf227a059fc50cc592116dca",
}];

/// Breaks that were made on purpose: how the message begins, and why. Only for an API before 1.0, and never for events.
const ACCEPTED: &[(&str, &str)] = &[];

/// What to do about an event's break.
const EVENT_ADVICE: &str = "keep it as it was and add an optional field, or make a new version with an upcaster (CONTRIBUTING.md, `Changing an event`)";

/// What to do about a break of the API.
const API_ADVICE: &str = "keep what clients use and add beside it";

/// Today's contracts, as far as releases are compared with them.
pub struct Today<'a> {
    /// `entry/ExpenseAdded.v1` and its schema.
    pub events: &'a BTreeMap<String, Value>,
    /// The HTTP API.
    pub openapi: &'a Value,
}

/// Everything a release promised that does not hold any more.
///
/// # Errors
/// When a release's own files cannot be read.
pub fn check(folder: &Path, today: &Today<'_>) -> Result<Vec<String>> {
    check_all(folder, RELEASES, today)
}

fn check_all(folder: &Path, releases: &[Release], today: &Today<'_>) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for (number, release) in releases.iter().enumerate() {
        let own = folder.join("released").join(release.version);
        let Ok(text) = fs::read(own.join("files.json")) else {
            wrong.push(format!(
                "released/{}/files.json is missing: what was released stays",
                release.version
            ));
            continue;
        };
        if hex::encode(Sha256::digest(&text)) != release.files_sha256 {
            wrong.push(format!(
                "released/{}/files.json was changed: what was released stays",
                release.version
            ));
            continue;
        }
        let files: BTreeMap<String, String> = serde_json::from_slice(&text)?;
        let is_latest = number + 1 == releases.len();
        let changed = files
            .iter()
            .filter(|(name, _)| is_latest || !name.starts_with("reader/"));
        wrong.extend(changed.filter_map(|(name, sha256)| changed_file(folder, release, name, sha256, today)));
        if wrong.is_empty() {
            wrong.extend(broken_events(release, &read(&own.join("events.json"))?, today.events));
            // Only the latest: what an earlier one had and this one has not was accepted then.
            if is_latest {
                wrong.extend(broken_api(release, &read(&own.join("openapi.json"))?, today.openapi));
            }
        }
    }
    Ok(wrong)
}

/// Is a file of a release other than it was? The schema of a version that is still written may gain optional fields; that is
/// for [`broken_events`] to judge.
fn changed_file(folder: &Path, release: &Release, name: &str, sha256: &str, today: &Today<'_>) -> Option<String> {
    let is_current = name
        .strip_prefix("events/")
        .and_then(|name| name.strip_suffix(".json"))
        .is_some_and(|name| today.events.contains_key(name));
    if is_current {
        return None;
    }
    match fs::read(folder.join(name)) {
        Ok(bytes) if hex::encode(Sha256::digest(&bytes)) == sha256 => None,
        Ok(_) => Some(format!(
            "{name} was changed since release {}: what was released stays as it is",
            release.version
        )),
        Err(_) => Some(format!(
            "{name} of release {} is missing: what was released stays",
            release.version
        )),
    }
}

/// Events of a release that this build reads or writes otherwise.
pub fn broken_events(release: &Release, released: &Value, today: &BTreeMap<String, Value>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, earlier) in released.as_object().into_iter().flatten() {
        // A version that is no longer written is kept byte for byte, and has its upcaster.
        let Some(later) = today.get(name) else { continue };
        for found in breaks(earlier, later, Promise::Event) {
            wrong.push(format!(
                "events/{name}.json {}: {}; release {} promised it: {EVENT_ADVICE}",
                found.place, found.what, release.version
            ));
        }
    }
    wrong
}

fn broken_api(release: &Release, released: &Value, today: &Value) -> Vec<String> {
    http::breaks(released, today)
        .into_iter()
        .filter(|line| !ACCEPTED.iter().any(|(begins, _)| line.starts_with(begins)))
        .map(|line| {
            format!(
                "openapi.json {line}; release {} promised it: {API_ADVICE}",
                release.version
            )
        })
        .collect()
}

/// Marks this build as a release.
///
/// # Errors
/// When it is marked already, or a file cannot be read or written.
pub fn mark(folder: &Path, today: &Today<'_>) -> Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    let own = folder.join("released").join(version);
    if own.exists() {
        bail!(
            "{} is there already; a release is marked once, so raise the version first",
            own.display()
        );
    }
    let mut files = BTreeMap::new();
    for below in ["events", "fixtures", "reader/src"] {
        digest(folder, Path::new(below), &mut files)?;
    }
    let mut events = Map::new();
    for name in files.keys() {
        if let Some(name) = name.strip_prefix("events/").and_then(|name| name.strip_suffix(".json")) {
            let schema = read(&folder.join("events").join(format!("{name}.json")))?;
            events.insert(name.to_owned(), http::bare(&schema));
        }
    }
    fs::create_dir_all(&own)?;
    for (name, value) in [
        ("events.json", Value::Object(events)),
        ("openapi.json", http::bare(today.openapi)),
    ] {
        let text = one_a_line(&value)?;
        files.insert(format!("released/{version}/{name}"), hex::encode(Sha256::digest(&text)));
        fs::write(own.join(name), text)?;
    }
    let text = serde_json::to_string_pretty(&json!(files))? + "\n";
    fs::write(own.join("files.json"), &text)?;
    println!("marked release {version}; add this line to RELEASES in kinledger/src/contracts/released.rs:");
    println!(
        "    Release {{ version: \"{version}\", files_sha256: \"{}\" }},",
        hex::encode(Sha256::digest(&text))
    );
    Ok(())
}

/// The SHA-256 of every file below a folder, by its path.
fn digest(folder: &Path, below: &Path, files: &mut BTreeMap<String, String>) -> Result<()> {
    let entries = fs::read_dir(folder.join(below)).with_context(|| format!("cannot list {}", below.display()))?;
    for entry in entries {
        let entry = entry?;
        let path = below.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            digest(folder, &path, files)?;
        } else {
            let name = path.to_string_lossy().replace('\\', "/");
            files.insert(name, hex::encode(Sha256::digest(fs::read(folder.join(&path))?)));
        }
    }
    Ok(())
}

/// A JSON object with one entry a line (of `paths`, one path a line), so that a difference can be read.
fn one_a_line(value: &Value) -> Result<String> {
    let mut lines = Vec::new();
    for (name, value) in value.as_object().into_iter().flatten() {
        let text = match (name.as_str(), value) {
            ("paths", Value::Object(_)) => one_a_line(value)?.trim_end().to_owned(),
            _ => serde_json::to_string(value)?,
        };
        lines.push(format!("{}: {text}", serde_json::to_string(name)?));
    }
    Ok(format!("{{\n{}\n}}\n", lines.join(",\n")))
}

fn read(path: &Path) -> Result<Value> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no JSON", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The contracts of this build were released; then somebody edits the code. Which lines does the check print?
    fn after(name: &str, edit: impl Fn(&mut Value)) -> Vec<String> {
        let today = super::super::event_schemas();
        let released: Map<String, Value> = today
            .iter()
            .map(|(name, schema)| (name.clone(), http::bare(schema)))
            .collect();
        let mut edited = today.clone();
        edit(edited.get_mut(name).unwrap_or_else(|| panic!("{name} is an event")));
        let release = Release {
            version: "9.9.9",
            files_sha256: "",
        };
        broken_events(&release, &Value::Object(released), &edited)
    }

    #[test]
    fn a_field_removed_from_a_real_event_fails_and_the_message_says_what_to_do() {
        let broken = after("budget/BudgetSet.v1", |schema| {
            schema["properties"].as_object_mut().unwrap().remove("period");
        });
        assert_eq!(
            broken,
            [
                "events/budget/BudgetSet.v1.json /period: the field is gone; release 9.9.9 promised it: keep it as it was and \
              add an optional field, or make a new version with an upcaster (CONTRIBUTING.md, `Changing an event`)"
            ]
        );
    }

    #[test]
    fn every_break_of_a_real_event_is_found_and_every_addition_passes() {
        let required = |schema: &mut Value, name: &str| {
            schema["properties"][name] = json!({"type": "string"});
            schema["required"].as_array_mut().unwrap().push(json!(name));
        };
        assert_eq!(
            after("entry/ExpenseAdded.v1", |schema| required(schema, "shop")).len(),
            1
        );
        assert_eq!(
            after(
                "chore/ChoreOffered.v1",
                |schema| schema["properties"]["points"]["type"] = json!("number")
            )
            .len(),
            1
        );
        assert_eq!(
            after("family/FamilyCreated.v1", |schema| {
                drop(schema["$defs"]["WeekStart"]["oneOf"].as_array_mut().unwrap().pop());
            })
            .len(),
            1
        );
        assert_eq!(
            after("ledger-account/WalletBalanceChanged.v1", |schema| {
                schema["$defs"]["Money"]["properties"]["scale"] = json!({"type": "integer"});
            })
            .len(),
            2,
            "money stands in two of its fields, and refuses what it does not know"
        );
        assert_eq!(after("entry/ExpenseAdded.v1", |_| ()), Vec::<String>::new());
        assert_eq!(
            after("entry/ExpenseAdded.v1", |schema| schema["properties"]["shop"] =
                json!({"type": ["string", "null"]})),
            Vec::<String>::new()
        );
    }
}
