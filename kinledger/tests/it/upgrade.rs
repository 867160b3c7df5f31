//! An installation of a release before, and what its upgrade does to it.

use std::borrow::Cow;

use service_kit::{
    database::{self, DatabaseRole, MIGRATIONS},
    testing::TestDatabase,
};
use sqlx::{Connection, PgConnection, migrate::Migrator};
use uuid::Uuid;

/// From this migration on rows are built in generations as they are today.
const GENERATIONS: i64 = 20_261_121_000_026;

/// A database as a release before left it, owned by a login that is no superuser, with the services' login of then.
pub struct Before {
    server: TestDatabase,
    name: String,
    owner: String,
    login: String,
}

impl Before {
    /// As it was before a migration.
    pub async fn create(migration: i64) -> Self {
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
        };
        let migrations: Vec<_> = MIGRATIONS
            .iter()
            .filter(|one| one.version < migration)
            .cloned()
            .collect();
        assert!(migrations.len() > 30 && migrations.len() < MIGRATIONS.iter().count());
        let migrator = Migrator {
            migrations: Cow::Owned(migrations),
            ..Migrator::DEFAULT
        };
        let mut owner = PgConnection::connect(&before.url(&before.owner)).await.unwrap();
        migrator.run(&mut owner).await.unwrap();
        owner.close().await.unwrap();
        before
    }

    fn url(&self, login: &str) -> String {
        let url = self.server.url();
        let (base, _) = url.rsplit_once('/').unwrap();
        let (_, place) = base.rsplit_once('@').unwrap();
        format!("postgres://{login}@{place}/{}", self.name)
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

/// Until its own rows are built, a release answers from those of the release before.
#[tokio::test]
async fn rows_of_before_have_every_column_that_their_views_ask_for() {
    let altering: Vec<i64> = MIGRATIONS
        .iter()
        .filter(|one| one.version > GENERATIONS)
        .filter(|one| one.sql.contains("alter table views.") && one.sql.contains(" add column "))
        .map(|one| one.version)
        .collect();
    assert!(!altering.is_empty());
    for migration in altering {
        let before = Before::create(migration).await;
        let mut projector = before.acting_as("kinledger_projector").await;
        let built: String = sqlx::query_scalar(
            "select generations.begin_build(1, array_agg(table_name::text), array[]::text[])
             from information_schema.tables
             where table_schema = 'views' and table_name not in ('checkpoints', 'family_heads', 'parked_families')",
        )
        .fetch_one(&mut projector)
        .await
        .unwrap();
        before.upgrade().await;
        let (columns, missing): (i64, Option<String>) = sqlx::query_as(
            "select
                 count(*),
                 string_agg(d.table_name || '.' || d.column_name, ', ') filter (where h.column_name is null)
             from information_schema.columns d
             left join information_schema.columns h
                 on h.table_schema = $1 and h.table_name = d.table_name and h.column_name = d.column_name
             where d.table_schema = 'views'
                 and exists (select from information_schema.tables t where t.table_schema = $1 and t.table_name = d.table_name)",
        )
        .bind(&built)
        .fetch_one(&mut projector)
        .await
        .unwrap();
        assert!(columns > 100, "{columns}");
        assert_eq!(missing, None, "of before {migration}");
        projector.close().await.unwrap();
        before.end().await;
    }
}
