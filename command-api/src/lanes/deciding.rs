//! Deciding: one family's share of a batch, in memory, on streams from the cache or the log. A state machine too: it runs
//! until it needs streams, says which, and goes on when they are there.

use chrono::{DateTime, Utc};
use domain::{
    actor::{Actor, Meta},
    decide::{Context, Decision, Stop, Streams},
    family::Family,
    id::{FamilyId, MemberId, UserId},
    stream::StreamId,
};
use event_store::{AppendCommand, AppendEvent, FamilyHead, Loaded, LogError};
use serde::Serialize;
use service_kit::problem::Problem;

use super::machine::Queued;
use crate::{cache::Cached, log_problem};

/// Streams one decision may ask for in turn, before it is taken for a fault of ours.
const LOADS_MAX: usize = 64;

/// What a family waits for.
enum Pending<T> {
    /// Its own stream, because nothing of it is in memory.
    Family,
    /// Streams that a decision asked for; it has asked `loads` times.
    Streams {
        queued: Queued<T>,
        meta: Meta,
        loads: usize,
    },
    /// The head, because a refusal stands on a state from the cache.
    Check { queued: Queued<T>, problem: Problem },
}

/// One family's commands of a batch, decided one after another, each on the state that those before it leave.
pub(super) struct Deciding<T> {
    pub(super) family_id: FamilyId,
    /// The state after all that was accepted; none when it turned out to be of yesterday.
    pub(super) cached: Option<Cached>,
    /// To be appended, in order.
    pub(super) accepted: Vec<(Queued<T>, AppendCommand)>,
    /// Refused by the rules, on durable state.
    pub(super) declined: Vec<(Queued<T>, Problem)>,
    /// Nothing to look up: the answer is certain.
    pub(super) answered: Vec<(Queued<T>, Problem)>,
    /// To be decided again in the next batch.
    pub(super) again: Vec<Queued<T>>,
    jobs: std::vec::IntoIter<Queued<T>>,
    pending: Option<Pending<T>>,
    /// What the database knows; loads must show the same head, or the cache is of yesterday.
    durable_head: FamilyHead,
    /// Is the state known to be the newest? A cached one may be of yesterday, so no refusal is given on it unchecked.
    is_checked: bool,
}

impl<T> Deciding<T> {
    pub(super) fn new(family_id: FamilyId, cached: Option<Cached>, jobs: Vec<Queued<T>>) -> Self {
        Self {
            family_id,
            durable_head: cached.as_ref().map_or(FamilyHead::EMPTY, Cached::durable_head),
            is_checked: cached.is_none(),
            cached,
            accepted: Vec::with_capacity(jobs.len()),
            declined: Vec::new(),
            answered: Vec::new(),
            again: Vec::new(),
            jobs: jobs.into_iter(),
            pending: None,
        }
    }

    /// Decides until streams are needed (these) or all is decided (none).
    pub(super) fn begin(&mut self, at: DateTime<Utc>) -> Option<Vec<StreamId>> {
        if self.cached.is_some() {
            return self.run(at);
        }
        self.pending = Some(Pending::Family);
        Some(vec![family_stream(self.family_id)])
    }

    /// Goes on with what was loaded.
    pub(super) fn loaded(&mut self, result: Result<Loaded, LogError>, at: DateTime<Utc>) -> Option<Vec<StreamId>> {
        match (self.pending.take()?, result) {
            (Pending::Family, Ok(loaded)) => {
                self.durable_head = loaded.head;
                self.cached = Some(cached_of(loaded));
            }
            (Pending::Family, Err(error)) => {
                let problem = log_problem(&error);
                let all = self.jobs.by_ref().map(|queued| (queued, problem.clone()));
                self.answered.extend(all);
                return None;
            }
            (Pending::Streams { queued, meta, loads }, Ok(loaded)) => {
                self.take_in(loaded);
                if let Some(wanted) = self.decide(queued, meta, loads) {
                    return Some(wanted);
                }
            }
            (Pending::Check { queued, problem }, Ok(fresh)) if fresh.head == self.durable_head => {
                self.is_checked = true;
                self.declined.push((queued, problem));
            }
            (Pending::Check { queued, .. }, Ok(_)) => {
                self.cached = None;
                self.again.push(queued);
            }
            (Pending::Streams { queued, .. } | Pending::Check { queued, .. }, Err(error)) => {
                self.answered.push((queued, log_problem(&error)));
            }
        }
        self.run(at)
    }

    /// The next commands, until streams are needed or all is decided.
    fn run(&mut self, at: DateTime<Utc>) -> Option<Vec<StreamId>> {
        loop {
            // Of yesterday, or waiting for those before: the order stays, so all that came later waits as well.
            if self.cached.is_none() || !self.again.is_empty() {
                self.again.extend(self.jobs.by_ref());
                return None;
            }
            let queued = self.jobs.next()?;
            let meta = Meta {
                family_id: self.family_id,
                command_id: queued.job.command_id,
                user_id: queued.job.user_id,
                at,
            };
            if let Some(wanted) = self.decide(queued, meta, 0) {
                return Some(wanted);
            }
        }
    }

    /// Decides one command; the streams it needs, when they are not in memory.
    fn decide(&mut self, queued: Queued<T>, meta: Meta, loads: usize) -> Option<Vec<StreamId>> {
        let cached = self.cached.as_mut()?;
        let context = Context::new(&cached.streams, &meta, cached.head);
        let refused = match queued.job.command.decide(&context) {
            Ok(decision) => {
                // After the decision, so that only who may ask at all learns where the ledger stands.
                if queued.job.if_match.is_some_and(|wanted| wanted != cached.head) {
                    moved_on(cached.head)
                } else {
                    let mut append = append_of(&queued, &meta, cached, decision);
                    if self.accepted.is_empty() {
                        append.expected_chain_hash = Some(self.durable_head.chain_hash);
                    }
                    self.accepted.push((queued, append));
                    return None;
                }
            }
            Err(Stop::Refused(refusal)) => refusal.into(),
            Err(Stop::Load(streams)) => return self.ask_for(streams, queued, meta, loads),
        };
        self.refuse(queued, refused)
    }

    fn ask_for(
        &mut self,
        streams: Vec<StreamId>,
        queued: Queued<T>,
        meta: Meta,
        loads: usize,
    ) -> Option<Vec<StreamId>> {
        if loads >= LOADS_MAX {
            tracing::error!(
                command = queued.job.command.name(),
                "a decision asked for ever more streams"
            );
            self.answered.push((queued, endless()));
            return None;
        }
        let loads = loads + 1;
        self.pending = Some(Pending::Streams { queued, meta, loads });
        Some(streams)
    }

    /// The rules say no. What that may stand on decides when it is said.
    fn refuse(&mut self, queued: Queued<T>, problem: Problem) -> Option<Vec<StreamId>> {
        if !self.accepted.is_empty() {
            // It stands on commands that are not durable yet and may never be (a repeat, a lost race).
            self.again.push(queued);
        } else if self.is_checked {
            self.declined.push((queued, problem));
        } else {
            self.pending = Some(Pending::Check { queued, problem });
            // Only the head: a refusal costs the same whatever the family's own stream has become.
            return Some(Vec::new());
        }
        None
    }

    /// Adds streams to the state, which begins anew when another process has appended meanwhile.
    fn take_in(&mut self, loaded: Loaded) {
        let Some(cached) = self.cached.as_mut() else { return };
        // Not once a command of this batch was decided on it: then the append finds out.
        if loaded.head != self.durable_head && self.accepted.is_empty() {
            self.durable_head = loaded.head;
            *cached = cached_of(loaded);
            return;
        }
        for (stream, state, sequence) in loaded.streams {
            cached.streams.insert(stream, state, sequence);
        }
    }
}

fn append_of<T>(queued: &Queued<T>, meta: &Meta, cached: &mut Cached, decision: Decision) -> AppendCommand {
    let actor = Context::new(&cached.streams, meta, cached.head).actor();
    let expected_family_seq = cached.head;
    let events: Vec<AppendEvent> = decision
        .events
        .into_iter()
        .map(|new| AppendEvent {
            stream: new.stream,
            sequence: cached.streams.apply(new.stream, &new.event),
            event: new.event,
            effective_on: new.effective_on,
        })
        .collect();
    cached.head += events.len() as i64;
    AppendCommand {
        family_id: meta.family_id,
        command_id: meta.command_id,
        request_hash: queued.request_hash.kept,
        expected_family_seq,
        expected_chain_hash: None,
        creates_family: queued.job.command.creates_family(),
        metadata: metadata(&actor, &queued.job.traceparent),
        events,
        claims: decision.claims,
    }
}

/// What every event carries beside its payload: strings only, as postgres-es' reader wants them.
#[derive(Serialize)]
struct Metadata<'a> {
    app_version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    member_id: Option<MemberId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    traceparent: &'a str,
    user_id: UserId,
}

fn metadata(actor: &Actor, traceparent: &str) -> String {
    let member = actor.member_id.zip(actor.role);
    let metadata = Metadata {
        app_version: env!("CARGO_PKG_VERSION"),
        member_id: member.map(|(member_id, _)| member_id),
        role: member.map(|(_, role)| role.as_str()),
        traceparent,
        user_id: actor.user_id,
    };
    serde_json::to_string(&metadata).expect("strings are JSON")
}

fn family_stream(family_id: FamilyId) -> StreamId {
    StreamId {
        kind: <Family as cqrs_es::Aggregate>::TYPE,
        id: family_id.uuid(),
    }
}

fn cached_of(loaded: Loaded) -> Cached {
    let mut streams = Streams::default();
    for (stream, state, sequence) in loaded.streams {
        streams.insert(stream, state, sequence);
    }
    Cached {
        head: loaded.head.family_seq,
        chain_hash: loaded.head.chain_hash,
        streams,
    }
}

fn endless() -> Problem {
    Problem::new(
        axum::http::StatusCode::INTERNAL_SERVER_ERROR,
        "internal",
        "something went wrong on our side; it has been logged",
    )
}

/// The client insists on a head that is no longer the ledger's.
fn moved_on(head: i64) -> Problem {
    Problem::new(
        axum::http::StatusCode::PRECONDITION_FAILED,
        "precondition-failed",
        "the ledger has moved on",
    )
    .with("family_seq", head)
}

#[cfg(test)]
mod tests {
    use domain::actor::Role;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn metadata_are_flat_strings_in_the_order_of_their_names() {
        let mut actor = Actor {
            user_id: UserId::from_uuid(Uuid::nil()),
            member_id: Some(MemberId::from_uuid(Uuid::nil())),
            role: Some(Role::Parent),
        };
        let version = env!("CARGO_PKG_VERSION");
        let nil = Uuid::nil();
        assert_eq!(
            metadata(&actor, "00-\"quoted"),
            format!(
                r#"{{"app_version":"{version}","member_id":"mem_{nil}","role":"parent","traceparent":"00-\"quoted","user_id":"usr_{nil}"}}"#
            )
        );
        actor.role = None;
        assert_eq!(
            metadata(&actor, "t"),
            format!(r#"{{"app_version":"{version}","traceparent":"t","user_id":"usr_{nil}"}}"#)
        );
    }
}
