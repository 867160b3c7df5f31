//! A parent says which country's law the family is under.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    decide::{Context, Decide, Decision, Stop},
    family::{
        CountrySet, Family, FamilyRefusal,
        consent::{age_of_consent, is_country},
    },
};

/// A parent says which country's law the family is under: teens and children below its age of consent need a parent's.
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
        let set = country_set(&self.country)?;
        let mut decision = Decision::default();
        decision.record::<Family>(context.meta().family_id.uuid(), set.into(), context.today()?);
        Ok(decision)
    }
}

/// What is recorded of a country that a family says.
pub(super) fn country_set(country: &str) -> Result<CountrySet, FamilyRefusal> {
    if !is_country(country) {
        return Err(FamilyRefusal::UnknownCountry);
    }
    Ok(CountrySet {
        country: country.to_owned(),
        consent_age: age_of_consent(country),
    })
}
