//! Sessions that ended while an access token of theirs may still be about.

use std::{
    collections::HashMap,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use uuid::Uuid;

use super::{ACCESS_TOKEN_SECONDS, LEEWAY_SECONDS};

/// Ended sessions remembered at most.
pub(super) const ENTRIES_MAX: usize = 200_000;
/// No token outlives the end of its session by more; counted from when this process heard of it.
const REMEMBERED_FOR: Duration = Duration::from_secs((ACCESS_TOKEN_SECONDS + 2 * LEEWAY_SECONDS) as u64);

/// The set fails closed: when it is full, it forgets nobody and refuses every token issued until now instead. Their owners
/// refresh once and go on.
pub(super) struct Revocations {
    ended: RwLock<HashMap<Uuid, Instant>>,
    issued_after: AtomicI64,
}

impl Revocations {
    pub fn new() -> Self {
        Self {
            ended: RwLock::default(),
            issued_after: AtomicI64::new(i64::MIN),
        }
    }

    pub fn insert(&self, session_id: Uuid, now: i64) {
        let mut ended = self.ended.write().unwrap_or_else(PoisonError::into_inner);
        if ended.len() >= ENTRIES_MAX && !ended.contains_key(&session_id) {
            ended.clear();
            self.refuse_all_issued_until(now);
            return;
        }
        ended.entry(session_id).or_insert_with(Instant::now);
    }

    pub fn refuse_all_issued_until(&self, now: i64) {
        self.issued_after.fetch_max(now, Ordering::SeqCst);
    }

    pub fn refuses(&self, session_id: Uuid, issued_at: i64) -> bool {
        issued_at <= self.issued_after.load(Ordering::SeqCst)
            || self
                .ended
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .contains_key(&session_id)
    }

    pub fn forget_old(&self) {
        let mut ended = self.ended.write().unwrap_or_else(PoisonError::into_inner);
        ended.retain(|_, heard_at| heard_at.elapsed() < REMEMBERED_FOR);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ended_session_is_refused_and_no_other() {
        let revocations = Revocations::new();
        revocations.insert(Uuid::from_u128(1), 100);
        revocations.forget_old();
        assert!(revocations.refuses(Uuid::from_u128(1), 50));
        assert!(!revocations.refuses(Uuid::from_u128(2), 50));
    }

    #[test]
    fn a_full_set_refuses_everything_issued_before_rather_than_forget() {
        let revocations = Revocations::new();
        for session in 0..=ENTRIES_MAX as u128 {
            revocations.insert(Uuid::from_u128(session), 100);
        }
        assert!(revocations.refuses(Uuid::from_u128(0), 100));
        assert!(!revocations.refuses(Uuid::from_u128(u128::MAX), 101));
    }
}
