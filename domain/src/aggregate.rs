//! The list of aggregates, and what all of them share: typed events, one decode path, folding.
//!
//! Each aggregate is a folder with its state, events, refusals and commands; here it is one line. Every event is a struct of
//! its own; the stored payload is that struct as JSON with its name under `type`, so that it reads alone and
//! postgres-es' independent reader can load it.

use std::sync::Arc;

use cqrs_es::{
    Aggregate,
    persist::{EventUpcaster, SerializedEvent},
};
use serde_json::Value;

use crate::{
    bank_connection::{BankConnection, BankConnectionEvent},
    budget::{Budget, BudgetEvent},
    category::{Category, CategoryEvent},
    chore::{Chore, ChoreEvent},
    entry::{Entry, EntryEvent},
    family::{Family, FamilyEvent},
    inbox::{Inbox, InboxEvent},
    ledger_account::{LedgerAccount, LedgerAccountEvent},
    rewards::{Rewards, RewardsEvent},
    statement_import::{StatementImport, StatementImportEvent},
    upcasters::UPCASTERS,
};

/// Stored bytes that are no event we know. Never passed over in silence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No such aggregate, event or version in this release.
    #[error("unknown event {aggregate_type}/{event_type} version {event_version}")]
    Unknown {
        /// The aggregate's kind as stored.
        aggregate_type: String,
        /// The event's name as stored.
        event_type: String,
        /// Its version as stored.
        event_version: String,
    },
    /// The payload does not have the event's shape.
    #[error("event {event_type} version {event_version} does not parse: {problem}")]
    Malformed {
        /// The event's name as stored.
        event_type: String,
        /// Its version as stored.
        event_version: String,
        /// What serde says of it, without the payload.
        problem: String,
    },
}

/// A kind of event, as the generated contracts list it.
pub struct EventKind {
    /// The aggregate it belongs to.
    pub aggregate_type: &'static str,
    /// Its name.
    pub event_type: &'static str,
    /// Its current version.
    pub event_version: &'static str,
    /// Its JSON Schema.
    pub schema: fn() -> schemars::Schema,
}

/// Declares one aggregate's events: an enum over the structs, one line each with its current version.
macro_rules! events {
    ($(#[$doc:meta])* $name:ident of $aggregate:literal { $($event:ident = $version:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(tag = "type")]
        #[allow(clippy::large_enum_variant)]
        pub enum $name {
            $(#[doc = concat!("See [`", stringify!($event), "`].")] $event($event),)+
        }

        $(impl From<$event> for $name {
            fn from(event: $event) -> Self {
                Self::$event(event)
            }
        })+

        impl $name {
            /// Name and version.
            pub const fn kind(&self) -> (&'static str, &'static str) {
                match self {
                    $(Self::$event(_) => (stringify!($event), $version),)+
                }
            }

            /// Every event of this aggregate.
            pub fn kinds() -> Vec<$crate::aggregate::EventKind> {
                vec![$($crate::aggregate::EventKind {
                    aggregate_type: $aggregate,
                    event_type: stringify!($event),
                    event_version: $version,
                    schema: || schemars::schema_for!($event),
                },)+]
            }

            /// Reads a payload of the current version straight into its struct; none when name or version are others.
            pub(crate) fn read(event_type: &str, event_version: &str, payload: &str) -> Option<Result<Self, serde_json::Error>> {
                match (event_type, event_version) {
                    $((stringify!($event), $version) => Some(serde_json::from_str(payload).map(Self::$event)),)+
                    _ => None,
                }
            }
        }

        impl cqrs_es::DomainEvent for $name {
            fn event_type(&self) -> String {
                self.kind().0.to_owned()
            }

            fn event_version(&self) -> String {
                self.kind().1.to_owned()
            }
        }
    };
}
pub(crate) use events;

/// The cqrs-es command of every aggregate: events that a [`crate::decide::Decide`] has already decided.
///
/// Our decisions span streams, which `Aggregate::handle` cannot; so it only records, and the rules stay in `decide`.
#[derive(Clone, Debug, PartialEq)]
pub struct Record<E>(pub Vec<E>);

/// An aggregate whose stream the log keeps.
pub trait Stored:
    Aggregate<Command = Record<<Self as Aggregate>::Event>, Event: Into<LedgerEvent>, Services = ()> + Clone
{
    /// This aggregate out of the sum of all.
    fn from_state(state: &AggregateState) -> Option<&Self>;
}

macro_rules! aggregates {
    ($($name:ident($event:ident) = $kind:literal,)+) => {
        /// The state of any aggregate. Shared, so that a cache hands it out without copying.
        #[derive(Clone, Debug)]
        pub enum AggregateState {
            $(#[doc = concat!("A `", $kind, "` stream's state.")] $name(Arc<$name>),)+
        }

        /// An event of any aggregate.
        #[derive(Clone, Debug, PartialEq, serde::Serialize)]
        #[serde(untagged)]
        #[allow(clippy::large_enum_variant)]
        pub enum LedgerEvent {
            $(#[doc = concat!("An event of a `", $kind, "` stream.")] $name($event),)+
        }

        /// The kinds of stream a ledger has.
        pub const AGGREGATE_TYPES: &[&str] = &[$($kind,)+];

        impl AggregateState {
            /// The state before the first event.
            ///
            /// # Panics
            /// On a kind that is not in the list of aggregates; kinds come from that list.
            pub fn empty(kind: &'static str) -> Self {
                match kind {
                    $($kind => Self::$name(Arc::default()),)+
                    other => panic!("no aggregate is called {other}"),
                }
            }

            /// Folds one event in. An event of another aggregate changes nothing; the log never mixes them.
            pub fn apply(&mut self, event: LedgerEvent) {
                match (self, event) {
                    $((Self::$name(state), LedgerEvent::$name(event)) => Arc::make_mut(state).apply(event),)+
                    _ => {}
                }
            }
        }

        impl LedgerEvent {
            /// The kind of stream it belongs to.
            pub const fn aggregate_type(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => $kind,)+
                }
            }

            /// Name and version.
            pub const fn kind(&self) -> (&'static str, &'static str) {
                match self {
                    $(Self::$name(event) => event.kind(),)+
                }
            }

            /// Every kind of event, for contracts and fixtures.
            pub fn kinds() -> Vec<EventKind> {
                let mut kinds = Vec::new();
                $(kinds.extend($event::kinds());)+
                kinds
            }

            fn read(aggregate_type: &str, event_type: &str, event_version: &str, payload: &str) -> Option<Result<Self, serde_json::Error>> {
                match aggregate_type {
                    $($kind => $event::read(event_type, event_version, payload).map(|event| event.map(Self::$name)),)+
                    _ => None,
                }
            }
        }

        /// The static name of a kind of stream, as [`crate::stream::StreamId`] holds it.
        pub fn aggregate_type(kind: &str) -> Option<&'static str> {
            match kind {
                $($kind => Some($kind),)+
                _ => None,
            }
        }

        $(
            impl Aggregate for $name {
                const TYPE: &'static str = $kind;
                type Command = Record<$event>;
                type Event = $event;
                type Error = std::convert::Infallible;
                type Services = ();

                async fn handle(
                    &mut self,
                    command: Record<$event>,
                    _: &(),
                    sink: &cqrs_es::event_sink::EventSink<Self>,
                ) -> Result<(), std::convert::Infallible> {
                    for event in command.0 {
                        sink.write(event, self).await;
                    }
                    Ok(())
                }

                fn apply(&mut self, event: $event) {
                    self.fold(event);
                }
            }

            impl Stored for $name {
                fn from_state(state: &AggregateState) -> Option<&Self> {
                    match state {
                        AggregateState::$name(state) => Some(state),
                        #[allow(unreachable_patterns)]
                        _ => None,
                    }
                }
            }

            impl From<$event> for LedgerEvent {
                fn from(event: $event) -> Self {
                    Self::$name(event)
                }
            }
        )+
    };
}

aggregates! {
    BankConnection(BankConnectionEvent) = "bank-connection",
    Budget(BudgetEvent) = "budget",
    Category(CategoryEvent) = "category",
    Chore(ChoreEvent) = "chore",
    Entry(EntryEvent) = "entry",
    Family(FamilyEvent) = "family",
    Inbox(InboxEvent) = "inbox",
    LedgerAccount(LedgerAccountEvent) = "ledger-account",
    Rewards(RewardsEvent) = "rewards",
    StatementImport(StatementImportEvent) = "statement-import",
}

impl LedgerEvent {
    /// The bytes the log keeps, and hashes.
    pub fn encode(&self) -> String {
        serde_json::to_string(self).expect("events hold nothing that JSON cannot say")
    }

    /// The one way from stored bytes to an event: store, Kafka, dead letters and audit all come through here.
    ///
    /// # Errors
    /// [`DecodeError::Unknown`] for a name or version this release does not know, [`DecodeError::Malformed`] for a payload
    /// of another shape.
    pub fn decode(
        aggregate_type: &str,
        event_type: &str,
        event_version: &str,
        payload: &str,
    ) -> Result<Self, DecodeError> {
        let malformed = |error: serde_json::Error| DecodeError::Malformed {
            event_type: event_type.to_owned(),
            event_version: event_version.to_owned(),
            problem: error.to_string(),
        };
        if let Some(read) = Self::read(aggregate_type, event_type, event_version, payload) {
            return read.map_err(malformed);
        }
        let unknown = || DecodeError::Unknown {
            aggregate_type: aggregate_type.to_owned(),
            event_type: event_type.to_owned(),
            event_version: event_version.to_owned(),
        };
        let mut name = (event_type.to_owned(), event_version.to_owned());
        let mut value: Value = serde_json::from_str(payload).map_err(malformed)?;
        // Each upcaster leads one version on; there cannot be more steps than upcasters.
        for _ in 0..=UPCASTERS.len() {
            let Some(upcaster) = UPCASTERS
                .iter()
                .find(|u| u.event_type == name.0 && u.from_version == name.1)
            else {
                break;
            };
            value = (upcaster.upcast)(value);
            name.1 = upcaster.to_version.to_owned();
        }
        let read = Self::read(aggregate_type, &name.0, &name.1, &value.to_string()).ok_or_else(unknown)?;
        read.map_err(malformed)
    }
}

/// Our upcasters behind the trait of cqrs-es, so that its repositories read old events as we do.
pub struct LedgerUpcaster;

impl EventUpcaster for LedgerUpcaster {
    fn can_upcast(&self, event_type: &str, event_version: &str) -> bool {
        UPCASTERS
            .iter()
            .any(|u| u.event_type == event_type && u.from_version == event_version)
    }

    fn upcast(&self, mut event: SerializedEvent) -> SerializedEvent {
        for _ in 0..=UPCASTERS.len() {
            let found = UPCASTERS
                .iter()
                .find(|u| u.event_type == event.event_type && u.from_version == event.event_version);
            let Some(upcaster) = found else { break };
            event.payload = (upcaster.upcast)(event.payload);
            event.event_version = upcaster.to_version.to_owned();
        }
        event
    }
}
