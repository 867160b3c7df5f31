//! Lanes append together: what is in flight in a process goes into one statement and one commit.
//!
//! A commit, a round trip and the set-up of a statement cost as much as a dozen commands, and a load that is spread over eight
//! lanes would pay for them eight times. So the lanes' batches wait here while a statement is under way, and whatever waits
//! then is the next one; no timer waits for more. ADR 0016 has the figures.
//!
//! What must stay true:
//! - A lane has at most one share under way, so its commands stay in the order they were decided in.
//! - Sharing is a courtesy and never a risk. A statement for several shares waits for no lock: a lane that another process
//!   holds is left out, and its share goes alone, on a connection of its own, where waiting holds up nobody. When the database
//!   refuses a shared statement, nothing of it was written, and each share is sent alone, so that a fault fails its own lane.
//! - The statement runs in a task of its own: a caller that goes away leaves no half-known outcome to the others.
//! - When a connection breaks, nobody knows what became of the transaction. It is sent once more on a fresh one; what had been
//!   written comes back as duplicates, which is the truth.
//!
//! Connections are kept outside the pool, for the pool would ask each whether it is alive before and after every statement.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use sqlx::{PgConnection, PgPool, Postgres, pool::PoolConnection};
use tokio::sync::oneshot;

use super::{
    Verdict,
    columns::Share,
    statement::{self, Outcome},
};
use crate::{Lane, LogError, Wakeups};

/// Commands one statement takes from several lanes; one lane's share goes in whole.
const COMMANDS_MAX: usize = 2_048;
/// Bytes one statement takes from several lanes.
const BYTES_MAX: usize = 8 * 1024 * 1024;
/// How long a connection is kept: as sqlx's pools do, so that what a backend gathers is given back.
const KEPT_FOR: Duration = Duration::from_secs(30 * 60);

/// Who appends for all lanes of a process. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Together {
    shared: Arc<Shared>,
}

struct Shared {
    pool: PgPool,
    wakeups: Wakeups,
    statements_at_once: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    under_way: usize,
    lanes: HashSet<Lane>,
    kept: Vec<Kept>,
}

struct Waiting {
    share: Share,
    reply: oneshot::Sender<Result<Vec<Verdict>, LogError>>,
}

struct Kept {
    connection: PgConnection,
    since: Instant,
}

impl Together {
    pub(crate) fn new(pool: PgPool, wakeups: Wakeups, statements_at_once: usize) -> Self {
        Self {
            shared: Arc::new(Shared {
                pool,
                wakeups,
                statements_at_once: statements_at_once.max(1),
                state: Mutex::default(),
            }),
        }
    }

    /// Statements for several lanes that are under way at once: half as many as there are cores, for the other half decides.
    pub(crate) fn statements_at_once_default() -> usize {
        std::thread::available_parallelism().map_or(1, |cores| cores.get() / 2)
    }

    /// Appends a share; the verdicts come in the order of its commands.
    pub(super) async fn append(&self, share: Share) -> Result<Vec<Verdict>, LogError> {
        let (reply, answer) = oneshot::channel();
        self.shared.state().waiting.push_back(Waiting { share, reply });
        self.shared.go_on();
        answer
            .await
            .unwrap_or(Err(LogError::Database(sqlx::Error::WorkerCrashed)))
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // The state is whole between any two statements, so a panic elsewhere cannot have harmed it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a task when something waits and one may start.
    fn go_on(self: &Arc<Self>) {
        {
            let mut state = self.state();
            if state.waiting.is_empty() || state.under_way >= self.statements_at_once {
                return;
            }
            state.under_way += 1;
        }
        tokio::spawn(Arc::clone(self).run());
    }

    /// One statement after another, until nothing waits.
    async fn run(self: Arc<Self>) {
        loop {
            // Once round the other tasks that are ready: the lanes whose answers came at the same moment join in.
            tokio::task::yield_now().await;
            let Some(batch) = self.take() else { return };
            let (shares, replies): (Vec<_>, Vec<_>) = batch.into_iter().map(|one| (one.share, one.reply)).unzip();
            let result = self.statement(&shares, false).await;
            self.conclude(shares, replies, result);
        }
    }

    /// The next statement's shares, each of another lane; none when nothing can go, and then the task is over.
    fn take(&self) -> Option<Vec<Waiting>> {
        let mut state = self.state();
        let mut batch: Vec<Waiting> = Vec::new();
        let mut later = VecDeque::new();
        let (mut commands, mut bytes) = (0, 0);
        while let Some(one) = state.waiting.pop_front() {
            commands += one.share.commands.len();
            bytes += one.share.bytes();
            let fits = batch.is_empty() || (commands <= COMMANDS_MAX && bytes <= BYTES_MAX);
            if fits && state.lanes.insert(one.share.lane) {
                batch.push(one);
            } else {
                later.push_back(one);
            }
        }
        state.waiting = later;
        if batch.is_empty() {
            state.under_way -= 1;
            return None;
        }
        Some(batch)
    }

    /// Hands out what came of a statement. What has to be sent alone is, each share in a task of its own.
    fn conclude(
        self: &Arc<Self>,
        shares: Vec<Share>,
        replies: Vec<oneshot::Sender<Result<Vec<Verdict>, LogError>>>,
        result: Result<Vec<Outcome>, LogError>,
    ) {
        let is_shared = shares.len() > 1;
        let waiting = shares
            .into_iter()
            .zip(replies)
            .map(|(share, reply)| Waiting { share, reply });
        match result {
            Ok(outcomes) => {
                for (one, outcome) in waiting.zip(outcomes) {
                    match outcome {
                        Some(verdicts) => self.answer(one, Ok(verdicts)),
                        None => drop(tokio::spawn(Arc::clone(self).alone(one))),
                    }
                }
            }
            // The server answered, so the transaction is over and nothing of it was written.
            Err(LogError::Database(sqlx::Error::Database(_))) if is_shared => {
                for one in waiting {
                    drop(tokio::spawn(Arc::clone(self).alone(one)));
                }
            }
            Err(error) => {
                let mut waiting: Vec<Waiting> = waiting.collect();
                let last = waiting.pop();
                for one in waiting {
                    self.answer(one, Err(again(&error)));
                }
                if let Some(last) = last {
                    self.answer(last, Err(error));
                }
            }
        }
    }

    /// A share for itself. It waits for its lane.
    async fn alone(self: Arc<Self>, one: Waiting) {
        let result = self.statement(std::slice::from_ref(&one.share), true).await;
        let verdicts = result.map(|outcomes| outcomes.into_iter().next().flatten().unwrap_or_default());
        self.answer(one, verdicts);
        self.go_on();
    }

    fn answer(&self, one: Waiting, verdicts: Result<Vec<Verdict>, LogError>) {
        self.state().lanes.remove(&one.share.lane);
        if let Ok(verdicts) = &verdicts
            && verdicts.iter().any(|verdict| matches!(verdict, Verdict::Ok(_)))
        {
            self.wakeups.notify(one.share.lane);
        }
        // Nobody may be listening any more; what was written is no less durable for it.
        drop(one.reply.send(verdicts));
    }

    /// Sends shares, once more when the connection turns out to be broken. One that `waits` has a connection of the pool's.
    async fn statement(&self, shares: &[Share], waits: bool) -> Result<Vec<Outcome>, LogError> {
        let mut is_repeated = false;
        loop {
            let mut connection = self.connection(waits, is_repeated).await?;
            match statement::append(connection.get(), shares, waits).await {
                Err(error) if is_broken(&error) => {
                    if is_repeated {
                        return Err(error);
                    }
                    tracing::warn!(error = %error, "an append's connection broke: it is sent once more");
                    is_repeated = true;
                }
                result => {
                    self.keep(connection);
                    return result;
                }
            }
        }
    }

    async fn connection(&self, is_pooled: bool, is_fresh: bool) -> Result<Connection, LogError> {
        if self.pool.is_closed() {
            self.state().kept.clear();
            return Err(LogError::Database(sqlx::Error::PoolClosed));
        }
        if !is_pooled && !is_fresh {
            let mut state = self.state();
            state.kept.retain(|kept| kept.since.elapsed() < KEPT_FOR);
            if let Some(kept) = state.kept.pop() {
                return Ok(Connection::Kept(kept));
            }
        }
        let pooled = self.pool.acquire().await?;
        if is_pooled {
            return Ok(Connection::Pooled(pooled));
        }
        Ok(Connection::Kept(Kept {
            connection: pooled.detach(),
            since: Instant::now(),
        }))
    }

    fn keep(&self, connection: Connection) {
        let mut state = self.state();
        if let Connection::Kept(kept) = connection
            && state.kept.len() < self.statements_at_once
            && !self.pool.is_closed()
        {
            state.kept.push(kept);
        }
    }
}

/// What a statement is sent on.
enum Connection {
    Kept(Kept),
    Pooled(PoolConnection<Postgres>),
}

impl Connection {
    fn get(&mut self) -> &mut PgConnection {
        match self {
            Self::Kept(kept) => &mut kept.connection,
            Self::Pooled(pooled) => pooled,
        }
    }
}

/// Is the connection of no more use? Then nobody knows what became of the transaction, unless the server said that it ended it.
fn is_broken(error: &LogError) -> bool {
    match error {
        // Shutdown, crash of another backend, not accepting connections.
        LogError::Database(sqlx::Error::Database(error)) => {
            matches!(error.code().as_deref(), Some("57P01" | "57P02" | "57P03"))
        }
        LogError::Database(error) => matches!(
            error,
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed
        ),
        _ => false,
    }
}

/// The same error for one more caller.
fn again(error: &LogError) -> LogError {
    match error {
        LogError::Inconsistent(what) => LogError::Inconsistent(what.clone()),
        LogError::Database(sqlx::Error::PoolTimedOut) => LogError::Database(sqlx::Error::PoolTimedOut),
        LogError::Database(sqlx::Error::PoolClosed) => LogError::Database(sqlx::Error::PoolClosed),
        other => LogError::Database(sqlx::Error::Io(std::io::Error::other(other.to_string()))),
    }
}
