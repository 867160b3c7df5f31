//! What must hold, and who says so when it does not.
//!
//! The log is the truth that everything else is compared with, and the log itself is compared with the rules: replayed command
//! by command from nothing, every accepted command must decide to exactly the events it has there, and every refusal must be one
//! that the rules gave at some moment between question and answer. That is linearizability per family: one sequential history
//! explains every answer, and it respects the order of what was answered before something else was asked.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use command_api::Receipt;
use domain::{
    aggregate::AggregateState,
    decide::{Context, Decision, Stop, Streams},
    id::{CommandId, FamilyId},
    stream::StreamId,
};

use crate::{
    households::Order,
    log::{SimLog, event_of},
};

/// A refusal, with the family's heads between question and answer.
struct Refusal {
    order: usize,
    code: String,
    from_head: i64,
    to_head: i64,
}

/// The answers given so far.
#[derive(Default)]
pub(crate) struct Oracle {
    receipts: BTreeMap<(FamilyId, CommandId), String>,
    accepted: BTreeMap<(FamilyId, CommandId), usize>,
    refusals: Vec<Refusal>,
    /// The highest `family_seq` that was acknowledged, per family.
    floors: BTreeMap<FamilyId, i64>,
}

impl Oracle {
    /// How many commands were acknowledged.
    pub(crate) fn acknowledged(&self) -> usize {
        self.receipts.len()
    }

    /// How many refusals were given.
    pub(crate) fn refused(&self) -> usize {
        self.refusals.len()
    }

    pub(crate) fn floor(&self, family: FamilyId) -> i64 {
        self.floors.get(&family).copied().unwrap_or(0)
    }

    /// The database was restored: what was answered before may be gone.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// A worker is about to acknowledge: it must be durable now.
    pub(crate) fn is_durable(&self, log: &SimLog, order: &Order, receipt: &Receipt) -> Result<(), String> {
        let key = (order.family_id, order.command_id);
        let Some(stored) = log.commands().get(&key) else {
            return Err(format!("{} is acknowledged and not in the log", order.command_id));
        };
        let said = (receipt.family_seq, receipt.position, receipt.events.len() as i64);
        let kept = (stored.last_family_seq, stored.last_position, stored.events());
        if said == kept {
            Ok(())
        } else {
            Err(format!(
                "{} is acknowledged as {said:?} and is {kept:?}",
                order.command_id
            ))
        }
    }

    /// A client has its receipt. `floor`: what was acknowledged in the family before it first asked.
    pub(crate) fn accepted(
        &mut self,
        number: usize,
        order: &Order,
        receipt: &Receipt,
        floor: i64,
    ) -> Result<(), String> {
        if order.reuses_key {
            return Err(format!("{} was used for two requests", order.command_id));
        }
        if order.is_refused_by_database() {
            return Err(format!("{} is accepted and cannot be", order.command_id));
        }
        let key = (order.family_id, order.command_id);
        let text = serde_json::to_string(receipt).map_err(|error| error.to_string())?;
        let first = self.receipts.entry(key).or_insert_with(|| text.clone());
        if *first != text {
            return Err(format!("a repeat was answered {text} after {first}"));
        }
        self.accepted.insert(key, number);
        if receipt.family_seq - (receipt.events.len() as i64) < floor {
            return Err(format!(
                "{} ({}, {} events up to {}) comes before what was answered before it was asked: {floor}",
                order.command_id,
                order.command.name(),
                receipt.events.len(),
                receipt.family_seq,
            ));
        }
        let known = self.floors.entry(order.family_id).or_default();
        *known = (*known).max(receipt.family_seq);
        Ok(())
    }

    /// A client is refused for good.
    pub(crate) fn refuse(
        &mut self,
        number: usize,
        order: &Order,
        code: &str,
        (from_head, to_head): (i64, i64),
    ) -> Result<(), String> {
        let is_reused = code == "idempotency-key-reused";
        if is_reused != order.reuses_key {
            return Err(format!(
                "{} is answered {code}; is its key reused: {}",
                order.command_id, order.reuses_key
            ));
        }
        if code == "internal" && !order.is_refused_by_database() {
            return Err(format!("{} failed because of another", order.command_id));
        }
        if !is_reused && code != "internal" {
            self.refusals.push(Refusal {
                order: number,
                code: code.to_owned(),
                from_head,
                to_head,
            });
        }
        Ok(())
    }

    /// Replays every family from nothing.
    pub(crate) fn replay(&self, log: &SimLog, orders: &[Order], at: DateTime<Utc>) -> Result<(), String> {
        let lost = self.receipts.keys().find(|key| !log.commands().contains_key(*key));
        if let Some((_, command_id)) = lost {
            return Err(format!("{command_id} was acknowledged and is lost"));
        }
        let mut by_key: BTreeMap<(FamilyId, CommandId), &Order> = BTreeMap::new();
        for order in orders.iter().filter(|order| !order.reuses_key) {
            by_key.insert((order.family_id, order.command_id), order);
        }
        let mut refusals: BTreeMap<FamilyId, Vec<&Refusal>> = BTreeMap::new();
        for refusal in &self.refusals {
            refusals
                .entry(orders[refusal.order].family_id)
                .or_default()
                .push(refusal);
        }
        let families: BTreeSet<FamilyId> = log.families().chain(refusals.keys().copied()).collect();
        for family in families {
            let asked = refusals.remove(&family).unwrap_or_default();
            Replay::new(family, log, &by_key, at).run(orders, asked)?;
        }
        Ok(())
    }
}

/// One family's history, from nothing.
struct Replay<'a> {
    family: FamilyId,
    log: &'a SimLog,
    orders: &'a BTreeMap<(FamilyId, CommandId), &'a Order>,
    at: DateTime<Utc>,
    streams: Streams,
    claims: BTreeSet<(&'static str, String)>,
    head: i64,
    accepted: BTreeSet<CommandId>,
}

impl<'a> Replay<'a> {
    fn new(
        family: FamilyId,
        log: &'a SimLog,
        orders: &'a BTreeMap<(FamilyId, CommandId), &'a Order>,
        at: DateTime<Utc>,
    ) -> Self {
        Self {
            family,
            log,
            orders,
            at,
            streams: Streams::default(),
            claims: BTreeSet::new(),
            head: 0,
            accepted: BTreeSet::new(),
        }
    }

    fn run(mut self, orders: &[Order], mut asked: Vec<&Refusal>) -> Result<(), String> {
        let of_family = self
            .log
            .commands()
            .iter()
            .filter(|((family, _), _)| *family == self.family);
        let mut commands: Vec<_> = of_family
            .map(|((_, command), stored)| (*command, stored.clone()))
            .collect();
        commands.sort_by_key(|(command, stored)| (stored.first_family_seq, stored.last_family_seq, *command));
        let mut commands = commands.into_iter().peekable();
        let end = self.log.family_head(self.family);
        loop {
            while let Some((command_id, stored)) =
                commands.next_if(|(_, s)| s.first_family_seq == self.head + 1 && s.events() == 0)
            {
                self.check_accepted(command_id, stored.events())?;
            }
            self.explain(orders, &mut asked);
            if self.head == end {
                break;
            }
            match commands.next_if(|(_, stored)| stored.first_family_seq == self.head + 1) {
                Some((command_id, stored)) => self.check_accepted(command_id, stored.events())?,
                // An event that no command made: planted.
                None => self.head += 1,
            }
        }
        match asked.first() {
            None => Ok(()),
            Some(refusal) => Err(format!(
                "{} ({}) was refused as {} and the rules say so at no head from {} to {}",
                orders[refusal.order].command_id,
                orders[refusal.order].command.name(),
                refusal.code,
                refusal.from_head,
                refusal.to_head,
            )),
        }
    }

    /// The command decides to what is in the log, here.
    fn check_accepted(&mut self, command_id: CommandId, count: i64) -> Result<(), String> {
        let order = self.orders.get(&(self.family, command_id));
        let order = order.ok_or_else(|| format!("nobody asked for {command_id}"))?;
        let decision = match self.decide(order) {
            Ok(decision) => decision,
            Err(code) => {
                return Err(format!(
                    "{command_id} ({}) is in the log after {} and the rules refuse it there: {code}",
                    order.command.name(),
                    self.head
                ));
            }
        };
        if order.if_match.is_some_and(|wanted| wanted != self.head) {
            return Err(format!("{command_id} insisted on another head than {}", self.head));
        }
        for claim in &decision.claims {
            if !self.claims.insert((claim.scope, claim.value.clone())) {
                return Err(format!(
                    "{command_id} claims what is held: {} {}",
                    claim.scope, claim.value
                ));
            }
        }
        let records = self
            .log
            .of_family(self.family)
            .skip(usize::try_from(self.head).unwrap_or(0));
        let records: Vec<_> = records.take(usize::try_from(count).unwrap_or(0)).collect();
        let is_same = records.len() == decision.events.len()
            && records.iter().zip(&decision.events).all(|(record, new)| {
                record.command_id == command_id
                    && record.aggregate_id == new.stream.id
                    && event_of(record).as_ref() == Some(&new.event)
            });
        if !is_same {
            return Err(format!("{command_id} has other events in the log than the rules give"));
        }
        for new in &decision.events {
            self.streams.apply(new.stream, &new.event);
        }
        self.head += count;
        self.accepted.insert(command_id);
        Ok(())
    }

    fn decide(&mut self, order: &Order) -> Result<Decision, String> {
        let meta = order.meta(self.at);
        loop {
            match order.command.decide(&Context::new(&self.streams, &meta, self.head)) {
                Ok(decision) => return Ok(decision),
                Err(Stop::Refused(refusal)) => return Err(refusal.code.to_string()),
                Err(Stop::Load(streams)) => {
                    for stream in streams {
                        let empty = AggregateState::empty(stream.kind);
                        self.streams.insert(stream, empty, 0);
                    }
                }
            }
        }
    }

    /// Drops the refusals that the rules give at this head.
    fn explain(&mut self, orders: &[Order], asked: &mut Vec<&Refusal>) {
        let head = self.head;
        let mut left = Vec::new();
        for refusal in asked.drain(..) {
            let is_of_now = refusal.from_head <= head && head <= refusal.to_head;
            if !(is_of_now && self.refuses(&orders[refusal.order], &refusal.code)) {
                left.push(refusal);
            }
        }
        *asked = left;
    }

    fn refuses(&mut self, order: &Order, code: &str) -> bool {
        if self.accepted.contains(&order.command_id) {
            return false;
        }
        match self.decide(order) {
            Err(refusal) => refusal == code,
            Ok(_) if code == "precondition-failed" => order.if_match.is_some_and(|wanted| wanted != self.head),
            Ok(decision) => decision
                .claims
                .iter()
                .any(|claim| claim.taken.code == code && self.claims.contains(&(claim.scope, claim.value.clone()))),
        }
    }
}

/// Is a worker's memory what the log folds to?
pub(crate) fn check_cache(log: &SimLog, family: FamilyId, head: i64, streams: &Streams) -> Result<(), String> {
    let durable = log.family_head(family);
    if head > durable {
        return Err(format!(
            "a worker remembers {family} at {head} and the log is at {durable}"
        ));
    }
    if head < durable {
        return Ok(());
    }
    let kinds = domain::aggregate::AGGREGATE_TYPES;
    let of_family = log
        .of_family(family)
        .map(|record| (record.aggregate_type.as_str(), record.aggregate_id));
    let known: BTreeSet<(&str, uuid::Uuid)> = of_family.collect();
    for (kind, id) in known {
        let Some(kind) = kinds.iter().find(|known| **known == kind) else {
            continue;
        };
        let stream = StreamId { kind, id };
        let (Some((ours, sequence)), Some((theirs, last))) = (streams.get(&stream), log.stream(&stream)) else {
            continue;
        };
        if *sequence != last || format!("{ours:?}") != format!("{theirs:?}") {
            return Err(format!(
                "a worker remembers {stream} of {family} otherwise than the log at {head}"
            ));
        }
    }
    Ok(())
}
