//! The sealer: one connection, one loop over the lanes. The protocol is told in the parent module.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, Instant},
};

use sqlx::{Connection, PgConnection, PgPool, Row};
use tokio::{sync::watch, task::JoinSet};
use uuid::Uuid;

use super::{
    Hash, KeyError, SealStatus, SealingKey, hash_of,
    heads::{Head, Heads},
    keys, note,
    tree::{self, Edge},
    witness::{self, Witness},
};
use crate::{Lane, LogError};

/// Events under one checkpoint at most; what they add to memory is some megabytes.
const BATCH: i64 = 4_096;
/// The longest pause after a failure.
const PAUSE_MAX: Duration = Duration::from_secs(10);

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

/// A lane that this process owns.
struct Sealing {
    lane: Lane,
    edge: Edge,
    last_leaf: Option<Hash>,
    heads: Heads,
    /// Checkpoints found outside: the tree has to come by them.
    known: BTreeMap<u64, Vec<(Hash, String)>>,
    sealed_at: Instant,
    /// The key that is known to have signed the last checkpoint.
    signed_by: Option<String>,
}

/// Seals until told to stop, and what is left then. Failures are waited out; a fork halts its lane and shows in `status`.
///
/// # Errors
/// [`SealError::Key`] when the key file is damaged, or of another log: trying again cannot help.
pub async fn run(
    pool: PgPool,
    settings: SealSettings,
    status: SealStatus,
    shutdown: watch::Receiver<bool>,
) -> Result<(), SealError> {
    // Exporters go on until everything is sealed, so they have a switch of their own.
    let (stop_exports, exports_stopping) = watch::channel(false);
    let mut exports = JoinSet::new();
    for witness in settings.witnesses.clone() {
        exports.spawn(witness::export(
            pool.clone(),
            witness,
            status.clone(),
            exports_stopping.clone(),
        ));
    }
    let sealed = seal(&pool, &settings, &status, shutdown).await;
    stop_exports.send_replace(true);
    while exports.join_next().await.is_some() {}
    sealed
}

async fn seal(
    pool: &PgPool,
    settings: &SealSettings,
    status: &SealStatus,
    mut shutdown: watch::Receiver<bool>,
) -> Result<(), SealError> {
    let mut session: Option<Session> = None;
    let mut pause = settings.every;
    loop {
        let is_stopping = *shutdown.borrow();
        match round(pool, settings, status, &mut session, is_stopping).await {
            Ok(()) => pause = settings.every,
            Err(SealError::Key(error)) if !matches!(error, KeyError::Log(_)) => return Err(error.into()),
            Err(error) => {
                // Whatever this connection held is gone with it.
                session = None;
                pause = (pause * 2).clamp(Duration::from_millis(250), PAUSE_MAX);
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(%error, cause, "the sealer begins anew");
            }
        }
        if is_stopping {
            return Ok(());
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
    round(pool, settings, status, &mut session, true).await?;
    for witness in &settings.witnesses {
        if let Err(error) = witness::export_new(pool, witness, status).await {
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
    lanes: BTreeMap<Lane, Sealing>,
}

impl Session {
    async fn open(pool: &PgPool, settings: &SealSettings) -> Result<Self, SealError> {
        // Taken out of the pool for good: its locks end with it.
        let connection = pool.acquire().await?.detach();
        let log = super::log_name(pool).await?;
        let mut session = Self {
            connection,
            log,
            lanes: BTreeMap::new(),
        };
        let key = SealingKey::read_or_create(&settings.key_file, &session.log)?;
        keys::register(&mut session.connection, &key).await?;
        Ok(session)
    }

    /// Takes the lanes that nobody has.
    async fn acquire(&mut self, settings: &SealSettings, status: &SealStatus) -> Result<(), SealError> {
        let lanes: Vec<i16> = sqlx::query_scalar("select lane from log.lanes order by lane")
            .fetch_all(&mut self.connection)
            .await?;
        for lane in lanes.into_iter().map(Lane) {
            if self.lanes.contains_key(&lane) || status.is_forked(lane) {
                continue;
            }
            let is_mine: bool = sqlx::query_scalar("select pg_try_advisory_lock(4713, $1)")
                .bind(i32::from(lane.0))
                .fetch_one(&mut self.connection)
                .await?;
            if is_mine {
                let sealing = self.load(lane, settings).await?;
                self.lanes.insert(lane, sealing);
            }
        }
        Ok(())
    }

    async fn load(&mut self, lane: Lane, settings: &SealSettings) -> Result<Sealing, SealError> {
        let statement = "select size, root from log.checkpoints where lane = $1 order by size desc limit 1";
        let last: Option<(i64, Vec<u8>)> = sqlx::query_as(statement)
            .bind(lane.0)
            .fetch_optional(&mut self.connection)
            .await?;
        let size = last.as_ref().map_or(0, |(size, _)| size.unsigned_abs());
        let covering = tree::read(&mut self.connection, lane, &tree::cover(0, size)).await?;
        let edge = Edge::new(size, &covering);
        if let Some((_, root)) = &last
            && hash_of(root, "a root")? != edge.root()
        {
            return Err(
                LogError::Inconsistent(format!("the tree of lane {lane} is not that of its checkpoint")).into(),
            );
        }
        let last_node = size.checked_sub(1).map(|index| tree::Node { height: 0, index });
        let last_leaf = tree::read(&mut self.connection, lane, last_node.as_slice()).await?;
        let heads = Heads::load(&mut self.connection, lane).await?;
        let keys: Vec<String> = sqlx::query_scalar("select verifier_key from log.sealing_keys")
            .fetch_all(&mut self.connection)
            .await?;
        let origin = note::origin(&self.log, lane);
        let mut known: BTreeMap<u64, Vec<(Hash, String)>> = BTreeMap::new();
        for witness in &settings.witnesses {
            if let Some((size, root)) = witness::known(witness, lane, &origin, &keys).await {
                known.entry(size).or_default().push((root, witness.name().to_owned()));
            }
        }
        Ok(Sealing {
            lane,
            edge,
            last_leaf: last_leaf.first().copied(),
            heads,
            known,
            sealed_at: Instant::now(),
            signed_by: None,
        })
    }

    async fn seal_all(
        &mut self,
        settings: &SealSettings,
        status: &SealStatus,
        is_urgent: bool,
    ) -> Result<(), SealError> {
        let key = SealingKey::read_or_create(&settings.key_file, &self.log)?;
        keys::register(&mut self.connection, &key).await?;
        let Self { connection, lanes, .. } = self;
        lanes.retain(|lane, _| !status.is_forked(*lane));
        for sealing in lanes.values_mut() {
            sealing.sign_last(connection, &key).await?;
            loop {
                match sealing.step(connection, &key, is_urgent, settings.every).await? {
                    Step::Sealed { head } => status.moved(sealing.lane, sealing.edge.size(), head),
                    Step::Nothing { head } => {
                        status.moved(sealing.lane, sealing.edge.size(), head);
                        break;
                    }
                    Step::Fork(why) => {
                        status.forked(sealing.lane, why);
                        break;
                    }
                }
                if status.is_forked(sealing.lane) {
                    break;
                }
            }
        }
        Ok(())
    }
}

enum Step {
    Sealed { head: u64 },
    Nothing { head: u64 },
    Fork(String),
}

/// What is sealed of an event.
struct Unsealed {
    position: u64,
    family_id: Uuid,
    head: Head,
    leaf: Hash,
}

impl Sealing {
    /// After a change of keys the new one signs the last checkpoint too: who knows only the new key could prove nothing
    /// about a lane that stays quiet.
    async fn sign_last(&mut self, connection: &mut PgConnection, key: &SealingKey) -> Result<(), SealError> {
        let verifier_key = key.verifier_key();
        if self.signed_by.as_ref() == Some(&verifier_key) {
            return Ok(());
        }
        let statement = "select size, note from log.signed_checkpoints where lane = $1 order by size desc limit 1";
        let last: Option<(i64, String)> = sqlx::query_as(statement)
            .bind(self.lane.0)
            .fetch_optional(&mut *connection)
            .await?;
        if let Some((size, note)) = last
            && !keys::is_signed(&note, &verifier_key)
            && let Some(signature) = note::cosignature(key, &note)
        {
            let statement = "insert into log.checkpoint_signatures (lane, size, verifier_key, signature) \
                 values ($1, $2, $3, $4) on conflict do nothing";
            sqlx::query(statement)
                .bind(self.lane.0)
                .bind(size)
                .bind(&verifier_key)
                .bind(signature)
                .execute(connection)
                .await?;
        }
        self.signed_by = Some(verifier_key);
        Ok(())
    }

    /// One checkpoint, if there is anything new.
    async fn step(
        &mut self,
        connection: &mut PgConnection,
        key: &SealingKey,
        is_urgent: bool,
        every: Duration,
    ) -> Result<Step, SealError> {
        let size = self.edge.size();
        // From the last sealed event on: it has to be there still.
        let statement = "select position, family_id, family_seq, chain_hash, \
                 (select max(h.position) from log.events h where h.lane = $1) as head \
             from log.events where lane = $1 and position >= greatest($2, 1) order by position limit $3";
        let rows = sqlx::query(statement)
            .bind(self.lane.0)
            .bind(i64::try_from(size).unwrap_or(i64::MAX))
            .bind(BATCH + 1)
            .fetch_all(&mut *connection)
            .await?;
        let head = rows
            .first()
            .map_or(Ok(0), |row| row.try_get::<i64, _>("head"))?
            .unsigned_abs();
        let mut events = Vec::with_capacity(rows.len());
        for row in &rows {
            events.push(unsealed(self.lane, row)?);
        }
        if size > 0 {
            let first = events.first();
            if first.map(|event| (event.position, Some(event.leaf))) != Some((size, self.last_leaf)) {
                return Ok(Step::Fork(format!(
                    "the event at position {size}, the last that was sealed, is missing or another"
                )));
            }
            events.remove(0);
        }
        if let Some((known, held)) = self.known.range(head + 1..).next() {
            let by = held.first().map_or("?", |(_, by)| by.as_str());
            return Ok(Step::Fork(format!(
                "{by} holds a checkpoint for {known} events, the log has {head}"
            )));
        }
        if !is_urgent
            && size > 0
            && self.sealed_at.elapsed() < every
            && events.len() < usize::try_from(BATCH).unwrap_or(0)
        {
            return Ok(Step::Nothing { head });
        }
        // A checkpoint found outside is met exactly, so that its root can be compared.
        if let Some((known, _)) = self.known.range(size + 1..).next() {
            events.truncate(usize::try_from(known - size).unwrap_or(usize::MAX));
        }
        if events.is_empty() {
            return Ok(Step::Nothing { head });
        }
        self.seal(connection, key, &events, head).await
    }

    async fn seal(
        &mut self,
        connection: &mut PgConnection,
        key: &SealingKey,
        events: &[Unsealed],
        head: u64,
    ) -> Result<Step, SealError> {
        let size = self.edge.size();
        for (event, wanted) in events.iter().zip(size + 1..) {
            if event.position != wanted {
                return Ok(Step::Fork(format!("there is no event at position {wanted}")));
            }
        }
        let leaves: Vec<Hash> = events.iter().map(|event| event.leaf).collect();
        let moved: BTreeMap<Uuid, Head> = events.iter().map(|event| (event.family_id, event.head)).collect();
        let (mut edge, mut heads) = (self.edge.clone(), self.heads.clone());
        let filled = edge.grow(&leaves);
        let root = edge.root();
        for (held, by) in self.known.get(&edge.size()).into_iter().flatten() {
            if *held != root {
                return Ok(Step::Fork(format!(
                    "{by} holds another root for {} events",
                    edge.size()
                )));
            }
        }
        let mut tx = connection.begin().await?;
        tree::write(&mut *tx, self.lane, &filled).await?;
        heads.update(&mut tx, &moved).await?;
        let note = note::checkpoint(key, self.lane, edge.size(), &root, &heads.root())?;
        let statement = "insert into log.checkpoints (lane, size, root, note) values ($1, $2, $3, $4)";
        sqlx::query(statement)
            .bind(self.lane.0)
            .bind(i64::try_from(edge.size()).unwrap_or(i64::MAX))
            .bind(root.as_slice())
            .bind(note)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        (self.edge, self.heads, self.last_leaf) = (edge, heads, leaves.last().copied());
        self.sealed_at = Instant::now();
        metrics::counter!("kinledger_sealer_checkpoints_total", "lane" => self.lane.to_string()).increment(1);
        Ok(Step::Sealed { head })
    }
}

fn unsealed(lane: Lane, row: &sqlx::postgres::PgRow) -> Result<Unsealed, LogError> {
    let position: i64 = row.try_get("position")?;
    let family_id: Uuid = row.try_get("family_id")?;
    let head = Head {
        family_seq: row.try_get("family_seq")?,
        position,
        chain_hash: hash_of(row.try_get("chain_hash")?, "a chain hash")?,
    };
    Ok(Unsealed {
        position: position.unsigned_abs(),
        family_id,
        leaf: tree::leaf(lane, position, family_id, head.family_seq, &head.chain_hash),
        head,
    })
}
