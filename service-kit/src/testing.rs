//! What integration tests need: a database of their own on the server the test command started, and fakes at the network.

pub mod mailbox;
pub mod statements;
pub mod telephones;

use sqlx::{Connection, PgConnection, PgPool};
use uuid::Uuid;

use crate::database::{self, DatabaseRole};

/// Where the test command says Postgres is.
pub const URL_VARIABLE: &str = "KINLEDGER_TEST_DATABASE_URL";

/// The login of services on a test server, which asks no password of anybody on this machine.
const SERVICE_LOGIN: &str = "kinledger_test_service";

/// The address of a migrated database with the services' login instead of the owner's; the login is made when it is not there.
///
/// # Panics
/// When the server cannot be reached.
pub async fn service_url(owner_url: &str) -> String {
    let mut owner = PgConnection::connect(owner_url).await.expect("the test server answers");
    let statement = format!("create role {SERVICE_LOGIN} login noinherit");
    if let Err(error) = sqlx::raw_sql(&statement).execute(&mut owner).await {
        // A role belongs to the whole server, and another test was quicker.
        assert!(error.to_string().contains(SERVICE_LOGIN), "{error}");
    }
    for attempt in 0.. {
        match database::admit(owner_url, SERVICE_LOGIN).await {
            Ok(()) => break,
            Err(error) => assert!(attempt < 20, "{error}: {:?}", std::error::Error::source(&error)),
        }
    }
    owner.close().await.expect("the connection closes");
    let (scheme, rest) = owner_url.split_once("://").expect("an address has a scheme");
    let (_, place) = rest.rsplit_once('@').expect("an address has a login");
    format!("{scheme}://{SERVICE_LOGIN}@{place}")
}

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

    /// The address of this database, with a login that may step down to the parts' roles and has nothing by itself.
    pub async fn service_url(&self) -> String {
        service_url(&self.url()).await
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
