//! Generations: which tables rows are written to and read from, and how that changes under everybody's feet.
//!
//! Projections and views name tables without a schema. `generations.live` holds the search path under which they are found;
//! each transaction takes it from there when it begins, and keeps it:
//!
//! - **A reader** reads that row in its own repeatable-read snapshot (query-api/src/serve.rs). Row and rows are of one moment:
//!   before the commit of a switch it sees the old generation, whole, and after it the new one, whole. Were schemas renamed
//!   instead, a reader in the middle of an answer would go on in tables whose rows its snapshot does not show.
//! - **A batch** takes [`LIVE_LOCK`] shared and reads the row in the next statement ([`begin_live`]). A switch takes the lock
//!   alone, so no batch is under way while the path changes and none begins before that is committed. The checkpoints are
//!   tables of the generation, so the next batch goes on from the new one's.
//! - **A waiter** for `min_family_seq` opens a new snapshot each time it looks.
//! - **A kept answer** is named by an ETag that has the generation's number in it, so that an answer of wrong rows does not
//!   outlive them.
//!
//! Nothing here sends anything. What leaves the system (a message, a push, a command) may never be caused by folding: reactors
//! and channels read the log with checkpoints of their own, outside of every generation, and keep what they sent in an outbox
//! keyed by the event. A rebuild folds every event again and must be free to.

use sqlx::{PgConnection, PgPool, Postgres, Transaction};

use crate::apply::ApplyError;

/// The class of the advisory lock that batches hold shared and a switch holds alone.
pub const LIVE_LOCK: i32 = 4720;
/// The class of the advisory lock of the one rebuild there may be.
pub const REBUILD_LOCK: i32 = 4721;

/// How long a batch may keep its transaction open without a statement, in milliseconds, before the server ends it.
const IDLE_MAX_MS: u32 = 8_000;

/// Where rows are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    /// Goes up with every switch.
    pub number: i64,
    /// Schemas, the first first.
    pub search_path: String,
    /// [`crate::VERSION`] of the code that folded them.
    pub version: i32,
}

/// Which tables a batch goes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// Those that answer.
    #[default]
    Live,
    /// Those of a generation that is being built.
    Beside {
        /// Its schema, as `generations.begin_build` named it.
        schema: String,
    },
}

impl Target {
    /// Begins a transaction whose tables are these.
    ///
    /// # Errors
    /// [`ApplyError::Version`] when the live rows are another release's.
    pub async fn begin(&self, pool: &PgPool) -> Result<Transaction<'static, Postgres>, ApplyError> {
        match self {
            Self::Live => begin_live(pool).await,
            // The name is of our own making: letters, digits and an underscore.
            Self::Beside { schema } => Ok(pool
                .begin_with(format!("begin; set local search_path = {schema}"))
                .await?),
        }
    }
}

/// Begins a transaction that folds into the live generation, and keeps it the live one until the transaction ends.
///
/// # Errors
/// [`ApplyError::Version`] when the live rows are another release's: this code must not touch them.
pub async fn begin_live(pool: &PgPool) -> Result<Transaction<'static, Postgres>, ApplyError> {
    // Two statements: the second's snapshot is taken when the lock is held, and so sees what a switch has committed.
    // A process that is stopped in the middle of a batch holds the row of its checkpoint; whoever has its lane by then must not
    // wait for it longer than for its lease.
    let begin = format!(
        "begin; set local idle_in_transaction_session_timeout = {IDLE_MAX_MS}; \
         select pg_advisory_xact_lock_shared({LIVE_LOCK}, 0)"
    );
    let mut tx = pool.begin_with(begin.clone()).await?;
    let mut live = enter(&mut tx).await?;
    if live.version < crate::VERSION {
        // A database into which nothing was folded yet begins with this release's version. The lock is given back first:
        // who adopts needs it alone.
        tx.rollback().await?;
        sqlx::query("select generations.adopt_version($1)")
            .bind(crate::VERSION)
            .execute(pool)
            .await?;
        tx = pool.begin_with(begin).await?;
        live = enter(&mut tx).await?;
    }
    if live.version == crate::VERSION {
        Ok(tx)
    } else {
        Err(ApplyError::Version { live: live.version })
    }
}

/// Turns the transaction to the live generation, as its snapshot has it.
///
/// # Errors
/// When the database fails.
pub async fn enter(tx: &mut PgConnection) -> Result<Live, sqlx::Error> {
    let (number, search_path, version, _): (i64, String, i32, String) = sqlx::query_as(
        "select number, search_path, version, set_config('search_path', search_path, true)
        from generations.live",
    )
    .fetch_one(tx)
    .await?;
    Ok(Live {
        number,
        search_path,
        version,
    })
}

/// The live generation at this moment.
///
/// # Errors
/// When the database fails.
pub async fn live(pool: &PgPool) -> Result<Live, sqlx::Error> {
    let (number, search_path, version) = sqlx::query_as("select number, search_path, version from generations.live")
        .fetch_one(pool)
        .await?;
    Ok(Live {
        number,
        search_path,
        version,
    })
}
