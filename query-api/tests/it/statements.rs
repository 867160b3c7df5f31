//! How often a question goes to the database: counted on the wire, so that a change which adds a round trip fails here.

use std::{sync::Arc, time::Duration};

use axum::http::StatusCode;
use query_api::{QueryState, cache::MemoryCache};
use service_kit::{
    database::{self, DatabaseRole},
    testing::statements::{Sent, Wire},
};
use tokio::task::JoinSet;

use crate::home::*;

/// A home whose reader is watched, and which keeps answers.
async fn watched() -> (Home, Wire) {
    let mut wire = None;
    let home = Home::on_pool(async |database| {
        let watching = Wire::to(database).await;
        let pool = database::connect(watching.url(), DatabaseRole::Reader, 10).await;
        wire = Some(watching);
        pool.expect("the test database answers")
    })
    .await
    .changed(|mut state: QueryState| {
        state.cache = Arc::new(MemoryCache::default());
        state
    });
    (home, wire.expect("a wire"))
}

/// What was asked since the last call, by what for. Opening a connection is not part of any question.
fn asked(wire: &Wire) -> Vec<&'static str> {
    let known = [
        ("generations.places", "look"),
        ("begin isolation level", "begin"),
        ("current_setting('kinledger.generation'", "place"),
        ("from categories", "read"),
    ];
    let name = |sent: Sent| match sent {
        Sent::Ping => "ping",
        Sent::Prepared(_) => "prepared",
        Sent::Statement(text) if text.starts_with("set role") => "connected",
        Sent::Statement(text) if text.eq_ignore_ascii_case("rollback") => "rollback",
        Sent::Statement(text) => {
            let found = known.iter().find(|(part, _)| text.contains(part));
            found.unwrap_or_else(|| panic!("a statement nobody expects: {text}")).1
        }
    };
    wire.take()
        .into_iter()
        .map(name)
        .filter(|name| !["connected", "prepared"].contains(name))
        .collect()
}

/// Asks for answers that are not kept yet, and waits until their connections are back in the pool, which happens behind them.
async fn warm(home: &Home, wire: &Wire, users: &[u128]) {
    wire.take();
    for user in users {
        home.view(*user, "categories").await;
    }
    let given_back = async {
        // Each was ended, and the last one asked whether it still lives.
        let (mut ended, mut last) = (0, None);
        while ended < users.len() || last != Some("ping") {
            tokio::task::yield_now().await;
            for what in asked(wire) {
                ended += usize::from(what == "rollback");
                last = Some(what);
            }
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(10), given_back).await;
    waited.expect("every connection is given back");
}

#[tokio::test]
async fn a_kept_answer_costs_one_statement_and_nothing_else() {
    let (home, wire) = watched().await;
    warm(&home, &wire, &[PARENT]).await;
    for _ in 0..10 {
        home.view(PARENT, "categories").await;
    }
    // No question whether the connection lives, no begin, no rollback: one round trip an answer.
    assert_eq!(asked(&wire), ["look"; 10]);
    let path = format!("/api/v1/families/{}/categories", uuid(FAMILY));
    let etag = home.ask(PARENT, &path, None).await.1["etag"]
        .to_str()
        .expect("text")
        .to_owned();
    wire.take();
    let held = home.ask(PARENT, &path, Some(&etag)).await;
    assert_eq!((held.0, asked(&wire)), (StatusCode::NOT_MODIFIED, vec!["look"]));
    // Whom nothing is told costs no more either.
    for (user, view, status) in [
        (STRANGER, "categories", StatusCode::NOT_FOUND),
        (CHILD, "budgets", StatusCode::FORBIDDEN),
    ] {
        assert_eq!(home.try_view(user, view).await.0, status);
        assert_eq!(asked(&wire), ["look"]);
    }
    home.database.drop().await;
}

#[tokio::test]
async fn an_answer_that_is_not_kept_is_read_in_one_snapshot() {
    let (home, wire) = watched().await;
    warm(&home, &wire, &[PARENT]).await;
    home.head(101).await;
    home.view(PARENT, "categories").await;
    // The pool asks before it lends a connection and after it has it back; what follows the answer may come late.
    let asked: Vec<_> = asked(&wire)
        .into_iter()
        .filter(|what| !["ping", "rollback"].contains(what))
        .collect();
    assert_eq!(asked, ["look", "begin", "place", "read"]);
    home.database.drop().await;
}

#[tokio::test]
async fn questions_in_flight_share_looks() {
    let (home, wire) = watched().await;
    let everybody = [PARENT, PARTNER, TEEN, CHILD, AUDITOR];
    warm(&home, &wire, &everybody).await;
    let home = Arc::new(home);
    let mut questions = JoinSet::new();
    for number in 0..800 {
        let home = Arc::clone(&home);
        questions.spawn(async move {
            // A stranger among them gets nothing, and disturbs nobody.
            let (user, wanted) = match everybody.get(number % 6) {
                Some(user) => (*user, StatusCode::OK),
                None => (STRANGER, StatusCode::NOT_FOUND),
            };
            let (status, body) = home.try_view(user, "categories").await;
            assert_eq!(status, wanted, "{body}");
        });
    }
    while let Some(done) = questions.join_next().await {
        done.expect("an answer");
    }
    let asked = asked(&wire);
    assert!(asked.iter().all(|what| *what == "look"), "{asked:?}");
    assert!(asked.len() <= 200, "{} looks for 800 questions", asked.len());
    Arc::into_inner(home).expect("nobody else has it").database.drop().await;
}
