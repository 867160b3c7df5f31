//! The time by which tokens count: the database's, carried on by a clock that only goes forward.
//!
//! A machine's wall clock may jump: an hour back, a month ahead. By it a token that has expired would count again, or one would
//! be issued that lives for a month. So all processes take the time from the database, which they share, each time they look for
//! ended sessions, and count on from there without asking the machine what day it is. Within a process the time never goes back,
//! not even when the database's does.

use std::{
    sync::{PoisonError, RwLock},
    time::Instant,
};

use chrono::Utc;

/// See the module. Before the database was asked it is the machine's clock.
#[derive(Debug, Default)]
pub(super) struct Clock {
    /// A time in seconds since 1970, and when it was that.
    anchor: RwLock<Option<(i64, Instant)>>,
}

impl Clock {
    /// Seconds since 1970.
    pub(super) fn now(&self) -> i64 {
        self.at(Instant::now())
    }

    fn at(&self, instant: Instant) -> i64 {
        match *self.anchor.read().unwrap_or_else(PoisonError::into_inner) {
            Some(anchor) => carried_on(anchor, instant),
            None => Utc::now().timestamp(),
        }
    }

    /// The database says that it is so late. Returns how late it is.
    pub(super) fn set(&self, database_now: i64) -> i64 {
        self.set_at(database_now, Instant::now())
    }

    fn set_at(&self, database_now: i64, instant: Instant) -> i64 {
        let mut anchor = self.anchor.write().unwrap_or_else(PoisonError::into_inner);
        let now = anchor.map_or(database_now, |anchor| carried_on(anchor, instant).max(database_now));
        *anchor = Some((now, instant));
        now
    }
}

fn carried_on((seconds, since): (i64, Instant), instant: Instant) -> i64 {
    let elapsed = instant.saturating_duration_since(since).as_secs();
    seconds.saturating_add(i64::try_from(elapsed).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_follows_the_database_forward_and_never_goes_back() {
        let clock = Clock::default();
        let began = Instant::now();
        let later = |seconds| began + Duration::from_secs(seconds);
        assert_eq!(clock.set_at(1_000, began), 1_000);
        assert_eq!(clock.at(later(7)), 1_007, "carried on");
        assert_eq!(clock.set_at(2_000, later(8)), 2_000, "the database has jumped ahead");
        assert_eq!(clock.set_at(1_010, later(10)), 2_002, "and back: time goes on");
        assert_eq!(clock.at(later(12)), 2_004);
    }
}
