//! The last steps before a violation, in words. A run is written down only when it is run again for that.

use std::collections::VecDeque;

use command_api::lanes::machine as lane;
use event_store::relay::machine as relay;

use crate::world::{BatchOutcome, Fate, Flight};

/// Steps kept.
const KEPT: usize = 30;

/// What happened last.
#[derive(Default)]
pub(crate) struct Journal(VecDeque<String>);

impl Journal {
    pub(crate) fn write(&mut self, line: String) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(line);
    }

    /// Adds to the last line.
    pub(crate) fn add(&mut self, words: &str) {
        if let Some(last) = self.0.back_mut() {
            last.push_str(words);
        }
    }

    pub(crate) fn lines(self) -> Vec<String> {
        self.0.into()
    }
}

pub(crate) fn fate(fate: Fate) -> &'static str {
    match fate {
        Fate::Done => "",
        Fate::Lost => " -- lost before it arrives",
        Fate::DoneInVain => " -- done, and the answer lost",
        Fate::Twice => " -- done twice",
    }
}

/// A flight in words.
pub(crate) fn words(flight: &Flight) -> String {
    match flight {
        Flight::Submit { submission, worker } => format!("submission {submission} reaches worker {worker}"),
        Flight::Answer { submission, answer } => match answer {
            Ok(receipt) => format!("submission {submission} is accepted, up to {}", receipt.family_seq),
            Err(problem) => format!("submission {submission} is answered {}", problem.code()),
        },
        Flight::WorkerAsks(who, effect) => format!("worker {}.{} asks: {}", who.number, who.life, asked(effect)),
        Flight::WorkerHears(who, input, _) => format!("worker {}.{} hears: {}", who.number, who.life, heard(input)),
        Flight::RelayAsks(who, relay::Effect::Publish { records }) => {
            format!("relay {}.{} publishes {} records", who.number, who.life, records.len())
        }
        Flight::RelayAsks(who, effect) => format!("relay {}.{} asks: {effect:?}", who.number, who.life),
        Flight::RelayHears(who, input) => {
            let what = match input {
                Some(relay::Input::Page(records)) => format!("{} records", records.len()),
                Some(relay::Input::End(relay::End::At(last))) => format!("the topic ends at {}", last.position),
                Some(other) => format!("{other:?}"),
                None => "a failure".to_owned(),
            };
            format!("relay {}.{} hears: {what}", who.number, who.life)
        }
        Flight::RelayWakes(who) => format!("relay {}.{} begins", who.number, who.life),
        Flight::SessionEnds(who) => format!("the connection of relay {}.{} ends", who.number, who.life),
        Flight::ProjectorAsks(who, effect) => {
            format!("projector {}.{} asks: {}", who.number, who.life, name_of(effect))
        }
        Flight::ProjectorHears(who, Some(input)) => {
            format!("projector {}.{} hears: {}", who.number, who.life, name_of(input))
        }
        Flight::ProjectorHears(who, None) => format!("projector {}.{} hears: a failure", who.number, who.life),
        Flight::ProjectorWakes(who) => format!("projector {}.{} begins", who.number, who.life),
        Flight::BatchAsks(who, transaction, effect) => {
            format!(
                "transaction {transaction} of projector {}.{}: {}",
                who.number,
                who.life,
                name_of(effect)
            )
        }
        Flight::BatchHears(who, transaction, outcome) => {
            let what = match outcome {
                BatchOutcome::Went(input) => name_of(input),
                BatchOutcome::Failed => "a failure".to_owned(),
                BatchOutcome::AboutEvents => "the events cannot be folded".to_owned(),
            };
            format!(
                "transaction {transaction} of projector {}.{} hears: {what}",
                who.number, who.life
            )
        }
        Flight::RollBack(transaction) => format!("transaction {transaction} is rolled back"),
    }
}

fn asked<T>(effect: &lane::Effect<T>) -> String {
    match effect {
        lane::Effect::Load { family_id, streams, .. } => format!("load {} streams of {family_id}", streams.len()),
        lane::Effect::Append { commands } => {
            let of = |c: &event_store::AppendCommand| {
                format!(
                    "{} on {} with {} events",
                    c.command_id,
                    c.expected_family_seq,
                    c.events.len()
                )
            };
            format!("append {}", commands.iter().map(of).collect::<Vec<_>>().join(", "))
        }
        lane::Effect::Find { command_id, .. } => format!("find {command_id}"),
        lane::Effect::Read {
            family_id,
            after_seq,
            limit,
            ..
        } => format!("read {limit} events of {family_id} after {after_seq}"),
        lane::Effect::Answer { .. } => "answer".to_owned(),
    }
}

fn heard(input: &lane::Input) -> String {
    match input {
        lane::Input::Loaded { result, .. } => match result {
            Ok(loaded) => format!("loaded at {}", loaded.head.family_seq),
            Err(error) => format!("not loaded: {error}"),
        },
        lane::Input::Appended {
            result: Ok(verdicts), ..
        } => {
            let of = |verdict: &event_store::Verdict| match verdict {
                event_store::Verdict::Ok(appended) => format!("ok up to {}", appended.last_family_seq),
                event_store::Verdict::Duplicate(stored) => format!("duplicate up to {}", stored.last_family_seq),
                event_store::Verdict::Conflict => "conflict".to_owned(),
                event_store::Verdict::ClaimTaken { scope } => format!("{scope} taken"),
            };
            verdicts.iter().map(of).collect::<Vec<_>>().join(", ")
        }
        lane::Input::Appended { result: Err(error), .. } => format!("not appended: {error}"),
        lane::Input::Found { result, .. } => format!("found: {}", matches!(result, Ok(Some(_)))),
        lane::Input::Read { result, .. } => format!("read: {}", result.as_ref().map_or(0, Vec::len)),
    }
}

/// The variant's name and its first words: records at length say nothing.
fn name_of(what: &impl std::fmt::Debug) -> String {
    let text: String = format!("{what:?}").chars().take(80).collect();
    text
}
