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

/// What sort of instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Worker,
    Relay,
    Projector,
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

/// The durable part of the database.
#[derive(Clone)]
struct Database {
    log: SimLog,
    views: SimViews,
    checkpoint: (i64, Place),
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
    asleep: BTreeMap<(Kind, usize), u64>,
    /// Of so many chances that something is heard, an instance takes one.
    paces: [Vec<u64>; 3],
    saved: Option<Box<Database>>,
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
    fn note(&mut self, words: impl FnOnce() -> String) {
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

    /// Is it for a process that is stopped?
    fn sleeps(&self, flight: &Flight) -> bool {
        if self.is_calm {
            return false;
        }
        let to = match flight {
            Flight::Submit { worker, .. } => (Kind::Worker, *worker),
            Flight::WorkerHears(who, ..) => (Kind::Worker, who.number),
            Flight::RelayHears(who, _) | Flight::RelayWakes(who) => (Kind::Relay, who.number),
            Flight::ProjectorHears(who, _) | Flight::BatchHears(who, ..) | Flight::ProjectorWakes(who) => {
                (Kind::Projector, who.number)
            }
            _ => return false,
        };
        let pace = self.paces[to.0 as usize][to.1];
        (pace > 1 && !mix(self.step).is_multiple_of(pace))
            || self.asleep.get(&to).is_some_and(|until| *until > self.step)
    }

    /// A process is stopped for a while.
    fn stop_somebody(&mut self) {
        let (kind, number) = match self.chance.below(3) {
            0 => (Kind::Worker, self.chance.below(self.workers.len())),
            1 => (Kind::Relay, self.chance.below(self.relays.len())),
            _ => (Kind::Projector, self.chance.below(self.projectors.len())),
        };
        let until = self.step + self.chance.between(50, 1_500) as u64;
        self.asleep.insert((kind, number), until);
    }

    /// Something breaks.
    fn fault(&mut self) -> u64 {
        if self.is_calm {
            return 2;
        }
        let fault = self.chance.below(100);
        self.note(|| format!("fault {fault}"));
        match fault {
            0..12 => {
                let number = self.chance.below(self.workers.len());
                self.crash_worker(number);
            }
            12..20 => {
                let number = self.chance.below(self.relays.len());
                self.crash_relay(number);
            }
            20..28 => {
                let number = self.chance.below(self.projectors.len());
                self.crash_projector(number);
            }
            28..33 => self.lose_session(),
            33..40 => self.kafka.lose_leader(),
            40..42 if self.scenario.topic_faults => {
                self.kafka.expire();
            }
            42..44 if self.scenario.topic_faults => self.make_topic_anew(),
            44..46 if self.scenario.poison => self.plant(),
            46..60 if self.scenario.restore => self.back_up(),
            60..66 => self.stop_somebody(),
            _ => return 3,
        }
        4
    }

    fn make_topic_anew(&mut self) {
        for number in 0..self.relays.len() {
            self.relay_fails(number);
        }
        self.kafka = Partition::new(self.scenario.sabotage);
        self.shown = 0;
    }

    /// An event that no release knows gets into a family's ledger.
    fn plant(&mut self) {
        let family = self.households[0].family_id;
        if self.unreadable.is_empty() && self.log.family_head(family) > 0 && self.chance.per_mille(300) {
            let (id, at) = (self.chance.uuid(), self.at());
            self.log.plant_unreadable(family, id, at);
            self.unreadable.insert(family, self.log.family_head(family));
        }
    }

    /// The database is saved, as a backup or a standby has it.
    fn back_up(&mut self) {
        if self.lost.is_some() || self.log.head() <= 10 {
            return;
        }
        let mut views = self.views.clone();
        views.roll_back_all();
        self.saved = Some(Box::new(Database {
            log: self.log.clone(),
            views,
            checkpoint: self.relay_checkpoint,
        }));
    }

    /// The database is restored to the moment that was saved, if Kafka has more than that.
    fn restore(&mut self) {
        let last = self.kafka.visible().next_back().map_or(0, |last| last.position);
        let saved_head = self.saved.as_ref().map_or(0, |saved| saved.log.head());
        if self.kafka.lag() > 0 || last <= saved_head {
            return;
        }
        let Some(saved) = self.saved.take() else { return };
        self.note(|| format!("the database is restored to {saved_head}"));
        let gone = self.log.events().iter().skip(saved.log.events().len());
        self.lost = Some(gone.map(|record| (record.position, record.chain_hash)).collect());
        self.log = saved.log;
        self.views.restore(saved.views);
        self.relay_checkpoint = saved.checkpoint;
        self.oracle.forget();
        // A restore takes longer than a producer keeps a message, and the services that write are started again after it.
        for number in 0..self.relays.len() {
            self.relay_fails(number);
        }
        self.kafka.silence();
        self.sessions.clear();
        self.lane_lock = None;
        self.flights.retain(|flight| {
            !matches!(
                flight,
                Flight::WorkerAsks(..) | Flight::Answer { .. } | Flight::Submit { .. }
            )
        });
        for number in 0..self.workers.len() {
            self.crash_worker(number);
        }
        for client in &mut self.clients {
            *client = Client::default();
        }
        for household in &mut self.households {
            household.resume(&self.log);
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
