//! The register of erasures says again what a restored log has forgotten. Not in the public list: only the start of the service leads
//! here.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    access::{self, Row},
    decide::{Context, Decide, Decision, Stop},
    family::{Family, FamilyDeleted, MemberErased},
    id::MemberId,
};

/// A log that was restored to before an erasure records it again. Nothing is asked but whether it is recorded already: what was
/// promised to a person holds whatever else the restore took away.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordErasure {
    /// The member; none for the whole family.
    pub member_id: Option<MemberId>,
}

impl Decide for RecordErasure {
    const NAME: &'static str = "record-erasure";
    const SUMMARY: &'static str = "Record an erasure again that a restore took away";
    const ACCESS: &'static Row = access::REGISTER;
    // Nobody asks: the register does.
    const FOR_STRANGERS: bool = true;

    fn decide(&self, context: &Context<'_>) -> Result<Decision, Stop> {
        let (family_id, family) = (context.meta().family_id, context.family()?);
        let mut decision = Decision::default();
        let event = match self.member_id {
            Some(member_id) => {
                family.not_erased(member_id)?;
                MemberErased { member_id }.into()
            }
            None => FamilyDeleted { family_id }.into(),
        };
        decision.record::<Family>(family_id.uuid(), event, context.today()?);
        Ok(decision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        actor::Role,
        testing::{Scenario, member_id},
    };

    #[test]
    fn an_erasure_is_recorded_again_whoever_is_left_and_once() {
        let erased = |member_id| RecordErasure { member_id };
        let parent = erased(Some(member_id(Role::Parent)));
        let scenario = Scenario::family().asked_by_stranger();
        assert_eq!(scenario.when(&parent).accepted().len(), 1);
        scenario.clone().after(&parent).when(&parent).refused("already-erased");
        scenario
            .when(&erased(Some(member_id(Role::Child))))
            .refused("unknown-member");
        let after = scenario.after(&erased(None));
        after.when(&erased(None)).refused("unknown-family");
    }
}
