//! Starting, stopping, and starting again.

use std::time::Duration;

use serde_json::{Value, json};

use super::statements::MARCH;
use crate::support::{Household, Kinledger, PASSWORD, dec, wait_until};

/// Views whose answers are compared over a restart.
const VIEWS: &[&str] = &[
    "dashboard",
    "accounts",
    "entries",
    "budgets",
    "leaderboard",
    "spending?from=2025-01-01",
    "trend",
    "chores",
    "imports",
    "members",
];

#[test]
fn ctrl_c_ends_in_order_and_the_next_start_answers_the_same() {
    let mut kinledger = Kinledger::start();
    let family = Household::found(&kinledger, "The Rochas", "EUR");
    let account = family.open_account(&json!({"name": "Giro", "kind": "bank"}));
    family.import(&account, MARCH.as_bytes()).accepted();
    let answers =
        |family: &Household| -> Vec<Value> { VIEWS.iter().map(|view| family.view(&family.parent, view)).collect() };
    let before = answers(&family);
    let log = family.export();

    let status = kinledger.interrupt();
    assert_eq!(status.code(), Some(0), "{}", kinledger.logged());
    assert!(
        family.parent.client.try_send("GET", "/healthz", &[], None).is_err(),
        "nothing listens any more"
    );
    assert!(!kinledger.data_dir().join("running.json").exists());
    assert!(
        !kinledger.data_dir().join("postgres/cluster/postmaster.pid").exists(),
        "its database server has stopped too"
    );

    let ready_after = kinledger.start_again();
    assert!(ready_after < Duration::from_secs(5), "{ready_after:?}");
    assert_eq!(
        answers(&family),
        before,
        "tokens still hold, and every view says what it said"
    );
    assert_eq!(family.export(), log);
    family.accepted(
        &family.parent,
        "add-category",
        &json!({"name": "Harbour dues", "kind": "expense"}),
    );
    assert_eq!(family.balance(&account), dec("1730.45"));
    assert_eq!(kinledger.logged(), "", "nothing to warn of");
}

#[test]
fn a_second_start_on_the_same_folder_is_refused_in_words() {
    let kinledger = Kinledger::start();
    let second = kinledger.up().output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("already running on the data folder"), "{said}");
    assert!(
        said.contains(kinledger.data_dir().canonicalize().unwrap().to_str().unwrap()),
        "{said}"
    );
    assert_eq!(kinledger.client().get("/readyz").status, 200, "the first goes on");
}

#[test]
fn what_it_prints_and_serves_tells_a_newcomer_where_to_go() {
    let kinledger = Kinledger::start();
    let client = kinledger.client();
    let printed = kinledger.printed().join("\n");
    assert!(printed.contains("try next"), "{printed}");
    let home = client.get("/");
    assert_eq!(home.status, 200);
    assert!(home.text().contains("/api/docs"));
    let documentation = client.get("/api/docs/");
    assert_eq!(documentation.status, 200);
    assert!(documentation.content_type.starts_with("text/html"));
    let document = client.get("/api/v1/openapi.json").accepted();
    assert_eq!(document["openapi"], "3.1.0");
    assert!(client.get("/metrics").text().contains("kinledger_"));
    assert_eq!(client.get("/nowhere").refused(), (404, "unknown-path".to_owned()));
    assert_eq!(client.send("DELETE", "/api/v1/families", &[], None).refused().0, 405);
}

#[test]
fn a_session_is_refreshed_once_ended_by_reuse_and_over_after_signing_out() {
    let kinledger = Kinledger::start();
    let family = Household::found(&kinledger, "The Lopes", "EUR");
    let anybody = kinledger.client();
    let refresh = |token: &str| anybody.post("/api/v1/auth/refresh", &json!({"refresh_token": token}));
    let login = |password: &str| {
        anybody.post(
            "/api/v1/auth/login",
            &json!({"email": family.teen.email, "password": password}),
        )
    };

    let fresh = refresh(&family.teen.refresh_token).accepted();
    let teen = anybody.with_token(fresh["access_token"].as_str().unwrap());
    assert_eq!(teen.get(&format!("{}/dashboard", family.path())).status, 200);
    assert_eq!(
        refresh(&family.teen.refresh_token).refused().0,
        401,
        "used before: somebody else may have it"
    );
    assert_eq!(
        teen.get("/api/v1/auth/profile").refused().0,
        401,
        "so the session has ended"
    );

    assert_eq!(login("a long sentence somebody guesses").refused().0, 401);
    assert_eq!(
        login(PASSWORD).refused().0,
        429,
        "after a wrong guess the next one waits"
    );
    let mut tokens = Value::Null;
    let is_in = wait_until(Duration::from_secs(10), || {
        let reply = login(PASSWORD);
        tokens = reply.json();
        reply.status == 200
    });
    assert!(is_in, "{tokens}");
    let teen = anybody.with_token(tokens["access_token"].as_str().unwrap());
    assert_eq!(
        teen.get("/api/v1/auth/profile").accepted()["email"],
        family.teen.email.as_str()
    );
    assert_eq!(teen.post("/api/v1/auth/logout", &json!({})).status, 204);
    assert_eq!(teen.get("/api/v1/auth/profile").refused().0, 401);
}
