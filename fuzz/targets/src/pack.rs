//! An auditor's pack: whatever its files hold the verifier answers, and what it finds whole has the events that were sealed.

use std::collections::BTreeMap;

use verifier::{Kept, Limits, Pack, Trust, VerifierKey, verify, verify_pack};

/// The public key of the log that the seed is from.
const KEY: &str =
    "kinledger/ade15e04-8371-421e-9adb-c60fe5750ca6+5eb34053+Ab8KRQsOkXN6nJiacUnlk2EhxEyM56FtULUT3g2ayIM3";
const WHOLE: &[u8] = include_bytes!("../../seeds/pack_verify/whole");
const EVENTS: &str = "events.ndjson";

/// Files, each as a zero byte, its name, a line's end and its bytes; and the same bytes as a zip file, should they be one.
pub fn pack_verify(data: &[u8]) {
    let key = VerifierKey::parse(KEY).expect("a verifier key");
    // Bytes that are no zip file are refused: an answer as well.
    drop(verify_pack(data, std::slice::from_ref(&key), &[]));
    let files = files(data);
    let events = files.get(EVENTS).cloned();
    let limits = Limits {
        file_bytes: 1 << 20,
        line_bytes: 1 << 16,
        files: 32,
        kept_leaves: 1 << 10,
    };
    let trust = Trust {
        keys: vec![key],
        family_id: None,
        kept: Kept::default(),
    };
    let report = verify(&mut Pack::memory(files, limits), &trust);
    if report.is_ok_and(|report| report.is_whole()) {
        assert_eq!(
            events,
            self::files(WHOLE).remove(EVENTS),
            "found whole, and is not what was sealed"
        );
    } else {
        assert_ne!(data, WHOLE, "the pack that nobody touched is whole");
    }
}

fn files(data: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let parts = data.split(|byte| *byte == 0).skip(1);
    parts
        .filter_map(|part| {
            let end = part.iter().position(|byte| *byte == b'\n')?;
            let name = std::str::from_utf8(&part[..end]).ok()?;
            Some((name.to_owned(), part[end + 1..].to_vec()))
        })
        .collect()
}
