//! A few workers that share a list of jobs.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::task::JoinSet;

use super::RebuildError;

/// Workers on their jobs; dropped, they stop where they wait next.
pub(super) struct Workers<T> {
    tasks: JoinSet<Result<Vec<T>, RebuildError>>,
}

impl<T: Send + 'static> Workers<T> {
    /// Starts so many workers. Each takes the first job that is left, until none is.
    pub(super) fn start<J, F>(
        count: usize,
        jobs: impl IntoIterator<Item = J>,
        work: impl Fn(J) -> F + Clone + Send + 'static,
    ) -> Self
    where
        J: Send + 'static,
        F: Future<Output = Result<T, RebuildError>> + Send,
    {
        let jobs = Arc::new(Mutex::new(jobs.into_iter().collect::<VecDeque<J>>()));
        let mut tasks = JoinSet::new();
        for _ in 0..count.max(1) {
            let (jobs, work) = (Arc::clone(&jobs), work.clone());
            tasks.spawn(async move {
                let mut done = Vec::new();
                while let Some(job) = next(&jobs) {
                    done.push(work(job).await?);
                }
                Ok(done)
            });
        }
        Self { tasks }
    }

    /// What a worker that has found nothing more to do has done; none when all have ended. Nothing is lost when this is
    /// dropped while it waits.
    pub(super) async fn next(&mut self) -> Option<Result<Vec<T>, RebuildError>> {
        let done = self.tasks.join_next().await?;
        Some(done.unwrap_or_else(|error| Err(error.into())))
    }

    /// Waits for all; the first failure ends the others.
    pub(super) async fn all_done(mut self) -> Result<(), RebuildError> {
        while let Some(done) = self.next().await {
            done?;
        }
        Ok(())
    }
}

fn next<J>(jobs: &Mutex<VecDeque<J>>) -> Option<J> {
    // Nobody panics while holding it.
    jobs.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
}
