//! The lane worker's protocol as a state machine: no IO, no clock, no chance. [`super`] tells the protocol.
//!
//! Whoever drives it pushes commands, begins a batch, performs the [`Effect`]s it is handed, and brings back what came of each
//! as an [`Input`], in any order. Every effect but [`Effect::Answer`] is answered by exactly one input; a batch is over when
//! none is left. The machine never looks at the time: it arrives with every call.
//!
//! ```text
//! push ─► waiting ─► begin ─► deciding ──► appending ──► answered
//!            ▲                │  ▲           │    │
//!            │              Load Loaded   Append  Appended ── duplicate, claim taken ─► looking up ─► answered
//!            └──────────────── again ◄── conflict ┘
//! ```
//!
//! The driver decides when a batch begins and how its effects are performed, so it is the place to change scheduling: to share
//! one database call between lanes it has to hold back the [`Effect::Append`]s of several machines and hand back the verdicts.

use std::collections::{HashMap, HashSet, VecDeque};

use chrono::{DateTime, Utc};
use domain::{
    aggregate::LedgerEvent,
    decide::Streams,
    family::FamilyEvent,
    id::{CommandId, FamilyId},
    stream::StreamId,
};
use event_store::{AppendCommand, Lane, Loaded, LogError, Record, RequestKey, StoredCommand, Verdict};
use service_kit::problem::Problem;

use super::{Job, LaneSettings, deciding::Deciding, looking_up::LookUps};
use crate::{
    cache::{Cached, FamilyCache},
    receipt::{EventReceipt, Receipt, RequestHash},
};

/// How often a command is decided anew after another process was faster. Source: ours.
const ATTEMPTS_MAX: u32 = 8;

/// A command in a lane, and whom to answer.
pub struct Queued<T> {
    pub(super) job: Job,
    pub(super) request_hash: RequestHash,
    attempts: u32,
    reply: T,
}

impl<T> Queued<T> {
    /// A command that nobody has looked at yet.
    pub fn new(job: Job, reply: T, key: &RequestKey) -> Self {
        Self {
            request_hash: RequestHash::of(job.command.as_ref(), job.family_id, key),
            job,
            attempts: 0,
            reply,
        }
    }

    pub(super) fn answer(self, answer: Result<Receipt, Problem>) -> Effect<T> {
        Effect::Answer { to: self.reply, answer }
    }
}

/// What the machine wants done.
pub enum Effect<T> {
    /// Fold these streams of a family, and its head, as of one moment: [`event_store::Log::load`].
    Load {
        /// Comes back with the input.
        ticket: usize,
        /// Whose.
        family_id: FamilyId,
        /// Which.
        streams: Vec<StreamId>,
    },
    /// Append this batch: [`event_store::Log::append`]. At most one at a time.
    Append {
        /// Comes back with the input.
        commands: Vec<AppendCommand>,
    },
    /// Was this command accepted before? [`event_store::Log::command`].
    Find {
        /// Comes back with the input.
        ticket: usize,
        /// Whose.
        family_id: FamilyId,
        /// Which.
        command_id: CommandId,
    },
    /// Read a family's events: [`event_store::Log::read_family`].
    Read {
        /// Comes back with the input.
        ticket: usize,
        /// Whose.
        family_id: FamilyId,
        /// Above this `family_seq`.
        after_seq: i64,
        /// So many.
        limit: i64,
    },
    /// Tell the client.
    Answer {
        /// Whom.
        to: T,
        /// What.
        answer: Result<Receipt, Problem>,
    },
}

/// What came of an effect.
pub enum Input {
    /// Of [`Effect::Load`].
    Loaded {
        /// The effect's.
        ticket: usize,
        /// What was loaded.
        result: Result<Loaded, LogError>,
    },
    /// Of [`Effect::Append`].
    Appended {
        /// The effect's.
        commands: Vec<AppendCommand>,
        /// A verdict for each.
        result: Result<Vec<Verdict>, LogError>,
    },
    /// Of [`Effect::Find`].
    Found {
        /// The effect's.
        ticket: usize,
        /// The command, when it was.
        result: Result<Option<StoredCommand>, LogError>,
    },
    /// Of [`Effect::Read`].
    Read {
        /// The effect's.
        ticket: usize,
        /// The records.
        result: Result<Vec<Record>, LogError>,
    },
}

/// One family's share of a batch, decided and not yet durable.
struct Share {
    family_id: FamilyId,
    cached: Option<Cached>,
}

/// What goes into one append.
struct Part<T> {
    commands: Vec<AppendCommand>,
    waiting: Vec<Queued<T>>,
    shares: Vec<Share>,
    events: usize,
}

impl<T> Default for Part<T> {
    fn default() -> Self {
        Self {
            commands: Vec::new(),
            waiting: Vec::new(),
            shares: Vec::new(),
            events: 0,
        }
    }
}

/// What is under way in the database.
struct Appending<T> {
    waiting: Vec<Queued<T>>,
    shares: Vec<Share>,
}

/// One worker of one lane. `T` is whom to answer: a channel in the service.
pub struct LaneMachine<T> {
    lane: Lane,
    commands_max: usize,
    events_max: usize,
    cache: FamilyCache,
    waiting: VecDeque<Queued<T>>,
    /// Families of the batch, by ticket.
    families: Vec<Deciding<T>>,
    undecided: usize,
    parts: VecDeque<Part<T>>,
    appending: Option<Appending<T>>,
    look_ups: LookUps<T>,
    /// To be decided again in the next batch, in order.
    again: Vec<Queued<T>>,
    /// To be tried one by one, before anything else: one of them is what the database refuses.
    alone: VecDeque<Queued<T>>,
}

impl<T> LaneMachine<T> {
    /// A worker with nothing to do and nothing in memory.
    pub fn new(lane: Lane, settings: &LaneSettings) -> Self {
        Self {
            lane,
            commands_max: settings.batch_commands_max,
            events_max: settings.batch_events_max,
            cache: FamilyCache::new(settings.cached_families_max),
            waiting: VecDeque::new(),
            families: Vec::new(),
            undecided: 0,
            parts: VecDeque::new(),
            appending: None,
            look_ups: LookUps::new(lane),
            again: Vec::new(),
            alone: VecDeque::new(),
        }
    }

    /// Puts a command behind those that wait.
    pub fn push(&mut self, queued: Queued<T>) {
        self.waiting.push_back(queued);
    }

    /// Commands that wait for the next batch.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// How many more commands the next batch takes.
    pub fn room(&self) -> usize {
        self.commands_max.saturating_sub(self.waiting.len())
    }

    /// Is no batch under way?
    pub fn is_idle(&self) -> bool {
        self.undecided == 0
            && self.parts.is_empty()
            && self.appending.is_none()
            && self.look_ups.is_empty()
            && self.alone.is_empty()
    }

    /// What is kept in memory: each family with the head it is true at. For who checks it against the log.
    pub fn cached(&self) -> impl Iterator<Item = (FamilyId, i64, &Streams)> {
        self.cache.families()
    }

    /// Takes a batch of what waits, and says of how many commands. Only while idle.
    pub fn begin(&mut self, at: DateTime<Utc>, effects: &mut Vec<Effect<T>>) -> usize {
        debug_assert!(self.is_idle(), "one batch after another");
        let batch = take_batch(&mut self.waiting, self.commands_max);
        let size = batch.len();
        self.decide(batch, at, effects);
        self.advance(at, effects);
        size
    }

    /// Takes in what came of an effect.
    pub fn handle(&mut self, input: Input, at: DateTime<Utc>, effects: &mut Vec<Effect<T>>) {
        match input {
            Input::Loaded { ticket, result } => {
                let wanted = self.families[ticket].loaded(result, at);
                self.went_on(ticket, wanted, effects);
            }
            Input::Appended { commands, result } => {
                if let Some(appending) = self.appending.take() {
                    match result {
                        Ok(verdicts) => self.judged(commands, appending, verdicts, effects),
                        Err(error) => self.failed(appending.waiting, &error, effects),
                    }
                }
            }
            Input::Found { ticket, result } => self.look_ups.found(ticket, result, effects),
            Input::Read { ticket, result } => self.look_ups.read(ticket, result, effects),
        }
        self.advance(at, effects);
    }

    /// Goes on with whatever can go on.
    fn advance(&mut self, at: DateTime<Utc>, effects: &mut Vec<Effect<T>>) {
        while self.undecided == 0 && self.appending.is_none() {
            if !self.families.is_empty() {
                self.gather();
            }
            if let Some(part) = self.parts.pop_front() {
                self.appending = Some(Appending {
                    waiting: part.waiting,
                    shares: part.shares,
                });
                effects.push(Effect::Append {
                    commands: part.commands,
                });
                return;
            }
            if !self.look_ups.is_empty() {
                return;
            }
            match self.alone.pop_front() {
                Some(queued) => self.decide(vec![queued], at, effects),
                None => break,
            }
        }
        if self.is_idle() {
            for queued in self.again.drain(..).rev() {
                self.waiting.push_front(queued);
            }
        }
    }

    /// Begins to decide a batch, every family on its own.
    fn decide(&mut self, batch: Vec<Queued<T>>, at: DateTime<Utc>, effects: &mut Vec<Effect<T>>) {
        for (family_id, jobs) in by_family(batch) {
            let cached = self.cache.take(family_id);
            let ticket = self.families.len();
            self.families.push(Deciding::new(family_id, cached, jobs));
            self.undecided += 1;
            let wanted = self.families[ticket].begin(at);
            self.went_on(ticket, wanted, effects);
        }
    }

    /// A family wants streams, or is decided.
    fn went_on(&mut self, ticket: usize, wanted: Option<Vec<StreamId>>, effects: &mut Vec<Effect<T>>) {
        let family = &mut self.families[ticket];
        if let Some(streams) = wanted {
            let family_id = family.family_id;
            effects.push(Effect::Load {
                ticket,
                family_id,
                streams,
            });
            return;
        }
        self.undecided -= 1;
        for (queued, problem) in family.answered.drain(..) {
            effects.push(queued.answer(Err(problem)));
        }
        // Beside the append: nothing in the batch has the same command id.
        for (queued, problem) in std::mem::take(&mut family.declined) {
            self.look_ups.decline(queued, problem, effects);
        }
    }

    /// Makes appends out of the families, in order, none with too many events unless one family alone has them.
    fn gather(&mut self) {
        let mut part = Part::default();
        for family in std::mem::take(&mut self.families) {
            self.again.extend(family.again);
            if family.accepted.is_empty() {
                put_back(&mut self.cache, family.family_id, family.cached);
                continue;
            }
            let events: usize = family.accepted.iter().map(|(_, append)| append.events.len()).sum();
            if part.events > 0 && part.events + events > self.events_max {
                self.parts.push_back(std::mem::take(&mut part));
            }
            part.events += events;
            part.shares.push(Share {
                family_id: family.family_id,
                cached: family.cached,
            });
            for (queued, append) in family.accepted {
                part.waiting.push(queued);
                part.commands.push(append);
            }
        }
        if !part.commands.is_empty() {
            self.parts.push_back(part);
        }
    }

    /// The database has judged. Only now what was decided may go back to the cache, and only where all of it came true.
    fn judged(
        &mut self,
        commands: Vec<AppendCommand>,
        appending: Appending<T>,
        verdicts: Vec<Verdict>,
        effects: &mut Vec<Effect<T>>,
    ) {
        let mut lost = HashSet::new();
        // Where each family ends now.
        let mut chain_hashes = HashMap::with_capacity(appending.shares.len());
        for ((append, mut queued), verdict) in commands.into_iter().zip(appending.waiting).zip(verdicts) {
            let family_id = append.family_id;
            match verdict {
                Verdict::Ok(appended) => {
                    chain_hashes.insert(family_id, appended.chain_hash);
                    if append.events.iter().any(|new| erases(&new.event)) {
                        // What is in memory was read before: it holds what must not be read any more.
                        lost.insert(family_id);
                    }
                    let receipt = Receipt {
                        command_id: append.command_id.uuid(),
                        family_id,
                        family_seq: appended.last_family_seq,
                        lane: self.lane.0,
                        position: appended.last_position,
                        events: EventReceipt::of_appended(
                            appended.first_family_seq,
                            append.events.iter().map(|e| (e.stream, &e.event)),
                        ),
                    };
                    effects.push(queued.answer(Ok(receipt)));
                }
                Verdict::Duplicate(stored) => {
                    lost.insert(family_id);
                    self.look_ups.repeat(queued, stored, effects);
                }
                Verdict::ClaimTaken { scope } => {
                    lost.insert(family_id);
                    let claim = append.claims.into_iter().find(|claim| claim.scope == scope);
                    let problem = claim.map_or_else(
                        || Problem::conflict("claim-taken", "the value is taken"),
                        |claim| claim.taken.into(),
                    );
                    self.look_ups.decline(queued, problem, effects);
                }
                Verdict::Conflict => {
                    lost.insert(family_id);
                    queued.attempts += 1;
                    if queued.attempts < ATTEMPTS_MAX {
                        self.again.push(queued);
                    } else {
                        let problem =
                            Problem::conflict("lost-race", "others changed the ledger at the same moment: try again");
                        effects.push(queued.answer(Err(problem.retry_after(1))));
                    }
                }
            }
        }
        for mut share in appending.shares {
            if !lost.contains(&share.family_id) {
                if let (Some(cached), Some(chain_hash)) = (&mut share.cached, chain_hashes.get(&share.family_id)) {
                    cached.chain_hash = *chain_hash;
                }
                put_back(&mut self.cache, share.family_id, share.cached);
            }
        }
    }

    /// The append failed as a whole. When the database itself refused something in it, the commands are tried apart, so that
    /// a faulty one cannot fail its neighbours; when it could not be reached, nobody knows, and that is the answer.
    fn failed(&mut self, waiting: Vec<Queued<T>>, error: &LogError, effects: &mut Vec<Effect<T>>) {
        let is_refused = error.is_refused_by_database();
        let may_isolate = is_refused && waiting.len() > 1;
        if !is_refused {
            tracing::error!(error = %error, commands = waiting.len(), "append failed");
        }
        for mut queued in waiting {
            queued.attempts += 1;
            if may_isolate && queued.attempts < ATTEMPTS_MAX {
                self.alone.push_back(queued);
            } else if is_refused {
                effects.push(queued.answer(Err(Problem::ours(error))));
            } else {
                effects.push(queued.answer(Err(Problem::unavailable(1, super::UNKNOWN_OUTCOME))));
            }
        }
    }
}

/// Are there texts that read otherwise after this event?
pub(super) fn erases(event: &LedgerEvent) -> bool {
    matches!(
        event,
        LedgerEvent::Family(FamilyEvent::MemberErased(_) | FamilyEvent::FamilyDeleted(_))
    )
}

fn put_back(cache: &mut FamilyCache, family_id: FamilyId, cached: Option<Cached>) {
    if let Some(cached) = cached {
        cache.put(family_id, cached);
    }
}

/// The next commands, each id once: a repeat inside one batch waits for the first answer.
fn take_batch<T>(waiting: &mut VecDeque<Queued<T>>, max: usize) -> Vec<Queued<T>> {
    let mut batch = Vec::new();
    let mut seen = HashSet::new();
    let mut later = VecDeque::new();
    while batch.len() < max {
        let Some(queued) = waiting.pop_front() else { break };
        if seen.insert((queued.job.family_id, queued.job.command_id)) {
            batch.push(queued);
        } else {
            later.push_back(queued);
        }
    }
    later.append(waiting);
    *waiting = later;
    batch
}

/// Families in order of first appearance, each with its commands in order.
fn by_family<T>(batch: Vec<Queued<T>>) -> Vec<(FamilyId, Vec<Queued<T>>)> {
    let mut index = HashMap::new();
    let mut families: Vec<(FamilyId, Vec<Queued<T>>)> = Vec::new();
    for queued in batch {
        let family_id = queued.job.family_id;
        let at = *index.entry(family_id).or_insert_with(|| {
            families.push((family_id, Vec::new()));
            families.len() - 1
        });
        families[at].1.push(queued);
    }
    families
}
