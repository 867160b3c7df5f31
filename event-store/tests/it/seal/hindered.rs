//! What keeps the sealer from sealing is said, waited out, and keeps no other lane waiting.

use std::{fs, path::Path};

use event_store::{Lane, seal::SealingKey};

use super::sealed::{Running, Sealed, family, wait};
use crate::export::{LANE, append, append_in, random_ledger::random_ledger};

fn another_logs_key(path: &Path) {
    fs::remove_file(path).unwrap();
    SealingKey::read_or_create(path, "kinledger/another").unwrap();
}

fn no_key(path: &Path) {
    fs::write(path, "PRIVATE+KEY+").unwrap();
}

/// Reading fails for a while, as with too many open files or a mount that hangs.
fn unreadable(path: &Path) {
    fs::remove_file(path).unwrap();
    fs::create_dir(path).unwrap();
}

#[tokio::test]
async fn a_key_of_no_use_is_said_and_waited_for_and_the_lag_goes_on_growing() {
    for (spoil, wanted) in [
        (
            another_logs_key as fn(&Path),
            "the sealing key is that of kinledger/another",
        ),
        (no_key, "holds no sealing key"),
        (unreadable, "cannot keep the sealing key"),
    ] {
        let sealed = Sealed::with_families(5).await;
        let file = sealed.settings.key_file.clone();
        let key = fs::read(&file).unwrap();
        spoil(&file);
        let running = Running::start(&sealed);
        wait(|| running.status.check().is_err(), "it is said").await;
        let said = running.status.check().unwrap_err();
        assert!(
            said.starts_with("nothing is sealed: ") && said.contains(wanted),
            "{said}"
        );
        append(&sealed.log, family(9), &random_ledger(family(9), 9, 5), 0).await;
        let head = sealed.whole.lane_head(LANE).await.unwrap();
        let lag = || {
            running
                .status
                .lanes()
                .get(&LANE)
                .map(|lane| (lane.head, lane.head > lane.sealed))
        };
        wait(|| lag() == Some((head.unsigned_abs(), true)), "the lag is measured").await;
        if file.is_dir() {
            fs::remove_dir(&file).unwrap();
        }
        fs::write(&file, &key).unwrap();
        wait(|| running.is_well(head), "the right key is taken up").await;
        running.stop().await;
        sealed.end().await;
    }
}

#[tokio::test]
async fn a_damaged_lane_is_named_and_keeps_no_other_lane_waiting() {
    let beyond = "insert into log.tree_nodes select 3, 0, max(size), decode(repeat('00', 32), 'hex') from log.checkpoints where lane = 3";
    for (damage, wanted) in [
        (
            "update log.tree_nodes set hashes = set_byte(hashes, 0, get_byte(hashes, 0) # 1) where lane = 3",
            "fork detected in lane 3",
        ),
        ("delete from log.tree_nodes where lane = 3", "fork detected in lane 3"),
        (
            "update log.head_buckets set summary = set_byte(summary, 7, get_byte(summary, 7) # 1) where lane = 3",
            "fork detected in lane 3",
        ),
        (beyond, "lane 3 is not sealed"),
    ] {
        let sealed = Sealed::with_families(5).await;
        sealed.tamper(damage).await;
        append(&sealed.log, family(8), &random_ledger(family(8), 8, 5), 0).await;
        append_in(&sealed.log, Lane(5), family(9), &random_ledger(family(9), 9, 5), 0).await;
        let head = sealed.whole.lane_head(Lane(5)).await.unwrap().unsigned_abs();
        let status = sealed.seal().await;
        let said = status.check().unwrap_err();
        assert!(said.contains(wanted), "{damage}: {said}");
        assert_eq!(status.lanes()[&Lane(5)].sealed, head, "{damage}");
        sealed.end().await;
    }
}
