//! A closed loop: so many tasks, each with one operation in flight, until the time is over.
//!
//! Closed loops flatter latency under overload (a slow answer delays the next question). All sides are measured the same way,
//! and pgbench is one too, so the comparison is fair; the latencies are those of this load and of no other.

use std::{future::Future, sync::Arc, time::Duration};

use anyhow::{Result, bail};
use tokio::{sync::Barrier, task::JoinSet, time::Instant};

use crate::machine::{CpuClock, CpuTime};

/// What a loop came to.
#[derive(Clone, Debug, Default)]
pub struct Load {
    /// Operations acknowledged.
    pub done: u64,
    /// What they were worth together: cents booked, or events, as the operation counts.
    pub worth: u64,
    /// Operations refused or failed.
    pub failed: u64,
    /// Why the first one was.
    pub failure: Option<String>,
    /// How long it took, from the first start to the last answer.
    pub seconds: f64,
    /// How long each took, in microseconds.
    pub latencies_us: Vec<u32>,
    /// What it cost the machine.
    pub cpu: CpuTime,
}

impl Load {
    /// Adds another task's share.
    pub fn merge(&mut self, other: Self) {
        self.done += other.done;
        self.worth += other.worth;
        self.failed += other.failed;
        self.failure = self.failure.take().or(other.failure);
        self.seconds = self.seconds.max(other.seconds);
        self.latencies_us.extend(other.latencies_us);
    }

    /// Notes one operation.
    pub fn note(&mut self, took: Duration, answer: Result<u64, String>) {
        match answer {
            Ok(worth) => {
                self.done += 1;
                self.worth += worth;
                self.latencies_us
                    .push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
            }
            Err(reason) => {
                self.failed += 1;
                self.failure.get_or_insert(reason);
            }
        }
    }
}

/// When a loop ends.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// After so long.
    Elapsed(Duration),
    /// After so many operations of each task.
    Each(u64),
}

/// Runs `operation(task, number)` in `tasks` tasks. It answers with what the operation was worth.
///
/// # Errors
/// When a task panics.
pub async fn closed_loop<F, Fut>(clock: CpuClock, tasks: usize, until: Until, operation: F) -> Result<Load>
where
    F: Fn(usize, u64) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Result<u64, String>> + Send,
{
    let barrier = Arc::new(Barrier::new(tasks + 1));
    let mut set = JoinSet::new();
    for task in 0..tasks {
        let (barrier, operation) = (Arc::clone(&barrier), operation.clone());
        set.spawn(async move {
            barrier.wait().await;
            let mut load = Load::default();
            let began = Instant::now();
            for number in 0_u64.. {
                let started = Instant::now();
                let is_over = match until {
                    Until::Elapsed(duration) => started - began >= duration,
                    Until::Each(count) => number >= count,
                };
                if is_over {
                    break;
                }
                let answer = operation(task, number).await;
                load.note(started.elapsed(), answer);
            }
            load
        });
    }
    let cpu = clock.read();
    barrier.wait().await;
    let began = Instant::now();
    let mut whole = Load::default();
    while let Some(load) = set.join_next().await {
        whole.merge(load?);
    }
    whole.seconds = began.elapsed().as_secs_f64();
    whole.cpu = clock.read() - cpu;
    if whole.done == 0 {
        bail!("nothing was acknowledged: {}", whole.failure.unwrap_or_default());
    }
    Ok(whole)
}
