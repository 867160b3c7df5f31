//! Was anything altered? Every hash of the family's chain is made again from the stored bytes.

use axum::{
    Json,
    extract::{Path, State},
};
use domain::access::route;
use event_store::verify::{ChainError, verify_family};
use serde_json::{Value, json};
use service_kit::{auth::SignedIn, problem::Problem};

use super::AuditState;
use crate::log_problem;

/// The verdict. A broken chain is an answer, not a failure: 200, with the first bad event.
pub(super) async fn verify(
    State(state): State<AuditState>,
    Path(family_id): Path<String>,
    signed_in: SignedIn,
) -> Result<Json<Value>, Problem> {
    let opened = state.opened_in_part(route("verify"), &family_id, signed_in).await?;
    let _permit = state.permit()?;
    match verify_family(&state.log, opened.lane, opened.family, |_| ()).await {
        Ok(verified) => {
            let mut verdict = json!({
                "verified": true,
                "family_id": opened.family,
                "events": verified.events,
                "family_seq": verified.head.family_seq,
            });
            // The hash is of everything, so it is for who may see everything.
            if opened.is_whole {
                verdict["chain_hash"] = json!(hex::encode(verified.head.chain_hash));
            }
            Ok(Json(verdict))
        }
        Err(ChainError::Broken {
            family_id,
            family_seq,
            fault,
        }) => {
            tracing::error!(family.id = %family_id, family_seq, %fault, "the log was altered");
            Ok(Json(json!({
                "verified": false,
                "family_id": family_id,
                "first_bad_family_seq": family_seq,
                "fault": fault.to_string(),
            })))
        }
        Err(ChainError::Log(error)) => Err(log_problem(&error)),
    }
}
