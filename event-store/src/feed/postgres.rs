//! The feed straight from the log: no broker needed. Looks at once when this process has appended, and polls for what others do:
//! often where a lane has just grown, because more is likely to come, and ever more seldom while it is quiet.

use std::{collections::HashMap, time::Duration};

use async_trait::async_trait;
use tokio::time::Instant;

use super::{Feed, FeedError};
use crate::{Lane, Log, Record, Wakeup};

/// How often a quiet lane is looked at when nobody says that it has grown.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// How soon a lane that has just grown is looked at again; twice as long after each look that finds nothing, up to the interval.
const POLL_FIRST: Duration = Duration::from_millis(10);

/// See the module.
#[derive(Debug)]
pub struct PostgresFeed {
    log: Log,
    poll_interval: Duration,
    lanes: HashMap<Lane, Watched>,
}

/// What is known of a lane between two looks.
#[derive(Debug)]
struct Watched {
    wakeup: Wakeup,
    /// The next pause, when nobody says that the lane has grown.
    pause: Duration,
}

impl PostgresFeed {
    /// A feed over the log. Hints reach it when the log shares its wake-ups with the one that appends.
    pub fn new(log: Log) -> Self {
        Self {
            log,
            poll_interval: POLL_INTERVAL,
            lanes: HashMap::new(),
        }
    }

    /// Looks at a quiet lane this often.
    #[must_use]
    pub fn with_poll_interval(self, poll_interval: Duration) -> Self {
        Self { poll_interval, ..self }
    }
}

#[async_trait]
impl Feed for PostgresFeed {
    async fn next(&mut self, lane: Lane, after: i64, limit: usize, wait: Duration) -> Result<Vec<Record>, FeedError> {
        let deadline = Instant::now() + wait;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        // Subscribed before the first look, so that an append between look and wait is not slept through.
        let watched = self.lanes.entry(lane).or_insert_with(|| Watched {
            wakeup: self.log.wakeups().subscribe(lane),
            pause: POLL_FIRST,
        });
        loop {
            let records = self.log.read_lane_stored(lane, after, limit).await?;
            let left = deadline.saturating_duration_since(Instant::now());
            match records.first() {
                Some(first) if first.position != after + 1 => {
                    return Err(FeedError::Gap {
                        lane,
                        wanted: after + 1,
                        found: first.position,
                    });
                }
                None if !left.is_zero() => {
                    let pause = watched.pause.min(self.poll_interval);
                    watched.wakeup.wait(left.min(pause)).await;
                    watched.pause = pause * 2;
                }
                None => return Ok(records),
                Some(_) => {
                    watched.pause = POLL_FIRST;
                    return Ok(records);
                }
            }
        }
    }

    fn is_the_log(&self) -> bool {
        true
    }
}
