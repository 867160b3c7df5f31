//! Who may do what with an account: a level per member.
//!
//! Most levels are never said. They follow from whose account it is and from the member's role as both are now:
//!
//! | account | parent | partner | teen, child | auditor |
//! |---|---|---|---|---|
//! | the family's (nobody's own) | full | **full** | **none** | view |
//! | an adult's own | **full**, owner full | **full**, owner full | none | **view**, owner view |
//! | a teen's or child's own | full | **full** | owner full, others none | view |
//!
//! The cells in bold may be said otherwise by `share-account`; what was said holds as long as the cell is one of those, so a
//! change of role never lets an old word open more than the role may have. What the table says in plain type is the role's own
//! yes or no: a parent is not shut out of what the family or a child has, a sibling's pocket and a grown-up's account are not
//! opened to the young, and whoever audits reads the family's and the young's. An adult who hides an account of their own from
//! somebody hides it from everybody of whom nothing is said: from auditors and from adults who come later, whom that other adult
//! may have called, or may be. The adults who are there at that moment keep what they have, by words of their own; `share-account`
//! may open it to the others. What a parent said while the owner was young is not the owner's word: once the owner has grown up it
//! holds of whom it was said, and of nobody else. ADR 0035 has the reasons.
//!
//! [`Held::level_for`] is the one place of this rule: decisions ask it through [`shared_account`], views through their rows.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    actor::Role,
    decide::{Context, Stop},
    family::{Family, Member},
    id::{AccountId, MemberId},
    ledger_account::{LedgerAccount, LedgerAccountRefusal},
};

/// What a member may do with an account, from nothing upwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ShareLevel {
    /// The account is as if it were not there.
    None,
    /// See it and what is in it.
    View,
    /// And say what its entries were for.
    Annotate,
    /// And move its money.
    Full,
}

impl ShareLevel {
    const ALL: [ShareLevel; 4] = [Self::None, Self::View, Self::Annotate, Self::Full];

    /// The word used in JSON, the database and the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::View => "view",
            Self::Annotate => "annotate",
            Self::Full => "full",
        }
    }
}

impl std::str::FromStr for ShareLevel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|level| level.as_str() == text)
            .ok_or_else(|| "expected none, view, annotate or full".to_owned())
    }
}

/// What decides a member's level on one account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Whose own it is; nobody's is the family's.
    pub owner: Option<MemberId>,
    /// The owner's role now; none when there is no owner, or when they have left.
    pub owner_role: Option<Role>,
    /// What was last said of this member.
    pub said: Option<ShareLevel>,
    /// Is it a grown-up's own, and did they last say of anybody that they see nothing? Also of an owner who has left.
    pub is_hidden_by_a_grown_up: bool,
}

impl Held {
    /// Is it a teen's or child's own?
    pub fn is_of_the_young(&self) -> bool {
        self.owner.is_some() && self.owner_role.is_some_and(Role::is_young)
    }

    /// May a word of `share-account` decide this member's level?
    pub fn may_be_said(&self, member_id: MemberId, role: Role) -> bool {
        match role {
            _ if self.owner == Some(member_id) => false,
            Role::Parent | Role::Auditor => self.owner.is_some() && !self.is_of_the_young(),
            Role::Partner => true,
            Role::Teen | Role::Child => self.owner.is_none(),
        }
    }

    /// The level of a member who has this role now.
    pub fn level_for(&self, member_id: MemberId, role: Role) -> ShareLevel {
        let unsaid = match role {
            // An owner who audits still sees their own.
            _ if self.owner == Some(member_id) => ShareLevel::Full,
            _ if self.is_hidden_by_a_grown_up => ShareLevel::None,
            Role::Auditor => ShareLevel::View,
            Role::Parent | Role::Partner => ShareLevel::Full,
            Role::Teen | Role::Child => ShareLevel::None,
        };
        let said = self.said.filter(|_| self.may_be_said(member_id, role));
        let most = if role == Role::Auditor {
            ShareLevel::View
        } else {
            ShareLevel::Full
        };
        said.unwrap_or(unsaid).min(most)
    }
}

impl LedgerAccount {
    /// What decides a member's level on this account in this family.
    pub fn held(&self, family: &Family, member_id: MemberId) -> Held {
        Held {
            owner: self.owner(),
            owner_role: self
                .owner()
                .and_then(|owner| family.member(owner).ok())
                .map(|owner| owner.role),
            said: self.said_of(member_id),
            is_hidden_by_a_grown_up: self.is_hidden_by_its_owner() && self.is_a_grown_ups(family),
        }
    }

    /// Is it the own of somebody who is grown up, or was when they left?
    fn is_a_grown_ups(&self, family: &Family) -> bool {
        let is_owner = |member: &&Member| Some(member.member_id) == self.owner();
        family
            .members()
            .find(is_owner)
            .is_some_and(|owner| !owner.role.is_young())
    }

    /// A member's level on this account; none on one that was never opened.
    pub fn level_for(&self, family: &Family, member: &Member) -> ShareLevel {
        if self.exists() {
            self.held(family, member.member_id)
                .level_for(member.member_id, member.role)
        } else {
            ShareLevel::None
        }
    }
}

/// The accounts among these that a member cannot see.
pub fn hidden_from<'a>(
    family: &Family,
    member: &Member,
    accounts: impl IntoIterator<Item = (AccountId, &'a LedgerAccount)>,
) -> Vec<AccountId> {
    let is_hidden = |account: &LedgerAccount| account.level_for(family, member) == ShareLevel::None;
    accounts
        .into_iter()
        .filter(|(_, account)| is_hidden(account))
        .map(|(account_id, _)| account_id)
        .collect()
}

/// The level of the member who asks, when it is enough; `unknown` when they see nothing of it, so that it reads as if it were
/// not there.
///
/// # Errors
/// `unknown`, or [`LedgerAccountRefusal::ShareTooSmall`].
pub fn enough(level: ShareLevel, needed: ShareLevel, unknown: impl Into<Stop>) -> Result<(), Stop> {
    match level {
        ShareLevel::None => Err(unknown.into()),
        level if level < needed => Err(LedgerAccountRefusal::ShareTooSmall {
            level: level.as_str(),
            needed: needed.as_str(),
        }
        .into()),
        _ => Ok(()),
    }
}

/// An account of which the member who asks has at least this level.
///
/// # Errors
/// [`LedgerAccountRefusal::UnknownAccount`] also for one they cannot see; [`LedgerAccountRefusal::ShareTooSmall`];
/// [`Stop::Load`] as usual.
pub fn shared_account<'a>(
    context: &Context<'a>,
    account_id: AccountId,
    needed: ShareLevel,
) -> Result<&'a LedgerAccount, Stop> {
    let member = context.asking_member()?;
    let account = context.get::<LedgerAccount>(account_id.uuid())?;
    let level = account.level_for(context.family()?, member);
    enough(level, needed, LedgerAccountRefusal::UnknownAccount)?;
    Ok(account)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(number: u128) -> MemberId {
        MemberId::from_uuid(uuid::Uuid::from_u128(number))
    }

    const ROLES: [Role; 5] = [Role::Parent, Role::Partner, Role::Teen, Role::Child, Role::Auditor];

    /// An account as a member who is not its owner meets it.
    fn of(owner_role: Option<Role>, said: Option<ShareLevel>) -> Held {
        Held {
            owner: owner_role.map(|_| member(1)),
            owner_role,
            said,
            is_hidden_by_a_grown_up: said == Some(ShareLevel::None) && owner_role.is_some_and(|role| !role.is_young()),
        }
    }

    #[test]
    fn unsaid_levels_are_those_of_the_table() {
        use ShareLevel::{Full, None as Nothing, View};
        let table = [
            (None, [Full, Full, Nothing, Nothing, View]),
            (Some(Role::Parent), [Full, Full, Nothing, Nothing, View]),
            (Some(Role::Partner), [Full, Full, Nothing, Nothing, View]),
            (Some(Role::Teen), [Full, Full, Nothing, Nothing, View]),
            (Some(Role::Child), [Full, Full, Nothing, Nothing, View]),
        ];
        for (owner_role, levels) in table {
            for (role, level) in ROLES.into_iter().zip(levels) {
                assert_eq!(
                    of(owner_role, None).level_for(member(2), role),
                    level,
                    "{owner_role:?} {role:?}"
                );
            }
        }
    }

    #[test]
    fn an_owner_has_all_of_their_own_whatever_was_said() {
        for role in [Role::Parent, Role::Partner, Role::Teen, Role::Child] {
            let own = of(Some(role), Some(ShareLevel::None));
            assert_eq!(own.level_for(member(1), role), ShareLevel::Full);
        }
    }

    #[test]
    fn a_word_counts_only_where_the_role_leaves_it_open() {
        let opened = [
            (None, [false, true, true, true, false]),
            (Some(Role::Parent), [true, true, false, false, true]),
            (Some(Role::Partner), [true, true, false, false, true]),
            (Some(Role::Teen), [false, true, false, false, false]),
            (Some(Role::Child), [false, true, false, false, false]),
        ];
        for (owner_role, open) in opened {
            for (role, is_open) in ROLES.into_iter().zip(open) {
                for said in ShareLevel::ALL {
                    let level = of(owner_role, Some(said)).level_for(member(2), role);
                    let expected = if is_open && role == Role::Auditor {
                        said.min(ShareLevel::View)
                    } else if is_open {
                        said
                    } else {
                        of(owner_role, None).level_for(member(2), role)
                    };
                    assert_eq!(level, expected, "{owner_role:?} {role:?} {said:?}");
                }
            }
        }
    }

    #[test]
    fn what_a_grown_up_hides_from_somebody_nobody_sees_unasked() {
        for role in ROLES {
            let held = Held {
                is_hidden_by_a_grown_up: true,
                ..of(Some(Role::Partner), None)
            };
            assert_eq!(held.level_for(member(2), role), ShareLevel::None, "{role:?}");
            let opened = Held {
                said: Some(ShareLevel::Full),
                ..held
            };
            let expected = match role {
                Role::Parent | Role::Partner => ShareLevel::Full,
                Role::Auditor => ShareLevel::View,
                Role::Teen | Role::Child => ShareLevel::None,
            };
            assert_eq!(opened.level_for(member(2), role), expected, "{role:?}");
            let own = match role {
                Role::Auditor => ShareLevel::View,
                _ => ShareLevel::Full,
            };
            assert_eq!(held.level_for(member(1), role), own, "{role:?} whose own it is");
        }
    }
}
