//! Two hundred strings, in every text that is written by a member, or of one.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Entrance, Household, Person, consent, payload, register};

const PIN: &str = "27491308";

/// What was planted, and of whom.
pub struct Planted {
    pub texts: Vec<String>,
    /// Who are erased: somebody with an account, and somebody with a paired device.
    pub members: Vec<String>,
    /// The key of a command of theirs.
    pub key: Uuid,
    people: Vec<Person>,
}

impl Planted {
    fn text(&mut self) -> String {
        let random = Uuid::new_v4().simple().to_string();
        let text = format!("zq{:03}{}", self.texts.len(), &random[..10]);
        self.texts.push(text.clone());
        text
    }

    /// What each of them is answered when they ask.
    pub fn as_each(&self, family: &Household) -> Vec<u16> {
        let ask = |person: &Person| person.client.get(&format!("{}/members", family.path())).status;
        self.people.iter().map(ask).collect()
    }
}

/// Plants them.
pub fn plant(kinledger: &impl Entrance, family: &Household) -> Planted {
    let mut planted = Planted {
        texts: Vec::new(),
        members: Vec::new(),
        key: Uuid::new_v4(),
        people: Vec::new(),
    };
    let teen = teen(kinledger, family, &mut planted);
    money(family, &teen, &mut planted);
    chores_and_badges(family, &teen, &mut planted);
    statement(family, &teen, &mut planted);
    devices(kinledger, family, &mut planted);
    planted
}

/// A teen with an account of their own.
fn teen(kinledger: &impl Entrance, family: &Household, planted: &mut Planted) -> Person {
    let body = json!({"display_name": planted.text(), "role": "teen", "on_leaderboard": true, "consent": consent()});
    let added = family.accepted(&family.parent, "add-member", &body);
    let member_id = payload(&added, "MemberAdded")["member_id"].as_str().unwrap().to_owned();
    let path = format!("{}/members/{member_id}/invitation", family.path());
    let invitation = family.parent.client.post(&path, &json!({})).accepted();
    let person = register(kinledger, "Guest");
    let joined = person
        .client
        .post("/api/v1/auth/join", &json!({"code": invitation["code"]}))
        .accepted();
    family.seen(&joined);
    planted.members.push(member_id.clone());
    let teen = Person { member_id, ..person };
    planted.people.push(teen.clone());
    teen
}

fn money(family: &Household, teen: &Person, planted: &mut Planted) {
    let opened = |kind: &str, name: String| {
        family.open_account(&json!({
            "name": name, "kind": kind, "owner": teen.member_id, "opening_balance": family.money("1000"),
        }))
    };
    let (wallet, savings) = (opened("wallet", planted.text()), opened("cash", planted.text()));
    let category = family.category("Leisure");
    for number in 0..50 {
        let (payee, note) = (planted.text(), planted.text());
        let body = json!({
            "account_id": wallet, "money": family.money("1.25"), "category_id": category, "payee": payee, "note": note,
        });
        let key = if number == 0 { planted.key } else { Uuid::new_v4() };
        let spent = family.command_as(teen, "add-expense", key, &body).accepted();
        if number < 10 {
            let body = json!({"entry_id": spent["events"][0]["aggregate_id"], "reason": planted.text()});
            family.accepted(teen, "reverse-entry", &body);
        }
    }
    for _ in 0..10 {
        let body = json!({"from": wallet, "to": savings, "money": family.money("2"), "note": planted.text()});
        family.accepted(teen, "transfer", &body);
    }
}

fn chores_and_badges(family: &Household, teen: &Person, planted: &mut Planted) {
    for number in 0..12 {
        let body = json!({"title": planted.text(), "points": 2, "offered_to": teen.member_id});
        let offered = family.accepted(&family.parent, "offer-chore", &body);
        let chore = json!({"chore_id": offered["events"][0]["aggregate_id"]});
        family.accepted(teen, "claim-chore", &chore);
        family.accepted(teen, "complete-chore", &chore);
        if number % 2 == 0 {
            family.accepted(&family.parent, "approve-chore", &chore);
        } else {
            let body = json!({"chore_id": chore["chore_id"], "reason": planted.text()});
            family.accepted(&family.parent, "reject-chore", &body);
        }
    }
    for _ in 0..10 {
        let (badge, reason) = (planted.text(), planted.text());
        let body = json!({"member_id": teen.member_id, "badge": badge, "reason": reason, "points": 1});
        family.accepted(&family.parent, "award-badge", &body);
    }
}

/// What a bank writes of the teen.
fn statement(family: &Household, teen: &Person, planted: &mut Planted) {
    let account = family.open_account(&json!({"name": planted.text(), "kind": "bank", "owner": teen.member_id}));
    let mut file = "Date,Payee,Memo,Amount\n".to_owned();
    for day in 1..=20 {
        let (payee, memo) = (planted.text(), planted.text());
        file.push_str(&format!("2025-03-{day:02},{payee},{memo},{day}.50\n"));
    }
    family.import(&account, file.as_bytes()).accepted();
}

/// A telephone that may sign in for a member, and one that has only asked.
struct Device(Ed25519KeyPair);

impl Device {
    fn new() -> Self {
        Self(Ed25519KeyPair::generate().unwrap())
    }

    fn sign(&self, purpose: &str, text: &str) -> String {
        let message = format!("kinledger/{purpose}/1\n{text}");
        URL_SAFE_NO_PAD.encode(self.0.sign(message.as_bytes()))
    }

    fn claim(&self, code: &Value, name: &str) -> Value {
        let code = code.as_str().unwrap();
        json!({
            "code": code, "device_name": name, "algorithm": "ed25519",
            "public_key": URL_SAFE_NO_PAD.encode(self.0.public_key()), "signature": self.sign("claim", code),
        })
    }
}

fn devices(kinledger: &impl Entrance, family: &Household, planted: &mut Planted) {
    let body = json!({"display_name": planted.text(), "role": "teen", "consent": consent()});
    let added = family.accepted(&family.parent, "add-member", &body);
    let member_id = payload(&added, "MemberAdded")["member_id"].as_str().unwrap().to_owned();
    let anybody = kinledger.client();
    let pairing = |device: &Device, name: &str| {
        let path = format!("{}/members/{member_id}/pairing", family.path());
        let started = family.parent.client.post(&path, &json!({})).accepted();
        let claimed = anybody.post("/api/v1/auth/pairing/claim", &device.claim(&started["secret"], name));
        (started, claimed.accepted())
    };
    let device = Device::new();
    let (started, claimed) = pairing(&device, &planted.text());
    let confirm = format!(
        "/api/v1/auth/pairings/{}/confirm",
        started["pairing_id"].as_str().unwrap()
    );
    let confirmed = family
        .parent
        .client
        .post(&confirm, &json!({"match_code": claimed["match_code"]}));
    assert_eq!(confirmed.status, 204, "{}", confirmed.text());
    let claim = claimed["claim"].as_str().unwrap();
    let finish = json!({"claim": claim, "pin": PIN, "signature": device.sign("finish", claim)});
    let finished = anybody.post("/api/v1/auth/pairing/finish", &finish).accepted();
    let client = anybody.with_token(finished["tokens"]["access_token"].as_str().unwrap());
    pairing(&Device::new(), &planted.text());
    // What the child itself calls its device goes with the account, that nobody can come into any more.
    let put = |path: &str, body: Value| {
        let headers = [("content-type", "application/json")];
        client
            .send("PUT", path, &headers, Some(body.to_string().as_bytes()))
            .status
    };
    let profile = client.get("/api/v1/auth/profile").accepted();
    let device = format!(
        "/api/v1/auth/sessions/{}/device",
        profile["session_id"].as_str().unwrap()
    );
    assert_eq!(put(&device, json!({"name": planted.text()})), 204);
    planted.members.push(member_id.clone());
    planted.people.push(Person {
        member_id,
        client,
        email: String::new(),
        refresh_token: String::new(),
    });
}
