//! Command workers of the lane: several, each the real [`LaneMachine`], whose effects are carried out on the simulated log.

use command_api::lanes::{
    Job, LaneSettings,
    machine::{Effect, Input, LaneMachine, Queued},
};
use domain::id::CommandId;
use event_store::{AppendCommand, LogError, RequestKey, Verdict};
use service_kit::problem::Problem;

use crate::{
    failures::unreachable_database,
    log::LANE,
    oracle::check_cache,
    sabotage::Sabotage,
    world::{Answer, Fate, Flight, Who, World},
};

/// Commands that may wait before a worker says that it is too much.
const QUEUE_MAX: usize = 24;

/// What requests are hashed under.
const REQUEST_KEY: RequestKey = RequestKey::new([7; 32]);

/// One instance.
pub(crate) struct Worker {
    pub(crate) machine: LaneMachine<usize>,
    number: usize,
    life: u32,
    /// Answers of this batch are to be kept from the clients: the driver has lied to the machine.
    withholds: bool,
}

impl Worker {
    pub(crate) fn new(number: usize) -> Self {
        Self {
            machine: LaneMachine::new(LANE, &settings()),
            number,
            life: 0,
            withholds: false,
        }
    }

    fn who(&self) -> Who {
        Who {
            number: self.number,
            life: self.life,
        }
    }
}

/// Small bounds, so that they are reached.
fn settings() -> LaneSettings {
    LaneSettings {
        queue_max: QUEUE_MAX,
        batch_commands_max: 6,
        batch_events_max: 8,
        cached_families_max: 2,
        ..LaneSettings::default()
    }
}

impl World {
    pub(crate) fn crash_worker(&mut self, number: usize) {
        self.crashes += 1;
        let life = self.workers[number].life + 1;
        self.workers[number] = Worker {
            life,
            ..Worker::new(number)
        };
    }

    /// A command reaches a worker's queue.
    pub(crate) fn worker_receives(&mut self, worker: usize, submission: usize) {
        let order = &self.orders[self.submissions[submission].order];
        if self.workers[worker].machine.waiting() >= QUEUE_MAX {
            let answer = Err(Problem::too_fast(1, "too many commands are waiting"));
            self.flights.push(Flight::Answer { submission, answer });
            return;
        }
        let job = Job {
            family_id: order.family_id,
            command_id: order.command_id,
            user_id: order.user_id,
            command: order.command.clone(),
            if_match: order.if_match,
            traceparent: order.traceparent.clone(),
            bytes: 0,
        };
        self.workers[worker]
            .machine
            .push(Queued::new(job, submission, &REQUEST_KEY));
    }

    /// A worker takes a batch, when it has nothing else to do.
    pub(crate) fn worker_begins(&mut self) -> u64 {
        let (number, at) = (self.chance.below(self.workers.len()), self.at());
        let worker = &mut self.workers[number];
        if !worker.machine.is_idle() || worker.machine.waiting() == 0 {
            return 5;
        }
        worker.withholds = false;
        let mut effects = Vec::new();
        worker.machine.begin(at, &mut effects);
        self.carry_out(number, effects);
        6
    }

    pub(crate) fn worker_hears(&mut self, who: Who, input: Input, withholds: bool) {
        if self.workers[who.number].life != who.life {
            return;
        }
        let at = self.at();
        let worker = &mut self.workers[who.number];
        worker.withholds |= withholds;
        let mut effects = Vec::new();
        worker.machine.handle(input, at, &mut effects);
        self.carry_out(who.number, effects);
        self.check_memory(who.number);
    }

    /// What a worker remembers is never ahead of the log, and where it is level, it is the same.
    fn check_memory(&mut self, number: usize) {
        let looks_closely = self.chance.per_mille(20);
        let mut held = Ok(());
        for (family, head, streams) in self.workers[number].machine.cached() {
            if looks_closely || head > self.log.family_head(family) {
                held = held.and_then(|()| check_cache(&self.log, family, head, streams));
            }
        }
        self.must(held);
    }

    fn carry_out(&mut self, number: usize, effects: Vec<Effect<usize>>) {
        let who = self.workers[number].who();
        for effect in effects {
            match effect {
                Effect::Answer { to, answer } => self.worker_answers(number, to, answer),
                effect => self.flights.push(Flight::WorkerAsks(who, effect)),
            }
        }
    }

    fn worker_answers(&mut self, number: usize, submission: usize, answer: Answer) {
        if self.workers[number].withholds {
            return;
        }
        if let Ok(receipt) = &answer {
            let order = &self.orders[self.submissions[submission].order];
            let held = self.oracle.is_durable(&self.log, order, receipt);
            self.must(held);
        }
        // An answer may be lost on its way; the client asks again.
        if !self.strikes(20) {
            self.flights.push(Flight::Answer { submission, answer });
        }
    }

    /// A question reaches the database, or not.
    pub(crate) fn worker_asks(&mut self, who: Who, effect: Effect<usize>) {
        let fate = self.fate();
        let is_lost = matches!(fate, Fate::Lost | Fate::DoneInVain);
        let mut withholds = false;
        let input = match effect {
            Effect::Load {
                ticket,
                family_id,
                streams,
            } => Input::Loaded {
                ticket,
                result: or_lost(is_lost, || self.log.load(family_id, &streams)),
            },
            Effect::Append { commands } => {
                let (result, lies) = self.append(&commands, fate);
                withholds = lies;
                Input::Appended { commands, result }
            }
            Effect::Find {
                ticket,
                family_id,
                command_id,
            } => Input::Found {
                ticket,
                result: or_lost(is_lost, || {
                    let stored = self.log.commands().get(&(family_id, command_id)).cloned();
                    Ok(stored.filter(|_| self.scenario.sabotage != Some(Sabotage::DeclineWithoutLookingUp)))
                }),
            },
            Effect::Read {
                ticket,
                family_id,
                after_seq,
                limit,
            } => Input::Read {
                ticket,
                result: or_lost(is_lost, || Ok(self.log.read_family(family_id, after_seq, limit))),
            },
            Effect::Answer { .. } => return,
        };
        self.flights.push(Flight::WorkerHears(who, input, withholds));
    }

    /// The append, and whether the driver lies about it.
    fn append(&mut self, commands: &[AppendCommand], fate: Fate) -> (Result<Vec<Verdict>, LogError>, bool) {
        let at = self.at();
        if matches!(
            self.scenario.sabotage,
            Some(Sabotage::AnswerBeforeAppend | Sabotage::CacheBeforeCommit)
        ) && self.chance.per_mille(20)
        {
            // What would have been said, of an append that never happens.
            let said = self.log.clone().append(commands, at);
            return (said, self.scenario.sabotage == Some(Sabotage::CacheBeforeCommit));
        }
        if fate == Fate::Lost {
            return (Err(unreachable_database()), false);
        }
        let mut result = self.log.append(commands, at);
        if fate == Fate::Twice {
            result = self.log.append(commands, at);
        }
        self.check_append(commands, &result);
        if fate == Fate::DoneInVain && result.is_ok() {
            result = Err(unreachable_database());
        }
        (result, false)
    }

    fn check_append(&mut self, commands: &[AppendCommand], result: &Result<Vec<Verdict>, LogError>) {
        if let Err(LogError::Inconsistent(what)) = result {
            self.violated(what.clone());
        }
        let ids: Vec<CommandId> = commands.iter().map(|command| command.command_id).collect();
        let mut seen = std::collections::BTreeSet::new();
        if commands
            .iter()
            .any(|command| !seen.insert((command.family_id, command.command_id)))
        {
            self.violated(format!("one batch holds a command twice: {ids:?}"));
        }
    }
}

fn or_lost<T>(is_lost: bool, ask: impl FnOnce() -> Result<T, LogError>) -> Result<T, LogError> {
    if is_lost { Err(unreachable_database()) } else { ask() }
}
