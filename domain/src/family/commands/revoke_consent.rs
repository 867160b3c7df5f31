//! A parent takes consent back.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    decide::{Context, Decide, Decision, Stop},
    family::{ConsentRevoked, Family, FamilyRefusal, consent::Consent},
    id::MemberId,
    spending::{EndedBecause, requests::end_all},
};

/// A parent takes consent back: from here on nothing more is kept or done about the child.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeConsent {
    /// The child.
    pub member_id: MemberId,
}

impl Decide for RevokeConsent {
    const NAME: &'static str = "revoke-consent";
    const SUMMARY: &'static str = "Take back the consent to what is kept about a child";

    fn decide(&self, context: &Context<'_>) -> Result<Decision, Stop> {
        let family = context.family()?;
        match family.consent_of(family.member(self.member_id)?) {
            Consent::NotNeeded => return Err(FamilyRefusal::ConsentNotNeeded.into()),
            Consent::Revoked => return Err(FamilyRefusal::SameConsent.into()),
            // Taken back before the changed notice was consented to, it is taken back all the same.
            Consent::Given | Consent::Pending => {}
        }
        let mut decision = Decision::default();
        let revoked = ConsentRevoked {
            member_id: self.member_id,
            revoked_by: context.asking_member()?.member_id,
        };
        decision.record::<Family>(context.meta().family_id.uuid(), revoked.into(), context.today()?);
        end_all(context, &mut decision, self.member_id, EndedBecause::ConsentRevoked)?;
        Ok(decision)
    }
}
