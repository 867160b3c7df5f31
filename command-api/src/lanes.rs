//! Lane workers: one task per lane that turns queued commands into one append after another.
//!
//! The protocol, told once:
//! - A family lives in one lane, so one worker sees its commands in order. The queue is bounded in commands
//!   and in bytes; a full one answers 429.
//! - What queued while the last append was under way is the next batch (natural group commit); no timer waits for more.
//! - Each lane decides its batches for itself; their appends go to the database together (`event_store::append`).
//! - Each family's commands are decided one after another in memory, on streams from the cache or loaded from the log, each
//!   seeing the events of those before it. The append names the family head every command was decided on, and the chain hash of
//!   the head in the log, so that a history that merely has the same length is not taken for it.
//! - The database decides. If another process appended to the family meanwhile, its commands come back as conflicts, the
//!   cached state is dropped and they are decided again on what is there now, a bounded number of times.
//! - Streams go back to the cache only after the commit that made them true.
//! - A refusal is given only on what is durable: one that follows commands of the same batch is decided again after them.
//! - A refusal is given only after the log was asked whether this very command was accepted before: a repeat gets the first
//!   answer even when the rules would now say no.
//!
//! So any number of processes may run workers for the same lanes; routing a family to one of them only saves conflicts.
//!
//! The protocol is in [`machine`], which does no IO; here and in `driver` are the queues, and what performs its effects.

mod deciding;
mod driver;
mod looking_up;
pub mod machine;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use domain::{
    commands::AnyCommand,
    id::{CommandId, FamilyId, UserId},
};
use event_store::{Lane, Log, RequestKey};
use service_kit::problem::Problem;
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    task::JoinHandle,
};

use self::{
    driver::{Reply, Worker},
    machine::Queued,
};
use crate::receipt::Receipt;

/// How long a caller waits for an answer before being told to ask again.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// What is said when nobody knows: only the log does, and it tells a repeat.
pub(crate) const UNKNOWN_OUTCOME: &str =
    "it is not known whether the command was recorded: send it again with the same Idempotency-Key";

/// Bounds of the workers.
#[derive(Clone, Copy, Debug)]
pub struct LaneSettings {
    /// Commands that may wait in one lane before 429.
    pub queue_max: usize,
    /// Bytes, as they came over the wire, of the commands of one lane that are not answered yet, before 429. Parsed they take
    /// a few times as much. A command that is larger by itself has the lane to itself.
    pub queue_bytes_max: usize,
    /// Commands in one append.
    pub batch_commands_max: usize,
    /// Events in one append; a command with more goes alone.
    pub batch_events_max: usize,
    /// Families a lane keeps in memory.
    pub cached_families_max: usize,
}

impl Default for LaneSettings {
    fn default() -> Self {
        Self {
            queue_max: 4_096,
            // Two of the largest bodies there are.
            queue_bytes_max: 32 * 1024 * 1024,
            batch_commands_max: 1_024,
            batch_events_max: 4_096,
            cached_families_max: 2_000,
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
    /// How large the request was, in bytes.
    pub bytes: usize,
}

/// One lane's queue, bounded in commands and in bytes.
struct Queue {
    sender: mpsc::Sender<Queued<Reply>>,
    /// A permit for every [`WEIGHT_BYTES`]; given back when the command is answered.
    weight: Arc<Semaphore>,
    weight_max: u32,
}

/// The queues of all lanes.
pub struct Lanes {
    queues: Vec<Queue>,
    request_key: RequestKey,
}

/// What bytes are counted in, so that the smallest command counts as well and the largest sum fits a semaphore.
const WEIGHT_BYTES: usize = 1_024;

fn weight_of(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(WEIGHT_BYTES).max(1)).unwrap_or(u32::MAX)
}

impl Lanes {
    /// Starts one worker per lane of the log. The handles end once the queues are dropped and empty.
    pub fn start(log: &Log, lanes: i16, settings: LaneSettings) -> (Self, Vec<JoinHandle<()>>) {
        let mut queues = Vec::new();
        let mut workers = Vec::new();
        for lane in 0..lanes {
            let (sender, receiver) = mpsc::channel(settings.queue_max);
            let worker = Worker::new(Lane(lane), log.clone(), &settings);
            let weight_max = weight_of(settings.queue_bytes_max);
            queues.push(Queue {
                sender,
                weight: Arc::new(Semaphore::new(weight_max as usize)),
                weight_max,
            });
            workers.push(tokio::spawn(worker.run(receiver)));
        }
        let request_key = log.request_key();
        (Self { queues, request_key }, workers)
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
        let full = || Problem::too_fast(1, "too many commands are waiting");
        let weight = weight_of(job.bytes).min(queue.weight_max);
        let held = Arc::clone(&queue.weight)
            .try_acquire_many_owned(weight)
            .map_err(|_| full())?;
        let (sender, answer) = oneshot::channel();
        let reply = Reply { sender, _held: held };
        match queue.sender.try_send(Queued::new(job, reply, &self.request_key)) {
            Ok(()) => Ok(answer),
            Err(mpsc::error::TrySendError::Full(_)) => Err(full()),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(stopping()),
        }
    }
}
