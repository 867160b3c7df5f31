//! What integration tests need: a database of their own on the server the test command started, and fakes at the network.

pub mod mailbox;
pub mod statements;

use sqlx::{Connection, PgConnection, PgPool};
use uuid::Uuid;

use crate::database::{self, DatabaseRole};

/// Where the test command says Postgres is.
pub const URL_VARIABLE: &str = "KINLEDGER_TEST_DATABASE_URL";

/// A fresh, migrated database; dropped with [`TestDatabase::drop`].
pub struct TestDatabase {
    server: String,
    name: String,
}

impl TestDatabase {
    /// Creates and migrates a database.
    ///
    /// # Panics
    /// When no server is named or it cannot be reached: a missing service fails its tests, it does not skip them.
    pub async fn create() -> Self {
        let server = std::env::var(URL_VARIABLE).unwrap_or_else(|_| {
            panic!("{URL_VARIABLE} is not set: run the tests with `make test`, which starts Postgres")
        });
        let name = format!("kinledger_test_{}", Uuid::new_v4().simple());
        let mut admin = PgConnection::connect(&server).await.expect("the test server answers");
        sqlx::query(&format!("create database {name}"))
            .execute(&mut admin)
            .await
            .expect("a database can be created");
        admin.close().await.expect("the connection closes");
        let database = Self { server, name };
        database::migrate(&database.url()).await.expect("the migrations run");
        database
    }

    /// The address of this database, with the server's own login (a superuser).
    pub fn url(&self) -> String {
        let (base, _) = self
            .server
            .rsplit_once('/')
            .expect("an address ends in a database name");
        format!("{base}/{}", self.name)
    }

    /// A pool that acts in `role`.
    pub async fn pool(&self, role: DatabaseRole) -> PgPool {
        database::connect(&self.url(), role, 10)
            .await
            .expect("the test database answers")
    }

    /// A pool with the server's own login, for tampering and inspection.
    pub async fn superuser(&self) -> PgPool {
        PgPool::connect(&self.url()).await.expect("the test database answers")
    }

    /// Drops the database, ending whatever still uses it.
    pub async fn drop(self) {
        let mut admin = PgConnection::connect(&self.server)
            .await
            .expect("the test server answers");
        sqlx::query(&format!("drop database if exists {} with (force)", self.name))
            .execute(&mut admin)
            .await
            .expect("the database can be dropped");
    }
}
