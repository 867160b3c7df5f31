//! A name in the family was wrong, or is another now.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    actor::Role,
    decide::{Context, Decide, Decision, Stop},
    family::{Family, FamilyRefusal, MemberRenamed},
    id::MemberId,
    text,
};

/// A member is called otherwise from now on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RenameMember {
    /// Oneself; as a parent also a teen, a child, an auditor, or a place that nobody has taken.
    pub member_id: MemberId,
    /// The name shown in the family from now on.
    #[schemars(length(min = 1, max = 120))]
    pub display_name: String,
}

impl Decide for RenameMember {
    const NAME: &'static str = "rename-member";
    const SUMMARY: &'static str = "Correct the name of a member";

    fn decide(&self, context: &Context<'_>) -> Result<Decision, Stop> {
        let asking = context.asking_member()?;
        // A name is what a child is called while consent is asked for, and a wrong one may be corrected meanwhile.
        let member = context.family()?.member(self.member_id)?;
        let is_a_parents_to_name = !member.role.is_adult() || member.user_id.is_none();
        if member.member_id != asking.member_id && !(asking.role == Role::Parent && is_a_parents_to_name) {
            return Err(FamilyRefusal::NotYoursToRename.into());
        }
        let display_name = text::name("display_name", &self.display_name)?;
        if member.display_name == display_name {
            return Err(FamilyRefusal::SameName.into());
        }
        let mut decision = Decision::default();
        let renamed = MemberRenamed {
            member_id: self.member_id,
            display_name,
        };
        decision.record::<Family>(context.meta().family_id.uuid(), renamed.into(), context.today()?);
        Ok(decision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Scenario, member_id};

    fn rename(role: Role, name: &str) -> RenameMember {
        RenameMember {
            member_id: member_id(role),
            display_name: name.to_owned(),
        }
    }

    fn family() -> Scenario {
        let roles = [Role::Partner, Role::Teen, Role::Child, Role::Auditor];
        roles.into_iter().fold(Scenario::family(), Scenario::with_member)
    }

    #[test]
    fn everybody_corrects_their_own_name_once() {
        for role in [Role::Parent, Role::Partner, Role::Teen, Role::Child] {
            let scenario = family().asked_by(role);
            let events = scenario.when(&rename(role, " Grace ")).accepted();
            assert_eq!(events.len(), 1, "{role:?}");
            scenario.given(events).when(&rename(role, "Grace")).refused("same-name");
        }
    }

    #[test]
    fn a_parent_corrects_the_names_of_the_young_of_auditors_and_of_places_that_nobody_has_taken() {
        for role in [Role::Teen, Role::Child, Role::Auditor] {
            assert_eq!(family().when(&rename(role, "Byron")).accepted().len(), 1);
        }
        let place = Scenario::family().with_place(Role::Partner);
        assert_eq!(place.when(&rename(Role::Partner, "Ada")).accepted().len(), 1);
    }

    #[test]
    fn nobody_names_another_adult_and_only_parents_name_the_young() {
        for (asking, named) in [
            (Role::Parent, Role::Partner),
            (Role::Partner, Role::Parent),
            (Role::Partner, Role::Child),
            (Role::Teen, Role::Child),
            (Role::Child, Role::Teen),
        ] {
            let asked = family().asked_by(asking);
            asked.when(&rename(named, "Mallory")).refused("not-yours-to-rename");
        }
        let auditor = family().asked_by(Role::Auditor);
        auditor
            .when(&rename(Role::Auditor, "Mallory"))
            .refused("role-not-allowed");
    }

    #[test]
    fn a_name_is_one_line_and_the_member_is_there() {
        for text in ["", "  ", "two\nlines", &"x".repeat(121)] {
            family().when(&rename(Role::Parent, text)).refused("bad-text");
        }
        assert_eq!(
            family().when(&rename(Role::Parent, &"x".repeat(120))).accepted().len(),
            1
        );
        Scenario::family()
            .when(&rename(Role::Child, "Nobody"))
            .refused("unknown-member");
    }

    #[test]
    fn a_child_that_waits_for_consent_may_be_called_rightly_but_does_not_act() {
        let notice = crate::family::commands::ChangeNotice { notice_version: 2 };
        let waiting = family().after(&notice);
        assert_eq!(waiting.when(&rename(Role::Child, "Byron")).accepted().len(), 1);
        waiting
            .asked_by(Role::Child)
            .when(&rename(Role::Child, "Byron"))
            .refused("consent-required");
    }
}
