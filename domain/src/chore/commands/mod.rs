//! Every command of a chore, one line each.

mod approve_chore;
mod claim_chore;
mod complete_chore;
mod offer_chore;
mod reject_chore;

pub use approve_chore::ApproveChore;
pub use claim_chore::ClaimChore;
pub use complete_chore::CompleteChore;
pub use offer_chore::OfferChore;
pub use reject_chore::RejectChore;
