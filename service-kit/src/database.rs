//! Postgres: one pool per part, each acting in the database role that part needs and no other.
//!
//! The login in the address is a member of all roles (the migrations grant them); a pool steps down to its own with
//! `set role` on every new connection. Time-outs belong to the role a connection acts in, so that a stalled client cannot
//! hold a lane.
//!
//! Tables of read models are named without a schema: which generation of them is meant is in the search path, which those who
//! read and write them set at the start of each transaction (projectors/src/generation.rs). The tables of the schema `views`,
//! the definition, are what a connection finds before that.

use std::time::Duration;

use sqlx::{
    Connection, Executor, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

/// What a pool may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatabaseRole {
    /// Appends to the log, and reads it one family at a time.
    Writer,
    /// Keeps identities: accounts, sessions, devices, invitations.
    Identity,
    /// Reads the log and writes views.
    Projector,
    /// Reads views, one family at a time.
    Reader,
    /// Reads the log and keeps the relay's checkpoints.
    Relay,
    /// Reads the log, one family at a time, into temporary tables.
    Replayer,
    /// Reads the log and keeps its trees and signed checkpoints.
    Sealer,
    /// Reads the log, to know what statements are for.
    Reactor,
    /// Reads the log of every family, by an operator's hand.
    Auditor,
}

/// Lock, statement and idle-in-transaction time-outs of identity. A sign-in waits for no more than a row of its own account; the
/// longest statement forgets ten thousand rows whose term is over.
const IDENTITY_TIMEOUTS_MS: (u32, u32, u32) = (5_000, 30_000, 10_000);

impl DatabaseRole {
    /// Every role there is.
    pub const ALL: [Self; 9] = [
        Self::Writer,
        Self::Identity,
        Self::Projector,
        Self::Reader,
        Self::Relay,
        Self::Replayer,
        Self::Sealer,
        Self::Reactor,
        Self::Auditor,
    ];

    /// The role's name in Postgres.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Writer => "kinledger_writer",
            Self::Identity => "kinledger_identity",
            Self::Projector => "kinledger_projector",
            Self::Reader => "kinledger_reader",
            Self::Relay => "kinledger_relay",
            Self::Replayer => "kinledger_replayer",
            Self::Sealer => "kinledger_sealer",
            Self::Reactor => "kinledger_reactor",
            Self::Auditor => "kinledger_auditor",
        }
    }

    /// Where tables are found that are named without a schema.
    const fn search_path(self) -> &'static str {
        match self {
            Self::Projector | Self::Reader => "views",
            Self::Writer | Self::Identity | Self::Relay | Self::Sealer | Self::Reactor | Self::Auditor => "pg_catalog",
            Self::Replayer => "pg_temp",
        }
    }

    /// Lock, statement and idle-in-transaction time-outs, in milliseconds.
    const fn timeouts_ms(self) -> (u32, u32, u32) {
        match self {
            Self::Writer => (10_000, 30_000, 10_000),
            Self::Identity => IDENTITY_TIMEOUTS_MS,
            Self::Projector => (10_000, 120_000, 60_000),
            Self::Reader | Self::Reactor => (2_000, 10_000, 10_000),
            Self::Replayer => (2_000, 30_000, 30_000),
            Self::Relay | Self::Sealer | Self::Auditor => (10_000, 60_000, 60_000),
        }
    }
}

/// The forward-only migrations of all three schemas.
pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../migrations");

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// It cannot be reached, or refuses the login.
    #[error("cannot connect to Postgres")]
    Connect(#[source] sqlx::Error),
    /// Its tables cannot be brought up to date.
    #[error("cannot migrate the database")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    /// A login cannot be let in.
    #[error(
        "cannot let the login '{0}' step down to the parts' roles: is it there, and may DATABASE_URL's login grant them?"
    )]
    Admit(String, #[source] sqlx::Error),
}

/// Opens a pool that acts in `role`. Durability is switched on for every connection, whatever the server's default.
///
/// # Errors
/// [`DatabaseError::Connect`].
pub async fn connect(url: &str, role: DatabaseRole, max_connections: u32) -> Result<PgPool, DatabaseError> {
    let options: PgConnectOptions = url.parse().map_err(DatabaseError::Connect)?;
    let options = options.application_name(role.as_str()).statement_cache_capacity(200);
    let (lock_ms, statement_ms, idle_ms) = role.timeouts_ms();
    // What was answered to somebody is on disk, and on a standby where one is waited for.
    let is_answered_by = matches!(role, DatabaseRole::Writer | DatabaseRole::Identity);
    let durability = if is_answered_by { "on" } else { "local" };
    let setup = format!(
        "set role {}; set lock_timeout = {lock_ms}; set statement_timeout = {statement_ms}; \
         set idle_in_transaction_session_timeout = {idle_ms}; set synchronous_commit = {durability}; set time zone 'UTC'; \
         set search_path = {}",
        role.as_str(),
        role.search_path()
    );
    PgPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(Duration::from_secs(10))
        .after_connect(move |connection, _| {
            let setup = setup.clone();
            Box::pin(async move {
                connection.execute(sqlx::raw_sql(&setup)).await?;
                Ok(())
            })
        })
        .connect_with(options)
        .await
        .map_err(DatabaseError::Connect)
}

/// Is the database away or busy, rather than what it was asked wrong? Then a later attempt may succeed.
///
/// `event_store::LogError::is_unavailable` tells the same of the log, which knows nothing of this crate.
pub fn is_unavailable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => error.code().is_some_and(|code| speaks_of_the_server(&code)),
        _ => matches!(
            error,
            sqlx::Error::Io(_)
                | sqlx::Error::Tls(_)
                | sqlx::Error::Protocol(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::BeginFailed
                | sqlx::Error::WorkerCrashed
        ),
    }
}

/// SQLSTATE classes that speak of the server's state and not of the statement: connection (08), rollback (40), resources (53), what
/// is locked, in use or takes no connections now (55), operator intervention and time-outs (57), system errors (58).
fn speaks_of_the_server(code: &str) -> bool {
    ["08", "40", "53", "55", "57", "58"]
        .into_iter()
        .any(|class| code.starts_with(class))
}

/// Brings every table up to date, as the login itself. Safe to run from several processes at once.
///
/// # Errors
/// [`DatabaseError`].
pub async fn migrate(url: &str) -> Result<(), DatabaseError> {
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .connect(url)
        .await
        .map_err(DatabaseError::Connect)?;
    let done = MIGRATIONS.run(&pool).await.map_err(DatabaseError::Migrate);
    pool.close().await;
    done
}

/// Lets a login step down to each part's role. It has nothing by itself.
///
/// # Errors
/// [`DatabaseError`].
pub async fn admit(url: &str, login: &str) -> Result<(), DatabaseError> {
    let mut owner = PgConnection::connect(url).await.map_err(DatabaseError::Connect)?;
    let failed = |error| DatabaseError::Admit(login.to_owned(), error);
    for role in DatabaseRole::ALL {
        let statement = format!("grant {} to \"{}\"", role.as_str(), login.replace('"', "\"\""));
        owner.execute(sqlx::raw_sql(&statement)).await.map_err(failed)?;
    }
    owner.close().await.map_err(DatabaseError::Connect)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn away_and_busy_is_told_from_wrong() {
        for away in [sqlx::Error::PoolTimedOut, sqlx::Error::PoolClosed] {
            assert!(is_unavailable(&away), "{away}");
        }
        assert!(is_unavailable(
            &std::io::Error::from(std::io::ErrorKind::ConnectionRefused).into()
        ));
        assert!(!is_unavailable(&sqlx::Error::RowNotFound));
        for code in ["08006", "40001", "53300", "55000", "55P03", "57014", "57P01", "58030"] {
            assert!(speaks_of_the_server(code), "{code}");
        }
        for code in ["23505", "28000", "3D000", "42501", "XX000"] {
            assert!(!speaks_of_the_server(code), "{code}");
        }
    }
}
