//! Every command about spending, one line each.

mod approve_spending;
mod cancel_spending_request;
mod decline_spending;
mod remove_spending_limit;
mod request_spending;
mod set_spending_limit;

pub use approve_spending::ApproveSpending;
pub use cancel_spending_request::CancelSpendingRequest;
pub use decline_spending::DeclineSpending;
pub use remove_spending_limit::RemoveSpendingLimit;
pub use request_spending::RequestSpending;
pub use set_spending_limit::SetSpendingLimit;
