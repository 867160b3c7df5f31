//! People and the family they belong to.

use std::sync::atomic::{AtomicI64, Ordering};

use rust_decimal::Decimal;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Client, Kinledger, Reply};

/// What everybody here signs in with.
pub const PASSWORD: &str = "a long sentence nobody guesses";

/// Whatever lets people in.
pub trait Entrance {
    /// Somebody who is not signed in.
    fn client(&self) -> Client;
}

impl Entrance for Kinledger {
    fn client(&self) -> Client {
        self.client()
    }
}

/// A signed-in person.
#[derive(Clone)]
pub struct Person {
    pub email: String,
    pub client: Client,
    pub refresh_token: String,
    /// Their place in the family they are in, if any.
    pub member_id: String,
}

/// Makes an account with an address of its own.
pub fn register(kinledger: &impl Entrance, name: &str) -> Person {
    let email = format!(
        "{}-{}@example.org",
        name.to_lowercase(),
        &Uuid::new_v4().simple().to_string()[..12]
    );
    let client = kinledger.client();
    let body = json!({"email": email, "password": PASSWORD, "display_name": name});
    let tokens = client.post("/api/v1/auth/register", &body).accepted();
    let client = client.with_token(tokens["access_token"].as_str().unwrap());
    let refresh_token = tokens["refresh_token"].as_str().unwrap().to_owned();
    Person {
        email,
        client,
        refresh_token,
        member_id: String::new(),
    }
}

impl Person {
    /// The same person, who has just proved once more who they are.
    pub fn proven(&self) -> Self {
        let tokens = self
            .client
            .post("/api/v1/auth/step-up", &json!({"password": PASSWORD}))
            .accepted();
        Self {
            client: self.client.with_token(tokens["access_token"].as_str().unwrap()),
            ..self.clone()
        }
    }
}

/// A family of four who have all signed in.
pub struct Household {
    pub id: String,
    pub currency: String,
    pub parent: Person,
    pub partner: Person,
    pub teen: Person,
    pub child: Person,
    seen_seq: AtomicI64,
}

impl Household {
    /// Founds a family and lets partner, teen and child join by invitation. The young have the parent's consent.
    pub fn found(kinledger: &impl Entrance, name: &str, currency: &str) -> Self {
        let mut parent = register(kinledger, "Parent");
        let body = json!({"name": name, "currency": currency, "zone": "Europe/Lisbon", "country": "PT"});
        let founded = parent.client.post("/api/v1/families", &body).accepted();
        let id = founded["family_id"].as_str().unwrap().to_owned();
        parent.member_id = payload(&founded, "MemberAdded")["member_id"]
            .as_str()
            .unwrap()
            .to_owned();
        let mut family = Self {
            id,
            currency: currency.to_owned(),
            partner: parent.clone(),
            teen: parent.clone(),
            child: parent.clone(),
            parent,
            seen_seq: AtomicI64::new(0),
        };
        family.partner = family.invite(kinledger, "Partner", "partner");
        family.teen = family.invite(kinledger, "Teen", "teen");
        family.child = family.invite(kinledger, "Child", "child");
        family
    }

    /// The same people on a database that was restored: nobody was told of anything in it yet.
    #[allow(dead_code, reason = "the drills share this file and restore by themselves")]
    pub fn again(family: &Self) -> Self {
        Self {
            id: family.id.clone(),
            currency: family.currency.clone(),
            parent: family.parent.clone(),
            partner: family.partner.clone(),
            teen: family.teen.clone(),
            child: family.child.clone(),
            seen_seq: AtomicI64::new(0),
        }
    }

    /// Adds a member, hands the code to a new person, who joins with it.
    pub fn invite(&self, kinledger: &impl Entrance, name: &str, role: &str) -> Person {
        let mut body = json!({"display_name": name, "role": role, "on_leaderboard": true});
        if ["teen", "child"].contains(&role) {
            body["consent"] = consent();
        }
        let added = self.accepted(&self.parent, "add-member", &body);
        let member_id = payload(&added, "MemberAdded")["member_id"].as_str().unwrap().to_owned();
        let path = format!("{}/members/{member_id}/invitation", self.path());
        let invitation = self.parent.client.post(&path, &json!({})).accepted();
        let person = register(kinledger, name);
        let joined = person
            .client
            .post("/api/v1/auth/join", &json!({"code": invitation["code"]}))
            .accepted();
        self.seen(&joined);
        Person { member_id, ..person }
    }

    /// `/api/v1/families/fam_…`.
    pub fn path(&self) -> String {
        format!("/api/v1/families/{}", self.id)
    }

    /// Posts a command under a fresh key.
    #[track_caller]
    pub fn command(&self, person: &Person, name: &str, body: &Value) -> Reply {
        self.command_as(person, name, Uuid::new_v4(), body)
    }

    /// Posts a command under a known key.
    #[track_caller]
    pub fn command_as(&self, person: &Person, name: &str, key: Uuid, body: &Value) -> Reply {
        let reply = person.client.post_as(&self.command_path(name), key, body);
        if reply.status == 200 {
            self.seen(&reply.json());
        }
        reply
    }

    pub fn command_path(&self, name: &str) -> String {
        format!("{}/commands/{name}", self.path())
    }

    /// Posts a command that is accepted, and gives its receipt.
    #[track_caller]
    pub fn accepted(&self, person: &Person, name: &str, body: &Value) -> Value {
        let reply = self.command(person, name, body);
        assert_eq!(reply.status, 200, "{name} {body}: {}", reply.text());
        reply.json()
    }

    /// Posts a command that is declined, and gives status and code.
    #[track_caller]
    pub fn refused(&self, person: &Person, name: &str, body: &Value) -> (u16, String) {
        self.command(person, name, body).refused()
    }

    /// Opens an account and gives its id.
    #[track_caller]
    pub fn open_account(&self, body: &Value) -> String {
        let receipt = self.accepted(&self.parent, "open-account", body);
        receipt["events"][0]["aggregate_id"].as_str().unwrap().to_owned()
    }

    /// A category's id by its name.
    #[track_caller]
    pub fn category(&self, name: &str) -> String {
        let categories = self.view(&self.parent, "categories");
        let found = categories["categories"]
            .as_array()
            .unwrap()
            .iter()
            .find(|category| category["name"] == name)
            .cloned();
        found.unwrap_or_else(|| panic!("no category {name}"))["category_id"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// Imports a file as the parent, and gives the answer.
    #[track_caller]
    pub fn import(&self, account_id: &str, bytes: &[u8]) -> Reply {
        let reply = self
            .parent
            .client
            .post_file(&format!("{}/imports?account_id={account_id}", self.path()), bytes);
        if reply.status == 200 {
            self.seen(&reply.json());
        }
        reply
    }

    /// A view that holds everything this family's people were told so far.
    #[track_caller]
    pub fn view(&self, person: &Person, view: &str) -> Value {
        let separator = if view.contains('?') { '&' } else { '?' };
        let path = format!(
            "{}/{view}{separator}min_family_seq={}",
            self.path(),
            self.seen_seq.load(Ordering::SeqCst)
        );
        // Each request waits up to two seconds itself.
        for _ in 0..15 {
            let reply = person.client.get(&path);
            if reply.status != 202 {
                assert_eq!(reply.status, 200, "{view}: {}", reply.text());
                return reply.json();
            }
        }
        panic!("{view} did not catch up");
    }

    /// The booked balance of an account as the views have it.
    #[track_caller]
    pub fn balance(&self, account_id: &str) -> Decimal {
        let accounts = self.view(&self.parent, "accounts");
        let found = accounts["accounts"]
            .as_array()
            .unwrap()
            .iter()
            .find(|account| account["account_id"] == account_id)
            .cloned();
        amount(&found.unwrap_or_else(|| panic!("no account {account_id}"))["balance"])
    }

    /// Every event of the log, in order.
    pub fn events(&self) -> Vec<Value> {
        let mut events = Vec::new();
        let mut after = 0;
        loop {
            let page = self.audit(&format!("events?limit=1000&after_family_seq={after}"));
            events.extend(page["events"].as_array().unwrap().iter().cloned());
            match page["next_after_family_seq"].as_i64() {
                Some(next) => after = next,
                None => return events,
            }
        }
    }

    /// An auditor's answer.
    #[track_caller]
    pub fn audit(&self, what: &str) -> Value {
        self.parent
            .client
            .get(&format!("{}/audit/{what}", self.path()))
            .accepted()
    }

    /// The whole log as a file, byte for byte.
    pub fn export(&self) -> Vec<u8> {
        let path = format!("{}/audit/export?format=ndjson", self.path());
        let mut reply = self.parent.client.get(&path);
        if reply.status == 403 {
            reply = self.parent.proven().client.get(&path);
        }
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.body
    }

    /// An amount in the family's currency.
    pub fn money(&self, amount: &str) -> Value {
        money(amount, &self.currency)
    }

    /// Views asked for from now on hold what this receipt tells of.
    pub fn seen(&self, answer: &Value) {
        self.seen_seq
            .fetch_max(answer["family_seq"].as_i64().unwrap(), Ordering::SeqCst);
    }
}

/// A parent's consent to the first notice, as `add-member` takes it.
pub fn consent() -> Value {
    json!({"method": "signed-form", "notice_version": 1})
}

/// The payload of a receipt's first event of a kind.
#[track_caller]
pub fn payload(receipt: &Value, kind: &str) -> Value {
    let events = receipt["events"].as_array().unwrap();
    let found = events.iter().find(|event| event["type"] == kind);
    found.unwrap_or_else(|| panic!("no {kind} in {receipt}"))["payload"].clone()
}

/// Money as JSON says it.
fn money(amount: &str, currency: &str) -> Value {
    json!({"amount": amount, "currency": currency})
}

/// The number of `{"amount":"…","currency":"…"}`.
#[track_caller]
pub fn amount(money: &Value) -> Decimal {
    let text = money["amount"].as_str().unwrap_or_else(|| panic!("no money: {money}"));
    text.parse().unwrap()
}

/// Today in UTC, plus so many days.
pub fn today(days: i64) -> String {
    (chrono::Utc::now().date_naive() + chrono::Duration::days(days)).to_string()
}

/// A number as written.
#[track_caller]
pub fn dec(text: &str) -> Decimal {
    text.parse().unwrap()
}
