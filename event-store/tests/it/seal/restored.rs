//! Databases that were brought back: to an earlier moment, which is a fork, and to the same one, which is none.

use std::sync::atomic::Ordering;

use event_store::seal::witness::Witness;

use super::{
    sealed::{Running, Sealed, family, verdict_with, wait},
    witnesses::Place,
};
use crate::export::{LANE, append, random_ledger::random_ledger};

const SEALS: [&str; 5] = [
    "checkpoint_exports",
    "checkpoint_signatures",
    "checkpoints",
    "head_buckets",
    "tree_nodes",
];

/// Appends a family, and says where the lane ends then.
async fn grow(sealed: &Sealed, number: u64, entries: usize) -> i64 {
    let facts = random_ledger(family(number), number, entries);
    append(&sealed.log, family(number), &facts, 0).await;
    sealed.whole.lane_head(LANE).await.unwrap()
}

#[tokio::test]
async fn what_a_restored_database_has_left_to_export_does_not_replace_what_tells_of_the_restore() {
    let mut sealed = Sealed::with_families(20).await;
    // The backup has a checkpoint that was not exported yet.
    let witnesses = std::mem::take(&mut sealed.settings.witnesses);
    grow(&sealed, 4, 5).await;
    sealed.seal().await;
    sealed.back_up().await;
    sealed.settings.witnesses = witnesses;
    grow(&sealed, 5, 20).await;
    assert_eq!(sealed.seal().await.check(), Ok(()));
    let told = sealed.latest_kept();
    sealed.restore(&[]).await;
    // As often as the process starts, with a log that is shorter at first and longer in the end.
    for number in 6..10 {
        let said = sealed.seal().await.check().unwrap_err();
        assert!(said.contains("fork detected in lane 3"), "{said}");
        assert_eq!(sealed.latest_kept(), told);
        grow(&sealed, number, 10).await;
    }
    sealed.end().await;
}

#[tokio::test]
async fn a_place_that_was_away_while_a_restored_lane_was_sealed_tells_when_it_is_back() {
    let mut sealed = Sealed::with_families(5).await;
    let place = Place::default();
    let address = format!("{}/kept", place.serve().await);
    sealed.settings.witnesses = vec![Witness::parse(&address, Some("open sesame")).unwrap()];
    sealed.back_up().await;
    grow(&sealed, 4, 20).await;
    sealed.seal().await;
    let told = place.files.lock().unwrap()["/kept/lane-3/checkpoint"].clone();
    sealed.restore(&[]).await;
    place.is_away.store(true, Ordering::SeqCst);
    let head = grow(&sealed, 5, 40).await;
    let running = Running::start(&sealed);
    wait(|| running.is_well(head), "the outage does not delay the sealing").await;
    place.is_away.store(false, Ordering::SeqCst);
    wait(|| running.status.check().is_err(), "the fork is detected").await;
    let said = running.status.check().unwrap_err();
    assert!(
        said.contains("fork detected in lane 3") && said.contains("holds another root"),
        "{said}"
    );
    running.stop().await;
    assert_eq!(place.files.lock().unwrap()["/kept/lane-3/checkpoint"], told);
    sealed.end().await;
}

#[tokio::test]
async fn a_restore_that_lost_nothing_is_no_fork_however_the_log_is_cut_into_checkpoints() {
    let sealed = Sealed::with_families(10).await;
    sealed.back_up().await;
    // Two checkpoints that the backup does not have; the events are in it.
    for number in [4, 5] {
        grow(&sealed, number, 8).await;
        sealed.seal().await;
    }
    sealed.restore(&SEALS).await;
    assert_eq!(sealed.seal().await.check(), Ok(()));
    grow(&sealed, 6, 8).await;
    assert_eq!(sealed.seal().await.check(), Ok(()));
    // The last family's events come after all of this: its leaves count only if none is missing before them.
    let report = verdict_with(
        sealed.pack(family(6)).await,
        &sealed.key().await,
        family(6),
        Some(&sealed.kept_folder()),
    );
    assert!(report.is_whole(), "{:?}", report.faults);
    assert!(report.events > 0);
    assert_eq!(report.kept_events, report.events, "no leaf is missing outside");
    sealed.end().await;
}

#[tokio::test]
async fn a_note_that_a_new_key_has_signed_too_is_no_other_note() {
    let mut sealed = Sealed::with_families(5).await;
    grow(&sealed, 4, 5).await;
    sealed.back_up().await;
    sealed.seal().await;
    // It was exported, and a crash forgot that: both the mark and the latest file.
    sealed.tamper("delete from log.checkpoint_exports").await;
    std::fs::remove_file(sealed.kept_folder().join("lane-3/checkpoint")).unwrap();
    let witnesses = std::mem::take(&mut sealed.settings.witnesses);
    let log = event_store::seal::log_name(&sealed.sealer).await.unwrap();
    event_store::seal::rotate(&sealed.sealer, &sealed.settings.key_file, &log, false)
        .await
        .unwrap();
    sealed.seal().await;
    sealed.settings.witnesses = witnesses;
    assert_eq!(sealed.seal().await.check(), Ok(()));
    sealed.end().await;
}

#[tokio::test]
async fn a_halted_lane_goes_on_by_itself_once_the_log_is_again_what_was_sealed() {
    let sealed = Sealed::with_families(10).await;
    let running = Running::start(&sealed);
    let head = grow(&sealed, 4, 5).await;
    wait(|| running.is_well(head), "everything is sealed").await;
    sealed.back_up().await;
    sealed
        .tamper("delete from log.events where lane = 3 and position > (select max(size) from log.checkpoints where lane = 3) - 3")
        .await;
    wait(|| running.status.check().is_err(), "the fork is detected").await;
    let said = running.status.check().unwrap_err();
    assert!(said.contains("fork detected in lane 3"), "{said}");
    sealed.restore(&[]).await;
    wait(|| running.is_well(head), "the log fits again").await;
    let head = grow(&sealed, 5, 5).await;
    wait(|| running.is_well(head), "and is sealed further").await;
    running.stop().await;
    sealed.end().await;
}
