//! Relays of the lane: several, each the real [`RelayMachine`], on the simulated log and partition.

use event_store::{
    Record,
    relay::{
        RelayError,
        machine::{Effect, Input, Place, RelayMachine},
    },
};
use std::sync::Arc;

use crate::{
    log::LANE,
    sabotage::Sabotage,
    world::{Fate, Flight, Who, World},
};

/// Records in one page.
const PAGE: i64 = 7;

/// One instance.
pub(crate) struct Relay {
    machine: RelayMachine,
    number: usize,
    life: u32,
    producer: Option<usize>,
    has_halted: bool,
}

impl Relay {
    pub(crate) fn new(number: usize) -> Self {
        Self {
            machine: RelayMachine::new(LANE),
            number,
            life: 0,
            producer: None,
            has_halted: false,
        }
    }

    fn who(&self) -> Who {
        Who {
            number: self.number,
            life: self.life,
        }
    }

    /// Has it found a fork?
    pub(crate) fn has_halted(&self) -> bool {
        self.has_halted
    }

    pub(crate) fn position(&self) -> i64 {
        self.machine.position()
    }

    pub(crate) fn is_owner(&self) -> bool {
        self.machine.is_owner()
    }
}

impl World {
    pub(crate) fn start_relay(&mut self, number: usize) {
        let relay = &mut self.relays[number];
        relay.machine = RelayMachine::new(LANE);
        let (who, effect) = (relay.who(), relay.machine.begin());
        self.sessions.insert(who);
        self.flights.push(Flight::RelayAsks(who, effect));
    }

    /// The process dies; its connection may outlive it for a while, and so may what it has sent.
    pub(crate) fn crash_relay(&mut self, number: usize) {
        self.crashes += 1;
        self.relay_fails(number);
    }

    /// Whatever a relay was about, it begins anew.
    pub(crate) fn relay_fails(&mut self, number: usize) {
        if self.relays[number].has_halted {
            return;
        }
        let keeps_wire = self.chance.per_mille(500);
        let relay = &mut self.relays[number];
        let old = relay.who();
        relay.life += 1;
        let new = relay.who();
        if let Some(producer) = relay.producer.take() {
            self.kafka.orphan(producer, keeps_wire);
        }
        self.flights.push(Flight::SessionEnds(old));
        self.flights.push(Flight::RelayWakes(new));
    }

    pub(crate) fn relay_wakes(&mut self, who: Who) {
        if self.relays[who.number].life == who.life {
            self.start_relay(who.number);
        }
    }

    pub(crate) fn session_ends(&mut self, who: Who) {
        self.sessions.remove(&who);
        if self.lane_lock == Some(who) {
            self.lane_lock = None;
        }
    }

    /// The database drops a relay's connection; the relay does not know.
    pub(crate) fn lose_session(&mut self) {
        if let Some(owner) = self.lane_lock {
            self.session_ends(owner);
        }
    }

    pub(crate) fn relay_asks(&mut self, who: Who, effect: Effect) {
        if self.relays[who.number].life != who.life {
            // Sent before it died: it still counts, but nobody hears the answer.
            let _unheard = self.ask_for_relay(who, effect);
            return;
        }
        if let Effect::Publish { records } = effect {
            self.publish(who, records);
            return;
        }
        if matches!(effect, Effect::Rest | Effect::StandBy) {
            self.flights.push(Flight::RelayHears(who, Some(Input::Waited)));
            return;
        }
        let fate = self.fate();
        let answer = match fate {
            Fate::Lost => None,
            _ => self.ask_for_relay(who, effect),
        };
        self.flights
            .push(Flight::RelayHears(who, answer.filter(|_| fate != Fate::DoneInVain)));
    }

    fn ask_for_relay(&mut self, who: Who, effect: Effect) -> Option<Input> {
        if let Effect::AskEnd = effect {
            return Some(Input::End(self.kafka.end()));
        }
        // All else goes over the connection that holds the lock.
        if !self.sessions.contains(&who) {
            return None;
        }
        Some(match effect {
            Effect::Own => {
                let owner = *self.lane_lock.get_or_insert(who);
                Input::Owned(owner == who)
            }
            Effect::BeginEpoch => {
                self.relay_checkpoint.0 += 1;
                Input::Epoch(self.relay_checkpoint.0)
            }
            Effect::ReadCheckpoint => Input::Checkpoint(self.relay_checkpoint.1),
            Effect::HashAt { position } => {
                let ours = self.log.at(position).map(|record| record.chain_hash);
                let theirs = || self.kafka.visible().rev().find(|record| record.position == position);
                Input::Hash(if self.scenario.sabotage == Some(Sabotage::SkipForkCheck) {
                    theirs().map(|record| record.chain_hash).or(ours)
                } else {
                    ours
                })
            }
            Effect::Save { epoch, place } => Input::Saved(self.save(epoch, place)),
            Effect::ReadPage { after } => Input::Page(self.log.read_lane(after, PAGE)),
            Effect::AskEnd | Effect::Publish { .. } | Effect::Rest | Effect::StandBy => return None,
        })
    }

    fn save(&mut self, epoch: i64, place: Place) -> bool {
        let is_ours = self.relay_checkpoint.0 == epoch;
        if is_ours {
            self.relay_checkpoint.1 = place;
        }
        is_ours
    }

    fn publish(&mut self, who: Who, records: Vec<Record>) {
        let producer = match self.relays[who.number].producer {
            Some(producer) => producer,
            None => self.kafka.producer(),
        };
        self.relays[who.number].producer = Some(producer);
        self.kafka.send(producer, records);
    }

    pub(crate) fn relay_hears(&mut self, who: Who, input: Option<Input>) {
        if self.relays[who.number].life != who.life {
            return;
        }
        let Some(input) = input else {
            self.relay_fails(who.number);
            return;
        };
        match self.relays[who.number].machine.handle(input) {
            Ok(effect) => self.flights.push(Flight::RelayAsks(who, effect)),
            Err(RelayError::Fork { position, .. }) => {
                if self.lost.is_none() {
                    self.violated(format!("a fork is reported at {position} and there is none"));
                }
                self.relay_fails(who.number);
                self.relays[who.number].has_halted = true;
                self.relays[who.number].life += 1;
            }
            Err(_) => self.relay_fails(who.number),
        }
    }

    /// The broker takes, replicates, acknowledges; or a connection breaks, or a relay has waited long enough.
    pub(crate) fn broker_acts(&mut self) -> u64 {
        for producer in self.kafka.acknowledged() {
            let relay = self.relays.iter().find(|relay| relay.producer == Some(producer));
            if let Some(who) = relay.map(Relay::who) {
                self.flights.push(Flight::RelayHears(who, Some(Input::Published)));
            }
        }
        let sending = self.kafka.sending();
        if !sending.is_empty() && self.chance.per_mille(600) {
            let producer = *self.chance.of(&sending);
            if self.strikes(60) {
                self.kafka.break_connection(producer);
            } else if !self.kafka.transmit(producer, &mut self.chance) {
                // The broker refuses what is out of order, and that is the end of a producer.
                let relay = self.relays.iter().find(|relay| relay.producer == Some(producer));
                if let Some(number) = relay.map(|relay| relay.number) {
                    self.relay_fails(number);
                }
            }
            return 11;
        }
        if self.strikes(10) {
            let publishing = self.relays.iter().filter(|relay| relay.producer.is_some());
            if let Some(number) = publishing.map(|relay| relay.number).next() {
                self.relay_fails(number);
            }
            return 12;
        }
        if self.kafka.lag() > 0 {
            let is_calm = self.is_calm;
            let shown = self.kafka.replicate(is_calm, &mut self.chance);
            self.check_shown(&shown);
            return 13;
        }
        14
    }

    /// What Kafka shows is the log's, in the log's order, without a hole; repeats are allowed.
    fn check_shown(&mut self, records: &[Arc<Record>]) {
        for record in records {
            let position = record.position;
            if position > self.shown + 1 {
                self.violated(format!("Kafka shows {position} after {} at most", self.shown));
            }
            let is_new = position > self.shown;
            self.shown = self.shown.max(position);
            let is_ours = self
                .log
                .at(position)
                .is_some_and(|ours| ours.chain_hash == record.chain_hash);
            match &self.lost {
                None if !is_ours => self.violated(format!("Kafka shows at {position} what is not in the log")),
                // Whatever is published after a restore must have been there before it.
                Some(lost) if lost.get(&position).is_none_or(|hash| *hash != record.chain_hash) => {
                    let goes_beyond = lost.keys().next().is_some_and(|first| position >= *first);
                    if is_ours && (goes_beyond || is_new) {
                        self.violated(format!("Kafka holds two histories from {position} on"));
                    }
                }
                _ => {}
            }
        }
    }
}
