//! Sealing itself: roots, keys, forks, and who may write.

use event_store::seal::{KeyError, SealStatus, SealingKey, known_keys, log_name, rotate, seal_now, signing_key};
use service_kit::database::DatabaseRole;
use sqlx::{Executor, Row};
use verifier::{Checkpoint, Fault, Frontier, VerifierKey, What, open_note, tree_leaf};

use super::sealed::{Sealed, family, named, verdict, verdict_with};
use crate::export::{LANE, append, random_ledger::random_ledger};

/// Every checkpoint of the lane, opened by the independent reader.
async fn checkpoints(sealed: &Sealed, keys: &[VerifierKey]) -> Vec<Checkpoint> {
    let rows = sqlx::query("select note from log.checkpoints where lane = $1 order by size")
        .bind(LANE.0)
        .fetch_all(sealed.whole.pool())
        .await
        .unwrap();
    let open = |note: &str| Checkpoint::parse(open_note(note.as_bytes(), keys).unwrap()).unwrap();
    rows.iter().map(|row| open(row.get("note"))).collect()
}

#[tokio::test]
async fn every_checkpoint_is_signed_over_the_root_that_the_events_give() {
    let sealed = Sealed::with_families(60).await;
    let key = sealed.key().await;
    let checkpoints = checkpoints(&sealed, &[key]).await;
    assert!(checkpoints.len() >= 4, "{}", checkpoints.len());
    let records = sealed.whole.read_lane(LANE, 0, i64::MAX).await.unwrap();
    let mut tree = Frontier::default();
    let mut next = checkpoints.iter();
    let mut wanted = next.next();
    for record in &records {
        let family_id = *record.family_id.uuid().as_bytes();
        let (position, family_seq) = (record.position.unsigned_abs(), record.family_seq.unsigned_abs());
        tree.push(tree_leaf(
            LANE.0.unsigned_abs(),
            position,
            &family_id,
            family_seq,
            &record.chain_hash,
        ));
        if wanted.is_some_and(|wanted| wanted.size == tree.size()) {
            assert_eq!(wanted.unwrap().root, tree.root(), "at {}", tree.size());
            wanted = next.next();
        }
    }
    assert_eq!((wanted, checkpoints.last().unwrap().size), (None, records.len() as u64));
    sealed.end().await;
}

#[tokio::test]
async fn the_key_is_kept_for_its_owner_and_never_in_the_database() {
    use std::os::unix::fs::PermissionsExt;

    let sealed = Sealed::with_families(5).await;
    let file = &sealed.settings.key_file;
    assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(file).unwrap();
    let secret = text.trim().rsplit('+').next().unwrap().to_owned();
    let log = log_name(sealed.whole.pool()).await.unwrap();
    let key = SealingKey::read_or_create(file, &log).unwrap();
    assert!(!format!("{key:?}").contains(&secret));
    let owner = sealed.database.superuser().await;
    let tables: Vec<String> = sqlx::query_scalar(
        "select format('%I.%I', schemaname, tablename) from pg_tables where schemaname in ('log', 'identity', 'views')",
    )
    .fetch_all(&owner)
    .await
    .unwrap();
    assert!(tables.len() > 10);
    for table in tables {
        let found: i64 = sqlx::query_scalar(&format!("select count(*) from {table} t where t::text like $1"))
            .bind(format!("%{secret}%"))
            .fetch_one(&owner)
            .await
            .unwrap();
        assert_eq!(found, 0, "{table}");
    }
    owner.close().await;
    sealed.end().await;
}

#[tokio::test]
async fn who_holds_only_the_old_key_follows_to_the_new_one() {
    let sealed = Sealed::with_families(20).await;
    let old = sealed.key().await;
    let log = log_name(&sealed.sealer).await.unwrap();
    rotate(&sealed.sealer, &sealed.settings.key_file, &log, false)
        .await
        .unwrap();
    let facts = random_ledger(family(9), 9, 20);
    append(&sealed.log, family(9), &facts, 0).await;
    sealed.seal().await;
    let new = sealed.key().await;
    assert_ne!(old, new);
    for key in [&old, &new] {
        let report = verdict(sealed.pack(family(1)).await, key, family(1));
        assert!(report.is_whole(), "{:?}", report.faults);
    }
    // A key that was put there without the old one's word is not followed.
    rotate(&sealed.sealer, &sealed.settings.key_file, &log, true)
        .await
        .unwrap();
    append(&sealed.log, family(8), &random_ledger(family(8), 8, 5), 0).await;
    sealed.seal().await;
    let report = verdict(sealed.pack(family(1)).await, &old, family(1));
    assert!(!report.is_whole());
    assert_eq!(known_keys(sealed.whole.pool()).await.unwrap().len(), 3);
    assert!(verdict(sealed.pack(family(1)).await, &sealed.key().await, family(1)).is_whole());
    sealed.end().await;
}

#[tokio::test]
async fn a_pack_that_is_older_than_what_was_kept_is_not_called_altered_and_not_passed_off_as_the_newest() {
    let sealed = Sealed::with_families(20).await;
    let key = sealed.key().await;
    let (older, packed) = sealed.packed(family(1), &[]).await;
    let kept = sealed.kept_folder();
    let report = verdict_with(older.clone(), &key, family(1), Some(&kept));
    assert!(report.is_whole() && report.is_all_compared(), "{report:?}");
    // Somebody else's events in the same lane are enough.
    append(&sealed.log, family(9), &random_ledger(family(9), 9, 20), 0).await;
    sealed.seal().await;
    let report = verdict_with(older, &key, family(1), Some(&kept));
    assert!(report.is_whole() && !report.is_all_compared(), "{report:?}");
    let [open] = &report.not_compared[..] else {
        panic!("{:?}", report.not_compared)
    };
    let What::EndsBefore { size, kept: newest } = open.what else {
        panic!("{open}")
    };
    assert!(size == packed.checkpoint && newest > size, "{open}");
    assert_eq!(
        report.kept_events, report.events,
        "what it has was compared all the same"
    );
    // Asked for again, it has all.
    let report = verdict_with(sealed.pack(family(1)).await, &key, family(1), Some(&kept));
    assert!(report.is_whole() && report.is_all_compared(), "{report:?}");
    sealed.end().await;
}

#[tokio::test]
async fn notes_of_an_earlier_key_show_nothing_and_blame_nobody() {
    let sealed = Sealed::with_families(20).await;
    let log = log_name(&sealed.sealer).await.unwrap();
    let kept = sealed.kept_folder();
    let old_note = sealed.folder.path().join("of-the-old-key.note");
    std::fs::copy(kept.join(format!("lane-{LANE}/checkpoint")), &old_note).unwrap();
    rotate(&sealed.sealer, &sealed.settings.key_file, &log, false)
        .await
        .unwrap();
    append(&sealed.log, family(9), &random_ledger(family(9), 9, 20), 0).await;
    sealed.seal().await;
    let new = sealed.key().await;
    let pack = sealed.pack(family(1)).await;
    let report = verdict_with(pack.clone(), &new, family(1), Some(&kept));
    assert!(report.is_whole() && report.is_all_compared(), "{report:?}");
    assert!(report.unsigned > 0 && report.kept_checkpoints > 0, "{report:?}");
    assert_eq!(report.kept_events, report.events);
    // With nothing else kept, nothing was compared, and that is said.
    let report = verdict_with(pack.clone(), &new, family(1), Some(&old_note));
    assert!(report.is_whole() && !report.is_all_compared(), "{report:?}");
    assert_eq!((report.unsigned, report.kept_checkpoints), (1, 0));
    // A note that claims a trusted key's signature and does not have it is a fault.
    let mut bytes = std::fs::read(kept.join(format!("lane-{LANE}/checkpoint"))).unwrap();
    let at = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    bytes[at] = if bytes[at] == b'1' { b'2' } else { b'1' };
    std::fs::write(&old_note, bytes).unwrap();
    let report = verdict_with(pack, &new, family(1), Some(&old_note));
    assert!(
        matches!(
            report.faults[..],
            [Fault {
                what: What::Note(_),
                ..
            }]
        ),
        "{report:?}"
    );
    sealed.end().await;
}

#[tokio::test]
async fn a_new_key_signs_the_last_checkpoint_of_lanes_that_stay_quiet() {
    let sealed = Sealed::with_families(20).await;
    let old = sealed.key().await;
    let log = log_name(&sealed.sealer).await.unwrap();
    let before = count(&sealed).await;
    for _ in 0..2 {
        rotate(&sealed.sealer, &sealed.settings.key_file, &log, false)
            .await
            .unwrap();
        sealed.seal().await;
        sealed.seal().await;
    }
    assert_eq!(count(&sealed).await, before, "nothing new was to be sealed");
    let new = sealed.key().await;
    assert_ne!(old, new);
    for key in [&old, &new] {
        let report = verdict(sealed.pack(family(1)).await, key, family(1));
        assert!(report.is_whole(), "{:?}", report.faults);
    }
    let signed: Vec<(i16, i64)> =
        sqlx::query_as("select lane, count(*) from log.checkpoint_signatures group by lane, size")
            .fetch_all(sealed.whole.pool())
            .await
            .unwrap();
    assert_eq!(
        signed,
        [(LANE.0, 2)],
        "both new keys, the last checkpoint of the one lane"
    );
    sealed.end().await;
}

#[tokio::test]
async fn a_rotation_that_breaks_off_is_known_to_nobody_and_the_key_that_signs_is_shown() {
    let sealed = Sealed::with_families(5).await;
    let log = log_name(&sealed.sealer).await.unwrap();
    let file = &sealed.settings.key_file;
    // The key can be read there; no draft can be written beside it, for its name would be too long.
    let long = file.with_file_name("k".repeat(240));
    std::fs::copy(file, &long).unwrap();
    for is_lost in [false, true] {
        let error = rotate(&sealed.sealer, &long, &log, is_lost).await.unwrap_err();
        assert!(matches!(error, KeyError::File { .. }), "{error:?}");
        assert_eq!(
            known_keys(sealed.whole.pool()).await.unwrap().len(),
            1,
            "lost: {is_lost}"
        );
    }
    // One that got as far as the database: nobody has the private half.
    let first = SealingKey::read_or_create(file, &log).unwrap().verifier_key();
    let dead = SealingKey::from_seed(&log, [7; 32]).unwrap().verifier_key();
    sealed
        .tamper(&format!(
            "insert into log.sealing_keys (number, verifier_key) values (2, '{dead}')"
        ))
        .await;
    let shown = async |file| signing_key(sealed.whole.pool(), file).await.unwrap().unwrap();
    assert_eq!(
        (shown(None).await, shown(Some(file.as_path())).await),
        (first.clone(), first.clone())
    );
    // A whole one is shown by its file at once, and by what it has signed once it has.
    rotate(&sealed.sealer, file, &log, false).await.unwrap();
    let new = SealingKey::read_or_create(file, &log).unwrap().verifier_key();
    assert_eq!(
        (shown(None).await, shown(Some(file.as_path())).await),
        (first, new.clone())
    );
    sealed.seal().await;
    assert_eq!(shown(None).await, new);
    sealed.end().await;
}

#[tokio::test]
async fn a_key_that_is_none_of_the_logs_does_not_sign() {
    let sealed = Sealed::with_families(5).await;
    std::fs::remove_file(&sealed.settings.key_file).unwrap();
    let error = seal_now(&sealed.sealer, &sealed.settings, &SealStatus::default())
        .await
        .unwrap_err();
    assert!(format!("{error:?}").contains("Unknown"), "{error:?}");
    sealed.end().await;
}

#[tokio::test]
async fn a_lane_that_lost_or_changed_its_last_sealed_event_halts() {
    for tampering in [
        "delete from log.events where lane = 3 and position > 40",
        "update log.events set chain_hash = leaf_hash where lane = 3 and position = (select max(size) from log.checkpoints where lane = 3)",
    ] {
        let sealed = Sealed::with_families(20).await;
        let before: i64 = count(&sealed).await;
        sealed.tamper(tampering).await;
        append(&sealed.log, family(9), &random_ledger(family(9), 9, 5), 0).await;
        let status = sealed.seal().await;
        let said = status.check().unwrap_err();
        assert!(said.contains("fork detected in lane 3"), "{said}");
        assert_eq!(count(&sealed).await, before, "nothing further was signed");
        sealed.end().await;
    }
}

#[tokio::test]
async fn a_database_brought_back_to_an_earlier_moment_is_told_by_what_was_exported() {
    let sealed = Sealed::with_families(20).await;
    // The log, the trees and what is remembered of exports: all of them as they were before the last checkpoint.
    let back = "delete from log.checkpoint_exports; \
        delete from log.events e using (select max(size) as size from log.checkpoints where lane = 3) c where e.lane = 3 and e.position > c.size - 10; \
        delete from log.tree_nodes where lane = 3; delete from log.checkpoints where lane = 3; delete from log.head_buckets where lane = 3";
    sealed.tamper(back).await;
    let status = sealed.seal().await;
    assert!(
        status.check().unwrap_err().contains("holds a checkpoint for"),
        "{status:?}"
    );
    assert_eq!(count(&sealed).await, 0);
    // Grown past it with other events, the lane halts all the same: the root at that size is another.
    append(&sealed.log, family(9), &random_ledger(family(9), 9, 30), 0).await;
    let status = sealed.seal().await;
    assert!(status.check().unwrap_err().contains("holds another root"), "{status:?}");
    sealed.end().await;
}

async fn count(sealed: &Sealed) -> i64 {
    sqlx::query_scalar("select count(*) from log.checkpoints")
        .fetch_one(sealed.whole.pool())
        .await
        .unwrap()
}

#[tokio::test]
async fn the_sealer_may_add_and_not_change() {
    let sealed = Sealed::with_families(5).await;
    for table in ["checkpoints", "tree_nodes", "sealing_keys", "installation", "events"] {
        for change in ["delete from log.{}", "truncate log.{}"] {
            let statement = change.replace("{}", table);
            let error = sealed.sealer.execute(sqlx::raw_sql(&statement)).await.unwrap_err();
            assert_eq!(
                error.as_database_error().unwrap().code().as_deref(),
                Some("42501"),
                "{statement}"
            );
        }
    }
    let owner = sealed.database.superuser().await;
    for table in ["checkpoints", "tree_nodes", "sealing_keys", "installation"] {
        let error = owner
            .execute(sqlx::raw_sql(&format!("delete from log.{table}")))
            .await
            .unwrap_err();
        assert!(error.to_string().contains("is append-only"), "{table}: {error}");
    }
    owner.close().await;
    sealed.end().await;
}

#[tokio::test]
async fn two_sealers_never_sign_one_size_twice() {
    let sealed = Sealed::new().await;
    let facts = random_ledger(family(1), 1, 300);
    let (one, two) = (SealStatus::default(), SealStatus::default());
    let other = sealed.database.pool(DatabaseRole::Sealer).await;
    for part in 1..=10 {
        append(
            &sealed.log,
            family(1),
            &facts[..facts.len() * part / 10],
            facts.len() * (part - 1) / 10,
        )
        .await;
        let (a, b) = tokio::join!(
            seal_now(&sealed.sealer, &sealed.settings, &one),
            seal_now(&other, &sealed.settings, &two)
        );
        a.unwrap();
        b.unwrap();
    }
    sealed.seal().await;
    let twice: i64 = sqlx::query_scalar("select count(*) - count(distinct size) from log.checkpoints where lane = 3")
        .fetch_one(sealed.whole.pool())
        .await
        .unwrap();
    assert_eq!(twice, 0);
    assert_eq!((one.check(), two.check()), (Ok(()), Ok(())));
    let report = verdict(sealed.pack(family(1)).await, &sealed.key().await, family(1));
    assert_eq!(
        (report.is_whole(), named(&report), report.events),
        (true, None, facts.len() as u64),
        "{:?}",
        report.faults
    );
    other.close().await;
    sealed.end().await;
}
