//! A grown-up gives somebody a place in the family; an invitation then lets the person take it.

use chrono::NaiveDate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    give_consent::ConsentSaid,
    set_audit_term::{first_term, term},
};
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
    /// For an auditor: the last day they may look, in the family's calendar; when absent, they have thirty days.
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
        if self.role == Role::Auditor {
            let set = match self.until_on {
                Some(until_on) => term(context, member_id, until_on)?,
                None => first_term(context, member_id)?,
            };
            decision.record::<Family>(context.meta().family_id.uuid(), set.into(), context.today()?);
        }
        Ok(decision)
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Days, TimeDelta, Utc};

    use super::*;
    use crate::{
        aggregate::LedgerEvent,
        family::{
            FamilyEvent,
            commands::{JoinFamily, LeaveFamily, SetAuditTerm},
            consent::ConsentMethod,
        },
        testing::{Scenario, today},
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
    fn an_auditor_has_the_last_day_that_is_said_or_thirty_days_and_nobody_else_has_one() {
        let until = |role, until_on| AddMember {
            until_on,
            ..command(role)
        };
        let last_day = |until_on| {
            let events = Scenario::family().when(&until(Role::Auditor, until_on)).accepted();
            match &events[1].event {
                LedgerEvent::Family(FamilyEvent::AuditTermSet(term)) => term.until_on,
                other => panic!("no term: {other:?}"),
            }
        };
        assert_eq!(last_day(Some(today())), today());
        assert_eq!(last_day(None), today() + Days::new(30));
        let said = |until_on| Scenario::family().when(&until(Role::Partner, until_on)).code();
        assert_eq!(said(Some(today())), Some("not-an-auditor"));
        assert_eq!(said(None), None);
    }

    #[test]
    fn an_auditor_whose_last_day_nobody_said_is_a_stranger_after_thirty_days() {
        let scenario = Scenario::family();
        let added = scenario.when(&command(Role::Auditor)).accepted();
        let join = JoinFamily {
            member_id: scenario.added(&added),
        };
        let joined = scenario.given(added).asked_by_stranger().after(&join);
        // Berlin is an hour ahead of UTC in December.
        let over: DateTime<Utc> = "2026-12-21T23:00:00Z".parse().expect("an instant");
        let before = joined.clone().at(over - TimeDelta::microseconds(1));
        assert_eq!(before.when(&LeaveFamily {}).code(), None);
        let joined = joined.at(over);
        joined.when(&LeaveFamily {}).refused("unknown-family");
        // A parent gives them more days, when these are over too.
        let longer = SetAuditTerm {
            member_id: join.member_id,
            until_on: today() + Days::new(60),
        };
        let longer = joined.asked_by(Role::Parent).after(&longer);
        assert_eq!(longer.asked_by_stranger().when(&LeaveFamily {}).code(), None);
    }

    /// As release 0.1 recorded them.
    #[test]
    fn an_auditor_of_before_looks_on_until_somebody_says_how_long() {
        let of_before = Scenario::family().with_member(Role::Auditor);
        let years_later = of_before.clone().at(of_before.now() + TimeDelta::days(900));
        assert_eq!(years_later.asked_by(Role::Auditor).when(&LeaveFamily {}).code(), None);
    }

    #[test]
    fn a_parent_adds_anybody() {
        for role in [Role::Parent, Role::Partner, Role::Teen, Role::Child] {
            assert_eq!(Scenario::family().when(&command(role)).accepted().len(), 1);
        }
        assert_eq!(Scenario::family().when(&command(Role::Auditor)).accepted().len(), 2);
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
