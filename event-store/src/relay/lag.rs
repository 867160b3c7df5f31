//! How far Kafka is behind the log, for metrics: looked at beside the lanes and not by them, because a lane that waits for
//! Kafka measures nothing.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crate::{Lane, Log};

/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What Kafka has acknowledged of each lane that this process owns. Of the others the saved checkpoint tells. Cheap to clone;
/// clones share.
#[derive(Clone, Debug, Default)]
pub(super) struct Published(Arc<Mutex<BTreeMap<i16, i64>>>);

impl Published {
    pub(super) fn up_to(&self, lane: Lane, position: i64) {
        let mut positions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        positions.insert(lane.0, position);
    }

    /// The lane is not this process's any more, or it has to ask Kafka again.
    pub(super) fn forget(&self, lane: Lane) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&lane.0);
    }

    fn known(&self) -> (Vec<i16>, Vec<i64>) {
        let positions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        positions.iter().unzip()
    }
}

/// Looks for as long as it is let.
pub(super) async fn watch(log: &Log, published: &Published) -> Infallible {
    loop {
        // While the database is away its own check says so.
        if let Err(error) = look(log, published).await {
            tracing::debug!(%error, "the lag of the relay cannot be looked at");
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Events not yet published, and the age of the oldest of them, of every lane.
async fn look(log: &Log, published: &Published) -> Result<(), sqlx::Error> {
    let statement = "select l.lane, p.position, coalesce(h.head, 0), \
             coalesce(extract(epoch from clock_timestamp() - o.recorded_at), 0)::float8 \
         from log.lanes l \
         left join log.relay_checkpoints c on c.lane = l.lane \
         left join unnest($1::smallint[], $2::bigint[]) k (lane, position) on k.lane = l.lane \
         cross join lateral (select coalesce(k.position, c.position, 0) as position) p \
         left join lateral (select max(e.position) as head from log.events e where e.lane = l.lane) h on true \
         left join lateral ( \
             select e.recorded_at from log.events e where e.lane = l.lane and e.position > p.position \
             order by e.position limit 1 \
         ) o on true";
    let (lanes, positions) = published.known();
    let rows: Vec<(i16, i64, i64, f64)> = sqlx::query_as(statement)
        .bind(lanes)
        .bind(positions)
        .fetch_all(log.pool())
        .await?;
    for (lane, position, head, seconds) in rows {
        let label = lane.to_string();
        #[allow(clippy::cast_precision_loss, reason = "gauges")]
        {
            metrics::gauge!("kinledger_relay_lag_events", "lane" => label.clone()).set((head - position).max(0) as f64);
            metrics::gauge!("kinledger_relay_position", "lane" => label.clone()).set(position as f64);
        }
        metrics::gauge!("kinledger_relay_lag_seconds", "lane" => label).set(seconds.max(0.0));
    }
    Ok(())
}
