//! The log against a real Postgres.

mod export;
