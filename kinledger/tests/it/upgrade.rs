//! An installation of a release before, and what its upgrade does to it.

use std::borrow::Cow;

use service_kit::{
    database::{self, DatabaseRole, MIGRATIONS},
    testing::TestDatabase,
};
use sqlx::{
    Connection, PgConnection,
    migrate::{Migration, Migrator},
};
use tokio::sync::{Mutex, MutexGuard};
use uuid::Uuid;

/// From this migration on rows are built in generations as they are today.
const GENERATIONS: i64 = 20_261_121_000_026;

/// A database as a release before left it, owned by a login that is no superuser, with the services' login of then.
pub struct Before {
    server: TestDatabase,
    name: String,
    owner: String,
    login: String,
    _alone: MutexGuard<'static, ()>,
}

/// One at a time: roles are the whole server's, and a migration looks at all of them.
static ALONE: Mutex<()> = Mutex::const_new(());

impl Before {
    /// As it was before a migration.
    pub async fn create(migration: i64) -> Self {
        let alone = ALONE.lock().await;
        // Another database of the server has every role already, as one beside it would.
        let server = TestDatabase::create().await;
        let number = Uuid::new_v4().simple().to_string();
        let [name, owner, login] = ["kinledger_test", "kt_owner", "kt_login"].map(|kind| format!("{kind}_{number}"));
        let admin = server.superuser().await;
        let old_roles: Vec<&str> = DatabaseRole::ALL
            .iter()
            .filter(|role| **role != DatabaseRole::Identity)
            .map(|role| role.as_str())
            .collect();
        let old_roles = old_roles.join(", ");
        for statement in [
            format!("create role {owner} login createrole"),
            format!("grant {old_roles}, kinledger_identity to {owner} with admin option"),
            format!("create role {login} login noinherit"),
            format!("grant {old_roles} to {login}"),
            format!("create database {name} owner {owner}"),
        ] {
            sqlx::raw_sql(&statement).execute(&admin).await.unwrap();
        }
        admin.close().await;
        let before = Self {
            server,
            name,
            owner,
            login,
            _alone: alone,
        };
        before.migrate_below(migration).await;
        before
    }

    fn url(&self, login: &str) -> String {
        let url = self.server.url();
        let (base, _) = url.rsplit_once('/').unwrap();
        let (_, place) = base.rsplit_once('@').unwrap();
        format!("postgres://{login}@{place}/{}", self.name)
    }

    /// Runs the migrations that come before one.
    async fn migrate_below(&self, migration: i64) {
        let earlier = |one: &&Migration| one.version < migration;
        let migrations: Vec<Migration> = MIGRATIONS.iter().filter(earlier).cloned().collect();
        assert!(!migrations.is_empty());
        let migrator = Migrator {
            migrations: Cow::Owned(migrations),
            ..Migrator::DEFAULT
        };
        let mut owner = PgConnection::connect(&self.url(&self.owner)).await.unwrap();
        migrator.run(&mut owner).await.unwrap();
        owner.close().await.unwrap();
    }

    /// Runs the migrations that are left.
    pub async fn upgrade(&self) {
        database::migrate(&self.url(&self.owner)).await.unwrap();
    }

    /// A connection of the services that acts in `role`.
    pub async fn acting_as(&self, role: &str) -> PgConnection {
        let mut connection = PgConnection::connect(&self.url(&self.login)).await.unwrap();
        sqlx::raw_sql(&format!("set role {role}"))
            .execute(&mut connection)
            .await
            .unwrap();
        connection
    }

    pub async fn end(self) {
        let admin = self.server.superuser().await;
        let (name, owner, login) = (&self.name, &self.owner, &self.login);
        for statement in [
            format!("drop database {name} with (force)"),
            format!("drop role {login}"),
            format!("drop owned by {owner}"),
            format!("drop role {owner}"),
        ] {
            sqlx::raw_sql(&statement).execute(&admin).await.unwrap();
        }
        admin.close().await;
        self.server.drop().await;
    }
}

/// Until its own rows are built, a release answers from those of a release before, whichever that was.
#[tokio::test]
async fn rows_of_before_have_every_column_that_their_views_ask_for() {
    let later: Vec<i64> = MIGRATIONS
        .iter()
        .map(|one| one.version)
        .filter(|version| *version > GENERATIONS)
        .collect();
    assert!(later.len() > 30, "{}", later.len());
    let before = Before::create(later[0]).await;
    let mut projector = before.acting_as("kinledger_projector").await;
    for migration in later {
        before.migrate_below(migration).await;
        let built = sqlx::query(
            "select generations.begin_build(1, array_agg(table_name::text), array[]::text[])
             from information_schema.tables
             where table_schema = 'views' and table_name not in ('checkpoints', 'family_heads', 'parked_families')",
        );
        built.execute(&mut projector).await.unwrap();
    }
    before.upgrade().await;
    let (generations, columns, missing): (i64, i64, Option<String>) = sqlx::query_as(
        "select
             count(distinct b.schema_name),
             count(*),
             string_agg(h.oid::regclass || '.' || d.attname, ', ') filter (where not exists (
                 select from pg_attribute a
                 where a.attrelid = h.oid and a.attname = d.attname and a.atttypid = d.atttypid and not a.attisdropped
             ))
         from generations.built b
         join pg_class h on h.relnamespace = to_regnamespace(b.schema_name) and h.relkind = 'r'
         join pg_class t on t.relnamespace = 'views'::regnamespace and t.relname = h.relname
         join pg_attribute d on d.attrelid = t.oid and d.attnum > 0 and not d.attisdropped",
    )
    .fetch_one(&mut projector)
    .await
    .unwrap();
    assert!(
        generations > 30 && columns > 1_000,
        "{generations} generations, {columns} columns"
    );
    assert_eq!(missing, None);
    projector.close().await.unwrap();
    before.end().await;
}
