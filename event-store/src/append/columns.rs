//! A lane's share of an append, as the columns that `log.append_lanes` takes.
//!
//! The columns are kept as the bytes of Postgres' binary arrays from the start, so that sending the shares of several lanes
//! together is putting bytes behind bytes, and nothing is allocated per value.

use std::collections::{HashMap, HashSet};

use chrono::NaiveDate;
use domain::{aggregate::Written, upcasters::StillWritten};
use sqlx::{
    Postgres, Type,
    encode::{Encode, IsNull},
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgTypeInfo, types::Oid},
};
use uuid::Uuid;

use super::{AppendCommand, AppendEvent};
use crate::{Lane, Log, chain::Leaf, keys::sealing::Sealing};

/// Values of one type, as the elements of a Postgres array.
#[derive(Default)]
pub(super) struct Column {
    count: usize,
    bytes: Vec<u8>,
}

impl Column {
    fn push(&mut self, value: &[u8]) {
        self.count += 1;
        self.bytes.extend(wire_length(value.len()).to_be_bytes());
        self.bytes.extend(value);
    }

    /// Makes room for as many bytes, so that a batch grows no column step by step.
    pub(super) fn reserve(&mut self, bytes: usize) {
        self.bytes.reserve(bytes);
    }

    /// Bytes it comes to.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Puts the other's values behind these.
    pub(super) fn append(&mut self, other: &Self) {
        self.count += other.count;
        self.bytes.extend(&other.bytes);
    }
}

/// Postgres takes no value of 2 GiB; what is bounded by far smaller limits cannot come near it.
fn wire_length(length: usize) -> i32 {
    i32::try_from(length).expect("batches are bounded far below 2 GiB")
}

/// A column with the types of its elements and of the array, by their fixed numbers in Postgres' catalogue.
pub(super) struct Array {
    pub(super) column: Column,
    pub(super) element: u32,
    pub(super) array: u32,
}

impl Type<Postgres> for Array {
    /// Never asked: every array says its own type with `produces`.
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(TEXT.1))
    }
}

impl Encode<'_, Postgres> for Array {
    fn produces(&self) -> Option<PgTypeInfo> {
        Some(PgTypeInfo::with_oid(Oid(self.array)))
    }

    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let has_values = self.column.count > 0;
        buffer.extend(i32::from(has_values).to_be_bytes()); // dimensions
        buffer.extend(0_i32.to_be_bytes()); // no nulls
        buffer.extend(self.element.to_be_bytes());
        if has_values {
            buffer.extend(wire_length(self.column.count).to_be_bytes());
            buffer.extend(1_i32.to_be_bytes()); // the first index
            buffer.extend(&self.column.bytes);
        }
        Ok(IsNull::No)
    }
}

/// Type numbers: element, array.
pub(super) const BYTES: (u32, u32) = (17, 1001);
/// As [`BYTES`].
pub(super) const INT8: (u32, u32) = (20, 1016);
/// As [`BYTES`].
pub(super) const TEXT: (u32, u32) = (25, 1009);
/// As [`BYTES`].
pub(super) const JSON: (u32, u32) = (114, 199);
/// As [`BYTES`].
pub(super) const DATE: (u32, u32) = (1082, 1182);
/// As [`BYTES`].
pub(super) const UUID: (u32, u32) = (2950, 2951);

/// The columns that are bytes to us: parameter by parameter what `log.append_lanes` takes. Those that count within the batch
/// are numbers in [`Share`].
#[derive(Clone, Copy)]
pub(super) enum Of {
    Family,
    Command,
    RequestHash,
    Expected,
    Metadata,
    FamilySeq,
    AggregateType,
    AggregateId,
    Sequence,
    EventType,
    EventVersion,
    Payload,
    EffectiveOn,
    Leaf,
    ClaimScope,
    ClaimHash,
    ExpectedChain,
}

/// How many columns there are.
pub(super) const COLUMNS: usize = Of::ExpectedChain as usize + 1;

/// What a command of one event comes to in each column, near enough to make room once; claims are rare.
const TYPICAL_BYTES: [usize; COLUMNS] = [16, 16, 32, 8, 288, 8, 8, 36, 8, 16, 1, 608, 4, 32, 0, 0, 32];

/// What one lane has to append.
pub(super) struct Share {
    pub(super) lane: Lane,
    /// Of each command: the head it was decided on, and its events.
    pub(super) commands: Vec<(i64, i32)>,
    /// Of each command the same one earlier in the share, from 1; 0 for none.
    pub(super) same_as: Vec<i32>,
    /// Does the command found its family?
    pub(super) creates: Vec<bool>,
    /// Of each event its command, from 1.
    pub(super) event_command: Vec<i32>,
    /// Of each claim its command, from 1.
    pub(super) claim_command: Vec<i32>,
    pub(super) columns: [Column; COLUMNS],
    still_written: &'static [StillWritten],
}

impl Share {
    /// A lane's commands, each family's together.
    pub(super) fn of<'a>(
        log: &Log,
        lane: Lane,
        batch: impl Iterator<Item = &'a AppendCommand>,
        sealing: &Sealing,
    ) -> Self {
        let mut share = Self {
            lane,
            commands: Vec::new(),
            same_as: Vec::new(),
            creates: Vec::new(),
            event_command: Vec::new(),
            claim_command: Vec::new(),
            columns: Default::default(),
            still_written: log.still_written,
        };
        let (commands, _) = batch.size_hint();
        for (column, bytes) in share.columns.iter_mut().zip(TYPICAL_BYTES) {
            column.reserve(commands * (bytes + size_of::<i32>()));
        }
        let mut numbers = HashMap::with_capacity(commands);
        for (number, command) in (1..).zip(batch) {
            let first = *numbers.entry((command.family_id, command.command_id)).or_insert(number);
            share.same_as.push(if first < number { first } else { 0 });
            share.command(number, command, sealing);
            if !command.claims.is_empty() {
                share.claims(log, number, command);
            }
        }
        share
    }

    /// Bytes it comes to, near enough.
    pub(super) fn bytes(&self) -> usize {
        self.columns.iter().map(Column::len).sum()
    }

    fn put(&mut self, of: Of, value: &[u8]) {
        self.columns[of as usize].push(value);
    }

    fn command(&mut self, number: i32, command: &AppendCommand, sealing: &Sealing) {
        let family_id = command.family_id.uuid();
        let command_id = command.command_id.uuid();
        self.commands
            .push((command.expected_family_seq, wire_length(command.events.len())));
        self.creates.push(command.creates_family);
        self.put(Of::Family, family_id.as_bytes());
        self.put(Of::Command, command_id.as_bytes());
        self.put(Of::RequestHash, &command.request_hash);
        self.put(Of::Expected, &command.expected_family_seq.to_be_bytes());
        let chain_hash = command.expected_chain_hash.as_ref();
        self.put(Of::ExpectedChain, chain_hash.map_or(&[], |hash| hash.as_slice()));
        self.put(Of::Metadata, command.metadata.as_bytes());
        for (family_seq, new) in (command.expected_family_seq + 1..).zip(&command.events) {
            self.event_command.push(number);
            self.put(Of::FamilySeq, &family_seq.to_be_bytes());
            self.event(command, new, sealing);
        }
    }

    fn event(&mut self, command: &AppendCommand, new: &AppendEvent, sealing: &Sealing) {
        let sealed = new.event.is_personal().then(|| sealing.seal(command, new));
        let Written {
            event_type,
            event_version,
            payload,
        } = sealed.as_ref().unwrap_or(&new.event).written_with(self.still_written);
        let metadata = command.metadata.as_str();
        let mut buffer = Uuid::encode_buffer();
        let aggregate_id: &str = new.stream.id.hyphenated().encode_lower(&mut buffer);
        let leaf = Leaf {
            family_id: command.family_id.uuid(),
            aggregate_type: new.stream.kind,
            aggregate_id,
            sequence: new.sequence,
            event_type,
            event_version,
            command_id: command.command_id.uuid(),
            effective_on: new.effective_on,
            payload: &payload,
            metadata,
        };
        self.put(Of::Leaf, &leaf.hash());
        self.put(Of::AggregateType, new.stream.kind.as_bytes());
        self.put(Of::AggregateId, aggregate_id.as_bytes());
        self.put(Of::Sequence, &new.sequence.to_be_bytes());
        self.put(Of::EventType, event_type.as_bytes());
        self.put(Of::EventVersion, event_version.as_bytes());
        self.put(Of::Payload, payload.as_bytes());
        self.put(Of::EffectiveOn, &days_since_2000(new.effective_on).to_be_bytes());
    }

    fn claims(&mut self, log: &Log, number: i32, command: &AppendCommand) {
        let mut seen = HashSet::new();
        for claim in &command.claims {
            let hash = log.claim_hash(command.family_id, claim.scope, &claim.value);
            if seen.insert(hash) {
                self.claim_command.push(number);
                self.put(Of::ClaimScope, claim.scope.as_bytes());
                self.put(Of::ClaimHash, &hash);
            }
        }
    }
}

/// A date as Postgres sends it.
fn days_since_2000(day: NaiveDate) -> i32 {
    const FIRST: NaiveDate = NaiveDate::from_ymd_opt(2000, 1, 1).expect("a date");
    i32::try_from((day - FIRST).num_days()).expect("chrono's years fit into 32 bits of days")
}
