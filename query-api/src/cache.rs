//! Answers kept outside the process. A lost cache costs time, never a wrong answer: a key is the answer's ETag, which names
//! the family's `family_seq`, the viewer and the parameters, so a newer row has another key.

use std::time::Duration;

use async_trait::async_trait;
use redis::{AsyncCommands, aio::ConnectionManager};

/// How long an answer is kept, in seconds.
const KEEP_SECONDS: u64 = 300;
/// How long a request waits for the cache before it goes without.
const PATIENCE: Duration = Duration::from_millis(50);
/// Larger answers are not kept, in bytes.
const BODY_BYTES_MAX: usize = 256 * 1024;

/// Keeps answers by ETag.
#[async_trait]
pub trait ResponseCache: Send + Sync {
    /// A kept answer.
    async fn get(&self, etag: &str) -> Option<Vec<u8>>;
    /// Keeps an answer, or not.
    async fn put(&self, etag: &str, body: &[u8]);
}

/// Keeps nothing: the embedded way, where the database is as near as a cache would be.
pub struct NoCache;

#[async_trait]
impl ResponseCache for NoCache {
    async fn get(&self, _: &str) -> Option<Vec<u8>> {
        None
    }

    async fn put(&self, _: &str, _: &[u8]) {}
}

/// Keeps answers in Redis for five minutes. Every failure reads as "not there".
pub struct RedisCache {
    connection: ConnectionManager,
}

impl RedisCache {
    /// Connects, and reconnects by itself from then on.
    ///
    /// # Errors
    /// When the address does not parse or nobody answers there.
    pub async fn connect(url: &str) -> Result<Self, redis::RedisError> {
        let connection = ConnectionManager::new(redis::Client::open(url)?).await?;
        Ok(Self { connection })
    }

    fn key(etag: &str) -> String {
        format!("kinledger:view:{}", etag.trim_matches('"'))
    }
}

#[async_trait]
impl ResponseCache for RedisCache {
    async fn get(&self, etag: &str) -> Option<Vec<u8>> {
        let mut connection = self.connection.clone();
        let kept = tokio::time::timeout(PATIENCE, connection.get::<_, Option<Vec<u8>>>(Self::key(etag))).await;
        let body = kept.ok().and_then(Result::ok).flatten();
        let outcome = if body.is_some() { "hit" } else { "miss" };
        metrics::counter!("kinledger_view_cache_total", "outcome" => outcome).increment(1);
        body
    }

    async fn put(&self, etag: &str, body: &[u8]) {
        if body.len() > BODY_BYTES_MAX {
            return;
        }
        let mut connection = self.connection.clone();
        let put = connection.set_ex::<_, _, ()>(Self::key(etag), body, KEEP_SECONDS);
        if !matches!(tokio::time::timeout(PATIENCE, put).await, Ok(Ok(()))) {
            tracing::debug!("an answer was not kept: the cache did not take it in time");
        }
    }
}
