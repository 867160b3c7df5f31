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

use serde_json::{Value, json};

use crate::event::LedgerEvent;

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
///
/// None: release 0.1.0 reads every version that is written here.
pub const STILL_WRITTEN: &[StillWritten] = &[];

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        event::{DecodeError, Written},
        id::{CategoryId, EntryId, ImportId},
        posting::PostingAccount,
        statement_import::{ListedEntry, StatementEntriesListed, StatementImportEvent},
    };

    fn entry(number: u128) -> EntryId {
        EntryId::from_uuid(uuid::Uuid::from_u128(number))
    }

    fn listed(entries: Vec<ListedEntry>) -> LedgerEvent {
        let import_id = ImportId::from_uuid(uuid::Uuid::from_u128(9));
        LedgerEvent::StatementImport(StatementEntriesListed { import_id, entries }.into())
    }

    fn read(version: &str, payload: &str) -> Result<LedgerEvent, DecodeError> {
        LedgerEvent::decode("statement-import", "StatementEntriesListed", version, payload)
    }

    /// As release 0.1.0 wrote it: which entries an import named the category of, version 1 cannot say.
    fn statement_entries_listed_1(event: &LedgerEvent) -> Option<String> {
        #[derive(serde::Serialize)]
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

    const OLDER: &[StillWritten] = &[StillWritten {
        event_type: "StatementEntriesListed",
        event_version: "1",
        downcast: statement_entries_listed_1,
    }];

    fn booked_and_categorised() -> LedgerEvent {
        let category = |number| PostingAccount::Category(CategoryId::from_uuid(uuid::Uuid::from_u128(number)));
        listed(vec![
            ListedEntry::Booked { entry_id: entry(1) },
            ListedEntry::Categorised {
                entry_id: entry(2),
                from: category(3),
                to: category(4),
            },
        ])
    }

    #[test]
    fn every_step_starts_from_a_version_of_a_known_event_and_ends_at_the_current_one() {
        let kinds = LedgerEvent::kinds();
        let mut names: Vec<_> = kinds.iter().map(|kind| kind.event_type).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), kinds.len(), "a step finds its event by name alone");
        for step in UPCASTERS {
            let number = |version: &str| version.parse::<u32>().expect("versions are numbers");
            assert_eq!(number(step.from_version) + 1, number(step.to_version));
            let kind = kinds.iter().find(|kind| kind.event_type == step.event_type);
            let current = kind.map(|kind| kind.event_version).expect("a known event");
            let (reached, _) = upcast(step.event_type, step.from_version, Value::Null).expect("a step");
            assert_eq!(reached, current, "{} {}", step.event_type, step.from_version);
        }
        for kind in &kinds {
            let steps = UPCASTERS
                .iter()
                .filter(|step| step.event_type == kind.event_type)
                .count();
            assert_eq!(kind.event_version, (steps + 1).to_string(), "{}", kind.event_type);
        }
    }

    #[test]
    fn a_list_of_ids_reads_as_entries_that_the_import_brought() {
        let version_1 = format!(
            r#"{{"type":"StatementEntriesListed","import_id":"imp_00000000-0000-0000-0000-000000000009","entries":["{}","{}"]}}"#,
            entry(1),
            entry(2)
        );
        let today = listed(vec![
            ListedEntry::Booked { entry_id: entry(1) },
            ListedEntry::Booked { entry_id: entry(2) },
        ]);
        assert_eq!(read("1", &version_1), Ok(today.clone()));
        assert_eq!(statement_entries_listed_1(&today), Some(version_1));
    }

    #[test]
    fn what_is_no_event_of_its_version_is_malformed_and_not_mended() {
        for payload in [
            "{}",
            "[]",
            "7",
            r#"{"import_id":"imp_00000000-0000-0000-0000-000000000009","entries":{"a":1}}"#,
            r#"{"import_id":"imp_00000000-0000-0000-0000-000000000009","entries":[7]}"#,
            r#"{"import_id":"imp_00000000-0000-0000-0000-000000000009","entries":[{"what":"booked"}]}"#,
        ] {
            let refused = read("1", payload);
            assert!(
                matches!(refused, Err(DecodeError::Malformed { .. })),
                "{payload}: {refused:?}"
            );
        }
        let version_2 = booked_and_categorised().encode();
        assert!(read("2", &version_2).is_ok());
        assert!(
            matches!(read("1", &version_2), Err(DecodeError::Malformed { .. })),
            "not read as what it is not"
        );
        for version in ["0", "3", "", "01", "1 ", "2.0"] {
            assert!(
                matches!(read(version, &version_2), Err(DecodeError::Unknown { .. })),
                "{version}"
            );
        }
    }

    #[test]
    fn while_the_older_version_is_written_memory_holds_no_more_than_the_log() {
        let event = booked_and_categorised();
        let Written {
            event_version, payload, ..
        } = event.written_with(OLDER);
        assert_eq!(event_version, "1");
        let kept = event.clone().as_written_with(OLDER);
        assert_eq!(read("1", &payload), Ok(kept.clone()));
        assert_eq!(kept, listed(vec![ListedEntry::Booked { entry_id: entry(1) }]));
        assert_eq!(event.written_with(&[]).event_version, "2");
        assert_eq!(event.clone().as_written_with(&[]), event);
    }
}
