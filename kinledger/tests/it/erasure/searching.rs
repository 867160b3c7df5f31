//! Everywhere a text could be found.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use serde_json::Value;

use super::planting::Planted;
use crate::support::{Household, Kinledger, Person};

const VIEWS: &[&str] = &[
    "account-shares",
    "accounts",
    "badges",
    "bank-connections",
    "budgets",
    "categories",
    "chores?status=all",
    "dashboard",
    "entries?limit=200",
    "imports",
    "leaderboard?period=all",
    "members",
    "notifications?limit=200",
    "spending?from=2024-01-01&to=2027-12-31",
    "trend",
];

/// A place by name, and what is in it.
pub type Place = (String, Vec<u8>);

/// Which of the texts are in which places: as they are, or in hexadecimal as the dump writes bytes.
pub fn found(texts: &[String], places: &[Place]) -> BTreeMap<String, Vec<String>> {
    let places: Vec<(&String, String)> = places
        .iter()
        .map(|(name, bytes)| (name, String::from_utf8_lossy(bytes).into_owned()))
        .collect();
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for text in texts {
        let bytes = hex::encode(text);
        for (name, content) in &places {
            if content.contains(text.as_str()) || content.contains(&bytes) {
                found.entry(text.clone()).or_default().push((*name).clone());
            }
        }
    }
    found
}

/// Every view, of now and of then.
pub fn searched(family: &Household, person: &Person) -> Vec<Place> {
    let mut places = Vec::new();
    let mut ask = |way: String| {
        let reply = person.client.get(&format!("{}/{way}", family.path()));
        assert_eq!(reply.status, 200, "{way}: {}", reply.text());
        places.push((way, reply.body));
    };
    for view in VIEWS {
        ask((*view).to_owned());
        let separator = if view.contains('?') { '&' } else { '?' };
        ask(format!("as-of/{view}{separator}family_seq=150"));
        ask(format!("as-of/{view}"));
    }
    places
}

/// Everything: views, exports, receipts, the whole database, every file but the database's own, and what was logged and printed.
pub fn everything(kinledger: &Kinledger, family: &Household, planted: &Planted) -> Vec<Place> {
    let parent = family.parent.proven();
    let mut places = searched(family, &parent);
    let exports = ["ndjson", "hledger", "beancount"].map(|format| format!("audit/export?format={format}"));
    let others = [
        "audit/events?limit=1000".to_owned(),
        "audit/as-of".to_owned(),
        format!("commands/{}", planted.key),
    ];
    for way in exports.into_iter().chain(others) {
        let reply = parent.client.get(&format!("{}/{way}", family.path()));
        assert_eq!(reply.status, 200, "{way}: {}", reply.text());
        places.push((way, reply.body));
    }
    places.push(("dump".to_owned(), dump(kinledger)));
    places.push(("log".to_owned(), kinledger.logged().into_bytes()));
    places.push(("printed".to_owned(), kinledger.printed().join("\n").into_bytes()));
    let pack = tempfile::tempdir_in(kinledger.folder()).unwrap();
    let folder = pack.path().join("pack");
    let output = kinledger.run(&[
        "audit",
        "export",
        "--pack",
        "--family",
        &family.id,
        "-o",
        folder.to_str().unwrap(),
    ]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    files(&folder, "pack", &mut places);
    files(&kinledger.data_dir(), "data", &mut places);
    let server = kinledger.data_dir().join("postgres/server.log");
    places.push(("server.log".to_owned(), fs::read(server).unwrap()));
    places
}

/// Files of a folder, but those of the database itself: the dump says what is in it.
fn files(folder: &Path, name: &str, places: &mut Vec<Place>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let file = entry.file_name().to_string_lossy().into_owned();
        if file.starts_with("postgres") {
            continue;
        }
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            files(&entry.path(), &format!("{name}/{file}"), places);
        } else if kind.is_file() {
            places.push((format!("{name}/{file}"), fs::read(entry.path()).unwrap()));
        }
    }
}

/// The whole database, all schemas, as text.
pub fn dump(kinledger: &Kinledger) -> Vec<u8> {
    let running: Value = serde_json::from_slice(&fs::read(kinledger.data_dir().join("running.json")).unwrap()).unwrap();
    let dumped = Command::new("pg_dump")
        .arg("--no-owner")
        .arg(running["database_url"].as_str().unwrap())
        .output()
        .expect("pg_dump is there, for it comes with Postgres");
    assert!(dumped.status.success(), "{}", String::from_utf8_lossy(&dumped.stderr));
    dumped.stdout
}
