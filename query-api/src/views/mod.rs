//! Every view of a family, one line each. The list of one's own families stands apart, in [`families`].

pub mod account_shares;
pub mod accounts;
pub mod badges;
pub mod bank_connections;
pub mod budgets;
pub mod categories;
pub mod chores;
pub mod dashboard;
pub mod entries;
pub mod families;
pub mod imports;
pub mod leaderboard;
pub mod members;
pub mod notifications;
pub mod spending;
pub mod spending_limits;
pub mod spending_requests;
pub mod trend;

use crate::view::ViewEntry;

/// The list.
pub const VIEWS: &[ViewEntry] = &[
    ViewEntry::of::<account_shares::AccountShares>(),
    ViewEntry::of::<accounts::Accounts>(),
    ViewEntry::of::<badges::Badges>(),
    ViewEntry::of::<bank_connections::BankConnections>(),
    ViewEntry::of::<budgets::Budgets>(),
    ViewEntry::of::<categories::Categories>(),
    ViewEntry::of::<chores::Chores>(),
    ViewEntry::of::<dashboard::Dashboard>(),
    ViewEntry::of::<entries::Entries>(),
    ViewEntry::of::<imports::Imports>(),
    ViewEntry::of::<leaderboard::Leaderboard>(),
    ViewEntry::of::<members::Members>(),
    ViewEntry::of::<notifications::Notifications>(),
    ViewEntry::of::<spending::Spending>(),
    ViewEntry::of::<spending_limits::SpendingLimits>(),
    ViewEntry::of::<spending_requests::SpendingRequests>(),
    ViewEntry::of::<trend::Trend>(),
];
