//! What breaks: processes die, stop or are slow, connections and leaders are lost, a topic expires or is made anew, an event is
//! poison, and the database is restored to an earlier moment.

use event_store::relay::machine::Place;

use crate::{
    chance::mix,
    clients::Client,
    kafka::Partition,
    log::SimLog,
    views::SimViews,
    world::{Flight, World},
};

/// What sort of instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Worker,
    Relay,
    Projector,
}

/// The durable part of the database.
#[derive(Clone)]
pub(crate) struct Database {
    log: SimLog,
    views: SimViews,
    checkpoint: (i64, Place),
}

impl World {
    /// Is it for a process that is stopped?
    pub(crate) fn sleeps(&self, flight: &Flight) -> bool {
        if self.is_calm {
            return false;
        }
        let to = match flight {
            Flight::Submit { worker, .. } => (Kind::Worker, *worker),
            Flight::WorkerHears(who, ..) => (Kind::Worker, who.number),
            Flight::RelayHears(who, _) | Flight::RelayWakes(who) => (Kind::Relay, who.number),
            Flight::ProjectorHears(who, _) | Flight::BatchHears(who, ..) | Flight::ProjectorWakes(who) => {
                (Kind::Projector, who.number)
            }
            _ => return false,
        };
        let pace = self.paces[to.0 as usize][to.1];
        (pace > 1 && !mix(self.step).is_multiple_of(pace))
            || self.asleep.get(&to).is_some_and(|until| *until > self.step)
    }

    /// A process is stopped for a while.
    fn stop_somebody(&mut self) {
        let (kind, number) = match self.chance.below(3) {
            0 => (Kind::Worker, self.chance.below(self.workers.len())),
            1 => (Kind::Relay, self.chance.below(self.relays.len())),
            _ => (Kind::Projector, self.chance.below(self.projectors.len())),
        };
        let until = self.step + self.chance.between(50, 1_500) as u64;
        self.asleep.insert((kind, number), until);
    }

    /// Something breaks.
    pub(crate) fn fault(&mut self) -> u64 {
        if self.is_calm {
            return 2;
        }
        let fault = self.chance.below(100);
        self.note(|| format!("fault {fault}"));
        match fault {
            0..12 => {
                let number = self.chance.below(self.workers.len());
                self.crash_worker(number);
            }
            12..20 => {
                let number = self.chance.below(self.relays.len());
                self.crash_relay(number);
            }
            20..28 => {
                let number = self.chance.below(self.projectors.len());
                self.crash_projector(number);
            }
            28..33 => self.lose_session(),
            33..40 => self.kafka.lose_leader(),
            40..42 if self.scenario.topic_faults => {
                self.kafka.expire();
            }
            42..44 if self.scenario.topic_faults => self.make_topic_anew(),
            44..46 if self.scenario.poison => self.plant(),
            46..60 if self.scenario.restore => self.back_up(),
            60..66 => self.stop_somebody(),
            _ => return 3,
        }
        4
    }

    fn make_topic_anew(&mut self) {
        for number in 0..self.relays.len() {
            self.relay_fails(number);
        }
        self.kafka = Partition::new(self.scenario.sabotage);
        self.shown = 0;
    }

    /// An event that no release knows gets into a family's ledger.
    fn plant(&mut self) {
        let family = self.households[0].family_id;
        if self.unreadable.is_empty() && self.log.family_head(family) > 0 && self.chance.per_mille(300) {
            let (id, at) = (self.chance.uuid(), self.at());
            self.log.plant_unreadable(family, id, at);
            self.unreadable.insert(family, self.log.family_head(family));
        }
    }

    /// The database is saved, as a backup or a standby has it.
    fn back_up(&mut self) {
        if self.lost.is_some() || self.log.head() <= 10 {
            return;
        }
        let mut views = self.views.clone();
        views.roll_back_all();
        self.saved = Some(Box::new(Database {
            log: self.log.clone(),
            views,
            checkpoint: self.relay_checkpoint,
        }));
    }

    /// The database is restored to the moment that was saved, if Kafka has more than that.
    pub(crate) fn restore(&mut self) {
        let last = self.kafka.visible().next_back().map_or(0, |last| last.position);
        let saved_head = self.saved.as_ref().map_or(0, |saved| saved.log.head());
        if self.kafka.lag() > 0 || last <= saved_head {
            return;
        }
        let Some(saved) = self.saved.take() else { return };
        self.note(|| format!("the database is restored to {saved_head}"));
        let gone = self.log.events().iter().skip(saved.log.events().len());
        self.lost = Some(gone.map(|record| (record.position, record.chain_hash)).collect());
        self.log = saved.log;
        self.views.restore(saved.views);
        self.relay_checkpoint = saved.checkpoint;
        self.oracle.forget();
        // A restore takes longer than a producer keeps a message, and the services that write are started again after it.
        for number in 0..self.relays.len() {
            self.relay_fails(number);
        }
        self.kafka.silence();
        self.sessions.clear();
        self.lane_lock = None;
        self.flights.retain(|flight| {
            !matches!(
                flight,
                Flight::WorkerAsks(..) | Flight::Answer { .. } | Flight::Submit { .. }
            )
        });
        for number in 0..self.workers.len() {
            self.crash_worker(number);
        }
        for client in &mut self.clients {
            *client = Client::default();
        }
        for household in &mut self.households {
            household.resume(&self.log);
        }
    }
}
