//! `kinledger contracts --check` on a copy of `schemas/` with one thing wrong: it fails, and says what and where.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use tempfile::TempDir;

use super::fixtures::schemas;

fn check(folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kinledger"))
        .args(["contracts", "--check"])
        .arg(folder)
        .output()
        .unwrap()
}

#[test]
fn the_committed_contracts_are_those_of_the_code_and_break_nothing_that_was_released() {
    let checked = check(&schemas());
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

/// A copy of `schemas/`, changed.
fn with(change: impl Fn(&Path)) -> TempDir {
    let folder = TempDir::new().unwrap();
    copy(&schemas(), folder.path());
    change(folder.path());
    folder
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir_all(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn replace(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{} has {from}", path.display());
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

#[track_caller]
fn refused(change: impl Fn(&Path), expected: &str) {
    let folder = with(change);
    let checked = check(folder.path());
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert_eq!(checked.status.code(), Some(1), "{said}");
    assert!(said.contains(expected), "{expected}: {said}");
}

#[test]
fn contracts_that_differ_from_the_code_do_not_pass() {
    refused(
        |folder| {
            replace(
                &folder.join("events/entry/ExpenseAdded.v1.json"),
                "Who was paid.",
                "Whoever.",
            )
        },
        "events/entry/ExpenseAdded.v1.json differs from the code",
    );
    refused(
        |folder| fs::remove_file(folder.join("openapi.json")).unwrap(),
        "openapi.json is missing",
    );
}

#[test]
fn a_fixture_that_was_released_cannot_be_changed_or_go() {
    refused(
        |folder| replace(&folder.join("fixtures/BudgetSet/v1.json"), "40.00", "41.00"),
        "fixtures/BudgetSet/v1.json was changed since release 0.1.0",
    );
    refused(
        |folder| fs::remove_file(folder.join("fixtures/StatementEntriesListed/v1.json")).unwrap(),
        "fixtures/StatementEntriesListed/v1.json of release 0.1.0 is missing",
    );
    refused(
        |folder| replace(&folder.join("fixtures/BudgetSet/v1.json"), "month", "year"),
        "fixtures/BudgetSet/v1.json does not load",
    );
    refused(
        |folder| fs::write(folder.join("fixtures/BudgetSet/v2.json"), "{}").unwrap(),
        "fixtures/BudgetSet/v2.json is of a version that this build does not read",
    );
}

#[test]
fn the_schema_of_an_earlier_version_stays_byte_for_byte() {
    let earlier = "events/statement-import/StatementEntriesListed.v1.json";
    refused(
        |folder| replace(&folder.join(earlier), "Entries it brought.", "Entries."),
        &format!("{earlier} was changed since release 0.1.0"),
    );
    refused(
        |folder| fs::remove_file(folder.join(earlier)).unwrap(),
        &format!("{earlier} of release 0.1.0 is missing"),
    );
}

#[test]
fn what_a_release_promised_cannot_be_rewritten() {
    for name in ["events.json", "openapi.json"] {
        refused(
            |folder| replace(&folder.join("released/0.1.0").join(name), "integer", "string"),
            &format!("released/0.1.0/{name} was changed since release 0.1.0"),
        );
    }
    refused(
        |folder| replace(&folder.join("released/0.1.0/files.json"), "\n", "\n\n"),
        "released/0.1.0/files.json was changed",
    );
    refused(
        |folder| fs::remove_dir_all(folder.join("released/0.1.0")).unwrap(),
        "released/0.1.0/files.json is missing",
    );
    refused(
        |folder| replace(&folder.join("reader/src/event.rs"), "unknown event", "some event"),
        "reader/src/event.rs was changed since release 0.1.0",
    );
}
