//! Command bodies: whatever a client posts, parsing answers; what parses is decided without a panic; what is accepted
//! balances, reads back from its stored form, and is decided the same way twice.

use std::{
    collections::{BTreeMap, HashMap},
    sync::OnceLock,
};

use chrono::{DateTime, TimeZone, Utc};
use domain::{
    Currency, Money,
    actor::Meta,
    aggregate::{AggregateState, LedgerEvent},
    commands::{AnyCommand, COMMANDS, find},
    decide::{Context, Decision, Stop, Streams},
    family::commands::JoinFamily,
    id::{AccountId, CommandId, FamilyId, MemberId, UserId},
    journal::{PostingAccount, is_balanced, postings_of},
};
use uuid::Uuid;

/// Commands of one input.
const COMMANDS_MAX: usize = 24;
/// Bytes of one input; a statement with some rows fits.
const BYTES_MAX: usize = 16 * 1024;

/// One command a line: who asks (`parent`, `child`, `stranger`), the command, and its body, in which `@name` stands for an id
/// of the household (`@cash`, `@groceries`, `@last`).
pub fn command_body(data: &[u8]) {
    if data.len() > BYTES_MAX {
        return;
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut household = household().clone();
    for line in text.lines().take(COMMANDS_MAX) {
        let mut words = line.splitn(3, ' ');
        let (who, name) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let body = household.named(words.next().unwrap_or_default());
        // A damaged name is some command all the same.
        let kind = find(name).unwrap_or_else(|| &COMMANDS[name.len() % COMMANDS.len()]);
        if let Ok(command) = (kind.parse)(&body) {
            let canonical = command.canonical();
            let text = std::str::from_utf8(&canonical).expect("JSON is text");
            let again = (kind.parse)(text).expect("the canonical form parses");
            assert_eq!(again.canonical(), canonical, "and is its own canonical form");
            household.post(who, command.as_ref());
        }
    }
}

/// A household in memory.
#[derive(Clone)]
struct Household {
    streams: Streams,
    head: i64,
    names: HashMap<String, String>,
    commands: u128,
    /// What each wallet holds, by its postings.
    wallets: BTreeMap<AccountId, Money>,
}

/// Founded once; cloned for every input.
fn household() -> &'static Household {
    static HOUSEHOLD: OnceLock<Household> = OnceLock::new();
    HOUSEHOLD.get_or_init(Household::found)
}

fn family_id() -> FamilyId {
    FamilyId::from_uuid(Uuid::from_u128(0xF))
}

fn user(who: &str) -> UserId {
    UserId::from_uuid(Uuid::from_u128(match who {
        "parent" => 1,
        "child" => 2,
        _ => 3,
    }))
}

fn at() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 21, 12, 0, 0)
        .single()
        .expect("an instant")
}

impl Household {
    fn found() -> Self {
        let mut household = Self {
            streams: Streams::default(),
            head: 0,
            names: HashMap::new(),
            commands: 0,
            wallets: BTreeMap::new(),
        };
        household.must(
            "parent",
            "create-family",
            r#"{"name":"Lovelace","currency":"EUR","zone":"Europe/Berlin","country":"DE"}"#,
        );
        household.must(
            "parent",
            "add-member",
            r#"{"display_name":"Byron","role":"child","consent":{"method":"signed-form","notice_version":1}}"#,
        );
        let child = household.keep("child", "member_id");
        let member_id: MemberId = child.parse().expect("a member");
        household.post("child", &JoinFamily { member_id });
        for (name, body) in [
            ("giro", r#"{"name":"Giro","kind":"bank"}"#),
            (
                "cash",
                r#"{"name":"Cash","kind":"cash","opening_balance":{"amount":"100","currency":"EUR"}}"#,
            ),
            ("dollars", r#"{"name":"Dollars","kind":"card","currency":"USD"}"#),
            ("wallet", r#"{"name":"Pocket","kind":"wallet","owner":"@child"}"#),
        ] {
            household.must("parent", "open-account", body);
            household.keep(name, "account_id");
        }
        for (name, kind) in [("groceries", "expense"), ("fairs", "expense"), ("salary", "income")] {
            household.must(
                "parent",
                "add-category",
                &format!(r#"{{"name":"{name} 2","kind":"{kind}"}}"#),
            );
            household.keep(name, "category_id");
        }
        household.must(
            "parent",
            "connect-bank",
            r#"{"account_id":"@giro","institution":"Harbour Bank"}"#,
        );
        household.keep("connection", "connection_id");
        household.must(
            "parent",
            "transfer",
            r#"{"from":"@cash","to":"@wallet","money":{"amount":"5","currency":"EUR"}}"#,
        );
        household.must(
            "parent",
            "add-expense",
            r#"{"account_id":"@cash","money":{"amount":"12.30","currency":"EUR"},"category_id":"@groceries"}"#,
        );
        household.keep("entry", "entry_id");
        household.must(
            "parent",
            "offer-chore",
            r#"{"title":"Sweep","points":3,"reward":{"money":{"amount":"2","currency":"EUR"},"pay_from":"@cash"}}"#,
        );
        household.keep("chore", "chore_id");
        household
    }

    fn must(&mut self, who: &str, name: &str, body: &str) {
        let kind = find(name).expect("a command of the list");
        let command = (kind.parse)(&self.named(body)).expect("a body that fits");
        assert!(self.post(who, command.as_ref()), "{name} {body} is accepted");
    }

    /// Keeps the last event's field under a name.
    fn keep(&mut self, name: &str, field: &str) -> String {
        let id = self.names.get(field).cloned().expect("the event has this field");
        self.names.insert(name.to_owned(), id.clone());
        id
    }

    /// The body with ids for names.
    fn named(&self, body: &str) -> String {
        let mut parts = body.split('@');
        let mut text = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let end = part
                .find(|c: char| !c.is_ascii_lowercase() && c != '_')
                .unwrap_or(part.len());
            let (name, rest) = part.split_at(end);
            match self.names.get(name) {
                Some(id) => text.push_str(id),
                None => {
                    text.push('@');
                    text.push_str(name);
                }
            }
            text.push_str(rest);
        }
        text
    }

    /// Decides a command and takes in what it records. Was it accepted?
    fn post(&mut self, who: &str, command: &dyn AnyCommand) -> bool {
        self.commands += 1;
        let meta = Meta {
            family_id: family_id(),
            command_id: CommandId::from_uuid(Uuid::from_u128(self.commands)),
            user_id: user(who),
            at: at(),
        };
        let Some(decision) = self.decide(command, &meta) else {
            return false;
        };
        let again = self.decide(command, &meta);
        assert_eq!(
            again.as_ref(),
            Some(&decision),
            "the same history and command, the same answer"
        );
        for new in &decision.events {
            let written = new.event.written();
            let read = LedgerEvent::decode(
                new.stream.kind,
                written.event_type,
                written.event_version,
                &written.payload,
            );
            assert_eq!(read.as_ref(), Ok(&new.event), "the stored form says the same");
            assert_eq!(new.stream.kind, new.event.aggregate_type());
            assert!(
                is_balanced(postings_of(&new.event)),
                "an entry sums to nothing: {}",
                command.name()
            );
            self.streams.apply(new.stream, &new.event);
            self.head += 1;
            self.take_names(&written.payload);
            self.wallets(&new.event);
        }
        assert!(
            self.wallets.values().all(|held| !held.is_negative()),
            "{} leaves a wallet below zero: {:?}",
            command.name(),
            self.wallets
        );
        true
    }

    fn decide(&mut self, command: &dyn AnyCommand, meta: &Meta) -> Option<Decision> {
        // Every round brings in streams that were missing; a decision that needs more has run away.
        for _ in 0..64 {
            match command.decide(&Context::new(&self.streams, meta, self.head)) {
                Ok(decision) => return Some(decision),
                Err(Stop::Refused(_)) => return None,
                Err(Stop::Load(missing)) => {
                    assert!(!missing.is_empty(), "{} waits for nothing", command.name());
                    for stream in missing {
                        assert!(
                            self.streams.get(&stream).is_none(),
                            "{} asks again for {stream}",
                            command.name()
                        );
                        self.streams.insert(stream, AggregateState::empty(stream.kind), 0);
                    }
                }
            }
        }
        panic!("{} asks for ever more streams", command.name());
    }

    /// Remembers every id of an event by its field's name, and the last one as `@last`.
    fn take_names(&mut self, payload: &str) {
        let fields: serde_json::Map<String, serde_json::Value> = serde_json::from_str(payload).expect("an object");
        for (name, value) in fields {
            if let (true, Some(id)) = (name.ends_with("_id"), value.as_str()) {
                self.names.insert("last".to_owned(), id.to_owned());
                self.names.insert(name, id.to_owned());
            }
        }
    }

    /// Adds an entry's postings to the wallets they touch, so that what an event says of a balance can be held against them.
    fn wallets(&mut self, event: &LedgerEvent) {
        for posting in postings_of(event) {
            let PostingAccount::Account(account_id) = posting.ledger_account else {
                continue;
            };
            let stream = domain::stream::StreamId {
                kind: "ledger-account",
                id: account_id.uuid(),
            };
            let is_wallet = matches!(self.streams.get(&stream), Some((AggregateState::LedgerAccount(account), _))
                if account.kind() == Some(domain::ledger_account::AccountKind::Wallet));
            if is_wallet {
                let currency: Currency = posting.money.currency();
                let held = self.wallets.entry(account_id).or_insert_with(|| Money::zero(currency));
                *held = held
                    .checked_add(&posting.money)
                    .expect("a wallet that was decided can be held");
            }
        }
        if let LedgerEvent::LedgerAccount(domain::ledger_account::LedgerAccountEvent::WalletBalanceChanged(changed)) =
            event
        {
            let held = self.wallets.get(&changed.account_id);
            // Several entries of one command are told one after another, each behind its entry.
            assert_eq!(held, Some(&changed.balance), "a wallet holds what its postings sum to");
        }
    }
}
