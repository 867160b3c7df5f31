//! The whole product as its users meet it: the real binary on a data folder of its own, HTTP in, HTTP out.

#![allow(
    clippy::unwrap_used,
    reason = "a test may expect what it has just arranged, also in its helpers"
)]

mod accounts;
mod apart;
mod as_of;
#[path = "../../../command-api/tests/it/identity/authenticators.rs"]
mod authenticators;
mod compose;
mod connections;
mod consent;
mod contracts;
mod crash;
mod edge;
mod erasure;
#[allow(dead_code, reason = "shared with the drills, which use all of it")]
#[path = "../drills/faults.rs"]
mod faults;
mod isolation;
mod leaving;
mod malformed;
mod paired;
mod person;
mod races;
mod rebuild;
mod renaming;
mod secrets;
mod session;
mod several;
mod spending;
mod stand_ins;
mod support;
mod trail;
mod upgrade;
mod visibility;
