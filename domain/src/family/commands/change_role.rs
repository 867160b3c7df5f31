//! A parent changes what another member may do.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::set_audit_term::first_term;
use crate::{
    actor::Role,
    decide::{Context, Decide, Decision, Stop},
    family::{Family, FamilyRefusal, LeaderboardChoiceMade, MemberRoleChanged},
    id::MemberId,
    spending::{EndedBecause, requests::end_all},
};

/// A parent changes what another member may do. Who becomes an auditor is one for thirty days, or as `set-audit-term` says then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeRole {
    /// The other member.
    pub member_id: MemberId,
    /// The role from now on.
    pub role: Role,
}

impl Decide for ChangeRole {
    const NAME: &'static str = "change-role";
    const SUMMARY: &'static str = "Change what another member may do";

    fn decide(&self, context: &Context<'_>) -> Result<Decision, Stop> {
        let family = context.family()?;
        let member = family.member(self.member_id)?;
        // Nobody changes their own role, so the parent who asks remains one: a family is never without.
        if context.asking_member()?.member_id == self.member_id {
            return Err(FamilyRefusal::OwnRole.into());
        }
        if member.role == self.role {
            return Err(FamilyRefusal::SameRole.into());
        }
        if self.role.is_young() {
            family.rules_said()?;
        } else if member.role.is_young() && !family.consent_of(member).is_enough() {
            // Else a child whose parent has not consented, or no more, would need no consent by being called an adult.
            return Err(FamilyRefusal::ConsentRequired.into());
        }
        // An owner's word over their account is a grown-up's: it must not be undone by making them a child for a moment.
        let grows_young = self.role.is_young() && !member.role.is_young();
        if grows_young && member.user_id.is_some() {
            return Err(FamilyRefusal::RemainsGrownUp.into());
        }
        let mut decision = Decision::default();
        let changed = MemberRoleChanged {
            member_id: self.member_id,
            from: member.role,
            to: self.role,
        };
        let family_id = context.meta().family_id.uuid();
        decision.record::<Family>(family_id, changed.into(), context.today()?);
        // Always, for a term of an earlier time as an auditor was not said of this one.
        if self.role == Role::Auditor {
            let set = first_term(context, self.member_id)?;
            decision.record::<Family>(family_id, set.into(), context.today()?);
        }
        if !self.role.is_young() {
            end_all(context, &mut decision, self.member_id, EndedBecause::RoleChanged)?;
        }
        // A teen or child is on a leaderboard by a parent's word about a teen or child alone.
        if grows_young && member.on_leaderboard {
            let choice = LeaderboardChoiceMade {
                member_id: self.member_id,
                on_leaderboard: false,
            };
            decision.record::<Family>(family_id, choice.into(), context.today()?);
        }
        Ok(decision)
    }
}

#[cfg(test)]
mod tests {
    use chrono::{Days, TimeDelta};

    use super::*;
    use crate::{
        event::LedgerEvent,
        family::{
            FamilyEvent,
            commands::{AddMember, ChangeNotice, GiveConsent, LeaveFamily, RevokeConsent, SetAgeBand, SetAuditTerm},
            consent::{AgeBand, ConsentMethod},
        },
        testing::{Scenario, member_id, today},
    };

    #[test]
    fn a_teen_grows_up() {
        let scenario = Scenario::family().with_member(Role::Teen);
        let events = scenario
            .when(&ChangeRole {
                member_id: member_id(Role::Teen),
                role: Role::Partner,
            })
            .accepted();
        assert_eq!(events.len(), 1);
    }

    #[test]
    fn who_becomes_an_auditor_is_one_for_thirty_days_each_time() {
        let partner = member_id(Role::Partner);
        let become_ = |role| ChangeRole {
            member_id: partner,
            role,
        };
        let last_day = |scenario: &Scenario| {
            let events = scenario.when(&become_(Role::Auditor)).accepted();
            match &events[1].event {
                LedgerEvent::Family(FamilyEvent::AuditTermSet(term)) => (term.member_id, term.until_on),
                other => panic!("no term: {other:?}"),
            }
        };
        let scenario = Scenario::family().with_member(Role::Partner);
        assert_eq!(last_day(&scenario), (partner, today() + Days::new(30)));
        let longer = SetAuditTerm {
            member_id: partner,
            until_on: today() + Days::new(300),
        };
        let again = scenario
            .after(&become_(Role::Auditor))
            .after(&longer)
            .after(&become_(Role::Partner));
        // Once with that term ahead, and once when it is over.
        assert_eq!(last_day(&again), (partner, today() + Days::new(30)));
        let later = again.clone().at(again.now() + TimeDelta::days(400));
        assert_eq!(last_day(&later), (partner, today() + Days::new(430)));
        let auditor = later.after(&become_(Role::Auditor)).asked_by(Role::Partner);
        assert_eq!(auditor.when(&LeaveFamily {}).code(), None);
    }

    #[test]
    fn nobody_is_called_a_grown_up_to_do_without_consent() {
        let child = member_id(Role::Child);
        let become_ = |role| ChangeRole { member_id: child, role };
        let with_consent = Scenario::family().with_member(Role::Child);
        let revoked = with_consent.clone().after(&RevokeConsent { member_id: child });
        let changed = with_consent.after(&ChangeNotice { notice_version: 2 });
        let never = Scenario::without_country().with_member(Role::Child);
        let give = |notice_version| GiveConsent {
            member_id: child,
            method: ConsentMethod::SignedForm,
            notice_version,
        };
        let grown = SetAgeBand {
            member_id: child,
            band: AgeBand::From16,
        };
        for (scenario, consent) in [(revoked, Some(give(1))), (changed, Some(give(2))), (never, None)] {
            for role in [Role::Parent, Role::Partner, Role::Auditor] {
                scenario.when(&become_(role)).refused("consent-required");
                let of_age = scenario.clone().after(&grown);
                assert_eq!(of_age.when(&become_(role)).code(), None);
                if let Some(consent) = &consent {
                    let given = scenario.clone().after(consent);
                    assert_eq!(given.when(&become_(role)).code(), None);
                }
            }
        }
    }

    #[test]
    fn who_took_a_place_as_a_grown_up_remains_one() {
        let young = |role| ChangeRole {
            member_id: member_id(Role::Partner),
            role,
        };
        let scenario = Scenario::family().with_member(Role::Partner);
        scenario.when(&young(Role::Teen)).refused("remains-grown-up");
        scenario.when(&young(Role::Child)).refused("remains-grown-up");
        let auditor = scenario.after(&young(Role::Auditor));
        auditor.when(&young(Role::Teen)).refused("remains-grown-up");
    }

    #[test]
    fn a_place_that_becomes_a_childs_is_on_no_leaderboard() {
        let add = AddMember {
            display_name: "Byron".to_owned(),
            role: Role::Partner,
            on_leaderboard: true,
            until_on: None,
            age_band: None,
            consent: None,
        };
        let scenario = Scenario::family();
        let added = scenario.when(&add).accepted();
        let LedgerEvent::Family(FamilyEvent::MemberAdded(place)) = added[0].event.clone() else {
            panic!("no place: {added:?}");
        };
        let become_child = ChangeRole {
            member_id: place.member_id,
            role: Role::Child,
        };
        let events = scenario.given(added).when(&become_child).accepted();
        let kinds: Vec<_> = events.iter().map(|event| event.kind().0).collect();
        assert_eq!(kinds, ["MemberRoleChanged", "LeaderboardChoiceMade"]);
    }

    #[test]
    fn nobody_changes_their_own_role() {
        Scenario::family()
            .when(&ChangeRole {
                member_id: member_id(Role::Parent),
                role: Role::Child,
            })
            .refused("own-role");
    }

    #[test]
    fn the_same_role_is_refused() {
        let scenario = Scenario::family().with_member(Role::Teen);
        scenario
            .when(&ChangeRole {
                member_id: member_id(Role::Teen),
                role: Role::Teen,
            })
            .refused("same-role");
    }

    #[test]
    fn a_partner_changes_no_roles() {
        let scenario = Scenario::family()
            .with_member(Role::Teen)
            .with_member(Role::Partner)
            .asked_by(Role::Partner);
        scenario
            .when(&ChangeRole {
                member_id: member_id(Role::Teen),
                role: Role::Parent,
            })
            .refused("role-not-allowed");
    }

    #[test]
    fn an_unknown_member_is_refused() {
        Scenario::family()
            .when(&ChangeRole {
                member_id: member_id(Role::Child),
                role: Role::Teen,
            })
            .refused("unknown-member");
    }
}
