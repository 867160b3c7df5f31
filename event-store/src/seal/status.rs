//! How the sealing goes: for readiness, and for whoever wants to know how far it is.
//!
//! A *fork* is what people have to look at: the log, or a place outside, contradicts what was sealed. Each finder speaks for
//! itself and alone takes its word back: the sealer ([`LOG`]) and every place by its name. While anybody sees a fork in a lane,
//! the lane is not sealed. Everything else is *waited out*, and readiness says meanwhile what it is.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::Lane;

/// Under this name the sealer itself speaks; places speak under theirs.
pub(super) const LOG: &str = "the log";

/// One lane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaneStatus {
    /// Events under the last checkpoint.
    pub sealed: u64,
    /// Events there are.
    pub head: u64,
    /// Why it halts, by who found it: the log is not what was sealed.
    pub forks: BTreeMap<String, String>,
    /// Why it could not be sealed just now.
    pub failure: Option<String>,
    /// Said of a lane that has events to seal and gets no further checkpoint.
    pub late: Option<String>,
}

/// All lanes of the log, as the process that seals sees them. Cheap to clone; clones share.
#[derive(Clone, Debug, Default)]
pub struct SealStatus(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    lanes: BTreeMap<Lane, LaneStatus>,
    stopped: Option<String>,
}

impl SealStatus {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A snapshot.
    pub fn lanes(&self) -> BTreeMap<Lane, LaneStatus> {
        self.inner().lanes.clone()
    }

    /// What is wrong, for readiness: nothing can be sealed, a fork was detected, a lane could not be sealed, or is late.
    ///
    /// # Errors
    /// Says which lane, and what was found.
    pub fn check(&self) -> Result<(), String> {
        let inner = self.inner();
        if let Some(why) = &inner.stopped {
            return Err(format!("nothing is sealed: {why}"));
        }
        let find = |said: fn(&LaneStatus) -> Option<&String>| {
            inner
                .lanes
                .iter()
                .find_map(|(lane, status)| Some((lane, said(status)?)))
        };
        if let Some((lane, why)) = find(|status| status.forks.values().next()) {
            return Err(format!("fork detected in lane {lane}: {why}"));
        }
        match find(|status| status.failure.as_ref().or(status.late.as_ref())) {
            Some((lane, why)) => Err(format!("lane {lane} is not sealed: {why}")),
            None => Ok(()),
        }
    }

    /// Nothing can be sealed until [`Self::goes_on`].
    pub fn stopped(&self, why: impl Into<String>) {
        self.inner().stopped = Some(why.into());
    }

    pub(super) fn goes_on(&self) {
        if self.inner().stopped.take().is_some() {
            tracing::info!("sealing goes on");
        }
    }

    /// A lane is as far as this, by whoever sealed it.
    pub(super) fn moved(&self, lane: Lane, sealed: u64, head: u64) {
        let label = lane.to_string();
        #[allow(clippy::cast_precision_loss, reason = "a gauge")]
        {
            metrics::gauge!("kinledger_sealer_sealed_position", "lane" => label.clone()).set(sealed as f64);
            metrics::gauge!("kinledger_sealer_lag_events", "lane" => label).set(head.saturating_sub(sealed) as f64);
        }
        let mut inner = self.inner();
        let status = inner.lanes.entry(lane).or_default();
        (status.sealed, status.head) = (sealed, head);
    }

    /// Says, or takes back, that a lane has waited too long.
    pub(super) fn late(&self, lane: Lane, why: Option<String>) {
        self.inner().lanes.entry(lane).or_default().late = why;
    }

    /// A lane could not be sealed, for a reason that may pass.
    pub(super) fn failed(&self, lane: Lane, why: String) {
        self.inner().lanes.entry(lane).or_default().failure = Some(why);
    }

    /// The lane was looked at, and there is nothing that hinders its sealing.
    pub(super) fn sealed(&self, lane: Lane) {
        self.inner().lanes.entry(lane).or_default().failure = None;
        self.mended(lane, LOG);
    }

    pub(super) fn forked(&self, lane: Lane, by: &str, why: String) {
        let mut inner = self.inner();
        let status = inner.lanes.entry(lane).or_default();
        if status.forks.get(by) != Some(&why) {
            tracing::error!(
                lane = lane.0,
                by,
                why,
                "fork detected: the log is not what was sealed; the lane is not sealed any more"
            );
            metrics::gauge!("kinledger_sealer_fork", "lane" => lane.to_string()).set(1.0);
            status.forks.insert(by.to_owned(), why);
        }
    }

    /// Who had seen a fork does not see it any more.
    pub(super) fn mended(&self, lane: Lane, by: &str) {
        let mut inner = self.inner();
        let status = inner.lanes.entry(lane).or_default();
        if status.forks.remove(by).is_some() {
            tracing::warn!(lane = lane.0, by, "the log is again what was sealed");
            if status.forks.is_empty() {
                metrics::gauge!("kinledger_sealer_fork", "lane" => lane.to_string()).set(0.0);
            }
        }
    }

    /// Does this one see a fork there?
    pub(super) fn is_forked_by(&self, lane: Lane, by: &str) -> bool {
        let inner = self.inner();
        inner
            .lanes
            .get(&lane)
            .is_some_and(|status| status.forks.contains_key(by))
    }

    /// Does anybody else see a fork there?
    pub(super) fn is_forked_by_another(&self, lane: Lane, by: &str) -> bool {
        let inner = self.inner();
        let forks = inner.lanes.get(&lane).map(|status| &status.forks);
        forks.is_some_and(|forks| forks.keys().any(|other| other != by))
    }
}
