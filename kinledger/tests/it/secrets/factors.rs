//! Authenticator apps, recovery codes and telephones.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use serde_json::{Value, json};

use super::world::{Account, World, altered, number};
use crate::support::{Reply, pause};

const SECOND_STEP: &str = "/api/v1/auth/login/factor";
const TOTP: &str = "/api/v1/auth/factors/totp";
const STEP_SECONDS: u64 = 30;

pub fn use_all(world: &mut World) {
    let gina = world.verified("gina");
    let recovery_codes = app(world, &gina);
    recovery(world, &gina, &recovery_codes);
    telephone(world);
}

/// What an authenticator app shows (RFC 6238).
struct App {
    seed: Vec<u8>,
}

impl App {
    /// Reads a seed in base32 (RFC 4648 §6).
    fn scan(text: &str) -> Self {
        let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        let bits: String = text
            .chars()
            .map(|c| format!("{:05b}", alphabet.find(c).unwrap()))
            .collect();
        let bytes = bits
            .as_bytes()
            .chunks_exact(8)
            .map(|byte| std::str::from_utf8(byte).unwrap());
        Self {
            seed: bytes.map(|byte| u8::from_str_radix(byte, 2).unwrap()).collect(),
        }
    }

    fn code(&self, steps_ago: u64) -> String {
        let step = seconds() / STEP_SECONDS - steps_ago;
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &self.seed);
        let tag = hmac::sign(&key, &step.to_be_bytes());
        let tag = tag.as_ref();
        let at = usize::from(tag[19] & 15);
        let number = u32::from_be_bytes(tag[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
        format!("{:06}", number % 1_000_000)
    }

    /// One that it shows at no time near.
    fn wrong_code(&self) -> String {
        let shown: Vec<String> = (0..5).map(|ago| self.code(ago)).collect();
        // Nothing else that is logged or stored is a number like these.
        let other = (739_151..)
            .map(|number: u32| number.to_string())
            .find(|code| !shown.contains(code));
        other.unwrap()
    }
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A code of a step before counts until the next one ends; so there is time to use one, and then that of now.
fn early_in_a_step() {
    while !(3..12).contains(&(seconds() % STEP_SECONDS)) {
        pause(Duration::from_millis(200));
    }
}

/// Adds an app, signs in by it; gives the recovery codes.
fn app(world: &mut World, gina: &Account) -> Vec<String> {
    let begun = gina.client.post(TOTP, &json!({})).accepted();
    let seed = world.planted.secret("TOTP seed", begun["secret"].as_str().unwrap());
    let phone = App::scan(&seed);
    world.planted.secret("TOTP seed", &hex::encode(&phone.seed));
    world
        .planted
        .secret("TOTP seed", begun["otpauth_uri"].as_str().unwrap());
    early_in_a_step();
    let confirm = format!("{TOTP}/confirm");
    let wrong = world.planted.secret("TOTP code", &phone.wrong_code());
    for malformed in [wrong.clone(), "12xy56".to_owned(), wrong.repeat(5)] {
        let malformed = world.planted.secret("TOTP code", &malformed);
        let reply = world.post(&gina.client, &confirm, &json!({"code": malformed}));
        world.planted.wrong("TOTP code", &reply, 422);
    }
    let first = world.planted.secret("TOTP code", &phone.code(1));
    let reply = world.post(&gina.client, &confirm, &json!({"code": first}));
    let added = world.planted.right("TOTP code", &reply);
    let codes = recovery_codes(world, &added);

    let challenge = challenge(world, gina);
    for used in [&wrong, &first] {
        let reply = second_step(world, &challenge, &json!({"code": used}));
        world.planted.wrong("TOTP code", &reply, 401);
    }
    let unknown = world.planted.secret("challenge of a second step", &altered(&challenge));
    let now = world.planted.secret("TOTP code", &phone.code(0));
    let reply = second_step(world, &unknown, &json!({"code": now}));
    world.planted.wrong("challenge of a second step", &reply, 401);
    let reply = second_step(world, &challenge, &json!({"code": now}));
    let tokens = world.planted.right("TOTP code", &reply);
    world.planted.right("challenge of a second step", &reply);
    world.signed_in(&tokens);
    let reply = second_step(world, &challenge, &json!({"code": now}));
    world.planted.wrong("challenge of a second step", &reply, 401);
    codes
}

fn recovery_codes(world: &mut World, answer: &Value) -> Vec<String> {
    let codes = answer["recovery_codes"].as_array().unwrap();
    codes
        .iter()
        .map(|code| world.planted.secret("recovery code", code.as_str().unwrap()))
        .collect()
}

/// The right password, and what it is answered: a challenge, which that answer alone may hold.
fn challenge(world: &mut World, account: &Account) -> String {
    let reply = world.sign_in(&account.email, &account.password);
    assert_eq!((reply.status, reply.problem().as_str()), (401, "factor-required"));
    world.planted.secret(
        "challenge of a second step",
        reply.json()["challenge"].as_str().unwrap(),
    )
}

fn second_step(world: &World, challenge: &str, factor: &Value) -> Reply {
    world.post(
        &world.anybody(),
        SECOND_STEP,
        &json!({"challenge": challenge, "factor": factor}),
    )
}

fn recovery(world: &mut World, gina: &Account, codes: &[String]) {
    let first = challenge(world, gina);
    let wrong = world.planted.secret("recovery code", &altered(&codes[0]));
    let reply = second_step(world, &first, &json!({"recovery_code": wrong}));
    world.planted.wrong("recovery code", &reply, 401);
    let reply = second_step(world, &first, &json!({"recovery_code": codes[0].repeat(10)}));
    world.planted.wrong("recovery code", &reply, 400);
    // Two at once.
    let reply = second_step(world, &first, &json!({"recovery_code": codes[0], "code": "739150"}));
    world.planted.wrong("recovery code", &reply, 400);
    let reply = second_step(world, &first, &json!({"recovery_code": codes[0]}));
    let tokens = world.planted.right("recovery code", &reply);
    let (client, ..) = world.signed_in(&tokens);
    let next = challenge(world, gina);
    let reply = second_step(world, &next, &json!({"recovery_code": codes[0]}));
    world.planted.wrong("recovery code", &reply, 401);
    let step_up = world.post(
        &client,
        "/api/v1/auth/step-up",
        &json!({"factor": {"recovery_code": codes[1]}}),
    );
    let proven = world.planted.right("recovery code", &step_up);
    let proven = world
        .planted
        .secret("access token", proven["access_token"].as_str().unwrap());
    let renewed = client
        .with_token(&proven)
        .post("/api/v1/auth/factors/recovery-codes", &json!({}));
    let renewed = renewed.accepted();
    recovery_codes(world, &renewed);
    let reply = second_step(world, &next, &json!({"recovery_code": codes[2]}));
    world.planted.wrong("recovery code", &reply, 401);
}

fn telephone(world: &mut World) {
    let hugo = world.verified("hugo");
    let number = number();
    let reply = world.put(&hugo.client, "/api/v1/auth/profile/phone", &json!({"number": number}));
    let asked = reply.accepted();
    let code = world.telephones.wait_for(1).code();
    answer(world, &hugo, "/api/v1/auth/profile/phone/confirm", &asked, &code, 403);
    let asked = world.post(&world.anybody(), "/api/v1/auth/phone/start", &json!({"number": number}));
    let asked = asked.accepted();
    let code = world.telephones.wait_for(2).code();
    answer(world, &hugo, "/api/v1/auth/phone/finish", &asked, &code, 401);
}

/// Answers a message: wrongly, rightly, and once more.
fn answer(world: &mut World, account: &Account, path: &str, asked: &Value, code: &str, refused: u16) {
    let challenge = world
        .planted
        .secret("challenge of a phone", asked["challenge"].as_str().unwrap());
    let code = world.planted.secret("phone code", code);
    let wrong = world.planted.secret("phone code", &altered(&code));
    let other = world.planted.secret("challenge of a phone", &altered(&challenge));
    for (challenge, code) in [(&challenge, &wrong), (&other, &code)] {
        let reply = world.post(&account.client, path, &json!({"challenge": challenge, "code": code}));
        world.planted.wrong("phone code", &reply, refused);
    }
    let body = json!({"challenge": challenge, "code": code});
    let reply = world.post(&account.client, path, &body);
    let tokens = world.planted.right("phone code", &reply);
    if tokens.is_object() {
        world.signed_in(&tokens);
    }
    let reply = world.post(&account.client, path, &body);
    world.planted.wrong("phone code", &reply, refused);
}
