//! What every binary needs: configuration, telemetry, health, shutdown, problem details and the signed-in actor.

pub mod access;
pub mod address;
pub mod auth;
pub mod bodies;
pub mod database;
pub mod health;
pub mod json;
pub mod private_file;
pub mod problem;
pub mod shutdown;
pub mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
