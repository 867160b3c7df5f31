//! A teen on a telephone that a parent has paired, with the real ledger behind it.

use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::support::{Household, Kinledger, Person, consent, payload, wait_until};

const PIN: &str = "27491308";

/// A telephone, and the member it signs in.
struct Telephone {
    pair: Ed25519KeyPair,
    device_id: Value,
    member: Person,
}

impl Telephone {
    fn sign(pair: &Ed25519KeyPair, purpose: &str, text: &str) -> String {
        URL_SAFE_NO_PAD.encode(pair.sign(format!("kinledger/{purpose}/1\n{text}").as_bytes()))
    }

    /// A new teen of the family, signed in on a telephone that this parent has paired.
    fn of_a_teen(kinledger: &Kinledger, family: &Household, parent: &Person) -> Self {
        let body = json!({"display_name": "Tilda", "role": "teen", "consent": consent()});
        let added = family.accepted(parent, "add-member", &body);
        let member_id = payload(&added, "MemberAdded")["member_id"].as_str().unwrap().to_owned();
        let anybody = kinledger.client();
        let pair = Ed25519KeyPair::generate().unwrap();
        let path = format!("{}/members/{member_id}/pairing", family.path());
        let started = parent.client.post(&path, &json!({})).accepted();
        let secret = started["secret"].as_str().unwrap();
        let claim = json!({
            "code": secret, "device_name": "Telephone", "algorithm": "ed25519",
            "public_key": URL_SAFE_NO_PAD.encode(pair.public_key()), "signature": Self::sign(&pair, "claim", secret),
        });
        let claimed = anybody.post("/api/v1/auth/pairing/claim", &claim).accepted();
        let confirm = format!(
            "/api/v1/auth/pairings/{}/confirm",
            started["pairing_id"].as_str().unwrap()
        );
        let confirmed = parent
            .client
            .post(&confirm, &json!({"match_code": claimed["match_code"]}));
        assert_eq!(confirmed.status, 204, "{}", confirmed.text());
        let claim = claimed["claim"].as_str().unwrap();
        let finish = json!({"claim": claim, "pin": PIN, "signature": Self::sign(&pair, "finish", claim)});
        let finished = anybody.post("/api/v1/auth/pairing/finish", &finish).accepted();
        let tokens = &finished["tokens"];
        Self {
            pair,
            device_id: finished["device_id"].clone(),
            member: Person {
                member_id,
                client: anybody.with_token(tokens["access_token"].as_str().unwrap()),
                email: String::new(),
                refresh_token: tokens["refresh_token"].as_str().unwrap().to_owned(),
            },
        }
    }

    fn unlock(&self, kinledger: &Kinledger) -> (u16, Value) {
        let anybody = kinledger.client();
        let asking = json!({"device_id": self.device_id});
        let challenge = anybody.post("/api/v1/auth/device/challenge", &asking).accepted();
        let challenge = challenge["challenge"].as_str().unwrap();
        let body = json!({
            "device_id": self.device_id, "challenge": challenge, "pin": PIN,
            "signature": Self::sign(&self.pair, "unlock", challenge),
        });
        let answer = anybody.post("/api/v1/auth/device/unlock", &body);
        (answer.status, answer.json())
    }

    /// Is its session refused within five seconds?
    fn ends(&self) -> bool {
        wait_until(Duration::from_secs(5), || {
            self.member.client.get("/api/v1/auth/profile").status == 401
        })
    }
}

#[test]
fn an_open_session_by_pin_ends_when_its_member_is_made_an_adult() {
    let kinledger = Kinledger::start();
    let family = Household::found(&kinledger, "The Telephones", "EUR");
    let teen = Telephone::of_a_teen(&kinledger, &family, &family.parent);
    let body = json!({"member_id": teen.member.member_id, "role": "partner"});
    family.accepted(&family.parent, "change-role", &body);
    assert!(teen.ends());
    let (status, refused) = teen.unlock(&kinledger);
    assert_eq!((status, &refused["type"]), (403, &json!("/problems/not-young")));
}
