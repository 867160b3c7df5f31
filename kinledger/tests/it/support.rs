//! A Kinledger of a test's own, and the people who use it.

mod client;
mod household;
mod process;

pub use client::{Client, Reply};
pub use household::{Household, PASSWORD, Person, amount, dec, money, payload, register, today};
pub use process::Kinledger;
