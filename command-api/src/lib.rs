//! HTTP in, decisions out: authentication, authorisation, idempotency and the lane workers.
//!
//! Follow one command: [`dispatch`] parses it by name, [`lanes`] decides and appends it, `receipt` answers.

pub mod audit;
mod cache;
mod delivery;
pub mod dispatch;
pub mod erasures;
mod family_history;
pub mod identity;
pub mod lanes;
mod openapi;
pub mod person;
mod receipt;
mod sharing;

use std::{
    collections::HashMap,
    sync::{Arc, RwLock},
};

use async_trait::async_trait;
use domain::{
    actor::Role,
    commands::AnyCommand,
    decide::Streams,
    family::{
        Family,
        commands::{EndOwnPlace, JoinFamily},
    },
    id::{CommandId, FamilyId, MemberId, UserId},
    stream::StreamId,
};
use event_store::{Lane, Log, LogError, replay::hides_from};
use service_kit::{auth::SignedIn, problem::Problem};
use tokio::{sync::oneshot, task::JoinHandle};

use crate::{
    dispatch::Request,
    identity::{Families, Place, trail::history::FamilyHistory},
    lanes::{ANSWER_WITHIN, Job, LaneSettings, Lanes, UNKNOWN_OUTCOME},
};

pub use openapi::openapi_paths;
pub use receipt::{EventReceipt, Receipt};

/// Families whose lane is remembered, at most.
const LANES_REMEMBERED_MAX: usize = 100_000;

/// The write side: everything that commands need, cheap to clone.
#[derive(Clone)]
pub struct CommandApi {
    inner: Arc<Inner>,
}

struct Inner {
    log: Log,
    lanes: RwLock<Option<Lanes>>,
    lane_count: i16,
    lane_of: RwLock<HashMap<FamilyId, Lane>>,
}

/// An answer on its way.
pub struct Answer(oneshot::Receiver<Result<Receipt, Problem>>);

impl Answer {
    /// Waits for it.
    ///
    /// # Errors
    /// The problem the command ended in; 503 when it is not known in time whether it was recorded.
    pub async fn receive(self) -> Result<Receipt, Problem> {
        match tokio::time::timeout(ANSWER_WITHIN, self.0).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => Err(Problem::unavailable(1, UNKNOWN_OUTCOME)),
        }
    }
}

impl CommandApi {
    /// Starts the lane workers. The handles end after [`CommandApi::stop`], once everything queued is answered.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn start(log: Log, settings: LaneSettings) -> Result<(Self, Vec<JoinHandle<()>>), LogError> {
        let lane_count = log.lanes().await?;
        let (lanes, workers) = Lanes::start(&log, lane_count, settings);
        let inner = Inner {
            log,
            lanes: RwLock::new(Some(lanes)),
            lane_count,
            lane_of: RwLock::default(),
        };
        Ok((Self { inner: Arc::new(inner) }, workers))
    }

    /// Takes no further commands; what is queued is still answered.
    pub fn stop(&self) {
        if let Ok(mut lanes) = self.inner.lanes.write() {
            lanes.take();
        }
    }

    /// The log behind it.
    pub fn log(&self) -> &Log {
        &self.inner.log
    }

    /// Queues a command.
    ///
    /// # Errors
    /// A problem at once when the family is unknown, the queue full, or the process stopping; or when who signed in by a paired
    /// device would found a family, where nobody looks after them.
    pub async fn submit(&self, request: Request) -> Result<Answer, Problem> {
        if request.command.creates_family() {
            request.signed_in.require_own_sign_in()?;
        }
        let lane = match self.lane_of(request.family_id).await? {
            Some(lane) => lane,
            None if request.command.creates_family() => {
                self.log().lane_for_new(request.family_id, self.inner.lane_count)
            }
            None => return Err(Problem::unknown_family()),
        };
        let job = Job {
            family_id: request.family_id,
            command_id: request.command_id,
            user_id: request.signed_in.user_id,
            command: request.command,
            if_match: request.if_match,
            traceparent: request.traceparent,
            bytes: request.bytes,
        };
        let lanes = self
            .inner
            .lanes
            .read()
            .map_err(|_| Problem::unavailable(2, "the service is stopping"))?;
        let lanes = lanes
            .as_ref()
            .ok_or_else(|| Problem::unavailable(2, "the service is stopping"))?;
        lanes.submit(lane, job).map(Answer)
    }

    /// Queues a command and waits until it is durable or declined.
    ///
    /// # Errors
    /// As [`CommandApi::submit`], and the problem the command ended in.
    pub async fn execute(&self, request: Request) -> Result<Receipt, Problem> {
        let (name, family_id) = (request.command.name(), request.family_id);
        let started = std::time::Instant::now();
        let answer = match self.submit(request).await {
            Ok(answer) => answer.receive().await,
            Err(problem) => Err(problem),
        };
        let status = answer
            .as_ref()
            .map_or_else(|problem| problem.status().as_u16(), |_| 200);
        metrics::histogram!("kinledger_command_seconds", "command" => name).record(started.elapsed().as_secs_f64());
        metrics::counter!("kinledger_commands_total", "command" => name, "status" => status.to_string()).increment(1);
        tracing::debug!(command = name, family.id = %family_id, status, "command handled");
        answer
    }

    /// The member a person is in a family, with their role, read from the log.
    ///
    /// # Errors
    /// 503 when the log cannot be read.
    pub async fn member_role(&self, family_id: FamilyId, user_id: UserId) -> Result<Option<(MemberId, Role)>, Problem> {
        let Some(family) = self.family(family_id).await? else {
            return Ok(None);
        };
        let Some(member) = family.member_of_user(user_id, chrono::Utc::now()) else {
            return Ok(None);
        };
        // Who waits for consent is told so on every way, by the same code.
        family
            .check_consent(member.member_id)
            .map_err(domain::refusal::Refusal::from)?;
        Ok(Some((member.member_id, member.role)))
    }

    /// The receipt of an accepted command; with `only_of`, only if this person asked for it.
    ///
    /// # Errors
    /// 503 when the log cannot be read.
    pub async fn receipt(
        &self,
        family_id: FamilyId,
        command_id: CommandId,
        only_of: Option<UserId>,
    ) -> Result<Option<Receipt>, Problem> {
        let Some(lane) = self.lane_of(family_id).await? else {
            return Ok(None);
        };
        let Some(stored) = self
            .log()
            .command(lane, family_id, command_id)
            .await
            .map_err(|e| log_problem(&e))?
        else {
            return Ok(None);
        };
        if let Some(user_id) = only_of {
            let first = self
                .log()
                .read_family(lane, family_id, stored.first_family_seq - 1, 1)
                .await
                .map_err(|e| log_problem(&e))?;
            let asked = first
                .first()
                .and_then(|record| serde_json::from_str::<serde_json::Value>(&record.metadata).ok());
            if asked.is_none_or(|metadata| metadata["user_id"] != user_id.to_string()) {
                return Ok(None);
            }
        }
        Receipt::of_stored(self.log(), lane, family_id, command_id, &stored)
            .await
            .map(Some)
            .map_err(|e| log_problem(&e))
    }

    /// The lane a family lives in; none when there is no such family.
    ///
    /// # Errors
    /// 503 when the log cannot be read.
    pub async fn lane_of(&self, family_id: FamilyId) -> Result<Option<Lane>, Problem> {
        if let Some(lane) = self
            .inner
            .lane_of
            .read()
            .ok()
            .and_then(|known| known.get(&family_id).copied())
        {
            return Ok(Some(lane));
        }
        let lane = self.log().lane_of(family_id).await.map_err(|e| log_problem(&e))?;
        if let (Some(lane), Ok(mut known)) = (lane, self.inner.lane_of.write()) {
            if known.len() >= LANES_REMEMBERED_MAX {
                known.clear();
            }
            known.insert(family_id, lane);
        }
        Ok(lane)
    }

    /// A command that somebody asks for by another way than the commands' own route.
    async fn execute_for(
        &self,
        family_id: FamilyId,
        user_id: UserId,
        command_id: CommandId,
        command: Arc<dyn AnyCommand>,
    ) -> Result<Receipt, Problem> {
        let signed_in = SignedIn {
            user_id,
            session_id: uuid::Uuid::nil(),
            proven_at: 0,
            is_paired: false,
        };
        self.execute(Request {
            family_id,
            command_id,
            signed_in,
            command,
            if_match: None,
            traceparent: dispatch::traceparent(&axum::http::HeaderMap::new()),
            bytes: 0,
        })
        .await
    }

    async fn family(&self, family_id: FamilyId) -> Result<Option<Family>, Problem> {
        let Some(lane) = self.lane_of(family_id).await? else {
            return Ok(None);
        };
        let stream = StreamId {
            kind: <Family as cqrs_es::Aggregate>::TYPE,
            id: family_id.uuid(),
        };
        let loaded = self
            .log()
            .load(lane, family_id, &[stream])
            .await
            .map_err(|e| log_problem(&e))?;
        let mut streams = Streams::default();
        for (stream, state, sequence) in loaded.streams {
            streams.insert(stream, state, sequence);
        }
        let family = streams
            .get(&stream)
            .and_then(|(state, _)| <Family as domain::aggregate::Stored>::from_state(state));
        Ok(family.filter(|family| family.exists()).cloned())
    }
}

/// What a failing log means to a client.
pub(crate) fn log_problem(error: &LogError) -> Problem {
    if error.is_unavailable() {
        tracing::warn!(error = %error, "the log cannot be reached");
        Problem::unavailable(1, "the ledger cannot be reached just now")
    } else {
        Problem::ours(error)
    }
}

#[async_trait]
impl Families for CommandApi {
    async fn role_of(&self, family: FamilyId, user: UserId) -> Result<Option<(MemberId, Role)>, Problem> {
        self.member_role(family, user).await
    }

    async fn join(
        &self,
        family: FamilyId,
        member: MemberId,
        user: UserId,
        command_id: CommandId,
    ) -> Result<serde_json::Value, Problem> {
        let receipt = self
            .execute_for(family, user, command_id, Arc::new(JoinFamily { member_id: member }))
            .await?;
        serde_json::to_value(receipt).map_err(|error| Problem::ours(&error))
    }

    async fn revisions(&self, families: &[FamilyId]) -> Result<HashMap<FamilyId, i64>, Problem> {
        let mut known = Vec::new();
        for family_id in families {
            if let Some(lane) = self.lane_of(*family_id).await? {
                known.push((lane, *family_id));
            }
        }
        let ends = self.log().access_ends(&known).await;
        Ok(ends.map_err(|error| log_problem(&error))?.into_iter().collect())
    }

    async fn places_of(&self, user: UserId) -> Result<Vec<Place>, Problem> {
        let known = self
            .log()
            .families_of(user)
            .await
            .map_err(|error| log_problem(&error))?;
        let mut places = Vec::new();
        for (_, family_id) in known {
            let Some(family) = self.family(family_id).await? else {
                continue;
            };
            if let Some(member) = family.place_of_user(user) {
                places.push(Place {
                    family_id,
                    member_id: member.member_id,
                    role: member.role,
                    is_last_parent: member.role == Role::Parent && family.parents_joined() < 2,
                });
            }
        }
        Ok(places)
    }

    async fn leave(&self, family: FamilyId, user: UserId, command_id: CommandId) -> Result<(), Problem> {
        let left = self
            .execute_for(family, user, command_id, Arc::new(EndOwnPlace { erase: false }))
            .await;
        left.map(|_| ())
    }

    async fn erase(&self, family: FamilyId, user: UserId, command_id: CommandId) -> Result<(), Problem> {
        let erased = self
            .execute_for(family, user, command_id, Arc::new(EndOwnPlace { erase: true }))
            .await;
        erased.map(|_| ())
    }

    async fn history(&self, family: FamilyId, member: MemberId) -> Result<FamilyHistory, Problem> {
        let lane = self.lane_of(family).await?.ok_or_else(Problem::unknown_family)?;
        let read = family_history::read(self.log(), lane, family, member).await;
        read.map_err(|error| log_problem(&error))
    }

    async fn hides_from(&self, family: FamilyId, owner: MemberId, from: MemberId) -> Result<bool, Problem> {
        let lane = self.lane_of(family).await?.ok_or_else(Problem::unknown_family)?;
        let asked = async {
            let mut tx = self.log().about(family).await?;
            hides_from(self.log(), &mut tx, lane, family, owner, from).await
        };
        asked.await.map_err(|error: LogError| log_problem(&error))
    }

    async fn member(&self, family: FamilyId, member: MemberId) -> Result<(Role, Option<UserId>), Problem> {
        let family = self.family(family).await?.ok_or_else(Problem::unknown_family)?;
        let member = family
            .consented(member)
            .map_err(|refusal| Problem::from(domain::refusal::Refusal::from(refusal)))?;
        Ok((member.role, member.user_id))
    }

    async fn place(&self, family: FamilyId, member: MemberId) -> Result<(Role, Option<UserId>), Problem> {
        let family = self.family(family).await?.ok_or_else(Problem::unknown_family)?;
        let member = family
            .member(member)
            .map_err(|refusal| Problem::from(domain::refusal::Refusal::from(refusal)))?;
        Ok((member.role, member.user_id))
    }

    async fn open_place(&self, family: FamilyId, member: MemberId) -> Result<Role, Problem> {
        let family = self.family(family).await?.ok_or_else(Problem::unknown_family)?;
        let member = family
            .open_place(member, chrono::Utc::now())
            .map_err(|refusal| Problem::from(domain::refusal::Refusal::from(refusal)))?;
        Ok(member.role)
    }
}
