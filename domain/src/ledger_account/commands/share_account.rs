//! Somebody decides how much of an account another member sees and may do.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    actor::Role,
    decide::{Context, Decide, Decision, Stop},
    family::Member,
    id::{AccountId, MemberId},
    ledger_account::{AccountShared, LedgerAccount, LedgerAccountRefusal, ShareLevel, shared_account},
};

/// Somebody decides how much of an account another member sees and may do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShareAccount {
    /// The account: one's own, or as a parent the family's, a teen's or a child's.
    pub account_id: AccountId,
    /// Who it is shared with, or hidden from.
    pub member_id: MemberId,
    /// How much of it.
    pub level: ShareLevel,
}

impl Decide for ShareAccount {
    const NAME: &'static str = "share-account";
    const SUMMARY: &'static str =
        "Say how much of an account another member sees and may do: full, annotate, view or none";

    fn decide(&self, context: &Context<'_>) -> Result<Decision, Stop> {
        let asking = context.asking_member()?;
        let account = shared_account(context, self.account_id, ShareLevel::View)?;
        let family = context.family()?;
        let held = account.held(family, self.member_id);
        let is_manager = match account.owner() {
            Some(owner) if owner == asking.member_id => true,
            None => asking.role == Role::Parent,
            Some(_) => asking.role == Role::Parent && held.is_of_the_young(),
        };
        if !is_manager {
            return Err(LedgerAccountRefusal::NotYoursToShare.into());
        }
        let member = family.consented(self.member_id)?;
        if let Some(owner) = account.owner() {
            family.check_consent(owner)?;
        }
        let is_too_much = member.role == Role::Auditor && self.level > ShareLevel::View;
        if is_too_much || !held.may_be_said(member.member_id, member.role) {
            return Err(LedgerAccountRefusal::ShareIsFixed {
                role: member.role.as_str(),
            }
            .into());
        }
        if member.member_id == asking.member_id {
            return Err(LedgerAccountRefusal::OwnShare.into());
        }
        // What a parent hid while the owner was young may become the owner's own word.
        let begins_to_hide = self.level == ShareLevel::None
            && account.owner() == Some(asking.member_id)
            && !account.is_hidden_by_its_owner();
        if held.level_for(member.member_id, member.role) == self.level && !begins_to_hide {
            return Err(LedgerAccountRefusal::SameShare.into());
        }
        let mut decision = Decision::default();
        let today = context.today()?;
        let mut share = |member_id, level| {
            let shared = AccountShared {
                account_id: self.account_id,
                member_id,
                level,
                by: Some(asking.member_id),
            };
            decision.record::<LedgerAccount>(self.account_id.uuid(), shared.into(), today);
        };
        share(self.member_id, self.level);
        // From now on nobody sees it of whom nothing was said: who is there keeps what they have.
        if begins_to_hide {
            let is_there = |other: &&Member| {
                let has_come = other.user_id.is_some() && !other.has_left;
                has_come && matches!(other.role, Role::Parent | Role::Partner)
            };
            let keeps = |other: &&Member| {
                ![asking.member_id, self.member_id].contains(&other.member_id)
                    && account.said_of(other.member_id).is_none()
            };
            for other in family.members().filter(is_there).filter(keeps) {
                share(other.member_id, ShareLevel::Full);
            }
        }
        Ok(decision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        category::CategoryKind,
        entry::commands::{AddExpense, RecategoriseEntry, ReverseEntry, Transfer},
        family::commands::ChangeRole,
        id::EntryId,
        ledger_account::{
            AccountKind,
            commands::{CloseAccount, OpenAccount},
        },
        posting::PostingAccount,
        testing::{Scenario, account, category, eur, member_id},
    };

    /// A family's account (1), a parent's own (2), a partner's own (3), a teen's and a child's wallet (4, 5).
    fn scenario() -> Scenario {
        Scenario::family()
            .with_member(Role::Partner)
            .with_member(Role::Teen)
            .with_member(Role::Child)
            .with_member(Role::Auditor)
            .with_account(account(1), AccountKind::Bank, "EUR")
            .with_account_of(account(2), AccountKind::Bank, Role::Parent)
            .with_account_of(account(3), AccountKind::Bank, Role::Partner)
            .with_wallet(account(4), Role::Teen)
            .with_wallet(account(5), Role::Child)
            .with_category(category(1), CategoryKind::Expense)
            .with_category(category(2), CategoryKind::Expense)
    }

    fn share(number: u128, role: Role, level: ShareLevel) -> ShareAccount {
        ShareAccount {
            account_id: account(number),
            member_id: member_id(role),
            level,
        }
    }

    fn expense(number: u128) -> AddExpense {
        AddExpense {
            account_id: account(number),
            money: eur("3"),
            category_id: Some(category(1)),
            splits: vec![],
            effective_on: None,
            payee: String::new(),
            note: String::new(),
        }
    }

    fn transfer(from: u128, to: u128) -> Transfer {
        Transfer {
            from: account(from),
            to: account(to),
            money: eur("1"),
            received: None,
            effective_on: None,
            note: String::new(),
        }
    }

    #[test]
    fn what_an_owner_hides_reads_as_if_it_were_not_there() {
        let hidden = scenario()
            .asked_by(Role::Partner)
            .after(&share(3, Role::Parent, ShareLevel::None))
            .asked_by(Role::Parent);
        hidden.when(&expense(3)).refused("unknown-account");
        hidden.when(&transfer(1, 3)).refused("unknown-account");
        hidden.when(&transfer(3, 1)).refused("unknown-account");
        hidden
            .when(&CloseAccount { account_id: account(3) })
            .refused("unknown-account");
        hidden
            .when(&share(3, Role::Partner, ShareLevel::View))
            .refused("unknown-account");
        let asked = hidden.clone().asked_by(Role::Partner);
        assert_eq!(asked.when(&expense(3)).accepted().len(), 1, "its owner goes on");
    }

    #[test]
    fn who_comes_after_an_account_was_hidden_sees_it_only_when_its_owner_says_so() {
        let third = scenario().with_member(Role::Parent).asked_by(Role::Partner);
        let hide = share(3, Role::Parent, ShareLevel::None);
        assert_eq!(
            third.when(&hide).accepted().len(),
            2,
            "the other parent keeps what they have"
        );
        let hidden = third.after(&hide);
        let there = hidden.clone().asked_by_the_newest();
        assert_eq!(there.when(&expense(3)).accepted().len(), 1);
        for role in [Role::Parent, Role::Partner] {
            let late = hidden
                .clone()
                .asked_by(Role::Parent)
                .with_member(role)
                .asked_by_the_newest();
            late.when(&expense(3)).refused("unknown-account");
        }
        let shown = hidden.after(&share(3, Role::Parent, ShareLevel::Full));
        let late = shown.with_member(Role::Partner).asked_by_the_newest();
        assert_eq!(late.when(&expense(3)).accepted().len(), 1, "nothing is hidden any more");
    }

    #[test]
    fn what_a_parent_hid_of_a_teens_is_hidden_from_nobody_else_once_the_teen_grows_up() {
        let hide = share(6, Role::Partner, ShareLevel::None);
        let second = scenario()
            .with_account_of(account(6), AccountKind::Bank, Role::Teen)
            .with_member(Role::Parent);
        assert_eq!(second.when(&hide).accepted().len(), 1, "nobody else loses sight of it");
        let grow_up = ChangeRole {
            member_id: member_id(Role::Teen),
            role: Role::Partner,
        };
        let grown = second.after(&hide).after(&grow_up);
        let spends = |scenario: Scenario| scenario.when(&expense(6)).code();
        assert_eq!(spends(grown.clone()), None);
        assert_eq!(spends(grown.clone().asked_by_the_newest()), None, "the other parent");
        assert_eq!(spends(grown.clone().asked_by(Role::Partner)), Some("unknown-account"));
        let late = grown.clone().with_member(Role::Partner).asked_by_the_newest();
        assert_eq!(spends(late), None, "whoever comes later");

        // Made the owner's own word, it hides from whoever comes later.
        let owner = grown.asked_by(Role::Teen);
        assert_eq!(
            owner.when(&hide).accepted().len(),
            3,
            "both parents keep what they have"
        );
        let hidden = owner.after(&hide);
        hidden.when(&hide).refused("same-share");
        assert_eq!(spends(hidden.clone().asked_by(Role::Parent)), None);
        let late = hidden.asked_by(Role::Parent).with_member(Role::Partner);
        assert_eq!(spends(late.asked_by_the_newest()), Some("unknown-account"));
    }

    #[test]
    fn moving_money_needs_all_of_an_account_and_recategorising_less() {
        let bought = scenario();
        let events = bought.when(&expense(2)).accepted();
        let entry_id = EntryId::from_uuid(events[0].stream.id);
        let bought = bought.given(events);
        let to = PostingAccount::Category(category(2));
        let recategorise = RecategoriseEntry {
            entry_id,
            from: None,
            to,
        };
        let reverse = ReverseEntry {
            entry_id,
            effective_on: None,
            reason: String::new(),
        };
        let with = |level| {
            bought
                .clone()
                .after(&share(2, Role::Partner, level))
                .asked_by(Role::Partner)
        };
        let annotating = with(ShareLevel::Annotate);
        annotating.when(&recategorise).accepted();
        annotating.when(&reverse).refused("share-too-small");
        annotating.when(&expense(2)).refused("share-too-small");
        annotating.when(&transfer(1, 2)).refused("share-too-small");
        let viewing = with(ShareLevel::View);
        viewing.when(&recategorise).refused("share-too-small");
        let blind = with(ShareLevel::None);
        blind.when(&recategorise).refused("unknown-entry");
        blind.when(&reverse).refused("unknown-entry");
        let reversed = bought
            .clone()
            .after(&reverse)
            .after(&share(2, Role::Partner, ShareLevel::None));
        reversed.asked_by(Role::Partner).when(&reverse).refused("unknown-entry");
    }

    #[test]
    fn a_parent_opens_the_familys_account_to_the_young_and_takes_it_back() {
        let opened = scenario()
            .after(&share(1, Role::Child, ShareLevel::Full))
            .asked_by(Role::Child);
        assert_eq!(opened.when(&expense(1)).accepted().len(), 1);
        let viewing = opened
            .asked_by(Role::Parent)
            .after(&share(1, Role::Child, ShareLevel::View));
        viewing
            .asked_by(Role::Child)
            .when(&expense(1))
            .refused("share-too-small");
        scenario()
            .asked_by(Role::Child)
            .when(&expense(1))
            .refused("unknown-account");
    }

    #[test]
    fn a_share_never_loosens_what_the_role_may_not() {
        let scenario = scenario();
        scenario
            .when(&share(2, Role::Teen, ShareLevel::View))
            .refused("share-is-fixed");
        scenario
            .when(&share(5, Role::Teen, ShareLevel::View))
            .refused("share-is-fixed");
        scenario
            .when(&share(1, Role::Auditor, ShareLevel::Full))
            .refused("share-is-fixed");
        let opened = scenario
            .after(&share(1, Role::Child, ShareLevel::Full))
            .asked_by(Role::Child);
        opened
            .when(&share(1, Role::Teen, ShareLevel::View))
            .refused("role-not-allowed");
        opened
            .when(&CloseAccount { account_id: account(1) })
            .refused("role-not-allowed");
    }

    #[test]
    fn parents_stay_with_what_the_family_and_the_children_have() {
        let two_parents = scenario();
        two_parents.when(&share(4, Role::Partner, ShareLevel::None)).accepted();
        two_parents
            .clone()
            .asked_by(Role::Partner)
            .when(&share(4, Role::Parent, ShareLevel::None))
            .refused("not-yours-to-share");
        two_parents
            .when(&share(1, Role::Parent, ShareLevel::None))
            .refused("share-is-fixed");
        two_parents
            .when(&share(5, Role::Child, ShareLevel::None))
            .refused("share-is-fixed");
    }

    #[test]
    fn only_who_an_account_belongs_to_shares_it() {
        let scenario = scenario();
        scenario
            .when(&share(3, Role::Partner, ShareLevel::View))
            .refused("not-yours-to-share");
        let partner = scenario.clone().asked_by(Role::Partner);
        partner
            .when(&share(1, Role::Teen, ShareLevel::View))
            .refused("not-yours-to-share");
        partner.when(&share(3, Role::Parent, ShareLevel::View)).accepted();
        partner
            .when(&share(3, Role::Partner, ShareLevel::View))
            .refused("share-is-fixed");
        scenario
            .asked_by_stranger()
            .when(&share(1, Role::Teen, ShareLevel::View))
            .refused("unknown-family");
    }

    #[test]
    fn the_same_level_twice_and_unknown_names_are_refused() {
        let scenario = scenario();
        scenario
            .when(&share(1, Role::Partner, ShareLevel::Full))
            .refused("same-share");
        let nobody = ShareAccount {
            member_id: MemberId::from_uuid(uuid::Uuid::nil()),
            ..share(1, Role::Partner, ShareLevel::View)
        };
        scenario.when(&nobody).refused("unknown-member");
        scenario
            .when(&share(9, Role::Partner, ShareLevel::View))
            .refused("unknown-account");
    }

    #[test]
    fn the_name_of_a_hidden_account_is_no_obstacle() {
        let open = |name: &str| OpenAccount {
            name: name.to_owned(),
            kind: AccountKind::Bank,
            currency: None,
            owner: None,
            opening_balance: None,
            effective_on: None,
        };
        let claims = |role| {
            let scenario = scenario().asked_by(role);
            scenario.claims(&open("Savings"))
        };
        assert_ne!(claims(Role::Parent), claims(Role::Partner));
        assert_eq!(claims(Role::Parent), scenario().claims(&open("savings")));
    }
}
