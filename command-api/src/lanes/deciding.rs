//! Deciding: one family's share of a batch, in memory, on streams from the cache or the log.

use domain::{
    actor::{Actor, Meta},
    decide::{Context, Decision, Stop, Streams},
    family::Family,
    id::FamilyId,
    stream::StreamId,
};
use event_store::{AppendCommand, AppendEvent, Lane, Log, LogError};
use service_kit::problem::Problem;

use super::{Decided, Queued};
use crate::{cache::Cached, log_problem};

/// Streams one decision may ask for in turn, before it is taken for a fault of ours.
const LOADS_MAX: usize = 64;

/// Decides one family's commands one after another, each on the state that those before it leave.
pub(super) async fn decide_family(
    log: Log,
    lane: Lane,
    family_id: FamilyId,
    cached: Option<Cached>,
    jobs: Vec<Queued>,
) -> Decided {
    let mut decided = Decided {
        family_id,
        cached: None,
        accepted: Vec::new(),
        declined: Vec::new(),
        answered: Vec::new(),
        again: Vec::new(),
    };
    // Is the state known to be the newest? A cached one may be of yesterday, so no refusal is given on it unchecked.
    let mut is_checked = cached.is_none();
    let mut cached = match cached {
        Some(cached) => cached,
        None => match load_family(&log, lane, family_id).await {
            Ok(cached) => cached,
            Err(error) => {
                let problem = log_problem(&error);
                decided.answered = jobs.into_iter().map(|queued| (queued, problem.clone())).collect();
                return decided;
            }
        },
    };
    // What the database knows; loads must show the same head, or the cache is of yesterday.
    let mut durable_head = cached.head;
    let mut is_stale = false;
    // A refusal that stands on commands not yet durable may stand on something that never happens (a repeat, a lost race): it is
    // decided again in the next batch, and with it all that came later, so that the order stays.
    let mut is_waiting = false;
    for queued in jobs {
        if is_stale || is_waiting {
            decided.again.push(queued);
            continue;
        }
        let meta = Meta {
            family_id,
            command_id: queued.job.command_id,
            user_id: queued.job.user_id,
            at: chrono::Utc::now(),
        };
        let outcome = decide_one(
            &log,
            lane,
            &queued,
            &meta,
            &mut cached,
            &mut durable_head,
            decided.accepted.is_empty(),
        )
        .await;
        // After the decision, so that only who may ask at all learns where the ledger stands.
        let has_moved_on = queued.job.if_match.is_some_and(|wanted| wanted != cached.head);
        match outcome.and_then(|decision| {
            if has_moved_on {
                Err(Outcome::Declined(moved_on(cached.head)))
            } else {
                Ok(decision)
            }
        }) {
            Ok(decision) => {
                let append = append_of(&queued, &meta, &mut cached, &decision);
                decided.accepted.push((queued, append, decision));
            }
            Err(Outcome::Declined(_)) if !decided.accepted.is_empty() => {
                is_waiting = true;
                decided.again.push(queued);
            }
            Err(Outcome::Declined(problem)) if is_checked => decided.declined.push((queued, problem)),
            Err(Outcome::Declined(problem)) => match load_family(&log, lane, family_id).await {
                Ok(fresh) if fresh.head == durable_head => {
                    is_checked = true;
                    decided.declined.push((queued, problem));
                }
                Ok(_) => {
                    is_stale = true;
                    decided.again.push(queued);
                }
                Err(error) => decided.answered.push((queued, log_problem(&error))),
            },
            Err(Outcome::Problem(problem)) => decided.answered.push((queued, problem)),
        }
    }
    decided.cached = Some(cached).filter(|_| !is_stale);
    decided
}

enum Outcome {
    Declined(Problem),
    Problem(Problem),
}

/// Decides one command, loading what it asks for. `may_restart`: no earlier command of this batch was decided on the cache.
async fn decide_one(
    log: &Log,
    lane: Lane,
    queued: &Queued,
    meta: &Meta,
    cached: &mut Cached,
    durable_head: &mut i64,
    may_restart: bool,
) -> Result<Decision, Outcome> {
    for _ in 0..LOADS_MAX {
        match queued.job.command.decide(&Context::new(&cached.streams, meta)) {
            Ok(decision) => return Ok(decision),
            Err(Stop::Refused(refusal)) => return Err(Outcome::Declined(refusal.into())),
            Err(Stop::Load(streams)) => {
                let loaded = log
                    .load(lane, meta.family_id, &streams)
                    .await
                    .map_err(|e| Outcome::Problem(log_problem(&e)))?;
                if loaded.head.family_seq != *durable_head && may_restart {
                    // Another process appended: begin again from what is durable now.
                    *cached = Cached {
                        head: loaded.head.family_seq,
                        streams: Streams::default(),
                    };
                    *durable_head = loaded.head.family_seq;
                }
                for (stream, state, sequence) in loaded.streams {
                    cached.streams.insert(stream, state, sequence);
                }
            }
        }
    }
    tracing::error!(
        command = queued.job.command.name(),
        "a decision asked for ever more streams"
    );
    let problem = Problem::new(
        axum::http::StatusCode::INTERNAL_SERVER_ERROR,
        "internal",
        "something went wrong on our side; it has been logged",
    );
    Err(Outcome::Problem(problem))
}

fn append_of(queued: &Queued, meta: &Meta, cached: &mut Cached, decision: &Decision) -> AppendCommand {
    let actor = Context::new(&cached.streams, meta).actor();
    let expected_family_seq = cached.head;
    let events: Vec<AppendEvent> = decision
        .events
        .iter()
        .map(|new| AppendEvent {
            stream: new.stream,
            sequence: cached.streams.apply(new.stream, &new.event),
            event: new.event.clone(),
            effective_on: new.effective_on,
        })
        .collect();
    cached.head += events.len() as i64;
    AppendCommand {
        family_id: meta.family_id,
        command_id: meta.command_id,
        request_hash: queued.request_hash,
        expected_family_seq,
        creates_family: queued.job.command.creates_family(),
        metadata: metadata(&actor, &queued.job.traceparent),
        events,
        claims: decision.claims.clone(),
    }
}

/// What every event carries beside its payload: strings only, as postgres-es' reader wants them.
fn metadata(actor: &Actor, traceparent: &str) -> String {
    let mut fields = serde_json::Map::new();
    fields.insert("user_id".to_owned(), actor.user_id.to_string().into());
    if let (Some(member_id), Some(role)) = (actor.member_id, actor.role) {
        fields.insert("member_id".to_owned(), member_id.to_string().into());
        fields.insert("role".to_owned(), role.as_str().into());
    }
    fields.insert("traceparent".to_owned(), traceparent.into());
    fields.insert("app_version".to_owned(), env!("CARGO_PKG_VERSION").into());
    serde_json::Value::Object(fields).to_string()
}

async fn load_family(log: &Log, lane: Lane, family_id: FamilyId) -> Result<Cached, LogError> {
    let stream = StreamId {
        kind: <Family as cqrs_es::Aggregate>::TYPE,
        id: family_id.uuid(),
    };
    let loaded = log.load(lane, family_id, &[stream]).await?;
    let mut streams = Streams::default();
    for (stream, state, sequence) in loaded.streams {
        streams.insert(stream, state, sequence);
    }
    Ok(Cached {
        head: loaded.head.family_seq,
        streams,
    })
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
