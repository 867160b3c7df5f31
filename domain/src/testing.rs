//! Given events, when a command, then events or a refusal. Every given event goes through its stored form first, so a rule
//! never passes on something the log could not hold.

use chrono::{DateTime, NaiveDate, TimeZone, Utc};
use uuid::Uuid;

use crate::{
    Currency, Money,
    actor::{Meta, Role},
    aggregate::LedgerEvent,
    calendar::WeekStart,
    category::{Category, CategoryAdded, CategoryKind},
    decide::{Context, Decide, Decision, NewEvent, Stop, Streams, decide},
    family::{
        ConsentGiven, CountrySet, Family, FamilyCreated, FamilyEvent, MemberAdded, MemberJoined, WalletAssigned,
        consent::{ConsentMethod, age_of_consent},
    },
    id::{AccountId, CategoryId, CommandId, FamilyId, MemberId, UserId},
    ledger_account::{AccountKind, AccountOpened, LedgerAccount},
    refusal::Refusal,
    stream::StreamId,
};

/// The family of every scenario.
pub fn family_id() -> FamilyId {
    FamilyId::from_uuid(Uuid::from_u128(0xF))
}

/// The first member of a role.
pub fn member_id(role: Role) -> MemberId {
    MemberId::from_uuid(Uuid::from_u128(0x100 * (role as u128 + 1)))
}

fn user_id(role: Role) -> UserId {
    UserId::from_uuid(Uuid::from_u128(0x10_000 * (role as u128 + 1)))
}

/// An account by a number of the test's choosing.
pub fn account(number: u128) -> AccountId {
    AccountId::from_uuid(Uuid::from_u128(0xA000 + number))
}

/// A category by a number of the test's choosing.
pub fn category(number: u128) -> CategoryId {
    CategoryId::from_uuid(Uuid::from_u128(0xC000 + number))
}

/// Euros.
pub fn eur(amount: &str) -> Money {
    Money::parse(amount, currency("EUR")).expect("an amount")
}

/// A currency by code.
pub fn currency(code: &str) -> Currency {
    code.parse().expect("a code")
}

/// The day of every scenario.
pub fn today() -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 11, 21).expect("a day")
}

fn now() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 21, 12, 0, 0)
        .single()
        .expect("an instant")
}

/// A history and the person who asks next.
#[derive(Clone)]
pub struct Scenario {
    streams: Streams,
    family_seq: i64,
    user: UserId,
    members: u128,
    newest: (MemberId, UserId),
    commands: u128,
    at: DateTime<Utc>,
}

/// What came of a command.
pub struct Outcome {
    result: Result<Vec<NewEvent>, Refusal>,
}

impl Scenario {
    /// No family yet; the founder asks.
    pub fn empty() -> Self {
        Self {
            streams: Streams::default(),
            family_seq: 0,
            user: user_id(Role::Parent),
            members: 0,
            newest: (member_id(Role::Parent), user_id(Role::Parent)),
            commands: 0,
            at: now(),
        }
    }

    /// A family in Berlin with euros and one parent, who asks. It has said its country, so that the young who come to it have the
    /// parent's consent.
    pub fn family() -> Self {
        Self::family_in("Europe/Berlin", WeekStart::Monday)
    }

    /// The same elsewhere.
    pub fn family_in(zone: &str, week_start: WeekStart) -> Self {
        Self::founded(zone, week_start).family_event(CountrySet {
            country: "DE".to_owned(),
            consent_age: age_of_consent("DE"),
        })
    }

    /// A family that has not said its country, as those of a release before: the young in it have nobody's consent.
    pub fn without_country() -> Self {
        Self::founded("Europe/Berlin", WeekStart::Monday)
    }

    fn founded(zone: &str, week_start: WeekStart) -> Self {
        let created = FamilyCreated {
            family_id: family_id(),
            name: "Lovelace".to_owned(),
            currency: currency("EUR"),
            zone: zone.to_owned(),
            week_start,
        };
        Self::empty().family_event(created).with_member(Role::Parent)
    }

    fn family_event(self, event: impl Into<FamilyEvent>) -> Self {
        self.event::<Family>(family_id().uuid(), event.into())
    }

    fn event<A: crate::aggregate::Stored>(self, id: Uuid, event: A::Event) -> Self {
        self.given(vec![NewEvent {
            stream: StreamId { kind: A::TYPE, id },
            event: event.into(),
            effective_on: today(),
        }])
    }

    /// A member of a role who has joined. The first of a role is [`member_id`].
    pub fn with_member(self, role: Role) -> Self {
        let is_first = !self.has_member(member_id(role));
        let next = self.members + 1;
        let id = if is_first {
            member_id(role)
        } else {
            MemberId::from_uuid(Uuid::from_u128(0x900_000 + next))
        };
        let user = if is_first {
            user_id(role)
        } else {
            UserId::from_uuid(Uuid::from_u128(0xA00_000 + next))
        };
        let mut scenario = self.with_place_of(id, role).family_event(MemberJoined {
            member_id: id,
            user_id: user,
        });
        scenario.members = next;
        scenario.newest = (id, user);
        scenario
    }

    /// A place for a role that nobody has taken.
    pub fn with_place(self, role: Role) -> Self {
        self.with_place_of(member_id(role), role)
    }

    /// A further place of a role that nobody has taken.
    pub fn with_unjoined(self, role: Role) -> Self {
        self.with_place_of(MemberId::from_uuid(Uuid::from_u128(0xB00_000)), role)
    }

    /// The person of the member who joined last asks from now on.
    pub fn asked_by_the_newest(mut self) -> Self {
        self.user = self.newest.1;
        self
    }

    /// The member who joined last.
    pub fn newest(&self) -> MemberId {
        self.newest.0
    }

    /// The moment it is.
    pub fn now(&self) -> DateTime<Utc> {
        self.at
    }

    /// It is this moment from now on.
    pub fn at(mut self, at: DateTime<Utc>) -> Self {
        self.at = at;
        self
    }

    /// The member that these events add.
    pub fn added(&self, events: &[NewEvent]) -> MemberId {
        let added = events.iter().find_map(|new| match &new.event {
            LedgerEvent::Family(FamilyEvent::MemberAdded(added)) => Some(added.member_id),
            _ => None,
        });
        added.expect("a member is added")
    }

    fn with_place_of(self, member_id: MemberId, role: Role) -> Self {
        let scenario = self.family_event(MemberAdded {
            member_id,
            display_name: role.as_str().to_owned(),
            role,
            on_leaderboard: false,
        });
        let Some(rules) = scenario.state().and_then(|family| family.rules_said().ok()) else {
            return scenario;
        };
        if !role.is_young() {
            return scenario;
        }
        scenario.family_event(ConsentGiven {
            member_id,
            given_by: self::member_id(Role::Parent),
            method: ConsentMethod::SignedForm,
            notice_version: rules.notice_version,
        })
    }

    fn state(&self) -> Option<&Family> {
        let stream = StreamId {
            kind: "family",
            id: family_id().uuid(),
        };
        match self.streams.get(&stream) {
            Some((crate::aggregate::AggregateState::Family(family), _)) => Some(family),
            _ => None,
        }
    }

    fn has_member(&self, member: MemberId) -> bool {
        self.state().is_some_and(|family| family.member(member).is_ok())
    }

    /// An open account in a currency.
    pub fn with_account(self, id: AccountId, kind: AccountKind, code: &str) -> Self {
        let opened = AccountOpened {
            account_id: id,
            name: "Account".to_owned(),
            kind,
            currency: currency(code),
            owner: None,
            opening_balance: None,
        };
        self.event::<LedgerAccount>(id.uuid(), opened.into())
    }

    /// An open euro account that is the first member of a role's own.
    pub fn with_account_of(self, id: AccountId, kind: AccountKind, role: Role) -> Self {
        let opened = AccountOpened {
            account_id: id,
            name: "Own".to_owned(),
            kind,
            currency: currency("EUR"),
            owner: Some(member_id(role)),
            opening_balance: None,
        };
        self.event::<LedgerAccount>(id.uuid(), opened.into())
    }

    /// The euro wallet of the first member of a role.
    pub fn with_wallet(self, id: AccountId, role: Role) -> Self {
        let owner = Some(member_id(role));
        let opened = AccountOpened {
            account_id: id,
            name: "Wallet".to_owned(),
            kind: AccountKind::Wallet,
            currency: currency("EUR"),
            owner,
            opening_balance: None,
        };
        self.event::<LedgerAccount>(id.uuid(), opened.into())
            .family_event(WalletAssigned {
                member_id: member_id(role),
                account_id: id,
                currency: currency("EUR"),
            })
    }

    /// A category.
    pub fn with_category(self, id: CategoryId, kind: CategoryKind) -> Self {
        self.event::<Category>(
            id.uuid(),
            CategoryAdded {
                category_id: id,
                name: "Category".to_owned(),
                kind,
            }
            .into(),
        )
    }

    /// Further history, each event through its stored form.
    pub fn given(mut self, events: Vec<NewEvent>) -> Self {
        for new in events {
            let stored = new.event.written();
            let read = LedgerEvent::decode(
                new.stream.kind,
                stored.event_type,
                stored.event_version,
                &stored.payload,
            )
            .expect("the stored form reads back");
            assert_eq!(read, new.event, "the stored form says the same");
            self.streams.apply(new.stream, &read);
            self.family_seq += 1;
        }
        self.commands += 1;
        self
    }

    /// The first member of a role asks from now on.
    pub fn asked_by(mut self, role: Role) -> Self {
        self.user = user_id(role);
        self
    }

    /// A signed-in person outside the family asks from now on.
    pub fn asked_by_stranger(mut self) -> Self {
        self.user = UserId::from_uuid(Uuid::from_u128(0x666));
        self
    }

    /// Another such person.
    pub fn asked_by_another_stranger(mut self) -> Self {
        self.user = UserId::from_uuid(Uuid::from_u128(0x667));
        self
    }

    /// Decides a command on this history.
    pub fn when<C: Decide>(&self, command: &C) -> Outcome {
        Outcome {
            result: self.decided(command).map(|decision| decision.events),
        }
    }

    /// What an accepted command claims: scopes and values.
    pub fn claims<C: Decide>(&self, command: &C) -> Vec<(&'static str, String)> {
        let decision = self.decided(command).expect("the command is accepted");
        decision
            .claims
            .into_iter()
            .map(|claim| (claim.scope, claim.value))
            .collect()
    }

    /// Decides a command as it is posted: by its name, with a body.
    pub fn when_posted(&self, name: &str, body: &serde_json::Value) -> Outcome {
        let kind = crate::commands::find(name).expect("a command");
        let command = (kind.parse)(&body.to_string()).unwrap_or_else(|error| panic!("{name}: {error}"));
        Outcome {
            result: self
                .decided_by(|context| command.decide(context))
                .map(|decision| decision.events),
        }
    }

    fn decided<C: Decide>(&self, command: &C) -> Result<Decision, Refusal> {
        let text = serde_json::to_string(command).expect("commands are JSON");
        let command: C = serde_json::from_str(&text).expect("commands read back");
        self.decided_by(|context| decide(&command, context))
    }

    fn decided_by(&self, decide: impl Fn(&Context<'_>) -> Result<Decision, Stop>) -> Result<Decision, Refusal> {
        let command_id = CommandId::from_uuid(Uuid::from_u128(0xD000 + self.commands));
        let meta = Meta {
            family_id: family_id(),
            command_id,
            user_id: self.user,
            at: self.at,
        };
        let mut streams = self.streams.clone();
        for _ in 0..100 {
            match decide(&Context::new(&streams, &meta, self.family_seq)) {
                Ok(decision) => return Ok(decision),
                Err(Stop::Refused(refusal)) => return Err(refusal),
                Err(Stop::Load(missing)) => {
                    for stream in missing {
                        streams.insert(stream, crate::aggregate::AggregateState::empty(stream.kind), 0);
                    }
                }
            }
        }
        panic!("the decision asks for ever more streams");
    }

    /// The history after a command that must be accepted.
    pub fn after<C: Decide>(self, command: &C) -> Self {
        let events = self.when(command).accepted();
        self.given(events)
    }
}

impl Outcome {
    /// The events of an accepted command.
    #[track_caller]
    pub fn accepted(self) -> Vec<NewEvent> {
        self.result.expect("the command is accepted")
    }

    /// Why it was refused; none when it was accepted.
    pub fn code(self) -> Option<&'static str> {
        self.result.err().map(|refusal| refusal.code)
    }

    /// Checks that it was refused for this reason.
    #[track_caller]
    pub fn refused(self, code: &str) {
        match self.result {
            Ok(events) => panic!("accepted with {events:?}, expected {code}"),
            Err(refusal) => assert_eq!(refusal.code, code, "{refusal}"),
        }
    }
}

impl NewEvent {
    /// Name and version of the event.
    pub fn kind(&self) -> (&'static str, &'static str) {
        self.event.kind()
    }
}
