//! Versions of events: how an old one's shape becomes today's at reading, and which events are still written in an older one.
//!
//! What is stored is never rewritten. A new version goes out in two releases, so that at every moment of an upgrade, and after
//! going back by one release, whoever reads an event knows its version:
//!
//! 1. The release that brings it reads both versions and still writes the old one: a line in [`UPCASTERS`], and one in
//!    [`STILL_WRITTEN`].
//! 2. The next one takes the line out of [`STILL_WRITTEN`] again. By then every reader knows the new version.
//!
//! A reader that meets a version it does not know refuses it: a command is not decided, a projection parks the family.

use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    event::LedgerEvent,
    id::{EntryId, ImportId},
    statement_import::StatementImportEvent,
};

/// One step from a version of an event to the next.
pub struct Upcaster {
    /// The event's name.
    pub event_type: &'static str,
    /// The version it starts from.
    pub from_version: &'static str,
    /// The version it leads to.
    pub to_version: &'static str,
    /// The payload's change. What is no event of that version comes out as it went in, and does not parse afterwards.
    pub upcast: fn(Value) -> Value,
}

/// Every step there is, one line each.
pub const UPCASTERS: &[Upcaster] = &[Upcaster {
    event_type: "StatementEntriesListed",
    from_version: "1",
    to_version: "2",
    upcast: statement_entries_listed_2,
}];

/// An event that is written in an older version than the newest that is read.
pub struct StillWritten {
    /// The event's name.
    pub event_type: &'static str,
    /// The version it is written in.
    pub event_version: &'static str,
    /// The payload in that version. What that version cannot say is left out.
    pub downcast: fn(&LedgerEvent) -> Option<String>,
}

/// Every event that is written in an older version, one line each.
pub const STILL_WRITTEN: &[StillWritten] = &[StillWritten {
    event_type: "StatementEntriesListed",
    event_version: "1",
    downcast: statement_entries_listed_1,
}];

/// Leads a payload to its newest version, step by step; none when no step starts from its version.
pub fn upcast(event_type: &str, event_version: &str, mut payload: Value) -> Option<(&'static str, Value)> {
    let mut reached = None;
    // Each step leads one version on; there cannot be more steps than upcasters.
    for _ in 0..UPCASTERS.len() {
        let version = reached.unwrap_or(event_version);
        let step = UPCASTERS
            .iter()
            .find(|step| step.event_type == event_type && step.from_version == version);
        let Some(step) = step else { break };
        payload = (step.upcast)(payload);
        reached = Some(step.to_version);
    }
    reached.map(|version| (version, payload))
}

/// Version 1 listed the ids of the entries an import brought.
fn statement_entries_listed_2(mut payload: Value) -> Value {
    if let Some(entries) = payload.get_mut("entries").and_then(Value::as_array_mut) {
        for entry in entries {
            *entry = json!({"what": "booked", "entry_id": entry.take()});
        }
    }
    payload
}

/// Which entries an import named the category of, version 1 cannot say.
fn statement_entries_listed_1(event: &LedgerEvent) -> Option<String> {
    #[derive(Serialize)]
    #[serde(tag = "type", rename = "StatementEntriesListed")]
    struct Version1 {
        import_id: ImportId,
        entries: Vec<EntryId>,
    }
    let LedgerEvent::StatementImport(StatementImportEvent::StatementEntriesListed(listed)) = event else {
        return None;
    };
    let version_1 = Version1 {
        import_id: listed.import_id,
        entries: listed.booked().collect(),
    };
    serde_json::to_string(&version_1).ok()
}
