//! How a view is served: the same way for all of them.
//!
//! 1. The parameters are read; what cannot be read is a 400 that tells nothing of any family.
//! 2. The member who asks is looked up ([`crate::places`]), after the request has arrived and together with whoever else asks
//!    then. A stranger and an unknown family get the same 404. With `min_family_seq`, this is repeated for up to [`WAIT_MAX`]
//!    until the rows hold that event, and after that answered 202.
//! 3. The role is checked, the ETag compared, and a kept answer of that ETag given. For most requests that is all.
//! 4. Otherwise one read-only snapshot is opened that the database confines to the family of the URL. Which tables it answers
//!    from is read in that same snapshot, so a rebuild that is switched to meanwhile changes nothing in the middle of an answer.
//!    The member is looked up in it again and the view read, so that answer, role and ETag are of one moment.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::{Path, RawQuery, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use domain::id::{FamilyId, UserId};
use service_kit::{auth::SignedIn, problem::Problem};
use sqlx::{Postgres, Transaction};
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};
use uuid::Uuid;

use crate::{
    answer,
    error::QueryError,
    etag,
    params::{self, Asked},
    state::QueryState,
    view::{View, Viewer},
};

/// How long a request waits for its own write to reach the rows.
pub const WAIT_MAX: Duration = Duration::from_secs(2);
/// Pauses between looks, where nobody rings: doubled from the first to the last.
const PAUSE_FIRST: Duration = Duration::from_millis(10);
const PAUSE_LAST: Duration = Duration::from_millis(50);
/// When to come back after a 202, in milliseconds.
const RETRY_AFTER_MS: u32 = 250;

/// The handler of a view.
pub(crate) async fn serve<V: View>(
    State(state): State<QueryState>,
    signed_in: SignedIn,
    Path(family_id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let started = Instant::now();
    let asked = params::read::<V::Params>(query.as_deref())?;
    answer::check_day::<V>(&asked)?;
    let family_id: FamilyId = family_id.parse().map_err(|_| Problem::unknown_family())?;
    let viewer = wait_for(&state, family_id, signed_in.user_id, asked.min_family_seq).await?;
    answer::check_role::<V>(&viewer)?;
    let viewer = viewer.looking_at(asked.effective_on);
    let etag = etag::of(V::NAME, &asked.query, &viewer);
    if etag::is_held(&headers, &etag) {
        return Ok((StatusCode::NOT_MODIFIED, etag::headers(&etag)).into_response());
    }
    let (etag, body) = match state.cache.get(&etag::kept_as(&etag, &viewer)).await {
        Some(body) => (etag, body),
        None => read::<V>(&state, family_id, signed_in.user_id, asked).await?,
    };
    metrics::histogram!("kinledger_view_seconds", "view" => V::NAME).record(started.elapsed().as_secs_f64());
    Ok(json(&etag, body))
}

/// The answer from the rows, with its tag. The snapshot is younger than the look that was made before, so the member's place is
/// looked up in it once more: it is the one that counts.
async fn read<V: View>(
    state: &QueryState,
    family_id: FamilyId,
    user_id: UserId,
    asked: Asked<V::Params>,
) -> Result<(String, Bytes), Problem> {
    let mut tx = snapshot(state, Scope::Family(family_id)).await?;
    let viewer = Viewer::load(&mut tx, family_id, user_id, (state.clock)()).await?;
    let viewer = viewer.ok_or_else(Problem::unknown_family)?;
    answer::check_role::<V>(&viewer)?;
    let viewer = viewer.looking_at(asked.effective_on);
    let etag = etag::of(V::NAME, &asked.query, &viewer);
    let body = Bytes::from(answer::body::<V>(&mut tx, &viewer, asked.params).await?);
    // Nothing was written, so however the transaction ends, the answer stands.
    drop(tx);
    state.cache.put(&etag::kept_as(&etag, &viewer), &body).await;
    Ok((etag, body))
}

pub(crate) fn json(etag: &str, body: impl Into<Body>) -> Response {
    let content_type = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    (StatusCode::OK, content_type, etag::headers(etag), body.into()).into_response()
}

/// Whose rows a snapshot may show.
pub(crate) enum Scope {
    Family(FamilyId),
    OwnPlaces(UserId),
}

/// Opens a read-only snapshot that the database confines to its scope.
pub(crate) async fn snapshot(state: &QueryState, scope: Scope) -> Result<Transaction<'static, Postgres>, QueryError> {
    let (setting, id): (&str, Uuid) = match scope {
        Scope::Family(family_id) => ("kinledger.family_id", family_id.uuid()),
        Scope::OwnPlaces(user_id) => ("kinledger.user_id", user_id.uuid()),
    };
    // A UUID's text is hexadecimal digits and dashes; all three commands go in one round trip.
    let begin = format!(
        "begin isolation level repeatable read read only; set local {setting} = '{id}'; \
         select set_config('search_path', search_path, true), set_config('kinledger.generation', number::text, true) \
         from generations.live"
    );
    Ok(state.pool.begin_with(begin).await?)
}

/// The member who asks, once the rows hold the event that was asked for.
async fn wait_for(
    state: &QueryState,
    family_id: FamilyId,
    user_id: UserId,
    min_family_seq: Option<i64>,
) -> Result<Viewer, Problem> {
    let deadline = Instant::now() + WAIT_MAX;
    let mut pause = PAUSE_FIRST;
    let mut place = None;
    loop {
        // Listening begins before looking: a change in between is heard.
        let bell = state.rows_changed.clone().unwrap_or_else(|| Arc::new(Notify::new()));
        let rung = bell.notified();
        tokio::pin!(rung);
        rung.as_mut().enable();

        let found = state.places.of(family_id, user_id).await?;
        match (&found, min_family_seq) {
            (Some(found), wanted) if wanted.is_none_or(|wanted| found.family_seq >= wanted) => {
                return Ok(Viewer::of_place(family_id, found, (state.clock)())?);
            }
            (None, None) => return Err(Problem::unknown_family()),
            _ => {}
        }
        if place.is_none() {
            place = state.waiters.try_acquire().ok();
        }
        if place.is_none() || Instant::now() >= deadline {
            // A family that was founded a moment ago may have no rows yet; to a stranger it reads the same after the same wait.
            return Err(found.map_or_else(Problem::unknown_family, |found| not_yet(found.family_seq)));
        }
        tokio::select! {
            () = rung => {}
            () = sleep(pause) => {}
        }
        pause = (pause * 2).min(PAUSE_LAST);
    }
}

/// The rows do not hold the event yet: not an error, so 202, in the shape of a problem for the same reader.
fn not_yet(family_seq: i64) -> Problem {
    Problem::new(
        StatusCode::ACCEPTED,
        "not-yet-projected",
        "the views do not hold that event yet; ask again shortly",
    )
    .with("family_seq", family_seq)
    .with("retry_after_ms", RETRY_AFTER_MS)
    .retry_after(1)
}
