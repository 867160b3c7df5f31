//! Somebody who owns the database alters it and exports the pack again. The verifier names the first bad event, by the field.

use domain::id::FamilyId;
use event_store::seal::{SealSettings, SealStatus, seal_now};
use sqlx::Executor;
use verifier::{Report, VerifierKey, What};

use super::sealed::{Sealed, family, named, verdict, verdict_with};
use crate::export::LANE;

/// The event that is altered.
const K: u64 = 17;

/// Makes leaf and chain hashes of a family right again from an event on, as its owner can.
fn rehash(family: FamilyId, from: u64) -> String {
    let id = family.uuid();
    format!(
        "do $$ declare e record; p bytea; l bytea; begin \
         for e in select * from log.events where lane = 3 and family_id = '{id}' and family_seq >= {from} order by family_seq loop \
             select chain_hash into p from log.events where lane = 3 and family_id = '{id}' and family_seq = e.family_seq - 1; \
             p := coalesce(p, decode(repeat('00', 32), 'hex')); \
             l := log.leaf_hash(e.family_id, e.aggregate_type, e.aggregate_id, e.sequence, e.event_type, e.event_version, \
                 e.command_id, e.effective_on, e.payload::text, e.metadata::text); \
             update log.events set leaf_hash = l, chain_hash = log.chain_hash(p, e.family_seq, e.recorded_at, l) \
                 where lane = 3 and position = e.position; \
         end loop; end $$;"
    )
}

struct Altering {
    sealed: Sealed,
    key: VerifierKey,
}

impl Altering {
    async fn new() -> Self {
        let sealed = Sealed::with_families(30).await;
        sealed
            .tamper("create table public.backup as select * from log.events")
            .await;
        let key = sealed.key().await;
        let altering = Self { sealed, key };
        for number in 1..=3 {
            let report = altering.verdict(family(number)).await;
            assert!(
                report.is_whole() && report.events > K + 5,
                "untouched: {:?}",
                report.faults
            );
            assert_eq!(report.journals, 2);
        }
        altering
    }

    async fn verdict(&self, family: FamilyId) -> Report {
        verdict(self.sealed.pack(family).await, &self.key, family)
    }

    /// The verdict after `statements`, which are undone again. None when the database itself refuses them.
    async fn after(&self, statements: &str, family: FamilyId) -> Option<Report> {
        let owner = self.sealed.database.superuser().await;
        let mut connection = owner.acquire().await.unwrap();
        connection
            .execute("set session_replication_role = replica")
            .await
            .unwrap();
        let report = match connection.execute(sqlx::raw_sql(statements)).await {
            Ok(_) => Some(self.verdict(family).await),
            Err(error) => {
                assert!(error.as_database_error().is_some(), "{error}");
                None
            }
        };
        let undo = "delete from log.events; insert into log.events select * from public.backup";
        connection.execute(sqlx::raw_sql(undo)).await.unwrap();
        drop(connection);
        owner.close().await;
        report
    }

    async fn named_after(&self, statements: &str, family: FamilyId) -> Option<u64> {
        let report = self.after(statements, family).await;
        let report = report.unwrap_or_else(|| panic!("refused: {statements}"));
        assert!(!report.is_whole(), "not detected: {statements}");
        assert!(report.first_bad().unwrap().is_exact(), "{:?}", report.faults);
        named(&report)
    }

    async fn end(self) {
        self.sealed.end().await;
    }
}

/// One-bit edits of a column, as values that the column takes.
fn edits(column: &str, length: usize) -> Vec<String> {
    let bits = |width: usize| (0..width).map(|n| n * 7 % width).collect::<Vec<_>>();
    let text = |cast: &str| {
        let bytes = format!("convert_to({column}::text, 'UTF8')");
        (0..length)
            .step_by((length / 24).max(1))
            .flat_map(|at| [0, 1, 4].map(|bit| (at, 1 << bit)))
            .map(|(at, mask)| {
                format!("convert_from(set_byte({bytes}, {at}, get_byte({bytes}, {at}) # {mask}), 'UTF8'){cast}")
            })
            .collect()
    };
    match column {
        "aggregate_type" | "aggregate_id" | "event_type" | "event_version" => text(""),
        "payload" | "metadata" => text("::json"),
        "family_id" | "command_id" => text("::uuid"),
        "lane" => vec!["(lane # 4)::smallint".to_owned(), "(lane # 1)::smallint".to_owned()],
        "sequence" | "position" | "family_seq" => (0..40)
            .step_by(3)
            .map(|bit| format!("{column} # (1::bigint << {bit})"))
            .collect(),
        "effective_on" => (0..12).map(|bit| format!("effective_on + (1 << {bit})")).collect(),
        "recorded_at" => (0..30)
            .map(|bit| format!("recorded_at + (1::bigint << {bit}) * interval '1 microsecond'"))
            .collect(),
        "leaf_hash" | "chain_hash" => bits(256)
            .into_iter()
            .step_by(11)
            .map(|bit| format!("set_bit({column}, {bit}, 1 - get_bit({column}, {bit}))"))
            .collect(),
        other => panic!("the column {other} is new: how is it bound, and how would one alter it?"),
    }
}

#[tokio::test]
async fn a_changed_bit_in_any_column_is_found_and_its_event_named() {
    let altering = Altering::new().await;
    let owner = altering.sealed.database.superuser().await;
    let columns: Vec<String> = sqlx::query_scalar(
        "select column_name::text from information_schema.columns where table_schema = 'log' and table_name = 'events'",
    )
    .fetch_all(&owner)
    .await
    .unwrap();
    assert_eq!(columns.len(), 16);
    let id = family(1).uuid();
    let mut tried = Vec::new();
    for column in &columns {
        let length: i32 = sqlx::query_scalar(&format!(
            "select octet_length({column}::text) from log.events where lane = 3 and family_id = '{id}' and family_seq = {K}"
        ))
        .fetch_one(&owner)
        .await
        .unwrap();
        let mut found = 0;
        for edit in edits(column, usize::try_from(length).unwrap()) {
            let statement = format!(
                "update log.events set {column} = {edit} where lane = 3 and family_id = '{id}' and family_seq = {K}"
            );
            let Some(report) = altering.after(&statement, family(1)).await else {
                continue;
            };
            assert_eq!(named(&report), Some(K), "{statement}: {:?}", report.faults);
            assert!(report.first_bad().unwrap().is_exact());
            found += 1;
        }
        assert!(found >= 1, "nothing could be changed in {column}");
        tried.push((column.as_str(), found));
    }
    let edits: usize = tried.iter().map(|(_, found)| found).sum();
    println!("{edits} one-bit edits over 16 columns, all found and named: {tried:?}");
    assert!(edits >= 150, "{edits}");
    owner.close().await;
    altering.end().await;
}

#[tokio::test]
async fn events_that_were_swapped_deleted_inserted_or_cut_off_are_named() {
    let altering = Altering::new().await;
    let id = family(1).uuid();
    let of = |condition: &str| format!("lane = 3 and family_id = '{id}' and {condition}");
    let last = altering.verdict(family(1)).await.events;
    let swap = format!(
        "update log.events set family_seq = 1000000 where {a}; update log.events set family_seq = {K} where {b}; \
         update log.events set family_seq = {K} + 1 where {c};",
        a = of(&format!("family_seq = {K}")),
        b = of(&format!("family_seq = {K} + 1")),
        c = of("family_seq = 1000000")
    );
    assert_eq!(altering.named_after(&swap, family(1)).await, Some(K));
    assert_eq!(
        altering
            .named_after(&format!("{swap}{}", rehash(family(1), K)), family(1))
            .await,
        Some(K),
        "swapped, rehashed"
    );

    let delete = format!("delete from log.events where {};", of(&format!("family_seq = {K}")));
    let close_up = format!(
        "update log.events set family_seq = family_seq + 1000000 where {}; \
         update log.events set family_seq = family_seq - 1000001 where {};",
        of(&format!("family_seq > {K}")),
        of("family_seq > 1000000")
    );
    assert_eq!(altering.named_after(&delete, family(1)).await, Some(K));
    assert_eq!(
        altering.named_after(&format!("{delete}{close_up}"), family(1)).await,
        Some(K),
        "closed up"
    );
    let rehashed = format!("{delete}{close_up}{}", rehash(family(1), K));
    assert_eq!(
        altering.named_after(&rehashed, family(1)).await,
        Some(K),
        "closed up, rehashed"
    );

    let insert = format!(
        "update log.events set family_seq = family_seq + 1000000 where {}; \
         update log.events set family_seq = family_seq - 999999 where {}; \
         insert into log.events (lane, position, family_id, family_seq, aggregate_type, aggregate_id, sequence, event_type, event_version, \
             payload, metadata, command_id, effective_on, recorded_at, leaf_hash, chain_hash) \
         select lane, 1000000, family_id, {K}, aggregate_type, aggregate_id, 1000000, event_type, event_version, payload, metadata, \
             command_id, effective_on, recorded_at, leaf_hash, chain_hash from log.events where {};",
        of(&format!("family_seq >= {K}")),
        of("family_seq > 1000000"),
        of(&format!("family_seq = {K} + 1"))
    );
    assert_eq!(altering.named_after(&insert, family(1)).await, Some(K));
    assert_eq!(
        altering
            .named_after(&format!("{insert}{}", rehash(family(1), K)), family(1))
            .await,
        Some(K),
        "inserted, rehashed"
    );

    for kept in [0, 1, K, last - 1] {
        let cut = format!("delete from log.events where {};", of(&format!("family_seq > {kept}")));
        assert_eq!(
            altering.named_after(&cut, family(1)).await,
            Some(kept + 1),
            "cut after {kept}"
        );
    }
    assert!(altering.verdict(family(2)).await.is_whole(), "a bystander");
    altering.end().await;
}

#[tokio::test]
async fn families_that_were_exchanged_and_events_that_moved_are_named() {
    let altering = Altering::new().await;
    let (one, two) = (family(1), family(2));
    let exchange = format!(
        "update log.events set family_id = '00000000-0000-0000-0000-000000000001' where family_id = '{a}'; \
         update log.events set family_id = '{a}' where family_id = '{b}'; \
         update log.events set family_id = '{b}' where family_id = '00000000-0000-0000-0000-000000000001';",
        a = one.uuid(),
        b = two.uuid()
    );
    let rehashed = format!("{exchange}{}{}", rehash(one, 1), rehash(two, 1));
    for family in [one, two] {
        assert_eq!(altering.named_after(&exchange, family).await, Some(1));
        assert_eq!(altering.named_after(&rehashed, family).await, Some(1), "rehashed");
    }
    assert!(altering.verdict(one).await.is_whole(), "undone again");

    let ends = altering.verdict(two).await.events;
    let moved = format!(
        "update log.events set family_id = '{b}', family_seq = {ends} + 1 where lane = 3 and family_id = '{a}' and family_seq = {K}; \
         update log.events set family_seq = family_seq + 1000000 where lane = 3 and family_id = '{a}' and family_seq > {K}; \
         update log.events set family_seq = family_seq - 1000001 where lane = 3 and family_id = '{a}' and family_seq > 1000000; {}{}",
        rehash(one, K),
        rehash(two, ends),
        a = one.uuid(),
        b = two.uuid()
    );
    assert_eq!(altering.named_after(&moved, one).await, Some(K));
    assert_eq!(altering.named_after(&moved, two).await, Some(ends + 1));
    altering.end().await;
}

fn change_and_rehash() -> String {
    let id = family(1).uuid();
    format!(
        "update log.events set metadata = '{{\"role\":\"nobody\"}}' where lane = 3 and family_id = '{id}' and family_seq = {K};{}",
        rehash(family(1), K)
    )
}

#[tokio::test]
async fn a_tail_hashed_anew_is_named_by_the_tree() {
    let altering = Altering::new().await;
    assert_eq!(altering.named_after(&change_and_rehash(), family(1)).await, Some(K));
    altering.end().await;
}

/// The owner rewrites everything: events, trees, map of heads. `signs` with the stolen key, or puts the old notes back.
async fn rewrite_all(sealed: &Sealed, signs: bool) {
    let forget = "create table public.notes as select * from log.checkpoints; delete from log.checkpoint_exports; \
        delete from log.tree_nodes; delete from log.checkpoints; delete from log.head_buckets;";
    sealed.tamper(&format!("{}{forget}", change_and_rehash())).await;
    let alone = SealSettings {
        witnesses: Vec::new(),
        ..sealed.settings.clone()
    };
    seal_now(&sealed.sealer, &alone, &SealStatus::default()).await.unwrap();
    if !signs {
        sealed
            .tamper("delete from log.checkpoints; insert into log.checkpoints select * from public.notes")
            .await;
    }
}

#[tokio::test]
async fn without_the_key_a_rewritten_log_does_not_lead_to_the_signed_roots() {
    let sealed = Sealed::with_families(30).await;
    let key = sealed.key().await;
    rewrite_all(&sealed, false).await;
    let files = sealed.pack(family(1)).await;
    let report = verdict(files.clone(), &key, family(1));
    let fault = report.first_bad().unwrap();
    assert!(matches!(fault.what, What::Root { .. }), "{fault}");
    let (first, last) = (fault.family_seq.unwrap(), fault.until.unwrap());
    assert!((first..=last).contains(&K), "{first} to {last}");
    // With what was kept elsewhere the event itself is named.
    let report = verdict_with(files, &key, family(1), Some(&sealed.kept_folder()));
    assert_eq!(named(&report), Some(K), "{:?}", report.faults);
    assert!(matches!(report.first_bad().unwrap().what, What::Kept));
    sealed.end().await;
}

#[tokio::test]
async fn with_a_stolen_key_a_rewritten_log_is_found_by_what_was_kept_elsewhere_and_by_nothing_else() {
    let sealed = Sealed::with_families(30).await;
    let key = sealed.key().await;
    rewrite_all(&sealed, true).await;
    let (files, _) = sealed.packed(family(1), &[]).await;
    assert!(
        verdict(files.clone(), &key, family(1)).is_whole(),
        "the pack alone cannot show it, and does not claim to"
    );
    let report = verdict_with(files.clone(), &key, family(1), Some(&sealed.kept_folder()));
    assert_eq!(named(&report), Some(K), "{:?}", report.faults);
    // One checkpoint on a piece of paper is enough to know, though not to name.
    let folder = sealed.kept_folder().join(format!("lane-{LANE}"));
    let report = verdict_with(files, &key, family(1), Some(&folder.join("checkpoint")));
    assert!(
        matches!(report.first_bad().unwrap().what, What::Root { .. }),
        "{:?}",
        report.faults
    );
    // And the sealer that still knows the place does not go on.
    let status = sealed.seal().await;
    assert!(status.check().unwrap_err().contains("fork detected"), "{status:?}");
    sealed.end().await;
}
