//! Aggregates: what all of them share, and the state of any of them. Which there are stands in one list, in [`crate::event`].
//!
//! Each aggregate is a folder with its state, events, refusals and commands; here it is one line.

use std::sync::Arc;

use cqrs_es::{
    Aggregate,
    persist::{EventUpcaster, SerializedEvent},
};

use crate::{
    bank_connection::{BankConnection, BankConnectionEvent},
    budget::{Budget, BudgetEvent},
    category::{Category, CategoryEvent},
    chore::{Chore, ChoreEvent},
    entry::{Entry, EntryEvent},
    event::aggregates,
    family::{Family, FamilyEvent},
    inbox::{Inbox, InboxEvent},
    ledger_account::{LedgerAccount, LedgerAccountEvent},
    rewards::{Rewards, RewardsEvent},
    spending::{Spending, SpendingEvent},
    statement_import::{StatementImport, StatementImportEvent},
    upcasters::{UPCASTERS, upcast},
};

pub use crate::event::{AGGREGATE_TYPES, DecodeError, EventKind, LedgerEvent, Written, aggregate_type};

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

macro_rules! aggregate_state {
    ($($name:ident($event:ident) = $kind:literal,)+) => {
        /// The state of any aggregate. Shared, so that a cache hands it out without copying.
        #[derive(Clone, Debug)]
        pub enum AggregateState {
            $(#[doc = concat!("A `", $kind, "` stream's state.")] $name(Arc<$name>),)+
        }

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
        )+
    };
}
aggregates!(aggregate_state);

/// Our upcasters behind the trait of cqrs-es, so that its repositories read old events as we do.
pub struct LedgerUpcaster;

impl EventUpcaster for LedgerUpcaster {
    fn can_upcast(&self, event_type: &str, event_version: &str) -> bool {
        UPCASTERS
            .iter()
            .any(|u| u.event_type == event_type && u.from_version == event_version)
    }

    fn upcast(&self, mut event: SerializedEvent) -> SerializedEvent {
        if let Some((version, payload)) = upcast(&event.event_type, &event.event_version, event.payload.clone()) {
            event.payload = payload;
            event.event_version = version.to_owned();
        }
        event
    }
}
