//! How the sealing goes: for readiness, and for whoever wants to know how far it is.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::Lane;

/// One lane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaneStatus {
    /// Events under the last checkpoint.
    pub sealed: u64,
    /// Events there are.
    pub head: u64,
    /// Why it halts: the log is not what was sealed.
    pub fork: Option<String>,
}

/// All lanes of the process that seals. Cheap to clone; clones share.
#[derive(Clone, Debug, Default)]
pub struct SealStatus(Arc<Mutex<BTreeMap<Lane, LaneStatus>>>);

impl SealStatus {
    /// A snapshot.
    pub fn lanes(&self) -> BTreeMap<Lane, LaneStatus> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is wrong, for readiness: a lane in which a fork was detected.
    ///
    /// # Errors
    /// Says which lane, and what was found.
    pub fn check(&self) -> Result<(), String> {
        let lanes = self.lanes();
        let forked = lanes
            .iter()
            .find_map(|(lane, status)| Some((lane, status.fork.as_ref()?)));
        forked.map_or(Ok(()), |(lane, why)| {
            Err(format!("fork detected in lane {lane}: {why}"))
        })
    }

    pub(super) fn moved(&self, lane: Lane, sealed: u64, head: u64) {
        let label = lane.to_string();
        #[allow(clippy::cast_precision_loss, reason = "a gauge")]
        {
            metrics::gauge!("kinledger_sealer_sealed_position", "lane" => label.clone()).set(sealed as f64);
            metrics::gauge!("kinledger_sealer_lag_events", "lane" => label).set(head.saturating_sub(sealed) as f64);
        }
        let mut lanes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let status = lanes.entry(lane).or_default();
        (status.sealed, status.head) = (sealed, head);
    }

    pub(super) fn forked(&self, lane: Lane, why: String) {
        let mut lanes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let status = lanes.entry(lane).or_default();
        if status.fork.is_none() {
            tracing::error!(
                lane = lane.0,
                why,
                "fork detected: the log is not what was sealed; the lane is not sealed any more"
            );
            metrics::gauge!("kinledger_sealer_fork", "lane" => lane.to_string()).set(1.0);
            status.fork = Some(why);
        }
    }

    pub(super) fn is_forked(&self, lane: Lane) -> bool {
        let lanes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.get(&lane).is_some_and(|status| status.fork.is_some())
    }
}
