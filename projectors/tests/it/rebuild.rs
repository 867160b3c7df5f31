//! Rows built again beside the live ones: the same rows, compared before they answer, and switched to whole.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use domain::{aggregate::LedgerEvent, entry::EntryEvent, id::FamilyId};
use event_store::feed::PostgresFeed;
use projectors::{
    apply::ApplyError,
    generation, parking,
    rebuild::{Limits, Progress, RebuildError, Report, Request, rebuild},
};
use service_kit::shutdown;
use sqlx::PgPool;

use crate::{given::*, ledger::*, parking::poison, sameness::lived};

/// Every way through the bulk: whole histories in few and in many pages, long families, and one by one.
const LIMITS: &[Limits] = &[
    Limits {
        parallel: 2,
        page: 20_000,
        whole_max: 60_000,
    },
    Limits {
        parallel: 3,
        page: 7,
        whole_max: 1_000,
    },
    Limits {
        parallel: 1,
        page: 50,
        whole_max: 60,
    },
    Limits {
        parallel: 1,
        page: 100,
        whole_max: 0,
    },
];

async fn again(ledger: &Ledger, request: &Request) -> Result<(Report, Vec<Progress>), RebuildError> {
    let said = Mutex::new(Vec::new());
    let report = rebuild(&ledger.views, &ledger.applier.log, request, &|progress| {
        said.lock().expect("no panic before").push(progress);
    })
    .await?;
    Ok((report, said.into_inner().expect("no panic before")))
}

async fn path(pool: &PgPool) -> String {
    generation::live(pool).await.expect("a live generation").search_path
}

async fn schemas(ledger: &Ledger) -> Vec<String> {
    sqlx::query_scalar("select schema_name from generations.built order by number")
        .fetch_all(&ledger.views)
        .await
        .expect("generations")
}

#[tokio::test]
async fn rows_built_again_are_the_rows_that_were_there_however_they_are_folded() {
    let mut ledger = Ledger::new().await;
    lived(&mut ledger).await;
    ledger.project(5_000).await;
    let before = ledger.dump().await;
    assert!(before.len() > 500, "{}", before.len());
    for (round, limits) in (1..).zip(LIMITS) {
        let request = Request {
            limits: *limits,
            ..Request::default()
        };
        let (report, said) = again(&ledger, &request).await.expect("a rebuild");
        assert!(report.is_same(), "{report:?}");
        let records = ledger.records().await.len() as i64;
        assert_eq!(report.events, records, "{limits:?}");
        assert!(
            said.contains(&Progress::Folded { events: records }),
            "{limits:?} {said:?}"
        );
        assert_eq!(
            report.tables.iter().map(|table| table.rows_live).sum::<i64>(),
            before.len() as i64 - 2
        );
        assert_eq!(path(&ledger.views).await, format!("views_g{round}, views"));
        assert_eq!(
            schemas(&ledger).await,
            [format!("views_g{round}")],
            "the old one is gone"
        );
        assert_eq!(ledger.dump().await, before, "{limits:?}");
        // What the log must still hold is known of the new rows from the first moment.
        let unknown = "select count(*) from checkpoints where position > 0 and chain_hash is null";
        assert_eq!(ledger.value(unknown).await, "0");
        // The live rows go on in the new tables.
        ledger.project(5_000).await;
        assert_eq!(ledger.dump().await, before);
    }
    let f = family(1);
    ledger.append(f, vec![income(f, 900, "1.00", day(1, 1))]).await;
    ledger.project(5_000).await;
    assert!(ledger.dump().await.len() >= before.len() + 3);
    ledger.database.drop().await;
}

/// Alters rows behind everybody's back.
async fn alter(ledger: &Ledger, statement: &str) {
    let hands = ledger.database.superuser().await;
    let done = sqlx::query(statement)
        .execute(&hands)
        .await
        .expect("the rows are altered");
    assert!(done.rows_affected() > 0, "{statement}");
    hands.close().await;
}

fn of(views: &[&str], replaces_different: bool) -> Request {
    Request {
        views: views.iter().map(|view| (*view).to_owned()).collect(),
        replaces_different,
        ..Request::default()
    }
}

/// Tables that differ, with the first family.
fn differing(report: &Report) -> Vec<(&'static str, FamilyId)> {
    let differs = report.tables.iter().filter(|table| !table.is_same());
    differs
        .map(|table| (table.table, table.first.expect("a family differs")))
        .collect()
}

#[tokio::test]
async fn rows_that_differ_are_named_and_stay_until_somebody_decides() {
    let mut ledger = Ledger::new().await;
    lived(&mut ledger).await;
    ledger.project(5_000).await;
    let right = ledger.dump().await;
    let second = family(2).uuid();
    alter(
        &ledger,
        &format!("update views.accounts set balance = balance + 1 where family_id = '{second}'"),
    )
    .await;
    alter(
        &ledger,
        &format!("delete from views.entry_postings where family_id = '{second}' and line = 2"),
    )
    .await;
    let wrong = ledger.dump().await;
    assert_ne!(wrong, right);

    let refused = again(&ledger, &of(&[], false)).await;
    let Err(RebuildError::Different(report)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(
        differing(&report),
        [("accounts", family(2)), ("entry_postings", family(2))]
    );
    assert_eq!(ledger.dump().await, wrong, "the old rows stay");
    assert_eq!(
        (path(&ledger.views).await.as_str(), schemas(&ledger).await.len()),
        ("views", 0)
    );

    let (report, _) = again(&ledger, &of(&[], true)).await.expect("a rebuild");
    assert_eq!(differing(&report).len(), 2);
    assert_eq!(ledger.dump().await, right);
    let (report, _) = again(&ledger, &of(&[], false)).await.expect("a rebuild");
    assert!(report.is_same());
    ledger.database.drop().await;
}

#[tokio::test]
async fn of_single_views_only_their_own_tables_are_replaced() {
    let mut ledger = Ledger::new().await;
    lived(&mut ledger).await;
    ledger.project(5_000).await;
    let right = ledger.dump().await;
    alter(&ledger, "update views.spending_days set amount = amount + 1").await;
    alter(&ledger, "update views.accounts set balance = balance + 1").await;
    alter(&ledger, "update views.entries set payee = 'Nobody'").await;

    let (report, _) = again(&ledger, &of(&["spending"], true)).await.expect("a rebuild");
    assert_eq!((report.views, report.tables.len()), (vec!["spending"], 2));
    assert_eq!(path(&ledger.views).await, "views_g1, views");
    let now = ledger.dump().await;
    let wrong = |dump: &[String]| -> Vec<String> {
        let mut tables: Vec<String> = dump
            .iter()
            .filter(|row| !right.contains(row))
            .filter_map(|row| row.split(' ').next().map(str::to_owned))
            .collect();
        tables.dedup();
        tables
    };
    assert_eq!(wrong(&now), ["accounts", "entries"]);
    // What was folded on the way to it is not switched to, and rows go on over both generations.
    let f = family(1);
    ledger
        .append(f, vec![expense(f, 950, (1, 2), "2.50", day(3, 3), 1)])
        .await;
    ledger.project(5_000).await;
    again(&ledger, &of(&["entries", "accounts"], true))
        .await
        .expect("a rebuild");
    assert_eq!(path(&ledger.views).await, "views_g2, views_g1, views");
    let (report, _) = again(&ledger, &of(&[], false)).await.expect("a rebuild");
    assert!(report.is_same(), "{report:?}");
    assert_eq!(path(&ledger.views).await, "views_g3, views");
    assert_eq!(schemas(&ledger).await, ["views_g3"]);

    let refused = again(&ledger, &of(&["sepnding"], false)).await;
    assert!(matches!(refused, Err(RebuildError::UnknownView { .. })), "{refused:?}");
    ledger.database.drop().await;
}

#[tokio::test]
async fn a_second_rebuild_is_told_so_and_what_a_killed_one_left_is_dropped() {
    let mut ledger = Ledger::new().await;
    lived(&mut ledger).await;
    ledger.project(5_000).await;
    let before = ledger.dump().await;
    let hands = ledger.database.superuser().await;
    let mut other = hands.acquire().await.expect("a connection");
    sqlx::query("select pg_advisory_lock(4721, 0)")
        .execute(&mut *other)
        .await
        .expect("the lock");
    let refused = again(&ledger, &of(&[], false)).await;
    assert!(matches!(refused, Err(RebuildError::Busy)), "{refused:?}");
    // The other one has begun to build, and is killed.
    sqlx::query("select generations.begin_build(1, '{accounts,entries}', '{}')")
        .execute(&mut *other)
        .await
        .expect("a generation");
    assert_eq!(schemas(&ledger).await, ["views_g1"]);
    other.close().await.expect("the connection ends");
    let (_, said) = again(&ledger, &of(&[], false)).await.expect("a rebuild");
    assert_eq!(said[0], Progress::Cleared { generations: 1 });
    assert_eq!(schemas(&ledger).await, ["views_g2"]);
    assert_eq!(ledger.dump().await, before);

    let kept = Request {
        keeps_old: true,
        ..Request::default()
    };
    again(&ledger, &kept).await.expect("a rebuild");
    assert_eq!(schemas(&ledger).await, ["views_g2", "views_g3"], "the old one is kept");
    again(&ledger, &of(&[], false)).await.expect("a rebuild");
    assert_eq!(schemas(&ledger).await, ["views_g4"], "until the next");
    assert_eq!(ledger.dump().await, before);
    ledger.database.drop().await;
}

#[tokio::test]
async fn a_parked_family_stops_where_it_stopped_and_one_whose_cause_is_gone_is_freed() {
    let mut ledger = Ledger::new().await;
    let (sick, hurt, well) = (family(1), family(2), family(3));
    for f in [sick, hurt, well] {
        ledger.append(f, founding(f)).await;
    }
    ledger
        .append(
            sick,
            vec![
                income(sick, 1, "1.00", day(1, 1)),
                poison(sick),
                income(sick, 2, "2.00", day(1, 1)),
            ],
        )
        .await;
    ledger
        .append(
            hurt,
            vec![income(hurt, 1, "1.00", day(1, 1)), income(hurt, 2, "2.00", day(1, 1))],
        )
        .await;
    ledger.append(well, vec![income(well, 1, "5.00", day(1, 1))]).await;
    // On its way to the rows, one record of a family is damaged; in the log it is sound.
    let mut records = ledger.records().await;
    let damaged = records
        .iter()
        .position(|record| record.family_id == hurt && record.family_seq == 12);
    let damaged = damaged.expect("the record");
    records[damaged].payload = records[damaged].payload.replace("1.00", "9.00");
    let to = records.last().expect("records").position;
    let checkpoint = ledger.applier.checkpoint(LANE).await.expect("a checkpoint");
    let applied = ledger
        .applier
        .apply(LANE, checkpoint, to, records, true)
        .await
        .expect("a batch");
    assert_eq!(applied.parked, 2);
    let parked = |rows: &[parking::Parked]| -> Vec<(FamilyId, i64, i64)> {
        rows.iter()
            .map(|row| (row.family_id, row.family_seq, row.waiting))
            .collect()
    };
    let listed = parking::list(&ledger.applier).await.expect("a list");
    assert_eq!(parked(&listed), [(sick, 13, 2), (hurt, 12, 2)]);
    let before = ledger.dump().await;

    // Single views must not run ahead of the others: both stop where they stopped.
    let (report, _) = again(&ledger, &of(&["accounts", "entries"], false))
        .await
        .expect("a rebuild");
    assert!(report.is_same() && report.freed.is_empty(), "{report:?}");
    assert_eq!(ledger.dump().await, before);
    assert_eq!(
        parked(&parking::list(&ledger.applier).await.expect("a list")),
        [(sick, 13, 2), (hurt, 12, 2)]
    );

    for limits in LIMITS {
        let request = Request {
            limits: *limits,
            ..Request::default()
        };
        let (report, _) = again(&ledger, &request).await.expect("a rebuild");
        assert!(report.is_same(), "{report:?}");
        let listed = parking::list(&ledger.applier).await.expect("a list");
        assert_eq!(parked(&listed), [(sick, 13, 2)], "{limits:?}");
        assert_eq!(ledger.value("select sum(balance) from accounts").await, "9.0000");
    }
    // And waits there: later events of others are folded, its own are not.
    ledger.append(sick, vec![income(sick, 3, "4.00", day(1, 1))]).await;
    ledger.append(hurt, vec![income(hurt, 3, "4.00", day(1, 1))]).await;
    ledger.project(5_000).await;
    assert_eq!(ledger.value("select sum(balance) from accounts").await, "13.0000");
    assert_eq!(
        parked(&parking::list(&ledger.applier).await.expect("a list")),
        [(sick, 13, 3)]
    );
    ledger.database.drop().await;
}

/// Builds `accounts` again; when `is_due` says so of what is said, the live rows park a family that the new ones go on with.
async fn rebuild_while_a_family_is_parked(is_due: impl Fn(&[Progress]) -> bool + Sync) {
    let mut ledger = Ledger::new().await;
    let f = family(1);
    ledger.append(f, founding(f)).await;
    ledger
        .append(f, vec![expense(f, 1, (1, 1), "5.00", day(1, 2), 1)])
        .await;
    ledger.project(5_000).await;
    // The live rows have lost an entry, so its reversal does not fold there; into `accounts` alone it does.
    alter(&ledger, "delete from views.entries").await;
    let (views, log) = (ledger.views.clone(), ledger.applier.log.clone());
    let state = Mutex::new((ledger, Vec::new(), false));
    let refused = rebuild(&views, &log, &of(&["accounts"], true), &|progress| {
        let mut state = state.lock().expect("no panic before");
        let (ledger, said, is_parked) = &mut *state;
        said.push(progress);
        if !*is_parked && is_due(said) {
            *is_parked = true;
            tokio::task::block_in_place(|| {
                tokio::runtime::Handle::current().block_on(async {
                    let reversed = expense_reversed(f, 1, (1, 1), "5.00", day(1, 3));
                    ledger.append(f, vec![reversed]).await;
                    ledger.project_isolating(5_000).await;
                });
            });
        }
    })
    .await;
    assert!(matches!(refused, Err(RebuildError::ParkedChanged)), "{refused:?}");
    let (ledger, _, is_parked) = state.into_inner().expect("no panic before");
    assert!(is_parked);
    assert_eq!(path(&ledger.views).await, "views");
    assert!(schemas(&ledger).await.is_empty());
    let balance = "select sum(balance) from accounts";
    assert_eq!(ledger.value(balance).await, "-5.0000");
    // Taken up once the row is there again, its events count once.
    again(&ledger, &of(&["entries"], true)).await.expect("a rebuild");
    let taken = parking::retry_parked(&ledger.applier, f).await.expect("taken up");
    assert_eq!((taken.events, ledger.value(balance).await.as_str()), (1, "0.0000"));
    ledger.database.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn single_views_are_not_switched_to_when_a_family_is_parked_while_they_are_built_or_compared() {
    rebuild_while_a_family_is_parked(|said| said.contains(&Progress::Indexing)).await;
    let is_compared = |step: &Progress| matches!(step, Progress::Comparing { .. });
    rebuild_while_a_family_is_parked(|said| {
        said.iter().any(is_compared) && matches!(said.last(), Some(Progress::CatchingUp { .. }))
    })
    .await;
}

#[tokio::test]
async fn old_rows_that_cannot_be_dropped_yet_are_no_failure_of_the_switch() {
    let mut ledger = Ledger::new().await;
    lived(&mut ledger).await;
    ledger.project(5_000).await;
    let before = ledger.dump().await;
    // Somebody looks into the old rows by hand, and has not asked where the live ones are.
    let hands = ledger.database.superuser().await;
    let mut looking = hands.begin().await.expect("a transaction");
    sqlx::query("select count(*) from views.accounts")
        .execute(&mut *looking)
        .await
        .expect("a look");
    let (report, _) = again(&ledger, &of(&[], false)).await.expect("a rebuild");
    assert!(report.left_over);
    assert_eq!(path(&ledger.views).await, "views_g1, views");
    looking.rollback().await.expect("the look ends");
    let (report, _) = again(&ledger, &of(&[], false)).await.expect("a rebuild");
    assert!(!report.left_over);
    assert_eq!(ledger.dump().await, before);
    let rows: i64 = sqlx::query_scalar("select count(*) from views.accounts")
        .fetch_one(&hands)
        .await
        .expect("a count");
    assert_eq!(rows, 0, "the old rows are gone now");
    hands.close().await;
    ledger.database.drop().await;
}

#[tokio::test]
async fn an_event_whose_row_no_table_takes_parks_its_family_in_a_rebuild_as_in_the_live_rows() {
    let mut ledger = Ledger::new().await;
    let (sick, well) = (family(1), family(2));
    for f in [sick, well] {
        ledger.append(f, founding(f)).await;
        ledger.append(f, vec![income(f, 1, "1.00", day(1, 1))]).await;
    }
    // It decodes, and is refused only when it is written: Postgres' text holds no zero byte.
    let mut unwritable = income(sick, 2, "2.00", day(1, 1));
    if let LedgerEvent::Entry(EntryEvent::IncomeAdded(added)) = &mut unwritable.1 {
        added.payee = "Emp\0loyer".to_owned();
    }
    ledger
        .append(sick, vec![unwritable, income(sick, 3, "4.00", day(1, 1))])
        .await;
    ledger.project_isolating(5_000).await;
    let before = ledger.dump().await;
    assert_eq!(ledger.value("select family_seq from parked_families").await, "13");
    for limits in LIMITS {
        let request = Request {
            limits: *limits,
            ..Request::default()
        };
        let (report, _) = again(&ledger, &request).await.expect("a rebuild");
        assert!(report.is_same() && report.freed.is_empty(), "{limits:?} {report:?}");
        assert_eq!(ledger.dump().await, before, "{limits:?}");
        assert_eq!(ledger.value("select family_seq from parked_families").await, "13");
    }
    ledger.database.drop().await;
}

#[tokio::test]
async fn values_exchanged_between_two_rows_of_a_family_are_a_difference() {
    let mut ledger = Ledger::new().await;
    lived(&mut ledger).await;
    ledger.project(5_000).await;
    let f = family(2).uuid();
    let two = format!("select count(distinct balance) || ' ' || count(*) from accounts where family_id = '{f}'");
    assert_eq!(ledger.value(&two).await, "2 2");
    alter(
        &ledger,
        &format!(
            "update views.accounts a
            set balance = b.balance
            from views.accounts b
            where a.family_id = '{f}' and b.family_id = '{f}' and a.account_id <> b.account_id"
        ),
    )
    .await;
    let refused = again(&ledger, &of(&[], false)).await;
    let Err(RebuildError::Different(report)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(differing(&report), [("accounts", family(2))]);
    ledger.database.drop().await;
}

/// Keys, indexes and policies of the live rows' tables, without the schema's name.
async fn shape(ledger: &Ledger) -> Vec<String> {
    let hands = ledger.database.superuser().await;
    let live = path(&ledger.views).await;
    let schema = live.split(',').next().expect("a schema");
    let shape: Vec<String> = sqlx::query_scalar(
        "select replace(what, $1 || '.', '')
        from (
            select pg_get_indexdef(x.indexrelid) || ' ' || x.indisvalid as what
            from pg_index x join pg_class c on c.oid = x.indrelid
            where c.relnamespace = $1::regnamespace
            union all
            select c.relname || ' ' || k.conname || ' ' || pg_get_constraintdef(k.oid)
            from pg_constraint k join pg_class c on c.oid = k.conrelid
            where c.relnamespace = $1::regnamespace
            union all
            select tablename || ' ' || policyname || ' ' || coalesce(qual, '') from pg_policies where schemaname = $1
        ) s
        order by 1",
    )
    .bind(schema)
    .fetch_all(&hands)
    .await
    .expect("the catalog");
    hands.close().await;
    shape
}

#[tokio::test]
async fn tables_built_again_have_the_keys_indexes_and_policies_of_the_definition() {
    let mut ledger = Ledger::new().await;
    lived(&mut ledger).await;
    ledger.project(5_000).await;
    let definition = shape(&ledger).await;
    assert!(definition.len() > 60, "{definition:#?}");
    for limits in LIMITS {
        let request = Request {
            limits: *limits,
            ..Request::default()
        };
        again(&ledger, &request).await.expect("a rebuild");
        assert_eq!(shape(&ledger).await, definition, "{limits:?}");
        let schema = schemas(&ledger).await.remove(0);
        let hands = ledger.database.superuser().await;
        let analyzed: i64 = sqlx::query_scalar(
            "select count(distinct starelid) from pg_statistic where starelid = any($1::text[]::regclass[])",
        )
        .bind(["entries", "entry_postings", "accounts"].map(|table| format!("{schema}.{table}")))
        .fetch_one(&hands)
        .await
        .expect("a count");
        assert_eq!(analyzed, 3, "the planner knows nothing of the new rows");
        hands.close().await;
    }
    ledger.database.drop().await;
}

#[tokio::test]
async fn rows_of_an_older_release_answer_until_those_of_this_one_are_built() {
    let mut ledger = Ledger::new().await;
    lived(&mut ledger).await;
    ledger.project(5_000).await;
    let right = ledger.dump().await;
    alter(
        &ledger,
        "update views.entries set payee = 'As the older release had it'",
    )
    .await;
    alter(&ledger, "update generations.live set version = 0").await;
    let refused = ledger.applier.checkpoint(LANE).await;
    assert!(matches!(refused, Err(ApplyError::Version { live: 0 })), "{refused:?}");
    let refused = again(&ledger, &of(&["entries"], true)).await;
    assert!(
        matches!(refused, Err(RebuildError::AllNeeded { live: 0 })),
        "{refused:?}"
    );
    // What the older release had not folded yet comes too.
    let f = family(1);
    ledger.append(f, vec![income(f, 960, "1.00", day(1, 1))]).await;

    let (stop, watcher) = shutdown::channel();
    let progress = projectors::Progress::new();
    let settings = projectors::Settings {
        pool: ledger.views.clone(),
        log: ledger.applier.log.clone(),
        feeds: vec![(LANE, Box::new(PostgresFeed::new(ledger.applier.log.clone())))],
        rows_changed: Arc::default(),
        progress: progress.clone(),
    };
    let running = tokio::spawn(projectors::run(settings, watcher));
    let end = ledger.records().await.len() as i64;
    let follows = async {
        while progress
            .positions()
            .get(&LANE.0)
            .is_none_or(|(folded, _)| *folded < end)
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), follows)
        .await
        .expect("the rows are built");
    stop.send(true).expect("the runner listens");
    running.await.expect("the runner ends");
    assert_eq!(
        generation::live(&ledger.views).await.expect("a generation").version,
        projectors::VERSION
    );
    let now = ledger.dump().await;
    let lost: Vec<_> = right.iter().filter(|row| !now.contains(row)).collect();
    // One balance, one day's sums, one month's and the family's head went on; nothing else differs.
    assert!(lost.len() <= 6 && now.len() > right.len(), "{lost:?}");
    assert!(!now.iter().any(|row| row.contains("As the older release had it")));
    ledger.database.drop().await;
}

#[tokio::test]
async fn rows_of_events_that_the_log_has_lost_go_with_a_rebuild_and_checkpoints_stay_within_the_log() {
    let mut ledger = Ledger::new().await;
    let f = family(1);
    ledger.append(f, founding(f)).await;
    ledger.append(f, vec![income(f, 1, "1.00", day(1, 1))]).await;
    ledger.project(5_000).await;
    let right = ledger.dump().await;
    ledger
        .append(
            f,
            vec![income(f, 2, "2.00", day(1, 1)), income(f, 3, "3.00", day(1, 1))],
        )
        .await;
    ledger.project(5_000).await;
    // The database of the log is restored to an earlier moment, that of the rows is not.
    let hands = ledger.database.superuser().await;
    let mut tx = hands.begin().await.expect("a transaction");
    for statement in [
        "set local session_replication_role = replica",
        "delete from log.events where position > 12",
    ] {
        sqlx::query(statement).execute(&mut *tx).await.expect("the log is cut");
    }
    tx.commit().await.expect("a commit");
    let refused = again(&ledger, &of(&[], false)).await;
    assert!(matches!(refused, Err(RebuildError::Different(_))), "{refused:?}");
    assert_eq!(ledger.applier.checkpoint(LANE).await.expect("a checkpoint"), 14);
    again(&ledger, &of(&[], true)).await.expect("a rebuild");
    assert_eq!(ledger.applier.checkpoint(LANE).await.expect("a checkpoint"), 12);
    assert_eq!(ledger.dump().await, right);
    ledger.database.drop().await;
}
