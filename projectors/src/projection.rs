//! What a projection is: a fold of events into the rows of one read model.

use async_trait::async_trait;
use domain::aggregate::LedgerEvent;
use event_store::Record;
use rust_decimal::Decimal;
use sqlx::{PgConnection, postgres::PgQueryResult};
use uuid::Uuid;

use crate::copy::Copies;

/// A stored record and the event in it, decoded once for all projections.
#[derive(Clone, Debug)]
pub struct Fact {
    /// The record as the log keeps it.
    pub record: Record,
    /// The event in it.
    pub event: LedgerEvent,
}

impl Fact {
    /// The family's bare UUID, as rows hold it.
    pub fn family(&self) -> Uuid {
        self.record.family_id.uuid()
    }
}

/// Why events did not become rows.
#[derive(Debug, thiserror::Error)]
pub enum ProjectionError {
    /// The database refuses the rows, or cannot be reached.
    #[error("the rows cannot be written")]
    Database(#[from] sqlx::Error),
    /// An event is about a row that no earlier event made.
    #[error("an event is about {what} that is not there")]
    Missing {
        /// The kind of row.
        what: &'static str,
    },
    /// A sum is beyond what a decimal holds.
    #[error("a sum of {what} is too large")]
    TooLarge {
        /// What was summed.
        what: &'static str,
    },
}

/// One read model's fold. Facts of one family come in the order of the ledger and exactly once; several families share a
/// batch. Folding them together, one by one, or again from nothing must leave the same rows.
#[async_trait]
pub trait Projection: Send + Sync {
    /// The read model's name: its table, file and URL.
    fn name(&self) -> &'static str;

    /// The tables it writes, and nobody else does. A statement names them without a schema: which generation of them is
    /// meant is in the transaction's search path.
    fn tables(&self) -> &'static [&'static str];

    /// Projections earlier in the list whose rows it looks at while it folds.
    fn reads(&self) -> &'static [&'static str] {
        &[]
    }

    /// Folds the facts in memory where that pays, and writes the rows set by set, inside the batch's transaction.
    ///
    /// # Errors
    /// [`ProjectionError`]; nothing of the batch is kept then.
    async fn project(&self, facts: &[Fact], tx: &mut PgConnection) -> Result<(), ProjectionError>;

    /// Those of its tables that [`Projection::project_whole`] fills by COPY; they have no keys yet at that time.
    fn copied(&self) -> &'static [&'static str] {
        &[]
    }

    /// Folds families whose whole history the facts are, into tables that hold nothing of them: what a rebuild does. Rows of
    /// [`Projection::copied`] go to `copies`, others to the database. The rows are those of [`Projection::project`].
    ///
    /// # Errors
    /// [`ProjectionError`]; nothing of the batch is kept then.
    async fn project_whole(
        &self,
        facts: &[Fact],
        _copies: &mut Copies,
        tx: &mut PgConnection,
    ) -> Result<(), ProjectionError> {
        self.project(facts, tx).await
    }
}

/// Adds to a running sum.
///
/// # Errors
/// [`ProjectionError::TooLarge`].
pub(crate) fn add(sum: &mut Decimal, change: Decimal, what: &'static str) -> Result<(), ProjectionError> {
    *sum = sum.checked_add(change).ok_or(ProjectionError::TooLarge { what })?;
    Ok(())
}

/// Did a statement reach every row it was meant for?
///
/// # Errors
/// [`ProjectionError::Missing`].
pub(crate) fn reached(done: &PgQueryResult, wanted: usize, what: &'static str) -> Result<(), ProjectionError> {
    if usize::try_from(done.rows_affected()).is_ok_and(|rows| rows == wanted) {
        Ok(())
    } else {
        Err(ProjectionError::Missing { what })
    }
}
