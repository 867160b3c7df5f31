//! Secrets are for whom they were given to: every kind there is is used, rightly and wrongly, on an installation that logs all it can,
//! and then looked for in whatever it logged, answered, exported and stored.

mod accounts;
mod devices;
mod factors;
mod misplaced;
mod places;
mod planted;
mod programs;
mod servers;
mod world;

use std::time::Duration;

use serde_json::json;

use self::{
    places::everything,
    servers::{Echoing, Provider},
    world::{World, number},
};
use crate::support::wait_until;

const WITHIN: Duration = Duration::from_secs(30);

/// Kinds of secrets that people and programs show, and that somebody may show wrongly.
const SHOWN: [&str; 17] = [
    "API key",
    "PIN",
    "TOTP code",
    "access token",
    "challenge of a second step",
    "claim of a pairing",
    "code of a pairing",
    "code of a provider",
    "code of an operator",
    "device token",
    "invitation code",
    "mail token",
    "password",
    "phone code",
    "recovery code",
    "refresh token",
    "state of a sign-in",
];

#[test]
fn no_secret_is_in_a_log_an_error_a_trail_an_export_a_figure_or_the_database() {
    let mut world = World::start();
    accounts::use_all(&mut world);
    factors::use_all(&mut world);
    devices::use_all(&mut world);
    programs::use_all(&mut world);
    world.planted.assert_each_was_used(&SHOWN);
    // The servers that we speak to were shown what is set up for them.
    assert!(world.mail_server.was_told_the_password(&world.settings.smtp_password));
    assert!(world.provider.was_told(&world.settings.client_secret));
    let asked = misplaced::everywhere(&mut world);

    let places = everything(&mut world);
    // What is looked through is what should be: there is an address where addresses are kept, and the log is as long as it can be.
    for (name, text) in [
        ("dump", "refresh_tokens"),
        ("log", "command handled"),
        ("metrics", "kinledger_"),
    ] {
        let (_, bytes) = places.iter().find(|(place, _)| place == name).unwrap();
        assert!(String::from_utf8_lossy(bytes).contains(text), "{name}");
    }
    let seen = world.planted.seen(&places);
    assert!(seen.is_empty(), "{seen:#?}");
    println!(
        "{} secrets of {} kinds, {} of them in {asked} requests they do not belong into; none in {} places of {} bytes",
        world.planted.count(),
        world.planted.kinds(),
        misplaced::kinds().len(),
        places.len(),
        places.iter().map(|(_, bytes)| bytes.len()).sum::<usize>(),
    );
}

#[test]
fn what_a_server_repeats_in_its_refusal_is_in_no_log() {
    let servers = Echoing::start();
    let mut world = World::start_with(servers.settings(), Provider::start());
    let ada = world.register("ada");
    // The letter was refused, and so it was read.
    let token = servers.letter(&ada.email);
    let verified = ada.client.post("/api/v1/auth/verify-email", &json!({"token": token}));
    world.planted.right("mail token", &verified);
    let number = number();
    let asked = world.put(&ada.client, "/api/v1/auth/profile/phone", &json!({"number": number}));
    assert_eq!(asked.status, 202, "{}", asked.text());
    let wrong = world.sign_in_by_provider("bad");
    assert_eq!(wrong.status, 401, "{}", wrong.text());
    world.planted.refusal("a code of a provider", wrong.body);
    // Each has refused, and said everything that it was sent: the password, the letter, the message.
    assert!(wait_until(WITHIN, || servers.has_refused_all()));
    let is_told = || {
        let log = world.kinledger.logged();
        log.matches("a message cannot be sent").count() >= 3 && log.contains("a sign-in was not confirmed")
    };
    assert!(wait_until(WITHIN, is_told), "{}", world.kinledger.logged());

    for (kind, text) in servers.repeated().into_iter().filter(|(_, text)| !text.is_empty()) {
        world.planted.secret(kind, &text);
    }
    world.planted.secret("phone number", &number);
    let mut places = world.planted.refusals();
    places.extend([
        ("log".to_owned(), world.kinledger.logged().into_bytes()),
        ("printed".to_owned(), world.kinledger.printed().join("\n").into_bytes()),
    ]);
    let seen = world.planted.seen(&places);
    assert!(seen.is_empty(), "{seen:#?}");
    println!("{} texts that servers repeated, none in the log", world.planted.count());
}
