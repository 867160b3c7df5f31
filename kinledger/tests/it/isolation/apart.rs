//! Identity and the writer of the log are two: neither role has anything of the other's, in a new installation or an upgraded one.

use std::{fs, path::PathBuf};

use service_kit::{database::DatabaseRole, testing::TestDatabase};
use sqlx::{Connection, PgConnection, PgPool, Postgres, Transaction};
use uuid::Uuid;

use crate::upgrade::Before;

/// With this migration identity got a role of its own.
const IDENTITY_ROLE: i64 = 20_261_121_000_240;

#[test]
fn identity_has_nothing_outside_its_schema_and_the_writer_nothing_in_it() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../schemas/database-rights.txt");
    let text = fs::read_to_string(path).unwrap();
    let of = |role: DatabaseRole| {
        let lines = text.lines().filter_map(move |line| line.strip_prefix(role.as_str()));
        lines.collect::<Vec<_>>()
    };
    let identity = of(DatabaseRole::Identity);
    assert!(identity.len() > 50, "{identity:#?}");
    let elsewhere = |line: &&&str| !line.contains(" identity.") && !line.starts_with(": schema identity:");
    assert_eq!(identity.iter().filter(elsewhere).collect::<Vec<_>>(), [&""; 0]);
    let writer = of(DatabaseRole::Writer);
    assert!(writer.len() > 20, "{writer:#?}");
    assert!(writer.iter().all(|line| !line.contains("identity")), "{writer:#?}");
}

async fn is_refused(connection: &mut PgConnection, statement: &str) {
    let refused = sqlx::raw_sql(statement).execute(connection).await.expect_err(statement);
    let code = refused.as_database_error().and_then(|error| error.code());
    assert_eq!(code.as_deref(), Some("42501"), "{statement}: {refused}");
}

async fn count(connection: &mut PgConnection, of: &str) -> i64 {
    let statement = format!("select count(*) from {of}");
    sqlx::query_scalar(&statement).fetch_one(connection).await.expect(of)
}

#[tokio::test]
async fn an_installation_of_before_is_upgraded_with_its_accounts_its_login_and_whoever_owns_it() {
    let before = Before::create(IDENTITY_ROLE).await;
    let mut writer = before.acting_as("kinledger_writer").await;
    let user = "insert into identity.users (user_id, email, password_hash, display_name)
        values (gen_random_uuid(), 'ada@example.org', '$argon2id$v=19$', 'Ada')";
    let key = "insert into identity.signing_keys (kid, public_key, sealed_private_key, signs_from)
        values ('k1', sha256('k1'), '\\x02', now())";
    for statement in [user, key] {
        sqlx::raw_sql(statement).execute(&mut writer).await.unwrap();
    }
    before.upgrade().await;

    // The services' login was let in to the new role with the migration, and finds what was there.
    let mut identity = before.acting_as("kinledger_identity").await;
    assert_eq!(count(&mut identity, "identity.users").await, 1);
    for statement in [
        "update identity.users set password_hash = '$argon2id$v=20$'",
        "insert into identity.security_events (kind) values ('key-rotated')",
    ] {
        let done = sqlx::raw_sql(statement).execute(&mut identity).await.unwrap();
        assert_eq!(done.rows_affected(), 1, "{statement}");
    }
    for statement in [
        "select from log.events",
        "select from keys.member_keys",
        "select from views.members",
    ] {
        is_refused(&mut identity, statement).await;
    }
    // Who appends has lost it, on the connection it had, too.
    for statement in [
        "select from identity.users",
        "insert into identity.security_events (kind) values ('x')",
    ] {
        is_refused(&mut writer, statement).await;
    }
    // Views and functions of identity read in their owner's name, who is bound by policies like everybody.
    let mut reader = before.acting_as("kinledger_reader").await;
    assert_eq!(count(&mut reader, "identity.public_keys").await, 1);
    for connection in [writer, identity, reader] {
        connection.close().await.unwrap();
    }
    before.end().await;
}

/// Tables of identity that name families, and whether a row may name none.
const ABOUT_FAMILIES: [(&str, bool); 5] = [
    ("api_keys", true),
    ("invitations", false),
    ("paired_devices", false),
    ("pairings", false),
    ("security_events", true),
];

/// What inserts one row about the family `$1` into the table; `$2` is somebody's account.
fn one_row(table: &str) -> String {
    let (columns, values) = match table {
        "api_keys" => (
            "api_key_id, key_hash, user_id, name, scopes, expires_at",
            "gen_random_uuid(), sha256(uuid_send(gen_random_uuid())), $2, 'key', '{read}', now() + interval '1 day'",
        ),
        "invitations" => (
            "code_hash, member_id, created_by, expires_at",
            "sha256(uuid_send(gen_random_uuid())), gen_random_uuid(), $2, now() + interval '1 day'",
        ),
        "paired_devices" => (
            "device_id, user_id, member_id, name, algorithm, public_key",
            "gen_random_uuid(), $2, gen_random_uuid(), 'tablet', 'ed25519', sha256('key')",
        ),
        "pairings" => (
            "pairing_id, secret_hash, code_hash, member_id, created_by, expires_at",
            "gen_random_uuid(), sha256(uuid_send(gen_random_uuid())), sha256(uuid_send(gen_random_uuid())), gen_random_uuid(), $2, \
             now() + interval '1 day'",
        ),
        "security_events" => ("kind, user_id", "'signed-in', $2"),
        other => panic!("{other}: a row of it?"),
    };
    format!("insert into identity.{table} (family_id, {columns}) values ($1, {values})")
}

#[tokio::test]
async fn a_statement_about_one_family_finds_no_row_of_another_in_identity() {
    let database = TestDatabase::create().await;
    let owner = database.superuser().await;
    let named: Vec<String> = sqlx::query_scalar(
        "select table_name::text from information_schema.columns
         where table_schema = 'identity' and column_name = 'family_id' order by 1",
    )
    .fetch_all(&owner)
    .await
    .unwrap();
    assert_eq!(
        named,
        ABOUT_FAMILIES.map(|(table, _)| table),
        "a table that names families has a policy by family"
    );
    let user = Uuid::new_v4();
    sqlx::query("insert into identity.users (user_id, display_name) values ($1, 'Ada')")
        .bind(user)
        .execute(&owner)
        .await
        .unwrap();
    let [mine, theirs] = [Uuid::new_v4(), Uuid::new_v4()];
    let identity = database.pool(DatabaseRole::Identity).await;
    for (table, may_name_none) in ABOUT_FAMILIES {
        let insert = one_row(table);
        for family in [Some(mine), Some(theirs), Some(theirs)]
            .into_iter()
            .chain(may_name_none.then_some(None))
        {
            sqlx::query(&insert)
                .bind(family)
                .bind(user)
                .execute(&owner)
                .await
                .unwrap();
        }
        let none = i64::from(may_name_none);
        let all = format!("select count(*) from identity.{table}");
        let count: i64 = sqlx::query_scalar(&all).fetch_one(&identity).await.unwrap();
        assert_eq!(count, 3 + none, "{table}: who signs in names no family");

        let mut tx = about(&identity, mine).await;
        // Nobody said `where family_id =` here.
        let count: i64 = sqlx::query_scalar(&all).fetch_one(&mut *tx).await.unwrap();
        assert_eq!(count, 1 + none, "{table}");
        let of_theirs = format!("{all} where family_id = $1");
        let count: i64 = sqlx::query_scalar(&of_theirs)
            .bind(theirs)
            .fetch_one(&mut *tx)
            .await
            .unwrap();
        assert_eq!(count, 0, "{table}: one that is named");
        if table != "security_events" {
            let deleted = sqlx::query(&format!("delete from identity.{table} where family_id is not null"))
                .execute(&mut *tx)
                .await
                .unwrap();
            assert_eq!(deleted.rows_affected(), 1, "{table}");
        }
        tx.rollback().await.unwrap();

        let mut tx = about(&identity, mine).await;
        let own = sqlx::query(&insert)
            .bind(mine)
            .bind(user)
            .execute(&mut *tx)
            .await
            .unwrap();
        assert_eq!(own.rows_affected(), 1, "{table}");
        let foreign = sqlx::query(&insert).bind(theirs).bind(user).execute(&mut *tx).await;
        let code = foreign.expect_err(table);
        let code = code.as_database_error().and_then(|error| error.code());
        assert_eq!(
            code.as_deref(),
            Some("42501"),
            "{table}: a row of another family is not written"
        );
    }
    // What belongs to a device is there where the device is.
    let added = sqlx::query(
        "insert into identity.paired_device_passkeys (device_id, credential_id, public_key, sign_count)
         select device_id, sha256(uuid_send(device_id)), sha256(uuid_send(device_id)), 0 from identity.paired_devices",
    )
    .execute(&owner)
    .await
    .unwrap();
    assert_eq!(added.rows_affected(), 3);
    let mut tx = about(&identity, mine).await;
    let passkeys: i64 = sqlx::query_scalar("select count(*) from identity.paired_device_passkeys")
        .fetch_one(&mut *tx)
        .await
        .unwrap();
    assert_eq!(passkeys, 1);
    for change in [
        "update identity.paired_devices set revoked_at = clock_timestamp()",
        "update identity.invitations set end_reason = 'revoked', ended_at = clock_timestamp()",
        "update identity.pairings set expires_at = clock_timestamp()",
    ] {
        let changed = sqlx::query(change).execute(&mut *tx).await.unwrap();
        assert_eq!(changed.rows_affected(), 1, "{change}");
    }
    drop(tx);
    identity.close().await;
    owner.close().await;
    database.drop().await;
}

async fn about(pool: &PgPool, family: Uuid) -> Transaction<'static, Postgres> {
    let mut tx = pool.begin().await.unwrap();
    sqlx::query("select set_config('kinledger.family_id', $1, true)")
        .bind(family.to_string())
        .execute(&mut *tx)
        .await
        .unwrap();
    tx
}
