//! A parent says how old a young member is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    decide::{Context, Decide, Decision, Stop},
    family::{AgeBandSet, Family, FamilyRefusal, consent::AgeBand},
    id::MemberId,
};

/// A parent says how old a young member is, as little of it as has to be known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetAgeBand {
    /// A teen or child.
    pub member_id: MemberId,
    /// How old.
    pub band: AgeBand,
}

impl Decide for SetAgeBand {
    const NAME: &'static str = "set-age-band";
    const SUMMARY: &'static str = "Say how old a teen or child is";

    fn decide(&self, context: &Context<'_>) -> Result<Decision, Stop> {
        if !context.family()?.member(self.member_id)?.role.is_young() {
            return Err(FamilyRefusal::NotYoung.into());
        }
        let mut decision = Decision::default();
        let set = AgeBandSet {
            member_id: self.member_id,
            band: self.band,
        };
        decision.record::<Family>(context.meta().family_id.uuid(), set.into(), context.today()?);
        Ok(decision)
    }
}
