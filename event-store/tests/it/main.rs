//! The log against a real Postgres, and its relay against a real Kafka.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod access_ends;
mod append;
mod concurrency;
mod cqrs;
mod export;
mod feed;
mod growth;
mod guards;
mod keys;
mod property;
mod relay;
mod seal;
mod support;
mod together;
mod vectors;
mod verify;
mod versions;
