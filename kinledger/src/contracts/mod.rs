//! The contracts in `schemas/`: JSON Schema per event version, OpenAPI, AsyncAPI. Written by `kinledger contracts --write`,
//! compared by `--check`, so that a changed contract shows in the diff, and a broken one does not pass.
//!
//! - Generated: the schema of every event's current version, `openapi.json`, `asyncapi.json`, and `docs/roles.md` beside the folder.
//! - Kept: schemas of earlier versions and fixtures (`fixtures/<Event>/v<n>.json`, events as once stored). Only ever added to.
//! - Released: what each release promised, see [`released`].

mod asyncapi;
mod compatible;
mod http;
mod released;
mod roles;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use domain::{aggregate::LedgerEvent, upcasters::UPCASTERS};
use serde_json::Value;

use self::released::Today;

/// One event version that this build reads.
struct Version {
    aggregate_type: &'static str,
    event_type: &'static str,
    event_version: &'static str,
    /// Its schema is generated from the code; that of an earlier version is kept as it was.
    is_current: bool,
}

impl Version {
    /// `entry/ExpenseAdded.v1`.
    fn name(&self) -> String {
        format!("{}/{}.v{}", self.aggregate_type, self.event_type, self.event_version)
    }
}

/// Every event version that this build reads.
fn versions() -> Vec<Version> {
    let mut versions = Vec::new();
    for kind in LedgerEvent::kinds() {
        let version = |event_version, is_current| Version {
            aggregate_type: kind.aggregate_type,
            event_type: kind.event_type,
            event_version,
            is_current,
        };
        let earlier = UPCASTERS.iter().filter(|step| step.event_type == kind.event_type);
        versions.extend(earlier.map(|step| version(step.from_version, false)));
        versions.push(version(kind.event_version, true));
    }
    versions
}

/// The schema of every event's current version.
fn event_schemas() -> BTreeMap<String, Value> {
    let name = |kind: &domain::aggregate::EventKind| {
        format!("{}/{}.v{}", kind.aggregate_type, kind.event_type, kind.event_version)
    };
    let kinds = LedgerEvent::kinds();
    kinds
        .iter()
        .map(|kind| (name(kind), (kind.schema)().to_value()))
        .collect()
}

/// The role matrix as a page, from the folder of the contracts.
const ROLES: &str = "../docs/roles.md";

/// Every generated file by its path below `schemas/`. A copy of the contracts without the documents beside it has no page.
fn generated(folder: &Path) -> Result<BTreeMap<PathBuf, String>> {
    let mut files = BTreeMap::new();
    if folder.join("../docs").is_dir() {
        files.insert(PathBuf::from(ROLES), roles::page());
    }
    for (name, schema) in event_schemas() {
        files.insert(PathBuf::from(format!("events/{name}.json")), pretty(&schema)?);
    }
    files.insert(PathBuf::from("openapi.json"), pretty(&crate::openapi::document())?);
    files.insert(PathBuf::from("asyncapi.json"), pretty(&asyncapi::document())?);
    Ok(files)
}

/// Writes every generated file.
///
/// # Errors
/// When one cannot be written.
pub fn write(folder: &Path) -> Result<()> {
    let files = generated(folder)?;
    for (path, text) in &files {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap_or(folder))?;
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    println!("wrote {} contracts to {}", files.len(), folder.display());
    Ok(())
}

/// Compares every generated file with the committed one, every fixture with what still loads, and the whole with what
/// releases promised.
///
/// # Errors
/// Naming each file that differs, is missing, does not load, or breaks a promise.
pub fn check(folder: &Path) -> Result<()> {
    let mut drifted = Vec::new();
    for (path, text) in generated(folder)? {
        match fs::read_to_string(folder.join(&path)) {
            Ok(found) if found == text => {}
            Ok(_) => drifted.push(format!("{} differs from the code", path.display())),
            Err(_) => drifted.push(format!("{} is missing", path.display())),
        }
    }
    let mut wrong = kept_schemas(folder)?;
    wrong.extend(fixtures(folder)?);
    let (events, openapi) = (event_schemas(), crate::openapi::document());
    let today = Today {
        events: &events,
        openapi: &openapi,
    };
    wrong.extend(released::check(folder, &today)?);
    if !wrong.is_empty() {
        bail!("contracts do not hold:\n  {}", [wrong, drifted].concat().join("\n  "));
    }
    if !drifted.is_empty() {
        bail!(
            "contracts have drifted; look at the difference, then run `make contracts`:\n  {}",
            drifted.join("\n  ")
        );
    }
    let releases = released::RELEASES.len();
    println!("contracts are as committed; every fixture loads; nothing that {releases} releases promised is broken");
    Ok(())
}

/// Marks this build as a release; see [`released`].
///
/// # Errors
/// As [`check`], and when the release is marked already.
pub fn mark_release(folder: &Path) -> Result<()> {
    check(folder)?;
    let (events, openapi) = (event_schemas(), crate::openapi::document());
    let today = Today {
        events: &events,
        openapi: &openapi,
    };
    released::mark(folder, &today)
}

/// Every version that is read has its schema, and no schema is of a version that is not read.
fn kept_schemas(folder: &Path) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    let mut known = BTreeSet::new();
    for version in versions() {
        let path = PathBuf::from("events").join(version.name() + ".json");
        if !version.is_current && !folder.join(&path).exists() {
            wrong.push(format!(
                "{} is missing: logs hold events of it for ever",
                path.display()
            ));
        }
        known.insert(path);
    }
    for path in files_below(folder, "events")? {
        if !known.contains(&path) {
            wrong.push(format!(
                "{} is of a version that this build does not read",
                path.display()
            ));
        }
    }
    Ok(wrong)
}

/// Every version has a fixture, every fixture is of a version that is read and loads, and one of a current version is
/// stored again byte for byte.
fn fixtures(folder: &Path) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    let mut known = BTreeSet::new();
    for version in versions() {
        let (event_type, event_version) = (version.event_type, version.event_version);
        let path = PathBuf::from(format!("fixtures/{event_type}/v{event_version}.json"));
        match fs::read_to_string(folder.join(&path)) {
            Ok(stored) => {
                let stored = stored.trim_end();
                match LedgerEvent::decode(version.aggregate_type, event_type, event_version, stored) {
                    Ok(event) if version.is_current && event.encode() != stored => {
                        wrong.push(format!("{} is stored with other bytes than it was", path.display()));
                    }
                    Ok(_) => {}
                    Err(error) => wrong.push(format!("{} does not load: {error}", path.display())),
                }
            }
            Err(_) => wrong.push(format!("{} is missing: add an event as stored", path.display())),
        }
        known.insert(path);
    }
    for path in files_below(folder, "fixtures")? {
        if !known.contains(&path) {
            wrong.push(format!(
                "{} is of a version that this build does not read",
                path.display()
            ));
        }
    }
    Ok(wrong)
}

/// The files two folders down, as `events/entry/ExpenseAdded.v1.json`.
fn files_below(folder: &Path, name: &str) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for inner in fs::read_dir(folder.join(name)).with_context(|| format!("cannot list {name}"))? {
        let inner = inner?;
        for file in fs::read_dir(inner.path())? {
            files.push(Path::new(name).join(inner.file_name()).join(file?.file_name()));
        }
    }
    Ok(files)
}

fn pretty(value: &Value) -> Result<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}
