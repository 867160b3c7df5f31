//! Who may be given a whole history: nobody from whom an account is hidden.

use domain::id::{FamilyId, MemberId};
use event_store::{Lane, Log, LogError, replay::hidden_now};
use service_kit::problem::Problem;

use crate::log_problem;

/// Is no account of the family hidden from this member, as things are now?
pub(crate) async fn sees_all_accounts(
    log: &Log,
    lane: Lane,
    family: FamilyId,
    member: MemberId,
) -> Result<bool, Problem> {
    let asked = async {
        let mut tx = log.about(family).await?;
        hidden_now(log, &mut tx, lane, family, member).await
    };
    let hidden = asked.await.map_err(|error: LogError| log_problem(&error))?;
    Ok(hidden.is_empty())
}
