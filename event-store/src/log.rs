//! The log as a whole: its pool, its lanes, and what can go wrong with it.

use domain::{
    aggregate::DecodeError,
    id::FamilyId,
    upcasters::{STILL_WRITTEN, StillWritten},
};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use sqlx::{PgConnection, PgPool, Postgres, Transaction};

use crate::{
    Record, Wakeups,
    append::together::Together,
    keys::{Keys, KeysError, encryption::KeyEncryptions},
};

/// Lanes of a new database.
pub const LANES_DEFAULT: i16 = 8;

/// The part of the log with one order of its own: 0 up to the number of lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane(pub i16);

impl std::fmt::Display for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Why the log could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Postgres could not be reached, or refused.
    #[error("the log's database failed")]
    Database(#[source] sqlx::Error),
    /// A stored event is none that this release knows.
    #[error("the event {family_id} {family_seq} cannot be read")]
    Decode {
        /// Whose.
        family_id: FamilyId,
        /// Which.
        family_seq: i64,
        /// Why.
        #[source]
        cause: DecodeError,
    },
    /// Members' keys cannot be used just now.
    #[error("members' keys cannot be used")]
    Keys(#[source] KeysError),
    /// The log contradicts itself. Never seen while the append function alone writes to it.
    #[error("the log contradicts itself: {0}")]
    Inconsistent(String),
}

impl From<sqlx::Error> for LogError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl LogError {
    /// Did the database itself refuse a statement (a constraint, a value it cannot hold)? Then nothing was written, and
    /// sending the same again gives the same answer.
    pub fn is_refused_by_database(&self) -> bool {
        match self {
            Self::Database(sqlx::Error::Database(error)) => !is_transient(error.code().as_deref()),
            _ => false,
        }
    }

    /// Could the database not be reached, or not answer in time? Then a later attempt may succeed.
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::Database(sqlx::Error::Database(error)) => is_transient(error.code().as_deref()),
            Self::Database(error) => matches!(
                error,
                sqlx::Error::Io(_)
                    | sqlx::Error::Tls(_)
                    | sqlx::Error::Protocol(_)
                    | sqlx::Error::PoolTimedOut
                    | sqlx::Error::PoolClosed
                    | sqlx::Error::WorkerCrashed
            ),
            // Nothing is wrong with what was asked: an operator has to give the right key, or mend one.
            Self::Keys(_) => true,
            Self::Decode { .. } | Self::Inconsistent(_) => false,
        }
    }
}

/// SQLSTATE classes that speak of the server's state and not of the statement: connection (08), rollback (40), resources (53), what
/// is locked, in use or takes no connections now (55), operator intervention and time-outs (57), system errors (58).
fn is_transient(code: Option<&str>) -> bool {
    code.is_some_and(|code| {
        ["08", "40", "53", "55", "57", "58"]
            .into_iter()
            .any(|class| code.starts_with(class))
    })
}

/// The key under which the log keeps what a request was, so that nobody can try texts that were erased against what is kept.
#[derive(Clone)]
pub struct RequestKey([u8; 32]);

impl RequestKey {
    /// From 32 bytes that nobody else knows: the same in every process that appends, for ever.
    pub const fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// What the log keeps of a request of this family.
    pub fn hash(&self, family: FamilyId, request: &[&[u8]]) -> [u8; 32] {
        let family = family.uuid();
        let parts: Vec<&[u8]> = [family.as_bytes().as_slice()]
            .into_iter()
            .chain(request.iter().copied())
            .collect();
        keyed_hash(&self.0, &parts)
    }
}

/// The event log. Cheap to clone; clones share pool and wake-ups.
#[derive(Clone)]
pub struct Log {
    pub(crate) pool: PgPool,
    claim_key: [u8; 32],
    wakeups: Wakeups,
    pub(crate) together: Together,
    pub(crate) still_written: &'static [StillWritten],
    pub(crate) keys: Keys,
}

impl std::fmt::Debug for Log {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").finish_non_exhaustive()
    }
}

impl Log {
    /// A log over a pool in the role its user needs: writer to append, any other to read. `claim_key` is the key under which
    /// unique claims are hashed; it has to be the same in every process that appends, for ever. Members' keys are wrapped under a
    /// key that is derived from it, unless [`Log::encrypting_with`] names another.
    pub fn new(pool: PgPool, claim_key: [u8; 32]) -> Self {
        let encryptions = KeyEncryptions::local(&keyed_hash(&claim_key, &[b"key-encryption"]));
        let keys = Keys::new(pool.clone(), encryptions);
        let wakeups = Wakeups::default();
        let together = Together::new(pool.clone(), wakeups.clone(), Together::statements_at_once_default());
        Self {
            pool,
            claim_key,
            wakeups,
            together,
            still_written: STILL_WRITTEN,
            keys,
        }
    }

    /// The same log, members' keys being wrapped so.
    #[must_use]
    pub fn encrypting_with(self, encryptions: KeyEncryptions) -> Self {
        let keys = Keys::new(self.pool.clone(), encryptions);
        Self { keys, ..self }
    }

    /// Are members' keys wrapped under a key that this process has? To be asked at start, before anything is read or written.
    ///
    /// # Errors
    /// [`KeysError::Other`] with what to do about it.
    pub async fn check_keys(&self) -> Result<(), KeysError> {
        self.keys.encryptions().check(&self.pool).await
    }

    /// Opens the sealed texts of records that another than this log has read, such as a feed from Kafka.
    ///
    /// # Errors
    /// [`LogError::Database`] or [`LogError::Keys`]. What is wrong with one record alone is told when it is decoded.
    pub async fn open(&self, records: &mut [Record]) -> Result<(), LogError> {
        self.keys.open(records, None).await
    }

    /// As [`Log::open`], reading keys through a connection of the caller's.
    ///
    /// # Errors
    /// As [`Log::open`].
    pub async fn open_in(&self, records: &mut [Record], connection: &mut PgConnection) -> Result<(), LogError> {
        self.keys.open(records, Some(connection)).await
    }

    /// Forgets the keys in memory, because one was destroyed just now.
    pub fn forget_keys(&self) {
        self.keys.forget();
    }

    /// The same log, sharing wake-ups with others of this process.
    #[must_use]
    pub fn with_wakeups(self, wakeups: Wakeups) -> Self {
        let together = Together::new(
            self.pool.clone(),
            wakeups.clone(),
            Together::statements_at_once_default(),
        );
        Self {
            wakeups,
            together,
            ..self
        }
    }

    /// The same log with so many shared append statements under way at once; the default is half as many as there are cores.
    #[must_use]
    pub fn with_statements_at_once(self, statements_at_once: usize) -> Self {
        let together = Together::new(self.pool.clone(), self.wakeups.clone(), statements_at_once);
        Self { together, ..self }
    }

    /// The same log, appended to as another release does: events of this list go to it in these versions. For tests of logs
    /// that several releases have written to.
    #[must_use]
    pub fn still_writing(self, still_written: &'static [StillWritten]) -> Self {
        Self { still_written, ..self }
    }

    /// The pool behind it.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// A transaction to read in about one family, begun by one message: in the writer's role the database shows no other family's
    /// rows in it, and none at all outside of one. It ends when it is dropped.
    ///
    /// # Errors
    /// [`LogError::Database`].
    pub async fn about(&self, family: FamilyId) -> Result<Transaction<'static, Postgres>, LogError> {
        // A setting takes no parameter, and the text of a UUID needs no quoting.
        let begin = format!("begin read only; set local kinledger.family_id = '{}'", family.uuid());
        Ok(self.pool.begin_with(begin).await?)
    }

    /// Hints that a lane has grown; [`Log::append`] gives them.
    pub fn wakeups(&self) -> &Wakeups {
        &self.wakeups
    }

    /// How many lanes there are.
    ///
    /// # Errors
    /// [`LogError::Database`].
    pub async fn lanes(&self) -> Result<i16, LogError> {
        let lanes: i64 = sqlx::query_scalar("select count(*) from log.lanes")
            .fetch_one(&self.pool)
            .await?;
        i16::try_from(lanes).map_err(|_| LogError::Inconsistent(format!("{lanes} lanes")))
    }

    /// The lane a family lives in; none when there is no such family. It never changes, so callers may keep it.
    ///
    /// # Errors
    /// [`LogError::Database`].
    pub async fn lane_of(&self, family: FamilyId) -> Result<Option<Lane>, LogError> {
        let lane: Option<i16> = sqlx::query_scalar("select lane from log.families where family_id = $1")
            .bind(family.uuid())
            .fetch_optional(&mut *self.about(family).await?)
            .await?;
        Ok(lane.map(Lane))
    }

    /// The lane a family is to be created in. Asked once per family: what was chosen is stored, and holds even when the number
    /// of lanes changes. Keyed, so that nobody can pick ids that all fall into one lane.
    pub fn lane_for_new(&self, family: FamilyId, lanes: i16) -> Lane {
        let hash = self.keyed_hash(&[b"lane", family.uuid().as_bytes()]);
        let number = u16::from_be_bytes([hash[0], hash[1]]) % lanes.max(1).unsigned_abs();
        Lane(i16::try_from(number).expect("a remainder is smaller than the number of lanes"))
    }

    /// The key for [`crate::AppendCommand::request_hash`].
    pub fn request_key(&self) -> RequestKey {
        RequestKey(self.keyed_hash(&[b"request-hashes/1"]))
    }

    /// What the log keeps of a claim. The family is part of it, so families never collide.
    pub(crate) fn claim_hash(&self, family: FamilyId, scope: &str, value: &str) -> [u8; 32] {
        self.keyed_hash(&[b"claim", family.uuid().as_bytes(), scope.as_bytes(), value.as_bytes()])
    }

    /// HMAC-SHA-256 over the parts, each with its length before it.
    fn keyed_hash(&self, parts: &[&[u8]]) -> [u8; 32] {
        keyed_hash(&self.claim_key, parts)
    }
}

/// HMAC-SHA-256 over the parts, each with its length before it.
fn keyed_hash(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut hmac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    for part in parts {
        hmac.update(&(part.len() as u64).to_be_bytes());
        hmac.update(part);
    }
    hmac.finalize().into_bytes().into()
}
