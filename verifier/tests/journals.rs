//! What is wrong with a journal is named, however far back it is: entries are compared block by block.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use std::{fs, path::Path};

use verifier::{Limits, Pack, Report, Trust, VerifierKey, What, verify};

mod made;

fn verified(folder: &Path, key: &VerifierKey) -> Report {
    let trust = Trust {
        keys: vec![key.clone()],
        ..Trust::default()
    };
    verify(&mut Pack::open(folder, Limits::default()).unwrap(), &trust).unwrap()
}

#[test]
fn a_journal_that_differs_is_named_however_far_back_it_does() {
    let folder = tempfile::tempdir().unwrap();
    let key = made::pack(folder.path(), 2_000).unwrap();
    differing_journals(folder.path(), &key, 2_000);
}

/// At both sides of where one block of entries ends, at the first and at the last.
fn differing_journals(folder: &Path, key: &VerifierKey, events: u64) {
    let file = folder.join("ledger.journal");
    let whole = fs::read_to_string(&file).unwrap();
    for at in [1, 1_023, 1_024, 1_025, 1_500, events] {
        let entry = format!("({at}) rides\n    Assets:Cash  -{at}.30 EUR\n    Expenses:Fun  {at}.30 EUR\n\n");
        assert_eq!(whole.matches(&entry).count(), 1);
        let start = whole.find(&entry).unwrap() - "2025-03-02 * ".len();
        let end = start + "2025-03-02 * ".len() + entry.len();
        let altered = [
            whole.replacen(&entry, &entry.replace(&format!("{at}.30"), &format!("{at}.31")), 1),
            whole.replacen(&entry, &entry.replace("Expenses:Fun", "Expenses:Food"), 1),
            whole.replacen(&entry, &entry.replace("Assets:Cash", "Nonsense of a line"), 1),
            // Left out, and there twice.
            format!("{}{}", &whole[..start], &whole[end..]),
            format!("{}{}{}", &whole[..end], &whole[start..end], &whole[end..]),
        ];
        for (number, text) in altered.iter().enumerate() {
            fs::write(&file, text).unwrap();
            made::write_manifest(folder, events).unwrap();
            let report = verified(folder, key);
            let first = report.first_bad().unwrap();
            let named = first.family_seq.unwrap();
            // An entry that stands there twice may as well be the one after it that is missing; and another name for an
            // account is another account where the first mention is not.
            let is_named = named == at || (named == at + 1 && (number == 4 || (number == 1 && at == 1)));
            assert!(
                is_named && first.what == What::Journal,
                "{at}, {number}: {:?}",
                report.faults
            );
        }
    }
    fs::write(&file, whole).unwrap();
    made::write_manifest(folder, events).unwrap();
    assert!(verified(folder, key).is_whole());
}
