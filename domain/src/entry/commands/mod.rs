//! Every command of an entry, one line each.

mod add_expense;
mod add_income;
mod recategorise_entry;
mod reverse_entry;
mod splits;
mod transfer;

pub use add_expense::AddExpense;
pub use add_income::AddIncome;
pub use recategorise_entry::RecategoriseEntry;
pub(crate) use recategorise_entry::moved;
pub use reverse_entry::ReverseEntry;
pub use splits::Split;
pub use transfer::Transfer;
