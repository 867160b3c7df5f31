//! Every answer that one member of a family can get, as far as requests can be thought of.

use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    history::{Told, eur},
    world::{Answer, World},
};
use query_api::views::VIEWS;

/// Most pages that are followed in one list.
const PAGES_MAX: usize = 60;

/// What is asked by reading, the same in both worlds; `words` are what only one of them has heard of.
pub fn questions(told: &Told, words: &[String], seed: u64) -> Vec<String> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut views: Vec<String> = VIEWS.iter().map(|view| view.name.to_owned()).collect();
    for view in VIEWS.iter().filter(|view| view.by_day.is_some()) {
        views.push(format!(
            "{}?effective_on=2026-{:02}-17",
            view.name,
            random.random_range(8..12)
        ));
    }
    views.extend(entries(told, words, &mut random));
    for (from, to) in [
        ("2026-08-01", "2026-10-31"),
        ("2026-08-09", "2026-11-03"),
        ("2026-09-30", "2026-09-30"),
    ] {
        views.push(format!("spending?from={from}&to={to}"));
        views.push(format!("spending?from={from}&to={to}&effective_on=2026-09-12"));
        views.push(format!("accounts?on={to}"));
        views.push(format!("budgets?on={from}"));
        views.push(format!("budgets?on={to}&effective_on=2026-10-15"));
    }
    for months in [1, 6, 24] {
        views.push(format!("trend?months={months}&to=2026-11-30"));
        views.push(format!("trend?months={months}&to=2026-10-30&effective_on=2026-10-11"));
    }
    for period in ["week", "month", "all"] {
        views.push(format!("leaderboard?period={period}&on=2026-11-20"));
        views.push(format!("leaderboard?period={period}&effective_on=2026-11-01"));
    }
    for status in ["all", "open", "offered", "claimed", "completed", "approved"] {
        views.push(format!("chores?status={status}&limit=200"));
    }
    for list in [
        "notifications?unread=true",
        "notifications?unread=false",
        "chores?status=all",
        "spending-requests?status=all",
        "badges?",
        "imports?",
    ] {
        views.push(format!("{list}&limit=2"));
    }
    // Of the past: each view, each at another moment.
    for view in VIEWS {
        let seq = random.random_range(told.events / 4..=told.events);
        views.push(format!("as-of/{}?family_seq={seq}", view.name));
    }
    let seq = told.events - 2;
    views.push(format!("as-of/entries?family_seq={seq}&limit=3&text={}", words[0]));
    views.push(format!(
        "as-of/spending?family_seq={seq}&from=2026-08-01&to=2026-11-19&effective_on=2026-10-05"
    ));
    views.push(format!("as-of/accounts?family_seq={}", told.events + 1_000_000));
    for audit in [
        "events?limit=5",
        "as-of",
        "verify",
        "export?format=ndjson",
        "export?format=beancount",
        "export?format=hledger",
        "pack",
        "checkpoint",
        "proof/head",
        "proof/inclusion",
    ] {
        views.push(format!("audit/{audit}"));
    }
    // What is kept about each of them, also as a page.
    for person in &told.home.people {
        views.push(format!("members/{}/export", person.member));
    }
    views.push(format!("members/{}/export?format=html", told.seer.member));
    // Receipts, of others' commands and of one's own.
    for number in (1..=told.home.keys()).step_by(7) {
        views.push(format!("commands/{}", told.home.key_of(number)));
    }
    let mut paths: Vec<String> = views.iter().map(|view| told.home.path(view)).collect();
    paths.push("/api/v1/families".to_owned());
    paths.push("/api/v1/auth/export".to_owned());
    paths
}

fn entries(told: &Told, words: &[String], random: &mut StdRng) -> Vec<String> {
    let mut asked = vec![
        "entries?limit=1".to_owned(),
        "entries?limit=7".to_owned(),
        "entries?limit=200".to_owned(),
    ];
    let nobodys = [format!("acc_{}", Uuid::nil())];
    for account in told.accounts.iter().chain(&nobodys) {
        asked.push(format!("entries?account_id={account}&limit=5"));
    }
    for category in &told.categories {
        asked.push(format!("entries?category_id={category}&limit=6"));
    }
    for person in &told.home.people {
        asked.push(format!("entries?member_id={}&limit=200", person.member));
    }
    for word in words.iter().map(String::as_str).chain(["Bakery", "harb", "a", ""]) {
        asked.push(format!("entries?text={word}&limit=200"));
    }
    for _ in 0..12 {
        let (least, more) = (random.random_range(0..4_000), random.random_range(0..3_000));
        let mut query = format!(
            "entries?min_amount={}.{:02}&max_amount={}&limit=200",
            least / 100,
            least % 100,
            (least + more) / 100 + 1
        );
        if random.random_bool(0.5) {
            query += &format!("&account_id={}", told.accounts.choose(random).unwrap());
        }
        if random.random_bool(0.5) {
            query += &format!("&category_id={}", told.categories.choose(random).unwrap());
        }
        if random.random_bool(0.3) {
            query += &format!(
                "&from=2026-09-{:02}&to=2026-10-{:02}",
                random.random_range(1..30),
                random.random_range(1..30)
            );
        }
        if random.random_bool(0.3) {
            query += &format!("&member_id={}", told.home.people.choose(random).unwrap().member);
        }
        asked.push(query);
    }
    asked
}

/// Asks for all of them as the seer, or as somebody else. A list is followed to its last page, and an answer is asked for again
/// with its tag.
pub async fn ask(world: &World, by: domain::id::UserId, paths: &[String]) -> Vec<(String, Answer)> {
    let mut answers = Vec::new();
    for path in paths {
        let mut path = path.clone();
        for _ in 0..PAGES_MAX {
            let answer = world.get(by, &path).await;
            let next = serde_json::from_slice::<Value>(&answer.body)
                .ok()
                .and_then(|body| Some(body.get("next")?.as_str()?.to_owned()));
            if let Some(etag) = answer.headers.get("etag").filter(|_| answers.len() % 5 == 0) {
                answers.push((format!("{path} again"), world.get_if_new(by, &path, etag).await));
            }
            let base = path.split("&after=").next().unwrap().to_owned();
            answers.push((path, answer));
            match next.filter(|_| base.contains('?')) {
                Some(next) => path = format!("{base}&after={next}"),
                None => break,
            }
        }
    }
    answers
}

/// What the seer may try on things that are hidden from them, and on some that are not: what each is answered with.
/// `booked` are entries of bank rows, and `files` what was uploaded to hidden accounts, in either world.
pub async fn attempts(
    world: &World,
    told: &mut Told,
    words: &[String],
    (booked, files): (&[String], &[String]),
) -> Vec<(String, Answer)> {
    let mut asked: Vec<(&str, Value)> = Vec::new();
    let seer = told.seer;
    let seen = (0..told.accounts.len())
        .find(|number| !told.hidden.contains(number))
        .unwrap();
    let seen = told.accounts[seen].clone();
    let nobodys = format!("acc_{}", Uuid::nil());
    let mut hidden: Vec<String> = told
        .hidden
        .iter()
        .map(|number| told.accounts[*number].clone())
        .collect();
    hidden.push(nobodys);
    let category = told.categories[0].clone();
    for account in &hidden {
        let account_id: domain::id::AccountId = account.parse().unwrap();
        let rows = json!([{"booked_on": "2026-08-01", "amount": eur(-1)}]);
        asked.extend([
            ("add-expense", json!({"account_id": account, "money": eur(1), "category_id": category})),
            ("add-expense", json!({"account_id": account, "money": eur(99_999_999), "category_id": category})),
            ("add-income", json!({"account_id": account, "money": eur(1), "category_id": told.categories[4]})),
            ("transfer", json!({"from": account, "to": seen, "money": eur(99_999_999)})),
            ("transfer", json!({"from": seen, "to": account, "money": eur(1)})),
            ("close-account", json!({"account_id": account})),
            ("connect-bank", json!({"account_id": account})),
            ("share-account", json!({"account_id": account, "member_id": seer.member, "level": "full"})),
            ("offer-chore", json!({"title": "Tidy up", "reward": {"money": eur(1), "pay_from": account}})),
            (
                "sync-bank",
                json!({"connection_id": domain::id::ConnectionId::of_account(account_id), "statement": {"currency": "EUR", "rows": rows}}),
            ),
        ]);
    }
    for entry in told.entries.iter().step_by(2).chain(booked) {
        asked.push((
            "recategorise-entry",
            json!({"entry_id": entry, "to": told.categories[1]}),
        ));
        asked.push(("reverse-entry", json!({"entry_id": entry})));
    }
    for import in &told.imports {
        asked.push(("undo-import", json!({"import_id": import})));
    }
    for chore in &told.chores {
        asked.push(("complete-chore", json!({"chore_id": chore})));
        asked.push(("approve-chore", json!({"chore_id": chore})));
    }
    for request in &told.requests {
        let body = json!({"member_id": told.asker.member, "request_id": request});
        asked.push(("approve-spending", body.clone()));
        asked.push(("decline-spending", body));
        asked.push(("cancel-spending-request", json!({"request_id": request})));
    }
    asked.push(("remove-spending-limit", json!({"member_id": told.asker.member})));
    for word in words.iter().take(4) {
        asked.push((
            "open-account",
            json!({"name": format!("{word} Savings"), "kind": "bank"}),
        ));
        asked.push(("add-category", json!({"name": word, "kind": "expense"})));
    }
    asked.push(("mark-notifications-read", json!({"up_to_family_seq": told.events - 1})));
    let mut answers = Vec::new();
    for (name, body) in asked {
        let answer = world.command(&mut told.home, seer.user, name, &body).await;
        answers.push((format!("{name} {body}"), answer));
    }
    answers.extend(uploads(world, told, files, (&hidden, &seen)).await);
    answers
}

/// Files for accounts that are hidden, for one that nobody has, and for one that is seen: sound ones, those that were uploaded to
/// hidden accounts before, and such as are refused. What was booked is taken back.
async fn uploads(
    world: &World,
    told: &mut Told,
    files: &[String],
    (hidden, seen): (&[String], &String),
) -> Vec<(String, Answer)> {
    let own = "Date,Payee,Memo,Amount\n2026-08-03,Bakery,rolls,-1.25\n2026-08-04,Library,fine,-0.50\n";
    let wrong = [
        "",
        "Date,Payee,Memo,Amount\n2026-08-03,Bakery,rolls,many\n",
        "Date,Payee,Memo,Amount,Balance\n2026-08-03,Bakery,rolls,-1.25,10.00\n2026-08-04,Bakery,rolls,-1.25,10.00\n",
        "Date,Payee,Memo,Amount,Currency\n2026-08-03,Bakery,rolls,-1.25,USD\n",
    ];
    let all: Vec<&str> = [own]
        .into_iter()
        .chain(wrong)
        .chain(files.iter().map(String::as_str))
        .collect();
    let mut answers = Vec::new();
    for account in hidden.iter().chain([seen]) {
        for (number, file) in all.iter().enumerate() {
            let answer = world.upload(&mut told.home, told.seer.user, account, file).await;
            let import = answer.status.is_success().then(|| answer.json()["import_id"].clone());
            answers.push((format!("imports?account_id={account} file {number}"), answer));
            if let Some(import) = import {
                let body = json!({"import_id": import});
                let undone = world
                    .command(&mut told.home, told.seer.user, "undo-import", &body)
                    .await;
                answers.push((format!("undo-import {body}"), undone));
            }
        }
    }
    answers
}
