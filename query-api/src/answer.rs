//! A view's answer from whatever rows a connection shows: the family's own, or those that a replay has just made.
//!
//! Live and past answers are written by the same code, so that the same rows give the same bytes whenever they are read.

use axum::{
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use domain::{
    actor::Role,
    family::FamilyRefusal,
    id::{AccountId, FamilyId, MemberId},
    refusal::Refusal,
};
use schemars::JsonSchema;
use serde::Serialize;
use service_kit::{access, problem::Problem};
use sqlx::PgConnection;

use crate::{
    error::QueryError,
    etag,
    params::{self, Asked},
    serve,
    view::{View, ViewEntry, Viewer},
};

/// Every answer: up to which event it is, and the view's own members.
#[derive(Serialize, JsonSchema)]
pub struct Envelope<A> {
    /// The last event of the family that the answer contains.
    pub family_seq: i64,
    /// The view's own members.
    #[serde(flatten)]
    pub answer: A,
}

/// Somebody whose place in the family was settled elsewhere, and the moment they look at.
#[derive(Clone, Debug)]
pub struct Onlooker {
    /// The family.
    pub family_id: FamilyId,
    /// Their place in it.
    pub member_id: MemberId,
    /// The role they have now: it decides what they see, of the past as of the present.
    pub role: Role,
    /// Accounts hidden from them now: they stay hidden in the past, as those do that were hidden then.
    pub hidden_now: Vec<AccountId>,
    /// The young who are on no leaderboard now, and are on none of the past either.
    pub not_ranked_now: Vec<MemberId>,
    /// The moment: its day in the family's zone is what views call today.
    pub now: DateTime<Utc>,
}

impl ViewEntry {
    /// The view's answer as the rows of `tx` have it, with the parameters of a query string.
    ///
    /// # Errors
    /// The problem to answer with: the parameters cannot be read, the role may not ask, or the rows cannot be read.
    pub async fn answer_to(
        &self,
        tx: &mut PgConnection,
        viewer: &Viewer,
        query: Option<&str>,
    ) -> Result<Vec<u8>, Problem> {
        Ok((self.read)(tx, viewer, query).await?)
    }
}

/// A finished answer as a response: with its ETag, and 304 for who holds it already.
pub fn respond(headers: &HeaderMap, body: Vec<u8>) -> Response {
    let etag = etag::of_body(&body);
    if etag::is_held(headers, &etag) {
        return (StatusCode::NOT_MODIFIED, etag::headers(&etag)).into_response();
    }
    serve::json(&etag, body)
}

pub(crate) async fn read<V: View>(
    tx: &mut PgConnection,
    viewer: &Viewer,
    query: Option<&str>,
) -> Result<Vec<u8>, QueryError> {
    let asked = params::read::<V::Params>(query)?;
    if asked.min_family_seq.is_some() {
        let detail = "min_family_seq: waits for rows to come; here they are made for this request";
        return Err(Problem::malformed(detail).into());
    }
    check_day::<V>(&asked)?;
    check_role::<V>(viewer)?;
    let viewer = viewer.clone().looking_at(asked.effective_on);
    body::<V>(tx, &viewer, asked.params).await
}

/// A bound by day where nothing has a day would silently mean nothing.
pub(crate) fn check_day<V: View>(asked: &Asked<V::Params>) -> Result<(), Problem> {
    if asked.effective_on.is_some() && V::BY_DAY.is_none() {
        return Err(Problem::malformed(format!(
            "effective_on: nothing in {} counts for a day of its own; bound it by the moment it was recorded instead",
            V::NAME
        )));
    }
    Ok(())
}

pub(crate) fn check_role<V: View>(viewer: &Viewer) -> Result<(), Problem> {
    access::check(V::ACCESS, viewer.role)?;
    if viewer.awaits_consent {
        return Err(Refusal::from(FamilyRefusal::ConsentRequired).into());
    }
    Ok(())
}

pub(crate) async fn body<V: View>(
    tx: &mut PgConnection,
    viewer: &Viewer,
    params: V::Params,
) -> Result<Vec<u8>, QueryError> {
    let envelope = Envelope {
        family_seq: viewer.family_seq,
        answer: V::read(tx, viewer, params).await?,
    };
    Ok(serde_json::to_vec(&envelope)?)
}
