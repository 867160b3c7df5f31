//! Seeds: many short runs, each of which can be had again.

use std::{
    num::NonZero,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use simulation::{Outcome, Scenario, run};

/// Steps with faults in one run. Short runs and many seeds find more than long ones: what goes wrong goes wrong early, in a
/// constellation that only another seed has.
const STEPS: u64 = 8_000;
/// Runs, so that there are two million steps and more.
const SEEDS: u64 = 260;

/// A number from the environment.
fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

fn add(sum: &mut Outcome, one: Outcome) {
    sum.steps += one.steps;
    sum.acknowledged += one.acknowledged;
    sum.refused += one.refused;
    sum.events += one.events;
    sum.crashes += one.crashes;
    sum.parked += one.parked;
    sum.forks += one.forks;
}

/// Runs these seeds on all cores.
fn run_all(seeds: std::ops::Range<u64>, steps: u64) -> Outcome {
    let next = AtomicU64::new(seeds.start);
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        let work = || {
            let mut sum = Outcome::default();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= seeds.end {
                    return sum;
                }
                match run(seed, Scenario::of(seed, steps)) {
                    Ok(outcome) => add(&mut sum, outcome),
                    Err(violation) => panic!("{violation}"),
                }
            }
        };
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        let mut sum = Outcome::default();
        for worker in workers {
            match worker.join() {
                Ok(one) => add(&mut sum, one),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        sum
    })
}

#[test]
fn two_million_steps_of_faults_break_nothing() {
    let steps = variable("KINLEDGER_SIM_STEPS").unwrap_or(STEPS);
    let seeds = match variable("KINLEDGER_SIM_SEED") {
        Some(seed) => seed..seed + variable("KINLEDGER_SIM_SEEDS").unwrap_or(1),
        None => 0..variable("KINLEDGER_SIM_SEEDS").unwrap_or(SEEDS),
    };
    let is_usual = seeds == (0..SEEDS) && steps == STEPS;
    let sum = run_all(seeds.clone(), steps);
    println!("seeds {seeds:?}, {steps} steps each with faults: {sum:?}");
    if is_usual {
        // A simulation in which little happens proves little.
        assert!(sum.steps >= 2_000_000, "{sum:?}");
        assert!(
            sum.acknowledged > 10_000 && sum.refused > 2_000 && sum.crashes > 5_000,
            "{sum:?}"
        );
        assert!(sum.parked > 20 && sum.forks > 20, "{sum:?}");
    }
}

#[test]
fn a_seed_is_a_run() {
    for seed in 1_000..1_006 {
        let scenario = Scenario::of(seed, 3_000);
        let once = run(seed, scenario).expect("it holds");
        let again = run(seed, scenario).expect("it holds");
        assert_eq!(once, again, "seed {seed} gave another run");
        let other = run(seed + 5_000_000, scenario).expect("it holds");
        assert_ne!(once.trace, other.trace, "another seed gave the same run");
    }
}
