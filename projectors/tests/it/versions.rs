//! Events of several versions in one lane: old and new give the same rows, and one of tomorrow parks its family.

use domain::{
    aggregate::LedgerEvent,
    id::{FamilyId, ImportId},
    statement_import::{ListedEntry, StatementEntriesListed, StatementImportEvent},
    upcasters::StillWritten,
};
use projectors::parking::{RetryError, retry_parked};

use crate::{given::*, ledger::*, stories};

const AS_BEFORE: &[StillWritten] = &[StillWritten {
    event_type: "StatementEntriesListed",
    event_version: "1",
    downcast: |event| {
        let LedgerEvent::StatementImport(StatementImportEvent::StatementEntriesListed(listed)) = event else {
            return None;
        };
        let entries: Vec<_> = listed.booked().map(|entry| format!("\"{entry}\"")).collect();
        let (import_id, entries) = (listed.import_id, entries.join(","));
        Some(format!(
            r#"{{"type":"StatementEntriesListed","import_id":"{import_id}","entries":[{entries}]}}"#
        ))
    },
}];

const AS_TOMORROW: &[StillWritten] = &[StillWritten {
    event_type: "StatementEntriesListed",
    event_version: "3",
    downcast: |event| Some(event.encode()),
}];

const AS_TODAY: &[StillWritten] = &[];

fn listed(f: FamilyId, number: u128) -> Given {
    let import_id = ImportId::from_uuid(id(f, 0x8001));
    let entries = vec![ListedEntry::Booked {
        entry_id: entry(f, number),
    }];
    let listed = StatementEntriesListed { import_id, entries };
    (import_id.uuid(), LedgerEvent::StatementImport(listed.into()), day(6, 1))
}

async fn append_as(ledger: &mut Ledger, writer: &'static [StillWritten], f: FamilyId, events: Vec<Given>) {
    let log = ledger.log.clone();
    ledger.log = log.clone().still_writing(writer);
    ledger.append(f, events).await;
    ledger.log = log;
}

/// Rows without the instants, which two ledgers never share.
async fn rows_of(writer: impl Fn(u128) -> &'static [StillWritten]) -> (Vec<String>, Vec<String>) {
    let mut ledger = Ledger::new().await;
    let f = family(1);
    ledger.append(f, founding(f)).await;
    ledger.append(f, stories::import_story(f)).await;
    for number in 0..6 {
        append_as(&mut ledger, writer(number), f, vec![listed(f, number)]).await;
    }
    ledger.append(f, vec![income(f, 80, "10.00", day(1, 31))]).await;
    ledger.project(3).await;
    let records = ledger.records().await.into_iter();
    let versions = records.filter(|record| record.event_type == "StatementEntriesListed");
    let versions = versions.map(|record| record.event_version).collect();
    let dump = ledger.dump().await;
    assert!(dump.iter().any(|row| row.starts_with("imports ")), "{dump:?}");
    ledger.database.drop().await;
    (versions, dump.into_iter().map(timeless).collect())
}

/// The row with every field whose name ends in `_at` or is a hash of bytes taken out.
fn timeless(row: String) -> String {
    let (table, json) = row.split_once(' ').expect("a table and its row");
    let mut row: serde_json::Map<String, serde_json::Value> = serde_json::from_str(json).expect("a row");
    row.retain(|name, _| !name.ends_with("_at") && name != "chain_hash");
    format!("{table} {}", serde_json::Value::Object(row))
}

#[tokio::test]
async fn old_new_and_mixed_versions_give_the_same_rows() {
    let (old_versions, old) = rows_of(|_| AS_BEFORE).await;
    let (mixed_versions, mixed) = rows_of(|number| if number % 2 == 0 { AS_BEFORE } else { AS_TODAY }).await;
    let (new_versions, new) = rows_of(|_| AS_TODAY).await;
    assert_eq!(old_versions, ["1"; 6]);
    assert_eq!(mixed_versions, ["1", "2", "1", "2", "1", "2"]);
    assert_eq!(new_versions, ["2"; 6]);
    assert_eq!(old, new);
    assert_eq!(mixed, new);
    assert!(new.len() > 20, "{}", new.len());
}

#[tokio::test]
async fn a_version_of_tomorrow_parks_its_family_with_its_bytes_and_others_go_on() {
    let mut ledger = Ledger::new().await;
    let (ahead, well) = (family(1), family(2));
    for f in [ahead, well] {
        ledger.append(f, founding(f)).await;
        ledger.append(f, stories::import_story(f)).await;
    }
    append_as(&mut ledger, AS_TOMORROW, ahead, vec![listed(ahead, 1)]).await;
    append_as(&mut ledger, AS_BEFORE, well, vec![listed(well, 1)]).await;
    for f in [ahead, well] {
        ledger.append(f, vec![income(f, 80, "10.00", day(1, 31))]).await;
    }
    ledger.project(4).await;
    let records = ledger.records().await;
    let unread = records
        .iter()
        .find(|record| record.event_version == "3")
        .expect("it is in the log");
    let parked = ledger
        .value("select family_id || ' ' || family_seq || ' ' || event_version || ' ' || payload from views.parked_families")
        .await;
    assert_eq!(
        parked,
        format!("{} {} 3 {}", ahead.uuid(), unread.family_seq, unread.payload)
    );
    let entries = |f: FamilyId| format!("select count(*) from views.entries where family_id = '{}'", f.uuid());
    assert_eq!(ledger.value("select count(*) from views.parked_families").await, "1");
    let (of_ahead, of_well) = (ledger.value(&entries(ahead)).await, ledger.value(&entries(well)).await);
    assert_ne!(
        of_ahead, of_well,
        "what came behind it waits; the other family has its income"
    );

    // Asking again changes nothing until a release reads it.
    let again = retry_parked(&ledger.applier, ahead).await;
    assert!(
        matches!(&again, Err(RetryError::Still { family_seq, error, .. }) if *family_seq == unread.family_seq && error.contains("unknown event")),
        "{again:?}"
    );
    assert_eq!(ledger.value(&entries(ahead)).await, of_ahead);
    ledger.database.drop().await;
}
