//! Arrows between our crates point to `domain`; the list is `design`'s and is read in ARCHITECTURE.md.

use std::{collections::BTreeMap, path::Path, process::Command};

use serde_json::Value;

/// Crate, and which of ours it may depend on. The command line and the bench put parts together, so they may know them all.
const ARROWS: &[(&str, &[&str])] = &[
    (
        "bench",
        &[
            "command-api",
            "connectors",
            "domain",
            "event-store",
            "projectors",
            "query-api",
            "reactors",
            "service-kit",
        ],
    ),
    ("command-api", &["connectors", "domain", "event-store", "service-kit"]),
    ("connectors", &["domain"]),
    ("domain", &[]),
    ("event-store", &["domain"]),
    (
        "fuzz-targets",
        &[
            "connectors",
            "domain",
            "event-store",
            "previous-release",
            "query-api",
            "verifier",
        ],
    ),
    (
        "kinledger",
        &[
            "command-api",
            "connectors",
            "domain",
            "event-store",
            "projectors",
            "query-api",
            "reactors",
            "replay-api",
            "service-kit",
            "verifier",
        ],
    ),
    ("previous-release", &[]),
    ("projectors", &["domain", "event-store", "service-kit"]),
    ("query-api", &["domain", "service-kit"]),
    ("reactors", &["connectors", "domain", "event-store", "service-kit"]),
    (
        "replay-api",
        &["domain", "event-store", "projectors", "query-api", "service-kit"],
    ),
    ("service-kit", &["domain"]),
    // It runs the machines of the parts against each other, and nothing depends on it.
    (
        "simulation",
        &["command-api", "domain", "event-store", "projectors", "service-kit"],
    ),
    ("verifier", &[]),
];

/// What tests of any crate may use beside that: a database of their own, a log to fill it with, the release before, and
/// somebody who verifies.
const FOR_TESTS: &[&str] = &["event-store", "previous-release", "service-kit", "verifier"];

#[test]
fn crates_know_only_what_the_arrows_allow() {
    let mut wrong = Vec::new();
    let crates = crates();
    assert_eq!(
        crates.keys().map(String::as_str).collect::<Vec<_>>(),
        ARROWS.iter().map(|(name, _)| *name).collect::<Vec<_>>()
    );
    for (name, allowed) in ARROWS {
        for (other, is_dev) in &crates[*name] {
            let is_allowed = allowed.contains(&other.as_str()) || (*is_dev && FOR_TESTS.contains(&other.as_str()));
            if !is_allowed {
                wrong.push(format!("{name} -> {other}{}", if *is_dev { " (in tests)" } else { "" }));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that should not be: {wrong:?}");
}

#[test]
fn domain_meets_no_database_network_log_or_runtime() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap();
    let domain = packages.iter().find(|package| package["name"] == "domain").unwrap();
    let forbidden = [
        "axum",
        "rdkafka",
        "redis",
        "reqwest",
        "sqlx",
        "tokio",
        "tower-http",
        "tracing",
        "ureq",
    ];
    for dependency in domain["dependencies"].as_array().unwrap() {
        let name = dependency["name"].as_str().unwrap();
        assert!(
            !forbidden.contains(&name) || dependency["kind"] == "dev",
            "domain depends on {name}"
        );
    }
}

#[test]
fn the_verifier_shares_no_code_with_what_writes_the_log() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap();
    let verifier = packages.iter().find(|package| package["name"] == "verifier").unwrap();
    let dependencies = verifier["dependencies"].as_array().unwrap().iter();
    let mut names: Vec<&str> = dependencies
        .filter(|dependency| dependency["kind"] != "dev")
        .map(|dependency| dependency["name"].as_str().unwrap())
        .collect();
    names.sort_unstable();
    let allowed = [
        "base64",
        "ed25519-dalek",
        "serde",
        "serde_json",
        "sha2",
        "thiserror",
        "zip",
    ];
    assert_eq!(names, allowed);
}

/// Each crate of ours with those of ours it depends on, and whether only its tests do.
fn crates() -> BTreeMap<String, Vec<(String, bool)>> {
    let metadata = metadata();
    let of_package = |package: &Value| {
        let dependencies = package["dependencies"].as_array().unwrap().iter();
        let ours = dependencies.filter(|dependency| dependency["path"].is_string());
        ours.map(|dependency| {
            (
                dependency["name"].as_str().unwrap().to_owned(),
                dependency["kind"] == "dev",
            )
        })
        .collect()
    };
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages
        .map(|package| (package["name"].as_str().unwrap().to_owned(), of_package(package)))
        .collect()
}

fn metadata() -> Value {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
            "--manifest-path",
        ])
        .arg(manifest)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}
