//! Who asks: looked up in the rows for every request, and for all that wait at once in one statement.
//!
//! Every answer begins with this look: is the person a member, in which role, how far are the family's rows, of which generation
//! are they? It is what keeps a kept answer from being told to somebody who has left, or after it was overtaken, so it is never
//! remembered. What can be shared is the round trip: whatever waits while a look is under way goes into the next one, as appends
//! do; no timer waits for more. ADR 0025 has the figures.
//!
//! What must stay true:
//! - A look begins after the requests it answers have arrived. Nobody joins one that is under way, so an answer is as fresh as
//!   from a statement of the request's own: what was committed before a request arrived is seen by it.
//! - One asker gets the place of that very person in that very family: `generations.places` (migrations/…_places.sql) gives
//!   nothing else, and a row that cannot be understood fails its own asker only.
//! - The look runs in a task of its own: a client that goes away takes nobody's answer along.
//! - A look only reads, so one whose connection broke is made once more on a fresh one.
//!
//! The connection is kept outside the pool, which asks each whether it is alive before and after every statement.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use domain::id::{FamilyId, UserId};
use sqlx::{FromRow, PgConnection, PgPool};
use tokio::{sync::oneshot, time::timeout};
use uuid::Uuid;

use crate::error::QueryError;

/// Askers one look is for; more wait for the next.
const ASKERS_MAX: usize = 512;
/// Requests that may wait for a look; further ones are told to come back.
const WAITING_MAX: usize = 8_192;
/// How long a look may take, a repetition included. Locks and statements end sooner by the role's own time-outs.
const LOOK_WITHIN: Duration = Duration::from_secs(12);
/// How long a connection is kept: as sqlx's pools do, so that what a backend gathers is given back.
const KEPT_FOR: Duration = Duration::from_secs(30 * 60);

/// A person in a family.
type Asker = (FamilyId, UserId);
type Found = Result<Option<Arc<Place>>, QueryError>;

/// A person's place in a family, as the rows have it.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct Place {
    pub(crate) member_id: Uuid,
    pub(crate) role: String,
    pub(crate) family_seq: i64,
    pub(crate) generation: String,
    pub(crate) name: String,
    pub(crate) currency: String,
    pub(crate) zone: String,
    pub(crate) week_start: String,
    pub(crate) awaits_consent: bool,
    pub(crate) chain_hash: Vec<u8>,
}

/// Who looks for all requests of a process. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Places {
    shared: Arc<Shared>,
}

struct Shared {
    pool: PgPool,
    looks_at_once: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: Vec<Waiting>,
    under_way: usize,
    kept: Vec<Kept>,
}

struct Waiting {
    asker: Asker,
    reply: oneshot::Sender<Found>,
}

struct Kept {
    connection: PgConnection,
    since: Instant,
}

impl Places {
    /// As many looks at once as half the cores, at least one: the other half answers.
    pub(crate) fn new(pool: PgPool) -> Self {
        let looks_at_once = std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).max(1));
        Self {
            shared: Arc::new(Shared {
                pool,
                looks_at_once,
                state: Mutex::default(),
            }),
        }
    }

    /// The person's place in the family at a moment after this call; none for a stranger and for a family that does not exist.
    pub(crate) async fn of(&self, family_id: FamilyId, user_id: UserId) -> Found {
        let (reply, answer) = oneshot::channel();
        let asker = (family_id, user_id);
        {
            let mut state = self.shared.state();
            if state.waiting.len() >= WAITING_MAX {
                return Err(sqlx::Error::PoolTimedOut.into());
            }
            state.waiting.push(Waiting { asker, reply });
        }
        self.shared.go_on();
        answer
            .await
            .unwrap_or(Err(QueryError::Database(sqlx::Error::WorkerCrashed)))
    }
}

/// A task that looks.
struct Looking {
    shared: Arc<Shared>,
    is_over: bool,
}

impl Drop for Looking {
    fn drop(&mut self) {
        if !self.is_over {
            // It did not come to its end: another may begin, and who waited for this one is told.
            let mut state = self.shared.state();
            state.under_way -= 1;
            state.waiting.clear();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // The state is whole between any two statements, so a panic elsewhere cannot have harmed it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a task when somebody waits and one may start.
    fn go_on(self: &Arc<Self>) {
        {
            let mut state = self.state();
            if state.waiting.is_empty() || state.under_way >= self.looks_at_once {
                return;
            }
            state.under_way += 1;
        }
        let looking = Looking {
            shared: Arc::clone(self),
            is_over: false,
        };
        tokio::spawn(looking.run());
    }

    /// Who waits, each asker once with all their requests; none when nobody does, and then the task is over. Whose client has
    /// gone is left out.
    fn take(&self) -> Option<HashMap<Asker, Vec<oneshot::Sender<Found>>>> {
        let mut state = self.state();
        let mut askers: HashMap<Asker, Vec<_>> = HashMap::new();
        let mut later = Vec::new();
        for Waiting { asker, reply } in std::mem::take(&mut state.waiting) {
            if reply.is_closed() {
                continue;
            }
            if askers.len() < ASKERS_MAX || askers.contains_key(&asker) {
                askers.entry(asker).or_default().push(reply);
            } else {
                later.push(Waiting { asker, reply });
            }
        }
        state.waiting = later;
        if askers.is_empty() {
            state.under_way -= 1;
            return None;
        }
        Some(askers)
    }

    /// The places of these askers, in their order.
    async fn look(&self, askers: &[Asker]) -> Result<Vec<Option<Arc<Place>>>, sqlx::Error> {
        match self.look_once(askers, false).await {
            Err(error) if is_broken(&error) => {
                tracing::warn!(error = %error, "the connection that looks up who asks broke: it is replaced");
                self.look_once(askers, true).await
            }
            result => result,
        }
    }

    async fn look_once(&self, askers: &[Asker], is_fresh: bool) -> Result<Vec<Option<Arc<Place>>>, sqlx::Error> {
        let mut kept = self.connection(is_fresh).await?;
        let result = ask(&mut kept.connection, askers).await;
        if !result.as_ref().is_err_and(is_broken) && !self.pool.is_closed() {
            let mut state = self.state();
            if state.kept.len() < self.looks_at_once {
                state.kept.push(kept);
            }
        }
        result
    }

    async fn connection(&self, is_fresh: bool) -> Result<Kept, sqlx::Error> {
        {
            let mut state = self.state();
            if is_fresh || self.pool.is_closed() {
                // Where one has broken, the others have too, as a rule.
                state.kept.clear();
            }
            state.kept.retain(|kept| kept.since.elapsed() < KEPT_FOR);
            if let Some(kept) = state.kept.pop() {
                return Ok(kept);
            }
        }
        let connection = self.pool.acquire().await?.detach();
        Ok(Kept {
            connection,
            since: Instant::now(),
        })
    }
}

impl Looking {
    /// One look after another, until nobody waits.
    async fn run(mut self) {
        loop {
            // Once round the other tasks that are ready: requests that arrived at the same moment join in.
            tokio::task::yield_now().await;
            let Some(askers) = self.shared.take() else {
                self.is_over = true;
                return;
            };
            let (askers, replies): (Vec<Asker>, Vec<_>) = askers.into_iter().unzip();
            match timeout(LOOK_WITHIN, self.shared.look(&askers)).await {
                Ok(Ok(places)) => {
                    for (place, replies) in places.into_iter().zip(replies) {
                        answer(replies, || Ok(place.clone()));
                    }
                }
                Ok(Err(error)) => fail(replies, error),
                Err(_) => fail(replies, sqlx::Error::PoolTimedOut),
            }
        }
    }
}

fn fail(replies: Vec<Vec<oneshot::Sender<Found>>>, error: sqlx::Error) {
    let error = Arc::new(error);
    for replies in replies {
        answer(replies, || Err(QueryError::Look(Arc::clone(&error))));
    }
}

fn answer(replies: Vec<oneshot::Sender<Found>>, found: impl Fn() -> Found) {
    for reply in replies {
        // Who has gone meanwhile misses nothing.
        drop(reply.send(found()));
    }
}

#[derive(FromRow)]
struct Row {
    place: i32,
    #[sqlx(flatten)]
    found: Place,
}

async fn ask(connection: &mut PgConnection, askers: &[Asker]) -> Result<Vec<Option<Arc<Place>>>, sqlx::Error> {
    let (families, users): (Vec<Uuid>, Vec<Uuid>) = askers
        .iter()
        .map(|(family_id, user_id)| (family_id.uuid(), user_id.uuid()))
        .unzip();
    let rows: Vec<Row> = sqlx::query_as(
        "select place, member_id, role, family_seq, generation, name, currency, zone, week_start, awaits_consent,
            chain_hash
        from generations.places($1, $2)",
    )
    .bind(families)
    .bind(users)
    .fetch_all(connection)
    .await?;
    let mut places = vec![None; askers.len()];
    for row in rows {
        let index = usize::try_from(row.place).ok().and_then(|place| place.checked_sub(1));
        if let Some(place) = index.and_then(|index| places.get_mut(index)) {
            *place = Some(Arc::new(row.found));
        }
    }
    Ok(places)
}

/// Is the connection of no more use?
fn is_broken(error: &sqlx::Error) -> bool {
    match error {
        // Ended by an operator, a crash of another backend, a server that is stopping or starting.
        sqlx::Error::Database(error) => matches!(error.code().as_deref(), Some("57P01" | "57P02" | "57P03" | "57P05")),
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => true,
        _ => false,
    }
}
