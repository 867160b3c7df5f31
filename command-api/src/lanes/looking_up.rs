//! Looking up: what the log says of a command that is not simply appended.
//!
//! A decline is given only after the log was asked whether this very command was accepted before; a repeat gets the first
//! answer, made from the log.

use domain::{family::FamilyRefusal, id::UserId, refusal::Refusal};
use event_store::{Lane, LogError, Record, StoredCommand};
use serde::Deserialize;
use service_kit::problem::Problem;

use super::machine::{Effect, Queued};
use crate::{log_problem, receipt::Receipt};

/// One look-up under way.
enum LookUp<T> {
    /// Will be declined so, unless the log has the command.
    Declined(Queued<T>, Problem),
    /// Its first answer is being read; to somebody else than who asked first, this is said instead.
    Repeated(Queued<T>, StoredCommand, Problem),
}

/// The look-ups of a batch, by ticket.
pub(super) struct LookUps<T> {
    lane: Lane,
    under_way: Vec<Option<LookUp<T>>>,
    open: usize,
}

impl<T> LookUps<T> {
    pub(super) fn new(lane: Lane) -> Self {
        Self {
            lane,
            under_way: Vec::new(),
            open: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open == 0
    }

    /// Declines, unless the log says that this very command was accepted before.
    pub(super) fn decline(&mut self, queued: Queued<T>, problem: Problem, effects: &mut Vec<Effect<T>>) {
        // To a stranger the family does not exist, and neither do its commands, whatever key they hold; and what waits for
        // consent is not told again either.
        if is_final(&problem) {
            effects.push(queued.answer(Err(problem)));
            return;
        }
        let (family_id, command_id) = (queued.job.family_id, queued.job.command_id);
        let ticket = self.open(LookUp::Declined(queued, problem));
        effects.push(Effect::Find {
            ticket,
            family_id,
            command_id,
        });
    }

    /// Gives the first answer again; 409 when the key was used for another request.
    pub(super) fn repeat(&mut self, queued: Queued<T>, stored: StoredCommand, effects: &mut Vec<Effect<T>>) {
        self.repeat_or(queued, stored, key_reused(), effects);
    }

    /// The same; to somebody else than who asked first, `otherwise` is the answer.
    fn repeat_or(
        &mut self,
        queued: Queued<T>,
        stored: StoredCommand,
        otherwise: Problem,
        effects: &mut Vec<Effect<T>>,
    ) {
        if !queued.request_hash.is(&stored.request_hash) {
            effects.push(queued.answer(Err(key_reused())));
            return;
        }
        let limit = stored.events();
        if limit == 0 {
            effects.push(self.first_answer(queued, &stored, Vec::new()));
            return;
        }
        let (family_id, after_seq) = (queued.job.family_id, stored.first_family_seq - 1);
        let ticket = self.open(LookUp::Repeated(queued, stored, otherwise));
        effects.push(Effect::Read {
            ticket,
            family_id,
            after_seq,
            limit,
        });
    }

    /// The log has said whether it knows a command.
    pub(super) fn found(
        &mut self,
        ticket: usize,
        result: Result<Option<StoredCommand>, LogError>,
        effects: &mut Vec<Effect<T>>,
    ) {
        let Some(LookUp::Declined(queued, problem)) = self.close(ticket) else {
            return;
        };
        match result {
            Ok(Some(stored)) => self.repeat_or(queued, stored, problem, effects),
            Ok(None) => effects.push(queued.answer(Err(problem))),
            Err(error) => effects.push(queued.answer(Err(log_problem(&error)))),
        }
    }

    /// The events of a command accepted earlier have been read.
    pub(super) fn read(&mut self, ticket: usize, result: Result<Vec<Record>, LogError>, effects: &mut Vec<Effect<T>>) {
        let Some(LookUp::Repeated(queued, stored, otherwise)) = self.close(ticket) else {
            return;
        };
        effects.push(match result {
            Ok(records) if !records.iter().all(|record| is_by(record, queued.job.user_id)) => {
                queued.answer(Err(otherwise))
            }
            Ok(records) => self.first_answer(queued, &stored, records),
            Err(error) => queued.answer(Err(log_problem(&error))),
        });
    }

    fn first_answer(&self, queued: Queued<T>, stored: &StoredCommand, records: Vec<Record>) -> Effect<T> {
        let (family_id, command_id) = (queued.job.family_id, queued.job.command_id);
        queued.answer(Ok(Receipt::of_records(
            self.lane, family_id, command_id, stored, records,
        )))
    }

    fn open(&mut self, look_up: LookUp<T>) -> usize {
        self.open += 1;
        self.under_way.push(Some(look_up));
        self.under_way.len() - 1
    }

    fn close(&mut self, ticket: usize) -> Option<LookUp<T>> {
        let look_up = self.under_way.get_mut(ticket)?.take()?;
        self.open -= 1;
        if self.open == 0 {
            self.under_way.clear();
        }
        Some(look_up)
    }
}

/// A decline that stands whatever the log has.
fn is_final(problem: &Problem) -> bool {
    let consent = Refusal::from(FamilyRefusal::ConsentRequired);
    problem.code() == Problem::unknown_family().code() || problem.code() == consent.code
}

fn key_reused() -> Problem {
    Problem::conflict(
        "idempotency-key-reused",
        "this Idempotency-Key was used for another request",
    )
}

/// Of an event's metadata: who asked for it.
#[derive(Deserialize)]
struct Asked {
    user_id: UserId,
}

/// Did this person ask for the command that recorded it?
fn is_by(record: &Record, user_id: UserId) -> bool {
    let asked: Result<Asked, _> = serde_json::from_str(&record.metadata);
    asked.is_ok_and(|asked| asked.user_id == user_id)
}
