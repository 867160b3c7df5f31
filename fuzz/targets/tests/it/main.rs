//! Every target on every seed, on every input that ever failed, and on mutations of them: the ordinary, repeatable part of
//! fuzzing. `KINLEDGER_FUZZ_SEED=N` repeats a run; the seed of a failing one stands in its message.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use std::{
    fs,
    panic::catch_unwind,
    path::{Path, PathBuf},
};

use fuzz_targets::TARGETS;

/// Mutations of one target's seeds, in a debug build.
const MUTATIONS: u64 = 400;
/// Longest input.
const BYTES_MAX: usize = 16_384;

fn folder(kind: &str, target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(kind).join(target)
}

fn inputs(kind: &str, target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let Ok(entries) = fs::read_dir(folder(kind, target)) else {
        return Vec::new();
    };
    let mut inputs: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().is_some_and(|name| name != ".gitkeep"))
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    inputs.sort();
    inputs
}

#[test]
fn every_target_has_a_program_and_seeds_and_every_folder_a_target() {
    let names: Vec<_> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    let of = |kind: &str| {
        let entries = fs::read_dir(folder(kind, "")).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| {
                entry
                    .unwrap()
                    .path()
                    .file_stem()
                    .unwrap()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        names.sort();
        names
    };
    assert_eq!(of("fuzz_targets"), names);
    assert_eq!(of("seeds"), names);
    for name in of("regressions").into_iter().chain(of("dictionaries")) {
        assert!(names.contains(&name), "{name}");
    }
    for target in TARGETS {
        assert!(!inputs("seeds", target.name).is_empty(), "{}", target.name);
    }
}

#[test]
fn what_once_failed_does_not_fail_again() {
    let mut failed = Vec::new();
    for target in TARGETS {
        for (path, input) in inputs("seeds", target.name)
            .into_iter()
            .chain(inputs("regressions", target.name))
        {
            if catch_unwind(|| (target.run)(&input)).is_err() {
                failed.push(path);
            }
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn mutations_of_every_seed_hold() {
    let seed = match std::env::var("KINLEDGER_FUZZ_SEED") {
        Ok(seed) => seed.parse().expect("KINLEDGER_FUZZ_SEED is a number"),
        Err(_) => 20_261_121,
    };
    for target in TARGETS {
        let seeds: Vec<_> = inputs("seeds", target.name)
            .into_iter()
            .map(|(_, input)| input)
            .collect();
        let mut dice = Dice(seed);
        for number in 0..MUTATIONS {
            let input = mutated(&seeds, &mut dice);
            if catch_unwind(|| (target.run)(&input)).is_err() {
                panic!(
                    "{}, seed {seed}, mutation {number}: {:?}",
                    target.name,
                    String::from_utf8_lossy(&input)
                );
            }
        }
    }
}

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % (end.max(1) as u64)).unwrap()
    }
}

/// One seed with a few bytes changed, doubled, taken out, or of another seed put in.
fn mutated(seeds: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut input = seeds[dice.below(seeds.len())].clone();
    for _ in 0..=dice.below(6) {
        let at = dice.below(input.len() + 1);
        let end = (at + dice.below(24)).min(input.len());
        match dice.below(6) {
            0 => input.truncate(at),
            1 => input.insert(at, u8::try_from(dice.below(256)).unwrap()),
            2 if at < input.len() => input[at] ^= 1 << dice.below(8),
            3 => drop(input.drain(at..end)),
            4 => {
                let copy = input[at..end].to_vec();
                input.splice(at..at, copy);
            }
            _ => {
                let other = &seeds[dice.below(seeds.len())];
                let from = dice.below(other.len() + 1);
                let to = (from + dice.below(40)).min(other.len());
                input.splice(at..end, other[from..to].iter().copied());
            }
        }
        input.truncate(BYTES_MAX);
    }
    input
}
