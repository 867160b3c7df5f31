//! Non-interference: what is hidden from a member changes no byte of any answer they can get.
//!
//! For every seed and every seer, one random history is told to two worlds that differ only in what is hidden from the seer
//! ([`super::history`]). Everything the seer can ask ([`super::answers`]) is then asked in both, before and after they have tried
//! their hand at what they may not: status, headers and bytes have to be the same.
//!
//! That the comparison can see is shown each time: the founder, who sees everything, gets different answers to the same
//! questions, and so does the seer once an account is shared with them.
//!
//! Every run has the families of seed 1, and two of a seed that is drawn and printed; `KINLEDGER_UNSEEN_FAMILIES=500
//! KINLEDGER_UNSEEN_SEED=7` asks for more of them, or for others.

use std::collections::BTreeSet;

use serde_json::json;

use super::{
    answers::{ask, attempts, questions},
    history::{SEERS, tell},
    world::{Answer, World},
};

/// Families when nothing is said: each seer once, and two whose history nobody has seen yet.
const FAMILIES: u64 = SEERS.len() as u64 + 2;
/// Families in one pair of worlds.
const AT_ONCE: u64 = 20;
/// Views that tell of money: for each, the founder's answers differ somewhere in a run.
const OF_MONEY: [&str; 12] = [
    "accounts",
    "account-shares",
    "bank-connections",
    "budgets",
    "commands",
    "dashboard",
    "entries",
    "imports",
    "member-export",
    "notifications",
    "spending",
    "trend",
];

#[tokio::test]
async fn what_is_hidden_from_a_member_changes_no_byte_of_what_they_can_get() {
    let number = |name: &str, otherwise: u64| {
        std::env::var(name)
            .ok()
            .and_then(|n| n.parse().ok())
            .unwrap_or(otherwise)
    };
    let families = number("KINLEDGER_UNSEEN_FAMILIES", FAMILIES);
    let drawn = number("KINLEDGER_UNSEEN_SEED", rand::random::<u32>().into());
    println!("KINLEDGER_UNSEEN_SEED={drawn}");
    let (mut compared, mut shown) = (0, BTreeSet::new());
    for begin in (0..families).step_by(usize::try_from(AT_ONCE).unwrap()) {
        let (mut one, mut other) = (World::start().await, World::start().await);
        for number in begin..families.min(begin + AT_ONCE) {
            let of_seed_1 = number < SEERS.len() as u64;
            let turn = if of_seed_1 { number } else { drawn + number };
            let seer = SEERS[usize::try_from(turn).unwrap() % SEERS.len()];
            let seed = if of_seed_1 { 1 } else { 2 + turn / SEERS.len() as u64 };
            compared += compare(&mut one, &mut other, seed, seer, &mut shown).await;
        }
        one.stop().await;
        other.stop().await;
    }
    println!("{families} families of seed 1 and from {drawn} on: {compared} answers compared, 0 differ");
    assert!(compared >= families * 300, "{compared}");
    for view in OF_MONEY {
        assert!(
            shown.contains(view),
            "nothing that was hidden is in {view}: the comparison is blind to it"
        );
    }
}

/// One family in two worlds; how many answers were the same.
async fn compare(one: &mut World, other: &mut World, seed: u64, seer: usize, shown: &mut BTreeSet<String>) -> u64 {
    let what = format!("seed {seed}, seer {seer}");
    let mut left = tell(one, seed, seer, 1).await;
    let mut right = tell(other, seed, seer, 2).await;
    assert_eq!(
        (left.events, &left.accounts, &left.entries),
        (right.events, &right.accounts, &right.entries),
        "{what}: not one history"
    );
    assert_ne!(left.secrets, right.secrets);
    let words: Vec<String> = [&left.secrets, &right.secrets]
        .into_iter()
        .flat_map(|words| words.iter().step_by(9).cloned())
        .collect();

    let mut compared = 0;
    let paths = questions(&left, &words, seed);
    let both = both(one, other, left.seer.user, &paths).await;
    compared += same(&what, &both.0, &both.1);
    for answer in both.0.iter().chain(&both.1) {
        let text = String::from_utf8_lossy(&answer.1.body);
        let told = left
            .secrets
            .iter()
            .chain(&right.secrets)
            .find(|secret| text.contains(secret.as_str()) && !answer.0.contains(secret.as_str()));
        assert_eq!(told, None, "{what}: {} tells a secret", answer.0);
    }

    // Nothing seals these worlds, so what waits for a seal is only asked by whom it is refused.
    let is_sealed = |path: &&String| {
        ["/audit/pack", "/audit/checkpoint", "/audit/proof"]
            .iter()
            .any(|part| path.contains(part))
    };
    let unsealed: Vec<String> = paths.iter().filter(|path| !is_sealed(path)).cloned().collect();
    let founder = self::both(one, other, left.founder.user, &unsealed).await;
    let differ: Vec<&str> = differing(&founder.0, &founder.1).map(|(path, ..)| path).collect();
    assert!(
        differ.len() > 20,
        "{what}: the founder is told the difference {} times",
        differ.len()
    );
    shown.extend(differ.iter().filter_map(|path| view_of(path)));

    let booked: Vec<String> = left.booked.iter().chain(&right.booked).cloned().collect();
    let files: Vec<String> = left.files.iter().chain(&right.files).cloned().collect();
    let tried = (
        attempts(one, &mut left, &words, (&booked, &files)).await,
        attempts(other, &mut right, &words, (&booked, &files)).await,
    );
    compared += same(&what, &tried.0, &tried.1);
    let again: Vec<String> = paths
        .iter()
        .filter(|path| !path.contains("/as-of/"))
        .step_by(3)
        .cloned()
        .collect();
    let after = self::both(one, other, left.seer.user, &again).await;
    compared += same(&what, &after.0, &after.1);

    // Given sight of one account, the same comparison sees.
    let opened = if left.seer.role.is_young() { 1 } else { 2 };
    for (world, told) in [(&*one, &mut left), (&*other, &mut right)] {
        let body = json!({"account_id": told.accounts[opened], "member_id": told.seer.member, "level": "view"});
        world
            .accepted(&mut told.home, told.founder.user, "share-account", &body)
            .await;
    }
    let sighted = self::both(one, other, left.seer.user, &again).await;
    assert!(
        differing(&sighted.0, &sighted.1).count() > 3,
        "{what}: with sight of an account nothing differs"
    );
    compared
}

type Answers = Vec<(String, Answer)>;

async fn both(one: &mut World, other: &mut World, by: domain::id::UserId, paths: &[String]) -> (Answers, Answers) {
    one.project().await;
    other.project().await;
    (ask(one, by, paths).await, ask(other, by, paths).await)
}

fn differing<'a>(
    one: &'a Answers,
    other: &'a Answers,
) -> impl Iterator<Item = (&'a str, &'a Answer, Option<&'a Answer>)> {
    one.iter().enumerate().filter_map(|(index, (path, answer))| {
        let counterpart = other.get(index);
        let is_same = counterpart.is_some_and(|(asked, given)| asked == path && given == answer);
        (!is_same).then_some((path.as_str(), answer, counterpart.map(|(_, given)| given)))
    })
}

/// The answers are the same; how many there are.
fn same(what: &str, one: &Answers, other: &Answers) -> u64 {
    if let Some((path, left, right)) = differing(one, other).next() {
        let right = right.map_or_else(|| "nothing".to_owned(), ToString::to_string);
        panic!("{what}: {path}\n  in one world: {left}\nin the other: {right}");
    }
    assert_eq!(one.len(), other.len(), "{what}");
    one.len() as u64
}

/// The view or route that a path asks.
fn view_of(path: &str) -> Option<String> {
    let rest = path.split("/families/").nth(1)?.split_once('/')?.1;
    if rest.starts_with("members/") && rest.contains("/export") {
        return Some("member-export".to_owned());
    }
    Some(rest.split(['?', '/', ' ']).next()?.to_owned())
}
