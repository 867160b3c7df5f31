//! A release whose tables or folding changed: its rows are built beside the old ones, which answer until they are ready.
//!
//! Whoever begins to follow the log first looks whether the live rows are of its own version. Older ones are built again; of
//! several processes one does it and the others wait. Newer ones are left alone: a newer release runs, and this one has nothing
//! to do but to be replaced.

use std::time::Duration;

use service_kit::shutdown::{self, Shutdown};
use tokio::time::sleep;

use crate::{
    VERSION,
    apply::{Applier, ApplyError},
    causes::causes,
    rebuild::{Progress, RebuildError, Request, rebuild},
};

/// Between two looks, while another process builds or a newer release runs.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// After a rebuild that failed.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Returns when the live rows are of this release's version, or at shutdown.
pub(crate) async fn until_current(applier: &Applier, shutdown: &Shutdown) {
    let mut said = None;
    while !*shutdown.borrow() {
        let live = match applier.target.begin(&applier.pool).await {
            Err(ApplyError::Version { live }) => live,
            // Any other failure is the lanes' to report, and to try again.
            Ok(_) | Err(_) => return,
        };
        if said.replace(live) != Some(live) {
            tracing::warn!(live, version = VERSION, "the live rows are another release's");
        }
        let pause = if live > VERSION {
            LOOK_EVERY
        } else {
            tokio::select! {
                pause = build(applier) => pause,
                () = shutdown::requested(shutdown.clone()) => return,
            }
        };
        tokio::select! {
            () = sleep(pause) => {}
            () = shutdown::requested(shutdown.clone()) => {}
        }
    }
}

/// Builds the rows of this version; how long to wait before the next look.
async fn build(applier: &Applier) -> Duration {
    let request = Request::default();
    let say = |progress: Progress| match progress {
        Progress::Folded { .. } | Progress::CatchingUp { .. } => tracing::debug!(?progress, "rows are built again"),
        progress => tracing::info!(?progress, "rows are built again"),
    };
    match rebuild(&applier.pool, &applier.log, &request, &say).await {
        Ok(report) => {
            tracing::info!(
                events = report.events,
                duration_ms = report.built_in.as_millis() as u64,
                "the rows of this release answer"
            );
            Duration::ZERO
        }
        Err(RebuildError::Busy) => LOOK_EVERY,
        Err(error) => {
            tracing::error!(error = %causes(&error), "the rows of this release cannot be built; trying again");
            TRY_AGAIN_AFTER
        }
    }
}
