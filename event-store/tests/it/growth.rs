//! What a command costs in pages, whatever its family has been through: counted by Postgres, so that nothing here is about time.
//!
//! A page that is changed for the first time since a checkpoint is written to the write-ahead log as a whole, and one that is not
//! in memory is read first. So a command stays cheap in a long ledger when what it adds to each index lies beside what the command
//! before it added, and that depends on ids: those of commands, which clients make, and those of new streams, which
//! `Context::new_id` makes.

use chrono::{DateTime, Duration, Utc};
use domain::{
    actor::Meta,
    decide::{Context, Streams},
    id::{CommandId, FamilyId, UserId},
};
use event_store::Lane;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::support::{Fixture, command};

/// Commands of one append, each an event that begins a stream.
const COMMANDS: i64 = 50;
/// Entries of the long history.
const LONG: i64 = 20_000;

/// Pages that an append looked at, and those it was the first to change.
#[derive(Clone, Copy, Debug)]
struct Pages {
    touched: i64,
    dirtied: i64,
}

/// The ids of a command and of the stream it begins.
type Ids = (Uuid, Uuid);

fn at(number: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_000_000, 0).expect("a moment") + Duration::milliseconds(number)
}

/// As clients are asked to make them, and as decisions make them.
fn in_order(family: FamilyId, number: i64) -> Ids {
    let seconds = u64::try_from(at(number).timestamp()).expect("after 1970");
    let moment = uuid::Timestamp::from_unix(uuid::NoContext, seconds, at(number).timestamp_subsec_nanos());
    let meta = Meta {
        family_id: family,
        command_id: CommandId::from_uuid(Uuid::new_v7(moment)),
        user_id: UserId::from_uuid(Uuid::nil()),
        at: at(number),
    };
    let streams = Streams::default();
    (meta.command_id.uuid(), Context::new(&streams, &meta, 0).new_id(0))
}

fn at_random(_: FamilyId, _: i64) -> Ids {
    (Uuid::new_v4(), Uuid::new_v4())
}

/// A family that has booked so many entries; put there by hand, for what is counted comes afterwards.
async fn family_of(fixture: &Fixture, lane: Lane, entries: i64, ids: fn(FamilyId, i64) -> Ids) -> FamilyId {
    let family = FamilyId::from_uuid(Uuid::from_u128(0xA000 + u128::from(lane.0.unsigned_abs())));
    let verdicts = fixture.log.append(lane, &[command(family, 0, 1)]).await.unwrap();
    crate::support::ok(&verdicts[0]);
    let (commands, streams): (Vec<Uuid>, Vec<String>) = (0..entries)
        .map(|number| ids(family, number))
        .map(|(command, stream)| (command, stream.to_string()))
        .unzip();
    let owner = fixture.database.superuser().await;
    for statement in [
        "insert into log.events
        select 'entry', stream, 1, 'ExpenseAdded', '1', json_build_object('note', repeat('x', 500)), '{}', $1, n + 1, $2, n + 1,
            command, date '2026-11-21', clock_timestamp(), sha256(command::text::bytea), sha256(stream::bytea)
        from unnest($3, $4) with ordinality x (command, stream, n)",
        "insert into log.commands
        select $1, $2, command, sha256(''), n + 1, n + 1, n + 1, clock_timestamp()
        from unnest($3, $4) with ordinality x (command, stream, n)",
    ] {
        let filled = sqlx::query(statement)
            .bind(lane.0)
            .bind(family.uuid())
            .bind(&commands)
            .bind(&streams)
            .execute(&owner);
        filled.await.unwrap();
    }
    sqlx::raw_sql("vacuum analyze log.events, log.commands")
        .execute(&owner)
        .await
        .unwrap();
    owner.close().await;
    family
}

/// Appends commands that each begin a stream, and says what Postgres counted.
async fn append(owner: &mut PgConnection, lane: Lane, family: FamilyId, head: i64, ids: &[Ids]) -> Pages {
    let (commands, streams): (Vec<Uuid>, Vec<String>) = ids
        .iter()
        .map(|(command, stream)| (*command, stream.to_string()))
        .unzip();
    let heads: Vec<i64> = (head..).take(ids.len()).collect();
    // Every page is clean from here on, so that the first change to each is counted.
    sqlx::raw_sql("checkpoint").execute(&mut *owner).await.unwrap();
    let explained: serde_json::Value = sqlx::query_scalar(
        "explain (analyze, buffers, format json)
        select log.append_batch($1, array_fill($2::uuid, array[n]), $3, array_fill(0, array[n]), array_fill(sha256(''), array[n]), $4,
            array_fill(false, array[n]), array_fill('{}'::text, array[n]), i, array_fill('entry'::text, array[n]), $5,
            array_fill(1::bigint, array[n]), array_fill('ExpenseAdded'::text, array[n]), array_fill('1'::text, array[n]),
            array_fill(json_build_object('note', repeat('x', 500))::text, array[n]), array_fill(date '2026-11-21', array[n]),
            array_fill(sha256(''), array[n]), '{}'::int[], '{}'::text[], '{}'::bytea[])
        from (select cardinality($3::uuid[]) n, array(select generate_series(1, cardinality($3::uuid[]))) i) x",
    )
    .bind(lane.0)
    .bind(family.uuid())
    .bind(commands)
    .bind(heads)
    .bind(streams)
    .fetch_one(owner)
    .await
    .unwrap();
    let plan = &explained[0]["Plan"];
    let count = |name: &str| plan[name].as_i64().expect("Postgres counts buffers");
    Pages {
        touched: count("Shared Hit Blocks") + count("Shared Read Blocks"),
        dirtied: count("Shared Dirtied Blocks"),
    }
}

/// What a batch costs a family that has booked so many entries with ids of one kind, and goes on with that kind.
async fn cost(
    fixture: &Fixture,
    owner: &mut PgConnection,
    lane: i16,
    entries: i64,
    ids: fn(FamilyId, i64) -> Ids,
) -> Pages {
    let lane = Lane(lane);
    let family = family_of(fixture, lane, entries, ids).await;
    let next = |from: i64| -> Vec<Ids> { (from..from + COMMANDS).map(|number| ids(family, number)).collect() };
    // Once for plans and catalogues.
    append(owner, lane, family, entries + 1, &next(entries)).await;
    let pages = append(owner, lane, family, entries + 1 + COMMANDS, &next(entries + COMMANDS)).await;
    let stored = fixture.whole.lane_head(lane).await.unwrap();
    assert_eq!(stored, entries + 1 + 2 * COMMANDS, "both batches were taken");
    pages
}

#[tokio::test]
async fn a_command_changes_no_more_pages_in_a_long_ledger_than_in_a_new_one() {
    let fixture = Fixture::new().await;
    // One connection, for each plans and looks into the catalogues for itself.
    let pool = fixture.database.superuser().await;
    let mut owner = pool.acquire().await.unwrap();
    let new = cost(&fixture, &mut owner, 0, 0, in_order).await;
    let long = cost(&fixture, &mut owner, 1, LONG, in_order).await;
    let random = cost(&fixture, &mut owner, 2, LONG, at_random).await;
    println!("{COMMANDS} commands: new {new:?}, long {long:?}, long with random ids {random:?}");
    // An index of 20,000 is one level higher than one of 100: a page more for each of an event's keys.
    let higher = 6 * COMMANDS;
    assert!(long.touched <= new.touched + higher, "{long:?} after {new:?}");
    assert!(2 * long.dirtied <= 3 * new.dirtied + 8, "{long:?} after {new:?}");
    // And it is the ids that make it so: with random ones nearly every command changes two leaves of its own.
    assert!(random.dirtied >= long.dirtied + COMMANDS, "{random:?} beside {long:?}");
    drop(owner);
    pool.close().await;
    fixture.end().await;
}

/// Pages that are looked at to learn of a change of access.
async fn looked_at(owner: &mut PgConnection, lane: i16, family: FamilyId) -> i64 {
    let explained: serde_json::Value = sqlx::query_scalar(
        "explain (analyze, buffers, format json) select * from log.access_ends(array[$1], array[$2])",
    )
    .bind(lane)
    .bind(family.uuid())
    .fetch_one(owner)
    .await
    .unwrap();
    let plan = &explained[0]["Plan"];
    ["Shared Hit Blocks", "Shared Read Blocks"]
        .map(|name| plan[name].as_i64().expect("Postgres counts buffers"))
        .iter()
        .sum()
}

/// It is asked every second, of each family with an open session of a paired device.
#[tokio::test]
async fn who_sees_what_is_asked_at_no_more_pages_of_a_long_ledger_than_of_a_new_one() {
    let fixture = Fixture::new().await;
    let new = family_of(&fixture, Lane(0), 0, in_order).await;
    let long = family_of(&fixture, Lane(1), LONG, in_order).await;
    let pool = fixture.database.superuser().await;
    let mut owner = pool.acquire().await.unwrap();
    // Once for plans and catalogues.
    looked_at(&mut owner, 0, new).await;
    looked_at(&mut owner, 1, long).await;
    let of_new = looked_at(&mut owner, 0, new).await;
    let of_long = looked_at(&mut owner, 1, long).await;
    println!("asked: new {of_new} pages, long {of_long}");
    assert!(of_new > 0 && of_long <= of_new + 8, "{of_long} after {of_new}");
    drop(owner);
    pool.close().await;
    fixture.end().await;
}
