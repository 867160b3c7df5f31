//! Telephones that a parent pairs.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{Planted, place};
use crate::support::{Entrance, Household, Person};

pub const PIN: &str = "27491308";

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

/// A teen who signs in by a paired telephone, and another telephone that was never let in.
pub fn plant(kinledger: &impl Entrance, family: &Household, planted: &mut Planted) {
    let member_id = place(family, planted);
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
    let profile = client.get("/api/v1/auth/profile").accepted();
    let way = format!(
        "/api/v1/auth/sessions/{}/device",
        profile["session_id"].as_str().unwrap()
    );
    let body = json!({"name": planted.text()}).to_string();
    let headers = [("content-type", "application/json")];
    let named = client.send("PUT", &way, &headers, Some(body.as_bytes()));
    assert_eq!(named.status, 204, "{}", named.text());
    planted.people.push(Person {
        member_id,
        client,
        email: String::new(),
        refresh_token: String::new(),
    });
}
