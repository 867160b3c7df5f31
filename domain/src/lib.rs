//! The rules of a family's ledger: aggregates, commands, events, money and calendar. Pure and synchronous.
//!
//! Nothing here reads a clock, a file, the network or a random source: time, actor and ids arrive as values, so the same
//! history and command always give the same answer. Start at [`decide`] for how a command is decided, at [`commands`] for
//! the list of them, and at [`journal`] for what every money event has to keep.

pub mod access;
pub mod actor;
pub mod aggregate;
pub mod book;
pub mod calendar;
pub mod commands;
pub mod decide;
pub mod event;
pub mod id;
pub mod journal;
pub mod money;
pub mod parsing;
pub mod personal;
pub mod posting;
pub mod refusal;
pub mod statement;
pub mod stream;
#[cfg(test)]
mod testing;
pub mod text;
pub mod upcasters;

pub mod bank_connection;
pub mod budget;
pub mod category;
pub mod chore;
pub mod entry;
pub mod family;
pub mod inbox;
pub mod ledger_account;
pub mod rewards;
pub mod spending;
pub mod statement_import;

pub use money::{Currency, Money, MoneyError};
