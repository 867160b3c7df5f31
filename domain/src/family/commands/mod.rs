//! Every command of the family, one line each.

mod accept_handover;
mod add_member;
mod change_notice;
mod change_role;
mod choose_leaderboard;
mod create_family;
mod delete_family;
mod end_own_place;
mod erase_member;
mod give_consent;
mod hand_over_family;
mod join_family;
mod leave_family;
mod record_erasure;
mod remove_member;
mod rename_member;
mod revoke_consent;
mod set_age_band;
mod set_audit_term;
mod set_country;
mod withdraw_handover;

#[cfg(test)]
mod consent_walk_tests;

pub use accept_handover::AcceptHandover;
pub use add_member::AddMember;
pub use change_notice::ChangeNotice;
pub use change_role::ChangeRole;
pub use choose_leaderboard::ChooseLeaderboard;
pub use create_family::CreateFamily;
pub use delete_family::DeleteFamily;
pub use end_own_place::EndOwnPlace;
pub use erase_member::EraseMember;
pub use give_consent::{ConsentSaid, GiveConsent};
pub use hand_over_family::HandOverFamily;
pub use join_family::JoinFamily;
pub use leave_family::LeaveFamily;
pub use record_erasure::RecordErasure;
pub use remove_member::RemoveMember;
pub use rename_member::RenameMember;
pub use revoke_consent::RevokeConsent;
pub use set_age_band::SetAgeBand;
pub use set_audit_term::SetAuditTerm;
pub use set_country::SetCountry;
pub use withdraw_handover::WithdrawHandover;
