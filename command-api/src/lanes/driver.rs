//! Driving a lane's machine: its queue, and the performing of its effects on the log.

use std::{collections::VecDeque, time::Instant};

use chrono::Utc;
use event_store::{AppendCommand, Lane, Log, LogError, Verdict};
use futures::{StreamExt, stream::FuturesUnordered};
use service_kit::problem::Problem;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::{
    LaneSettings,
    machine::{Effect, Input, LaneMachine, Queued, erases},
};
use crate::receipt::Receipt;

/// Questions of one lane to the database that are under way at once.
const QUESTIONS_AT_ONCE: usize = 8;

/// Whom the service answers, and what the command takes up of its lane until then.
pub(super) struct Reply {
    pub(super) sender: oneshot::Sender<Result<Receipt, Problem>>,
    pub(super) _held: OwnedSemaphorePermit,
}

/// One lane's task.
pub(super) struct Worker {
    machine: LaneMachine<Reply>,
    log: Log,
    lane: Lane,
    lane_label: String,
}

impl Worker {
    pub(super) fn new(lane: Lane, log: Log, settings: &LaneSettings) -> Self {
        Self {
            machine: LaneMachine::new(lane, settings),
            log,
            lane,
            lane_label: lane.to_string(),
        }
    }

    /// Works until the queue is closed and empty.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Queued<Reply>>) {
        loop {
            if self.machine.waiting() == 0 {
                match queue.recv().await {
                    Some(first) => self.machine.push(first),
                    None => return,
                }
            }
            while self.machine.room() > 0 {
                match queue.try_recv() {
                    Ok(next) => self.machine.push(next),
                    Err(_) => break,
                }
            }
            self.work().await;
        }
    }

    /// One batch, to its end.
    async fn work(&mut self) {
        let Self {
            machine,
            log,
            lane,
            lane_label,
            ..
        } = self;
        let mut effects = Vec::new();
        let size = machine.begin(Utc::now(), &mut effects);
        metrics::histogram!("kinledger_append_batch", "lane" => lane_label.clone()).record(size as f64);
        let mut questions = VecDeque::new();
        let mut under_way = FuturesUnordered::new();
        loop {
            for effect in effects.drain(..) {
                match effect {
                    // Nobody may be listening any more; the command is no less durable for it.
                    Effect::Answer { to, answer } => drop(to.sender.send(answer)),
                    append @ Effect::Append { .. } => questions.push_front(append),
                    other => questions.push_back(other),
                }
            }
            while under_way.len() < QUESTIONS_AT_ONCE {
                let Some(effect) = questions.pop_front() else { break };
                under_way.push(perform(log, *lane, lane_label, effect));
            }
            match under_way.next().await {
                Some(Some(input)) => machine.handle(input, Utc::now(), &mut effects),
                Some(None) => {}
                None => return,
            }
        }
    }
}

/// Asks the log what an effect asks; none for one that is no question.
async fn perform(log: &Log, lane: Lane, lane_label: &str, effect: Effect<Reply>) -> Option<Input> {
    Some(match effect {
        Effect::Load {
            ticket,
            family_id,
            streams,
        } => Input::Loaded {
            ticket,
            result: log.load(lane, family_id, &streams).await,
        },
        Effect::Append { commands } => {
            let result = append(log, lane, lane_label, &commands).await;
            Input::Appended { commands, result }
        }
        Effect::Find {
            ticket,
            family_id,
            command_id,
        } => Input::Found {
            ticket,
            result: log.command(lane, family_id, command_id).await,
        },
        Effect::Read {
            ticket,
            family_id,
            after_seq,
            limit,
        } => Input::Read {
            ticket,
            result: log.read_family(lane, family_id, after_seq, limit).await,
        },
        Effect::Answer { .. } => return None,
    })
}

async fn append(log: &Log, lane: Lane, lane_label: &str, commands: &[AppendCommand]) -> Result<Vec<Verdict>, LogError> {
    let started = Instant::now();
    let verdicts = log.append(lane, commands).await;
    metrics::histogram!("kinledger_append_seconds", "lane" => lane_label.to_owned())
        .record(started.elapsed().as_secs_f64());
    if let Ok(verdicts) = &verdicts {
        let is_ok = |verdict: &Verdict| matches!(verdict, Verdict::Ok(_));
        let judged = commands.iter().zip(verdicts);
        let events: usize = judged
            .filter(|(_, v)| is_ok(v))
            .map(|(command, _)| command.events.len())
            .sum();
        metrics::counter!("kinledger_events_appended_total").increment(events as u64);
        if commands
            .iter()
            .any(|command| command.events.iter().any(|new| erases(&new.event)))
        {
            log.forget_keys();
        }
    }
    verdicts
}
