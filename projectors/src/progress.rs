//! How far each lane is folded, for readiness and metrics.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use event_store::Lane;

/// A lane that is behind without any progress for so long makes the process unready.
pub const STUCK_AFTER: Duration = Duration::from_secs(30);

#[derive(Clone, Debug, Default)]
struct LaneProgress {
    checkpoint: i64,
    head: i64,
    /// Since when the lane is behind and has not moved.
    waiting_since: Option<Instant>,
    /// Why people have to look before it can go on.
    halted: Option<String>,
}

/// Shared between the lanes' tasks and whoever asks.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    lanes: Arc<Mutex<BTreeMap<Lane, LaneProgress>>>,
}

impl Progress {
    /// Nothing known yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// This process works on a lane from now on.
    pub(crate) fn took(&self, lane: Lane) {
        self.update(lane, |_| {});
    }

    /// This process no longer works on a lane; how far it is, another one says.
    pub(crate) fn dropped(&self, lane: Lane) {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.remove(&lane);
        metrics::gauge!("kinledger_projector_lag_events", "lane" => lane.0.to_string()).set(0.0);
    }

    /// A lane cannot go on before people have looked; says whether that is news.
    pub(crate) fn halted(&self, lane: Lane, why: String) -> bool {
        let mut is_news = false;
        self.update(lane, |progress| {
            is_news = progress.halted.as_ref() != Some(&why);
            progress.halted = Some(why);
        });
        is_news
    }

    /// A lane is begun at this checkpoint. One that was halted or stuck stays so until it moves: it may fail again at once.
    pub(crate) fn began(&self, lane: Lane, checkpoint: i64) {
        self.update(lane, |progress| {
            progress.checkpoint = checkpoint;
            progress.head = progress.head.max(checkpoint);
        });
    }

    /// A feed has nothing beyond what is folded, so nothing contradicts the log any more.
    pub(crate) fn quiet(&self, lane: Lane) {
        self.update(lane, |progress| progress.halted = None);
    }

    /// A lane has been folded up to here.
    pub(crate) fn moved(&self, lane: Lane, checkpoint: i64) {
        self.update(lane, |progress| {
            progress.checkpoint = checkpoint;
            progress.head = progress.head.max(checkpoint);
            progress.waiting_since = None;
            progress.halted = None;
        });
    }

    /// The log of a lane ends here.
    pub(crate) fn seen(&self, lane: Lane, head: i64, now: Instant) {
        if !self.lanes().contains(&lane) {
            // Handed over while it was looked up.
            return;
        }
        self.update(lane, |progress| {
            progress.head = head;
            if progress.checkpoint >= head {
                progress.waiting_since = None;
            } else {
                progress.waiting_since.get_or_insert(now);
            }
        });
    }

    fn update(&self, lane: Lane, change: impl FnOnce(&mut LaneProgress)) {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let progress = lanes.entry(lane).or_default();
        change(progress);
        let lag = (progress.head - progress.checkpoint).max(0);
        metrics::gauge!("kinledger_projector_lag_events", "lane" => lane.0.to_string()).set(lag as f64);
    }

    /// The lanes this process works on.
    pub(crate) fn lanes(&self) -> Vec<Lane> {
        let lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.keys().copied().collect()
    }

    /// Position folded and position of the log's end, per lane.
    pub fn positions(&self) -> BTreeMap<i16, (i64, i64)> {
        let lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        lanes
            .iter()
            .map(|(lane, progress)| (lane.0, (progress.checkpoint, progress.head)))
            .collect()
    }

    /// Is a lane of this process stuck or halted? For `/readyz`. A process without lanes is well.
    ///
    /// # Errors
    /// In words, which lanes and by how much.
    pub fn check(&self) -> Result<(), String> {
        self.check_at(Instant::now())
    }

    fn check_at(&self, now: Instant) -> Result<(), String> {
        let lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let is_stuck = |since: Instant| now.saturating_duration_since(since) >= STUCK_AFTER;
        let halted = lanes.values().filter_map(|progress| progress.halted.clone());
        let stuck = lanes
            .iter()
            .filter(|(_, progress)| progress.halted.is_none() && progress.waiting_since.is_some_and(is_stuck))
            .map(|(lane, p)| format!("lane {} waits at {} of {}", lane.0, p.checkpoint, p.head));
        let stuck: Vec<String> = halted.chain(stuck).collect();
        if stuck.is_empty() {
            Ok(())
        } else {
            Err(stuck.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_halted_lane_is_said_until_it_moves_and_a_lane_handed_over_is_not() {
        let progress = Progress::new();
        progress.took(Lane(1));
        progress.took(Lane(2));
        assert!(progress.halted(Lane(1), "fork detected".to_owned()));
        assert!(!progress.halted(Lane(1), "fork detected".to_owned()), "no news");
        progress.began(Lane(1), 2);
        assert_eq!(progress.check(), Err("fork detected".to_owned()));
        progress.moved(Lane(1), 3);
        assert_eq!(progress.check(), Ok(()));
        progress.halted(Lane(2), "fork detected".to_owned());
        progress.dropped(Lane(2));
        progress.seen(Lane(2), 7, Instant::now());
        assert_eq!(progress.check(), Ok(()));
        assert_eq!(progress.lanes(), [Lane(1)]);
    }

    #[test]
    fn a_lane_is_stuck_only_when_it_is_behind_and_does_not_move() {
        let progress = Progress::new();
        let start = Instant::now();
        progress.moved(Lane(1), 10);
        progress.seen(Lane(1), 10, start);
        assert_eq!(progress.check_at(start + STUCK_AFTER * 100), Ok(()));
        let later = start + STUCK_AFTER * 100;
        progress.seen(Lane(1), 12, later);
        assert_eq!(progress.check_at(later + STUCK_AFTER / 2), Ok(()));
        assert_eq!(
            progress.check_at(later + STUCK_AFTER),
            Err("lane 1 waits at 10 of 12".to_owned())
        );
        progress.moved(Lane(1), 11);
        progress.seen(Lane(1), 12, later + STUCK_AFTER);
        assert_eq!(progress.check_at(later + STUCK_AFTER), Ok(()));
    }
}
