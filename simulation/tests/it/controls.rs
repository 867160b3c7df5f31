//! Negative controls: with one thing broken on purpose the simulation must find it, within so many seeds.

use simulation::{Sabotage, Scenario, Violation, run};

/// Steps with faults in one run.
const STEPS: u64 = 8_000;
/// Seeds that each fault may take to be found.
const SEEDS_MAX: u64 = 1_000;

/// The scenario of a seed, with what a fault needs to show.
fn scenario(seed: u64, sabotage: Sabotage) -> Scenario {
    let usual = Scenario {
        sabotage: Some(sabotage),
        ..Scenario::of(seed, STEPS)
    };
    match sabotage {
        Sabotage::SkipForkCheck | Sabotage::DropLogCheck => Scenario {
            restore: true,
            topic_faults: false,
            ..usual
        },
        Sabotage::PassOverPoison => Scenario { poison: true, ..usual },
        _ => usual,
    }
}

/// The first violation that a fault leads to, and the number of seeds it took.
fn found(sabotage: Sabotage) -> Option<(u64, Violation)> {
    (0..SEEDS_MAX).find_map(|seed| {
        let violation = run(seed, scenario(seed, sabotage)).err()?;
        Some((seed + 1, violation))
    })
}

/// Each fault, with words of what it must be found by.
const CONTROLS: &[(Sabotage, &[&str])] = &[
    (Sabotage::AnswerBeforeAppend, &["is acknowledged and not in the log"]),
    (Sabotage::CacheBeforeCommit, &["a worker remembers"]),
    (
        Sabotage::IgnoreHeads,
        &[
            "a worker remembers",
            "insisted on another head",
            "the rules refuse it there",
            "other events in the log than the rules give",
        ],
    ),
    (
        Sabotage::ForgetCommands,
        &[
            "a repeat was answered",
            "is acknowledged as",
            "was used for two requests",
        ],
    ),
    (Sabotage::ForgetClaims, &["claims what is held"]),
    (
        Sabotage::DeclineWithoutLookingUp,
        &["is refused: Err", "was refused as"],
    ),
    (Sabotage::SkipForkCheck, &["Kafka holds two histories"]),
    (
        Sabotage::AcknowledgeBeforeReplication,
        &["Kafka shows", "the topic ends at"],
    ),
    (Sabotage::LoseProducerOrder, &["Kafka shows"]),
    (Sabotage::CheckpointBeforeRows, &["rows of", "parked are"]),
    (Sabotage::DropCompareAndSet, &["rows of"]),
    (Sabotage::DropLogCheck, &["rows hold record"]),
    (Sabotage::PassOverPoison, &["rows of", "parked are"]),
];

#[test]
fn every_deliberate_fault_is_found() {
    let listed: Vec<Sabotage> = CONTROLS.iter().map(|(sabotage, _)| *sabotage).collect();
    assert_eq!(listed, Sabotage::ALL, "every fault has its control");
    let mut missed = Vec::new();
    for (sabotage, by) in CONTROLS {
        match found(*sabotage) {
            Some((seeds, violation)) => {
                let what: String = violation.what.chars().take(200).collect();
                println!("{sabotage:?}: {seeds} seeds, step {}: {what}", violation.step);
                if !by.iter().any(|words| violation.what.contains(words)) {
                    missed.push(format!("{sabotage:?} was found by something else: {}", violation.what));
                }
            }
            None => missed.push(format!("{sabotage:?} was not found in {SEEDS_MAX} seeds")),
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}
