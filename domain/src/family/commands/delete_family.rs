//! The last adult of a family gives up its ledger.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    actor::Role,
    decide::{Context, Decide, Decision, Stop},
    family::{Family, FamilyDeleted, FamilyRefusal},
};

/// The ledger is given up for good: every text of it is forgotten, and to everybody the family does not exist any more. Whoever
/// asks is the only adult left in it, and removed no other in the last thirty days.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteFamily {
    /// The family's name, to confirm.
    #[schemars(length(max = 120))]
    pub name: String,
}

impl Decide for DeleteFamily {
    const NAME: &'static str = "delete-family";
    const SUMMARY: &'static str = "Give up the family's ledger for good; nobody can read it any more";

    fn decide(&self, context: &Context<'_>) -> Result<Decision, Stop> {
        let (family, asking) = (context.family()?, context.asking_member()?);
        let is_other_adult = |member: &&crate::family::Member| {
            // Who was a parent or partner is asked also when they were made an auditor whose term is over.
            let is_asked = member.was_adult || (member.role == Role::Auditor && member.is_in(context.at()));
            is_asked && member.user_id.is_some() && member.member_id != asking.member_id
        };
        if family.present().any(|member| is_other_adult(&member)) {
            return Err(FamilyRefusal::OthersFirst.into());
        }
        if family.name() != Some(self.name.trim()) {
            return Err(FamilyRefusal::OtherName.into());
        }
        let today = context.today()?;
        if family
            .members()
            .any(|gone| gone.has_left && gone.alone_may_erase(today))
        {
            return Err(FamilyRefusal::RemovedLately.into());
        }
        let family_id = context.meta().family_id;
        let mut decision = Decision::default();
        decision.record::<Family>(family_id.uuid(), FamilyDeleted { family_id }.into(), today);
        Ok(decision)
    }
}

#[cfg(test)]
mod tests {
    use chrono::Duration;

    use super::*;
    use crate::{
        family::commands::{ChangeRole, CreateFamily, LeaveFamily, RemoveMember, SetAuditTerm},
        testing::{Scenario, currency, member_id, today},
    };

    fn delete(name: &str) -> DeleteFamily {
        DeleteFamily { name: name.to_owned() }
    }

    #[test]
    fn a_deleted_family_does_not_exist_and_its_id_is_never_used_again() {
        let scenario = Scenario::family().with_member(Role::Child);
        assert_eq!(scenario.when(&delete("Lovelace")).accepted().len(), 1);
        let after = scenario.after(&delete("Lovelace"));
        after.when(&delete("Lovelace")).refused("unknown-family");
        after.when(&LeaveFamily {}).refused("unknown-family");
        let again = CreateFamily {
            name: "Again".to_owned(),
            currency: currency("EUR"),
            zone: "UTC".to_owned(),
            week_start: Default::default(),
            display_name: None,
            country: None,
            with_categories: false,
        };
        after.when(&again).refused("unknown-family");
    }

    #[test]
    fn other_adults_leave_first() {
        for role in [Role::Parent, Role::Partner, Role::Auditor] {
            let scenario = Scenario::family().with_member(role);
            scenario.when(&delete("Lovelace")).refused("others-first");
        }
        let remove = RemoveMember {
            member_id: member_id(Role::Partner),
        };
        let alone = Scenario::family().with_member(Role::Partner).after(&remove);
        alone.when(&delete("Lovelace")).refused("removed-lately");
        let later = alone.clone().at(alone.now() + Duration::days(30));
        assert_eq!(later.when(&delete("Lovelace")).accepted().len(), 1);
        // Made a guest whose term is over they are asked all the same.
        let partner = Scenario::family().with_member(Role::Partner);
        let guest = ChangeRole {
            member_id: member_id(Role::Partner),
            role: Role::Auditor,
        };
        let term = SetAuditTerm {
            member_id: member_id(Role::Partner),
            until_on: today(),
        };
        let over = partner.after(&guest).after(&term);
        let over = over.clone().at(over.now() + Duration::days(40));
        over.when(&delete("Lovelace")).refused("others-first");
        let over = over.after(&remove);
        over.when(&delete("Lovelace")).refused("removed-lately");
        // Who never was more than a guest is not asked any more.
        let guest = Scenario::family().with_member(Role::Auditor).after(&SetAuditTerm {
            member_id: member_id(Role::Auditor),
            until_on: today(),
        });
        let guest = guest.clone().at(guest.now() + Duration::days(2));
        assert_eq!(guest.when(&delete("Lovelace")).accepted().len(), 1);
        let left = Scenario::family().with_member(Role::Partner).asked_by(Role::Partner);
        let left = left.after(&LeaveFamily {}).asked_by(Role::Parent);
        assert_eq!(left.when(&delete("Lovelace")).accepted().len(), 1);
        // A place that nobody has taken is nobody to ask.
        let invited = Scenario::family().with_unjoined(Role::Parent);
        assert_eq!(invited.when(&delete("Lovelace")).accepted().len(), 1);
    }

    #[test]
    fn the_name_is_written_to_confirm_and_only_a_parent_asks() {
        Scenario::family().when(&delete("lovelace")).refused("other-name");
        let scenario = Scenario::family().with_member(Role::Partner).asked_by(Role::Partner);
        scenario.when(&delete("Lovelace")).refused("role-not-allowed");
    }
}
