//! The lane's machine, driven by hand.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::{
    category::{CategoryKind, commands::AddCategory},
    commands::AnyCommand,
    family::commands::CreateFamily,
    id::{CommandId, FamilyId, UserId},
};
use event_store::{AppendCommand, Appended, FamilyHead, Lane, Loaded, LogError, RequestKey, Verdict};
use uuid::Uuid;

use super::{
    Job, LaneSettings,
    machine::{Effect, Input, LaneMachine, Queued},
};

const FAMILY: FamilyId = FamilyId::from_uuid(Uuid::from_u128(0xF001));

/// A value that Postgres does not take.
#[derive(Debug)]
struct RefusedValue;

impl std::fmt::Display for RefusedValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("refused")
    }
}

impl std::error::Error for RefusedValue {}

impl sqlx::error::DatabaseError for RefusedValue {
    fn message(&self) -> &str {
        "refused"
    }

    fn code(&self) -> Option<std::borrow::Cow<'_, str>> {
        Some("22P05".into())
    }

    fn as_error(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
        self
    }

    fn as_error_mut(&mut self) -> &mut (dyn std::error::Error + Send + Sync + 'static) {
        self
    }

    fn into_error(self: Box<Self>) -> Box<dyn std::error::Error + Send + Sync + 'static> {
        self
    }

    fn kind(&self) -> sqlx::error::ErrorKind {
        sqlx::error::ErrorKind::Other
    }
}

fn at() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_000_000, 0).expect("a moment")
}

fn queued(number: u128, command: impl AnyCommand + 'static) -> Queued<u128> {
    let job = Job {
        family_id: FAMILY,
        command_id: CommandId::from_uuid(Uuid::from_u128(number)),
        user_id: UserId::from_uuid(Uuid::from_u128(1)),
        command: Arc::new(command),
        if_match: None,
        traceparent: String::new(),
        bytes: 256,
    };
    Queued::new(job, number, &RequestKey::new([7; 32]))
}

fn founding() -> CreateFamily {
    CreateFamily {
        name: "Lovelace".to_owned(),
        currency: "EUR".parse().expect("a code"),
        zone: "UTC".to_owned(),
        week_start: Default::default(),
        display_name: None,
        country: None,
        with_categories: false,
    }
}

fn category(name: &str) -> AddCategory {
    AddCategory {
        name: name.to_owned(),
        kind: CategoryKind::Expense,
    }
}

/// What a log does that holds one family and takes whatever is decided on its head, but never a batch with `faulty`.
struct OneFamily {
    head: i64,
    faulty: CommandId,
    /// Commands of each append, as it came.
    appends: Vec<usize>,
    states: domain::decide::Streams,
}

impl OneFamily {
    /// Another one after every event.
    fn chain_hash(&self) -> [u8; 32] {
        [u8::try_from(self.head).expect("a short history"); 32]
    }

    fn append(&mut self, commands: &[AppendCommand]) -> Result<Vec<Verdict>, LogError> {
        self.appends.push(commands.len());
        if commands.iter().any(|command| command.command_id == self.faulty) {
            return Err(LogError::Database(sqlx::Error::Database(Box::new(RefusedValue))));
        }
        let mut verdicts = Vec::new();
        for (number, command) in commands.iter().enumerate() {
            assert_eq!(command.expected_family_seq, self.head, "decided on the head");
            let chain_hash = (number == 0).then_some(self.chain_hash());
            assert_eq!(
                command.expected_chain_hash, chain_hash,
                "the first names its chain hash"
            );
            for new in &command.events {
                assert_eq!(self.states.apply(new.stream, &new.event), new.sequence);
            }
            let first_family_seq = self.head + 1;
            self.head += command.events.len() as i64;
            verdicts.push(Verdict::Ok(Appended {
                first_family_seq,
                last_family_seq: self.head,
                last_position: self.head,
                chain_hash: self.chain_hash(),
                recorded_at: at(),
            }));
        }
        Ok(verdicts)
    }

    fn load(&self, streams: &[domain::stream::StreamId]) -> Loaded {
        let of = |stream: &domain::stream::StreamId| match self.states.get(stream) {
            Some((state, sequence)) => (*stream, state.clone(), *sequence),
            None => (*stream, domain::aggregate::AggregateState::empty(stream.kind), 0),
        };
        Loaded {
            head: FamilyHead {
                family_seq: self.head,
                chain_hash: self.chain_hash(),
            },
            streams: streams.iter().map(of).collect(),
        }
    }

    /// Runs a batch to its end; the answers, by number.
    fn run(&mut self, machine: &mut LaneMachine<u128>) -> Vec<(u128, Result<i64, u16>)> {
        let mut answers = Vec::new();
        let mut effects = Vec::new();
        machine.begin(at(), &mut effects);
        while let Some(effect) = effects.pop() {
            let input = match effect {
                Effect::Answer { to, answer } => {
                    let told = answer.map(|receipt| receipt.family_seq);
                    answers.push((to, told.map_err(|problem| problem.status().as_u16())));
                    continue;
                }
                Effect::Load { ticket, streams, .. } => Input::Loaded {
                    ticket,
                    result: Ok(self.load(&streams)),
                },
                Effect::Append { commands } => Input::Appended {
                    result: self.append(&commands),
                    commands,
                },
                Effect::Find { ticket, .. } => Input::Found {
                    ticket,
                    result: Ok(None),
                },
                Effect::Read { ticket, .. } => Input::Read {
                    ticket,
                    result: Ok(Vec::new()),
                },
            };
            machine.handle(input, at(), &mut effects);
        }
        assert!(machine.is_idle(), "every effect is answered");
        answers.sort_unstable();
        answers
    }
}

#[test]
fn a_command_that_the_database_refuses_fails_none_of_its_own_familys_neighbours() {
    let mut log = OneFamily {
        head: 0,
        faulty: CommandId::from_uuid(Uuid::from_u128(11)),
        appends: Vec::new(),
        states: Default::default(),
    };
    let mut machine = LaneMachine::new(Lane(0), &LaneSettings::default());
    machine.push(queued(10, founding()));
    machine.push(queued(11, category("Pets")));
    machine.push(queued(12, category("Books")));
    assert_eq!(log.run(&mut machine), [(10, Ok(3)), (11, Err(500)), (12, Ok(4))]);
    assert_eq!(log.appends, [3, 1, 1, 1], "together, then each alone");
    assert_eq!(machine.waiting(), 0);
}

#[test]
fn what_was_decided_is_remembered_only_once_it_is_durable() {
    let mut log = OneFamily {
        head: 0,
        faulty: CommandId::from_uuid(Uuid::from_u128(10)),
        appends: Vec::new(),
        states: Default::default(),
    };
    let mut machine = LaneMachine::new(Lane(0), &LaneSettings::default());
    machine.push(queued(10, founding()));
    assert_eq!(log.run(&mut machine), [(10, Err(500))]);
    assert_eq!(
        machine.cached().count(),
        0,
        "nothing happened, so nothing is remembered"
    );
    machine.push(queued(13, founding()));
    assert_eq!(log.run(&mut machine), [(13, Ok(3))]);
    let heads: Vec<i64> = machine.cached().map(|(_, head, _)| head).collect();
    assert_eq!(heads, [3]);
}

#[test]
fn a_batch_takes_no_more_commands_than_it_may() {
    let mut log = OneFamily {
        head: 0,
        faulty: CommandId::from_uuid(Uuid::nil()),
        appends: Vec::new(),
        states: Default::default(),
    };
    let settings = LaneSettings {
        batch_commands_max: 2,
        ..LaneSettings::default()
    };
    let mut machine = LaneMachine::new(Lane(0), &settings);
    machine.push(queued(10, founding()));
    machine.push(queued(11, category("Pets")));
    machine.push(queued(12, category("Books")));
    assert_eq!(machine.room(), 0, "a full batch takes no more");
    assert_eq!(log.run(&mut machine), [(10, Ok(3)), (11, Ok(4))]);
    assert_eq!(machine.waiting(), 1, "the third is of the next batch");
    assert_eq!(log.run(&mut machine), [(12, Ok(5))]);
    assert_eq!(log.appends, [2, 1]);
}
