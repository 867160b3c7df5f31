//! A teen or child takes back what they asked for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    decide::{Context, Decide, Decision, Stop},
    id::SpendingRequestId,
    spending::{Spending, SpendingRefusal, SpendingRequestCancelled},
};

/// A teen or child takes back what they asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CancelSpendingRequest {
    /// A request of their own.
    pub request_id: SpendingRequestId,
}

impl Decide for CancelSpendingRequest {
    const NAME: &'static str = "cancel-spending-request";
    const SUMMARY: &'static str = "Take back your own request to spend";

    fn decide(&self, context: &Context<'_>) -> Result<Decision, Stop> {
        let member_id = context.asking_member()?.member_id;
        let spending = context.get::<Spending>(member_id.uuid())?;
        if spending.account_of_request(self.request_id).is_none() {
            return Err(SpendingRefusal::UnknownRequest.into());
        }
        if spending.standing_request(self.request_id).is_none() {
            return Err(SpendingRefusal::RequestDone.into());
        }
        let mut decision = Decision::default();
        let cancelled = SpendingRequestCancelled {
            request_id: self.request_id,
            member_id,
        };
        decision.record::<Spending>(member_id.uuid(), cancelled.into(), context.today()?);
        Ok(decision)
    }
}
