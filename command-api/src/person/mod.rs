//! Everything that is kept about a person, as one file for them: JSON for programs, HTML for people.
//!
//! Who may call: a person about themself, with a fresh proof; in a family a member about themself, and a parent about a teen or
//! child. It holds what identity keeps of the account (secrets as the fact that they are there), and of each family they are in
//! every event of the log by or about them, as far as the accounts it moves are shown to them, and to whoever asks, today. Of a
//! family they have left, or were removed from, it holds the same up to that event, as far as was shown to them then. The whole
//! history of a family is the audit's; notices are made of these events and stay in their view.
//!
//! The body is streamed and memory does not grow with the history, but for the ids of the person's own entries and chores. Once
//! the first byte is out the status cannot change, so what breaks off has no end mark: `"complete": true`, or the last line of the
//! page. Whoever loses the place meanwhile, sight of an account, or the session they asked in, gets no more of it. ADR 0043 has the choice.

mod account;
mod event;
mod form;
mod html;
mod json;
mod openapi;
mod place;
mod write;

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{FromRef, Path, Query, State, rejection::QueryRejection},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use domain::{
    access::{Row, route},
    actor::Role,
    id::{FamilyId, MemberId, UserId},
    parsing::without_values,
};
use event_store::{
    Lane, Log, LogError,
    replay::{PastPlace, past_places},
};
use serde::Deserialize;
use service_kit::{
    access,
    auth::{SignedIn, TokenVerifier},
    problem::Problem,
};

use crate::{
    audit::{Deliveries, Leave, STALLED_AFTER},
    delivery::Delivery,
    identity::{
        Identity,
        security_events::{self, Kind, SecurityEvent},
    },
    log_problem,
};
use form::Form;
use place::{OnItsWay, Seen, TheirFamily, TheirPlace};
use write::Subject;

pub use openapi::openapi_paths;

/// Who may have what is kept about a member.
const EXPORT: &Row = route("member-export");
/// Exports that one process writes at the same time.
const EXPORTS_AT_ONCE: usize = 8;
/// Of these, for one person, so that nobody who reads slowly keeps the others from theirs.
const EXPORTS_PER_PERSON: usize = 2;

/// What the routes need; cheap to clone.
#[derive(Clone)]
pub struct PersonState {
    identity: Identity,
    log: Log,
    exports: Arc<Deliveries>,
}

impl PersonState {
    /// Who is who, and the log.
    pub fn new(identity: Identity, log: Log) -> Self {
        Self {
            identity,
            log,
            exports: Deliveries::new(EXPORTS_AT_ONCE, EXPORTS_PER_PERSON),
        }
    }

    async fn lane(&self, family_id: FamilyId) -> Result<Lane, Problem> {
        let lane = self.log.lane_of(family_id).await.map_err(|error| log_problem(&error))?;
        lane.ok_or_else(Problem::unknown_family)
    }

    async fn past_places(&self, lane: Lane, family_id: FamilyId, user_id: UserId) -> Result<Vec<PastPlace>, LogError> {
        let mut tx = self.log.about(family_id).await?;
        past_places(&self.log, &mut tx, lane, family_id, user_id).await
    }

    /// Writes down that the file was asked for, and begins it.
    async fn begin(
        &self,
        event: SecurityEvent,
        signed_in: SignedIn,
        (account, families): (Option<UserId>, Vec<TheirFamily>),
        form: Box<dyn Form>,
    ) -> Result<Response, Problem> {
        let place = self.exports.begin(signed_in.user_id)?;
        let mut places = Vec::with_capacity(families.len());
        for their in families {
            let seen = their.seen(&self.log).await;
            places.extend(seen.map_err(|error| log_problem(&error))?);
        }
        let places: Arc<[Seen]> = places.into();
        let grounds = OnItsWay {
            state: self.clone(),
            person: signed_in.user_id,
            places: Arc::clone(&places),
        };
        let leave = Leave::given(signed_in, self.identity.sign_ins(), grounds);
        let subject = Subject { account, places };
        let event = event.in_session(signed_in.session_id).with("format", form.name());
        let told = security_events::record(self.identity.pool(), event).await;
        told.map_err(|error| Problem::of_database(&error))?;
        let (delivery, pieces) = Delivery::new(STALLED_AFTER);
        let delivery = delivery.while_there_is(leave);
        let (content_type, extension) = (form.content_type(), form.name());
        let state = self.clone();
        tokio::spawn(async move {
            let _place = place;
            match write::write(&state.identity, &state.log, &subject, form, &delivery).await {
                Ok(()) => delivery.complete(),
                Err(write::Failure::Gone) => tracing::info!("the reader of an export went away, or may have no more"),
                Err(error) => {
                    tracing::error!(%error, cause = ?std::error::Error::source(&error), "an export of a person failed");
                }
            }
        });
        let mut response = Body::from_stream(pieces.body()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let filename = format!("attachment; filename=\"kinledger-person.{extension}\"");
        if let Ok(filename) = HeaderValue::from_str(&filename) {
            headers.insert(header::CONTENT_DISPOSITION, filename);
        }
        Ok(response)
    }
}

impl FromRef<PersonState> for Arc<TokenVerifier> {
    fn from_ref(state: &PersonState) -> Self {
        Arc::clone(state.identity.verifier())
    }
}

/// The routes of exports.
pub fn router(state: PersonState) -> Router {
    Router::new()
        .route("/api/v1/auth/export", get(own))
        .route(
            "/api/v1/families/{family_id}/members/{member_id}/export",
            get(of_member),
        )
        .with_state(state)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExportQuery {
    format: Option<String>,
}

fn form(query: Result<Query<ExportQuery>, QueryRejection>) -> Result<Box<dyn Form>, Problem> {
    let Query(query) = query.map_err(|rejection| Problem::malformed(without_values(&rejection.body_text())))?;
    match query.format.as_deref() {
        None | Some("json") => Ok(Box::new(json::Json::default())),
        Some("html") => Ok(Box::new(html::Html::default())),
        Some(_) => Err(Problem::malformed("format is json or html").with("field", "format")),
    }
}

/// `GET /api/v1/auth/export`: the person themself, with a fresh proof.
async fn own(
    State(state): State<PersonState>,
    signed_in: SignedIn,
    query: Result<Query<ExportQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    signed_in.require_step_up(state.identity.verifier().now())?;
    let form = form(query)?;
    let user_id = signed_in.user_id;
    let mut families = Vec::new();
    let known = state
        .log
        .families_of(user_id)
        .await
        .map_err(|error| log_problem(&error))?;
    for (lane, family_id) in known {
        // What may not be processed is not told either.
        let place = match state.identity.families().role_of(family_id, user_id).await {
            Err(problem) if problem.status() == StatusCode::FORBIDDEN => None,
            place => place?,
        };
        let past = state.past_places(lane, family_id, user_id).await;
        let past = past.map_err(|error| log_problem(&error))?.into_iter();
        let held = place.map(|(member_id, _)| TheirPlace::Held {
            member_id,
            asking: member_id,
        });
        families.extend(
            past.map(TheirPlace::Past)
                .chain(held)
                .map(|place| TheirFamily { family_id, lane, place }),
        );
    }
    let event = SecurityEvent::about(Kind::Exported, user_id);
    state.begin(event, signed_in, (Some(user_id), families), form).await
}

/// `GET /api/v1/families/{family_id}/members/{member_id}/export`: the member themself, or a parent about a teen or child.
async fn of_member(
    State(state): State<PersonState>,
    signed_in: SignedIn,
    Path((family_id, member_id)): Path<(String, String)>,
    query: Result<Query<ExportQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    access::check_proof(EXPORT, signed_in, state.identity.verifier().now())?;
    let family_id: FamilyId = family_id.parse().map_err(|_| Problem::unknown_family())?;
    let place = state.identity.families().role_of(family_id, signed_in.user_id).await?;
    let (asking, role) = place.ok_or_else(Problem::unknown_family)?;
    access::check(EXPORT, role)?;
    let unknown = |_| Problem::unknown("unknown-member", "there is no such member in this family");
    let member_id: MemberId = member_id.parse().map_err(unknown)?;
    let holder = state
        .holder(family_id, member_id, (asking, role, signed_in.user_id))
        .await?;
    let form = form(query)?;
    let their = TheirFamily {
        family_id,
        lane: state.lane(family_id).await?,
        place: TheirPlace::Held { member_id, asking },
    };
    let event = match holder {
        Some(user_id) => SecurityEvent::about(Kind::Exported, user_id).in_family(family_id),
        None => SecurityEvent::about_family(Kind::Exported, family_id),
    };
    let event = event.by(signed_in.user_id);
    // Who signs in by devices that a parent looks after has no other way to it, once these open nothing any more.
    let account = match holder.filter(|_| member_id != asking) {
        Some(user_id) if state.identity.has_paired_devices_only(user_id).await? => Some(user_id),
        _ => None,
    };
    state.begin(event, signed_in, (account, vec![their]), form).await
}

impl PersonState {
    /// Who holds the place, if this member may have what is kept about it.
    async fn holder(
        &self,
        family_id: FamilyId,
        member_id: MemberId,
        (asking, role, user_id): (MemberId, Role, UserId),
    ) -> Result<Option<UserId>, Problem> {
        if member_id == asking {
            return Ok(Some(user_id));
        }
        // A parent who takes their consent back may take the data along.
        let (theirs, holder) = self.identity.families().place(family_id, member_id).await?;
        if role == Role::Parent && theirs.is_young() {
            return Ok(holder);
        }
        Err(Problem::not_allowed(
            "what is kept about somebody is for them, and about a teen or child for a parent",
        ))
    }
}
