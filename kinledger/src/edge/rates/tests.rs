use std::sync::{Arc, Mutex, PoisonError};

use axum::{Router, body::Body, extract::State, middleware::from_fn_with_state, routing::any};
use tower::ServiceExt;
use uuid::Uuid;

use super::*;

/// Who asks is said by headers here, so that the limits are looked at alone.
async fn limited(State(rates): State<Arc<Rates>>, request: Request, next: Next) -> Response {
    let asking = asking(request.headers());
    rates.limit(asking, request, next).await
}

fn asking(headers: &HeaderMap) -> Asking {
    let said = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    Asking {
        address: said("from").map(|text| text.parse().unwrap()),
        person: said("person").map(|text| UserId::from_uuid(text.parse().unwrap())),
    }
}

/// A process behind limits; it answers 404 to whoever is none of `members`.
fn process(limits: &str, members: &[Uuid]) -> Router {
    process_with(
        Rates::new(parsed(limits), vec!["127.0.0.0/8".parse().unwrap()]),
        members,
    )
}

fn parsed(limits: &str) -> Limits {
    limits.parse::<RateLimits>().unwrap().0.unwrap()
}

fn process_with(rates: Rates, members: &[Uuid]) -> Router {
    let members = Arc::new(Mutex::new(members.to_vec()));
    let handler = any(move |headers: HeaderMap| async move {
        let person = headers
            .get("person")
            .map(|value| value.to_str().unwrap().parse::<Uuid>().unwrap());
        let members = members.lock().unwrap_or_else(PoisonError::into_inner);
        match person {
            Some(person) if !members.contains(&person) => StatusCode::NOT_FOUND,
            _ => StatusCode::OK,
        }
    });
    Router::new()
        .route("/{*path}", handler)
        .layer(from_fn_with_state(Arc::new(rates), limited))
}

async fn ask(process: &Router, method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = axum::http::Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    process
        .clone()
        .oneshot(request.body(Body::empty()).unwrap())
        .await
        .unwrap()
}

async fn admitted(process: &Router, times: usize, method: &str, path: &str, headers: &[(&str, &str)]) -> usize {
    let mut admitted = 0;
    for _ in 0..times {
        let status = ask(process, method, path, headers).await.status();
        admitted += usize::from(status != StatusCode::TOO_MANY_REQUESTS);
    }
    admitted
}

#[tokio::test]
async fn an_address_has_its_quota_of_each_class_and_others_have_theirs() {
    let process = process("auth/address=5,reads/address=7", &[]);
    assert_eq!(
        admitted(&process, 20, "POST", "/api/v1/auth/login", &[("from", "192.0.2.1")]).await,
        5
    );
    assert_eq!(
        admitted(&process, 20, "GET", "/api/v1/commands", &[("from", "192.0.2.1")]).await,
        7
    );
    assert_eq!(
        admitted(&process, 20, "POST", "/api/v1/auth/login", &[("from", "192.0.2.2")]).await,
        5
    );
    // All addresses of a customer are one.
    assert_eq!(
        admitted(&process, 3, "POST", "/api/v1/auth/login", &[("from", "2001:db8::1")]).await,
        3
    );
    assert_eq!(
        admitted(&process, 9, "POST", "/api/v1/auth/login", &[("from", "2001:db8::2")]).await,
        2
    );
    // This machine is counted for signing in only; who watches over the process, never.
    assert_eq!(
        admitted(&process, 20, "POST", "/api/v1/auth/login", &[("from", "127.0.0.1")]).await,
        5
    );
    assert_eq!(
        admitted(&process, 20, "GET", "/api/v1/commands", &[("from", "127.0.0.1")]).await,
        20
    );
    assert_eq!(
        admitted(&process, 20, "GET", "/readyz", &[("from", "192.0.2.1")]).await,
        20
    );
}

#[tokio::test]
async fn a_refusal_says_which_limit_and_when_to_come_again() {
    let process = process("reads/person=2", &[Uuid::from_u128(1)]);
    let person = Uuid::from_u128(1).to_string();
    let headers = [("person", person.as_str())];
    let first = ask(&process, "GET", "/api/v1/commands", &headers).await;
    assert_eq!(first.headers()["ratelimit-policy"], "\"reads-person\";q=2;w=60");
    assert_eq!(first.headers()["ratelimit"], "\"reads-person\";r=1;t=30");
    ask(&process, "GET", "/api/v1/commands", &headers).await;
    let refused = ask(&process, "GET", "/api/v1/commands", &headers).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers()["retry-after"], "30");
    assert_eq!(refused.headers()["ratelimit"], "\"reads-person\";r=0;t=60");
    let body = axum::body::to_bytes(refused.into_body(), 10_000).await.unwrap();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["type"], "/problems/too-fast");
    assert_eq!(body["violated-policies"], serde_json::json!(["reads-person"]));
}

#[tokio::test]
async fn a_family_is_counted_over_its_members_and_strangers_neither_spend_nor_see_its_quota() {
    let people: Vec<String> = (1..=4).map(|number| Uuid::from_u128(number).to_string()).collect();
    let [ada, ben, cem, stranger] = &people[..] else {
        panic!("four people")
    };
    let process = process("reads/family=10", &[1, 2, 3].map(Uuid::from_u128));
    let path = format!("/api/v1/families/{}/dashboard", FamilyId::from_uuid(Uuid::from_u128(9)));
    let asks = async |who: &str, times| admitted(&process, times, "GET", &path, &[("person", who)]).await;
    assert_eq!(
        asks(stranger, 500).await,
        500,
        "all of them 404, none of them counted with the family"
    );
    assert_eq!(asks(ada, 6).await, 6);
    assert_eq!(asks(ben, 20).await, 4);
    assert_eq!(asks(ada, 5).await, 0);
    let found = ask(&process, "GET", &path, &[("person", stranger)]).await;
    assert_eq!(
        found.status(),
        StatusCode::NOT_FOUND,
        "a stranger sees no refusal that would say that it is there"
    );
    // Nor does the head of an answer tell a member what the others have left.
    let told = ask(&process, "GET", &path, &[("person", cem)]).await;
    assert!(
        told.headers()["ratelimit"]
            .to_str()
            .unwrap()
            .starts_with("\"reads-person\"")
    );
    assert_eq!(asks(cem, 3).await, 0, "from the second answer on they are counted too");
}

#[tokio::test]
async fn a_large_body_costs_as_much_as_several_requests() {
    let process = process("commands/address=100", &[]);
    let large = [("from", "192.0.2.1"), ("content-length", "655360")];
    assert_eq!(
        admitted(&process, 10, "POST", "/api/v1/families/x/commands", &large).await,
        2
    );
    let small = [("from", "192.0.2.1"), ("content-length", "200")];
    assert_eq!(
        admitted(&process, 100, "POST", "/api/v1/families/x/commands", &small).await,
        18
    );
    // More than the whole quota is as much as the whole quota, so that it is possible at all.
    let huge = [("from", "192.0.2.9"), ("content-length", "16777216")];
    assert_eq!(
        admitted(&process, 2, "POST", "/api/v1/families/x/commands", &huge).await,
        1
    );
}

fn redis_url() -> String {
    std::env::var("KINLEDGER_TEST_REDIS_URL")
        .expect("KINLEDGER_TEST_REDIS_URL is not set: run the tests with `make test`")
}

#[tokio::test]
async fn processes_that_share_redis_share_the_quota() {
    let limits = parsed("auth/address=25");
    let processes: Vec<Router> = (0..3)
        .map(|_| process_with(Rates::new(limits, Vec::new()).shared(&redis_url()).unwrap(), &[]))
        .collect();
    // An address of this run's own: the server is shared with other tests.
    let from = std::net::Ipv6Addr::from_bits(Uuid::new_v4().as_u128()).to_string();
    let mut count = 0;
    for turn in 0..60 {
        count += admitted(
            &processes[turn % 3],
            1,
            "POST",
            "/api/v1/auth/login",
            &[("from", &from)],
        )
        .await;
    }
    // A slow minute of testing may bring one back.
    assert!((25..=27).contains(&count), "{count} of 25");
}

#[tokio::test]
async fn without_redis_signing_in_is_limited_in_each_process_and_no_slower_for_long() {
    // A port that takes connections and never says a word: the worst kind of away.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", silent.local_addr().unwrap());
    let limits = parsed("auth/address=25");
    let process = process_with(Rates::new(limits, Vec::new()).shared(&url).unwrap(), &[]);
    let began = std::time::Instant::now();
    assert_eq!(
        admitted(&process, 60, "POST", "/api/v1/auth/login", &[("from", "192.0.2.1")]).await,
        25
    );
    assert!(
        began.elapsed().as_millis() < 1_000,
        "{:?} for 60 requests",
        began.elapsed()
    );
}
