//! Headers, origins, addresses and sizes.

use super::{Place, Started};

#[test]
fn every_answer_tells_browsers_to_do_no_more_with_it_than_was_meant() {
    let place = Place::new();
    let started = place.start("http", &["--trusted-proxies", "127.0.0.1"]);
    for (path, status) in [
        ("/", 200),
        ("/readyz", 200),
        ("/api/docs/", 200),
        ("/api/v1/commands", 200),
        ("/api/v1/auth/profile", 401),
        (
            "/api/v1/families/fam_00000000-0000-7000-8000-000000000000/commands/x",
            401,
        ),
        ("/nowhere", 404),
    ] {
        let answer = started.get(path, &[]);
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), value, "{path}");
        }
        assert!(answer.header("permissions-policy").contains("geolocation=()"), "{path}");
        let policy = answer.header("content-security-policy");
        assert!(
            policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{path}: {policy}"
        );
        assert_eq!(
            policy.contains("unsafe-inline"),
            path.starts_with("/api/docs"),
            "{path}: {policy}"
        );
        assert!(!policy.contains("script-src 'unsafe"), "{path}: {policy}");
        if path.starts_with("/api/v1/") {
            assert_eq!(answer.header("cache-control"), "no-store", "{path}");
        }
        assert_eq!(
            answer.header("strict-transport-security"),
            "",
            "{path}: said in clear it counts for nothing"
        );
    }
    // The start page's style is allowed by its hash, which is that of the style it has.
    let policy = started.get("/", &[]).header("content-security-policy").to_owned();
    assert!(policy.contains("style-src 'sha256-"), "{policy}");
    let behind_tls = started.get("/readyz", &[("x-forwarded-proto", "https")]);
    assert!(
        behind_tls
            .header("strict-transport-security")
            .starts_with("max-age=31536000")
    );
}

#[test]
fn pages_of_other_origins_may_ask_when_they_are_named_exactly_and_not_otherwise() {
    let place = Place::new();
    let allowed = |started: &Started, origin: &str| {
        let asked = [
            ("origin", origin),
            ("access-control-request-method", "POST"),
            (
                "access-control-request-headers",
                "authorization,content-type,idempotency-key,kinledger-device",
            ),
        ];
        let preflight = started.ask("OPTIONS", "/api/v1/families", &asked, None);
        let answer = started.get("/api/v1/auth/profile", &[("origin", origin)]);
        assert_eq!(answer.status, 401);
        for answer in [&preflight, &answer] {
            assert_eq!(answer.header("access-control-allow-credentials"), "");
        }
        let (by_preflight, by_answer) = (
            preflight.header("access-control-allow-origin").to_owned(),
            answer.header("access-control-allow-origin").to_owned(),
        );
        assert_eq!(by_preflight, by_answer, "{origin}");
        if !by_preflight.is_empty() {
            let may_send = preflight.header("access-control-allow-headers");
            let may_send: Vec<&str> = may_send.split(',').map(str::trim).collect();
            // Without its token a device would be a new one each time: slowed by strangers' guesses, told of by mail.
            for name in ["authorization", "content-type", "idempotency-key", "kinledger-device"] {
                assert!(may_send.contains(&name), "{name}: {may_send:?}");
            }
            assert!(preflight.header("access-control-allow-methods").contains("POST"));
            assert!(answer.header("access-control-expose-headers").contains("etag"));
            assert!(answer.header("vary").contains("origin"), "{}", answer.header("vary"));
        }
        by_answer
    };
    let closed = place.start("http", &[]);
    assert_eq!(allowed(&closed, "https://app.example.org"), "");
    drop(closed);
    let open = place.start(
        "http",
        &["--cors-origins", "https://app.example.org,http://localhost:5173"],
    );
    assert_eq!(allowed(&open, "https://app.example.org"), "https://app.example.org");
    assert_eq!(allowed(&open, "http://localhost:5173"), "http://localhost:5173");
    for stranger in [
        "http://app.example.org",
        "https://app.example.org.evil.example",
        "https://evil.example",
        "null",
    ] {
        assert_eq!(allowed(&open, stranger), "", "{stranger}");
    }
}

#[test]
fn writing_other_addresses_into_a_header_buys_no_more_attempts_unless_a_proxy_of_ours_writes_it() {
    let place = Place::new();
    let limits = ["--rate-limits", "auth/address=5"];
    let attempts = |started: &Started| {
        let answers = (0..12).map(|number| started.login(&[("x-forwarded-for", &format!("203.0.113.{number}"))]));
        answers
            .filter(|answer| answer.problem() != "/problems/too-fast" || !answer.body.contains("violated"))
            .count()
    };
    let direct = place.start("http", &limits);
    assert_eq!(attempts(&direct), 5, "whatever the client says of itself");
    let refused = direct.login(&[]);
    assert_eq!((refused.status, refused.header("retry-after").is_empty()), (429, false));
    assert!(
        refused.header("ratelimit").contains("auth-address"),
        "{}",
        refused.header("ratelimit")
    );
    drop(direct);
    let behind = place.start("http", &[limits[0], limits[1], "--trusted-proxies", "127.0.0.0/8"]);
    assert_eq!(attempts(&behind), 12, "the proxy tells clients apart");
    let spoofed = |number: usize| behind.login(&[("x-forwarded-for", &format!("203.0.113.{number}, 198.51.100.7"))]);
    let admitted = (0..12)
        .filter(|number| !spoofed(*number).body.contains("violated"))
        .count();
    assert_eq!(admitted, 5, "what a client wrote before the proxy did does not count");
}

#[test]
fn figures_are_told_to_the_networks_that_were_named_and_are_not_there_for_others() {
    let place = Place::new();
    let behind = place.start("http", &["--trusted-proxies", "127.0.0.0/8"]);
    let told = behind.get("/metrics", &[]);
    assert_eq!(
        (told.status, told.body.contains("kinledger_")),
        (200, true),
        "{}",
        told.body
    );
    let stranger = behind.get("/metrics", &[("x-forwarded-for", "203.0.113.7")]);
    let nowhere = behind.get("/nowhere", &[("x-forwarded-for", "203.0.113.7")]);
    assert_eq!((stranger.status, &stranger.body), (404, &nowhere.body));
    drop(behind);
    let elsewhere = place.start("http", &["--metrics-for", "10.0.0.0/8"]);
    let answers = ["/metrics", "/metrics?", "/%6detrics", "/metrics/"].map(|path| elsewhere.get(path, &[]).status);
    assert_eq!(answers, [404; 4]);
    assert_eq!(elsewhere.get("/healthz", &[]).status, 200);
}

#[test]
fn heads_and_bodies_beyond_their_limits_are_refused_in_our_own_words() {
    let place = Place::new();
    let started = place.start("http", &[]);
    let long = started.get(&format!("/api/v1/commands?x={}", "y".repeat(9_000)), &[]);
    assert_eq!(
        (long.status, long.problem().as_str()),
        (414, "/problems/address-too-long")
    );
    let large = started.get("/api/v1/commands", &[("x-much", &"y".repeat(40_000))]);
    assert_eq!(
        (large.status, large.problem().as_str()),
        (431, "/problems/headers-too-large")
    );
    for (depth, words) in [(33, "nests deeper than 32"), (32, "has not the expected fields")] {
        let body = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let deep = started.ask(
            "POST",
            "/api/v1/auth/login",
            &[("content-type", "application/json")],
            Some(&body),
        );
        assert_eq!(deep.status, 400);
        assert!(deep.body.contains(words), "{}", deep.body);
    }
}
