//! The auditor's routes: read the log itself, what stood in the books at any moment, proofs and exports.
//!
//! Who may call: whom the role matrix lets; everybody else in the family is told that the role may not, and a person outside it
//! gets the same 404 as for a family that does not exist. Everything is read from the log, nothing from read models.
//!
//! What is read here is whole: events, exports, packs and the hashes over them. An adult from whom an account is hidden is refused
//! all of it (`accounts-hidden`) but the verdict whether the chain is whole; views show them their part. ADR 0035 has the choice.
//!
//! A replay costs as much as the history is long, so only so many run at a time; further ones are answered 429. Exports and packs
//! have places of their own, a few for each person, so that slow readers hold up nobody's replay. A client that takes nothing of
//! its export or pack for a while is gone. [`AuditLimits`] has all of it.

mod as_of;
mod events;
mod export;
mod leave;
mod openapi;
mod query;
mod seal;
mod verify;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::FromRef,
    http::{HeaderValue, StatusCode, header},
    routing::get,
};
use domain::{
    access::Row,
    id::{FamilyId, UserId},
};
use event_store::{Lane, Log, replay::ReplayError};
use service_kit::{
    access,
    auth::{SignedIn, TokenVerifier},
    problem::Problem,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower_http::set_header::SetResponseHeaderLayer;

use self::leave::WholeHistory;
pub(crate) use self::leave::{Deliveries, Grounds, Leave};
use crate::{
    identity::{
        Families,
        security_events::{Kind, SecurityEvent, Trail},
        sign_ins::SignIns,
    },
    log_problem,
    sharing::sees_all_accounts,
};

pub use openapi::openapi_paths;

/// Replays and verifications that run at the same time in one process.
const REPLAYS_AT_ONCE: usize = 4;

/// Exports and packs that are on their way at the same time from one process, and to one person.
const DELIVERIES_AT_ONCE: usize = 16;
const DELIVERIES_PER_PERSON: usize = 2;

/// How long a client may take nothing of what it asked for.
pub const STALLED_AFTER: Duration = Duration::from_secs(60);

/// What the auditor's routes need; cheap to clone.
#[derive(Clone)]
pub struct AuditState {
    log: Log,
    trail: Trail,
    sign_ins: SignIns,
    families: Arc<dyn Families>,
    verifier: Arc<TokenVerifier>,
    limits: AuditLimits,
    replays: Arc<Semaphore>,
    deliveries: Arc<Deliveries>,
}

/// What the histories that one process reads may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditLimits {
    /// Replays and verifications at the same time.
    pub at_once: usize,
    /// Exports and packs at the same time.
    pub deliveries_at_once: usize,
    /// Of these, to one person.
    pub deliveries_per_person: usize,
    /// How long a client may take nothing of an export or a pack; then it is broken off.
    pub stalled_after: Duration,
}

impl Default for AuditLimits {
    fn default() -> Self {
        Self {
            at_once: REPLAYS_AT_ONCE,
            deliveries_at_once: DELIVERIES_AT_ONCE,
            deliveries_per_person: DELIVERIES_PER_PERSON,
            stalled_after: STALLED_AFTER,
        }
    }
}

impl AuditState {
    /// The log to read, where exports are written down, who is signed in still, who belongs to a family, and who signs in.
    pub fn new(
        log: Log,
        trail: Trail,
        sign_ins: SignIns,
        families: Arc<dyn Families>,
        verifier: Arc<TokenVerifier>,
        limits: AuditLimits,
    ) -> Self {
        Self {
            log,
            trail,
            sign_ins,
            families,
            verifier,
            limits,
            replays: Arc::new(Semaphore::new(limits.at_once)),
            deliveries: Deliveries::new(limits.deliveries_at_once, limits.deliveries_per_person),
        }
    }

    fn stalled_after(&self) -> Duration {
        self.limits.stalled_after
    }

    /// The family and its lane, if this person may use the operation, which is about the whole log.
    async fn opened(&self, row: &Row, family_id: &str, signed_in: SignedIn) -> Result<(FamilyId, Lane), Problem> {
        let opened = self.opened_in_part(row, family_id, signed_in).await?;
        if opened.is_whole {
            return Ok((opened.family, opened.lane));
        }
        let detail = "accounts of this family are hidden from you, and this would show them: ask the views";
        Err(Problem::new(StatusCode::FORBIDDEN, "accounts-hidden", detail))
    }

    /// The same, for what tells nothing of any account.
    async fn opened_in_part(&self, row: &Row, family_id: &str, signed_in: SignedIn) -> Result<Opened, Problem> {
        access::check_proof(row, signed_in, self.verifier.now())?;
        // What is no id at all names no family either; strangers see the same.
        let family: FamilyId = family_id.parse().map_err(|_| Problem::unknown_family())?;
        self.admitted(row, family, signed_in.user_id).await
    }

    /// What the person's place lets them, as it is now.
    async fn admitted(&self, row: &Row, family: FamilyId, person: UserId) -> Result<Opened, Problem> {
        let place = self.families.role_of(family, person).await?;
        let (member_id, role) = place.ok_or_else(Problem::unknown_family)?;
        access::check(row, role)?;
        let lane = self.log.lane_of(family).await.map_err(|error| log_problem(&error))?;
        let lane = lane.ok_or_else(Problem::unknown_family)?;
        let is_whole = sees_all_accounts(&self.log, lane, family, member_id).await?;
        Ok(Opened { family, lane, is_whole })
    }

    /// Leave to have a whole history delivered, which was just given.
    fn leave(&self, row: &'static Row, family: FamilyId, signed_in: SignedIn) -> Leave {
        let grounds = WholeHistory {
            state: self.clone(),
            row,
            family,
            person: signed_in.user_id,
        };
        Leave::given(signed_in, self.sign_ins.clone(), grounds)
    }

    /// Writes down that somebody takes the family's history out of the house, before they get any of it.
    async fn tell_exported(&self, family: FamilyId, signed_in: SignedIn, format: &'static str) -> Result<(), Problem> {
        let event = SecurityEvent::about_family(Kind::Exported, family)
            .by(signed_in.user_id)
            .in_session(signed_in.session_id)
            .with("format", format);
        let told = self.trail.record(event).await;
        told.map_err(|error| Problem::of_database(&error))
    }

    /// Leave to replay a whole history.
    fn permit(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let busy = |_| Problem::too_fast(5, "several ledgers are being replayed just now; try again shortly");
        Arc::clone(&self.replays).try_acquire_owned().map_err(busy)
    }
}

/// A family whose log somebody looks into.
struct Opened {
    family: FamilyId,
    lane: Lane,
    /// May they see all of it?
    is_whole: bool,
}

impl FromRef<AuditState> for Arc<TokenVerifier> {
    fn from_ref(state: &AuditState) -> Self {
        Arc::clone(&state.verifier)
    }
}

/// The auditor's routes.
pub fn router(state: AuditState) -> Router {
    let not_kept = SetResponseHeaderLayer::overriding(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Router::new()
        .route("/api/v1/families/{family_id}/audit/events", get(events::events))
        .route("/api/v1/families/{family_id}/audit/as-of", get(as_of::as_of))
        .route("/api/v1/families/{family_id}/audit/export", get(export::export))
        .route("/api/v1/families/{family_id}/audit/verify", get(verify::verify))
        .route("/api/v1/families/{family_id}/audit/checkpoint", get(seal::checkpoint))
        .route(
            "/api/v1/families/{family_id}/audit/proof/inclusion",
            get(seal::inclusion),
        )
        .route(
            "/api/v1/families/{family_id}/audit/proof/consistency",
            get(seal::consistency),
        )
        .route("/api/v1/families/{family_id}/audit/proof/head", get(seal::head))
        .route("/api/v1/families/{family_id}/audit/pack", get(seal::download))
        .route("/.well-known/kinledger-log-keys", get(seal::keys))
        .layer(not_kept)
        .with_state(state)
}

/// What a failed replay means to a client.
fn replay_problem(error: &ReplayError) -> Problem {
    match error {
        ReplayError::Log(error) => log_problem(error),
        ReplayError::BeyondHead { head, .. } => Problem::malformed(error.to_string()).with("family_seq", *head),
        ReplayError::Altered { family_seq, .. } => {
            tracing::error!(%error, "the log was altered");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "chain-broken", error.to_string())
                .with("first_bad_family_seq", *family_seq)
        }
        _ => Problem::ours(error),
    }
}
