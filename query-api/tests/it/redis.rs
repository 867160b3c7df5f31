//! Redis keeps answers, and whether it is there changes none.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::http::StatusCode;
use query_api::cache::RedisCache;
use serde_json::Value;
use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};
use uuid::Uuid;

use crate::home::*;

/// What somebody waits for at most who asks while Redis is away: far more than its patience, far less than a time-out.
const WITHIN: Duration = Duration::from_secs(5);

/// Stands between the cache and the Redis of the test command, and can go away.
struct Between {
    address: std::net::SocketAddr,
    server: String,
    passing: Option<JoinHandle<()>>,
}

impl Between {
    async fn new() -> Self {
        let url = std::env::var("KINLEDGER_TEST_REDIS_URL")
            .expect("KINLEDGER_TEST_REDIS_URL is not set: run the tests with `make test`, which starts Redis");
        let free = TcpListener::bind("127.0.0.1:0").await.expect("a port on loopback");
        Self {
            address: free.local_addr().expect("a listener has an address"),
            server: url.trim_start_matches("redis://").trim_end_matches('/').to_owned(),
            passing: None,
        }
    }

    async fn come(&mut self) {
        let listener = TcpListener::bind(self.address).await.expect("the port is free again");
        let server = self.server.clone();
        self.passing = Some(tokio::spawn(async move {
            // Connections end with this task.
            let mut open = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                let server = server.clone();
                open.spawn(async move {
                    let mut redis = TcpStream::connect(server).await.expect("Redis answers");
                    drop(tokio::io::copy_bidirectional(&mut client, &mut redis).await);
                });
            }
        }));
    }

    async fn go(&mut self) {
        if let Some(passing) = self.passing.take() {
            passing.abort();
            drop(passing.await);
        }
    }

    /// A home whose answers are kept behind this.
    async fn home(&self) -> Home {
        let cache = RedisCache::try_new(&format!("redis://{}", self.address)).expect("an address");
        let home = Home::with(|mut state| {
            state.cache = Arc::new(cache);
            state
        })
        .await;
        // A generation of this test's own, since what Redis keeps outlives it.
        let number = i64::from(Uuid::new_v4().as_fields().0);
        sqlx::query("update generations.live set number = $1")
            .bind(number)
            .execute(&home.database.superuser().await)
            .await
            .expect("a number");
        home
    }
}

async fn asked_in_time(home: &Home) -> Value {
    let began = Instant::now();
    let (status, body) = home.try_view(PARENT, "accounts").await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert!(began.elapsed() < WITHIN, "{:?}", began.elapsed());
    body
}

/// Is an answer kept? It is when it is told again although the rows were altered behind its back.
async fn is_kept(home: &Home, head: i64) -> bool {
    home.head(head).await;
    home.run("update views.accounts set balance = 5").await;
    let first = asked_in_time(home).await;
    assert_eq!(
        first["accounts"][0]["balance"]["amount"], "5.00",
        "a newer event has another key"
    );
    home.run("update views.accounts set balance = 6").await;
    let again = asked_in_time(home).await;
    let is_kept = again == first;
    assert!(is_kept || again["accounts"][0]["balance"]["amount"] == "6.00");
    is_kept
}

async fn until_kept(home: &Home, heads: impl Iterator<Item = i64>) {
    let began = Instant::now();
    for head in heads {
        if is_kept(home, head).await {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "answers are not kept");
    }
}

#[tokio::test]
async fn losing_redis_changes_no_answer_and_it_is_used_again_when_it_is_back() {
    let mut redis = Between::new().await;
    redis.come().await;
    let home = redis.home().await;
    until_kept(&home, 101..).await;
    let before = asked_in_time(&home).await;
    home.run("update views.accounts set balance = 5").await;
    assert_eq!(asked_in_time(&home).await, before);
    redis.go().await;
    for _ in 0..20 {
        assert_eq!(asked_in_time(&home).await, before, "as it was kept");
    }
    assert!(!is_kept(&home, 100_000).await, "it is away");
    redis.come().await;
    until_kept(&home, 200_000..).await;
    redis.go().await;
    home.database.drop().await;
}

#[tokio::test]
async fn views_answer_where_redis_has_never_been() {
    let mut redis = Between::new().await;
    let home = redis.home().await;
    let first = asked_in_time(&home).await;
    assert_eq!(asked_in_time(&home).await, first);
    redis.come().await;
    until_kept(&home, 101..).await;
    redis.go().await;
    home.database.drop().await;
}
