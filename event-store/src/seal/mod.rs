//! The seal: what makes the log verifiable by somebody who trusts neither us nor our database.
//!
//! Off the hot path, one process seals the lanes. For each of them it
//!
//! 1. *owns the lane*: a session-wide advisory lock (4713, lane), on the one connection that everything below is written
//!    through. A sealer that lost its connection cannot write, so there is never a second one;
//! 2. *looks back*: the last event that was sealed must still be in the log, with the hash it was sealed with; the tree and the
//!    map must be those of the last checkpoint; and every checkpoint found outside the database must be one of this log's. If
//!    not, the log was rolled back or rewritten: the lane halts with "fork detected", for people to look at;
//! 3. *reads on* from the last sealed position, some thousand events at most;
//! 4. *seals*: appends their leaves to the lane's RFC 6962 tree ([`tree`]), moves the families' heads in the map of heads
//!    ([`heads`]), and signs a checkpoint over both roots ([`note`]). One transaction writes all three. Checkpoints are unique
//!    by (lane, size), so two different roots are never signed for one size;
//! 5. *exports* ([`witness`]): every checkpoint, with the hashes of the leaves it added, goes to places outside the database.
//!    An outage there delays the export and never the sealing. A place is asked what it holds before it is given anything,
//!    and what it holds is never replaced by less.
//!
//! Whatever fails is tried again: what concerns one lane halts that lane only, what concerns the key or the connection all of
//! them, and readiness says so meanwhile ([`SealStatus`]). A lane with a fork is looked at every few seconds, all of step 2
//! again, and goes on when the log fits. How far the sealing is behind is asked of the database and not of the sealer ([`lag`]).
//!
//! Appending knows nothing of all this and waits for none of it. docs/proofs.md says what is hashed, byte by byte.

pub mod heads;
mod keys;
mod lag;
mod lane;
pub mod note;
pub mod proofs;
mod sealer;
mod status;
pub mod tree;
pub mod verify;
pub mod witness;

use sqlx::PgPool;
use uuid::Uuid;

pub use keys::{KeyError, KnownKey, SealingKey, known_keys, rotate, signing_key};
pub use lag::checkpoint_ages;
pub use sealer::{SealError, SealSettings, run, seal_now};
pub use status::{LaneStatus, SealStatus};

use crate::LogError;

/// A SHA-256 hash.
pub type Hash = [u8; 32];

/// The log's name in keys and checkpoints: `kinledger/` and the id of this installation.
///
/// # Errors
/// [`LogError::Database`].
pub async fn log_name(pool: &PgPool) -> Result<String, LogError> {
    let id: Uuid = sqlx::query_scalar("select log_id from log.installation")
        .fetch_one(pool)
        .await?;
    Ok(format!("kinledger/{id}"))
}

/// A column of 32 bytes.
fn hash_of(bytes: &[u8], what: &str) -> Result<Hash, LogError> {
    bytes
        .try_into()
        .map_err(|_| LogError::Inconsistent(format!("{what} is no hash")))
}
