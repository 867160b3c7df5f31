//! A grown-up gives somebody a place in the family; an invitation then lets the person take it.

use chrono::NaiveDate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{give_consent::ConsentSaid, set_audit_term::term};
use crate::{
    actor::Role,
    decide::{Context, Decide, Decision, Stop},
    family::{
        AgeBandSet, Family, FamilyRefusal, MemberAdded,
        consent::{AgeBand, Consent, ConsentRecord},
    },
    id::MemberId,
    text,
};

/// Most members of one family. Source: ours.
pub const MEMBERS_MAX: usize = 50;

/// A grown-up gives somebody a place in the family.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddMember {
    /// The name shown in the family.
    #[schemars(length(min = 1, max = 120))]
    pub display_name: String,
    /// What the member may do. A partner may add teens and children only.
    pub role: Role,
    /// Show the member on the leaderboard? A teen or child is shown only when a parent says so here or by `choose-leaderboard`, and
    /// one who waits for consent only by the latter, afterwards.
    #[serde(default)]
    pub on_leaderboard: bool,
    /// For an auditor: the last day they may look, in the family's calendar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_on: Option<NaiveDate>,
    /// For a teen or child: how old, as little of it as has to be known. A parent says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_band: Option<AgeBand>,
    /// A parent's consent to what is kept about a teen or child below the country's age; without it they wait for `give-consent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consent: Option<ConsentSaid>,
}

impl Decide for AddMember {
    const NAME: &'static str = "add-member";
    const SUMMARY: &'static str = "Give a person a place in the family";

    fn decide(&self, context: &Context<'_>) -> Result<Decision, Stop> {
        let family = context.family()?;
        let asking = context.asking_member()?;
        let is_young = matches!(self.role, Role::Teen | Role::Child);
        if asking.role != Role::Parent && !is_young {
            return Err(FamilyRefusal::RoleNotAllowed {
                role: asking.role.as_str(),
                command: "add-member for adults",
            }
            .into());
        }
        if family.present().count() >= MEMBERS_MAX {
            return Err(FamilyRefusal::MembersMax { max: MEMBERS_MAX }.into());
        }
        if self.until_on.is_some() && self.role != Role::Auditor {
            return Err(FamilyRefusal::NotAnAuditor.into());
        }
        if self.age_band.is_some() && !is_young {
            return Err(FamilyRefusal::NotYoung.into());
        }
        let member_id = MemberId::from_uuid(context.new_id(0));
        let mut stands = Consent::NotNeeded;
        if is_young {
            let record = ConsentRecord {
                band: self.age_band,
                ..ConsentRecord::default()
            };
            stands = Consent::of(Some(family.rules_said()?), true, &record);
        }
        // What a parent alone may say later, a parent alone may say now.
        let for_parents = [
            (self.age_band.is_some(), "set-age-band"),
            (self.consent.is_some(), "give-consent"),
        ];
        for (_, command) in for_parents.into_iter().filter(|(is_said, _)| *is_said) {
            if asking.role != Role::Parent {
                return Err(FamilyRefusal::RoleNotAllowed {
                    role: asking.role.as_str(),
                    command,
                }
                .into());
            }
        }
        let given = self
            .consent
            .map(|said| said.given(context, member_id, stands))
            .transpose()?;
        let mut decision = Decision::default();
        let added = MemberAdded {
            member_id,
            display_name: text::name("display_name", &self.display_name)?,
            role: self.role,
            on_leaderboard: self.on_leaderboard
                && (asking.role == Role::Parent || !is_young)
                && (stands.is_enough() || given.is_some())
                && self.role != Role::Auditor,
        };
        decision.record::<Family>(context.meta().family_id.uuid(), added.into(), context.today()?);
        if let Some(band) = self.age_band {
            let set = AgeBandSet { member_id, band };
            decision.record::<Family>(context.meta().family_id.uuid(), set.into(), context.today()?);
        }
        if let Some(given) = given {
            decision.record::<Family>(context.meta().family_id.uuid(), given.into(), context.today()?);
        }
        if let Some(until_on) = self.until_on {
            let set = term(context, member_id, until_on)?;
            decision.record::<Family>(context.meta().family_id.uuid(), set.into(), context.today()?);
        }
        Ok(decision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        aggregate::LedgerEvent,
        family::{FamilyEvent, consent::ConsentMethod},
        testing::Scenario,
    };

    fn command(role: Role) -> AddMember {
        AddMember {
            display_name: "Byron".to_owned(),
            role,
            on_leaderboard: false,
            until_on: None,
            age_band: None,
            consent: None,
        }
    }

    #[test]
    fn an_auditor_may_be_given_a_last_day_and_nobody_else() {
        let until = |role| AddMember {
            until_on: Some(crate::testing::today()),
            ..command(role)
        };
        assert_eq!(Scenario::family().when(&until(Role::Auditor)).accepted().len(), 2);
        Scenario::family().when(&until(Role::Partner)).refused("not-an-auditor");
    }

    #[test]
    fn a_parent_adds_anybody() {
        for role in [Role::Parent, Role::Partner, Role::Teen, Role::Child, Role::Auditor] {
            assert_eq!(Scenario::family().when(&command(role)).accepted().len(), 1);
        }
    }

    #[test]
    fn a_parent_consents_with_the_place_and_only_then_a_child_is_shown() {
        let said = |notice_version| ConsentSaid {
            method: ConsentMethod::SignedForm,
            notice_version,
        };
        let add = |role, consent, age_band| AddMember {
            on_leaderboard: true,
            age_band,
            consent,
            ..command(role)
        };
        let is_shown = |command: &AddMember| {
            let events = Scenario::family().when(command).accepted();
            let names: Vec<_> = events.iter().map(|event| event.kind().0).collect();
            let LedgerEvent::Family(FamilyEvent::MemberAdded(added)) = &events[0].event else {
                panic!("{names:?}")
            };
            (added.on_leaderboard, names.contains(&"ConsentGiven"))
        };
        assert_eq!(is_shown(&add(Role::Child, None, None)), (false, false));
        assert_eq!(is_shown(&add(Role::Child, Some(said(1)), None)), (true, true));
        assert_eq!(is_shown(&add(Role::Teen, None, Some(AgeBand::From16))), (true, false));
        assert_eq!(is_shown(&add(Role::Partner, None, None)), (true, false));
        let refused = |command: AddMember, code| Scenario::family().when(&command).refused(code);
        refused(add(Role::Child, Some(said(2)), None), "old-notice");
        refused(
            add(Role::Teen, Some(said(1)), Some(AgeBand::From16)),
            "consent-not-needed",
        );
        refused(add(Role::Partner, Some(said(1)), None), "consent-not-needed");
        Scenario::family()
            .with_member(Role::Partner)
            .asked_by(Role::Partner)
            .when(&add(Role::Child, Some(said(1)), None))
            .refused("role-not-allowed");
    }

    #[test]
    fn how_old_somebody_is_a_parent_says() {
        let of_age = AddMember {
            age_band: Some(AgeBand::From16),
            ..command(Role::Teen)
        };
        let scenario = Scenario::family().with_member(Role::Partner);
        assert_eq!(scenario.when(&of_age).accepted().len(), 2);
        scenario
            .asked_by(Role::Partner)
            .when(&of_age)
            .refused("role-not-allowed");
    }

    #[test]
    fn a_partner_adds_the_young_only() {
        let scenario = Scenario::family().with_member(Role::Partner).asked_by(Role::Partner);
        assert_eq!(scenario.when(&command(Role::Child)).accepted().len(), 1);
        scenario.when(&command(Role::Partner)).refused("role-not-allowed");
        scenario.when(&command(Role::Parent)).refused("role-not-allowed");
    }

    #[test]
    fn a_teen_adds_nobody() {
        Scenario::family()
            .with_member(Role::Teen)
            .asked_by(Role::Teen)
            .when(&command(Role::Child))
            .refused("role-not-allowed");
    }

    #[test]
    fn a_stranger_learns_nothing() {
        Scenario::family()
            .asked_by_stranger()
            .when(&command(Role::Child))
            .refused("unknown-family");
    }

    #[test]
    fn the_fifty_first_member_is_refused() {
        let mut scenario = Scenario::family();
        for _ in 1..MEMBERS_MAX {
            scenario = scenario.with_member(Role::Child);
        }
        scenario.when(&command(Role::Child)).refused("members-max");
    }
}
