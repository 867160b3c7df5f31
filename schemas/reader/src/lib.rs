//! How release 0.1.0 reads events: a copy of its own code, made by scripts/release.sh and never edited.

#![allow(dead_code, unused_imports)]

pub mod actor;
pub mod bank_connection;
pub mod budget;
pub mod calendar;
pub mod category;
pub mod chore;
pub mod entry;
pub mod event;
pub mod family;
pub mod id;
pub mod inbox;
pub mod ledger_account;
pub mod money;
pub mod posting;
pub mod rewards;
pub mod statement_import;
pub mod upcasters;

pub use money::{Currency, Money, MoneyError};

/// The release.
pub const RELEASE: &str = "0.1.0";
