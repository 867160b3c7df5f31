//! A parent says which country's law the family is under.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    decide::{Context, Decide, Decision, Stop},
    family::{CountrySet, Family, FamilyRefusal, consent::age_of_consent},
};

/// A parent says which country's law the family is under. From then on teens and children below its age of consent need a parent's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetCountry {
    /// ISO 3166-1, two capital letters.
    #[schemars(length(min = 2, max = 2))]
    pub country: String,
}

impl Decide for SetCountry {
    const NAME: &'static str = "set-country";
    const SUMMARY: &'static str =
        "Say which country's law the family is under: it decides from which age on nobody has to consent";

    fn decide(&self, context: &Context<'_>) -> Result<Decision, Stop> {
        if self.country.len() != 2 || !self.country.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return Err(FamilyRefusal::UnknownCountry.into());
        }
        let mut decision = Decision::default();
        let set = CountrySet {
            country: self.country.clone(),
            consent_age: age_of_consent(&self.country),
        };
        decision.record::<Family>(context.meta().family_id.uuid(), set.into(), context.today()?);
        Ok(decision)
    }
}
