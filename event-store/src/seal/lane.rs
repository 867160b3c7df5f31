//! One lane while it is sealed: looking back, reading on, signing. The protocol is told in the parent module.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use sqlx::{Connection, PgConnection, Row};
use uuid::Uuid;

use super::{
    Hash, KeyError, SealError, SealingKey, hash_of,
    heads::{Head, Heads},
    keys, note,
    tree::{self, Edge},
    witness::Held,
};
use crate::{Lane, LogError};

/// Events under one checkpoint at most; what they add to memory is some megabytes.
const BATCH: i64 = 4_096;

/// Why a lane is not sealed.
#[derive(Debug)]
pub(super) enum Halt {
    /// The log is not what was sealed.
    Fork(String),
    /// This lane's rows cannot be read or written; others may be.
    Lane(LogError),
    /// The connection or the key is of no use: that concerns every lane.
    All(SealError),
}

impl From<LogError> for Halt {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Inconsistent(why) => Self::Fork(why),
            error if concerns_all(&error) => Self::All(error.into()),
            error => Self::Lane(error),
        }
    }
}

impl From<sqlx::Error> for Halt {
    fn from(error: sqlx::Error) -> Self {
        LogError::from(error).into()
    }
}

impl From<KeyError> for Halt {
    fn from(error: KeyError) -> Self {
        Self::All(error.into())
    }
}

/// Connections (08), resources (53) and a server that ends (57P) are everybody's; any other answer of the database to a
/// statement about one lane is about that lane, a page that cannot be read included.
fn concerns_all(error: &LogError) -> bool {
    match error {
        LogError::Database(sqlx::Error::Database(error)) => {
            let code = error.code().unwrap_or_default();
            ["08", "53", "57P"].iter().any(|class| code.starts_with(class))
        }
        error => error.is_unavailable(),
    }
}

/// A lane that this process owns.
pub(super) struct Sealing {
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

/// What a look at the lane came to.
pub(super) enum Step {
    /// One more checkpoint; there may be more to seal.
    Sealed {
        /// Events there are.
        head: u64,
    },
    /// There is nothing to seal now.
    Nothing {
        /// Events there are.
        head: u64,
    },
}

/// What is sealed of an event.
struct Unsealed {
    position: u64,
    family_id: Uuid,
    head: Head,
    leaf: Hash,
}

impl Sealing {
    /// Looks at what was sealed, and at what places outside hold of it.
    pub(super) async fn load(
        connection: &mut PgConnection,
        lane: Lane,
        held: Vec<(String, Held)>,
    ) -> Result<Self, Halt> {
        let statement = "select size, root, note from log.checkpoints where lane = $1 order by size desc limit 1";
        let last: Option<(i64, Vec<u8>, String)> = sqlx::query_as(statement)
            .bind(lane.0)
            .fetch_optional(&mut *connection)
            .await?;
        let size = last.as_ref().map_or(0, |(size, ..)| size.unsigned_abs());
        let covering = tree::read(&mut *connection, lane, &tree::cover(0, size)).await?;
        let edge = Edge::new(size, &covering);
        if let Some((_, root, _)) = &last
            && hash_of(root, "a root")? != edge.root()
        {
            return Err(Halt::Fork("its tree is not that of its checkpoint".to_owned()));
        }
        let last_node = size.checked_sub(1).map(|index| tree::Node { height: 0, index });
        let last_leaf = tree::read(&mut *connection, lane, last_node.as_slice()).await?;
        let heads = Heads::load(&mut *connection, lane).await?;
        if let Some((.., note)) = &last
            && note::heads(note) != Some(heads.root())
        {
            return Err(Halt::Fork("its map of heads is not that of its checkpoint".to_owned()));
        }
        let mut known: BTreeMap<u64, Vec<(Hash, String)>> = BTreeMap::new();
        for (by, held) in held {
            let Held::Checkpoint { size: theirs, root } = held else {
                continue;
            };
            if theirs > size {
                known.entry(theirs).or_default().push((root, by));
            } else if tree::root_at(&mut *connection, lane, theirs).await? != root {
                return Err(Halt::Fork(format!("{by} holds another root for {theirs} events")));
            }
        }
        Ok(Self {
            lane,
            edge,
            last_leaf: last_leaf.first().copied(),
            heads,
            known,
            sealed_at: Instant::now(),
            signed_by: None,
        })
    }

    /// Events under the last checkpoint.
    pub(super) fn size(&self) -> u64 {
        self.edge.size()
    }

    /// After a change of keys the new one signs the last checkpoint too: who knows only the new key could prove nothing
    /// about a lane that stays quiet.
    pub(super) async fn sign_last(&mut self, connection: &mut PgConnection, key: &SealingKey) -> Result<(), Halt> {
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
    pub(super) async fn step(
        &mut self,
        connection: &mut PgConnection,
        key: &SealingKey,
        is_urgent: bool,
        every: Duration,
    ) -> Result<Step, Halt> {
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
                return Err(Halt::Fork(format!(
                    "the event at position {size}, the last that was sealed, is missing or another"
                )));
            }
            events.remove(0);
        }
        if let Some((known, held)) = self.known.range(head + 1..).next() {
            let by = held.first().map_or("?", |(_, by)| by.as_str());
            return Err(Halt::Fork(format!(
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
    ) -> Result<Step, Halt> {
        let size = self.edge.size();
        for (event, wanted) in events.iter().zip(size + 1..) {
            if event.position != wanted {
                return Err(Halt::Fork(format!("there is no event at position {wanted}")));
            }
        }
        let leaves: Vec<Hash> = events.iter().map(|event| event.leaf).collect();
        let moved: BTreeMap<Uuid, Head> = events.iter().map(|event| (event.family_id, event.head)).collect();
        let (mut edge, mut heads) = (self.edge.clone(), self.heads.clone());
        let filled = edge.grow(&leaves);
        let root = edge.root();
        for (held, by) in self.known.get(&edge.size()).into_iter().flatten() {
            if *held != root {
                return Err(Halt::Fork(format!(
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
