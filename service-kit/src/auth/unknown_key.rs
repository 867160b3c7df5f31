//! A token whose key is not known yet: the keys are read again before it is refused.
//!
//! Keys are read every [`super::POLL_SECONDS`]. A process that starts before the first key is made would refuse what that key
//! signs until then. So a token that is ours in form but names an unknown key waits for a look at the keys that begins after it
//! came. Whoever waits shares looks, which begin at least [`LOOKS_APART`] after one another, so tokens with made-up keys cost
//! the database a few statements a second and nobody else anything.

use std::time::Duration;

use tokio::{
    sync::{Mutex, Semaphore},
    time::{Instant, sleep_until, timeout},
};

/// How long a request waits for a look at the keys.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// Looks begin so far apart.
const LOOKS_APART: Duration = Duration::from_millis(200);
/// Requests that may wait for a look at once.
const WAITERS_MAX: usize = 256;

/// The keys could not be read in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotRead;

/// The looks of a process.
#[derive(Debug)]
pub(super) struct Looks {
    last: Mutex<Last>,
    places: Semaphore,
}

#[derive(Debug, Default)]
struct Last {
    /// When the last look began, whatever came of it.
    tried_at: Option<Instant>,
    /// When the last one began that read the keys.
    read_at: Option<Instant>,
}

impl Looks {
    pub(super) fn new() -> Self {
        Self {
            last: Mutex::default(),
            places: Semaphore::new(WAITERS_MAX),
        }
    }

    /// Returns when a look that began after this call has read the keys: one of its own, or somebody else's.
    pub(super) async fn wait<E>(&self, look: impl AsyncFnOnce() -> Result<(), E>) -> Result<(), NotRead> {
        let arrived_at = Instant::now();
        let Ok(_place) = self.places.try_acquire() else {
            return Err(NotRead);
        };
        timeout(WAIT_MAX, self.look_after(arrived_at, look))
            .await
            .unwrap_or(Err(NotRead))
    }

    async fn look_after<E>(
        &self,
        arrived_at: Instant,
        look: impl AsyncFnOnce() -> Result<(), E>,
    ) -> Result<(), NotRead> {
        let mut last = self.last.lock().await;
        if last.read_at.is_some_and(|read_at| read_at >= arrived_at) {
            return Ok(());
        }
        if let Some(tried_at) = last.tried_at {
            sleep_until(tried_at + LOOKS_APART).await;
        }
        let began_at = Instant::now();
        last.tried_at = Some(began_at);
        look().await.map_err(|_| NotRead)?;
        last.read_at = Some(began_at);
        Ok(())
    }
}
