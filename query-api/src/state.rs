//! What the views need, shared by all requests.

use std::sync::Arc;

use axum::extract::FromRef;
use chrono::{DateTime, Utc};
use service_kit::auth::TokenVerifier;
use sqlx::PgPool;
use tokio::sync::{Notify, Semaphore};

use crate::{
    cache::{MemoryCache, ResponseCache},
    places::Places,
};

/// Requests that may wait for their own write at once; further ones are told to come back at once.
const WAITERS_MAX: usize = 512;

/// The views' state.
#[derive(Clone)]
pub struct QueryState {
    /// Acts in the role of the reader.
    pub(crate) pool: PgPool,
    /// Looks up who asks.
    pub(crate) places: Places,
    /// Tells who is signed in.
    pub verifier: Arc<TokenVerifier>,
    /// Rung when rows changed, where projectors run in the same process; otherwise polling alone finds out.
    pub rows_changed: Option<Arc<Notify>>,
    /// Answers kept elsewhere; may lose everything at any time.
    pub cache: Arc<dyn ResponseCache>,
    /// What time it is: which day a family is in.
    pub clock: fn() -> DateTime<Utc>,
    pub(crate) waiters: Arc<Semaphore>,
}

impl QueryState {
    /// Without a bell, with a small cache in memory, on the system's clock.
    pub fn new(pool: PgPool, verifier: Arc<TokenVerifier>) -> Self {
        Self {
            places: Places::new(pool.clone()),
            pool,
            verifier,
            rows_changed: None,
            cache: Arc::new(MemoryCache::default()),
            clock: Utc::now,
            waiters: Arc::new(Semaphore::new(WAITERS_MAX)),
        }
    }
}

impl FromRef<QueryState> for Arc<TokenVerifier> {
    fn from_ref(state: &QueryState) -> Self {
        state.verifier.clone()
    }
}
