//! The family: who belongs to it, in which role, in which calendar and currency.

pub mod commands;
pub mod consent;
mod events;
mod refusals;

use std::collections::BTreeMap;

use chrono::{DateTime, Days, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    Currency,
    actor::Role,
    calendar::{Calendar, WeekStart},
    id::{AccountId, FamilyId, MemberId, UserId},
    personal::ERASED_MEMBER,
};

use consent::{Consent, ConsentRecord, ConsentRules};

pub use events::*;
pub use refusals::FamilyRefusal;

/// For so many days nobody else has erased what an adult wrote whom they removed: the days to take along what is theirs.
const TAKES_ALONG_DAYS: u64 = 30;
/// The notice of a family that has just said its country.
pub const NOTICE_FIRST: u32 = 1;

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
    /// Did somebody ever sit here as a parent or partner? Who is made an auditor afterwards wrote what they wrote.
    #[serde(default)]
    pub was_adult: bool,
    /// Left or removed? Then nobody sits in the place, and nobody will again.
    #[serde(default)]
    pub has_left: bool,
    /// The day on which somebody else ended the place.
    #[serde(default)]
    pub removed_on: Option<NaiveDate>,
    /// From here on an auditor may not look any more.
    #[serde(default)]
    pub ends_at: Option<DateTime<Utc>>,
    /// Erased? Then nothing they wrote, and nothing written of them, is readable any more.
    #[serde(default)]
    pub is_erased: bool,
    /// What is known of a parent's consent.
    #[serde(default)]
    pub consent: ConsentRecord,
}

impl Member {
    /// Does the place give access at a moment?
    pub fn is_in(&self, at: DateTime<Utc>) -> bool {
        let is_over = self.role == Role::Auditor && self.ends_at.is_some_and(|ends_at| ends_at <= at);
        !self.has_left && !is_over
    }

    /// Is what they wrote theirs alone to have erased on this day? So it is with adults who keep the books, as long as they have their
    /// place, and for [`TAKES_ALONG_DAYS`] when another parent ended it.
    pub fn alone_may_erase(&self, today: NaiveDate) -> bool {
        let is_just_removed = self
            .removed_on
            .is_some_and(|day| today < day + Days::new(TAKES_ALONG_DAYS));
        self.was_adult && (!self.has_left || is_just_removed)
    }
}

/// The family's state. Its size follows the number of members, not of entries.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Family {
    created: Option<FamilyCreated>,
    members: BTreeMap<MemberId, Member>,
    users: BTreeMap<UserId, MemberId>,
    handover: Option<HandoverOffered>,
    rules: Option<ConsentRules>,
    #[serde(default)]
    is_deleted: bool,
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
                    was_adult: false,
                    has_left: false,
                    removed_on: None,
                    ends_at: None,
                    is_erased: false,
                    consent: ConsentRecord::default(),
                };
                self.members.insert(added.member_id, member);
            }
            FamilyEvent::MemberRenamed(renamed) => {
                if let Some(member) = self.members.get_mut(&renamed.member_id) {
                    member.display_name = renamed.display_name;
                }
            }
            FamilyEvent::MemberJoined(joined) => {
                self.users.insert(joined.user_id, joined.member_id);
                if let Some(member) = self.members.get_mut(&joined.member_id) {
                    member.user_id = Some(joined.user_id);
                    member.was_adult |= member.role.is_adult();
                }
            }
            FamilyEvent::MemberRoleChanged(changed) => {
                self.end_handover(changed.member_id);
                if let Some(member) = self.members.get_mut(&changed.member_id) {
                    member.role = changed.to;
                    member.was_adult |= member.user_id.is_some() && member.role.is_adult();
                }
            }
            FamilyEvent::LeaderboardChoiceMade(choice) => {
                if let Some(member) = self.members.get_mut(&choice.member_id) {
                    member.on_leaderboard = choice.on_leaderboard;
                }
            }
            FamilyEvent::MemberLeft(left) => self.end_place(left.member_id),
            FamilyEvent::MemberRemoved(removed) => {
                self.end_place(removed.member_id);
                if let Some(member) = self.members.get_mut(&removed.member_id) {
                    member.removed_on = removed.removed_on;
                }
            }
            FamilyEvent::MemberErased(erased) => {
                self.end_place(erased.member_id);
                if let Some(member) = self.members.get_mut(&erased.member_id) {
                    member.is_erased = true;
                    ERASED_MEMBER.clone_into(&mut member.display_name);
                }
            }
            FamilyEvent::FamilyDeleted(_) => {
                self.is_deleted = true;
                self.users.clear();
            }
            FamilyEvent::AuditTermSet(term) => {
                if let Some(member) = self.members.get_mut(&term.member_id) {
                    member.ends_at = Some(term.ends_at);
                }
            }
            FamilyEvent::CountrySet(set) => {
                let notice_version = self.rules.map_or(NOTICE_FIRST, |rules| rules.notice_version);
                self.rules = Some(ConsentRules {
                    age: set.consent_age,
                    notice_version,
                });
            }
            FamilyEvent::NoticeChanged(changed) => {
                if let Some(rules) = &mut self.rules {
                    rules.notice_version = changed.notice_version;
                }
            }
            FamilyEvent::AgeBandSet(set) => self.consent_record(set.member_id, |record| record.band = Some(set.band)),
            FamilyEvent::ConsentGiven(given) => self.consent_record(given.member_id, |record| {
                record.notice_version = Some(given.notice_version);
                record.is_revoked = false;
            }),
            FamilyEvent::ConsentRevoked(revoked) => {
                self.consent_record(revoked.member_id, |record| record.is_revoked = true);
            }
            FamilyEvent::HandoverOffered(offered) => self.handover = Some(offered),
            FamilyEvent::FamilyHandedOver(_) | FamilyEvent::HandoverWithdrawn(_) => self.handover = None,
            FamilyEvent::WalletAssigned(wallet) => {
                if let Some(member) = self.members.get_mut(&wallet.member_id) {
                    member.wallets.insert(wallet.currency, wallet.account_id);
                }
            }
        }
    }

    fn consent_record(&mut self, member_id: MemberId, change: impl FnOnce(&mut ConsentRecord)) {
        if let Some(member) = self.members.get_mut(&member_id) {
            change(&mut member.consent);
        }
    }

    /// An offer is of whoever the two are while it is made; it does not come back when they do.
    fn end_handover(&mut self, changed: MemberId) {
        self.handover
            .take_if(|offered| [offered.from, offered.to].contains(&changed));
    }

    fn end_place(&mut self, member_id: MemberId) {
        self.end_handover(member_id);
        if let Some(member) = self.members.get_mut(&member_id) {
            member.has_left = true;
            member.on_leaderboard = false;
            if let Some(user_id) = member.user_id.take() {
                self.users.remove(&user_id);
            }
        }
    }

    /// Has it been created, and not deleted?
    pub fn exists(&self) -> bool {
        self.created.is_some() && !self.is_deleted
    }

    /// Is its id taken, even if it was deleted?
    pub fn was_created(&self) -> bool {
        self.created.is_some()
    }

    /// What it calls itself, once created.
    pub fn name(&self) -> Option<&str> {
        self.created.as_ref().map(|created| created.name.as_str())
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

    /// Whoever ever had a place, unless they were erased.
    ///
    /// # Errors
    /// [`FamilyRefusal::UnknownMember`], [`FamilyRefusal::AlreadyErased`].
    pub fn not_erased(&self, member_id: MemberId) -> Result<&Member, FamilyRefusal> {
        let member = self.members.get(&member_id).ok_or(FamilyRefusal::UnknownMember)?;
        if member.is_erased {
            return Err(FamilyRefusal::AlreadyErased);
        }
        Ok(member)
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

    /// Where a member stands with a parent's consent.
    pub fn consent_of(&self, member: &Member) -> Consent {
        Consent::of(self.rules, member.role.is_young(), &member.consent)
    }

    /// Under which rules of consent the family is that it has said itself.
    ///
    /// # Errors
    /// [`FamilyRefusal::NoCountry`]: it has not said its country yet.
    pub fn rules_said(&self) -> Result<ConsentRules, FamilyRefusal> {
        self.rules.ok_or(FamilyRefusal::NoCountry)
    }

    /// One member about whom something may be kept.
    ///
    /// # Errors
    /// As [`Family::member`], and [`FamilyRefusal::ConsentRequired`].
    pub fn consented(&self, member_id: MemberId) -> Result<&Member, FamilyRefusal> {
        let member = self.member(member_id)?;
        if self.consent_of(member).is_enough() {
            Ok(member)
        } else {
            Err(FamilyRefusal::ConsentRequired)
        }
    }

    /// A place that somebody may take at a moment.
    ///
    /// # Errors
    /// As [`Family::consented`], [`FamilyRefusal::AlreadyJoined`], and [`FamilyRefusal::AuditOver`] for an auditor's place that nobody
    /// took within its term.
    pub fn open_place(&self, member_id: MemberId, at: DateTime<Utc>) -> Result<&Member, FamilyRefusal> {
        let member = self.consented(member_id)?;
        if member.user_id.is_some() {
            return Err(FamilyRefusal::AlreadyJoined);
        }
        if !member.is_in(at) {
            return Err(FamilyRefusal::AuditOver);
        }
        Ok(member)
    }

    /// May anything be kept about whoever has or had a place? An account may outlast its owner's.
    ///
    /// # Errors
    /// [`FamilyRefusal::ConsentRequired`].
    pub fn check_consent(&self, member_id: MemberId) -> Result<(), FamilyRefusal> {
        match self.members.get(&member_id) {
            Some(member) if !member.has_left && !self.consent_of(member).is_enough() => {
                Err(FamilyRefusal::ConsentRequired)
            }
            _ => Ok(()),
        }
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

    /// Whom a parent has offered their duties to, as long as both are what they were then and the offer's last day is not over.
    pub fn handover(&self, today: NaiveDate) -> Option<&HandoverOffered> {
        let is = |member_id: &MemberId, role| {
            self.member(*member_id)
                .is_ok_and(|member| member.role == role && member.user_id.is_some())
        };
        self.handover
            .as_ref()
            .filter(|offered| is(&offered.from, Role::Parent) && is(&offered.to, Role::Partner))
            .filter(|offered| offered.until_on.is_none_or(|last| today <= last))
    }

    /// How many parents there are whose place is taken.
    pub fn parents_joined(&self) -> usize {
        self.members
            .values()
            .filter(|m| m.role == Role::Parent && m.user_id.is_some() && !m.has_left)
            .count()
    }
}
