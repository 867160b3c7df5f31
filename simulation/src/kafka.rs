//! One Kafka partition and its idempotent producers, in memory.
//!
//! A producer hands its records to a connection in order. The connection may break, with whatever is in it lost or still on its
//! way; the producer then sends again what is not acknowledged, in order, and the broker drops what it has by sequence number.
//! What the leader has is visible and acknowledged once it is replicated; a leader that is lost takes with it what is not.

use std::{collections::VecDeque, sync::Arc};

use event_store::{Record, relay::machine::End};

use crate::{chance::Chance, sabotage::Sabotage};

struct Message {
    record: Arc<Record>,
    producer: usize,
}

#[derive(Default)]
struct Producer {
    /// On the connection, with sequence numbers.
    wire: VecDeque<(u64, Arc<Record>)>,
    /// Handed over and not acknowledged.
    open: VecDeque<(u64, Arc<Record>)>,
    next: u64,
    /// The sequence number that the leader expects.
    expected: u64,
    /// Those of its messages that are replicated.
    replicated: u64,
    /// Has its relay gone? Then nobody sends again.
    is_orphan: bool,
    /// Does a relay wait for acknowledgements?
    is_awaited: bool,
}

/// The partition.
#[derive(Default)]
pub(crate) struct Partition {
    messages: Vec<Message>,
    /// Messages before this are replicated.
    high: usize,
    /// Messages before this have expired.
    low: usize,
    producers: Vec<Producer>,
    sabotage: Option<Sabotage>,
}

impl Partition {
    pub(crate) fn new(sabotage: Option<Sabotage>) -> Self {
        Self {
            sabotage,
            ..Self::default()
        }
    }

    pub(crate) fn producer(&mut self) -> usize {
        self.producers.push(Producer::default());
        self.producers.len() - 1
    }

    /// What consumers can read.
    pub(crate) fn visible(&self) -> impl DoubleEndedIterator<Item = &Arc<Record>> + ExactSizeIterator {
        self.messages[self.low..self.high].iter().map(|message| &message.record)
    }

    /// The visible messages from the one on that a reader behind `after` begins with, as `KafkaFeed` finds it.
    pub(crate) fn visible_from(&self, after: i64) -> impl Iterator<Item = &Arc<Record>> {
        let visible = &self.messages[self.low..self.high];
        let first = visible.first().map_or(1, |message| message.record.position);
        let skip = usize::try_from(after + 1 - first).unwrap_or(0).min(visible.len());
        visible[skip..].iter().map(|message| &message.record)
    }

    pub(crate) fn end(&self) -> End {
        match self.messages[..self.high].last() {
            None => End::Empty,
            Some(_) if self.low == self.high => End::Expired,
            Some(last) => End::At(Box::new(Record::clone(&last.record))),
        }
    }

    /// A relay hands over a page and waits.
    pub(crate) fn send(&mut self, producer: usize, records: Vec<Record>) {
        let producer = &mut self.producers[producer];
        for record in records {
            let message = (producer.next, Arc::new(record));
            producer.next += 1;
            producer.wire.push_back(message.clone());
            producer.open.push_back(message);
        }
        producer.is_awaited = true;
    }

    /// The relay is gone; what is on the wire may still arrive.
    pub(crate) fn orphan(&mut self, producer: usize, keeps_wire: bool) {
        let producer = &mut self.producers[producer];
        producer.is_orphan = true;
        producer.is_awaited = false;
        producer.open.clear();
        if !keeps_wire {
            producer.wire.clear();
        }
    }

    /// Producers with something on the wire.
    pub(crate) fn sending(&self) -> Vec<usize> {
        let numbered = self.producers.iter().enumerate();
        numbered.filter(|(_, p)| !p.wire.is_empty()).map(|(n, _)| n).collect()
    }

    /// Producers that wait for acknowledgements and have all of them.
    pub(crate) fn acknowledged(&mut self) -> Vec<usize> {
        let mut done = Vec::new();
        for (number, producer) in self.producers.iter_mut().enumerate() {
            let bound = if self.sabotage == Some(Sabotage::AcknowledgeBeforeReplication) {
                producer.expected
            } else {
                producer.replicated
            };
            while producer.open.front().is_some_and(|(sequence, _)| *sequence < bound) {
                producer.open.pop_front();
            }
            if producer.is_awaited && producer.open.is_empty() {
                producer.is_awaited = false;
                done.push(number);
            }
        }
        done
    }

    /// The leader takes some of what is on a wire; says whether it was in order.
    pub(crate) fn transmit(&mut self, number: usize, chance: &mut Chance) -> bool {
        let ignores_order = self.sabotage == Some(Sabotage::LoseProducerOrder);
        for _ in 0..chance.between(1, 4) {
            let producer = &mut self.producers[number];
            let at = if ignores_order {
                chance.below(producer.wire.len())
            } else {
                0
            };
            let Some((sequence, record)) = producer.wire.remove(at) else {
                break;
            };
            if sequence == producer.expected || ignores_order {
                producer.expected = producer.expected.max(sequence + 1);
                self.messages.push(Message {
                    record,
                    producer: number,
                });
            } else if sequence > producer.expected {
                producer.wire.clear();
                return false;
            }
        }
        true
    }

    /// Followers catch up; returns the messages that are visible now and were not.
    pub(crate) fn replicate(&mut self, all: bool, chance: &mut Chance) -> Vec<Arc<Record>> {
        let lag = self.messages.len() - self.high;
        let count = if all { lag } else { chance.below(lag + 1) };
        let replicated = &self.messages[self.high..self.high + count];
        for message in replicated {
            self.producers[message.producer].replicated += 1;
        }
        self.high += count;
        replicated.iter().map(|message| Arc::clone(&message.record)).collect()
    }

    pub(crate) fn lag(&self) -> usize {
        self.messages.len() - self.high
    }

    /// A connection breaks: what is on it is lost, and sent again by a producer that still is.
    pub(crate) fn break_connection(&mut self, number: usize) {
        let producer = &mut self.producers[number];
        producer.wire = producer.open.clone();
    }

    /// A leader is lost, and what only it had.
    pub(crate) fn lose_leader(&mut self) {
        self.messages.truncate(self.high);
        for number in 0..self.producers.len() {
            let producer = &mut self.producers[number];
            producer.expected = producer.replicated;
            if !producer.is_orphan {
                self.break_connection(number);
            }
        }
    }

    /// Nothing on any wire arrives any more.
    pub(crate) fn silence(&mut self) {
        for producer in &mut self.producers {
            producer.wire.clear();
        }
    }

    /// Retention takes everything.
    pub(crate) fn expire(&mut self) {
        self.low = self.high;
    }

    /// Is nothing under way?
    pub(crate) fn is_quiet(&self) -> bool {
        self.lag() == 0 && self.producers.iter().all(|p| p.wire.is_empty() && !p.is_awaited)
    }
}
