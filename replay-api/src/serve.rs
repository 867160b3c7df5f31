//! `GET /api/v1/families/{family_id}/as-of/{view}`: a view as it was.
//!
//! **Who may ask** is whoever may ask the view now, and the role they have *now* decides what they see: a teen sees of the past
//! what a teen may see, also of the time before they were a teen, and an auditor sees the whole history, also of the time
//! before they were given leave. A teen or child sees nothing of the time before they came. An account is shown as far as it is
//! shared with them now and was then, whichever is less.
//!
//! **What bounds a request**, see [`ReplayLimits`]: a replay costs as much as the history is long. So only so many run at a time,
//! further ones are answered 429; a longer history is refused (422), and the command line is named, which has no such limit; what
//! takes too long is ended (503).

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{FromRef, Path, Query, RawQuery, State},
    http::{HeaderMap, HeaderValue, StatusCode, Uri},
    response::Response,
    routing::{MethodRouter, get},
};
use chrono::{DateTime, Utc};
use domain::{family::FamilyRefusal, id::FamilyId, parsing::without_values, refusal::Refusal};
use event_store::{
    Log,
    replay::{AsOf, Last, ReplayError},
};
use query_api::{
    answer::{Onlooker, respond},
    view::ViewEntry,
    views::VIEWS,
};
use serde::Deserialize;
use service_kit::{
    access,
    auth::{SignedIn, TokenVerifier},
    database::is_unavailable,
    problem::Problem,
};
use tokio::{sync::Semaphore, time::timeout};

use crate::{
    past::{Past, PastError, moment},
    place::{Place, place},
};

/// Replays that run at the same time in one process.
pub const REPLAYS_AT_ONCE: usize = 2;
/// The longest history that is replayed for one request, in events.
pub const EVENTS_MAX: i64 = 50_000;
/// The longest a replay may take.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Connections: one for each replay, and two for looking up who asks and whose sessions ended.
pub const CONNECTIONS: u32 = REPLAYS_AT_ONCE as u32 + 2;
/// The last event within the recorded bound; its hash names the history the answer is of.
const CHAIN_HASH: &str = "kinledger-chain-hash";

/// What past views need; cheap to clone.
#[derive(Clone)]
pub struct ReplayState {
    /// Its pool acts in the role of the replayer; [`CONNECTIONS`] of them.
    pub log: Log,
    /// Tells who is signed in.
    pub verifier: Arc<TokenVerifier>,
    /// What time it is, for requests that name no moment.
    pub clock: fn() -> DateTime<Utc>,
    limits: ReplayLimits,
    replays: Arc<Semaphore>,
}

/// What the replays of one process may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayLimits {
    /// Replays that run at the same time. Each takes a connection; The pool of [`ReplayState::log`] has two more than that.
    pub at_once: usize,
    /// The longest history that is replayed for one request, in events.
    pub events_max: i64,
    /// The longest a replay may take.
    pub patience: Duration,
}

impl Default for ReplayLimits {
    fn default() -> Self {
        Self {
            at_once: REPLAYS_AT_ONCE,
            events_max: EVENTS_MAX,
            patience: PATIENCE,
        }
    }
}

impl ReplayState {
    /// On the system's clock.
    pub fn new(log: Log, verifier: Arc<TokenVerifier>, limits: ReplayLimits) -> Self {
        Self {
            log,
            verifier,
            clock: Utc::now,
            limits,
            replays: Arc::new(Semaphore::new(limits.at_once)),
        }
    }
}

impl FromRef<ReplayState> for Arc<TokenVerifier> {
    fn from_ref(state: &ReplayState) -> Self {
        Arc::clone(&state.verifier)
    }
}

/// One route for each view.
pub fn router(state: ReplayState) -> Router {
    let mut router = Router::new();
    for view in VIEWS {
        router = router.route(&path(view), route(view));
    }
    router.with_state(state)
}

/// The URL of a past view.
pub(crate) fn path(view: &ViewEntry) -> String {
    format!("/api/v1/families/{{family_id}}/as-of/{}", view.name)
}

fn route(view: &'static ViewEntry) -> MethodRouter<ReplayState> {
    get(
        move |State(state): State<ReplayState>,
              signed_in: SignedIn,
              Path(family_id): Path<String>,
              RawQuery(query): RawQuery,
              headers: HeaderMap| async move {
            let asked = Asked::parse(query.as_deref().unwrap_or_default())?;
            let family: FamilyId = family_id.parse().map_err(|_| Problem::unknown_family())?;
            let place = place(&state.log, family, signed_in.user_id, (state.clock)())
                .await
                .map_err(problem)?;
            let place = place.ok_or_else(Problem::unknown_family)?;
            access::check(view.access, place.member.role)?;
            if !place.may_be_shown {
                return Err(Refusal::from(FamilyRefusal::ConsentRequired).into());
            }
            let answered = timeout(state.limits.patience, answer(&state, view, family, &place, &asked)).await;
            let (body, last) = answered
                .map_err(|_| Problem::unavailable(5, "the replay took too long; try again when less is going on"))??;
            // The hash is of the whole history: to somebody who may not see all of it, it would tell that something else is there.
            let sees_all = place.hidden_now.is_empty() && !place.member.role.is_young();
            let last = last.filter(|_| sees_all);
            Ok::<Response, Problem>(with_chain_hash(respond(&headers, body), last))
        },
    )
}

async fn answer(
    state: &ReplayState,
    view: &ViewEntry,
    family: FamilyId,
    place: &Place,
    asked: &Asked,
) -> Result<(Vec<u8>, Option<Last>), Problem> {
    let busy = |_| Problem::too_fast(5, "several ledgers are being replayed just now; try again shortly");
    let _permit = Arc::clone(&state.replays).try_acquire_owned().map_err(busy)?;
    let mut connection = state
        .log
        .pool()
        .acquire()
        .await
        .map_err(|error| problem(error.into()))?;
    let past = Past::begin(&state.log, &mut connection, family)
        .await
        .map_err(problem)?;
    let mut past = past.ok_or_else(Problem::unknown_family)?;
    let started = tokio::time::Instant::now();
    let last = replayed(&mut past, &asked.as_of, state.limits.events_max)
        .await
        .map_err(problem)?;
    let onlooker = Onlooker {
        family_id: family,
        member_id: place.member.member_id,
        role: place.member.role,
        hidden_now: place.hidden_now.clone(),
        not_ranked_now: place.not_ranked_now.clone(),
        now: moment(&asked.as_of, last, (state.clock)()),
    };
    let viewer = past.viewer(&onlooker).await?;
    let viewer =
        viewer.ok_or_else(|| Problem::unknown("not-yet", "at that moment there was nothing here for you to see"))?;
    let body = view.answer_to(past.rows(), &viewer, Some(&asked.query)).await?;
    metrics::histogram!("kinledger_past_view_seconds", "view" => view.name).record(started.elapsed().as_secs_f64());
    Ok((body, last))
}

/// Refuses before it begins what would be refused at the end.
async fn replayed(past: &mut Past<'_>, as_of: &AsOf, events_max: i64) -> Result<Option<Last>, PastError> {
    let head = past.head().await?;
    if let Some(asked) = as_of.family_seq.filter(|asked| *asked > head) {
        return Err(ReplayError::BeyondHead { asked, head }.into());
    }
    if as_of.recorded_at.is_none() && as_of.family_seq.unwrap_or(head) > events_max {
        return Err(PastError::TooLong { events_max });
    }
    past.replay(*as_of, events_max, |_| Ok(())).await
}

fn with_chain_hash(mut response: Response, last: Option<Last>) -> Response {
    let hash = last.and_then(|last| HeaderValue::from_str(&hex::encode(last.chain_hash)).ok());
    if let Some(hash) = hash {
        response.headers_mut().insert(CHAIN_HASH, hash);
    }
    response
}

/// The bounds of the recording, and what is left for the view.
struct Asked {
    as_of: AsOf,
    query: String,
}

#[derive(Deserialize)]
struct Bounds {
    recorded_at: Option<String>,
    family_seq: Option<String>,
}

impl Asked {
    fn parse(query: &str) -> Result<Self, Problem> {
        let is_bound = |pair: &&str| matches!(pair.split('=').next(), Some("recorded_at" | "family_seq"));
        let bounds: Vec<&str> = query.split('&').filter(is_bound).collect();
        let own: Vec<&str> = query.split('&').filter(|pair| !is_bound(pair)).collect();
        let uri = Uri::builder().path_and_query(format!("/?{}", bounds.join("&"))).build();
        let uri = uri.map_err(|_| Problem::malformed("the query string is not a valid one"))?;
        let Query(bounds) = Query::<Bounds>::try_from_uri(&uri)
            .map_err(|error| Problem::malformed(without_values(&error.body_text())))?;
        let as_of = AsOf::parse(bounds.recorded_at.as_deref(), bounds.family_seq.as_deref(), None)
            .map_err(|error| Problem::malformed(error.to_string()))?;
        Ok(Self {
            as_of,
            query: own.join("&"),
        })
    }
}

/// What a failed replay means to a client.
fn problem(error: PastError) -> Problem {
    match error {
        PastError::TooLong { events_max } => Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "replay-too-long",
            format!(
                "{error}; name an earlier moment, or use the command line, which has no such limit: \
                 kinledger audit replay --view VIEW"
            ),
        )
        .with("events_max", events_max),
        PastError::Replay(ReplayError::BeyondHead { head, .. }) => {
            let PastError::Replay(error) = error else {
                return Problem::ours(&error);
            };
            Problem::malformed(error.to_string()).with("family_seq", head)
        }
        PastError::Replay(ReplayError::Altered { family_seq, .. }) => {
            tracing::error!(%error, "the log was altered");
            Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "chain-broken",
                "the log was altered: nothing is replayed from it",
            )
            .with("first_bad_family_seq", family_seq)
        }
        PastError::Log(ref cause) | PastError::Replay(ReplayError::Log(ref cause)) if cause.is_unavailable() => {
            unavailable(&error)
        }
        PastError::Database(ref cause) if is_unavailable(cause) => unavailable(&error),
        _ => Problem::ours(&error),
    }
}

fn unavailable(error: &PastError) -> Problem {
    tracing::warn!(%error, "a past view could not be made");
    Problem::unavailable(1, "the database is away or busy; try again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_taken_out_and_the_rest_is_the_views() {
        let asked = Asked::parse("limit=5&family_seq=7&effective_on=2024-02-29").expect("bounds");
        assert_eq!(asked.as_of.family_seq, Some(7));
        assert_eq!(asked.query, "limit=5&effective_on=2024-02-29");
        let asked = Asked::parse("recorded_at=2026-11-21T13:00:00.000001%2B01:00").expect("bounds");
        assert_eq!(asked.as_of.recorded_at.map(|at| at.timestamp_subsec_micros()), Some(1));
        for odd in [
            "family_seq=1&family_seq=2",
            "family_seq=-1",
            "recorded_at=now",
            "family_seq=1&recorded_at=2026-11-21T13:00:00Z",
        ] {
            assert_eq!(
                Asked::parse(odd).map(|_| ()).expect_err(odd).status(),
                StatusCode::BAD_REQUEST
            );
        }
    }
}
