//! Events: what every one of them shares, the list of their kinds, and the one way from stored bytes to an event and back.
//!
//! Every event is a struct of its own; the stored payload is that struct as JSON with its name under `type`, so that it reads
//! alone and postgres-es' independent reader can load it. Beside it stand the name and a version, "1", "2" and so on: an older
//! version is brought to today's when it is read ([`crate::upcasters`]), and an unknown one is an error.
//!
//! This file, the events and the value types they are made of know nothing else of this crate. A release keeps a copy of them
//! (`schemas/reader`), so that tests can put the release before to the test of today's events. ADR 0022 has the choice.

use serde_json::{Value, value::RawValue};

use crate::{
    bank_connection::BankConnectionEvent,
    budget::BudgetEvent,
    category::CategoryEvent,
    chore::ChoreEvent,
    entry::EntryEvent,
    family::FamilyEvent,
    inbox::InboxEvent,
    ledger_account::LedgerAccountEvent,
    rewards::RewardsEvent,
    spending::SpendingEvent,
    statement_import::StatementImportEvent,
    upcasters::{STILL_WRITTEN, StillWritten, upcast},
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
    /// A sealed text of it cannot be opened: its key is missing, or the text is none that was sealed here.
    #[error("a text of event {event_type} cannot be opened: {problem}")]
    Sealed {
        /// The event's name as stored.
        event_type: String,
        /// Why, without the text.
        problem: String,
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
    /// Its texts, and whose they are.
    pub texts: &'static [crate::personal::DeclaredText],
}

/// Declares one aggregate's events: an enum over the structs, one line each with its current version and its texts. Every text
/// (a field that is a `String`) says whose it is: a field that names a member, `actor`, `family`, or `plain` for what tells
/// nothing of anybody. [`crate::personal`] has the choice.
macro_rules! events {
    ($(#[$doc:meta])* $name:ident of $aggregate:literal {
        $($event:ident = $version:literal $({
            $($field:ident $(. $inner:ident)? : $whose:ident $(as $erased:literal)?),+ $(,)?
        })?,)+
    }) => {
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
            pub fn kinds() -> Vec<$crate::event::EventKind> {
                vec![$($crate::event::EventKind {
                    aggregate_type: $aggregate,
                    event_type: stringify!($event),
                    event_version: $version,
                    schema: || {
                        let texts: &[(&str, &str, &[&str])] =
                            &[$($((stringify!($whose), stringify!($field), &[$(stringify!($inner))?]),)+)?];
                        $crate::personal::marked(schemars::schema_for!($event), texts)
                    },
                    texts: &[$($($crate::personal::DeclaredText {
                        path: concat!(stringify!($field) $(, ".", stringify!($inner))?),
                        whose: stringify!($whose),
                    },)+)?],
                },)+]
            }

            /// Does this kind of event have personal texts?
            pub(crate) const fn is_personal(&self) -> bool {
                match self {
                    $(Self::$event(_) => false $($(|| $crate::personal::is_personal(stringify!($whose)))+)?,)+
                }
            }

            /// Shows every personal text of the event.
            pub(crate) fn visit_personal(&mut self, _visit: &mut dyn FnMut($crate::personal::Personal<'_>)) {
                match self {
                    $(Self::$event(_event) => {
                        $($($crate::personal::visit!(_event, _visit, $whose, $field $(. $inner)? $(, $erased)?);)+)?
                    })+
                }
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

/// The list of aggregates, one line each: the aggregate, its events, and what its streams are called.
macro_rules! aggregates {
    ($with:ident) => {
        $with! {
            BankConnection(BankConnectionEvent) = "bank-connection",
            Budget(BudgetEvent) = "budget",
            Category(CategoryEvent) = "category",
            Chore(ChoreEvent) = "chore",
            Entry(EntryEvent) = "entry",
            Family(FamilyEvent) = "family",
            Inbox(InboxEvent) = "inbox",
            LedgerAccount(LedgerAccountEvent) = "ledger-account",
            Rewards(RewardsEvent) = "rewards",
            Spending(SpendingEvent) = "spending",
            StatementImport(StatementImportEvent) = "statement-import",
        }
    };
}
pub(crate) use aggregates;

macro_rules! ledger_event {
    ($($name:ident($event:ident) = $kind:literal,)+) => {
        /// An event of any aggregate.
        #[derive(Clone, Debug, PartialEq, serde::Serialize)]
        #[serde(untagged)]
        #[allow(clippy::large_enum_variant)]
        pub enum LedgerEvent {
            $(#[doc = concat!("An event of a `", $kind, "` stream.")] $name($event),)+
        }

        /// The kinds of stream a ledger has.
        pub const AGGREGATE_TYPES: &[&str] = &[$($kind,)+];

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

            /// Does this kind of event have personal texts?
            pub const fn is_personal(&self) -> bool {
                match self {
                    $(Self::$name(event) => event.is_personal(),)+
                }
            }

            /// Shows every personal text of the event, to be sealed, opened or looked at.
            pub fn visit_personal(&mut self, visit: &mut dyn FnMut(crate::personal::Personal<'_>)) {
                match self {
                    $(Self::$name(event) => event.visit_personal(visit),)+
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

        $(impl From<$event> for LedgerEvent {
            fn from(event: $event) -> Self {
                Self::$name(event)
            }
        })+
    };
}
aggregates!(ledger_event);

/// An event as the log keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its name.
    pub event_type: &'static str,
    /// The version of the payload.
    pub event_version: &'static str,
    /// The bytes.
    pub payload: String,
}

impl LedgerEvent {
    /// What goes to the log: name, version, and the bytes that are kept and hashed.
    pub fn written(&self) -> Written {
        self.written_with(STILL_WRITTEN)
    }

    /// As [`LedgerEvent::written`], while the events of a list are still written in an older version.
    pub fn written_with(&self, still_written: &[StillWritten]) -> Written {
        let (event_type, event_version) = self.kind();
        let older = still_written.iter().find(|older| older.event_type == event_type);
        match older.and_then(|older| Some((older.event_version, (older.downcast)(self)?))) {
            Some((event_version, payload)) => Written {
                event_type,
                event_version,
                payload,
            },
            None => Written {
                event_type,
                event_version,
                payload: self.encode(),
            },
        }
    }

    /// The bytes of [`LedgerEvent::written`], to be put into an answer as they are.
    pub fn written_raw(&self) -> Option<Box<RawValue>> {
        if STILL_WRITTEN.iter().any(|older| older.event_type == self.kind().0) {
            return RawValue::from_string(self.written().payload).ok();
        }
        // What was just made of an event need not be read again to know that it is JSON.
        serde_json::value::to_raw_value(self).ok()
    }

    /// The event without what the version it is written in cannot say, so that memory never holds more than the log.
    pub fn as_written(self) -> Self {
        self.as_written_with(STILL_WRITTEN)
    }

    /// As [`LedgerEvent::as_written`], while the events of a list are still written in an older version.
    ///
    /// # Panics
    /// When an event that is still written in an older version does not read back: then its line in the list is wrong.
    pub fn as_written_with(self, still_written: &[StillWritten]) -> Self {
        let event_type = self.kind().0;
        if still_written.iter().all(|older| older.event_type != event_type) {
            return self;
        }
        let written = self.written_with(still_written);
        Self::decode(
            self.aggregate_type(),
            event_type,
            written.event_version,
            &written.payload,
        )
        .expect("an older version that is still written is read through its upcaster")
    }

    /// The event as JSON in today's version.
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
        let value: Value = serde_json::from_str(payload).map_err(malformed)?;
        let (version, value) = upcast(event_type, event_version, value).ok_or_else(unknown)?;
        let read = Self::read(aggregate_type, event_type, version, &value.to_string()).ok_or_else(unknown)?;
        read.map_err(malformed)
    }
}
