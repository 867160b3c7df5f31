//! Guard rails of the database: append only by privilege and by trigger, and one family at a time.

use event_store::Lane;
use service_kit::database::DatabaseRole;
use sqlx::{Executor, PgPool};

use crate::support::{Fixture, command, family};

const TABLES: [&str; 5] = [
    "log.events",
    "log.events_lane_0",
    "log.commands",
    "log.families",
    "log.claims",
];

fn changes(table: &str) -> [String; 3] {
    [
        format!("update {table} set family_id = family_id"),
        format!("delete from {table}"),
        format!("truncate {table}"),
    ]
}

async fn refusal(pool: &PgPool, statement: &str) -> String {
    let error = pool.execute(sqlx::raw_sql(statement)).await.expect_err(statement);
    let error = error
        .as_database_error()
        .unwrap_or_else(|| panic!("{statement}: not refused by the database"));
    assert_eq!(error.code().as_deref(), Some("42501"), "{statement}: {error}");
    error.message().to_owned()
}

#[tokio::test]
async fn no_role_may_change_what_is_logged() {
    let fixture = Fixture::new().await;
    fixture.family_of(1, 1).await;
    for role in DatabaseRole::ALL {
        let pool = fixture.database.pool(role).await;
        for statement in TABLES.iter().flat_map(|table| changes(table)) {
            assert!(
                refusal(&pool, &statement).await.contains("permission denied"),
                "{role:?}: {statement}"
            );
        }
        pool.close().await;
    }
    fixture.end().await;
}

#[tokio::test]
async fn even_the_owner_meets_the_trigger() {
    let fixture = Fixture::new().await;
    fixture.family_of(1, 1).await;
    let superuser = fixture.database.superuser().await;
    for statement in TABLES.iter().flat_map(|table| changes(table)) {
        assert!(
            refusal(&superuser, &statement).await.contains("is append-only"),
            "{statement}"
        );
    }
    let upsert = "insert into log.families select * from log.families on conflict (family_id) do update set lane = 1";
    assert!(refusal(&superuser, upsert).await.contains("is append-only"));
    superuser.close().await;
    fixture.end().await;
}

#[tokio::test]
async fn no_role_but_the_writer_appends_and_the_writer_adds_no_lane() {
    let fixture = Fixture::new().await;
    let insert = "insert into log.families (family_id, lane, created_at) values (gen_random_uuid(), 0, now())";
    for role in DatabaseRole::ALL
        .into_iter()
        .filter(|role| *role != DatabaseRole::Writer)
    {
        let pool = fixture.database.pool(role).await;
        assert!(refusal(&pool, insert).await.contains("permission denied"), "{role:?}");
        let log = event_store::Log::new(pool.clone(), [7; 32]);
        let error = log.append(Lane(0), &[command(family(1), 0, 1)]).await.unwrap_err();
        assert!(error.is_refused_by_database(), "{role:?}: {error:?}");
        pool.close().await;
    }
    let writer = fixture.log.pool();
    assert!(
        refusal(writer, "select log.add_lane(8::smallint)")
            .await
            .contains("permission denied")
    );
    assert!(
        refusal(writer, "insert into log.lanes values (9)")
            .await
            .contains("permission denied")
    );
    fixture.end().await;
}

#[tokio::test]
async fn the_reader_sees_nothing_and_with_a_privilege_one_family() {
    let fixture = Fixture::new().await;
    let (one, _) = (fixture.family_of(1, 2).await, fixture.family_of(2, 3).await);
    let reader = fixture.database.pool(DatabaseRole::Reader).await;
    assert!(
        refusal(&reader, "select count(*) from log.events")
            .await
            .contains("permission denied")
    );

    let superuser = fixture.database.superuser().await;
    let grant = "grant usage on schema log to kinledger_reader; \
         grant select on log.events, log.commands, log.families, log.claims to kinledger_reader";
    superuser.execute(sqlx::raw_sql(grant)).await.unwrap();
    for (table, expected) in [("events", 2), ("commands", 1), ("families", 1)] {
        let count = format!("select count(*) from log.{table}");
        let without: i64 = sqlx::query_scalar(&count).fetch_one(&reader).await.unwrap();
        assert_eq!(without, 0, "{table} without a family");
        let mut tx = reader.begin().await.unwrap();
        sqlx::query("select set_config('kinledger.family_id', $1, true)")
            .bind(one.uuid().to_string())
            .execute(&mut *tx)
            .await
            .unwrap();
        let with: i64 = sqlx::query_scalar(&count).fetch_one(&mut *tx).await.unwrap();
        assert_eq!(with, expected, "{table} of one family");
    }
    superuser.close().await;
    reader.close().await;
    fixture.end().await;
}

#[tokio::test]
async fn row_security_is_forced_on_every_family_table() {
    let fixture = Fixture::new().await;
    let superuser = fixture.database.superuser().await;
    let open: Vec<String> = sqlx::query_scalar(
        "select c.relname::text from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'family_id' \
         where c.relnamespace = 'log'::regnamespace and c.relkind in ('r', 'p') \
           and not (c.relrowsecurity and c.relforcerowsecurity)",
    )
    .fetch_all(&superuser)
    .await
    .unwrap();
    assert_eq!(open, Vec::<String>::new());
    superuser.close().await;
    fixture.end().await;
}

#[tokio::test]
async fn a_lane_can_be_added_and_used() {
    let fixture = Fixture::new().await;
    assert_eq!(fixture.log.lanes().await.unwrap(), event_store::LANES_DEFAULT);
    let superuser = fixture.database.superuser().await;
    superuser.execute("select log.add_lane(8::smallint)").await.unwrap();
    assert_eq!(fixture.log.lanes().await.unwrap(), 9);
    fixture.log.append(Lane(8), &[command(family(1), 0, 1)]).await.unwrap();
    assert_eq!(fixture.log.lane_of(family(1)).await.unwrap(), Some(Lane(8)));
    assert!(
        refusal(&superuser, "delete from log.events_lane_8")
            .await
            .contains("is append-only")
    );
    superuser.close().await;
    fixture.end().await;
}
