//! Answers kept for a while, in this process or in Redis. A lost cache costs time, never a wrong answer: a key is made of
//! the answer's ETag, which names the family's `family_seq`, the generation of the rows, the viewer and the parameters, and of the
//! family's chain hash, so a newer row has another key, and one of another history too. Who asks is looked up in the rows every
//! time; only then is an answer looked for here.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use axum::body::Bytes;
use quick_cache::{Weighter, sync::Cache};
use redis::{
    AsyncCommands,
    aio::{ConnectionManager, ConnectionManagerConfig},
};

/// How long an answer is kept, in seconds: as long a text may be read in Redis after its member was erased.
const KEEP_SECONDS: u64 = 30;
/// How long a request waits for the cache before it goes without.
const PATIENCE: Duration = Duration::from_millis(50);
/// How long Redis is left alone after it did not answer.
const LEFT_ALONE_FOR: Duration = Duration::from_secs(1);
/// Larger answers are not kept, in bytes.
const BODY_BYTES_MAX: usize = 256 * 1024;

/// Keeps answers by ETag.
#[async_trait]
pub trait ResponseCache: Send + Sync {
    /// A kept answer.
    async fn get(&self, etag: &str) -> Option<Bytes>;
    /// Keeps an answer, or not.
    async fn put(&self, etag: &str, body: &Bytes);
}

/// Keeps answers in this process: the embedded way. The least useful go when their bytes are more than it may hold.
pub struct MemoryCache {
    answers: Cache<String, Bytes, Weight>,
}

/// An answer weighs what it takes up, and something for being there.
#[derive(Clone)]
struct Weight;

impl Weighter<String, Bytes> for Weight {
    fn weight(&self, etag: &String, body: &Bytes) -> u64 {
        const OVERHEAD: usize = 64;
        (etag.len() + body.len() + OVERHEAD) as u64
    }
}

impl MemoryCache {
    /// A cache of at most so many bytes.
    pub fn new(bytes_max: u64) -> Self {
        const USUAL_ANSWER_BYTES: u64 = 4_096;
        let answers = usize::try_from(bytes_max / USUAL_ANSWER_BYTES)
            .unwrap_or(usize::MAX)
            .max(1);
        Self {
            answers: Cache::with_weighter(answers, bytes_max, Weight),
        }
    }
}

impl Default for MemoryCache {
    /// 16 MiB: the first pages of some thousand people.
    fn default() -> Self {
        Self::new(16 << 20)
    }
}

#[async_trait]
impl ResponseCache for MemoryCache {
    async fn get(&self, etag: &str) -> Option<Bytes> {
        counted(self.answers.get(etag))
    }

    async fn put(&self, etag: &str, body: &Bytes) {
        if body.len() <= BODY_BYTES_MAX {
            self.answers.insert(etag.to_owned(), body.clone());
        }
    }
}

fn counted(body: Option<Bytes>) -> Option<Bytes> {
    let outcome = if body.is_some() { "hit" } else { "miss" };
    metrics::counter!("kinledger_view_cache_total", "outcome" => outcome).increment(1);
    body
}

/// Keeps answers in Redis for half a minute. Every failure reads as "not there", and Redis is then left alone for a moment, so that
/// requests do not wait for it one after another while it is away.
pub struct RedisCache {
    connection: ConnectionManager,
    left_alone_until: Mutex<Option<Instant>>,
}

impl RedisCache {
    /// Connects at the first use, and again whenever the connection is lost: whether Redis is there is no condition for a start.
    ///
    /// # Errors
    /// When the address does not parse.
    pub fn try_new(url: &str) -> Result<Self, redis::RedisError> {
        let config = ConnectionManagerConfig::new().set_number_of_retries(1);
        let connection = ConnectionManager::new_lazy_with_config(redis::Client::open(url)?, config)?;
        Ok(Self {
            connection,
            left_alone_until: Mutex::default(),
        })
    }

    fn key(etag: &str) -> String {
        format!("kinledger:view:{}", etag.trim_matches('"'))
    }

    /// What Redis says, unless it does not in time.
    async fn said<T>(&self, asked: impl Future<Output = Result<T, redis::RedisError>>) -> Option<T> {
        if self.left_alone().is_some_and(|until| Instant::now() < until) {
            return None;
        }
        let said = tokio::time::timeout(PATIENCE, asked).await.ok().and_then(Result::ok);
        let was_away = self.left_alone().is_some();
        match &said {
            Some(_) if was_away => {
                tracing::info!("Redis answers again");
                *self.left_alone() = None;
            }
            None => {
                if !was_away {
                    tracing::warn!("Redis does not answer; views are read without it");
                }
                *self.left_alone() = Some(Instant::now() + LEFT_ALONE_FOR);
            }
            Some(_) => {}
        }
        said
    }

    fn left_alone(&self) -> MutexGuard<'_, Option<Instant>> {
        self.left_alone_until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl ResponseCache for RedisCache {
    async fn get(&self, etag: &str) -> Option<Bytes> {
        let mut connection = self.connection.clone();
        let kept = self.said(connection.get::<_, Option<Vec<u8>>>(Self::key(etag))).await;
        counted(kept.flatten().map(Bytes::from))
    }

    async fn put(&self, etag: &str, body: &Bytes) {
        if body.len() > BODY_BYTES_MAX {
            return;
        }
        let mut connection = self.connection.clone();
        self.said(connection.set_ex::<_, _, ()>(Self::key(etag), &body[..], KEEP_SECONDS))
            .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_is_kept_by_its_tag_and_a_large_one_is_not() {
        let cache = MemoryCache::default();
        cache.put("\"a\"", &Bytes::from_static(b"one")).await;
        cache.put("\"b\"", &Bytes::from(vec![0; BODY_BYTES_MAX + 1])).await;
        assert_eq!(cache.get("\"a\"").await.as_deref(), Some(&b"one"[..]));
        assert_eq!(cache.get("\"b\"").await, None);
        assert_eq!(cache.get("\"c\"").await, None);
    }

    #[tokio::test]
    async fn the_bytes_kept_never_exceed_their_bound() {
        let cache = MemoryCache::new(1 << 20);
        for number in 0..2_000 {
            cache
                .put(&format!("\"{number}\""), &Bytes::from_static(&[0; 4_000]))
                .await;
            assert!(cache.answers.weight() <= 1 << 20);
        }
        assert!(cache.answers.len() >= 100, "and most of the room is used");
    }
}
