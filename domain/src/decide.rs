//! Deciding: `decide(state, command, meta)` gives events or a refusal, and nothing else happens.
//!
//! A command may need several aggregates, and which ones can depend on what it finds (approving a chore leads to the
//! child's wallet). So a decision asks its [`Context`] for the state of a stream; when that stream is not in memory yet, the
//! answer is [`Stop::Load`], the caller loads it and runs the decision again from the start. Decisions are pure, so running
//! one twice is harmless, and no command has to declare its reads ahead. ADR 0003 has the choice.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

use crate::{
    access::{self, Row},
    actor::{Actor, Meta},
    aggregate::{AggregateState, LedgerEvent, Stored},
    family::{Family, FamilyRefusal, Member},
    refusal::Refusal,
    stream::StreamId,
};

/// A request in the imperative, with its decision. One file per command.
pub trait Decide: Clone + Send + Sync + Serialize + DeserializeOwned + JsonSchema + 'static {
    /// The name in the URL, kebab-case: `add-expense`.
    const NAME: &'static str;
    /// One sentence for the API's documentation.
    const SUMMARY: &'static str;
    /// Who may ask: its row of the role matrix, without which it does not compile. Finer rules (own wallet only) are in the decision.
    const ACCESS: &'static Row = access::command(Self::NAME);
    /// Does it bring the family into being? Only `create-family` does.
    const CREATES_FAMILY: bool = false;
    /// May somebody ask who is no member? Only to found a family or to take up an invitation.
    const FOR_STRANGERS: bool = false;

    /// Events or a refusal.
    ///
    /// # Errors
    /// [`Stop::Refused`] when a rule says no; [`Stop::Load`] when a stream has to be loaded first.
    fn decide(&self, context: &Context<'_>) -> Result<Decision, Stop>;
}

/// Why a decision ended without events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The rules decline.
    Refused(Refusal),
    /// These streams are needed; load them and decide again.
    Load(Vec<StreamId>),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Stop::Refused(refusal)
    }
}

/// One event about to be appended.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    /// The stream it goes to.
    pub stream: StreamId,
    /// The fact.
    pub event: LedgerEvent,
    /// The day it counts for, in the family's calendar.
    pub effective_on: NaiveDate,
}

/// A value that must be unique in its scope; the log keeps only its keyed hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// What kind of value: `category-name`, `badge` …
    pub scope: &'static str,
    /// The value, already brought to its comparable form. The family is part of the hash, so families never collide.
    pub value: String,
    /// What to say when another holds it.
    pub taken: Refusal,
}

/// What a command does when it is accepted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// The facts, in order; they may touch several streams of the family and are appended together or not at all.
    pub events: Vec<NewEvent>,
    /// Values claimed by the same append.
    pub claims: Vec<Claim>,
}

impl Decision {
    /// Adds an event of the stream `id` of its aggregate.
    pub fn record<A: Stored>(&mut self, id: Uuid, event: A::Event, effective_on: NaiveDate) {
        self.events.push(NewEvent {
            stream: StreamId { kind: A::TYPE, id },
            event: event.into().as_written(),
            effective_on,
        });
    }

    /// Adds a claim.
    pub fn claim(&mut self, scope: &'static str, value: impl Into<String>, taken: impl Into<Refusal>) {
        self.claims.push(Claim {
            scope,
            value: value.into(),
            taken: taken.into(),
        });
    }
}

/// The aggregates in memory while one family's commands are decided: state and sequence per stream.
#[derive(Clone, Debug, Default)]
pub struct Streams {
    states: HashMap<StreamId, (AggregateState, i64)>,
}

impl Streams {
    /// Puts a folded stream in; `sequence` is that of its last event, 0 when it has none.
    pub fn insert(&mut self, stream: StreamId, state: AggregateState, sequence: i64) {
        self.states.insert(stream, (state, sequence));
    }

    /// The folded state and last sequence of a stream, when it is in memory.
    pub fn get(&self, stream: &StreamId) -> Option<&(AggregateState, i64)> {
        self.states.get(stream)
    }

    /// Folds an accepted event in and returns its sequence. The stream must be in memory, or new.
    pub fn apply(&mut self, stream: StreamId, event: &LedgerEvent) -> i64 {
        let (state, sequence) = self
            .states
            .entry(stream)
            .or_insert_with(|| (AggregateState::empty(stream.kind), 0));
        state.apply(event.clone());
        *sequence += 1;
        *sequence
    }

    /// Streams in memory.
    pub fn len(&self) -> usize {
        self.states.len()
    }

    /// Is nothing in memory?
    pub fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    /// Forgets the streams for which `keep` says no.
    pub fn retain(&mut self, keep: impl Fn(&StreamId) -> bool) {
        self.states.retain(|stream, _| keep(stream));
    }
}

/// What a decision may look at: the family's streams, how long its log is, who asks, and when.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    streams: &'a Streams,
    meta: &'a Meta,
    family_seq: i64,
}

impl<'a> Context<'a> {
    /// A context over streams in memory, as they are after the family's event `family_seq`; 0 when it has none.
    pub fn new(streams: &'a Streams, meta: &'a Meta, family_seq: i64) -> Self {
        Self {
            streams,
            meta,
            family_seq,
        }
    }

    /// The family's last event; 0 when it has none.
    pub fn family_seq(&self) -> u64 {
        u64::try_from(self.family_seq).unwrap_or(0)
    }

    /// Family, command and person of this request.
    pub fn meta(&self) -> &'a Meta {
        self.meta
    }

    /// When the command was taken in hand (UTC).
    pub fn at(&self) -> DateTime<Utc> {
        self.meta.at
    }

    /// The state of a stream; the empty state when it has no events.
    ///
    /// # Errors
    /// [`Stop::Load`] when it is not in memory.
    pub fn get<A: Stored>(&self, id: Uuid) -> Result<&'a A, Stop> {
        let stream = StreamId { kind: A::TYPE, id };
        match self.streams.get(&stream) {
            Some((state, _)) => A::from_state(state).ok_or_else(|| Stop::Load(vec![stream])),
            None => Err(Stop::Load(vec![stream])),
        }
    }

    /// The states of many streams at once, so that one load serves them all.
    ///
    /// # Errors
    /// [`Stop::Load`] naming every stream that is not in memory.
    pub fn get_all<A: Stored>(&self, ids: impl IntoIterator<Item = Uuid>) -> Result<Vec<&'a A>, Stop> {
        let mut found = Vec::new();
        let mut missing = Vec::new();
        for id in ids {
            match self.get::<A>(id) {
                Ok(state) => found.push(state),
                Err(Stop::Load(streams)) => missing.extend(streams),
                Err(refused) => return Err(refused),
            }
        }
        if missing.is_empty() {
            Ok(found)
        } else {
            Err(Stop::Load(missing))
        }
    }

    /// The family itself.
    ///
    /// # Errors
    /// A refusal when it does not exist.
    pub fn family(&self) -> Result<&'a Family, Stop> {
        let family = self.get::<Family>(self.meta.family_id.uuid())?;
        if family.exists() {
            Ok(family)
        } else {
            Err(FamilyRefusal::UnknownFamily.into())
        }
    }

    /// The member who asks.
    ///
    /// # Errors
    /// A refusal when the person is not in the family; it reads as if the family did not exist.
    pub fn asking_member(&self) -> Result<&'a Member, Stop> {
        self.family()?
            .member_of_user(self.meta.user_id, self.meta.at)
            .ok_or_else(|| FamilyRefusal::UnknownFamily.into())
    }

    /// Today in the family's own zone.
    ///
    /// # Errors
    /// As [`Context::family`].
    pub fn today(&self) -> Result<NaiveDate, Stop> {
        Ok(self.family()?.calendar().day_of(self.meta.at))
    }

    /// The day a command counts for: as given, today otherwise.
    ///
    /// # Errors
    /// A refusal when the date is outside the years a ledger keeps (1970 to one year ahead).
    pub fn effective_on(&self, given: Option<NaiveDate>) -> Result<NaiveDate, Stop> {
        let today = self.today()?;
        let day = given.unwrap_or(today);
        let is_sane = day >= crate::calendar::FIRST_DAY && day <= today + chrono::Days::new(366);
        if is_sane {
            Ok(day)
        } else {
            Err(FamilyRefusal::DateOutOfRange { day }.into())
        }
    }

    /// A fresh id, always the same for the same command and number.
    ///
    /// It begins as the command's own id does, which in UUID version 7 is the moment, so that ids made after one another lie beside
    /// one another in the log's index of streams (ADR 0029). The rest is hashed: version 8, for nothing in it is random.
    pub fn new_id(&self, number: u32) -> Uuid {
        let command_id = self.meta.command_id.uuid();
        let name = format!("{}/{command_id}/{number}", self.meta.family_id.uuid());
        let mut bytes = Uuid::new_v5(&self.meta.family_id.uuid(), name.as_bytes()).into_bytes();
        bytes[..6].copy_from_slice(&command_id.as_bytes()[..6]);
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    }

    /// The person who asks, as events carry them.
    pub fn actor(&self) -> Actor {
        let member = self.asking_member().ok();
        Actor {
            user_id: self.meta.user_id,
            member_id: member.map(|m| m.member_id),
            role: member.map(|m| m.role),
        }
    }
}

/// Runs a command: the family exists, the person belongs to it, the role may ask, and then the command's own decision.
///
/// # Errors
/// As [`Decide::decide`].
pub fn decide<C: Decide>(command: &C, context: &Context<'_>) -> Result<Decision, Stop> {
    if !C::FOR_STRANGERS {
        let role = context.asking_member()?.role;
        if !C::ACCESS.allows(role) {
            return Err(FamilyRefusal::RoleNotAllowed {
                role: role.as_str(),
                command: C::NAME,
            }
            .into());
        }
        context.family()?.check_consent(context.asking_member()?.member_id)?;
    }
    command.decide(context)
}

#[cfg(test)]
mod tests {
    use uuid::{NoContext, Timestamp};

    use super::*;

    fn new_id(command_id: Uuid, number: u32) -> Uuid {
        let meta = Meta {
            family_id: crate::id::FamilyId::from_uuid(Uuid::nil()),
            command_id: crate::id::CommandId::from_uuid(command_id),
            user_id: crate::id::UserId::from_uuid(Uuid::nil()),
            at: DateTime::UNIX_EPOCH,
        };
        Context::new(&Streams::default(), &meta, 0).new_id(number)
    }

    /// A key as clients are asked to make them.
    fn key(at_s: u64) -> Uuid {
        Uuid::new_v7(Timestamp::from_unix(NoContext, at_s, 0))
    }

    #[test]
    fn fresh_ids_are_in_the_order_of_the_commands_keys() {
        let ids = [0, 1, 255, 256, 1_795_000_000, 1_795_000_001].map(|at_s| new_id(key(at_s), 0));
        assert!(ids.is_sorted(), "{ids:?}");
        assert!(ids.iter().all(|id| id.get_version_num() == 8), "{ids:?}");
    }

    #[test]
    fn fresh_ids_are_the_same_for_the_same_command_and_differ_otherwise() {
        let command_id = key(1_795_000_000);
        let first = new_id(command_id, 0);
        assert_eq!(first, new_id(command_id, 0));
        assert_ne!(first, new_id(command_id, 1), "another thing of the command");
        assert_ne!(
            first,
            new_id(key(1_795_000_000), 0),
            "another command of the same moment"
        );
    }
}
