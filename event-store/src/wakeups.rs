//! A hint, inside one process, that a lane has grown. Polling is the truth; a hint that is lost costs latency and no more.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

use crate::Lane;

/// Hints for every lane. Clones share them; give one to all [`crate::Log`]s of a process.
#[derive(Clone, Debug, Default)]
pub struct Wakeups {
    lanes: Arc<Mutex<HashMap<Lane, watch::Sender<()>>>>,
}

impl Wakeups {
    /// Tells everybody who waits for `lane` to look.
    pub fn notify(&self, lane: Lane) {
        self.with(lane, |sender| sender.send_replace(()));
    }

    /// Waits for the next hint, at most `timeout`. A hint given before the call is not seen; see [`Wakeups::subscribe`].
    pub async fn wait(&self, lane: Lane, timeout: Duration) {
        self.subscribe(lane).wait(timeout).await;
    }

    /// A waiter that also sees hints given between two waits.
    pub fn subscribe(&self, lane: Lane) -> Wakeup {
        Wakeup {
            receiver: self.with(lane, |sender| sender.subscribe()),
        }
    }

    fn with<T>(&self, lane: Lane, act: impl FnOnce(&watch::Sender<()>) -> T) -> T {
        // The map is whole between any two statements, so a panic elsewhere cannot have harmed it.
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        act(lanes.entry(lane).or_insert_with(|| watch::Sender::new(())))
    }
}

/// One waiter for one lane.
#[derive(Debug)]
pub struct Wakeup {
    receiver: watch::Receiver<()>,
}

impl Wakeup {
    /// Waits for a hint since the last wait, at most `timeout`.
    pub async fn wait(&mut self, timeout: Duration) {
        if let Ok(Err(_)) = tokio::time::timeout(timeout, self.receiver.changed()).await {
            // Every sender is gone: no hint will come, so this is a plain sleep and not a busy loop.
            tokio::time::sleep(timeout).await;
        }
    }
}
