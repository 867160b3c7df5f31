//! A channel's queue and the thread that empties it.
//!
//! [`Outbox::post`] takes a message or says at once that the queue is full; it never waits. The thread tries each message a few
//! times, further and further apart, as long as it is of use. While one waits for its next try, others are sent: a dead address
//! holds nobody up, and a dead server costs each message a time-out. When the last `Outbox` is dropped the thread tries once
//! more what it has and ends.

use std::{
    collections::VecDeque,
    fmt, io,
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    thread,
    time::{Duration, Instant},
};

use super::{Channel, Message, SendError};

/// Messages that may wait for one channel, and as many again between two tries.
pub const QUEUED_MAX: usize = 1_000;

/// How often and how far apart a message is tried.
#[derive(Clone, Debug)]
pub struct Pace {
    /// The pauses between two tries; one try more than there are pauses.
    pub pauses: Vec<Duration>,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            pauses: [5, 30, 120, 600].map(Duration::from_secs).to_vec(),
        }
    }
}

/// The queue has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many messages wait already")]
pub struct Full;

/// One channel's queue. Cheap to clone.
#[derive(Clone)]
pub struct Outbox {
    name: &'static str,
    queue: SyncSender<Waiting>,
}

struct Waiting {
    message: Message,
    tries: usize,
    due_at: Instant,
    useless_from: Instant,
}

impl Outbox {
    /// Starts the thread of a channel.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(name: &'static str, channel: Box<dyn Channel>, pace: Pace) -> io::Result<Self> {
        let (queue, waiting) = sync_channel(QUEUED_MAX);
        let sender = Sender {
            name,
            channel,
            pace,
            again: VecDeque::new(),
        };
        thread::Builder::new()
            .name(format!("outbox-{name}"))
            .spawn(move || sender.run(&waiting))?;
        Ok(Self { name, queue })
    }

    /// Queues a message; never waits.
    ///
    /// # Errors
    /// [`Full`]: the message is not sent, and said so in the log and the metrics.
    pub fn post(&self, message: Message) -> Result<(), Full> {
        let now = Instant::now();
        let waiting = Waiting {
            useless_from: now + message.useful_for,
            message,
            tries: 0,
            due_at: now,
        };
        match self.queue.try_send(waiting) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                count(self.name, "full");
                tracing::warn!(channel = self.name, "a message was dropped: too many wait already");
                Err(Full)
            }
        }
    }
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Outbox({})", self.name)
    }
}

struct Sender {
    name: &'static str,
    channel: Box<dyn Channel>,
    pace: Pace,
    again: VecDeque<Waiting>,
}

impl Sender {
    fn run(mut self, queue: &Receiver<Waiting>) {
        loop {
            let now = Instant::now();
            let next_due = self.again.iter().map(|waiting| waiting.due_at).min();
            if next_due.is_some_and(|due_at| due_at <= now) {
                self.try_due(now);
                continue;
            }
            let received = match next_due {
                Some(due_at) => queue.recv_timeout(due_at - now),
                None => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match received {
                Ok(waiting) => self.try_once(waiting),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    for waiting in std::mem::take(&mut self.again) {
                        self.try_once(waiting);
                    }
                    return;
                }
            }
        }
    }

    fn try_due(&mut self, now: Instant) {
        let (due, later) = std::mem::take(&mut self.again)
            .into_iter()
            .partition::<VecDeque<_>, _>(|waiting| waiting.due_at <= now);
        self.again = later;
        for waiting in due {
            self.try_once(waiting);
        }
    }

    fn try_once(&mut self, mut waiting: Waiting) {
        let (channel, message_id) = (self.name, waiting.message.id);
        if Instant::now() >= waiting.useless_from {
            count(channel, "too-late");
            tracing::warn!(channel, message.id = %message_id, "a message was given up: it is of no use any more");
            return;
        }
        let error = match self.channel.send(&waiting.message) {
            Ok(()) => return count(channel, "sent"),
            Err(error) => error,
        };
        let pause = self.pace.pauses.get(waiting.tries).copied();
        match (&error, pause) {
            (SendError::Later(_), Some(pause)) if self.again.len() < QUEUED_MAX => {
                tracing::info!(channel, message.id = %message_id, error = %error, "a message is tried again later");
                waiting.tries += 1;
                waiting.due_at = Instant::now() + pause;
                self.again.push_back(waiting);
            }
            (SendError::Later(_), _) => {
                count(channel, "given-up");
                tracing::warn!(channel, message.id = %message_id, error = %error, "a message was given up");
            }
            (SendError::AddressDead(_), _) => {
                count(channel, "address-dead");
                tracing::info!(channel, message.id = %message_id, error = %error, "a message has no receiver");
            }
            (SendError::Operator(_) | SendError::Rejected(_), _) => {
                count(channel, "refused");
                tracing::error!(channel, message.id = %message_id, error = %error, "a message cannot be sent");
            }
        }
    }
}

fn count(channel: &'static str, outcome: &'static str) {
    metrics::counter!("kinledger_messages_total", "channel" => channel, "outcome" => outcome).increment(1);
}
