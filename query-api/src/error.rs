//! What can go wrong behind a view, and how it is answered.

use std::sync::Arc;

use service_kit::{database::is_unavailable, problem::Problem};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The request cannot be answered as asked.
    #[error("the request was refused")]
    Refused(Box<Problem>),
    /// The database.
    #[error("the views cannot be read")]
    Database(#[from] sqlx::Error),
    /// The database, of a look for several requests at once.
    #[error("the views cannot be read")]
    Look(#[source] Arc<sqlx::Error>),
    /// A row holds what no projection writes.
    #[error("a row of {what} cannot be understood")]
    Row {
        /// Which read model.
        what: &'static str,
    },
    /// The answer cannot be written as JSON.
    #[error("the answer cannot be written")]
    Json(#[from] serde_json::Error),
}

impl From<Problem> for QueryError {
    fn from(problem: Problem) -> Self {
        Self::Refused(Box::new(problem))
    }
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Refused(problem) => *problem,
            QueryError::Database(cause) if is_unavailable(&cause) => not_now(&cause),
            QueryError::Look(cause) if is_unavailable(&cause) => not_now(&cause),
            other => Problem::ours(&other),
        }
    }
}

fn not_now(cause: &sqlx::Error) -> Problem {
    tracing::warn!(error = %cause, "a view could not be read in time");
    Problem::unavailable(1, "the answer took too long or the database is away; try again")
}
