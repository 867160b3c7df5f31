//! Thousands of requests that nobody should send: each is answered with what is wrong about it, and the service goes on.
//!
//! They go over a socket of their own, since a well-behaved client would refuse to send most of them. The seed is printed;
//! `KINLEDGER_SEED` repeats a run.

mod documents;
mod generate;
mod odd;
mod raw;

use std::{collections::BTreeMap, thread};

use rand::{SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use crate::{
    isolation::{furnish, routes},
    support::{Household, Kinledger, register},
};
use generate::Generator;
use odd::Odd;

/// Requests in all.
const REQUESTS: usize = 3_000;
const CLIENTS: usize = 4;

#[test]
fn whatever_is_sent_the_answer_is_a_problem_and_never_ours() {
    let seed = std::env::var("KINLEDGER_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(rand::random::<u64>);
    println!("KINLEDGER_SEED={seed}");
    let kinledger = Kinledger::start();
    let family = Household::found(&kinledger, "The Odds", "EUR");
    let ids = furnish(&family);
    let routes = routes(&kinledger);
    // Signing out succeeds now and then, so another session pays for it.
    let spare = register(&kinledger, "Spare");
    let address = family.parent.client.address();

    let odds: Vec<Odd> = {
        let mut generator = Generator::new(
            StdRng::seed_from_u64(seed),
            &ids,
            family.parent.client.token(),
            spare.client.token(),
        );
        let of_routes = (0..REQUESTS).map(|number| generator.odd(&routes[number % routes.len()]));
        let of_routes: Vec<Odd> = of_routes.collect();
        of_routes.into_iter().chain(generator.oversized()).collect()
    };
    a_name_that_is_no_command_is_said_before_what_is_missing(&address, &family);
    let share = odds.len().div_ceil(CLIENTS);
    let statuses: Vec<u16> = thread::scope(|scope| {
        let address = &address;
        let clients: Vec<_> = odds
            .chunks(share)
            .map(|odds| scope.spawn(move || odds.iter().map(|odd| answered(address, odd)).collect::<Vec<u16>>()))
            .collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });

    let mut counts: BTreeMap<u16, usize> = BTreeMap::new();
    statuses
        .iter()
        .for_each(|status| *counts.entry(*status).or_default() += 1);
    println!("{counts:?}");
    assert!(statuses.len() > 2_000);
    assert!(counts[&400] > 800, "most reach what they are aimed at: {counts:?}");
    assert_eq!(kinledger.client().get("/readyz").status, 200);
    family.accepted(
        &family.parent,
        "add-category",
        &json!({"name": "Still here", "kind": "expense"}),
    );
    assert_eq!(family.audit("verify")["verified"], true);
    let logged = kinledger.logged();
    assert!(!logged.contains("ERROR") && !logged.contains("panicked"), "{logged}");
}

/// The path of a command's outcome takes no command; a key for one would not help.
fn a_name_that_is_no_command_is_said_before_what_is_missing(address: &str, family: &Household) {
    let request = format!(
        "POST {} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {}\r\ncontent-length: 0\r\n\r\n",
        family.command_path("0"),
        family.parent.client.token()
    );
    let answer = raw::exchange(address, request.as_bytes()).unwrap();
    let problem: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(
        (answer.status, &problem["type"]),
        (404, &json!("/problems/unknown-command"))
    );
}

/// Sends one and judges the answer.
fn answered(address: &str, odd: &Odd) -> u16 {
    let answer = raw::exchange(address, &odd.bytes()).unwrap_or_else(|error| panic!("no answer ({error}) to {odd}"));
    let said = String::from_utf8_lossy(&answer.body);
    let is_well = (200..300).contains(&answer.status) || answer.status == 304;
    if !is_well {
        assert!(
            (400..500).contains(&answer.status),
            "{} to {odd}: {said}",
            answer.status
        );
        assert_eq!(
            answer.content_type, "application/problem+json",
            "{} to {odd}: {said}",
            answer.status
        );
        let problem: Value =
            serde_json::from_slice(&answer.body).unwrap_or_else(|_| panic!("no JSON to {odd}: {said}"));
        assert_eq!(problem["status"], answer.status, "{odd}");
        let is_told = ["type", "title", "detail"]
            .iter()
            .all(|name| problem[*name].as_str().is_some_and(|text| !text.is_empty()));
        assert!(is_told, "{odd}: {said}");
        assert!(
            said.len() < 4_000,
            "a problem is short, whatever was sent: {odd}: {}",
            said.len()
        );
    }
    answer.status
}
