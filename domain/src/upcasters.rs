//! Upcasters: how an old event's shape becomes today's, at reading. What is stored is never rewritten.

use serde_json::Value;

/// One step from a version of an event to the next.
pub struct Upcaster {
    /// The event's name.
    pub event_type: &'static str,
    /// The version it starts from.
    pub from_version: &'static str,
    /// The version it leads to.
    pub to_version: &'static str,
    /// The payload's change.
    pub upcast: fn(Value) -> Value,
}

/// Every step there is, one line each. The first release has version 1 of everything, so there is none yet.
pub const UPCASTERS: &[Upcaster] = &[];
