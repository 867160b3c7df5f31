//! Reading the log: streams to decide on, commands to repeat an answer, pages of records to follow.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use domain::{
    aggregate::{AggregateState, LedgerEvent},
    id::{CommandId, FamilyId, UserId},
    stream::StreamId,
};
use futures::{Stream, TryStreamExt, stream};
use sqlx::{PgExecutor, Row, postgres::PgRow};
use uuid::Uuid;

use crate::{
    Lane, Log, LogError, Record,
    chain::GENESIS,
    keys::{
        Held,
        envelope::{Place, is_possible_in},
        opening::{open_event, subjects},
    },
    record::RECORD_COLUMNS,
};

/// Records a page of [`Log::read_family_stream`] holds.
const PAGE: i64 = 1_000;

/// How far a family's ledger goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FamilyHead {
    /// The last event's place; 0 when there is none.
    pub family_seq: i64,
    /// Its chain hash; zeros when there is none.
    pub chain_hash: [u8; 32],
}

impl FamilyHead {
    /// Before the first event.
    pub const EMPTY: Self = Self {
        family_seq: 0,
        chain_hash: GENESIS,
    };
}

/// Streams of one family, and the family's head, as of one moment.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The head.
    pub head: FamilyHead,
    /// Every stream asked for, in that order: its state and the sequence of its last event (0 when it has none).
    pub streams: Vec<(StreamId, AggregateState, i64)>,
}

/// A command the log has accepted before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCommand {
    /// What the request was, as it was appended.
    pub request_hash: [u8; 32],
    /// Its first event's place in the family.
    pub first_family_seq: i64,
    /// Its last event's; one less than the first when it had none.
    pub last_family_seq: i64,
    /// The lane's head right after it.
    pub last_position: i64,
    /// When the database took it.
    pub recorded_at: DateTime<Utc>,
}

impl StoredCommand {
    /// How many events it had.
    pub fn events(&self) -> i64 {
        (self.last_family_seq - self.first_family_seq + 1).max(0)
    }
}

/// An event by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventSummary {
    /// The event's name.
    pub event_type: String,
    /// Its place in the family.
    pub family_seq: i64,
    /// The kind of aggregate.
    pub aggregate_type: String,
    /// Which one.
    pub aggregate_id: Uuid,
}

/// An event that was read and is not folded yet, because its texts, or those of one before it, are sealed.
struct Sealed {
    stream: i64,
    sequence: i64,
    family_seq: i64,
    event_type: String,
    event: LedgerEvent,
}

impl Log {
    /// Folds streams of a family. One statement, so that the head and all streams are of the same moment.
    ///
    /// # Errors
    /// [`LogError::Decode`] for an event this release does not know: it is never passed over. [`LogError::Inconsistent`] for a
    /// stream with a hole. [`LogError::Keys`] when sealed texts cannot be opened just now.
    pub async fn load(&self, lane: Lane, family: FamilyId, streams: &[StreamId]) -> Result<Loaded, LogError> {
        let kinds: Vec<&str> = streams.iter().map(|stream| stream.kind).collect();
        let ids: Vec<String> = streams.iter().map(|stream| stream.id.to_string()).collect();
        let mut tx = self.about(family).await?;
        let mut rows = sqlx::query(include_str!("load.sql"))
            .bind(lane.0)
            .bind(family.uuid())
            .bind(kinds)
            .bind(ids)
            .fetch(&mut *tx);
        let mut loaded = Loaded {
            head: FamilyHead::EMPTY,
            streams: streams
                .iter()
                .map(|stream| (*stream, AggregateState::empty(stream.kind), 0))
                .collect(),
        };
        let mut sealed = Vec::new();
        let mut wanted = BTreeSet::new();
        while let Some(row) = rows.try_next().await? {
            let number: i64 = row.try_get("stream_number")?;
            let family_seq: i64 = row.try_get("family_seq")?;
            if number == 0 {
                loaded.head = FamilyHead {
                    family_seq,
                    chain_hash: row.try_get("chain_hash")?,
                };
                continue;
            }
            let stream = usize::try_from(number - 1)
                .ok()
                .and_then(|index| loaded.streams.get_mut(index));
            let Some((id, state, last)) = stream else {
                return Err(LogError::Inconsistent(format!("stream {number} was not asked for")));
            };
            let sequence: i64 = row.try_get("sequence")?;
            if sequence != *last + 1 {
                return Err(LogError::Inconsistent(format!(
                    "{id} has sequence {sequence} after {last}"
                )));
            }
            let payload: &str = row.try_get("payload")?;
            let mut event = LedgerEvent::decode(
                id.kind,
                row.try_get("event_type")?,
                row.try_get("event_version")?,
                payload,
            )
            .map_err(|cause| LogError::Decode {
                family_id: family,
                family_seq,
                cause,
            })?;
            let is_sealed = is_possible_in(payload) && subjects(&mut event, family.uuid(), &mut wanted);
            *last = sequence;
            if sealed.is_empty() && !is_sealed {
                state.apply(event);
            } else {
                sealed.push(Sealed {
                    stream: number,
                    sequence,
                    family_seq,
                    event_type: row.try_get("event_type")?,
                    event,
                });
            }
        }
        drop(rows);
        if !sealed.is_empty() {
            let held = self.keys.held(&wanted, Some(&mut *tx)).await?;
            open_loaded(family, sealed, &held, &mut loaded)?;
        }
        Ok(loaded)
    }

    /// A command accepted earlier; none when the id is new to the family.
    ///
    /// # Errors
    /// [`LogError::Database`].
    pub async fn command(
        &self,
        lane: Lane,
        family: FamilyId,
        command: CommandId,
    ) -> Result<Option<StoredCommand>, LogError> {
        let statement = "select request_hash, first_family_seq, last_family_seq, last_position, recorded_at \
             from log.commands where lane = $1 and family_id = $2 and command_id = $3";
        let row: Option<PgRow> = sqlx::query(statement)
            .bind(lane.0)
            .bind(family.uuid())
            .bind(command.uuid())
            .fetch_optional(&mut *self.about(family).await?)
            .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(StoredCommand {
            request_hash: row.try_get("request_hash")?,
            first_family_seq: row.try_get("first_family_seq")?,
            last_family_seq: row.try_get("last_family_seq")?,
            last_position: row.try_get("last_position")?,
            recorded_at: row.try_get("recorded_at")?,
        }))
    }

    /// The names of a family's events from `first` to `last`, both included.
    ///
    /// # Errors
    /// [`LogError::Database`].
    pub async fn events_between(
        &self,
        lane: Lane,
        family: FamilyId,
        first: i64,
        last: i64,
    ) -> Result<Vec<EventSummary>, LogError> {
        let mut tx = self.about(family).await?;
        let records = read_family_in(&mut *tx, lane, family, first - 1, (last - first + 1).max(0)).await?;
        let summary = |record: Record| EventSummary {
            event_type: record.event_type,
            family_seq: record.family_seq,
            aggregate_type: record.aggregate_type,
            aggregate_id: record.aggregate_id,
        };
        Ok(records.into_iter().map(summary).collect())
    }

    /// At most `limit` records of a lane with a position above `after`, in order, their texts opened.
    ///
    /// # Errors
    /// [`LogError::Database`] or [`LogError::Keys`].
    pub async fn read_lane(&self, lane: Lane, after: i64, limit: i64) -> Result<Vec<Record>, LogError> {
        let mut records = read_lane_in(&self.pool, lane, after, limit).await?;
        self.open(&mut records).await?;
        Ok(records)
    }

    /// As [`Log::read_lane`], with texts sealed as they are stored: for who needs no text, and may not read keys.
    ///
    /// # Errors
    /// [`LogError::Database`].
    pub async fn read_lane_stored(&self, lane: Lane, after: i64, limit: i64) -> Result<Vec<Record>, LogError> {
        read_lane_in(&self.pool, lane, after, limit).await
    }

    /// At most `limit` records of a family with a `family_seq` above `after_seq`, in order, their texts opened.
    ///
    /// # Errors
    /// [`LogError::Database`] or [`LogError::Keys`].
    pub async fn read_family(
        &self,
        lane: Lane,
        family: FamilyId,
        after_seq: i64,
        limit: i64,
    ) -> Result<Vec<Record>, LogError> {
        let mut tx = self.about(family).await?;
        let mut records = read_family_in(&mut *tx, lane, family, after_seq, limit).await?;
        self.open_in(&mut records, &mut tx).await?;
        Ok(records)
    }

    /// All records of one stream, in order, their texts opened.
    ///
    /// # Errors
    /// [`LogError::Database`] or [`LogError::Keys`].
    pub async fn read_stream(&self, lane: Lane, family: FamilyId, stream: StreamId) -> Result<Vec<Record>, LogError> {
        let mut tx = self.about(family).await?;
        let mut records = read_stream_in(&mut *tx, lane, family, stream).await?;
        self.open_in(&mut records, &mut tx).await?;
        Ok(records)
    }

    /// All records of a family with a `family_seq` above `after_seq`, read page by page as they are asked for.
    pub fn read_family_stream(
        &self,
        lane: Lane,
        family: FamilyId,
        after_seq: i64,
    ) -> impl Stream<Item = Result<Record, LogError>> + Send + '_ {
        let pages = stream::try_unfold(Some(after_seq), move |after| async move {
            let Some(after) = after else { return Ok(None) };
            let page = self.read_family(lane, family, after, PAGE).await?;
            let is_full = i64::try_from(page.len()).is_ok_and(|length| length == PAGE);
            let next = page.last().filter(|_| is_full).map(|last| last.family_seq);
            Ok::<_, LogError>(Some((stream::iter(page.into_iter().map(Ok)), next)))
        });
        pages.try_flatten()
    }

    /// The `family_seq` of each family's last event about who belongs to it, as what, or who sees which account, looked for in the
    /// family's lane; 0 without any. What it costs does not grow with a history.
    ///
    /// # Errors
    /// [`LogError::Database`].
    pub async fn access_ends(&self, families: &[(Lane, FamilyId)]) -> Result<Vec<(FamilyId, i64)>, LogError> {
        // A function, for who may see one family at a time.
        let statement = "select family_id, family_seq from log.access_ends($1, $2)";
        let (lanes, ids): (Vec<i16>, Vec<Uuid>) = families.iter().map(|(lane, id)| (lane.0, id.uuid())).unzip();
        let rows: Vec<(Uuid, i64)> = sqlx::query_as(statement)
            .bind(lanes)
            .bind(ids)
            .fetch_all(&self.pool)
            .await?;
        Ok(rows
            .into_iter()
            .map(|(family, family_seq)| (FamilyId::from_uuid(family), family_seq))
            .collect())
    }

    /// The families in which a person has or had a place, with their lanes.
    ///
    /// # Errors
    /// [`LogError::Database`].
    pub async fn families_of(&self, user: UserId) -> Result<Vec<(Lane, FamilyId)>, LogError> {
        // A function, for who may see one family at a time.
        let statement = "select lane, family_id from log.families_of($1)";
        let rows: Vec<(i16, Uuid)> = sqlx::query_as(statement)
            .bind(user.to_string())
            .fetch_all(&self.pool)
            .await?;
        Ok(rows
            .into_iter()
            .map(|(lane, family)| (Lane(lane), FamilyId::from_uuid(family)))
            .collect())
    }

    /// The position of a lane's last event; 0 when it is empty.
    ///
    /// # Errors
    /// [`LogError::Database`].
    pub async fn lane_head(&self, lane: Lane) -> Result<i64, LogError> {
        let statement = "select coalesce(max(position), 0) from log.events where lane = $1";
        Ok(sqlx::query_scalar(statement).bind(lane.0).fetch_one(&self.pool).await?)
    }
}

/// Opens events and folds them, in the order they were read in.
fn open_loaded(family: FamilyId, sealed: Vec<Sealed>, held: &Held, loaded: &mut Loaded) -> Result<(), LogError> {
    for mut one in sealed {
        let stream = usize::try_from(one.stream - 1).ok();
        let Some((id, state, _)) = stream.and_then(|index| loaded.streams.get_mut(index)) else {
            continue;
        };
        let place = Place {
            family_id: family.uuid(),
            aggregate_type: id.kind,
            aggregate_id: id.id,
            sequence: one.sequence,
            event_type: &one.event_type,
        };
        open_event(&mut one.event, &place, held).map_err(|cause| LogError::Decode {
            family_id: family,
            family_seq: one.family_seq,
            cause,
        })?;
        state.apply(one.event);
    }
    Ok(())
}

/// [`Log::read_lane`] on a connection of the caller's.
pub(crate) async fn read_lane_in(
    executor: impl PgExecutor<'_>,
    lane: Lane,
    after: i64,
    limit: i64,
) -> Result<Vec<Record>, LogError> {
    let statement = format!(
        "select {RECORD_COLUMNS} from log.events e where e.lane = $1 and e.position > $2 order by e.position limit $3"
    );
    Ok(sqlx::query_as(&statement)
        .bind(lane.0)
        .bind(after)
        .bind(limit)
        .fetch_all(executor)
        .await?)
}

/// [`Log::read_family`] on a connection of the caller's.
pub(crate) async fn read_family_in(
    executor: impl PgExecutor<'_>,
    lane: Lane,
    family: FamilyId,
    after_seq: i64,
    limit: i64,
) -> Result<Vec<Record>, LogError> {
    let statement = format!(
        "select {RECORD_COLUMNS} from log.events e where e.lane = $1 and e.family_id = $2 and e.family_seq > $3 \
         order by e.family_seq limit $4"
    );
    Ok(sqlx::query_as(&statement)
        .bind(lane.0)
        .bind(family.uuid())
        .bind(after_seq)
        .bind(limit)
        .fetch_all(executor)
        .await?)
}

/// What says which accounts a family has and how they are shared, in order. An index holds these events alone.
pub(crate) async fn read_sharing_in(
    executor: impl PgExecutor<'_>,
    lane: Lane,
    family: FamilyId,
) -> Result<Vec<Record>, LogError> {
    let statement = format!(
        "select {RECORD_COLUMNS} from log.events e where e.lane = $1 and e.family_id = $2 \
         and e.aggregate_type = 'ledger-account' and e.event_type in ('AccountOpened', 'AccountShared') order by e.family_seq"
    );
    Ok(sqlx::query_as(&statement)
        .bind(lane.0)
        .bind(family.uuid())
        .fetch_all(executor)
        .await?)
}

/// [`Log::read_stream`] on a connection of the caller's.
pub(crate) async fn read_stream_in(
    executor: impl PgExecutor<'_>,
    lane: Lane,
    family: FamilyId,
    stream: StreamId,
) -> Result<Vec<Record>, LogError> {
    let statement = format!(
        "select {RECORD_COLUMNS} from log.events e where e.lane = $1 and e.family_id = $2 \
         and e.aggregate_type = $3 and e.aggregate_id = $4 order by e.sequence"
    );
    Ok(sqlx::query_as(&statement)
        .bind(lane.0)
        .bind(family.uuid())
        .bind(stream.kind)
        .bind(stream.id.to_string())
        .fetch_all(executor)
        .await?)
}
