//! Moments of a family's history as people ask for them: who may, which bounds there are, and where they end.

use serde_json::{Value, json};

use crate::support::{Household, Kinledger, Person, Reply};

/// Views that adults and auditors see, with parameters that do not hang on today.
const VIEWS: &[&str] = &[
    "account-shares",
    "accounts",
    "badges",
    "bank-connections",
    "budgets?on=2026-03-10",
    "categories",
    "chores?status=all",
    "dashboard",
    "entries?limit=200",
    "imports",
    "leaderboard?period=all",
    "members",
    "notifications",
    "spending?from=2024-01-01&to=2026-12-31",
    "spending-limits",
    "spending-requests?status=all",
    "trend?to=2026-03-31",
];

/// What a view said, with the number of the last event in it, and the answer's bytes.
struct Said {
    view: &'static str,
    family_seq: i64,
    body: Vec<u8>,
}

fn ask(family: &Household, person: &Person, view: &str) -> Reply {
    person.client.get(&format!("{}/{view}", family.path()))
}

fn as_of(family: &Household, person: &Person, view: &str, bound: &str) -> Reply {
    let separator = if view.contains('?') { '&' } else { '?' };
    ask(family, person, &format!("as-of/{view}{separator}{bound}"))
}

/// Every view as the parent sees it now.
fn now(family: &Household) -> Vec<Said> {
    let read = |view: &&'static str| {
        family.view(&family.parent, view);
        let reply = ask(family, &family.parent, view);
        Said {
            view,
            family_seq: reply.accepted()["family_seq"].as_i64().unwrap(),
            body: reply.body,
        }
    };
    VIEWS.iter().map(read).collect()
}

#[test]
fn every_view_says_again_what_it_said_then() {
    let kinledger = Kinledger::start();
    let family = Household::found(&kinledger, "The Nogueiras", "EUR");
    let mut said = now(&family);
    let account = family.open_account(
        &json!({"name": "Giro", "kind": "bank", "opening_balance": family.money("1000"), "effective_on": "2024-01-31"}),
    );
    let groceries = family.category("Groceries");
    let spend = |day: &str, sum: &str| {
        let body =
            json!({"account_id": account, "money": family.money(sum), "category_id": groceries, "effective_on": day});
        family.accepted(&family.parent, "add-expense", &body)
    };
    let leap = spend("2024-02-29", "29.00");
    said.extend(now(&family));
    family.accepted(
        &family.parent,
        "set-budget",
        &json!({"category_id": groceries, "amount": family.money("50"), "effective_on": "2026-03-01"}),
    );
    spend("2026-03-29", "3.29");
    said.extend(now(&family));
    let entry = leap["events"][0]["aggregate_id"].clone();
    family.accepted(
        &family.parent,
        "reverse-entry",
        &json!({"entry_id": entry, "effective_on": "2024-03-01", "reason": "returned"}),
    );
    said.extend(now(&family));
    family.accepted(&family.parent, "close-account", &json!({"account_id": account}));
    said.extend(now(&family));

    let events = family.events();
    let mut changed = 0;
    for then in &said {
        let by_number = as_of(
            &family,
            &family.parent,
            then.view,
            &format!("family_seq={}", then.family_seq),
        );
        assert_eq!(
            by_number.text(),
            String::from_utf8_lossy(&then.body),
            "{} as of {}",
            then.view,
            then.family_seq
        );
        let last = &events[usize::try_from(then.family_seq).unwrap() - 1];
        let recorded_at = last["recorded_at"].as_str().unwrap();
        let by_instant = as_of(
            &family,
            &family.parent,
            then.view,
            &format!("recorded_at={recorded_at}"),
        );
        assert_eq!(by_instant.text(), by_number.text(), "{} as of {recorded_at}", then.view);
        assert_eq!(by_instant.etag, by_number.etag, "an answer of the past never changes");
        changed += usize::from(ask(&family, &family.parent, then.view).body != then.body);
    }
    assert_eq!(said.len(), 5 * VIEWS.len());
    assert!(changed > 25, "the views have moved on since: {changed} differ");

    // The command line says the same bytes, with the same eyes.
    for then in said.iter().step_by(3) {
        let (view, query) = then.view.split_once('?').unwrap_or((then.view, ""));
        let seq = then.family_seq.to_string();
        let mut arguments = vec![
            "audit",
            "replay",
            "--family",
            &family.id,
            "--view",
            view,
            "--family-seq",
            &seq,
        ];
        arguments.extend(["--member", &family.parent.member_id, "--query", query]);
        let printed = kinledger.run(&arguments);
        assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
        assert_eq!(
            String::from_utf8_lossy(&printed.stdout).trim_end(),
            String::from_utf8_lossy(&then.body),
            "{view}"
        );
    }

    // Both bounds: as it was known before the reversal was recorded, and as it counts on either side of its day.
    let head = events.len();
    let balance = |bounds: &str| {
        let reply = as_of(&family, &family.parent, "accounts", bounds).accepted();
        reply["accounts"]
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["account_id"] == json!(account))
            .map(|one| one["balance"]["amount"].clone())
    };
    let before = head - 2;
    for (bounds, wanted) in [
        (format!("family_seq={before}&effective_on=2024-01-30"), "0.00"),
        (format!("family_seq={before}&effective_on=2024-02-29"), "971.00"),
        (format!("family_seq={before}&effective_on=2024-03-01"), "971.00"),
        (format!("family_seq={head}&effective_on=2024-02-29"), "971.00"),
        (format!("family_seq={head}&effective_on=2024-03-01"), "1000.00"),
        ("effective_on=2026-03-29".to_owned(), "996.71"),
    ] {
        assert_eq!(balance(&bounds), Some(json!(wanted)), "{bounds}");
    }
    for bound in [format!("family_seq={before}"), format!("family_seq={head}")] {
        let entries = as_of(&family, &family.parent, "entries?effective_on=2024-02-29", &bound).accepted();
        assert_eq!(entries["entries"][0]["is_reversed"], false, "{bound}");
    }
    dumps_are_whole(&kinledger, &family, head);
}

fn dumps_are_whole(kinledger: &Kinledger, family: &Household, head: usize) {
    let dump = |more: &[&str]| {
        let mut arguments = vec!["audit", "replay", "--family", &family.id, "--dump"];
        arguments.extend(more);
        let printed = kinledger.run(&arguments);
        assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
        printed.stdout
    };
    let whole = dump(&[]);
    let views_of = |dump: Vec<u8>| {
        let text = String::from_utf8(dump).unwrap();
        let lines = text.lines().filter(|line| line.starts_with(r#"{"view":"#));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(
        views_of(dump(&["--as-of-seq", &head.to_string()])),
        views_of(whole.clone())
    );
    let lines: Vec<Value> = String::from_utf8(whole.clone())
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let (mark, lines) = lines.split_last().unwrap();
    assert_eq!(
        (&mark["end"], &mark["lines"], &mark["family_seq"]),
        (&json!(true), &json!(lines.len()), &json!(head))
    );
    assert_eq!(mark["chain_hash"], family.audit("verify")["chain_hash"]);
    let views: Vec<&str> = lines.iter().filter_map(|line| line["view"].as_str()).collect();
    assert_eq!(views.len(), VIEWS.len(), "one page of each: {views:?}");
    assert_eq!(
        lines[lines.len() - 1]["book"]["balances"],
        family.audit("as-of")["balances"]
    );
    // Before the first event there is a book, with nothing in it, and no view.
    let nothing = String::from_utf8(dump(&["--family-seq", "0"])).unwrap();
    assert_eq!(nothing.lines().count(), 2, "{nothing}");

    let file = kinledger.folder().join("dump.ndjson");
    let check = |bytes: &[u8]| {
        std::fs::write(&file, bytes).unwrap();
        kinledger.run(&["audit", "check", file.to_str().unwrap()])
    };
    assert_eq!(check(&whole).status.code(), Some(0));
    for cut in [0, 1, whole.len() / 2, whole.len() - 1] {
        let said = check(&whole[..cut]);
        assert_eq!(said.status.code(), Some(1), "cut at {cut}");
        assert!(
            String::from_utf8_lossy(&said.stderr).contains("there is no end mark"),
            "{:?}",
            said.stderr
        );
    }
}

#[test]
fn the_role_one_has_now_decides_what_one_sees_of_the_past() {
    let kinledger = Kinledger::start();
    let family = Household::found(&kinledger, "The Pintos", "EUR");
    family.open_account(&json!({"name": "Adults", "kind": "bank", "opening_balance": family.money("5000")}));
    family.open_account(&json!({"name": "Pocket", "kind": "wallet", "owner": family.teen.member_id}));
    let head = family.events().len();
    let auditor = family.invite(&kinledger, "Auditor", "auditor");

    // Somebody who came later: an auditor sees all of the time before, a child nothing.
    let bound = format!("family_seq={head}");
    let audited = as_of(&family, &auditor, "accounts", &bound).accepted();
    assert_eq!(audited["accounts"].as_array().map(Vec::len), Some(2));
    let late = family.invite(&kinledger, "Late", "child");
    assert_eq!(
        as_of(&family, &late, "accounts", &bound).refused(),
        (404, "not-yet".to_owned())
    );
    assert_eq!(as_of(&family, &late, "accounts", "").accepted()["accounts"], json!([]));

    // A teen sees their own, then as now; and what a teen may not see at all, also not of the past.
    let own = as_of(&family, &family.teen, "accounts", &bound).accepted();
    assert_eq!(own["accounts"].as_array().map(Vec::len), Some(1));
    assert_eq!(as_of(&family, &family.teen, "budgets", &bound).refused().0, 403);

    // Who was a teen and is a partner now sees of the teen's time what a partner sees.
    family.accepted(
        &family.parent,
        "change-role",
        &json!({"member_id": family.teen.member_id, "role": "partner"}),
    );
    let grown_up = as_of(&family, &family.teen, "accounts", &bound).accepted();
    assert_eq!(grown_up["accounts"].as_array().map(Vec::len), Some(2));
    assert_eq!(as_of(&family, &family.teen, "imports", &bound).status, 200);

    let stranger = Household::found(&kinledger, "Strangers", "EUR");
    let refused = ask(&family, &stranger.parent, "as-of/accounts?family_seq=1").refused();
    assert_eq!(refused, (404, "unknown-family".to_owned()));
}

#[test]
fn in_the_middle_of_an_import_and_of_its_undoing_a_bank_has_said_of_earlier_days_what_it_said_before() {
    let kinledger = Kinledger::start();
    let family = Household::found(&kinledger, "The Matoses", "EUR");
    let account = family.open_account(&json!({"name": "Giro", "kind": "bank"}));
    let file = |days: std::ops::RangeInclusive<u8>| {
        let row = |day| format!("2025-03-{day:02},Shop,,-{day}.50\n");
        format!("Date,Payee,Memo,Amount\n{}", days.map(row).collect::<String>())
    };
    family.import(&account, file(1..=3).as_bytes()).accepted();
    let first = family.events().len();
    let later = family.import(&account, file(3..=6).as_bytes()).accepted();
    let undo = json!({"import_id": later["import_id"]});
    family.accepted(&family.parent, "undo-import", &undo);
    let head = family.events().len();
    assert!(head > first + 10, "several events each: {first} to {head}");
    for family_seq in first..=head {
        let bounds = format!("family_seq={family_seq}&effective_on=2025-03-02");
        let banks = as_of(&family, &family.parent, "bank-connections", &bounds).accepted();
        let bank = &banks["bank_connections"][0];
        assert_eq!(
            bank["bank_balance"],
            family.money("-4.00"),
            "as of {family_seq}: {bank}"
        );
    }
}

#[test]
fn bounds_end_where_the_ledger_does() {
    let kinledger = Kinledger::start();
    let family = Household::found(&kinledger, "The Limas", "EUR");
    let opening =
        json!({"name": "Cash", "kind": "cash", "opening_balance": family.money("10"), "effective_on": "2024-12-31"});
    let account = family.open_account(&opening);
    let events = family.events();
    let head = events.len();
    let parent = &family.parent;

    // Before the first event there is no family to look at.
    assert_eq!(
        as_of(&family, parent, "accounts", "family_seq=0").refused(),
        (404, "not-yet".to_owned())
    );
    let ages_ago = as_of(&family, parent, "accounts", "recorded_at=1999-12-31T23:59:59Z").refused();
    assert_eq!(ages_ago, (404, "not-yet".to_owned()));
    // Beyond the end there is nothing to be known yet; an instant to come is as good as now.
    let beyond = as_of(&family, parent, "accounts", &format!("family_seq={}", head + 1));
    assert_eq!(
        (beyond.refused().0, beyond.json()["family_seq"].clone()),
        (400, json!(head))
    );
    let some_day = as_of(&family, parent, "accounts", "recorded_at=2999-01-01T00:00:00Z").accepted();
    assert_eq!(some_day["family_seq"], json!(head));

    // In the middle of a command: opening the account is recorded, its opening balance is the next event.
    assert_eq!(events[head - 2]["command_id"], events[head - 1]["command_id"]);
    let middle = as_of(&family, parent, "accounts", &format!("family_seq={}", head - 1)).accepted();
    assert_eq!(middle["accounts"][0]["balance"], family.money("0.00"));
    // An instant never parts what was recorded together, and is exact to the microsecond.
    let recorded_at = events[head - 1]["recorded_at"].as_str().unwrap();
    assert_eq!(events[head - 2]["recorded_at"], events[head - 1]["recorded_at"]);
    let at = as_of(&family, parent, "accounts", &format!("recorded_at={recorded_at}")).accepted();
    assert_eq!(
        (&at["family_seq"], &at["accounts"][0]["balance"]),
        (&json!(head), &family.money("10.00"))
    );
    let instant: chrono::DateTime<chrono::Utc> = recorded_at.parse().unwrap();
    let just_before =
        (instant - chrono::TimeDelta::microseconds(1)).to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    let before = as_of(&family, parent, "accounts", &format!("recorded_at={just_before}")).accepted();
    assert_eq!(
        (&before["family_seq"], &before["accounts"]),
        (&json!(head - 2), &json!([]))
    );

    // Before the account was opened it is listed with nothing in it; the books know it, and the day does not.
    let day_before = as_of(&family, parent, "accounts", "effective_on=2024-12-30").accepted();
    assert_eq!(day_before["accounts"][0]["balance"], family.money("0.00"));
    let year_end = as_of(
        &family,
        parent,
        "trend?months=1&to=2024-12-31",
        "effective_on=2024-12-31",
    )
    .accepted();
    assert_eq!(year_end["months"][0]["month"], "2024-12-01");
    // A closed account was open before.
    family.accepted(parent, "close-account", &json!({"account_id": account}));
    let then = as_of(&family, parent, "accounts", &format!("family_seq={head}")).accepted();
    let now = as_of(&family, parent, "accounts", "").accepted();
    assert_eq!(
        (&then["accounts"][0]["is_closed"], &now["accounts"][0]["is_closed"]),
        (&json!(false), &json!(true))
    );

    for odd in [
        "family_seq=1&recorded_at=2026-11-21T12:00:00Z",
        "family_seq=-1",
        "family_seq=1&family_seq=2",
        "recorded_at=yesterday",
        "effective_on=2023-02-29",
        "min_family_seq=1",
        "until=2024-01-01",
    ] {
        assert_eq!(
            as_of(&family, parent, "accounts", odd).refused(),
            (400, "malformed".to_owned()),
            "{odd}"
        );
    }
    assert_eq!(
        as_of(&family, parent, "chores", "effective_on=2024-01-01").refused().0,
        400,
        "chores have no day"
    );
    assert_eq!(as_of(&family, parent, "nothing", "family_seq=1").status, 404);
}
