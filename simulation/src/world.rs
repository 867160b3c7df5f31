//! The world: a database, a broker, the machines under test, clients, and one scheduler that decides what happens next.
//!
//! Everything that is said between them is a [`Flight`]. At every step the scheduler picks one at random and lets it arrive, or
//! lets a client, the broker or a fault act. So messages are delayed and overtake each other at will; questions to the database
//! are lost before or after they were carried out, or carried out twice; and any instance may die at any moment with all that
//! it remembers, while what it has sent still arrives.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use command_api::{Receipt, lanes::machine as lane};
use domain::id::FamilyId;
use event_store::relay::machine::{self as relay, Place};
use projectors::{apply::batch, following};
use service_kit::problem::Problem;

use crate::{
    Scenario,
    chance::{Chance, mix},
    clients::{Client, Submission},
    faults::{Database, Kind},
    households::{Household, Order},
    journal::{self, Journal},
    kafka::Partition,
    log::SimLog,
    oracle::Oracle,
    projectors_under_test::Projector,
    relays::Relay,
    views::SimViews,
    workers::Worker,
};

/// Waiting ones that are passed over at a step, so that most steps are ones in which something happens.
const IDLE_PASSED_OVER_MAX: usize = 8;

/// An instance and which of its lives: what was meant for an earlier one is not heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Who {
    pub(crate) number: usize,
    pub(crate) life: u32,
}

/// A client's answer.
pub(crate) type Answer = Result<Receipt, Problem>;

/// What is on its way.
pub(crate) enum Flight {
    Submit {
        submission: usize,
        worker: usize,
    },
    Answer {
        submission: usize,
        answer: Answer,
    },
    WorkerAsks(Who, lane::Effect<usize>),
    WorkerHears(Who, lane::Input, bool),
    RelayAsks(Who, relay::Effect),
    /// None when it failed.
    RelayHears(Who, Option<relay::Input>),
    RelayWakes(Who),
    SessionEnds(Who),
    ProjectorAsks(Who, following::Effect),
    ProjectorHears(Who, Option<following::Input>),
    ProjectorWakes(Who),
    BatchAsks(Who, u64, batch::Effect),
    BatchHears(Who, u64, BatchOutcome),
    RollBack(u64),
}

/// What came of a batch's effect.
pub(crate) enum BatchOutcome {
    Went(batch::Input),
    /// The database failed.
    Failed,
    /// The events cannot be folded.
    AboutEvents,
}

/// What happens to a question.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It arrives, and so does the answer.
    Done,
    /// It never arrives.
    Lost,
    /// It arrives, and the answer is lost.
    DoneInVain,
    /// It arrives twice; the second answer counts.
    Twice,
}

/// All of it.
pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) scenario: Scenario,
    pub(crate) chance: Chance,
    pub(crate) step: u64,
    pub(crate) trace: u64,
    /// Faults are over, and nobody asks for anything new.
    pub(crate) is_calm: bool,
    pub(crate) log: SimLog,
    pub(crate) views: SimViews,
    /// `log.relay_checkpoints`: the epoch and the place.
    pub(crate) relay_checkpoint: (i64, Place),
    /// Who holds the advisory lock of the lane.
    pub(crate) lane_lock: Option<Who>,
    /// Connections of relays that the database still knows.
    pub(crate) sessions: BTreeSet<Who>,
    pub(crate) kafka: Partition,
    /// The highest position that Kafka has shown, since the topic was made.
    pub(crate) shown: i64,
    pub(crate) workers: Vec<Worker>,
    pub(crate) relays: Vec<Relay>,
    pub(crate) projectors: Vec<Projector>,
    pub(crate) clients: Vec<Client>,
    pub(crate) households: Vec<Household>,
    pub(crate) orders: Vec<Order>,
    pub(crate) submissions: Vec<Submission>,
    pub(crate) flights: Vec<Flight>,
    pub(crate) oracle: Oracle,
    /// The first poison of each family that has one.
    pub(crate) unreadable: BTreeMap<FamilyId, i64>,
    /// Processes that are stopped, and until which step: what is said to them waits, and what they have said goes on.
    pub(crate) asleep: BTreeMap<(Kind, usize), u64>,
    /// Of so many chances that something is heard, an instance takes one.
    pub(crate) paces: [Vec<u64>; 3],
    pub(crate) saved: Option<Box<Database>>,
    /// What a restore has lost: position and chain hash.
    pub(crate) lost: Option<BTreeMap<i64, [u8; 32]>>,
    pub(crate) crashes: u64,
    pub(crate) violation: Option<String>,
    /// Only when somebody wants to read it.
    pub(crate) journal: Option<Journal>,
}

impl World {
    pub(crate) fn new(seed: u64, scenario: Scenario) -> Self {
        let mut chance = Chance::new(mix(seed));
        let families = chance.between(1, 3);
        let households = (0..families)
            .map(|number| Household::new(&mut chance, number == 0 && scenario.poison))
            .collect();
        let sabotage = scenario.sabotage;
        let mut world = Self {
            seed,
            step: 0,
            trace: seed,
            is_calm: false,
            log: SimLog::new(sabotage),
            views: SimViews::new(sabotage),
            relay_checkpoint: (0, Place::START),
            lane_lock: None,
            sessions: BTreeSet::new(),
            kafka: Partition::new(sabotage),
            shown: 0,
            workers: (0..chance.between(1, 3)).map(Worker::new).collect(),
            relays: (0..chance.between(1, 2)).map(Relay::new).collect(),
            projectors: (0..chance.between(1, 2)).map(Projector::new).collect(),
            clients: (0..chance.between(2, 6)).map(|_| Client::default()).collect(),
            households,
            orders: Vec::new(),
            submissions: Vec::new(),
            flights: Vec::new(),
            oracle: Oracle::default(),
            unreadable: BTreeMap::new(),
            asleep: BTreeMap::new(),
            paces: std::array::from_fn(|_| (0..3).map(|_| *chance.of(&[1, 1, 1, 4, 24])).collect()),
            saved: None,
            lost: None,
            crashes: 0,
            violation: None,
            journal: None,
            scenario,
            chance,
        };
        for number in 0..world.relays.len() {
            world.start_relay(number);
        }
        for number in 0..world.projectors.len() {
            world.start_projector(number);
        }
        world
    }

    /// The time of this step.
    pub(crate) fn at(&self) -> DateTime<Utc> {
        let begin = DateTime::<Utc>::from_timestamp(1_795_000_000, 0).expect("a moment");
        begin + TimeDelta::microseconds(i64::try_from(self.step).unwrap_or(0))
    }

    pub(crate) fn violated(&mut self, what: impl Into<String>) {
        self.violation.get_or_insert_with(|| what.into());
    }

    pub(crate) fn must(&mut self, held: Result<(), String>) {
        if let Err(what) = held {
            self.violated(what);
        }
    }

    /// Is it time for a fault that comes so many times in a thousand?
    pub(crate) fn strikes(&mut self, per_mille: u32) -> bool {
        !self.is_calm && self.chance.per_mille(per_mille)
    }

    pub(crate) fn fate(&mut self) -> Fate {
        if self.is_calm {
            return Fate::Done;
        }
        let fate = match self.chance.below(1_000) {
            0..20 => Fate::Lost,
            20..40 => Fate::DoneInVain,
            40..50 => Fate::Twice,
            _ => Fate::Done,
        };
        if let Some(journal) = &mut self.journal {
            journal.add(journal::fate(fate));
        }
        fate
    }

    /// Writes down what happens, when somebody wants to read it.
    pub(crate) fn note(&mut self, words: impl FnOnce() -> String) {
        let step = self.step;
        if let Some(journal) = &mut self.journal {
            journal.write(format!("{step}: {}", words()));
        }
    }

    /// One thing happens.
    pub(crate) fn step(&mut self) {
        self.step += 1;
        let head = self.log.head();
        if self.saved.is_some() && self.strikes(10) {
            self.restore();
        }
        let code = match self.chance.below(100) {
            0..12 => self.client_acts(),
            12..22 => self.worker_begins(),
            22..34 => self.broker_acts(),
            34..36 => self.fault(),
            _ => self.arrive(),
        };
        let state = code ^ ((self.log.head() - head) as u64) << 32 ^ (self.views.checkpoint() as u64) << 16;
        self.trace = mix(self.trace ^ mix(state ^ self.flights.len() as u64));
    }

    /// A flight arrives: which one is chance.
    fn arrive(&mut self) -> u64 {
        if self.flights.is_empty() {
            return 1;
        }
        let mut index = self.chance.below(self.flights.len());
        for _ in 0..IDLE_PASSED_OVER_MAX {
            if !self.is_idle(&self.flights[index]) && !self.sleeps(&self.flights[index]) {
                break;
            }
            index = self.chance.below(self.flights.len());
        }
        if self.sleeps(&self.flights[index]) {
            return 15;
        }
        let flight = self.flights.swap_remove(index);
        self.note(|| journal::words(&flight));
        match flight {
            Flight::Submit { submission, worker } => self.worker_receives(worker, submission),
            Flight::Answer { submission, answer } => self.client_hears(submission, answer),
            Flight::WorkerAsks(who, effect) => self.worker_asks(who, effect),
            Flight::WorkerHears(who, input, withholds) => self.worker_hears(who, input, withholds),
            Flight::RelayAsks(who, effect) => self.relay_asks(who, effect),
            Flight::RelayHears(who, input) => self.relay_hears(who, input),
            Flight::RelayWakes(who) => self.relay_wakes(who),
            Flight::SessionEnds(who) => self.session_ends(who),
            Flight::ProjectorAsks(who, effect) => self.projector_asks(who, effect),
            Flight::ProjectorHears(who, input) => self.projector_hears(who, input),
            Flight::ProjectorWakes(who) => self.projector_wakes(who),
            Flight::BatchAsks(who, transaction, effect) => self.batch_asks(who, transaction, effect),
            Flight::BatchHears(who, transaction, outcome) => self.batch_hears(who, transaction, outcome),
            Flight::RollBack(transaction) => self.views.roll_back(transaction),
        }
        index as u64 + 16
    }

    /// Is it somebody who waits for something that is not there yet?
    fn is_idle(&self, flight: &Flight) -> bool {
        match flight {
            Flight::RelayAsks(_, relay::Effect::Rest | relay::Effect::StandBy) => true,
            Flight::ProjectorAsks(_, following::Effect::Next { after }) => *after >= self.log.head(),
            _ => false,
        }
    }

    /// Is everything that was begun at its end?
    pub(crate) fn is_settled(&self) -> bool {
        let head = self.log.head();
        let is_busy = |worker: &Worker| !worker.machine.is_idle() || worker.machine.waiting() > 0;
        if self.clients.iter().any(Client::is_busy) || self.workers.iter().any(is_busy) {
            return false;
        }
        if self.lost.is_some() {
            return self.relays.iter().all(Relay::has_halted);
        }
        let is_relayed = self.kafka.is_quiet()
            && self
                .relays
                .iter()
                .any(|relay| relay.position() == head && relay.is_owner());
        is_relayed && self.views.checkpoint() == head && !self.views.is_busy()
    }
}
