//! The family: who belongs to it, in which role, in which calendar and currency.

pub mod commands;
mod events;
mod refusals;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    Currency,
    actor::Role,
    calendar::{Calendar, WeekStart},
    id::{AccountId, FamilyId, MemberId, UserId},
};

pub use events::*;
pub use refusals::FamilyRefusal;

/// A place in the family and, once taken, the person in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// The place.
    pub member_id: MemberId,
    /// The name shown in the family.
    pub display_name: String,
    /// What the member may do.
    pub role: Role,
    /// Shown on the leaderboard?
    pub on_leaderboard: bool,
    /// Who signs in for it; none until the invitation is accepted.
    pub user_id: Option<UserId>,
    /// Wallets by currency.
    pub wallets: BTreeMap<Currency, AccountId>,
}

/// The family's state. Its size follows the number of members, not of entries.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Family {
    created: Option<FamilyCreated>,
    members: BTreeMap<MemberId, Member>,
    users: BTreeMap<UserId, MemberId>,
}

impl Family {
    pub(crate) fn fold(&mut self, event: FamilyEvent) {
        match event {
            FamilyEvent::FamilyCreated(created) => self.created = Some(created),
            FamilyEvent::MemberAdded(added) => {
                let member = Member {
                    member_id: added.member_id,
                    display_name: added.display_name,
                    role: added.role,
                    on_leaderboard: added.on_leaderboard,
                    user_id: None,
                    wallets: BTreeMap::new(),
                };
                self.members.insert(added.member_id, member);
            }
            FamilyEvent::MemberJoined(joined) => {
                self.users.insert(joined.user_id, joined.member_id);
                if let Some(member) = self.members.get_mut(&joined.member_id) {
                    member.user_id = Some(joined.user_id);
                }
            }
            FamilyEvent::MemberRoleChanged(changed) => {
                if let Some(member) = self.members.get_mut(&changed.member_id) {
                    member.role = changed.to;
                }
            }
            FamilyEvent::LeaderboardChoiceMade(choice) => {
                if let Some(member) = self.members.get_mut(&choice.member_id) {
                    member.on_leaderboard = choice.on_leaderboard;
                }
            }
            FamilyEvent::WalletAssigned(wallet) => {
                if let Some(member) = self.members.get_mut(&wallet.member_id) {
                    member.wallets.insert(wallet.currency, wallet.account_id);
                }
            }
        }
    }

    /// Has it been created?
    pub fn exists(&self) -> bool {
        self.created.is_some()
    }

    /// Which family it is, once created.
    pub fn family_id(&self) -> Option<FamilyId> {
        self.created.as_ref().map(|created| created.family_id)
    }

    /// The currency of reports and budgets, once created.
    pub fn currency(&self) -> Option<Currency> {
        self.created.as_ref().map(|created| created.currency)
    }

    /// The family's calendar; UTC and Monday before it is created.
    pub fn calendar(&self) -> Calendar {
        self.created
            .as_ref()
            .map_or_else(Calendar::default, |created| Calendar {
                zone: created.zone.parse().unwrap_or(chrono_tz::Tz::UTC),
                week_start: created.week_start,
            })
    }

    /// Where weeks begin.
    pub fn week_start(&self) -> WeekStart {
        self.calendar().week_start
    }

    /// Everybody, in a stable order.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// One member, or the refusal that says there is none.
    ///
    /// # Errors
    /// [`FamilyRefusal::UnknownMember`].
    pub fn member(&self, member_id: MemberId) -> Result<&Member, FamilyRefusal> {
        self.members.get(&member_id).ok_or(FamilyRefusal::UnknownMember)
    }

    /// The member a signed-in person is.
    pub fn member_of_user(&self, user_id: UserId) -> Option<&Member> {
        self.users
            .get(&user_id)
            .and_then(|member_id| self.members.get(member_id))
    }

    /// How many parents there are whose place is taken.
    pub fn parents_joined(&self) -> usize {
        self.members
            .values()
            .filter(|m| m.role == Role::Parent && m.user_id.is_some())
            .count()
    }
}
