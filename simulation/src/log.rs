//! The log, in memory: what `log.append_lanes` and the statements of `event-store` do, verdict by verdict.
//!
//! A transaction is one call here, as the lane's lock makes it there. `tests/it/conformance.rs` holds this to the real
//! database with random batches.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use domain::{
    aggregate::{AggregateState, DecodeError, LedgerEvent},
    id::{CommandId, FamilyId},
    stream::StreamId,
};
use event_store::{
    AppendCommand, Appended, FamilyHead, Lane, Loaded, LogError, Opened, Record, StoredCommand, Verdict,
    chain::{GENESIS, Leaf, chain},
};
use uuid::Uuid;

use crate::{failures::refused, sabotage::Sabotage};

/// The one lane there is.
pub const LANE: Lane = Lane(0);

/// A command with this in its `traceparent` holds something that the database refuses.
pub(crate) const REFUSED_BY_DATABASE: &str = "refused-by-database";

#[derive(Clone, Default)]
struct Family {
    /// Indices of its events.
    events: Vec<usize>,
    chain: [u8; 32],
}

#[derive(Clone)]
struct Folded {
    state: AggregateState,
    sequence: i64,
    /// The first event that does not read.
    unreadable: Option<(i64, DecodeError)>,
}

/// The lane.
#[derive(Clone, Default)]
pub struct SimLog {
    events: Vec<Arc<Record>>,
    families: BTreeMap<FamilyId, Family>,
    streams: HashMap<StreamId, Folded>,
    commands: BTreeMap<(FamilyId, CommandId), StoredCommand>,
    claims: BTreeSet<(FamilyId, &'static str, String)>,
    sabotage: Option<Sabotage>,
}

impl SimLog {
    /// An empty log, with a fault when one is wanted.
    pub fn new(sabotage: Option<Sabotage>) -> Self {
        Self {
            sabotage,
            ..Self::default()
        }
    }

    /// All events, in order.
    pub fn events(&self) -> &[Arc<Record>] {
        &self.events
    }

    /// The position of the last event.
    pub fn head(&self) -> i64 {
        self.events.len() as i64
    }

    /// The family's last `family_seq`.
    pub fn family_head(&self, family: FamilyId) -> i64 {
        self.families
            .get(&family)
            .map_or(0, |family| family.events.len() as i64)
    }

    /// The families there are.
    pub fn families(&self) -> impl Iterator<Item = FamilyId> {
        self.families.keys().copied()
    }

    /// The commands accepted.
    pub fn commands(&self) -> &BTreeMap<(FamilyId, CommandId), StoredCommand> {
        &self.commands
    }

    /// The record at a position.
    pub fn at(&self, position: i64) -> Option<&Arc<Record>> {
        usize::try_from(position - 1)
            .ok()
            .and_then(|index| self.events.get(index))
    }

    /// `log.append_lanes`.
    ///
    /// # Errors
    /// What the database refuses as a whole; nothing is written then.
    pub fn append(&mut self, batch: &[AppendCommand], at: DateTime<Utc>) -> Result<Vec<Verdict>, LogError> {
        if batch
            .iter()
            .any(|command| command.metadata.contains(REFUSED_BY_DATABASE))
        {
            return Err(refused());
        }
        let at = self.events.last().map_or(at, |last| last.recorded_at.max(at));
        let mut first = HashMap::new();
        for (index, command) in batch.iter().enumerate() {
            first.entry(command.family_id).or_insert(index);
        }
        let mut order: Vec<usize> = (0..batch.len()).collect();
        order.sort_by_key(|index| first[&batch[*index].family_id]);
        let mut verdicts = vec![Verdict::Conflict; batch.len()];
        let mut failed = BTreeSet::new();
        let mut seen = BTreeSet::new();
        for index in order {
            let command = &batch[index];
            let is_again = !seen.insert((command.family_id, command.command_id));
            let verdict = self.judge(command, is_again, failed.contains(&command.family_id), at)?;
            if !matches!(verdict, Verdict::Ok(_)) {
                failed.insert(command.family_id);
            }
            verdicts[index] = verdict;
        }
        Ok(verdicts)
    }

    fn judge(
        &mut self,
        command: &AppendCommand,
        is_again: bool,
        has_failed: bool,
        at: DateTime<Utc>,
    ) -> Result<Verdict, LogError> {
        let key = (command.family_id, command.command_id);
        if let Some(stored) = self.commands.get(&key)
            && self.sabotage != Some(Sabotage::ForgetCommands)
        {
            return Ok(Verdict::Duplicate(stored.clone()));
        }
        let head = self.family_head(command.family_id);
        // Looked at where a family's commands begin; one that follows others of its batch names no hash.
        let chain = self
            .families
            .get(&command.family_id)
            .map_or(GENESIS, |family| family.chain);
        let is_of_this_history = command.expected_chain_hash.is_none_or(|expected| expected == chain);
        let is_decided_on_head =
            (head == command.expected_family_seq && is_of_this_history) || self.sabotage == Some(Sabotage::IgnoreHeads);
        let exists = self.families.contains_key(&command.family_id);
        if has_failed || is_again || !is_decided_on_head || command.creates_family == exists {
            return Ok(Verdict::Conflict);
        }
        let held = |scope: &'static str, value: &str| {
            self.sabotage != Some(Sabotage::ForgetClaims)
                && self.claims.contains(&(command.family_id, scope, value.to_owned()))
        };
        if let Some(taken) = command.claims.iter().find(|claim| held(claim.scope, &claim.value)) {
            return Ok(Verdict::ClaimTaken {
                scope: taken.scope.to_owned(),
            });
        }
        self.write(command, head, at).map(Verdict::Ok)
    }

    fn write(&mut self, command: &AppendCommand, head: i64, at: DateTime<Utc>) -> Result<Appended, LogError> {
        for claim in &command.claims {
            self.claims
                .insert((command.family_id, claim.scope, claim.value.clone()));
        }
        self.families.entry(command.family_id).or_default();
        for new in &command.events {
            let written = new.event.written();
            let record = Record {
                lane: LANE,
                position: 0,
                family_id: command.family_id,
                family_seq: 0,
                aggregate_type: new.stream.kind.to_owned(),
                aggregate_id: new.stream.id,
                sequence: new.sequence,
                event_type: written.event_type.to_owned(),
                event_version: written.event_version.to_owned(),
                payload: written.payload,
                metadata: command.metadata.clone(),
                command_id: command.command_id,
                effective_on: new.effective_on,
                recorded_at: at,
                leaf_hash: GENESIS,
                chain_hash: GENESIS,
                opened: Opened::default(),
            };
            self.push(new.stream, record)?;
        }
        let stored = StoredCommand {
            request_hash: command.request_hash,
            first_family_seq: head + 1,
            last_family_seq: self.family_head(command.family_id),
            last_position: self.head(),
            recorded_at: at,
        };
        let appended = Appended {
            first_family_seq: stored.first_family_seq,
            last_family_seq: stored.last_family_seq,
            last_position: stored.last_position,
            chain_hash: self.families[&command.family_id].chain,
            recorded_at: at,
        };
        self.commands.insert((command.family_id, command.command_id), stored);
        Ok(appended)
    }

    /// Numbers, hashes and keeps a record.
    fn push(&mut self, stream: StreamId, mut record: Record) -> Result<(), LogError> {
        let folded = self.streams.entry(stream).or_insert_with(|| Folded {
            state: AggregateState::empty(stream.kind),
            sequence: 0,
            unreadable: None,
        });
        if record.sequence != folded.sequence + 1 && self.sabotage != Some(Sabotage::IgnoreHeads) {
            // `events_stream_key` would refuse it; with the heads compared it cannot come to that.
            return Err(LogError::Inconsistent(format!(
                "{stream} gets sequence {} after {}",
                record.sequence, folded.sequence
            )));
        }
        folded.sequence += 1;
        let family = self.families.entry(record.family_id).or_default();
        record.position = self.events.len() as i64 + 1;
        record.family_seq = family.events.len() as i64 + 1;
        record.leaf_hash = leaf(&record);
        record.chain_hash = chain(
            &family.chain,
            record.family_seq,
            record.recorded_at_us(),
            &record.leaf_hash,
        );
        family.chain = record.chain_hash;
        family.events.push(self.events.len());
        match record.decode() {
            Ok(event) => folded.state.apply(event),
            Err(error) => {
                folded.unreadable.get_or_insert((record.family_seq, error));
            }
        }
        self.events.push(Arc::new(record));
        Ok(())
    }

    /// Puts an event that no release knows into a stream of its own, hashed as it should be.
    pub(crate) fn plant_unreadable(&mut self, family: FamilyId, id: Uuid, at: DateTime<Utc>) {
        let record = Record {
            lane: LANE,
            position: 0,
            family_id: family,
            family_seq: 0,
            aggregate_type: "chore".to_owned(),
            aggregate_id: id,
            sequence: 1,
            event_type: "FromTheFuture".to_owned(),
            event_version: "1.0".to_owned(),
            payload: "{}".to_owned(),
            metadata: "{}".to_owned(),
            command_id: CommandId::from_uuid(id),
            effective_on: at.date_naive(),
            recorded_at: self.events.last().map_or(at, |last| last.recorded_at.max(at)),
            leaf_hash: GENESIS,
            chain_hash: GENESIS,
            opened: Opened::default(),
        };
        let stream = StreamId { kind: "chore", id };
        self.push(stream, record).expect("a stream of its own begins with 1");
    }

    /// `Log::load`.
    ///
    /// # Errors
    /// [`LogError::Decode`] when a stream holds what does not read.
    pub fn load(&self, family: FamilyId, streams: &[StreamId]) -> Result<Loaded, LogError> {
        let mut loaded = Vec::with_capacity(streams.len());
        for stream in streams {
            match self.streams.get(stream) {
                None => loaded.push((*stream, AggregateState::empty(stream.kind), 0)),
                Some(Folded {
                    unreadable: Some((family_seq, cause)),
                    ..
                }) => {
                    return Err(LogError::Decode {
                        family_id: family,
                        family_seq: *family_seq,
                        cause: cause.clone(),
                    });
                }
                Some(folded) => loaded.push((*stream, folded.state.clone(), folded.sequence)),
            }
        }
        let chain_hash = self.families.get(&family).map_or(GENESIS, |family| family.chain);
        Ok(Loaded {
            head: FamilyHead {
                family_seq: self.family_head(family),
                chain_hash,
            },
            streams: loaded,
        })
    }

    /// The folded state of a stream and its last sequence.
    pub fn stream(&self, stream: &StreamId) -> Option<(&AggregateState, i64)> {
        self.streams.get(stream).map(|folded| (&folded.state, folded.sequence))
    }

    /// `Log::read_lane`.
    pub fn read_lane(&self, after: i64, limit: i64) -> Vec<Record> {
        let records = self.events.iter().skip(usize::try_from(after).unwrap_or(0));
        let limit = usize::try_from(limit).unwrap_or(0);
        records.take(limit).map(|record| Record::clone(record)).collect()
    }

    /// `Log::read_family`.
    pub fn read_family(&self, family: FamilyId, after_seq: i64, limit: i64) -> Vec<Record> {
        let Some(family) = self.families.get(&family) else {
            return Vec::new();
        };
        let indices = family.events.iter().skip(usize::try_from(after_seq).unwrap_or(0));
        let limit = usize::try_from(limit).unwrap_or(0);
        indices
            .take(limit)
            .map(|index| Record::clone(&self.events[*index]))
            .collect()
    }

    /// The family's records, not copied.
    pub fn of_family(&self, family: FamilyId) -> impl Iterator<Item = &Arc<Record>> {
        let indices = self.families.get(&family).map(|family| family.events.as_slice());
        indices.unwrap_or_default().iter().map(|index| &self.events[*index])
    }
}

fn leaf(record: &Record) -> [u8; 32] {
    Leaf {
        family_id: record.family_id.uuid(),
        aggregate_type: &record.aggregate_type,
        aggregate_id: &record.aggregate_id.to_string(),
        sequence: record.sequence,
        event_type: &record.event_type,
        event_version: &record.event_version,
        command_id: record.command_id.uuid(),
        effective_on: record.effective_on,
        payload: &record.payload,
        metadata: &record.metadata,
    }
    .hash()
}

/// The event in a record, when it reads.
pub(crate) fn event_of(record: &Record) -> Option<LedgerEvent> {
    record.decode().ok()
}
