//! Is the log still the one whose events were folded?
//!
//! A database that was restored to an earlier moment, or a standby that took over without the last commits, has a log that is
//! shorter than what readers have seen, or goes on differently from there. Rows that hold what the log has lost are wrong for
//! ever, and folding on would hide it. So a lane halts, and `/readyz` says "fork detected", until people have looked:
//!
//! - where the rows end, the log must hold the same record ([`Applier::differing_checkpoint`]), looked up whenever a lane is
//!   begun;
//! - what a feed brings that is not the log itself, the log must hold too ([`Applier::hash_at`]), looked up once a batch, for
//!   its last record: whatever was lost, everything above it was lost with it.

use event_store::{Lane, Record};

use crate::{
    apply::{Applier, ApplyError},
    causes::causes,
};

/// Why a lane is not gone on with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fork {
    /// The log does not hold what was folded or delivered.
    #[error("{0}")]
    Found(String),
    /// The log cannot be looked into.
    #[error("the log cannot be compared: {0}")]
    Unknown(String),
}

impl From<sqlx::Error> for Fork {
    fn from(error: sqlx::Error) -> Self {
        Self::Unknown(causes(&error))
    }
}

impl From<ApplyError> for Fork {
    fn from(error: ApplyError) -> Self {
        Self::Unknown(causes(&error))
    }
}

impl Fork {
    /// The rows end with a record that is not in the log.
    pub(crate) fn of_rows(lane: Lane, position: i64) -> Self {
        Self::Found(format!(
            "fork detected in lane {lane}: the rows end with record {position}, which is not in the log"
        ))
    }

    /// A record was delivered that is not in the log.
    pub(crate) fn of_delivered(record: &Record) -> Self {
        Self::Found(format!(
            "fork detected in lane {}: record {} was delivered and is not in the log",
            record.lane, record.position
        ))
    }
}

impl Applier {
    /// The position of the checkpoint, if the log does not hold the record the rows end with.
    ///
    /// # Errors
    /// [`Fork::Unknown`].
    pub async fn differing_checkpoint(&self, lane: Lane) -> Result<Option<i64>, Fork> {
        let mut tx = self.target.begin(&self.pool).await?;
        let differing = sqlx::query_scalar(
            "select c.position
            from checkpoints c
            left join log.events e on e.lane = $3 and e.position = c.position
            where c.group_name = $1
                and c.version = $2
                and c.lane = $3
                and c.position > 0
                and (e.position is null or e.chain_hash <> c.chain_hash)",
        )
        .bind(crate::GROUP)
        .bind(crate::VERSION)
        .bind(lane.0)
        .fetch_optional(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(differing)
    }

    /// The chain hash the log has at a position.
    ///
    /// # Errors
    /// [`Fork::Unknown`].
    pub async fn hash_at(&self, lane: Lane, position: i64) -> Result<Option<[u8; 32]>, Fork> {
        Ok(
            sqlx::query_scalar("select chain_hash from log.events where lane = $1 and position = $2")
                .bind(lane.0)
                .bind(position)
                .fetch_optional(&self.pool)
                .await?,
        )
    }
}
