//! People's accounts, as an operator sets them up and helps with them.

mod options;
mod reset;

pub use options::AccountOptions;
pub use reset::{AccountsCommand, run};
