//! Clients that post commands and read views while things break, and write down what they were told.
//!
//! A command whose outcome stays open (no answer, 429, 5xx) is sent again under the same key until it is known; a few are
//! given up, for the checker has to bear that too.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    history::{Operation, Outcome, What},
    support::{Client, Entrance, Household, Over, PASSWORD, pause},
};

/// How long a client waits for one answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Before the same command is sent again.
const AGAIN_AFTER: Duration = Duration::from_millis(50);
/// How long a client goes on asking for an outcome once the load is over.
const RESOLVE_WITHIN: Duration = Duration::from_secs(60);
/// Between two operations of a client: the load is to last, not to grow.
const BREATH: Duration = Duration::from_millis(8);
/// An access token lives for fifteen minutes, and a long drill on a busy machine for longer: clients sign in again so early that an
/// outage does not outlast it.
const SIGNED_IN_FOR: Duration = Duration::from_secs(5 * 60);

/// A family with accounts to spend from.
pub struct Ledger {
    pub household: Household,
    cash: String,
    wallet: String,
    leisure: String,
    founded: Instant,
}

impl Ledger {
    pub fn found(entrance: &impl Entrance, name: &str) -> Self {
        let household = Household::found(entrance, name, "EUR");
        let opening = json!({"name": "Cash", "kind": "cash", "opening_balance": household.money("100000")});
        let cash = household.open_account(&opening);
        let pocket = json!({"name": "Pocket", "kind": "wallet", "owner": household.child.member_id});
        let wallet = household.open_account(&pocket);
        let leisure = household.category("Leisure");
        Self {
            household,
            cash,
            wallet,
            leisure,
            founded: Instant::now(),
        }
    }

    /// The id as the database has it.
    pub fn id(&self) -> Uuid {
        let hex = self.household.id.trim_start_matches("fam_");
        Uuid::parse_str(hex).unwrap_or_else(|error| panic!("{}: {error}", self.household.id))
    }

    /// A command chosen by chance: mostly one that is accepted, of one event or of several; now and then one that is refused.
    fn command(&self, random: &mut StdRng) -> (&'static str, Value) {
        let cents = self.household.money(&format!("0.{:02}", random.random_range(1..100)));
        match random.random_range(0..10) {
            0..=5 => (
                "add-expense",
                json!({"account_id": self.cash, "money": cents, "category_id": self.leisure}),
            ),
            6..=8 => (
                "transfer",
                json!({"from": self.cash, "to": self.wallet, "money": cents}),
            ),
            _ => (
                "transfer",
                json!({"from": self.wallet, "to": self.cash, "money": self.household.money("99999")}),
            ),
        }
    }
}

/// What the load has come to so far, for whoever breaks things meanwhile.
#[derive(Default)]
pub struct Progress {
    accepted: AtomicUsize,
    is_over: AtomicBool,
}

impl Progress {
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Waits until so many more commands were accepted.
    #[track_caller]
    pub fn wait_for_accepted(&self, more: usize, within: Duration) {
        let (began, from) = (Instant::now(), self.accepted());
        while self.accepted() < from + more {
            assert!(
                began.elapsed() < within,
                "{} of {more} commands were accepted within {within:?}",
                self.accepted() - from
            );
            assert!(!self.is_over.load(Ordering::SeqCst), "a client failed");
            pause(Duration::from_millis(5));
        }
    }
}

/// Puts a load on every family while `disturb` does its work; returns each family's history.
pub fn under_load<T>(
    ledgers: &[Ledger],
    clients_each: usize,
    random: &mut StdRng,
    disturb: impl FnOnce(&Progress) -> T,
) -> (T, Vec<Vec<Operation>>) {
    let (progress, clock) = (Progress::default(), Instant::now());
    thread::scope(|scope| {
        let families: Vec<Vec<_>> = ledgers
            .iter()
            .map(|ledger| {
                let seeds: Vec<u64> = (0..clients_each).map(|_| random.random()).collect();
                seeds
                    .into_iter()
                    .map(|seed| {
                        let progress = &progress;
                        scope.spawn(move || {
                            let _over = OnPanic(&progress.is_over);
                            client(ledger, seed, progress, clock)
                        })
                    })
                    .collect()
            })
            .collect();
        let over = Over(&progress.is_over);
        let came_to = disturb(&progress);
        drop(over);
        let join = |clients: Vec<thread::ScopedJoinHandle<'_, Vec<Operation>>>| {
            clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
        };
        (came_to, families.into_iter().map(join).collect())
    })
}

fn client(ledger: &Ledger, seed: u64, progress: &Progress, clock: Instant) -> Vec<Operation> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut http = ledger.household.parent.client.impatient(PATIENCE);
    let mut signed_in = ledger.founded;
    let now_us = || u64::try_from(clock.elapsed().as_micros()).unwrap_or(u64::MAX);
    let (mut history, mut seen) = (Vec::new(), 0);
    while !progress.is_over.load(Ordering::SeqCst) {
        if signed_in.elapsed() > SIGNED_IN_FOR
            && let Some(token) = sign_in(ledger, &http)
        {
            http = http.with_token(&token);
            signed_in = Instant::now();
        }
        let invoked_us = now_us();
        let what = if random.random_range(0..8) == 0 {
            let min_family_seq = random.random_bool(0.5).then_some(seen);
            read(ledger, &http, min_family_seq)
        } else {
            let command = command(ledger, &http, &mut random, progress);
            if let What::Command {
                outcome: Outcome::Accepted { last, .. },
                ..
            } = command
            {
                progress.accepted.fetch_add(1, Ordering::SeqCst);
                seen = last;
            }
            Some(command)
        };
        history.extend(what.map(|what| Operation {
            invoked_us,
            completed_us: now_us(),
            what,
        }));
        pause(BREATH);
    }
    history
}

/// A fresh access token; none while nobody answers.
fn sign_in(ledger: &Ledger, http: &Client) -> Option<String> {
    let body = json!({"email": ledger.household.parent.email, "password": PASSWORD}).to_string();
    let headers = [("content-type", "application/json")];
    let reply = http.try_send("POST", "/api/v1/auth/login", &headers, Some(body.as_bytes()));
    let reply = reply.ok().filter(|reply| reply.status == 200)?;
    Some(reply.json()["access_token"].as_str()?.to_owned())
}

/// None when the view did not answer, or not yet with what was insisted on.
fn read(ledger: &Ledger, http: &Client, min_family_seq: Option<i64>) -> Option<What> {
    let mut path = format!("{}/accounts", ledger.household.path());
    if let Some(seq) = min_family_seq {
        path = format!("{path}?min_family_seq={seq}");
    }
    let reply = http.try_send("GET", &path, &[], None).ok()?;
    let is_expected = matches!(reply.status, 200 | 202 | 404 | 500..=599);
    // 404: the rows of a family that was just founded may be behind.
    assert!(is_expected, "{path}: {} {}", reply.status, reply.text());
    (reply.status == 200).then(|| What::Read {
        family_seq: reply.json()["family_seq"].as_i64().unwrap(),
        min_family_seq,
    })
}

fn command(ledger: &Ledger, http: &Client, random: &mut StdRng, progress: &Progress) -> What {
    let (name, body) = ledger.command(random);
    let id = Uuid::from_u128(random.random());
    let path = ledger.household.command_path(name);
    let gives_up = random.random_range(0..10) == 0;
    let mut over_since = None;
    let outcome = loop {
        match http.try_post_as(&path, id, &body) {
            Ok(reply) if reply.status == 200 => break accepted(&reply.json()),
            Ok(reply) if reply.status == 422 => break Outcome::Refused,
            Ok(reply) => assert!(
                matches!(reply.status, 429 | 500..=599),
                "{name}: {} {}",
                reply.status,
                reply.text()
            ),
            Err(_) => {}
        }
        if progress.is_over.load(Ordering::SeqCst) {
            over_since.get_or_insert_with(Instant::now);
        }
        if gives_up || over_since.is_some_and(|since: Instant| since.elapsed() > RESOLVE_WITHIN) {
            break Outcome::Unknown;
        }
        pause(AGAIN_AFTER);
    };
    What::Command { id, outcome }
}

fn accepted(receipt: &Value) -> Outcome {
    let numbers: Vec<i64> = receipt["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["family_seq"].as_i64().unwrap())
        .collect();
    Outcome::Accepted {
        first: numbers[0],
        last: *numbers.last().unwrap(),
    }
}

/// A client that fails ends the load, and with it the drill.
struct OnPanic<'a>(&'a AtomicBool);

impl Drop for OnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.store(true, Ordering::SeqCst);
        }
    }
}
