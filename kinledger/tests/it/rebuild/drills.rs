//! kill -9 of a rebuild, and Ctrl-C, at any moment.

use std::{process::Stdio, time::Duration};

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{Lived, rebuild, rows_are_those_of_the_log};
use crate::support::{Kinledger, pause, program, signal, wait_until};

const KILLS: usize = 12;

/// The first rebuild lasts this long; others are killed within about that time.
fn lasts(kinledger: &Kinledger) -> Duration {
    let began = std::time::Instant::now();
    assert_eq!(rebuild(kinledger, &[]).0, Some(0));
    began.elapsed()
}

#[test]
fn a_rebuild_killed_at_any_moment_leaves_the_old_rows_answering_and_the_next_one_succeeds() {
    let seed = std::env::var("KINLEDGER_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(rand::random::<u64>);
    println!("KINLEDGER_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let kinledger = Kinledger::start();
    let lived = Lived::found(&kinledger, "The Novaks", 2_000);
    let family = &lived.family;
    let whole = lasts(&kinledger);
    let (mut killed, mut finished) = (0, 0);
    for round in 0..KILLS {
        let before = family.balance(&lived.cash);
        let mut command = program();
        command.args(["rebuild", "--data-dir"]).arg(kinledger.data_dir());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let after = random.random_range(0..whole.as_millis() as u64);
        let by = if round % 3 == 2 { "-INT" } else { "-KILL" };
        pause(Duration::from_millis(after));
        signal(by, child.id());
        assert!(
            wait_until(Duration::from_secs(60), || child.try_wait().unwrap().is_some()),
            "it does not end"
        );
        let is_done = child.wait().unwrap().success();
        if is_done {
            finished += 1
        } else {
            killed += 1
        }
        println!(
            "round {round}: {by} after {after} of {} ms, done: {is_done}",
            whole.as_millis()
        );
        // What was there is there, and what comes gets there.
        assert_eq!(family.balance(&lived.cash), before);
        let seq = lived.spend(&family.parent);
        assert!(family.view(&family.parent, "accounts")["family_seq"].as_i64().unwrap() >= seq);
        assert_eq!(family.balance(&lived.cash), before - rust_decimal::Decimal::new(1, 2));
        if round % 4 == 0 {
            rows_are_those_of_the_log(&kinledger);
        }
    }
    println!("{killed} broken off, {finished} were done before");
    assert!(killed >= KILLS / 2, "the kills came too late: {killed}");
    let (code, report, _) = rebuild(&kinledger, &[]);
    assert_eq!((code, &report["same"]), (Some(0), &true.into()), "{report}");
    rows_are_those_of_the_log(&kinledger);
    // Nothing is left of any of them.
    let (_, _, lines) = rebuild(&kinledger, &["budgets"]);
    assert_eq!(lines[0]["step"], "begun", "{lines:?}");
}
