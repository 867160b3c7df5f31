//! Stopping: one switch that every part watches; intake ends first, work in hand is finished, then the process goes.

use tokio::sync::watch;

/// Turns true once, when the process should stop.
pub type Shutdown = watch::Receiver<bool>;

/// The switch and its first watcher.
pub fn channel() -> (watch::Sender<bool>, Shutdown) {
    watch::channel(false)
}

/// Resolves when the switch is thrown, or its owner is gone.
pub async fn requested(mut shutdown: Shutdown) {
    while !*shutdown.borrow_and_update() {
        if shutdown.changed().await.is_err() {
            return;
        }
    }
}

/// Resolves on Ctrl-C or SIGTERM.
///
/// # Errors
/// When the signal handlers cannot be installed.
pub async fn signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminate.recv() => Ok(()),
    }
}

/// Finishes what is in hand: false when it takes longer than `within`, or the signal comes a second time.
pub async fn finish(within: std::time::Duration, work: impl Future<Output = ()>) -> bool {
    tokio::select! {
        finished = tokio::time::timeout(within, work) => finished.is_ok(),
        _ = signal() => false,
    }
}
