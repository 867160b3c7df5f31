//! Every limit of the write side, reached: what waits is bounded, who comes too many is told so, and nothing accepted is lost.

use std::time::Duration;

use axum::{
    body::{Body, BodyDataStream},
    http::{HeaderMap, Request, Response, StatusCode, header},
};
use command_api::{audit::AuditLimits, lanes::LaneSettings};
use domain::id::FamilyId;
use event_store::seal::{SealSettings, SealStatus, seal_now};
use futures::{StreamExt, future::join_all};
use serde_json::json;
use service_kit::{
    database::DatabaseRole,
    testing::{TestDatabase, statements::Wire},
};
use sqlx::{PgPool, Postgres, Transaction};
use uuid::Uuid;

use super::support::{Answer, Household, Served, WriteSide};

/// A condition that has to come true soon.
const SOON: Duration = Duration::from_secs(20);

/// Stops all appends to a family's lane until it is dropped.
async fn hold_lane(superuser: &PgPool, family: FamilyId) -> Transaction<'static, Postgres> {
    let mut held = superuser.begin().await.expect("a transaction");
    sqlx::query("select pg_advisory_xact_lock(4711, (select lane from log.families where family_id = $1))")
        .bind(family.uuid())
        .execute(&mut *held)
        .await
        .expect("the lane is free");
    held
}

/// Waits until an append waits for the lane.
async fn until_an_append_waits(superuser: &PgPool) {
    let waits = async {
        let statement = "select count(*) from pg_locks where locktype = 'advisory' and classid = 4711 and not granted \
             and database = (select oid from pg_database where datname = current_database())";
        while sqlx::query_scalar::<_, i64>(statement)
            .fetch_one(superuser)
            .await
            .expect("locks")
            == 0
        {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(SOON, waits).await.expect("an append waits");
}

async fn expenses_in_log(superuser: &PgPool, household: Household) -> i64 {
    sqlx::query_scalar("select count(*) from log.events where family_id = $1 and event_type = 'ExpenseAdded'")
        .bind(household.id.uuid())
        .fetch_one(superuser)
        .await
        .expect("a count")
}

/// So many expenses at once while one append is held up; the answers, once the lane is free again.
async fn rush(served: &Served, superuser: &PgPool, rush: usize, padding: usize) -> Vec<Answer> {
    let body = format!("{}{}", served.household.expense("1.00"), " ".repeat(padding));
    let warm = served.command("add-expense", body.clone()).await;
    assert_eq!(warm.status, StatusCode::OK, "{}", warm.body);
    let held = hold_lane(superuser, served.household.id).await;
    let first = served.command("add-expense", body.clone());
    let others = async {
        until_an_append_waits(superuser).await;
        let sent = join_all((0..rush).map(|_| served.command("add-expense", body.clone())));
        let free = async {
            // Those that are turned away are answered while the lane is held; the others wait.
            tokio::task::yield_now().await;
            held.rollback().await.expect("the lane is free again");
        };
        tokio::join!(sent, free).0
    };
    let (first, others) = tokio::join!(first, others);
    assert_eq!(first.status, StatusCode::OK, "{}", first.body);
    others
}

fn turned_away(answers: &[Answer]) -> usize {
    let turned_away: Vec<&Answer> = answers
        .iter()
        .filter(|answer| answer.status != StatusCode::OK)
        .collect();
    for answer in &turned_away {
        assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{}", answer.body);
        assert_eq!(answer.headers[header::RETRY_AFTER], "1");
        assert_eq!(answer.body["type"], "/problems/too-fast");
    }
    turned_away.len()
}

#[tokio::test]
async fn a_full_queue_answers_429_and_what_it_took_is_recorded_once() {
    let database = TestDatabase::create().await;
    let settings = LaneSettings {
        queue_max: 5,
        ..LaneSettings::default()
    };
    let served = Served::start(&database.url(), settings).await;
    let superuser = database.superuser().await;
    let answers = rush(&served, &superuser, 40, 0).await;
    assert_eq!(turned_away(&answers), 35, "five wait, one is being appended");
    assert_eq!(expenses_in_log(&superuser, served.household).await, 2 + 5);
    // There is room again.
    let later = served
        .command("add-expense", served.household.expense("1.00").to_string())
        .await;
    assert_eq!(later.status, StatusCode::OK);
    superuser.close().await;
    database.drop().await;
}

#[tokio::test]
async fn a_queue_full_of_bytes_answers_429_however_few_commands_they_are() {
    let database = TestDatabase::create().await;
    let settings = LaneSettings {
        queue_bytes_max: 100 * 1024,
        ..LaneSettings::default()
    };
    let served = Served::start(&database.url(), settings).await;
    let superuser = database.superuser().await;
    // Each counts for 31 KiB: the one that is being appended and two that wait leave 7.
    let answers = rush(&served, &superuser, 10, 30 * 1024).await;
    assert_eq!(turned_away(&answers), 8);
    assert_eq!(expenses_in_log(&superuser, served.household).await, 2 + 2);
    // What was answered takes up nothing any more: all three fit again, one after another and at once.
    let body = format!("{}{}", served.household.expense("1.00"), " ".repeat(30 * 1024));
    let again = join_all((0..3).map(|_| served.command("add-expense", body.clone()))).await;
    assert_eq!(turned_away(&again), 0);
    superuser.close().await;
    database.drop().await;
}

#[tokio::test]
async fn a_command_larger_than_its_lane_s_limit_goes_alone_instead_of_never() {
    let database = TestDatabase::create().await;
    let settings = LaneSettings {
        queue_bytes_max: 4 * 1024,
        ..LaneSettings::default()
    };
    let served = Served::start(&database.url(), settings).await;
    let body = format!("{}{}", served.household.expense("1.00"), " ".repeat(60 * 1024));
    for _ in 0..3 {
        let answer = served.command("add-expense", body.clone()).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    }
    let both = join_all((0..2).map(|_| served.command("add-expense", body.clone()))).await;
    assert_eq!(turned_away(&both), 1);
    database.drop().await;
}

#[tokio::test]
async fn an_append_never_has_more_commands_or_events_than_it_may() {
    let database = TestDatabase::create().await;
    let superuser = database.superuser().await;
    for (commands_max, events_max, largest) in [(7, 4_096, 7), (1_024, 5, 5)] {
        let settings = LaneSettings {
            batch_commands_max: commands_max,
            batch_events_max: events_max,
            ..LaneSettings::default()
        };
        let side = WriteSide::start(&database.url(), 4, settings).await;
        let homes = [
            side.found().await,
            side.found().await,
            side.found().await,
            side.found().await,
        ];
        let expenses = (0..80).map(|number| {
            let home = homes[number % homes.len()];
            let side = &side;
            async move { side.execute(home.id, "add-expense", &home.expense("0.01")).await }
        });
        let accepted = join_all(expenses).await.iter().filter(|answer| answer.is_ok()).count();
        assert_eq!(accepted, 80);
        // The events of one statement carry one instant, in every lane it touched.
        let ids: Vec<Uuid> = homes.iter().map(|home| home.id.uuid()).collect();
        let statement = "select count(distinct command_id), count(*), count(distinct family_id) from log.events \
             where family_id = any($1) and event_type = 'ExpenseAdded' group by lane, recorded_at";
        let appends: Vec<(i64, i64, i64)> = sqlx::query_as(statement)
            .bind(ids)
            .fetch_all(&superuser)
            .await
            .expect("batches");
        assert_eq!(appends.iter().map(|(commands, ..)| commands).sum::<i64>(), 80);
        for (commands, events, families) in &appends {
            // A family with more events than an append may have goes alone.
            assert!(*commands <= largest || *families == 1, "{appends:?}");
            assert!(
                *commands <= commands_max as i64 && *events <= events_max.max(20) as i64,
                "{appends:?}"
            );
        }
        assert!(appends.len() >= if commands_max == 7 { 12 } else { 4 }, "{appends:?}");
    }
    superuser.close().await;
    database.drop().await;
}

#[tokio::test]
async fn bodies_and_batches_end_at_their_limits() {
    let database = TestDatabase::create().await;
    let served = Served::start(&database.url(), LaneSettings::default()).await;
    let expense = served.household.expense("1.00").to_string();
    for (length, status) in [
        (64 * 1024, StatusCode::OK),
        (64 * 1024 + 1, StatusCode::PAYLOAD_TOO_LARGE),
    ] {
        let body = format!("{expense}{}", " ".repeat(length - expense.len()));
        let answer = served.command("add-expense", body).await;
        assert_eq!(answer.status, status, "{length} bytes: {}", answer.body);
    }
    let path = format!("/api/v1/families/{}/commands", served.household.id);
    let item =
        || json!({"name": "add-expense", "idempotency_key": Uuid::new_v4(), "body": served.household.expense("0.01")});
    for (count, status) in [
        (0, StatusCode::BAD_REQUEST),
        (1, StatusCode::OK),
        (1_001, StatusCode::BAD_REQUEST),
    ] {
        let items: Vec<_> = (0..count).map(|_| item()).collect();
        let answer = served.post(&path, json!({"commands": items}).to_string()).await;
        assert_eq!(answer.status, status, "{count} commands: {}", answer.body);
    }
    let body = format!("[{}]{}", item(), " ".repeat(16 * 1024 * 1024));
    assert_eq!(served.post(&path, body).await.status, StatusCode::PAYLOAD_TOO_LARGE);

    // A stranger's body is not read, whatever its size.
    let unread = Body::from_stream(futures::stream::poll_fn(
        |_| -> std::task::Poll<Option<Result<axum::body::Bytes, std::io::Error>>> {
            panic!("a stranger's body was read")
        },
    ));
    let request = Request::post(&path)
        .header("idempotency-key", Uuid::new_v4().to_string())
        .body(unread)
        .expect("a request");
    assert_eq!(served.send(request).await.status, StatusCode::UNAUTHORIZED);
    database.drop().await;
}

/// So many thousand expenses.
async fn spend(served: &Served, thousands: usize) {
    let path = format!("/api/v1/families/{}/commands", served.household.id);
    for _ in 0..thousands {
        let items: Vec<_> = (0..1_000)
            .map(|_| json!({"name": "add-expense", "idempotency_key": Uuid::new_v4(), "body": served.household.expense("0.01")}))
            .collect();
        let answer = served.post(&path, json!({"commands": items}).to_string()).await;
        assert_eq!(answer.status, StatusCode::OK);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_nothing_of_an_export_or_a_pack_makes_room_for_the_next() {
    let database = TestDatabase::create().await;
    let limits = AuditLimits {
        deliveries_at_once: 1,
        stalled_after: Duration::from_secs(1),
        ..AuditLimits::default()
    };
    let served = Served::start_with(&database.url(), LaneSettings::default(), limits).await;
    spend(&served, 12).await;
    let folder = sealed(&database).await;
    for what in ["export?format=ndjson", "export?format=hledger", "pack"] {
        // The one before, which was only tried, gives its place up in its own time.
        let stalled = loop {
            let answer = ask(&served, what).await;
            if answer.status() != StatusCode::TOO_MANY_REQUESTS {
                break answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        assert_eq!(stalled.status(), StatusCode::OK, "{what}");
        assert_eq!(ask(&served, what).await.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(ask(&served, "as-of").await.status(), StatusCode::OK, "replays go on");
        let makes_room = async {
            while ask(&served, what).await.status() != StatusCode::OK {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(SOON, makes_room)
            .await
            .expect("there is room again");
        // Who comes back to it finds it broken off, and never whole.
        let mut body = stalled.into_body().into_data_stream();
        let mut is_broken = false;
        while let Some(piece) = body.next().await {
            is_broken |= piece.is_err();
        }
        assert!(is_broken, "{what}");
    }
    drop(folder);
    database.drop().await;
}

/// It is pieces that a client has to take in time, and not the whole, nor a page of a thousand events.
#[tokio::test(flavor = "multi_thread")]
async fn who_reads_slowly_gets_the_whole() {
    const PAUSE: Duration = Duration::from_millis(45);
    let database = TestDatabase::create().await;
    let limits = AuditLimits {
        // Long enough for a busy machine between two pieces, and less than all of them take.
        stalled_after: Duration::from_secs(8),
        ..AuditLimits::default()
    };
    let served = Served::start_with(&database.url(), LaneSettings::default(), limits).await;
    spend(&served, 12).await;
    let mut body = ask(&served, "export?format=ndjson")
        .await
        .into_body()
        .into_data_stream();
    let (mut pieces, mut whole) = (0, Vec::new());
    while let Some(piece) = body.next().await {
        let piece = piece.expect("bytes");
        assert!(piece.len() <= 64 * 1024, "{} bytes at once", piece.len());
        whole.extend_from_slice(&piece);
        pieces += 1;
        tokio::time::sleep(PAUSE).await;
    }
    assert!(
        pieces * PAUSE > limits.stalled_after,
        "{pieces} pieces are read too fast"
    );
    assert!(whole.ends_with(b"}\n") && String::from_utf8_lossy(&whole).contains("\"end\":true"));
    database.drop().await;
}

async fn ask(served: &Served, what: &str) -> Response<Body> {
    let path = format!("/api/v1/families/{}/audit/{what}", served.household.id);
    let request = served.http(Request::get(path)).body(Body::empty()).expect("a request");
    tower::ServiceExt::oneshot(served.router.clone(), request)
        .await
        .expect("an answer")
}

/// Asks for a history and takes one piece of it. How many pages of it are read from the log however long one waits, the piece, and
/// the rest of the body.
async fn begun(served: &Served, wire: &Wire, what: &str, page: &str) -> (usize, Vec<u8>, BodyDataStream) {
    let pages = || {
        let statements = wire.take_statements();
        statements.iter().filter(|text| text.contains(page)).count()
    };
    pages();
    let response = ask(served, what).await;
    assert_eq!(response.status(), StatusCode::OK);
    let mut body = response.into_body().into_data_stream();
    let first = body.next().await.expect("a first piece").expect("bytes");
    // Nothing more is taken. It goes on until the channels on the way are full, and then asks for nothing.
    let mut read = pages();
    let mut quiet = 0;
    while quiet < 20 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let more = pages();
        quiet = if more == 0 { quiet + 1 } else { 0 };
        read += more;
    }
    (read, first.to_vec(), body)
}

/// Pages on their way between log and archive, and what of the archive waits for its reader.
#[tokio::test(flavor = "multi_thread")]
async fn a_pack_reads_no_further_than_its_reader() {
    const PAGES: usize = 16;
    let database = TestDatabase::create().await;
    let wire = Wire::to(&database).await;
    let served = Served::start(wire.url(), LaneSettings::default()).await;
    spend(&served, PAGES).await;
    let folder = sealed(&database).await;
    let (read, mut whole, mut body) = begun(&served, &wire, "pack", " and family_seq > $3").await;
    assert!(
        (1..=13).contains(&read),
        "{read} pages of {PAGES} for a reader who took one piece"
    );
    while let Some(piece) = body.next().await {
        whole.extend_from_slice(&piece.expect("bytes"));
    }
    // A zip file that has its directory, at its very end.
    let end = whole.windows(4).rposition(|window| window == b"PK\x05\x06");
    assert_eq!(end.map(|end| whole.len() - end), Some(22), "{} bytes", whole.len());
    drop(folder);
    database.drop().await;
}

/// Seals what there is; the folder of the key.
async fn sealed(database: &TestDatabase) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = SealSettings {
        key_file: folder.path().join("sealing-key"),
        every: Duration::from_millis(10),
        witnesses: Vec::new(),
    };
    let sealer = database.pool(DatabaseRole::Sealer).await;
    seal_now(&sealer, &settings, &SealStatus::default())
        .await
        .expect("it is sealed");
    sealer.close().await;
    folder
}

#[tokio::test]
async fn an_export_reads_no_further_than_its_reader() {
    const EVENTS: i64 = 12_000;
    let database = TestDatabase::create().await;
    let wire = Wire::to(&database).await;
    let served = Served::start(wire.url(), LaneSettings::default()).await;
    spend(&served, 12).await;
    let (read, mut whole, mut body) = begun(&served, &wire, "export?format=ndjson", "e.family_seq > $3").await;
    assert!((1..=8).contains(&read), "{read} pages for a reader who took one piece");
    // Then it is taken to its end, and is whole.
    while let Some(piece) = body.next().await {
        whole.extend_from_slice(&piece.expect("bytes"));
    }
    let lines = whole
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .count();
    assert!(lines as i64 > EVENTS, "{lines} lines");
    assert!(String::from_utf8_lossy(&whole).contains("\"end\":true"));
    database.drop().await;
}

#[tokio::test]
async fn only_so_many_histories_are_read_at_once() {
    let database = TestDatabase::create().await;
    let served = Served::start(&database.url(), LaneSettings::default()).await;
    spend(&served, 6).await;
    let export = || {
        let path = format!("/api/v1/families/{}/audit/export?format=ndjson", served.household.id);
        let request = served.http(Request::get(path)).body(Body::empty()).expect("a request");
        tower::ServiceExt::oneshot(served.router.clone(), request)
    };
    // Readers who took the first piece and then nothing hold their places.
    let mut held = Vec::new();
    for _ in 0..AuditLimits::default().deliveries_per_person {
        let response = export().await.expect("an answer");
        assert_eq!(response.status(), StatusCode::OK);
        held.push(response);
    }
    let refused = export().await.expect("an answer");
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(retry_after(refused.headers()), 5);
    // They keep nobody from a replay.
    assert_eq!(ask(&served, "as-of").await.status(), StatusCode::OK);
    // One who goes away makes room.
    held.pop();
    let makes_room = async {
        while export().await.expect("an answer").status() != StatusCode::OK {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, makes_room)
        .await
        .expect("there is room again");
    database.drop().await;
}

fn retry_after(headers: &HeaderMap) -> u32 {
    headers[header::RETRY_AFTER]
        .to_str()
        .expect("text")
        .parse()
        .expect("seconds")
}
