//! Packs that somebody made to hurt the verifier: it answers, within its limits, and never panics.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use std::{
    collections::BTreeMap,
    io::{Cursor, Write},
};

use proptest::prelude::*;
use verifier::{Limits, Pack, Trust, VerifierKey, verify, verify_pack};
use zip::{ZipWriter, write::SimpleFileOptions};

const KEY: &str = include_str!("vectors/key.txt");
const NAMES: &[&str] = &[
    "manifest.json",
    "events.ndjson",
    "head.json",
    "ledger.journal",
    "ledger.beancount",
    "README.txt",
    "checkpoints/00000000000000000013.note",
    "keys/0002.note",
    "../outside",
];

fn zipped(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn manifest(log: &str, names: &[&str]) -> Vec<u8> {
    let files: Vec<String> = names
        .iter()
        .map(|name| format!("{{\"name\":\"{name}\",\"bytes\":1,\"sha256\":\"00\"}}"))
        .collect();
    format!(
        "{{\"format\":\"kinledger-pack/1\",\"log\":\"{log}\",\"lane\":3,\"family_id\":\"00000000-0000-4000-8000-000000000000\",\
         \"events\":1,\"checkpoint\":13,\"files\":[{}]}}\n",
        files.join(",")
    )
    .into_bytes()
}

fn key() -> VerifierKey {
    VerifierKey::parse(KEY).unwrap()
}

proptest! {
    #[test]
    fn bytes_that_are_no_pack_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        prop_assert!(verify_pack(bytes.as_slice(), &[key()], std::slice::from_ref(&bytes)).is_err());
    }

    #[test]
    fn files_of_anything_are_never_whole(
        contents in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), NAMES.len()),
        has_manifest in any::<bool>(),
        flipped in any::<prop::sample::Index>(),
    ) {
        let mut files: Vec<(&str, Vec<u8>)> = NAMES.iter().copied().zip(contents).collect();
        if has_manifest {
            let mut names = NAMES[1..8].to_vec();
            names.sort_unstable();
            files[0].1 = manifest(key().name(), &names);
            files[6].1 = include_bytes!("vectors/checkpoint.note").to_vec();
        }
        let mut bytes = zipped(&files);
        if let Ok(report) = verify_pack(bytes.as_slice(), &[key()], &[]) {
            prop_assert!(!report.is_whole());
        }
        let at = flipped.index(bytes.len());
        bytes[at] ^= 0x10;
        if let Ok(report) = verify_pack(bytes.as_slice(), &[key()], &[]) {
            prop_assert!(!report.is_whole());
        }
    }
}

#[test]
fn a_bomb_stops_at_the_limit() {
    let mut names = NAMES[1..7].to_vec();
    names.sort_unstable();
    // Sixty-four megabytes of one line, in some kilobytes.
    let files = [
        ("manifest.json", manifest(key().name(), &names)),
        (
            "checkpoints/00000000000000000013.note",
            include_bytes!("vectors/checkpoint.note").to_vec(),
        ),
        ("events.ndjson", vec![b'['; 64 << 20]),
    ];
    let bytes = zipped(&files);
    assert!(bytes.len() < 1 << 20);
    let limits = Limits {
        line_bytes: 1 << 20,
        file_bytes: 8 << 20,
        ..Limits::default()
    };
    let mut pack = Pack::zip(Box::new(Cursor::new(bytes)), limits).unwrap();
    let trust = Trust {
        keys: vec![key()],
        ..Trust::default()
    };
    let report = verify(&mut pack, &trust).unwrap();
    assert_eq!(report.first_bad().unwrap().family_seq, Some(1), "{:?}", report.faults);
}

#[test]
fn deep_json_and_too_many_files_are_refused() {
    let deep = "[".repeat(100_000).into_bytes();
    let files: BTreeMap<String, Vec<u8>> = [("manifest.json".to_owned(), deep)].into();
    let report = verify(&mut Pack::memory(files, Limits::default()), &Trust::default()).unwrap();
    assert!(!report.is_whole());
    let names: Vec<String> = (0..3_000).map(|n| format!("checkpoints/{n:020}.note")).collect();
    let files: Vec<(&str, Vec<u8>)> = names.iter().map(|name| (name.as_str(), Vec::new())).collect();
    assert!(verify_pack(zipped(&files).as_slice(), &[key()], &[]).is_err());
}
