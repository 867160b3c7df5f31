//! The family: who belongs to it, in which role, in which calendar and currency.

pub mod commands;
mod events;
mod refusals;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
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
    /// Left or removed? Then nobody sits in the place, and nobody will again.
    #[serde(default)]
    pub has_left: bool,
    /// From here on an auditor may not look any more.
    #[serde(default)]
    pub ends_at: Option<DateTime<Utc>>,
}

impl Member {
    /// Does the place give access at a moment?
    pub fn is_in(&self, at: DateTime<Utc>) -> bool {
        !self.has_left && !(self.role == Role::Auditor && self.ends_at.is_some_and(|ends_at| ends_at <= at))
    }
}

/// The family's state. Its size follows the number of members, not of entries.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Family {
    created: Option<FamilyCreated>,
    members: BTreeMap<MemberId, Member>,
    users: BTreeMap<UserId, MemberId>,
    handover: Option<HandoverOffered>,
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
                    has_left: false,
                    ends_at: None,
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
            FamilyEvent::MemberLeft(left) => self.end_place(left.member_id),
            FamilyEvent::MemberRemoved(removed) => self.end_place(removed.member_id),
            FamilyEvent::AuditTermSet(term) => {
                if let Some(member) = self.members.get_mut(&term.member_id) {
                    member.ends_at = Some(term.ends_at);
                }
            }
            FamilyEvent::HandoverOffered(offered) => self.handover = Some(offered),
            FamilyEvent::FamilyHandedOver(_) => self.handover = None,
            FamilyEvent::WalletAssigned(wallet) => {
                if let Some(member) = self.members.get_mut(&wallet.member_id) {
                    member.wallets.insert(wallet.currency, wallet.account_id);
                }
            }
        }
    }

    fn end_place(&mut self, member_id: MemberId) {
        if let Some(member) = self.members.get_mut(&member_id) {
            member.has_left = true;
            member.on_leaderboard = false;
            if let Some(user_id) = member.user_id.take() {
                self.users.remove(&user_id);
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

    /// Everybody who ever had a place, in a stable order.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// Everybody who has a place now.
    pub fn present(&self) -> impl Iterator<Item = &Member> {
        self.members().filter(|member| !member.has_left)
    }

    /// One member, or the refusal that says there is none, or none any more.
    ///
    /// # Errors
    /// [`FamilyRefusal::UnknownMember`], [`FamilyRefusal::MemberGone`].
    pub fn member(&self, member_id: MemberId) -> Result<&Member, FamilyRefusal> {
        let member = self.members.get(&member_id).ok_or(FamilyRefusal::UnknownMember)?;
        if member.has_left {
            return Err(FamilyRefusal::MemberGone);
        }
        Ok(member)
    }

    /// The member a signed-in person is at a moment: none for a stranger, for who has left, and for an auditor whose term is over.
    pub fn member_of_user(&self, user_id: UserId, at: DateTime<Utc>) -> Option<&Member> {
        let member = self.place_of_user(user_id)?;
        member.is_in(at).then_some(member)
    }

    /// The place that a person has taken, whether it still gives access or not.
    pub fn place_of_user(&self, user_id: UserId) -> Option<&Member> {
        self.users
            .get(&user_id)
            .and_then(|member_id| self.members.get(member_id))
    }

    /// Whom a parent has offered their duties to, as long as both are what they were then.
    pub fn handover(&self) -> Option<&HandoverOffered> {
        let is = |member_id: &MemberId, role| {
            self.member(*member_id)
                .is_ok_and(|member| member.role == role && member.user_id.is_some())
        };
        self.handover
            .as_ref()
            .filter(|offered| is(&offered.from, Role::Parent) && is(&offered.to, Role::Partner))
    }

    /// How many parents there are whose place is taken.
    pub fn parents_joined(&self) -> usize {
        self.members
            .values()
            .filter(|m| m.role == Role::Parent && m.user_id.is_some() && !m.has_left)
            .count()
    }
}
