//! Feeds: a lane's records in order, for projectors and reactors. Where they come from does not matter to them.
//!
//! The contract, which `tests/it/feed.rs` holds both implementations to:
//! - Records come in order of position, each once per call chain, without a gap: the first one has position `after + 1`.
//! - An empty answer means that `wait` passed without a new record, and nothing else.
//! - The reader says how far it is. A feed keeps no state that matters; `after` may go back at any time.
//! - What cannot be read is an error, never a shorter answer.
//! - Records come as they are stored, their texts sealed: whoever folds them opens them ([`crate::Log::open`]).

mod kafka;
mod postgres;

use std::time::Duration;

use async_trait::async_trait;
pub use kafka::KafkaFeed;
pub use postgres::PostgresFeed;

use crate::{Lane, LogError, Record};

/// Why a feed could not answer.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The log could not be read.
    #[error("the log could not be read")]
    Log(#[from] LogError),
    /// Kafka could not be read.
    #[error("Kafka could not be read")]
    Kafka(#[source] rdkafka::error::KafkaError),
    /// The feed does not hold the next record, only later ones (retention, or a topic made anew). Read what is missing from
    /// the log itself, then go on.
    #[error("lane {lane}: the feed goes on at {found}, but {wanted} comes next")]
    Gap {
        /// The lane.
        lane: Lane,
        /// The position that comes next.
        wanted: i64,
        /// The first position the feed has above it.
        found: i64,
    },
}

/// A lane's records in order.
#[async_trait]
pub trait Feed: Send + Sync {
    /// At most `limit` records with a position above `after`; waits up to `wait` for the first.
    ///
    /// # Errors
    /// [`FeedError`]; asking again with the same `after` is always right.
    async fn next(&mut self, lane: Lane, after: i64, limit: usize, wait: Duration) -> Result<Vec<Record>, FeedError>;

    /// Does it read the log itself? What comes from elsewhere may hold what the log has lost, and is compared with it.
    fn is_the_log(&self) -> bool {
        false
    }
}
