//! Keys of members, and the sealing of personal texts under them. ADR 0031 has the choice.
//!
//! The protocol, told once:
//!
//! - What a text tells of somebody, and of whom, is said beside its event (`domain::personal`). On append each such text is
//!   replaced by an [`envelope`], before the bytes are hashed; so chain, tree, Kafka and backups hold what is sealed, and go on
//!   when a key is gone. An empty text stays empty.
//! - A subject is a member, or the family for texts of nobody in particular. Its key is 32 random bytes, wrapped under the
//!   [`encryption`] key of the installation, and durable before the first event that uses it is appended. A key without an
//!   event is harmless.
//! - On reading, the texts are opened ([`Keys::open`]). A text under a key that was destroyed reads as a marker, for ever
//!   the same; so erasing changes no sum, no chain, and no replay. What is no envelope is taken as it is: events from before
//!   texts were sealed. What is new is always sealed, so nobody can write an envelope of their own.
//! - Three things are told apart: a key that was *destroyed* (its row says so) gives markers; a key that is *missing* or damaged
//!   makes the event unreadable, which parks the family and nobody else; and a database that does not answer, or a
//!   key-encryption key that is not known, is an error of the whole reading, to be tried again.
//! - Keys are kept in memory, bounded. Whoever destroys one raises `keys.changes.epoch` in the same transaction; every process
//!   compares it at most [`CHECKED_EVERY`] after, before it uses a key, and forgets all keys when it has moved.

pub mod encryption;
pub(crate) mod envelope;
pub mod erase;
pub(crate) mod opening;
pub mod rotate;
pub(crate) mod sealing;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use aws_lc_rs::hmac;
use quick_cache::unsync::Cache;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use self::encryption::KeyEncryptions;
use crate::LogError;

/// Subjects whose keys are kept in memory.
const KEPT_MAX: usize = 100_000;
/// How long a process may go on with keys that another has destroyed.
pub const CHECKED_EVERY: Duration = Duration::from_secs(1);

/// Why keys cannot be used just now. Nothing of it is about one event: asking again is right, once the cause is mended.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The key-encryption key is another than the one the database's keys are wrapped under.
    #[error(
        "members' keys are wrapped under the key-encryption key {stored}, and this process was given {given}: start it with \
         the same secret or key file as before, or name the old one until `kinledger keys rotate` is done"
    )]
    Other {
        /// The key that wrapped them.
        stored: String,
        /// The key of this process.
        given: String,
    },
    /// The key-encryption key does not do its work.
    #[error("the key-encryption key does not answer: {0}")]
    Encryption(String),
    /// A key that texts are to be sealed under is missing or damaged.
    #[error("a key that a text is to be sealed under cannot be used: {0}")]
    Damaged(String),
    /// The database does not.
    #[error("members' keys cannot be read")]
    Database(#[from] sqlx::Error),
}

/// Whose key: the family, and the member in it, or the family again.
pub(crate) type Whose = (Uuid, Uuid);

/// What is known of a subject's key.
pub(crate) enum Known {
    /// It can be used: the keys by generation, the newest last.
    Living(Vec<(i32, hmac::Key)>),
    /// It was destroyed.
    Erased,
    /// It is there and cannot be used.
    Damaged,
}

/// Keys that were looked up for one piece of work; what is not in it is missing.
pub(crate) type Held = HashMap<Whose, Arc<Known>>;

/// The keys of a log's subjects. Clones share what is in memory.
#[derive(Clone)]
pub(crate) struct Keys {
    pool: PgPool,
    encryptions: KeyEncryptions,
    kept: Arc<Mutex<Kept>>,
}

/// What is in memory, as of one epoch.
struct Kept {
    epoch: i64,
    checked_at: Option<Instant>,
    known: Cache<Whose, Arc<Known>>,
}

/// The context a key is wrapped in: whose it is, and which generation.
pub(crate) fn context((family_id, subject_id): Whose, generation: i32) -> Vec<u8> {
    [
        family_id.as_bytes().as_slice(),
        subject_id.as_bytes(),
        &generation.to_be_bytes(),
    ]
    .concat()
}

/// A row of `keys.member_keys`, beside the epoch it was read in.
type Row = (
    i64,
    Option<Uuid>,
    Option<Uuid>,
    Option<i32>,
    Option<String>,
    Option<Vec<u8>>,
);

impl Keys {
    pub(crate) fn new(pool: PgPool, encryptions: KeyEncryptions) -> Self {
        Self {
            pool,
            encryptions,
            kept: Arc::new(Mutex::new(Kept {
                epoch: 0,
                checked_at: None,
                known: Cache::new(KEPT_MAX),
            })),
        }
    }

    pub(crate) fn encryptions(&self) -> &KeyEncryptions {
        &self.encryptions
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // It is whole between any two statements, so a panic elsewhere cannot have harmed it.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what is in memory; the next use reads it again.
    pub(crate) fn forget(&self) {
        let mut kept = self.kept();
        kept.known.clear();
        kept.checked_at = None;
    }

    /// The keys of all of these subjects, when they are in memory and may be used without asking.
    fn in_memory(&self, wanted: &BTreeSet<Whose>) -> Option<Held> {
        if wanted.is_empty() {
            return Some(Held::new());
        }
        let kept = self.kept();
        let is_fresh = kept.checked_at.is_some_and(|at| at.elapsed() < CHECKED_EVERY);
        let found = wanted
            .iter()
            .map(|whose| Some((*whose, Arc::clone(kept.known.get(whose)?))));
        is_fresh.then(|| found.collect()).flatten()
    }

    /// The keys of some subjects, from memory or through `connection`, else one of the pool's.
    pub(crate) async fn held(
        &self,
        wanted: &BTreeSet<Whose>,
        connection: Option<&mut PgConnection>,
    ) -> Result<Held, LogError> {
        let mut held = Held::with_capacity(wanted.len());
        let mut lacking = Vec::new();
        {
            let kept = self.kept();
            let is_fresh = kept.checked_at.is_some_and(|at| at.elapsed() < CHECKED_EVERY);
            for whose in wanted {
                match kept.known.get(whose).filter(|_| is_fresh) {
                    Some(known) => drop(held.insert(*whose, Arc::clone(known))),
                    None => lacking.push(*whose),
                }
            }
        }
        if lacking.is_empty() {
            return Ok(held);
        }
        match connection {
            Some(connection) => self.look_up(&lacking, &mut held, connection).await?,
            None => {
                let mut connection = self.pool.acquire().await?;
                self.look_up(&lacking, &mut held, &mut connection).await?;
            }
        }
        Ok(held)
    }

    /// Compares the epoch; then what is in memory still, and the rest from the database.
    async fn look_up(&self, lacking: &[Whose], held: &mut Held, connection: &mut PgConnection) -> Result<(), LogError> {
        let asked_at = Instant::now();
        let statement = "select epoch from keys.changes";
        let epoch: i64 = sqlx::query_scalar(statement).fetch_one(&mut *connection).await?;
        let mut unknown = Vec::new();
        {
            let mut kept = self.kept();
            kept.is_of(epoch, asked_at);
            for whose in lacking {
                match kept.known.get(whose) {
                    Some(known) if kept.epoch == epoch => drop(held.insert(*whose, Arc::clone(known))),
                    _ => unknown.push(*whose),
                }
            }
        }
        if unknown.is_empty() {
            return Ok(());
        }
        let (epoch, rows) = read_rows(&unknown, connection).await?;
        let mut found: HashMap<Whose, Known> = HashMap::new();
        for (whose, generation, kek_id, wrapped) in rows {
            let known = found.entry(whose).or_insert_with(|| Known::Living(Vec::new()));
            let (Some(kek_id), Some(wrapped)) = (kek_id, wrapped) else {
                *known = Known::Erased;
                continue;
            };
            let encryption = self.encryptions.by_id(&kek_id);
            let encryption = encryption.ok_or_else(|| LogError::Keys(self.encryptions.other(kek_id)))?;
            let unwrapped = encryption.unwrap(&context(whose, generation), &wrapped).await;
            match (known, unwrapped.map_err(LogError::Keys)?) {
                (Known::Living(keys), Some(key)) => keys.push((generation, hmac::Key::new(hmac::HMAC_SHA256, &key))),
                (known @ Known::Living(_), None) => *known = Known::Damaged,
                (Known::Erased | Known::Damaged, _) => {}
            }
        }
        let mut kept = self.kept();
        for (whose, known) in found {
            let known = Arc::new(known);
            // What was read before somebody destroyed a key must not be remembered after.
            if kept.epoch == epoch {
                kept.known.insert(whose, Arc::clone(&known));
            }
            held.insert(whose, known);
        }
        Ok(())
    }
}

impl Kept {
    /// The epoch was this when it was asked for.
    fn is_of(&mut self, epoch: i64, asked_at: Instant) {
        if epoch > self.epoch {
            self.known.clear();
            self.epoch = epoch;
        }
        if epoch == self.epoch {
            self.checked_at = Some(asked_at);
        }
    }
}

type Found = (Whose, i32, Option<String>, Option<Vec<u8>>);

/// The rows of some subjects, by generation, and the epoch of the same moment.
async fn read_rows(wanted: &[Whose], connection: &mut PgConnection) -> Result<(i64, Vec<Found>), LogError> {
    let (families, subjects): (Vec<Uuid>, Vec<Uuid>) = wanted.iter().copied().unzip();
    let statement = "select c.epoch, k.family_id, k.subject_id, k.generation, k.kek_id, k.wrapped_key
        from keys.changes c
        left join (
            select m.*
            from unnest($1::uuid[], $2::uuid[]) as w (family_id, subject_id)
            join keys.member_keys m using (family_id, subject_id)
        ) k on true
        order by k.generation";
    let rows: Vec<Row> = sqlx::query_as(statement)
        .bind(families)
        .bind(subjects)
        .fetch_all(connection)
        .await?;
    let epoch = rows.first().map_or(0, |(epoch, ..)| *epoch);
    let found = rows
        .into_iter()
        .filter_map(|(_, family, subject, generation, kek_id, wrapped)| {
            Some(((family?, subject?), generation?, kek_id, wrapped))
        });
    Ok((epoch, found.collect()))
}
