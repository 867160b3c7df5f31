//! The sealer: one connection, one loop over the lanes. The protocol is told in the parent module.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::{Duration, Instant},
};

use sqlx::{Connection as _, PgConnection, PgPool};
use tokio::{sync::watch, task::JoinSet};

use super::{
    KeyError, SealStatus, SealingKey, keys, lag,
    lane::{Halt, Sealing, Step},
    note,
    status::LOG,
    witness::{self, Held, Witness},
};
use crate::{Lane, LogError};

/// The longest pause after a failure.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// How long a lane that could not be sealed is left alone.
pub(super) const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// How the sealer works.
#[derive(Clone, Debug)]
pub struct SealSettings {
    /// The file of the signing key; made when it is missing.
    pub key_file: PathBuf,
    /// A lane with new events gets a checkpoint this often, at most.
    pub every: Duration,
    /// Where checkpoints are given to.
    pub witnesses: Vec<Witness>,
}

/// Why nothing can be sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The log cannot be read, or the trees not written.
    #[error("the sealer cannot use the log")]
    Log(#[from] LogError),
    /// There is no key.
    #[error("the sealer has no key")]
    Key(#[from] KeyError),
}

impl From<sqlx::Error> for SealError {
    fn from(error: sqlx::Error) -> Self {
        Self::Log(error.into())
    }
}

/// Seals until told to stop, and what is left then. Whatever fails is waited out, a key that is not there or none of this log's
/// included, and shows in `status` meanwhile; a fork halts its lane until the log fits again.
pub async fn run(pool: PgPool, settings: SealSettings, status: SealStatus, shutdown: watch::Receiver<bool>) {
    // Exporters go on until everything is sealed, so they have a switch of their own.
    let (stop_exports, exports_stopping) = watch::channel(false);
    let mut others = JoinSet::new();
    for witness in settings.witnesses.clone() {
        others.spawn(witness::export(
            pool.clone(),
            witness,
            status.clone(),
            exports_stopping.clone(),
        ));
    }
    others.spawn(lag::watch(
        pool.clone(),
        settings.every,
        status.clone(),
        exports_stopping,
    ));
    seal(&pool, &settings, &status, shutdown).await;
    stop_exports.send_replace(true);
    while others.join_next().await.is_some() {}
}

async fn seal(pool: &PgPool, settings: &SealSettings, status: &SealStatus, mut shutdown: watch::Receiver<bool>) {
    let mut session: Option<Session> = None;
    let mut pause = settings.every;
    loop {
        let is_stopping = *shutdown.borrow();
        match round(pool, settings, status, &mut session, is_stopping).await {
            Ok(()) => {
                status.goes_on();
                pause = settings.every;
            }
            Err(error) => {
                // Whatever this connection held is gone with it.
                session = None;
                pause = (pause * 2).clamp(Duration::from_millis(250), PAUSE_MAX);
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                match &error {
                    // People have to put the right file there; the next attempt finds it.
                    SealError::Key(key) if !matches!(key, KeyError::Log(_)) => {
                        let why = std::error::Error::source(key).map_or(String::new(), |cause| format!(": {cause}"));
                        tracing::error!(error = %key, cause = why, "nothing is sealed; trying again");
                        status.stopped(format!("{key}{why}"));
                    }
                    _ => tracing::warn!(%error, cause, "the sealer begins anew"),
                }
            }
        }
        if is_stopping {
            return;
        }
        // A sender that is gone will never say so: that too is the end.
        drop(tokio::time::timeout(pause, shutdown.wait_for(|is_stopping| *is_stopping)).await);
    }
}

/// Seals everything there is, once, in the lanes that nobody else is sealing, and exports it.
///
/// # Errors
/// [`SealError`]; exporting is only tried.
pub async fn seal_now(pool: &PgPool, settings: &SealSettings, status: &SealStatus) -> Result<(), SealError> {
    let mut session = None;
    let sealed = round(pool, settings, status, &mut session, true).await;
    let ended = match session {
        Some(session) => session.end().await,
        None => Ok(()),
    };
    sealed.and(ended)?;
    for witness in &settings.witnesses {
        let mut given = witness::Given::default();
        if let Err(error) = witness::export_new(pool, witness, status, &mut given).await {
            tracing::warn!(destination = witness.name(), %error, "checkpoints could not be exported");
        }
    }
    Ok(())
}

async fn round(
    pool: &PgPool,
    settings: &SealSettings,
    status: &SealStatus,
    session: &mut Option<Session>,
    is_urgent: bool,
) -> Result<(), SealError> {
    let open = match session {
        Some(open) => open,
        None => session.insert(Session::open(pool, settings).await?),
    };
    open.acquire(settings, status).await?;
    open.seal_all(settings, status, is_urgent).await
}

/// The one connection, and what it owns.
struct Session {
    connection: PgConnection,
    log: String,
    /// Lanes whose lock this connection holds.
    owned: BTreeSet<Lane>,
    lanes: BTreeMap<Lane, Sealing>,
    /// Lanes that could not be sealed, and when that was.
    left: BTreeMap<Lane, Instant>,
}

impl Session {
    async fn open(pool: &PgPool, settings: &SealSettings) -> Result<Self, SealError> {
        // Taken out of the pool for good: its locks end with it.
        let connection = pool.acquire().await?.detach();
        let log = super::log_name(pool).await?;
        let mut session = Self {
            connection,
            log,
            owned: BTreeSet::new(),
            lanes: BTreeMap::new(),
            left: BTreeMap::new(),
        };
        let key = SealingKey::read_or_create(&settings.key_file, &session.log)?;
        keys::register(&mut session.connection, &key).await?;
        Ok(session)
    }

    /// Gives the lanes back before the connection ends: the server hears of that some time later, and until then nobody could take them.
    async fn end(mut self) -> Result<(), SealError> {
        sqlx::query("select pg_advisory_unlock_all()")
            .execute(&mut self.connection)
            .await?;
        Ok(self.connection.close().await?)
    }

    /// Takes the lanes that nobody has, and looks again at those that could not be sealed.
    async fn acquire(&mut self, settings: &SealSettings, status: &SealStatus) -> Result<(), SealError> {
        let lanes: Vec<i16> = sqlx::query_scalar("select lane from log.lanes order by lane")
            .fetch_all(&mut self.connection)
            .await?;
        // Places that did not answer; they are not waited for again in this round.
        let mut silent = BTreeSet::new();
        for lane in lanes.into_iter().map(Lane) {
            let was_left = self.left.get(&lane);
            if self.lanes.contains_key(&lane) || was_left.is_some_and(|at| at.elapsed() < LOOK_AGAIN_AFTER) {
                continue;
            }
            if !self.owned.contains(&lane) {
                let is_mine: bool = sqlx::query_scalar("select pg_try_advisory_lock(4713, $1)")
                    .bind(i32::from(lane.0))
                    .fetch_one(&mut self.connection)
                    .await?;
                if !is_mine {
                    continue;
                }
                self.owned.insert(lane);
            }
            let held = self.held_outside(lane, settings, &mut silent).await?;
            if status.is_forked_by(lane, LOG) && !silent.is_empty() {
                // It may have been this place's word that halted the lane.
                self.left.insert(lane, Instant::now());
                continue;
            }
            match Sealing::load(&mut self.connection, lane, held).await {
                Ok(sealing) => {
                    self.lanes.insert(lane, sealing);
                }
                Err(halt) => self.leave(lane, status, halt)?,
            }
        }
        Ok(())
    }

    /// What places hold of a lane. Who does not answer is asked again by its exporter, until it does; sealing does not wait.
    async fn held_outside(
        &mut self,
        lane: Lane,
        settings: &SealSettings,
        silent: &mut BTreeSet<String>,
    ) -> Result<Vec<(String, Held)>, SealError> {
        let keys = keys::verifier_keys(&mut self.connection).await?;
        let origin = note::origin(&self.log, lane);
        let mut all = Vec::new();
        for witness in &settings.witnesses {
            if silent.contains(witness.name()) {
                continue;
            }
            match witness.held(lane, &origin, &keys).await {
                Ok(held) => all.push((witness.name().to_owned(), held)),
                Err(error) => {
                    tracing::warn!(destination = witness.name(), lane = lane.0, %error, "cannot ask for the latest checkpoint");
                    silent.insert(witness.name().to_owned());
                }
            }
        }
        Ok(all)
    }

    /// What is wrong with one lane halts that lane; everything else ends the session.
    fn leave(&mut self, lane: Lane, status: &SealStatus, halt: Halt) -> Result<(), SealError> {
        match halt {
            Halt::Fork(why) => status.forked(lane, LOG, why),
            Halt::Lane(error) => {
                let cause = std::error::Error::source(&error).map_or(String::new(), |cause| format!(": {cause}"));
                tracing::error!(lane = lane.0, %error, cause, "the lane cannot be sealed; trying again");
                status.failed(lane, format!("{error}{cause}"));
            }
            Halt::All(error) => return Err(error),
        }
        self.lanes.remove(&lane);
        self.left.insert(lane, Instant::now());
        Ok(())
    }

    async fn seal_all(
        &mut self,
        settings: &SealSettings,
        status: &SealStatus,
        is_urgent: bool,
    ) -> Result<(), SealError> {
        let key = SealingKey::read_or_create(&settings.key_file, &self.log)?;
        keys::register(&mut self.connection, &key).await?;
        let lanes: Vec<Lane> = self.lanes.keys().copied().collect();
        for lane in lanes {
            match self.seal_lane(lane, &key, status, is_urgent, settings.every).await {
                Ok(()) => {}
                Err(halt) => self.leave(lane, status, halt)?,
            }
        }
        Ok(())
    }

    async fn seal_lane(
        &mut self,
        lane: Lane,
        key: &SealingKey,
        status: &SealStatus,
        is_urgent: bool,
        every: Duration,
    ) -> Result<(), Halt> {
        let Some(sealing) = self.lanes.get_mut(&lane) else {
            return Ok(());
        };
        // A place may object at any moment.
        while !status.is_forked_by_another(lane, LOG) {
            sealing.sign_last(&mut self.connection, key).await?;
            match sealing.step(&mut self.connection, key, is_urgent, every).await? {
                Step::Sealed { head } => status.moved(lane, sealing.size(), head),
                Step::Nothing { head } => {
                    status.moved(lane, sealing.size(), head);
                    status.sealed(lane);
                    break;
                }
            }
        }
        Ok(())
    }
}
