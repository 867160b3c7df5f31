//! A lane read family by family, each from its first event: the order in which rows are built from nothing.

use domain::id::FamilyId;
use sqlx::{Executor, PgConnection};

use crate::{Lane, LogError, Record, record::RECORD_COLUMNS};

/// Where the reading of a lane by families has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The family read last; none before the first.
    pub family: Option<FamilyId>,
    /// Its event read last.
    pub family_seq: i64,
}

impl Place {
    /// Behind a record.
    pub fn after(record: &Record) -> Self {
        Self {
            family: Some(record.family_id),
            family_seq: record.family_seq,
        }
    }

    /// Behind all events of a family.
    pub fn after_family(family: FamilyId) -> Self {
        Self {
            family: Some(family),
            family_seq: i64::MAX,
        }
    }
}

/// At most `limit` records of a lane up to the position `until`, ordered by family and then by `family_seq`, from `place` on.
/// The caller's transaction is told to walk the families' key: each page costs what it holds, wherever it is in the lane.
///
/// # Errors
/// [`LogError::Database`].
pub async fn read_lane_by_family(
    tx: &mut PgConnection,
    lane: Lane,
    place: Place,
    until: i64,
    limit: i64,
) -> Result<Vec<Record>, LogError> {
    // Left alone, the planner may sort the rest of the lane again for every page.
    tx.execute("set local enable_seqscan = off; set local enable_sort = off; set local enable_bitmapscan = off")
        .await?;
    let statement = format!(
        "select {RECORD_COLUMNS} from log.events e where e.lane = $1 and e.position <= $2 \
         and (e.family_id, e.family_seq) > ($3, $4) order by e.family_id, e.family_seq limit $5"
    );
    let records = sqlx::query_as(&statement)
        .bind(lane.0)
        .bind(until)
        .bind(place.family.map(FamilyId::uuid).unwrap_or_default())
        .bind(place.family_seq)
        .bind(limit)
        .fetch_all(tx)
        .await?;
    Ok(records)
}
