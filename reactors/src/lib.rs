//! Events, bank data and calendar ticks to commands and messages: the process managers.
//!
//! What is here turns something from outside into commands; it never writes to the log itself. [`imports`] turns a bank's file
//! into `connect-bank` and `sync-bank`.

pub mod imports;
