//! Every command of the family, one line each.

mod add_member;
mod change_role;
mod choose_leaderboard;
mod create_family;
mod join_family;

pub use add_member::AddMember;
pub use change_role::ChangeRole;
pub use choose_leaderboard::ChooseLeaderboard;
pub use create_family::CreateFamily;
pub use join_family::JoinFamily;
