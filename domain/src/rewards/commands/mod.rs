//! Every command of rewards, one line each.

mod award_badge;

pub use award_badge::AwardBadge;
