//! Records folded into tables of one's own: the rows of the live views, and the live views untouched.

use event_store::replay::{AsOf, Pages};
use projectors::fold::{fold_records, scratch_tables};

use crate::{given::*, ledger::*, sameness::lived};

#[tokio::test]
async fn a_family_folded_into_temporary_tables_has_the_rows_of_the_live_views_and_leaves_those_alone() {
    let mut ledger = Ledger::new().await;
    lived(&mut ledger).await;
    ledger.project(5_000).await;
    let before = ledger.dump().await;
    let id = family(1).uuid().to_string();
    let of_family: Vec<String> = before.iter().filter(|row| row.contains(&id)).cloned().collect();
    assert!(of_family.len() > 200, "{}", of_family.len());
    assert!(of_family.len() < before.len());

    let mut tx = ledger.views.begin().await.expect("a transaction");
    for round in 1..=2 {
        scratch_tables(&mut tx).await.expect("temporary tables");
        let mut pages = Pages::new(&ledger.log, LANE, family(1), AsOf::default());
        while let Some(records) = pages.next().await.expect("a page") {
            // Cut anywhere, the rows are the same.
            for part in records.chunks(37 * round) {
                fold_records(part.to_vec(), &mut tx).await.expect("the records fold");
            }
        }
        assert_eq!(dump_in(&mut tx).await, of_family);
    }
    tx.rollback().await.expect("a rollback");
    assert_eq!(ledger.dump().await, before);
    ledger.database.drop().await;
}
