//! What stood in the books as of an instant, a number of the log, a day, or both kinds of bound at once.

use axum::{
    Json,
    extract::{Path, Query, State, rejection::QueryRejection},
};
use domain::access::route;
use event_store::replay::{Statement, replay};
use service_kit::{auth::SignedIn, problem::Problem};

use super::{
    AuditState,
    query::{Bounds, parameters},
    replay_problem,
};

/// The statement; the same bounds on the same prefix give the same bytes for ever.
pub(super) async fn as_of(
    State(state): State<AuditState>,
    Path(family_id): Path<String>,
    signed_in: SignedIn,
    query: Result<Query<Bounds>, QueryRejection>,
) -> Result<Json<Statement>, Problem> {
    let (family, lane) = state.opened(route("statement"), &family_id, signed_in).await?;
    let bounds = parameters(query)?.parse()?;
    let _permit = state.permit()?;
    let replayed = replay(&state.log, lane, family, bounds, false, |_| ())
        .await
        .map_err(|e| replay_problem(&e))?;
    Ok(Json(replayed.statement))
}
