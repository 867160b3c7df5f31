//! Guard rails of the database: append only by privilege and by trigger, and one family at a time.

use event_store::Lane;
use service_kit::database::DatabaseRole;
use sqlx::{Executor, PgPool};

use crate::support::{Fixture, LANE, command, family};

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

/// Tables of the log that the writer reads, each with how many rows a family of the test has there.
const READ_BY_THE_WRITER: [(&str, [i64; 2]); 3] = [("events", [2, 3]), ("commands", [1, 1]), ("families", [1, 1])];

#[tokio::test]
async fn the_writer_sees_the_family_it_names_and_nothing_without_one() {
    let fixture = Fixture::new().await;
    let families = [fixture.family_of(1, 2).await, fixture.family_of(2, 3).await];
    let writer = fixture.log.pool();
    for (table, expected) in READ_BY_THE_WRITER {
        let all = format!("select count(*) from log.{table}");
        let without: i64 = sqlx::query_scalar(&all).fetch_one(writer).await.unwrap();
        assert_eq!(without, 0, "{table} without a family");
        for (number, id) in families.iter().enumerate() {
            let mut tx = fixture.log.about(*id).await.unwrap();
            let with: i64 = sqlx::query_scalar(&all).fetch_one(&mut *tx).await.unwrap();
            assert_eq!(with, expected[number], "{table} of one family");
            let of_others = format!("{all} where family_id <> $1");
            let others: i64 = sqlx::query_scalar(&of_others)
                .bind(id.uuid())
                .fetch_one(&mut *tx)
                .await
                .unwrap();
            assert_eq!(others, 0, "{table} of others");
            let other = families[1 - number];
            let of_other = format!("{all} where family_id = $1");
            let named: i64 = sqlx::query_scalar(&of_other)
                .bind(other.uuid())
                .fetch_one(&mut *tx)
                .await
                .unwrap();
            assert_eq!(named, 0, "{table} of another that is named");
        }
        // The setting went with its transactions.
        let after: i64 = sqlx::query_scalar(&all).fetch_one(writer).await.unwrap();
        assert_eq!(after, 0, "{table} afterwards");
    }
    // Asked by its own name, a partition shows nothing whatever is set.
    let mut tx = fixture.log.about(families[0]).await.unwrap();
    let partition = sqlx::query("select from log.events_lane_0").fetch_all(&mut *tx).await;
    assert!(partition.is_err());
    drop(tx);
    assert!(
        refusal(writer, "select from log.claims")
            .await
            .contains("permission denied")
    );
    fixture.end().await;
}

#[tokio::test]
async fn the_writer_appends_by_the_function_and_writes_nothing_by_itself() {
    let fixture = Fixture::new().await;
    let one = fixture.family_of(1, 2).await;
    let id = one.uuid();
    let event = "(aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, lane, position, family_id, \
         family_seq, command_id, effective_on, recorded_at, leaf_hash, chain_hash)";
    for insert in [
        format!("insert into log.families values ('{id}', 0, now())"),
        format!(
            "insert into log.events {event} values ('family', '{id}', 3, 'MemberAdded', '1', '{{}}', '{{}}', 0, 3, '{id}', 3, \
             gen_random_uuid(), now(), now(), sha256('a'), sha256('b'))"
        ),
        format!("insert into log.commands values (0, '{id}', gen_random_uuid(), sha256('a'), 3, 3, 3, now())"),
        format!("insert into log.claims values ('name', sha256('a'), '{id}', gen_random_uuid())"),
    ] {
        // Its own family is named, and it makes no difference.
        let mut tx = fixture.log.pool().begin().await.unwrap();
        sqlx::query("select set_config('kinledger.family_id', $1, true)")
            .bind(id.to_string())
            .execute(&mut *tx)
            .await
            .unwrap();
        let refused = tx.execute(sqlx::raw_sql(&insert)).await.expect_err(&insert);
        let code = refused.as_database_error().and_then(|error| error.code());
        assert_eq!(code.as_deref(), Some("42501"), "{insert}: {refused}");
    }
    fixture.append(command(one, 2, 1)).await;
    assert_eq!(fixture.log.read_family(LANE, one, 0, 10).await.unwrap().len(), 3);
    fixture.end().await;
}

#[tokio::test]
async fn no_login_acts_as_the_functions_of_the_log_and_nobody_else_calls_them() {
    let fixture = Fixture::new().await;
    fixture.family_of(1, 1).await;
    let login = PgPool::connect(&fixture.database.service_url().await).await.unwrap();
    let said = refusal(&login, "set role kinledger_log").await;
    assert!(said.contains("permission denied to set role"), "{said}");
    login.close().await;
    let questions = [
        "select log.families_of('usr_x')",
        "select log.known_families('{}')",
        "select log.access_ends('{}', '{}')",
    ];
    for role in DatabaseRole::ALL
        .into_iter()
        .filter(|role| *role != DatabaseRole::Writer)
    {
        let pool = fixture.database.pool(role).await;
        for question in questions {
            assert!(
                refusal(&pool, question).await.contains("permission denied"),
                "{role:?}: {question}"
            );
        }
        pool.close().await;
    }
    for question in questions {
        fixture.log.pool().execute(sqlx::raw_sql(question)).await.unwrap();
    }
    fixture.end().await;
}
