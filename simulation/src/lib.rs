//! The lane worker, the relay and the projector under every schedule and fault that a seed can think of.
//!
//! What runs here are the machines of the product themselves: `command_api::lanes::machine::LaneMachine`,
//! `event_store::relay::machine::RelayMachine`, `projectors::following::Follower` and `projectors::apply::batch::Batch`, with
//! the rules of `domain` and its commands. What they ask for is carried out on a log, a Kafka partition and a views database
//! in memory. One thread, one scheduler, one source of chance: a seed is a run, and a run that fails can be had again.
//!
//! - [`run`] runs a seed: so many steps with faults, then calm until all that was begun is at its end, then the reckoning.
//! - `world` is the scheduler, `faults` what breaks; `workers`, `relays`, `projectors_under_test` and `clients` say what happens to whom.
//! - `oracle` says what must hold; checks of a single moment stand where that moment is.
//! - [`Sabotage`] breaks something on purpose.

mod chance;
mod clients;
mod failures;
mod faults;
mod households;
mod journal;
mod kafka;
mod log;
mod oracle;
mod projectors_under_test;
mod reckoning;
mod relays;
mod sabotage;
mod views;
mod workers;
mod world;

pub use log::{LANE, SimLog};
pub use sabotage::Sabotage;

use crate::{journal::Journal, world::World};

/// Calm steps after which what was begun must be at its end.
const CALM_STEPS_MAX: u64 = 200_000;

/// What a run is about.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scenario {
    /// Steps with faults.
    pub steps: u64,
    /// Events that cannot be folded get into one family's ledger.
    pub poison: bool,
    /// The topic expires and is made anew.
    pub topic_faults: bool,
    /// The database is restored to an earlier moment, and the relay must halt.
    pub restore: bool,
    /// What is broken on purpose.
    pub sabotage: Option<Sabotage>,
}

impl Scenario {
    /// The scenario of a seed.
    pub fn of(seed: u64, steps: u64) -> Self {
        let restore = seed % 5 == 4;
        Self {
            steps,
            poison: seed % 3 == 1,
            // What has expired cannot show a fork.
            topic_faults: seed % 4 == 2 && !restore,
            restore,
            sabotage: None,
        }
    }
}

/// What a run came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Steps, calm ones included.
    pub steps: u64,
    /// A hash of everything that happened, in order.
    pub trace: u64,
    /// Commands acknowledged.
    pub acknowledged: usize,
    /// Refusals given.
    pub refused: usize,
    /// Events in the log.
    pub events: usize,
    /// Instances that died.
    pub crashes: u64,
    /// Families parked.
    pub parked: usize,
    /// Relays that found a fork.
    pub forks: usize,
}

/// Something that must hold does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The run.
    pub seed: u64,
    /// Steps with faults that were asked for.
    pub steps: u64,
    /// When it was found.
    pub step: u64,
    /// What.
    pub what: String,
    /// The last steps before, in words.
    pub before: Vec<String>,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            seed,
            steps,
            step,
            what,
            before,
        } = self;
        for line in before {
            writeln!(f, "  {line}")?;
        }
        write!(
            f,
            "seed {seed}, step {step}: {what}\n  again: KINLEDGER_SIM_SEED={seed} KINLEDGER_SIM_STEPS={steps} \
             cargo test -p simulation --test it -- seeds --nocapture"
        )
    }
}

impl std::error::Error for Violation {}

/// Runs a seed. One that fails is run again, to tell its last steps.
///
/// # Errors
/// The first thing that did not hold.
pub fn run(seed: u64, scenario: Scenario) -> Result<Outcome, Violation> {
    run_once(World::new(seed, scenario)).or_else(|_| {
        let mut world = World::new(seed, scenario);
        world.journal = Some(Journal::default());
        run_once(world)
    })
}

fn run_once(mut world: World) -> Result<Outcome, Violation> {
    let steps = world.scenario.steps;
    while world.step < steps + CALM_STEPS_MAX {
        world.is_calm = world.step >= steps;
        world.step();
        if let Some(what) = world.violation.take() {
            return Err(violation(world, what));
        }
        if world.is_calm && world.step.is_multiple_of(64) && world.is_settled() {
            return match world.reckon() {
                Ok(()) => Ok(world.outcome()),
                Err(what) => Err(violation(world, what)),
            };
        }
    }
    let what = format!("it does not come to rest: {}", world.unsettled());
    Err(violation(world, what))
}

fn violation(world: World, what: String) -> Violation {
    Violation {
        seed: world.seed,
        steps: world.scenario.steps,
        step: world.step,
        what,
        before: world.journal.map(Journal::lines).unwrap_or_default(),
    }
}
