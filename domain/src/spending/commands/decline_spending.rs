//! An adult does not agree to what a teen or child asked for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    decide::{Context, Decide, Decision, Stop},
    id::{MemberId, SpendingRequestId},
    spending::{Spending, SpendingDeclined, requests::decidable},
    text,
};

/// An adult does not agree to what a teen or child asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeclineSpending {
    /// Who asked.
    pub member_id: MemberId,
    /// What they asked for.
    pub request_id: SpendingRequestId,
    /// Why not.
    #[serde(default)]
    #[schemars(length(max = 500))]
    pub reason: String,
}

impl Decide for DeclineSpending {
    const NAME: &'static str = "decline-spending";
    const SUMMARY: &'static str = "Decline a request to spend";

    fn decide(&self, context: &Context<'_>) -> Result<Decision, Stop> {
        let request = decidable(context, self.member_id, self.request_id)?;
        context.family()?.consented(self.member_id)?;
        let mut decision = Decision::default();
        let declined = SpendingDeclined {
            request_id: self.request_id,
            member_id: self.member_id,
            declined_by: context.asking_member()?.member_id,
            money: request.money,
            reason: text::note("reason", &self.reason)?,
        };
        decision.record::<Spending>(self.member_id.uuid(), declined.into(), context.today()?);
        Ok(decision)
    }
}
