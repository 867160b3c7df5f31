//! A teen's telephone that a parent pairs, and its PIN.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use uuid::Uuid;

use super::world::{World, altered};
use crate::support::Reply;

const CLAIM: &str = "/api/v1/auth/pairing/claim";
const FINISH: &str = "/api/v1/auth/pairing/finish";
const UNLOCK: &str = "/api/v1/auth/device/unlock";

struct Device(Ed25519KeyPair);

impl Device {
    fn sign(&self, purpose: &str, text: &str) -> String {
        let message = format!("kinledger/{purpose}/1\n{text}");
        URL_SAFE_NO_PAD.encode(self.0.sign(message.as_bytes()))
    }

    fn claim(&self, world: &World, code: &str) -> Reply {
        let body = json!({
            "code": code, "device_name": "Telephone", "algorithm": "ed25519",
            "public_key": URL_SAFE_NO_PAD.encode(self.0.public_key()), "signature": self.sign("claim", code),
        });
        world.post(&world.anybody(), CLAIM, &body)
    }

    fn finish(&self, world: &World, claim: &str, pin: &Value) -> Reply {
        let body = json!({"claim": claim, "pin": pin, "signature": self.sign("finish", claim)});
        world.post(&world.anybody(), FINISH, &body)
    }

    fn unlock(&self, world: &mut World, device_id: &Value, pin: &Value) -> Reply {
        let asked = world
            .anybody()
            .post("/api/v1/auth/device/challenge", &json!({"device_id": device_id}));
        let challenge = asked.accepted()["challenge"].as_str().unwrap().to_owned();
        let challenge = world.planted.secret("challenge of a device", &challenge);
        let body = json!({
            "device_id": device_id, "challenge": challenge, "pin": pin, "signature": self.sign("unlock", &challenge),
        });
        world.post(&world.anybody(), UNLOCK, &body)
    }
}

/// Digits enough to be found nowhere by chance.
fn pin(world: &mut World) -> String {
    let pin = format!("{:012}", Uuid::new_v4().as_u128() % 1_000_000_000_000);
    world.planted.secret("PIN", &pin)
}

pub fn use_all(world: &mut World) {
    let member_id = world.place("teen");
    let device = Device(Ed25519KeyPair::generate().unwrap());
    let path = format!("{}/members/{member_id}/pairing", world.family.path());
    let started = world.parent().client.post(&path, &json!({})).accepted();
    let [secret, _typed] = ["secret", "code"].map(|name| {
        let text = started[name].as_str().unwrap();
        world.planted.secret("code of a pairing", text)
    });
    for wrong in [altered(&secret), secret[..9].to_owned(), secret.repeat(3)] {
        let wrong = world.planted.secret("code of a pairing", &wrong);
        let reply = device.claim(world, &wrong);
        world.planted.wrong("code of a pairing", &reply, 404);
    }
    let reply = device.claim(world, &secret);
    let claimed = world.planted.right("code of a pairing", &reply);
    let claim = world
        .planted
        .secret("claim of a pairing", claimed["claim"].as_str().unwrap());
    let reply = device.claim(world, &secret);
    world.planted.wrong("code of a pairing", &reply, 404);

    let pairing = started["pairing_id"].as_str().unwrap();
    let confirm = format!("/api/v1/auth/pairings/{pairing}/confirm");
    let confirmed = world
        .parent()
        .client
        .post(&confirm, &json!({"match_code": claimed["match_code"]}));
    assert_eq!(confirmed.status, 204, "{}", confirmed.text());
    let device_id = finish(world, &device, &claim);
    let unknown = world.planted.secret("claim of a pairing", &altered(&claim));
    for used in [claim, unknown] {
        let pin = pin(world);
        let reply = device.finish(world, &used, &json!(pin));
        world.planted.wrong("claim of a pairing", &reply, 404);
    }
    let (device_id, right) = device_id;
    for _ in 0..2 {
        let wrong = pin(world);
        let reply = device.unlock(world, &device_id, &json!(wrong));
        world.planted.wrong("PIN", &reply, 401);
    }
    let number: u64 = right.parse().unwrap();
    let reply = device.unlock(world, &device_id, &json!(number));
    world.planted.wrong("PIN", &reply, 400);
    let reply = device.unlock(world, &device_id, &json!(right.repeat(3)));
    world.planted.wrong("PIN", &reply, 400);
    let reply = device.unlock(world, &device_id, &json!(right));
    let tokens = world.planted.right("PIN", &reply);
    world.signed_in(&tokens);
}

/// Sets the PIN, after some that are none; gives the device and its PIN.
fn finish(world: &mut World, device: &Device, claim: &str) -> (Value, String) {
    let right = pin(world);
    for malformed in [format!("{right}a"), right.repeat(2), "444444444444".to_owned()] {
        let malformed = world.planted.secret("PIN", &malformed);
        let reply = device.finish(world, claim, &json!(malformed));
        world.planted.wrong("PIN", &reply, 422);
    }
    let reply = device.finish(world, claim, &json!(right.parse::<u64>().unwrap()));
    world.planted.wrong("PIN", &reply, 400);
    let reply = device.finish(world, claim, &json!(right));
    let finished = world.planted.right("PIN", &reply);
    world.planted.right("claim of a pairing", &reply);
    world.signed_in(&finished["tokens"]);
    (finished["device_id"].clone(), right)
}
