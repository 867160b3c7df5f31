//! How far the sealing is behind, asked of the database and not of the sealer: a sealer that does not get on says nothing of it.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use sqlx::PgPool;
use tokio::sync::watch;

use super::SealStatus;
use crate::{Lane, LogError};

/// How often the lanes are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long a lane may have unsealed events, and not get a checkpoint, before readiness says so.
const PATIENCE: Duration = Duration::from_secs(30);

/// Looks every few seconds until told to stop. `every` is how often a lane gets a checkpoint.
pub(super) async fn watch(pool: PgPool, every: Duration, status: SealStatus, mut shutdown: watch::Receiver<bool>) {
    let patience = PATIENCE.max(every * 2);
    let mut waiting = Waiting::default();
    loop {
        // While the database is away its own check says so.
        for (lane, sealed, head) in look(&pool).await.unwrap_or_default() {
            let lane = Lane(lane);
            status.moved(lane, sealed.unsigned_abs(), head.unsigned_abs());
            let waited = waiting.looked(lane, sealed, head, Instant::now());
            let late = (waited > patience)
                .then(|| format!("{} events have been waiting for {} s", head - sealed, waited.as_secs()));
            status.late(lane, late);
        }
        for (lane, age_s) in checkpoint_ages(&pool).await.unwrap_or_default() {
            metrics::gauge!("kinledger_sealer_checkpoint_age_seconds", "lane" => lane.to_string()).set(age_s);
        }
        // A sender that is gone will never say so: that too is the end.
        if tokio::time::timeout(LOOK_EVERY, shutdown.wait_for(|is_stopping| *is_stopping))
            .await
            .is_ok()
        {
            return;
        }
    }
}

/// How old the newest checkpoint of each lane that has one is, in seconds by the database's clock.
///
/// # Errors
/// [`LogError::Database`].
pub async fn checkpoint_ages(pool: &PgPool) -> Result<Vec<(Lane, f64)>, LogError> {
    let statement = "select l.lane, greatest(extract(epoch from clock_timestamp() - c.sealed_at), 0)::float8 \
         from log.lanes l cross join lateral ( \
             select k.sealed_at from log.checkpoints k where k.lane = l.lane order by k.size desc limit 1 \
         ) c order by l.lane";
    let rows: Vec<(i16, f64)> = sqlx::query_as(statement).fetch_all(pool).await?;
    Ok(rows.into_iter().map(|(lane, age_s)| (Lane(lane), age_s)).collect())
}

/// Since when lanes have had events to seal, and got no checkpoint.
#[derive(Debug, Default)]
struct Waiting(BTreeMap<Lane, (i64, Instant)>);

impl Waiting {
    /// How long the lane has waited.
    fn looked(&mut self, lane: Lane, sealed: i64, head: i64, now: Instant) -> Duration {
        let since = self.0.entry(lane).or_insert((sealed, now));
        if since.0 != sealed || sealed >= head {
            *since = (sealed, now);
        }
        now.duration_since(since.1)
    }
}

async fn look(pool: &PgPool) -> Result<Vec<(i16, i64, i64)>, sqlx::Error> {
    let statement = "select l.lane, \
             coalesce((select max(c.size) from log.checkpoints c where c.lane = l.lane), 0), \
             coalesce((select max(e.position) from log.events e where e.lane = l.lane), 0) \
         from log.lanes l order by l.lane";
    sqlx::query_as(statement).fetch_all(pool).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_waits_while_it_has_events_to_seal_and_gets_no_checkpoint() {
        let mut waiting = Waiting::default();
        let began = Instant::now();
        let after = |seconds| began + Duration::from_secs(seconds);
        // Seconds, sealed, head, and how long it has waited.
        for (at, sealed, head, waited) in [
            (0, 5, 5, 0),
            (100, 5, 5, 0),
            (110, 5, 7, 10),
            (120, 5, 9, 20),
            (130, 8, 9, 0),
            (140, 8, 9, 10),
            (150, 9, 9, 0),
        ] {
            let found = waiting.looked(Lane(3), sealed, head, after(at));
            assert_eq!(found, Duration::from_secs(waited), "after {at} s");
        }
    }
}
