//! The rows of a past moment: a family's log up to there, folded by the real projections, read by the real views.
//!
//! The order of things, told once:
//! 1. A connection of its own gets empty temporary tables of the same names as the read models' ([`Past::begin`]). Nothing else
//!    is on its search path, so a statement finds those tables or none.
//! 2. One read-only, repeatable-read transaction is opened and confined to the family. It may write to temporary tables and to
//!    nothing else, and row-level security shows it this family's part of the log alone.
//! 3. The log is read page by page, each event held against the hash chain, and folded ([`Past::fold`]). Memory holds a page;
//!    rows go to temporary tables, which never reach the write-ahead log.
//! 4. Views are read in the same transaction ([`Past::rows`]), by the code that answers for the present.
//! 5. The transaction is rolled back, however it ends: no row outlives the request.

use chrono::{DateTime, Utc};
use domain::{
    actor::Role,
    id::{FamilyId, MemberId},
};
use event_store::{
    Lane, Log, LogError, Record,
    replay::{AsOf, Last, Prefix, ReplayError},
};
use projectors::fold::{FoldError, fold_records, scratch_tables};
use query_api::{answer::Onlooker, view::Viewer};
use service_kit::problem::Problem;
use sqlx::{Connection, PgConnection, Postgres, Transaction};

use crate::place::confine;

/// Why there are no past rows.
#[derive(Debug, thiserror::Error)]
pub enum PastError {
    /// The log cannot be replayed.
    #[error("cannot replay the ledger")]
    Replay(#[from] ReplayError),
    /// The events do not become rows.
    #[error("cannot fold the ledger")]
    Fold(#[from] FoldError),
    /// The log cannot be read.
    #[error("cannot read the log")]
    Log(#[from] LogError),
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    /// The history is longer than may be replayed here.
    #[error("the history up to there has more than {events_max} events")]
    TooLong {
        /// The most that are replayed.
        events_max: i64,
    },
}

/// Rows of one family as of a moment that moves on with every [`Past::fold`].
pub struct Past<'c> {
    log: Log,
    tx: Transaction<'c, Postgres>,
    family: FamilyId,
    lane: Lane,
    last: Option<Last>,
}

impl<'c> Past<'c> {
    /// Before the first event; none when there is no such family. The connection acts in the role of the replayer.
    ///
    /// # Errors
    /// [`PastError::Database`].
    pub async fn begin(
        log: &Log,
        connection: &'c mut PgConnection,
        family: FamilyId,
    ) -> Result<Option<Self>, PastError> {
        scratch_tables(connection).await?;
        let mut tx = connection.begin().await?;
        let lane = confine(&mut tx, family).await?;
        Ok(lane.map(|lane| Self {
            log: log.clone(),
            tx,
            family,
            lane,
            last: None,
        }))
    }

    /// The family's last event in the log; 0 when there is none.
    ///
    /// # Errors
    /// [`PastError::Database`].
    pub async fn head(&mut self) -> Result<i64, PastError> {
        let statement = "select coalesce(max(family_seq), 0) from log.events where lane = $1 and family_id = $2";
        Ok(sqlx::query_scalar(statement)
            .bind(self.lane.0)
            .bind(self.family.uuid())
            .fetch_one(&mut *self.tx)
            .await?)
    }

    /// Folds everything within the recorded bounds, at most `events_max` events; `each` sees every page before it is folded.
    ///
    /// # Errors
    /// [`PastError`]; the rows are of no use afterwards.
    pub async fn replay(
        &mut self,
        as_of: AsOf,
        events_max: i64,
        mut each: impl FnMut(&[Record]) -> Result<(), ReplayError>,
    ) -> Result<Option<Last>, PastError> {
        let mut prefix = Prefix::new(&self.log, self.lane, self.family, as_of);
        while let Some(records) = prefix.next(&mut self.tx).await? {
            if prefix.last().is_some_and(|last| last.family_seq > events_max) {
                return Err(PastError::TooLong { events_max });
            }
            each(&records)?;
            self.fold(records).await?;
        }
        Ok(self.last)
    }

    /// Folds the next events of the family, which the caller has read and verified in their order.
    ///
    /// # Errors
    /// [`PastError::Fold`].
    pub async fn fold(&mut self, records: Vec<Record>) -> Result<(), PastError> {
        let last = records.last().map(Last::of);
        fold_records(records, &mut self.tx).await?;
        self.last = last.or(self.last);
        Ok(())
    }

    /// The last event in the rows.
    pub fn last(&self) -> Option<Last> {
        self.last
    }

    /// The lane of the family.
    pub fn lane(&self) -> Lane {
        self.lane
    }

    /// The role a member has in these rows.
    ///
    /// # Errors
    /// [`PastError::Database`].
    pub async fn role_of(&mut self, member: MemberId) -> Result<Option<Role>, PastError> {
        let role: Option<String> =
            sqlx::query_scalar("select role from members where family_id = $1 and member_id = $2")
                .bind(self.family.uuid())
                .bind(member.uuid())
                .fetch_optional(&mut *self.tx)
                .await?;
        Ok(role.and_then(|role| role.parse().ok()))
    }

    /// Somebody looking at these rows; none when there is nothing for them to look at yet, see [`Viewer::of_onlooker`].
    ///
    /// # Errors
    /// The problem to answer with.
    pub async fn viewer(&mut self, onlooker: &Onlooker) -> Result<Option<Viewer>, Problem> {
        Viewer::of_onlooker(&mut self.tx, onlooker).await
    }

    /// The rows, for views to read.
    pub fn rows(&mut self) -> &mut PgConnection {
        &mut self.tx
    }
}

/// The moment that "today" is taken from: the instant that was named, else that of the last event within the bounds, when one
/// was named; else now.
pub fn moment(as_of: &AsOf, last: Option<Last>, now: DateTime<Utc>) -> DateTime<Utc> {
    let of_number = as_of.family_seq.and(last).map(|last| last.recorded_at);
    as_of.recorded_at.or(of_number).unwrap_or(now)
}
