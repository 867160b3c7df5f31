//! Three processes of the projectors share the lanes, and are killed, stopped, frozen and joined at random under load.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use rand::{Rng, seq::IndexedRandom};

use crate::{
    chance,
    fleet::Fleet,
    load::{Ledger, under_load},
    oracle::nothing_is_lost_doubled_or_out_of_order,
    servers::Database,
    support::{pause, wait_until},
    times, verdict,
};

const SOON: Duration = Duration::from_secs(60);
/// A stalled process loses its lanes after three seconds; one that comes has its share within about two.
const SHARED_WITHIN: Duration = Duration::from_secs(20);
const LANES: f64 = 8.0;

#[test]
fn processes_that_come_and_go_share_the_lanes_and_fold_every_event_once() {
    let (mut random, seed) = chance();
    let database = Database::shared();
    let mut fleet = Fleet::new(&database.url());
    let mut members: BTreeSet<String> = (1..=3).map(|number| format!("projectors-{number}")).collect();
    fleet.start_all(&["command-api", "query-api"]);
    members.iter().for_each(|name| fleet.launch(name));
    let ledgers = [
        Ledger::found(&fleet, "The Jardims"),
        Ledger::found(&fleet, "The Leites"),
    ];
    let steps = times(10, 100);
    let mut order = random.clone();
    let ((slowest, kills), histories) = under_load(&ledgers, 3, &mut random, |progress| {
        let mut slowest = are_shared(&fleet, &members);
        let (mut kills, mut joined) = (0, 3);
        for _ in 0..steps {
            let names: Vec<String> = members.iter().cloned().collect();
            let name = names.choose(&mut order).unwrap().clone();
            match order.random_range(0..4) {
                0 if members.len() > 1 => {
                    fleet.kill(&name);
                    kills += 1;
                    members.remove(&name);
                }
                1 if members.len() > 1 => {
                    assert_eq!(fleet.stop(&name), Some(0), "{name}");
                    members.remove(&name);
                }
                2 if members.len() > 1 => {
                    fleet.freeze(&name, true);
                    members.remove(&name);
                    slowest = slowest.max(are_shared(&fleet, &members));
                    progress.wait_for_accepted(5, SOON);
                    fleet.freeze(&name, false);
                    members.insert(name);
                }
                _ if members.len() < 4 => {
                    joined += 1;
                    let new = format!("projectors-{joined}");
                    fleet.launch(&new);
                    members.insert(new);
                }
                _ => {}
            }
            slowest = slowest.max(are_shared(&fleet, &members));
            progress.wait_for_accepted(5, SOON);
        }
        (slowest, kills)
    });
    let report = nothing_is_lost_doubled_or_out_of_order(&database.url(), &ledgers, &histories);
    verdict(
        "sharing",
        &report,
        &format!("steps={steps} kills={kills}"),
        slowest,
        seed,
    );
}

/// Waits until these processes have all lanes, and shares differ by one at most; says how long that took.
#[track_caller]
fn are_shared(fleet: &Fleet, members: &BTreeSet<String>) -> Duration {
    let began = Instant::now();
    let shares = || -> Vec<f64> {
        members
            .iter()
            .map(|name| match fleet.readiness(name) {
                Some((200, _)) => fleet.metric(name, "kinledger_projector_lanes"),
                _ => f64::NAN,
            })
            .collect()
    };
    let is_even = || {
        let shares = shares();
        let (least, most) = (
            shares.iter().copied().fold(LANES, f64::min),
            shares.iter().copied().fold(0.0, f64::max),
        );
        shares.iter().sum::<f64>() == LANES && most - least <= 1.0
    };
    // Twice, for a share may be on its way.
    let are = || {
        is_even() && {
            pause(Duration::from_millis(100));
            is_even()
        }
    };
    assert!(wait_until(SHARED_WITHIN, are), "{members:?} have {:?}", shares());
    began.elapsed()
}
