//! Somebody alters a pack on its way: ten thousand times at random, each time found.

use sha2::{Digest, Sha256};
use verifier::{Report, VerifierKey};

use super::sealed::{Files, Sealed, family, named, verdict};
use crate::export::random_ledger::Dice;

const MUTATIONS: usize = 10_000;

/// Makes the manifest right again, as whoever alters a pack can.
fn with_manifest(mut files: Files) -> Files {
    let manifest = String::from_utf8(files.remove("manifest.json").unwrap()).unwrap();
    let (head, _) = manifest.split_once("\"files\":[").unwrap();
    let entry = |(name, bytes): (&String, &Vec<u8>)| {
        let hash = hex::encode(Sha256::digest(bytes));
        format!(
            "{{\"name\":\"{name}\",\"bytes\":{},\"sha256\":\"{hash}\"}}",
            bytes.len()
        )
    };
    let entries: Vec<String> = files.iter().map(entry).collect();
    let manifest = format!("{head}\"files\":[{}]}}\n", entries.join(","));
    files.insert("manifest.json".to_owned(), manifest.into_bytes());
    files
}

fn lines(files: &Files) -> Vec<Vec<u8>> {
    let text = &files["events.ndjson"];
    text.split_inclusive(|byte| *byte == b'\n')
        .map(<[u8]>::to_vec)
        .collect()
}

fn with_lines(files: &Files, lines: &[Vec<u8>]) -> Files {
    let mut files = files.clone();
    files.insert("events.ndjson".to_owned(), lines.concat());
    with_manifest(files)
}

struct Altering {
    files: Files,
    stranger: Files,
    key: VerifierKey,
    dice: Dice,
}

impl Altering {
    fn verdict(&self, files: Files) -> Report {
        verdict(files, &self.key, family(1))
    }

    fn index(&mut self, bound: usize) -> usize {
        usize::try_from(self.dice.below(bound as u64)).unwrap()
    }

    /// One alteration, and the event that has to be named, where one can be. None when nothing would change.
    fn alter(&mut self) -> Option<(&'static str, Files, Option<u64>)> {
        let mut lines = lines(&self.files);
        let events = lines.len() - 1;
        let at = self.index(events);
        let seq = at as u64 + 1;
        let files = self.files.clone();
        match self.index(9) {
            // Three in nine: a bit of an event, the manifest made right again.
            0..=2 => {
                let line = &mut lines[at];
                let byte = usize::try_from(self.dice.below(line.len() as u64)).unwrap();
                let text = String::from_utf8_lossy(line).into_owned();
                let (before, metadata) = (text.find("\"before\":").unwrap(), text.find(",\"metadata\":").unwrap());
                line[byte] ^= 1 << self.dice.below(8);
                // The hashes between two events are nobody's field: that they are bad is known, not which event.
                let is_between = (before..metadata).contains(&byte);
                Some(("a bit", with_lines(&files, &lines), (!is_between).then_some(seq)))
            }
            3 => {
                let other = self.index(events);
                lines.swap(at, other);
                (at != other).then(|| ("a swap", with_lines(&files, &lines), Some(at.min(other) as u64 + 1)))
            }
            4 => {
                lines.remove(at);
                Some(("a deletion", with_lines(&files, &lines), Some(seq)))
            }
            5 => {
                let line = lines[self.index(events)].clone();
                lines.insert(at, line.clone());
                let is_twice = line == lines[at + 1];
                Some((
                    "an insertion",
                    with_lines(&files, &lines),
                    Some(if is_twice { seq + 1 } else { seq }),
                ))
            }
            6 => {
                lines.truncate(at);
                if self.dice.below(2) == 0 {
                    lines.push(self::lines(&files).pop().unwrap());
                }
                Some(("a cut", with_lines(&files, &lines), Some(seq)))
            }
            7 => {
                let strange = self::lines(&self.stranger);
                lines[at] = strange[self.index(strange.len() - 1)].clone();
                Some(("another family's event", with_lines(&files, &lines), Some(seq)))
            }
            // Any bit of any file; the manifest as it was.
            _ => {
                let names: Vec<String> = files.keys().cloned().collect();
                let name = &names[self.index(names.len())];
                let mut files = files;
                let bytes = files.get_mut(name).unwrap();
                let byte = usize::try_from(self.dice.below(bytes.len() as u64)).unwrap();
                bytes[byte] ^= 1 << self.dice.below(8);
                Some(("a bit of a file", files, None))
            }
        }
    }
}

#[tokio::test]
async fn ten_thousand_random_alterations_of_a_pack_are_all_found() {
    const SEED: u64 = 20_261_121;
    let sealed = Sealed::with_families(4).await;
    let mut altering = Altering {
        files: sealed.pack(family(1)).await,
        stranger: sealed.pack(family(2)).await,
        key: sealed.key().await,
        dice: Dice::new(SEED),
    };
    let whole = altering.verdict(altering.files.clone());
    assert!(whole.is_whole(), "{:?}", whole.faults);
    assert!(
        altering.verdict(with_manifest(altering.files.clone())).is_whole(),
        "untouched, with its manifest made anew"
    );
    let (mut altered, mut found, mut named_right) = (0, 0, 0);
    let mut missed = Vec::new();
    while altered < MUTATIONS {
        let Some((kind, files, wanted)) = altering.alter() else {
            continue;
        };
        if files == altering.files {
            continue;
        }
        altered += 1;
        let report = altering.verdict(files);
        found += usize::from(!report.is_whole());
        let is_named = wanted.is_none_or(|wanted| named(&report) == Some(wanted));
        named_right += usize::from(is_named);
        if report.is_whole() || !is_named {
            missed.push((kind, wanted, report.faults));
        }
    }
    println!("seed {SEED}: {altered} alterations, {found} found, {named_right} named as they should be");
    assert!(
        missed.is_empty(),
        "{} missed, such as {:?}",
        missed.len(),
        missed.first()
    );
    assert_eq!((altered, found, named_right), (MUTATIONS, MUTATIONS, MUTATIONS));
    sealed.end().await;
}

#[tokio::test]
async fn a_pack_of_another_family_or_under_another_key_is_not_taken() {
    let sealed = Sealed::with_families(4).await;
    let key = sealed.key().await;
    let report = verdict(sealed.pack(family(2)).await, &key, family(1));
    assert!(!report.is_whole());
    let strange = Sealed::with_families(4).await;
    let report = verdict(sealed.pack(family(1)).await, &strange.key().await, family(1));
    assert!(!report.is_whole());
    // Events of one pack, everything else of the other.
    let mut mixed = sealed.pack(family(1)).await;
    mixed.insert(
        "events.ndjson".to_owned(),
        strange.pack(family(1)).await["events.ndjson"].clone(),
    );
    let report = verdict(with_manifest(mixed), &key, family(1));
    assert_eq!(named(&report), Some(1), "{:?}", report.faults);
    strange.end().await;
    sealed.end().await;
}

#[tokio::test]
async fn a_journal_that_says_something_else_is_found() {
    let sealed = Sealed::with_families(12).await;
    let key = sealed.key().await;
    let files = sealed.pack(family(1)).await;
    let mut found = 0;
    for name in ["ledger.journal", "ledger.beancount"] {
        let text = String::from_utf8(files[name].clone()).unwrap();
        let amounts: Vec<usize> = text
            .match_indices(|c: char| c.is_ascii_digit())
            .map(|(at, _)| at)
            .filter(|at| {
                let start = text[..*at].rfind('\n').map_or(0, |line| line + 1);
                let line = text[start..].lines().next().unwrap();
                // The amount of a posting: the last word but the currency.
                let is_posting = line.starts_with(' ') && line.split_whitespace().count() == 3 && !line.contains(": ");
                is_posting && *at > start + line.rfind("  ").unwrap()
            })
            .collect();
        for at in amounts.into_iter().step_by(5) {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'9' { b'8' } else { bytes[at] + 1 };
            let mut altered = files.clone();
            altered.insert(name.to_owned(), bytes);
            let report = verdict(with_manifest(altered), &key, family(1));
            assert!(!report.is_whole(), "{name} at {at}");
            found += 1;
        }
    }
    assert!(found > 20, "{found}");
    sealed.end().await;
}
