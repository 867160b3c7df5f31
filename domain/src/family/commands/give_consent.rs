//! A parent consents to what is kept about a child.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    decide::{Context, Decide, Decision, Stop},
    family::{
        ConsentGiven, Family, FamilyRefusal,
        consent::{Consent, ConsentMethod},
    },
    id::MemberId,
};

/// A parent consents to what the notice says is kept about a child.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GiveConsent {
    /// The child.
    pub member_id: MemberId,
    /// How it was verified that it is the parent.
    pub method: ConsentMethod,
    /// The version of the notice that was read: the one that counts now.
    pub notice_version: u32,
}

/// What a parent says who consents.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsentSaid {
    /// How it was verified that it is the parent.
    pub method: ConsentMethod,
    /// The version of the notice that was read: the one that counts now, 1 in a family whose notice has not changed.
    pub notice_version: u32,
}

impl ConsentSaid {
    /// What is recorded of consent for a member who stands like this.
    pub(super) fn given(
        self,
        context: &Context<'_>,
        member_id: MemberId,
        stands: Consent,
    ) -> Result<ConsentGiven, Stop> {
        match stands {
            Consent::NotNeeded => return Err(FamilyRefusal::ConsentNotNeeded.into()),
            Consent::Given => return Err(FamilyRefusal::SameConsent.into()),
            Consent::Pending | Consent::Revoked => {}
        }
        let version = context.family()?.rules_said()?.notice_version;
        if self.notice_version != version {
            return Err(FamilyRefusal::OldNotice { version }.into());
        }
        Ok(ConsentGiven {
            member_id,
            given_by: context.asking_member()?.member_id,
            method: self.method,
            notice_version: self.notice_version,
        })
    }
}

impl Decide for GiveConsent {
    const NAME: &'static str = "give-consent";
    const SUMMARY: &'static str = "Consent to what is kept about a child";

    fn decide(&self, context: &Context<'_>) -> Result<Decision, Stop> {
        let family = context.family()?;
        let stands = family.consent_of(family.member(self.member_id)?);
        let said = ConsentSaid {
            method: self.method,
            notice_version: self.notice_version,
        };
        let given = said.given(context, self.member_id, stands)?;
        let mut decision = Decision::default();
        decision.record::<Family>(context.meta().family_id.uuid(), given.into(), context.today()?);
        Ok(decision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        actor::Role,
        bank_connection::commands::ConnectBank,
        category::CategoryKind,
        chore::commands::{ClaimChore, CompleteChore, OfferChore, RejectChore},
        entry::commands::{AddExpense, AddIncome, RecategoriseEntry, Transfer},
        family::{
            commands::{
                AddMember, ChangeNotice, ChangeRole, ChooseLeaderboard, JoinFamily, RevokeConsent, SetAgeBand,
                SetCountry,
            },
            consent::AgeBand,
        },
        id::{ChoreId, EntryId},
        inbox::commands::MarkNotificationsRead,
        journal::PostingAccount,
        ledger_account::{
            AccountKind, ShareLevel,
            commands::{CloseAccount, OpenAccount, ShareAccount},
        },
        rewards::commands::AwardBadge,
        testing::{Scenario, account, category, currency, eur, member_id},
    };

    fn give(notice_version: u32) -> GiveConsent {
        GiveConsent {
            member_id: member_id(Role::Child),
            method: ConsentMethod::SignedForm,
            notice_version,
        }
    }

    fn revoke() -> RevokeConsent {
        RevokeConsent {
            member_id: member_id(Role::Child),
        }
    }

    fn country(country: &str) -> SetCountry {
        SetCountry {
            country: country.to_owned(),
        }
    }

    fn notice(notice_version: u32) -> ChangeNotice {
        ChangeNotice { notice_version }
    }

    fn band(band: AgeBand) -> SetAgeBand {
        SetAgeBand {
            member_id: member_id(Role::Child),
            band,
        }
    }

    /// A family whose child has a wallet with money and an account at a bank, with consent to the first notice.
    fn family() -> Scenario {
        let pocket_money = Transfer {
            from: account(1),
            to: account(2),
            money: eur("9"),
            received: None,
            effective_on: None,
            note: String::new(),
        };
        Scenario::family()
            .with_member(Role::Child)
            .with_member(Role::Partner)
            .with_account(account(1), AccountKind::Bank, "EUR")
            .with_category(category(1), CategoryKind::Expense)
            .with_category(category(2), CategoryKind::Income)
            .with_wallet(account(2), Role::Child)
            .with_account_of(account(3), AccountKind::Bank, Role::Child)
            .after(&pocket_money)
    }

    /// Decides everything by the child and about it, and says of how many commands what came of them.
    fn everything(scenario: &Scenario) -> Vec<Option<&'static str>> {
        let child = member_id(Role::Child);
        let expense = |from, money| AddExpense {
            account_id: account(from),
            money: eur(money),
            category_id: Some(category(1)),
            splits: vec![],
            effective_on: None,
            payee: String::new(),
            note: String::new(),
        };
        let transfer = |from, to| Transfer {
            from: account(from),
            to: account(to),
            money: eur("1"),
            received: None,
            effective_on: None,
            note: String::new(),
        };
        let income = AddIncome {
            account_id: account(2),
            money: eur("1"),
            category_id: Some(category(2)),
            splits: vec![],
            effective_on: None,
            payee: String::new(),
            note: String::new(),
        };
        let badge = AwardBadge {
            member_id: child,
            badge: "Early bird".to_owned(),
            reason: String::new(),
            points: 1,
        };
        let chore = OfferChore {
            title: "Dishes".to_owned(),
            points: 1,
            reward: None,
            offered_to: Some(child),
            due_on: None,
        };
        let savings = OpenAccount {
            name: "Savings".to_owned(),
            kind: AccountKind::Cash,
            owner: Some(child),
            currency: Some(currency("EUR")),
            opening_balance: None,
            effective_on: None,
        };
        let shown = ChooseLeaderboard {
            member_id: child,
            on_leaderboard: true,
        };
        let connected = ConnectBank {
            account_id: account(3),
            provider: "statement-file".to_owned(),
            institution: String::new(),
        };
        let hidden = ShareAccount {
            account_id: account(2),
            member_id: member_id(Role::Partner),
            level: ShareLevel::View,
        };
        let shared = ShareAccount {
            account_id: account(1),
            member_id: child,
            level: ShareLevel::View,
        };
        let by_child = scenario.clone().asked_by(Role::Child);
        vec![
            by_child.when(&expense(2, "1")).code(),
            by_child.when(&expense(2, "2")).code(),
            by_child.when(&MarkNotificationsRead { up_to_family_seq: 1 }).code(),
            scenario.when(&expense(2, "1")).code(),
            scenario.when(&transfer(1, 2)).code(),
            scenario.when(&transfer(2, 1)).code(),
            scenario.when(&income).code(),
            scenario.when(&badge).code(),
            scenario.when(&chore).code(),
            scenario.when(&savings).code(),
            scenario.when(&shown).code(),
            scenario.when(&hidden).code(),
            scenario.when(&connected).code(),
            scenario.when(&shared).code(),
        ]
    }

    #[test]
    fn every_command_by_or_about_a_child_in_every_band_and_state() {
        let mut cells = 0;
        for (code, age) in [("US", 13), ("AT", 14), ("FR", 15), ("DE", 16)] {
            for of_band in AgeBand::ALL {
                let begun = family().after(&country(code)).after(&band(of_band)).after(&notice(2));
                let is_of_age = of_band.youngest() >= age;
                if is_of_age {
                    begun.when(&give(2)).refused("consent-not-needed");
                    begun.when(&revoke()).refused("consent-not-needed");
                    assert!(everything(&begun).iter().all(Option::is_none), "{code} {of_band:?}");
                    cells += everything(&begun).len();
                    continue;
                }
                let given = begun.clone().after(&give(2));
                let changed = given.clone().after(&notice(3));
                let again = changed.clone().after(&give(3));
                let revoked = given.clone().after(&revoke());
                let back = revoked.clone().after(&give(2));
                for (state, is_enough) in [
                    (begun, false),
                    (given, true),
                    (changed, false),
                    (again, true),
                    (revoked, false),
                    (back, true),
                ] {
                    let wanted = if is_enough { None } else { Some("consent-required") };
                    let said = everything(&state);
                    assert!(said.iter().all(|code| *code == wanted), "{code} {of_band:?} {said:?}");
                    cells += said.len();
                }
            }
        }
        assert_eq!(cells, 14 * (6 * 10 + 10));
    }

    #[test]
    fn what_is_said_of_a_childs_things_waits_too() {
        let scenario = family().after(&country("PT"));
        let expense = AddExpense {
            account_id: account(2),
            money: eur("1"),
            category_id: Some(category(1)),
            splits: vec![],
            effective_on: None,
            payee: String::new(),
            note: String::new(),
        };
        let spent = scenario.when(&expense).accepted();
        let recategorise = RecategoriseEntry {
            entry_id: EntryId::from_uuid(spent[0].stream.id),
            from: None,
            to: PostingAccount::Category(category(3)),
        };
        let scenario = scenario.given(spent).with_category(category(3), CategoryKind::Expense);
        let chore = OfferChore {
            title: "Dishes".to_owned(),
            points: 1,
            reward: None,
            offered_to: None,
            due_on: None,
        };
        let offered = scenario.when(&chore).accepted();
        let chore_id = ChoreId::from_uuid(offered[0].stream.id);
        let scenario = scenario
            .given(offered)
            .asked_by(Role::Child)
            .after(&ClaimChore { chore_id })
            .after(&CompleteChore { chore_id })
            .asked_by(Role::Parent);
        let reject = RejectChore {
            chore_id,
            reason: "still wet".to_owned(),
        };
        let close = CloseAccount { account_id: account(2) };
        let said = |scenario: &Scenario| {
            let (moved, rejected) = (scenario.when(&recategorise), scenario.when(&reject));
            [moved.code(), rejected.code(), scenario.when(&close).code()]
        };
        assert_eq!(said(&scenario), [None, None, Some("wallet-not-empty")]);
        assert_eq!(said(&scenario.after(&revoke())), [Some("consent-required"); 3]);
    }

    #[test]
    fn a_place_is_not_taken_before_a_parent_has_consented() {
        let join = JoinFamily {
            member_id: member_id(Role::Child),
        };
        let scenario = Scenario::family().with_place(Role::Child).after(&notice(2));
        scenario
            .clone()
            .asked_by_stranger()
            .when(&join)
            .refused("consent-required");
        let scenario = scenario.after(&give(2)).asked_by_stranger();
        assert_eq!(scenario.when(&join).accepted().len(), 1);
    }

    #[test]
    fn a_young_member_may_be_added_with_a_band_and_nobody_else() {
        let add = |role| AddMember {
            display_name: "Byron".to_owned(),
            role,
            on_leaderboard: false,
            until_on: None,
            age_band: Some(AgeBand::Of14),
            consent: None,
        };
        assert_eq!(Scenario::family().when(&add(Role::Teen)).accepted().len(), 2);
        Scenario::family().when(&add(Role::Partner)).refused("not-young");
    }

    #[test]
    fn consent_is_to_the_notice_of_today_and_once() {
        let scenario = family().after(&notice(2));
        scenario.when(&give(1)).refused("old-notice");
        scenario.when(&give(3)).refused("old-notice");
        scenario.when(&notice(2)).refused("old-notice");
        let given = scenario.after(&give(2));
        given.when(&give(2)).refused("same-consent");
        given.after(&revoke()).when(&revoke()).refused("same-consent");
    }

    /// As after an upgrade from a release that asked for no country.
    #[test]
    fn before_a_country_is_said_everybody_young_waits_and_nobody_young_comes() {
        let before = Scenario::without_country()
            .with_account(account(1), AccountKind::Bank, "EUR")
            .with_category(category(1), CategoryKind::Expense)
            .with_category(category(2), CategoryKind::Income)
            .with_member(Role::Partner)
            .with_member(Role::Teen)
            .with_member(Role::Child)
            .with_place(Role::Auditor)
            .with_wallet(account(2), Role::Child)
            .with_account_of(account(3), AccountKind::Bank, Role::Child);
        let said = everything(&before);
        assert!(said.iter().all(|code| *code == Some("consent-required")), "{said:?}");
        before.when(&give(1)).refused("no-country");
        before.when(&notice(2)).refused("no-country");
        before.when(&country("Portugal")).refused("unknown-country");
        for role in [Role::Teen, Role::Child] {
            let add = AddMember {
                display_name: "Byron".to_owned(),
                role,
                on_leaderboard: false,
                until_on: None,
                age_band: Some(AgeBand::From16),
                consent: None,
            };
            before.when(&add).refused("no-country");
            before.clone().asked_by(Role::Partner).when(&add).refused("no-country");
            let place = ChangeRole {
                member_id: member_id(Role::Auditor),
                role,
            };
            before.when(&place).refused("no-country");
            let after = before.clone().after(&country("DE"));
            assert_eq!(after.when(&add).accepted().len(), 2);
            assert_eq!(after.when(&place).accepted().len(), 1);
        }
        // Above every country's age nobody waits for one.
        let of_age = before.clone().after(&band(AgeBand::From16));
        assert_eq!(
            of_age
                .asked_by(Role::Child)
                .when(&MarkNotificationsRead { up_to_family_seq: 1 })
                .code(),
            None
        );
        // What was kept is there again with consent.
        let after = before.after(&country("DE")).after(&give(1));
        assert_eq!(
            after
                .asked_by(Role::Child)
                .when(&MarkNotificationsRead { up_to_family_seq: 1 })
                .code(),
            None
        );
    }

    #[test]
    fn only_a_parent_consents() {
        for role in [Role::Partner, Role::Teen, Role::Child] {
            let scenario = family()
                .with_member(Role::Partner)
                .with_member(Role::Teen)
                .asked_by(role);
            scenario.when(&give(1)).refused("role-not-allowed");
            scenario.when(&revoke()).refused("role-not-allowed");
        }
        let adult = GiveConsent {
            member_id: member_id(Role::Parent),
            ..give(1)
        };
        family()
            .after(&country("DE"))
            .when(&adult)
            .refused("consent-not-needed");
        let older = SetAgeBand {
            member_id: member_id(Role::Parent),
            band: AgeBand::Of13,
        };
        family().when(&older).refused("not-young");
    }
}
