//! Every command of a bank connection, one line each.

mod connect_bank;
mod continuity;
mod matching;
mod sync_bank;

pub use connect_bank::ConnectBank;
pub(crate) use sync_bank::record_opening;
pub use sync_bank::{ROWS_MAX, SyncBank};
