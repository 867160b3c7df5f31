//! Failures of the database, as sqlx would bring them.

use event_store::LogError;

/// The database cannot be reached, or did not answer in time.
pub(crate) fn unreachable_database() -> LogError {
    LogError::Database(sqlx::Error::PoolTimedOut)
}

/// The database refuses a statement, and would again.
pub(crate) fn refused() -> LogError {
    LogError::Database(sqlx::Error::Database(Box::new(RefusedValue)))
}

/// A value that Postgres does not hold, such as `\u0000` in JSON.
#[derive(Debug)]
struct RefusedValue;

impl std::fmt::Display for RefusedValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("unsupported Unicode escape sequence")
    }
}

impl std::error::Error for RefusedValue {}

impl sqlx::error::DatabaseError for RefusedValue {
    fn message(&self) -> &str {
        "unsupported Unicode escape sequence"
    }

    fn code(&self) -> Option<std::borrow::Cow<'_, str>> {
        Some("22P05".into())
    }

    fn as_error(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
        self
    }

    fn as_error_mut(&mut self) -> &mut (dyn std::error::Error + Send + Sync + 'static) {
        self
    }

    fn into_error(self: Box<Self>) -> Box<dyn std::error::Error + Send + Sync + 'static> {
        self
    }

    fn kind(&self) -> sqlx::error::ErrorKind {
        sqlx::error::ErrorKind::Other
    }
}
