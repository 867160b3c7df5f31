//! Lane workers: one task per lane that turns queued commands into one append after another.
//!
//! The protocol, told once:
//! - A family lives in one lane, so one worker sees its commands in order. The queue is bounded; a full one answers 429.
//! - What queued while the last append was under way is the next batch (natural group commit); no timer waits for more.
//! - Lanes take turns: only so many of them work on a batch at once, and what queues while a lane waits for its turn makes its
//!   batch larger. An append costs much more than one more command in it, so this is where throughput comes from when the
//!   load is spread over all lanes. The turn is a courtesy: a lane that does not get it soon goes ahead without.
//! - Each family's commands are decided one after another in memory, on streams from the cache or loaded from the log, each
//!   seeing the events of those before it. The append names the family head every command was decided on.
//! - The database decides. If another process appended to the family meanwhile, its commands come back as conflicts, the
//!   cached state is dropped and they are decided again on what is there now, a bounded number of times.
//! - Streams go back to the cache only after the commit that made them true.
//! - A refusal is given only on what is durable: one that follows commands of the same batch is decided again after them.
//! - A refusal is given only after the log was asked whether this very command was accepted before: a repeat gets the first
//!   answer even when the rules would now say no.
//!
//! So any number of processes may run workers for the same lanes; routing a family to one of them only saves conflicts.

mod deciding;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use domain::{
    commands::AnyCommand,
    decide::Decision,
    id::{CommandId, FamilyId, UserId},
};
use event_store::{AppendCommand, Lane, Log, LogError, StoredCommand, Verdict};
use futures::{StreamExt, stream};
use service_kit::problem::Problem;
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    task::JoinHandle,
};

use self::deciding::decide_family;
use crate::{
    cache::{Cached, FamilyCache},
    log_problem,
    receipt::{EventReceipt, Receipt},
};

/// How often a command is decided anew after another process was faster. Source: ours.
const ATTEMPTS_MAX: u32 = 8;
/// Families of one batch that are decided side by side, when they wait for loads.
const FAMILIES_AT_ONCE: usize = 8;

/// How long a lane waits for its turn before it goes ahead without: a lane that is held up must not hold up the others.
const TURN_WITHIN: Duration = Duration::from_millis(20);

/// Bounds of the workers.
#[derive(Clone, Copy, Debug)]
pub struct LaneSettings {
    /// Commands that may wait in one lane before 429.
    pub queue_max: usize,
    /// Commands in one append.
    pub batch_commands_max: usize,
    /// Events in one append; a command with more goes alone.
    pub batch_events_max: usize,
    /// Families a lane keeps in memory.
    pub cached_families_max: usize,
    /// Lanes that work on a batch at once.
    pub lanes_at_once: usize,
}

impl Default for LaneSettings {
    fn default() -> Self {
        Self {
            queue_max: 4_096,
            batch_commands_max: 512,
            batch_events_max: 4_096,
            cached_families_max: 2_000,
            // As many as there are cores: more would share them, in smaller batches. Two, so that one can wait for the disk.
            lanes_at_once: std::thread::available_parallelism().map_or(2, usize::from).max(2),
        }
    }
}

/// A command on its way.
pub struct Job {
    /// The family it is for.
    pub family_id: FamilyId,
    /// Its `Idempotency-Key`.
    pub command_id: CommandId,
    /// Who asks.
    pub user_id: UserId,
    /// What is asked.
    pub command: Arc<dyn AnyCommand>,
    /// The head the client insists on (`If-Match`).
    pub if_match: Option<i64>,
    /// W3C trace context of the request.
    pub traceparent: String,
}

struct Queued {
    job: Job,
    request_hash: [u8; 32],
    attempts: u32,
    reply: oneshot::Sender<Result<Receipt, Problem>>,
}

/// The queues of all lanes.
pub struct Lanes {
    queues: Vec<mpsc::Sender<Queued>>,
}

impl Lanes {
    /// Starts one worker per lane of the log. The handles end once the queues are dropped and empty.
    pub fn start(log: &Log, lanes: i16, settings: LaneSettings) -> (Self, Vec<JoinHandle<()>>) {
        let mut queues = Vec::new();
        let mut workers = Vec::new();
        let turns = Arc::new(Semaphore::new(settings.lanes_at_once.max(1)));
        for lane in 0..lanes {
            let (sender, receiver) = mpsc::channel(settings.queue_max);
            let worker = Worker {
                lane: Lane(lane),
                log: log.clone(),
                settings,
                cache: FamilyCache::new(settings.cached_families_max),
                turns: Arc::clone(&turns),
                lane_label: lane.to_string(),
            };
            queues.push(sender);
            workers.push(tokio::spawn(worker.run(receiver)));
        }
        (Self { queues }, workers)
    }

    /// Queues a command; the answer arrives once it is durable or declined.
    ///
    /// # Errors
    /// A problem at once when the lane's queue is full (429) or the process is stopping (503).
    pub fn submit(&self, lane: Lane, job: Job) -> Result<oneshot::Receiver<Result<Receipt, Problem>>, Problem> {
        let stopping = || Problem::unavailable(2, "the service is stopping");
        let queue = usize::try_from(lane.0)
            .ok()
            .and_then(|lane| self.queues.get(lane))
            .ok_or_else(stopping)?;
        let (reply, answer) = oneshot::channel();
        let request_hash = crate::receipt::request_hash(job.command.as_ref());
        let queued = Queued {
            job,
            request_hash,
            attempts: 0,
            reply,
        };
        match queue.try_send(queued) {
            Ok(()) => Ok(answer),
            Err(mpsc::error::TrySendError::Full(_)) => Err(Problem::too_fast(1, "too many commands are waiting")),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(stopping()),
        }
    }
}

struct Worker {
    lane: Lane,
    log: Log,
    settings: LaneSettings,
    cache: FamilyCache,
    turns: Arc<Semaphore>,
    lane_label: String,
}

/// One family's share of a batch, decided.
struct Decided {
    family_id: FamilyId,
    cached: Option<Cached>,
    accepted: Vec<(Queued, AppendCommand, Decision)>,
    declined: Vec<(Queued, Problem)>,
    answered: Vec<(Queued, Problem)>,
    again: Vec<Queued>,
}

impl Worker {
    async fn run(mut self, mut queue: mpsc::Receiver<Queued>) {
        let mut waiting: VecDeque<Queued> = VecDeque::new();
        let turns = Arc::clone(&self.turns);
        loop {
            if waiting.is_empty() {
                match queue.recv().await {
                    Some(first) => waiting.push_back(first),
                    None => return,
                }
            }
            let turn = tokio::time::timeout(TURN_WITHIN, turns.acquire()).await;
            while waiting.len() < self.settings.batch_commands_max {
                match queue.try_recv() {
                    Ok(next) => waiting.push_back(next),
                    Err(_) => break,
                }
            }
            let batch = take_batch(&mut waiting, self.settings.batch_commands_max);
            let again = self.process(batch).await;
            drop(turn);
            for queued in again.into_iter().rev() {
                waiting.push_front(queued);
            }
        }
    }

    /// Decides and appends a batch; returns what must be decided again, in order.
    async fn process(&mut self, batch: Vec<Queued>) -> Vec<Queued> {
        metrics::histogram!("kinledger_append_batch", "lane" => self.lane_label.clone()).record(batch.len() as f64);
        let families = by_family(batch);
        let taken: Vec<_> = families
            .into_iter()
            .map(|(id, jobs)| (id, self.cache.take(id), jobs))
            .collect();
        let (log, lane) = (self.log.clone(), self.lane);
        let mut decided: Vec<Decided> = stream::iter(taken)
            .map(|(family_id, cached, jobs)| decide_family(log.clone(), lane, family_id, cached, jobs))
            .buffered(FAMILIES_AT_ONCE)
            .collect()
            .await;
        for family in &mut decided {
            for (queued, problem) in family.declined.drain(..) {
                decline(&self.log, self.lane, queued, problem).await;
            }
            for (queued, problem) in family.answered.drain(..) {
                drop(queued.reply.send(Err(problem)));
            }
        }
        let mut again: Vec<Queued> = decided.iter_mut().flat_map(|family| family.again.drain(..)).collect();
        let mut part: Vec<Decided> = Vec::new();
        let mut events = 0;
        for family in decided {
            let count: usize = family.accepted.iter().map(|(_, append, _)| append.events.len()).sum();
            if events > 0 && events + count > self.settings.batch_events_max {
                again.extend(self.append(std::mem::take(&mut part)).await);
                events = 0;
            }
            events += count;
            part.push(family);
        }
        again.extend(self.append(part).await);
        again
    }

    async fn append(&mut self, families: Vec<Decided>) -> Vec<Queued> {
        let mut appends = Vec::new();
        let mut waiting = Vec::new();
        let mut caches = Vec::new();
        for family in families {
            caches.push((family.family_id, family.cached));
            for (queued, append, decision) in family.accepted {
                appends.push(append);
                waiting.push((queued, decision));
            }
        }
        if appends.is_empty() {
            for (family_id, cached) in caches {
                self.put_back(family_id, cached);
            }
            return Vec::new();
        }
        let started = Instant::now();
        let verdicts = self.log.append(self.lane, &appends).await;
        metrics::histogram!("kinledger_append_seconds", "lane" => self.lane_label.clone())
            .record(started.elapsed().as_secs_f64());
        match verdicts {
            Ok(verdicts) => self.answer(appends, waiting, caches, verdicts).await,
            Err(error) => self.isolate(appends, waiting, error).await,
        }
    }

    async fn answer(
        &mut self,
        appends: Vec<AppendCommand>,
        waiting: Vec<(Queued, Decision)>,
        caches: Vec<(FamilyId, Option<Cached>)>,
        verdicts: Vec<Verdict>,
    ) -> Vec<Queued> {
        let mut lost = HashSet::new();
        let mut again = Vec::new();
        for ((append, (mut queued, decision)), verdict) in appends.into_iter().zip(waiting).zip(verdicts) {
            let family_id = append.family_id;
            match verdict {
                Verdict::Ok(appended) => {
                    metrics::counter!("kinledger_events_appended_total").increment(append.events.len() as u64);
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
                    drop(queued.reply.send(Ok(receipt)));
                }
                Verdict::Duplicate(stored) => {
                    lost.insert(family_id);
                    repeat(&self.log, self.lane, queued, &stored).await;
                }
                Verdict::ClaimTaken { scope } => {
                    lost.insert(family_id);
                    let refusal = decision
                        .claims
                        .into_iter()
                        .find(|claim| claim.scope == scope)
                        .map(|claim| claim.taken);
                    match refusal {
                        Some(refusal) => decline(&self.log, self.lane, queued, refusal.into()).await,
                        None => drop(
                            queued
                                .reply
                                .send(Err(Problem::conflict("claim-taken", "the value is taken"))),
                        ),
                    }
                }
                Verdict::Conflict => {
                    lost.insert(family_id);
                    queued.attempts += 1;
                    if queued.attempts >= ATTEMPTS_MAX {
                        let problem =
                            Problem::conflict("lost-race", "others changed the ledger at the same moment: try again");
                        drop(queued.reply.send(Err(problem.retry_after(1))));
                    } else {
                        again.push(queued);
                    }
                }
            }
        }
        for (family_id, cached) in caches {
            if !lost.contains(&family_id) {
                self.put_back(family_id, cached);
            }
        }
        again
    }

    /// The append failed as a whole. When the database itself refused something in it, the families are appended apart, so
    /// that one faulty command cannot fail its neighbours; when it could not be reached, nobody knows, and that is the answer.
    async fn isolate(
        &mut self,
        appends: Vec<AppendCommand>,
        waiting: Vec<(Queued, Decision)>,
        error: LogError,
    ) -> Vec<Queued> {
        let mut by_family: Vec<(FamilyId, Vec<AppendCommand>, Vec<Queued>)> = Vec::new();
        for (append, (queued, _)) in appends.into_iter().zip(waiting) {
            match by_family
                .last_mut()
                .filter(|(family_id, ..)| *family_id == append.family_id)
            {
                Some((_, appends, jobs)) => {
                    appends.push(append);
                    jobs.push(queued);
                }
                None => by_family.push((append.family_id, vec![append], vec![queued])),
            }
        }
        let may_isolate = error.is_refused_by_database() && by_family.len() > 1;
        let mut again = Vec::new();
        for (_, _, jobs) in by_family {
            for mut queued in jobs {
                queued.attempts += 1;
                if may_isolate && queued.attempts < ATTEMPTS_MAX {
                    again.push(queued);
                } else {
                    let problem = if error.is_refused_by_database() {
                        Problem::ours(&error)
                    } else {
                        tracing::error!(error = %error, "append failed");
                        Problem::unavailable(
                            1,
                            "it is not known whether the command was recorded: send it again with the same Idempotency-Key",
                        )
                    };
                    drop(queued.reply.send(Err(problem)));
                }
            }
        }
        if may_isolate {
            let mut left = Vec::new();
            for queued in again {
                left.extend(Box::pin(self.process(vec![queued])).await);
            }
            return left;
        }
        again
    }

    fn put_back(&mut self, family_id: FamilyId, cached: Option<Cached>) {
        if let Some(cached) = cached {
            self.cache.put(family_id, cached);
        }
    }
}

/// The next commands, each id once: a repeat inside one batch waits for the first answer.
fn take_batch(waiting: &mut VecDeque<Queued>, max: usize) -> Vec<Queued> {
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
fn by_family(batch: Vec<Queued>) -> Vec<(FamilyId, Vec<Queued>)> {
    let mut index = HashMap::new();
    let mut families: Vec<(FamilyId, Vec<Queued>)> = Vec::new();
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

/// Declines, unless the log says that this very command was accepted before.
async fn decline(log: &Log, lane: Lane, queued: Queued, problem: Problem) {
    // To a stranger the family does not exist, and neither do its commands, whatever key they hold.
    if problem.code() == Problem::unknown_family().code() {
        drop(queued.reply.send(Err(problem)));
        return;
    }
    match log.command(lane, queued.job.family_id, queued.job.command_id).await {
        Ok(Some(stored)) => repeat(log, lane, queued, &stored).await,
        Ok(None) => drop(queued.reply.send(Err(problem))),
        Err(error) => drop(queued.reply.send(Err(log_problem(&error)))),
    }
}

/// Gives the first answer again; 409 when the key was used for another request.
async fn repeat(log: &Log, lane: Lane, queued: Queued, stored: &StoredCommand) {
    let answer = if stored.request_hash == queued.request_hash {
        Receipt::of_stored(log, lane, queued.job.family_id, queued.job.command_id, stored)
            .await
            .map_err(|e| log_problem(&e))
    } else {
        Err(Problem::conflict(
            "idempotency-key-reused",
            "this Idempotency-Key was used for another request",
        ))
    };
    drop(queued.reply.send(answer));
}

/// How long a caller waits for an answer before being told to ask again.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(30);
