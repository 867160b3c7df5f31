//! Our log behind the traits of cqrs-es, for one aggregate of one family.
//!
//! The services decide over several streams at once and use [`Log::append`] directly. This store is the same append seen
//! through `cqrs_es::EventStore`, for tools and tests written against cqrs-es: one stream per commit, conflicts as
//! `AggregateConflict`. Reserved metadata entries: `command_id` (a UUID; random when absent) and `effective_on`
//! (`YYYY-MM-DD`; today in UTC when absent).

use std::{
    collections::{BTreeMap, HashMap},
    marker::PhantomData,
};

use chrono::{NaiveDate, Utc};
use cqrs_es::{AggregateContext, AggregateError, EventEnvelope, EventStore};
use domain::{
    aggregate::Stored,
    id::{CommandId, FamilyId},
    stream::StreamId,
};
use uuid::Uuid;

use crate::{AppendCommand, AppendEvent, FamilyHead, Lane, Log, LogError, Verdict};

/// The streams of aggregate `A` in one family.
#[derive(Clone, Debug)]
pub struct LedgerStore<A> {
    log: Log,
    lane: Lane,
    family_id: FamilyId,
    aggregate: PhantomData<fn() -> A>,
}

/// An aggregate as loaded, with what its commit has to name.
#[derive(Clone, Debug)]
pub struct LedgerContext<A> {
    aggregate: A,
    aggregate_id: Uuid,
    sequence: i64,
    head: FamilyHead,
}

impl<A: Stored> AggregateContext<A> for LedgerContext<A> {
    fn aggregate(&mut self) -> &mut A {
        &mut self.aggregate
    }
}

impl<A: Stored> LedgerStore<A> {
    /// The store of one family's `A` streams. A family that does not exist comes into being in `lane` with the first commit.
    pub fn new(log: Log, lane: Lane, family_id: FamilyId) -> Self {
        Self {
            log,
            lane,
            family_id,
            aggregate: PhantomData,
        }
    }

    fn command(
        &self,
        context: &LedgerContext<A>,
        events: &[A::Event],
        metadata: &HashMap<String, String>,
    ) -> Result<AppendCommand, AggregateError<A::Error>> {
        let unreadable =
            |name: &str| AggregateError::UnexpectedError(format!("the metadata's {name} does not parse").into());
        let command_id: Option<Uuid> = metadata
            .get("command_id")
            .map(|text| text.parse())
            .transpose()
            .map_err(|_| unreadable("command_id"))?;
        let effective_on: Option<NaiveDate> = metadata
            .get("effective_on")
            .map(|text| text.parse())
            .transpose()
            .map_err(|_| unreadable("effective_on"))?;
        let effective_on = effective_on.unwrap_or_else(|| Utc::now().date_naive());
        let stream = StreamId {
            kind: A::TYPE,
            id: context.aggregate_id,
        };
        let events: Vec<AppendEvent> = (context.sequence + 1..)
            .zip(events)
            .map(|(sequence, event)| AppendEvent {
                stream,
                sequence,
                event: event.clone().into(),
                effective_on,
            })
            .collect();
        let encoded: Vec<_> = events.iter().map(|new| new.event.encode()).collect();
        let request: Vec<&[u8]> = encoded.iter().map(AsRef::as_ref).collect();
        // Sorted, so that the same entries are always the same bytes.
        let metadata: BTreeMap<_, _> = metadata.iter().collect();
        Ok(AppendCommand {
            family_id: self.family_id,
            command_id: CommandId::from_uuid(command_id.unwrap_or_else(Uuid::new_v4)),
            request_hash: self.log.request_key().hash(self.family_id, &request),
            expected_family_seq: context.head.family_seq,
            expected_chain_hash: Some(context.head.chain_hash),
            creates_family: context.head.family_seq == 0,
            metadata: serde_json::to_string(&metadata)
                .map_err(|error| AggregateError::UnexpectedError(error.into()))?,
            events,
            claims: Vec::new(),
        })
    }
}

impl<A: Stored> EventStore<A> for LedgerStore<A> {
    type AC = LedgerContext<A>;

    async fn load_events(&self, aggregate_id: &str) -> Result<Vec<EventEnvelope<A>>, AggregateError<A::Error>> {
        let id = parse_id(aggregate_id)?;
        let records = self
            .log
            .read_stream(self.lane, self.family_id, StreamId { kind: A::TYPE, id })
            .await;
        records
            .map_err(log_error)?
            .into_iter()
            .map(|record| envelope(&record))
            .collect()
    }

    async fn load_aggregate(&self, aggregate_id: &str) -> Result<Self::AC, AggregateError<A::Error>> {
        let id = parse_id(aggregate_id)?;
        let stream = StreamId { kind: A::TYPE, id };
        let loaded = self
            .log
            .load(self.lane, self.family_id, &[stream])
            .await
            .map_err(log_error)?;
        let (aggregate, sequence) = loaded
            .streams
            .first()
            .and_then(|(_, state, sequence)| A::from_state(state).map(|state| (state.clone(), *sequence)))
            .unwrap_or_default();
        Ok(LedgerContext {
            aggregate,
            aggregate_id: id,
            sequence,
            head: loaded.head,
        })
    }

    async fn commit(
        &self,
        events: Vec<A::Event>,
        context: Self::AC,
        metadata: HashMap<String, String>,
    ) -> Result<Vec<EventEnvelope<A>>, AggregateError<A::Error>> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let command = self.command(&context, &events, &metadata)?;
        let verdicts = self.log.append(self.lane, &[command]).await.map_err(log_error)?;
        match verdicts.into_iter().next() {
            Some(Verdict::Ok(_)) => Ok((context.sequence + 1..)
                .zip(events)
                .map(|(sequence, payload)| EventEnvelope {
                    aggregate_id: context.aggregate_id.to_string(),
                    sequence: usize::try_from(sequence).unwrap_or_default(),
                    payload,
                    metadata: metadata.clone(),
                })
                .collect()),
            Some(Verdict::Duplicate(_)) => Err(AggregateError::UnexpectedError(
                "this command was recorded before".into(),
            )),
            Some(Verdict::Conflict | Verdict::ClaimTaken { .. }) | None => Err(AggregateError::AggregateConflict),
        }
    }
}

fn parse_id<E: std::error::Error>(aggregate_id: &str) -> Result<Uuid, AggregateError<E>> {
    Uuid::try_parse(aggregate_id).map_err(|error| AggregateError::UnexpectedError(error.into()))
}

fn log_error<E: std::error::Error>(error: LogError) -> AggregateError<E> {
    match error {
        LogError::Database(error) => AggregateError::DatabaseConnectionError(error.into()),
        LogError::Decode { cause, .. } => AggregateError::DeserializationError(cause.into()),
        LogError::Inconsistent(_) | LogError::Keys(_) => AggregateError::UnexpectedError(error.into()),
    }
}

fn envelope<A: Stored>(record: &crate::Record) -> Result<EventEnvelope<A>, AggregateError<A::Error>> {
    let unreadable = |error: serde_json::Error| AggregateError::DeserializationError(error.into());
    // Through the one decode path, upcasters included, and from there to the aggregate's own type.
    let event = record
        .decode()
        .map_err(|cause| AggregateError::DeserializationError(cause.into()))?;
    Ok(EventEnvelope {
        aggregate_id: record.aggregate_id.to_string(),
        sequence: usize::try_from(record.sequence).unwrap_or_default(),
        payload: serde_json::from_str(&event.encode()).map_err(unreadable)?,
        metadata: serde_json::from_str(&record.metadata).map_err(unreadable)?,
    })
}
