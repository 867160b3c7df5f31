//! Every command of an account, one line each.

mod close_account;
mod open_account;
mod share_account;

pub use close_account::CloseAccount;
pub use open_account::OpenAccount;
pub use share_account::ShareAccount;
