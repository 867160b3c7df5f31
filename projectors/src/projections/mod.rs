//! Every projection, one line each. None reads another's tables unless its own file says so.

mod account_days;
mod account_shares;
mod accounts;
mod badges;
mod bank_connections;
mod budgets;
mod categories;
mod chores;
mod consents;
mod entries;
mod families;
mod imports;
mod inbox_marks;
mod leaderboard;
mod members;
mod notifications;
mod recipients;
mod spending;
mod spending_limits;
mod spending_requests;
mod standings;

use crate::projection::Projection;

/// Tables that all projections share: where each family stands in the rows, and which do not go on.
pub const FAMILIES_TABLES: &[&str] = &["family_heads", "parked_families"];

/// The list.
pub const PROJECTIONS: &[&dyn Projection] = &[
    &account_days::AccountDays,
    &account_shares::AccountShares,
    &accounts::Accounts,
    &badges::Badges,
    &bank_connections::BankConnections,
    &budgets::Budgets,
    &categories::Categories,
    &chores::Chores,
    &consents::Consents,
    &entries::Entries,
    &families::Families,
    &imports::Imports,
    &inbox_marks::InboxMarks,
    &leaderboard::Leaderboard,
    &members::Members,
    &notifications::Notifications,
    &spending::Spending,
    &spending_limits::SpendingLimits,
    &spending_requests::SpendingRequests,
    &standings::Standings,
];
