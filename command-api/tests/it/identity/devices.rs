//! Where somebody is signed in, and what a device's own token is good for.

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use futures::future::join_all;
use serde_json::{Value, json};
use service_kit::testing::{TestDatabase, mailbox::Mailbox};
use uuid::Uuid;

use super::{Answer, App, PASSWORD, accounts::NEW_PASSWORD, json_request, mailing, quick};

impl App {
    pub(super) async fn sign_in_on(&self, device_token: &Value, email: &str, password: &str) -> Answer {
        let body = json!({"email": email, "password": password});
        let headers = [("kinledger-device", device_token.as_str().unwrap())];
        self.send(json_request("/api/v1/auth/login", &body, &headers)).await
    }

    async fn refresh_on(&self, device_token: &Value, refresh_token: &Value, request_id: Option<Uuid>) -> Answer {
        let body = json!({"refresh_token": refresh_token});
        let request_id = request_id.map(|id| id.to_string());
        let mut headers = vec![("kinledger-device", device_token.as_str().unwrap())];
        headers.extend(request_id.iter().map(|id| ("idempotency-key", id.as_str())));
        self.send(json_request("/api/v1/auth/refresh", &body, &headers)).await
    }

    async fn sessions(&self, tokens: &Value) -> Vec<Value> {
        let answer = self
            .get_as(tokens["access_token"].as_str().unwrap(), "/api/v1/auth/sessions")
            .await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        answer.body["sessions"].as_array().unwrap().clone()
    }

    async fn request(&self, method: &str, tokens: &Value, path: &str, body: Option<Value>) -> Answer {
        let token = tokens["access_token"].as_str().unwrap();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::AUTHORIZATION, format!("Bearer {token}"));
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        self.send(request.body(body).unwrap()).await
    }
}

#[tokio::test]
async fn a_person_sees_names_and_ends_their_sessions_and_nobody_elses() {
    let app = App::start().await;
    let ada = app.register("ada@example.org").await;
    let elsewhere = app.sign_in("ada@example.org", PASSWORD).await.body;
    let bob = app.register("bob@example.org").await;
    let sessions = app.sessions(&ada).await;
    assert_eq!(sessions.len(), 2);
    let mine = sessions.iter().find(|session| session["is_current"] == true).unwrap();
    let other = sessions.iter().find(|session| session["is_current"] == false).unwrap();
    assert_eq!(
        (&mine["device"], &mine["factors"]),
        (&json!("unnamed device"), &json!(["pwd"]))
    );
    assert_ne!(mine["device_id"], other["device_id"]);
    let address_fields = mine
        .as_object()
        .unwrap()
        .keys()
        .filter(|key| key.contains("address"))
        .count();
    assert_eq!(address_fields, 1, "only whether it is this address: {mine}");

    let other_path = format!("/api/v1/auth/sessions/{}", other["session_id"].as_str().unwrap());
    let foreign = app.request("DELETE", &bob, &other_path, None).await;
    let unknown = app
        .request(
            "DELETE",
            &bob,
            &format!("/api/v1/auth/sessions/{}", Uuid::new_v4()),
            None,
        )
        .await;
    assert_eq!((foreign.status, &foreign.body), (StatusCode::NOT_FOUND, &unknown.body));
    let foreign = app
        .request(
            "PUT",
            &bob,
            &format!("{other_path}/device"),
            Some(json!({"name": "mine"})),
        )
        .await;
    assert_eq!(foreign.status, StatusCode::NOT_FOUND);

    let name = json!({"name": " Kitchen tablet "});
    let named = app
        .request("PUT", &ada, &format!("{other_path}/device"), Some(name))
        .await;
    assert_eq!(named.status, StatusCode::NO_CONTENT);
    for name in ["", "two\nlines", &"x".repeat(101)] {
        let refused = app
            .request(
                "PUT",
                &ada,
                &format!("{other_path}/device"),
                Some(json!({"name": name})),
            )
            .await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{name}");
    }
    let devices: Vec<Value> = app
        .sessions(&ada)
        .await
        .iter()
        .map(|session| session["device"].clone())
        .collect();
    assert!(devices.contains(&json!("Kitchen tablet")), "{devices:?}");

    assert_eq!(
        app.request("DELETE", &ada, &other_path, None).await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        app.request("DELETE", &ada, &other_path, None).await.status,
        StatusCode::NOT_FOUND
    );
    assert!(!app.is_signed_in(&elsewhere["access_token"]).await);
    assert_eq!(
        app.refresh(&elsewhere["refresh_token"], None).await.status,
        StatusCode::UNAUTHORIZED
    );
    assert!(app.is_signed_in(&ada["access_token"]).await);
    assert_eq!(app.sessions(&ada).await.len(), 1);
    app.end().await;
}

#[tokio::test]
async fn a_device_is_known_by_its_token_and_a_new_one_is_told_of_by_mail() {
    let mailbox = Mailbox::start();
    let app = App::on(TestDatabase::create().await, &mailing(&mailbox), [7; 32]).await;
    let ada = app.register("ada@example.org").await;
    assert!(ada["device_token"].as_str().unwrap().starts_with("kld_"));
    let again = app
        .sign_in_on(&ada["device_token"], "ada@example.org", PASSWORD)
        .await
        .body;
    assert_eq!(again.get("device_token"), None);
    let sessions = app.sessions(&ada).await;
    assert_eq!(sessions[0]["device_id"], sessions[1]["device_id"]);

    let bob = app.register("bob@example.org").await;
    let borrowed = app
        .sign_in_on(&bob["device_token"], "ada@example.org", PASSWORD)
        .await
        .body;
    assert!(
        borrowed["device_token"].is_string(),
        "somebody else's token is none of Ada's"
    );
    let waiting = mailbox.clone();
    let mails = tokio::task::spawn_blocking(move || waiting.wait_for("ada@example.org", 2))
        .await
        .unwrap();
    assert_eq!(mails[1].header("Subject"), "A new device signed in");
    assert_eq!(
        mailbox
            .mails()
            .iter()
            .filter(|mail| mail.to == "bob@example.org")
            .count(),
        1
    );
    let (told,): (i64,) = sqlx::query_as("select count(*) from identity.security_events where kind = 'new-device'")
        .fetch_one(&app.database.superuser().await)
        .await
        .unwrap();
    assert_eq!(told, 1);
    app.end().await;
}

impl App {
    async fn known_devices(&self, tokens: &Value) -> Vec<Value> {
        let answer = self.request("GET", tokens, "/api/v1/auth/devices", None).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        answer.body["devices"].as_array().unwrap().clone()
    }

    /// The path of the device that asks.
    async fn own_device(&self, tokens: &Value) -> String {
        let devices = self.known_devices(tokens).await;
        let own = devices.iter().find(|device| device["is_current"] == true).unwrap();
        format!("/api/v1/auth/devices/{}", own["device_id"].as_str().unwrap())
    }

    /// As `tokens`, with a device's token beside.
    async fn ask_on(&self, device_token: &Value, method: &str, tokens: &Value, path: &str) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("kinledger-device", device_token.as_str().unwrap())
            .header(
                header::AUTHORIZATION,
                format!("Bearer {}", tokens["access_token"].as_str().unwrap()),
            );
        self.send(request.body(Body::empty()).unwrap()).await
    }

    /// The session goes on, with its last proof eleven minutes old.
    async fn with_an_old_proof(&self, tokens: &Value) -> Value {
        sqlx::query("update identity.sessions set proven_at = proven_at - interval '11 minutes'")
            .execute(&self.database.superuser().await)
            .await
            .unwrap();
        self.refresh(&tokens["refresh_token"], None).await.body
    }
}

#[tokio::test]
async fn a_person_sees_their_known_devices_and_which_of_them_asks() {
    let app = App::start().await;
    let ada = app.register("ada@example.org").await;
    let elsewhere = app.sign_in("ada@example.org", PASSWORD).await.body;
    app.sign_in_on(&elsewhere["device_token"], "ada@example.org", PASSWORD)
        .await;
    let bob = app.register("bob@example.org").await;
    let sessions = app.sessions(&ada).await;
    let mine = sessions.iter().find(|session| session["is_current"] == true).unwrap();
    let path = format!("/api/v1/auth/sessions/{}/device", mine["session_id"].as_str().unwrap());
    app.request("PUT", &ada, &path, Some(json!({"name": "Kitchen tablet"})))
        .await;

    let devices = app.known_devices(&ada).await;
    let fields = [
        "created_at",
        "device_id",
        "is_current",
        "last_used_at",
        "name",
        "sessions",
    ];
    for device in &devices {
        let mut names: Vec<&String> = device.as_object().unwrap().keys().collect();
        names.sort();
        assert_eq!(names, fields, "neither the token nor its hash");
    }
    let told = |devices: &[Value]| -> Vec<Value> {
        devices
            .iter()
            .map(|device| json!([device["name"], device["is_current"], device["sessions"]]))
            .collect()
    };
    assert_eq!(
        told(&devices),
        [json!(["unnamed device", false, 2]), json!(["Kitchen tablet", true, 1])]
    );
    // Whatever session asks, a device's own token says which it is.
    let shown = app
        .ask_on(&ada["device_token"], "GET", &elsewhere, "/api/v1/auth/devices")
        .await;
    assert_eq!(told(shown.body["devices"].as_array().unwrap()), told(&devices));
    let foreign = app
        .ask_on(&ada["device_token"], "GET", &bob, "/api/v1/auth/devices")
        .await;
    assert_eq!(
        told(foreign.body["devices"].as_array().unwrap()),
        [json!(["unnamed device", true, 1])]
    );

    // Refreshing is use too; signing out leaves the device known.
    let ada = app.refresh(&ada["refresh_token"], None).await.body;
    app.request("POST", &elsewhere, "/api/v1/auth/logout", Some(json!({})))
        .await;
    assert_eq!(
        told(&app.known_devices(&ada).await),
        [json!(["Kitchen tablet", true, 1]), json!(["unnamed device", false, 1])]
    );
    app.end().await;
}

#[tokio::test]
async fn a_forgotten_device_is_signed_out_at_once_and_told_as_a_new_one_when_it_comes_again() {
    let mailbox = Mailbox::start();
    let app = App::on(TestDatabase::create().await, &mailing(&mailbox), [7; 32]).await;
    let ada = app.register("ada@example.org").await;
    let sold = app.sign_in("ada@example.org", PASSWORD).await.body;
    let also_sold = app
        .sign_in_on(&sold["device_token"], "ada@example.org", PASSWORD)
        .await
        .body;
    let path = app.own_device(&sold).await;
    let forgotten = app.request("DELETE", &ada, &path, None).await;
    assert_eq!(forgotten.status, StatusCode::NO_CONTENT, "{forgotten:?}");
    for tokens in [&sold, &also_sold] {
        assert!(!app.is_signed_in(&tokens["access_token"]).await);
        let refreshed = app
            .refresh_on(&sold["device_token"], &tokens["refresh_token"], None)
            .await;
        assert_eq!(refreshed.problem(), "/problems/invalid-refresh-token");
    }
    assert!(app.is_signed_in(&ada["access_token"]).await);
    assert_eq!(app.known_devices(&ada).await.len(), 1);
    let again = app.request("DELETE", &ada, &path, None).await;
    assert_eq!(
        (again.status, again.problem()),
        (StatusCode::NOT_FOUND, "/problems/unknown-device")
    );

    let signed_in = app
        .sign_in_on(&sold["device_token"], "ada@example.org", PASSWORD)
        .await
        .body;
    assert!(signed_in["device_token"].is_string(), "{signed_in}");
    let waiting = mailbox.clone();
    let mails = tokio::task::spawn_blocking(move || waiting.wait_for("ada@example.org", 3))
        .await
        .unwrap();
    let news = mails
        .iter()
        .filter(|mail| mail.header("Subject") == "A new device signed in");
    assert_eq!(news.count(), 2, "when it came first, and now");
    let trail = app.request("GET", &ada, "/api/v1/auth/security-events", None).await;
    let told = trail.body["events"].as_array().unwrap();
    assert!(
        told.iter()
            .any(|event| event["kind"] == "device-forgotten" && event["device"] == "unnamed device"),
        "{trail:?}"
    );
    app.end().await;
}

#[tokio::test]
async fn nobody_forgets_a_device_of_somebody_else() {
    let app = App::start().await;
    let ada = app.register("ada@example.org").await;
    let bob = app.register("bob@example.org").await;
    let path = app.own_device(&ada).await;
    let unknown = format!("/api/v1/auth/devices/{}", Uuid::new_v4());
    for path in [path.as_str(), unknown.as_str(), "/api/v1/auth/devices/mine"] {
        let refused = app.ask_on(&ada["device_token"], "DELETE", &bob, path).await;
        assert_eq!(
            (refused.status, refused.problem()),
            (StatusCode::NOT_FOUND, "/problems/unknown-device"),
            "{path}"
        );
    }
    assert!(app.is_signed_in(&ada["access_token"]).await);
    assert_eq!(app.known_devices(&ada).await.len(), 1);
    app.end().await;
}

#[tokio::test]
async fn with_an_old_proof_no_device_is_forgotten_but_by_its_own_token() {
    let app = App::start().await;
    let ada = app.register("ada@example.org").await;
    let elsewhere = app.sign_in("ada@example.org", PASSWORD).await.body;
    let (here, there) = (app.own_device(&ada).await, app.own_device(&elsewhere).await);
    let ada = &app.with_an_old_proof(&ada).await;
    // The session alone, as a thief has it, forgets not even the device that it is of.
    let device_token = &app.sign_in("ada@example.org", PASSWORD).await.body["device_token"];
    for (path, shown) in [(&there, None), (&here, None), (&here, Some(device_token))] {
        let refused = match shown {
            None => app.request("DELETE", ada, path, None).await,
            Some(shown) => app.ask_on(shown, "DELETE", ada, path).await,
        };
        assert_eq!(
            (refused.status, refused.problem()),
            (StatusCode::FORBIDDEN, "/problems/step-up-required"),
            "{path}"
        );
    }
    assert_eq!(app.known_devices(ada).await.len(), 3);
    assert!(app.is_signed_in(&elsewhere["access_token"]).await);
    app.end().await;
}

#[tokio::test]
async fn who_shows_a_devices_own_token_forgets_it_without_a_fresh_proof() {
    let app = App::start().await;
    let registered = app.register("ada@example.org").await;
    let path = app.own_device(&registered).await;
    let ada = app.with_an_old_proof(&registered).await;
    let forgotten = app.ask_on(&registered["device_token"], "DELETE", &ada, &path).await;
    assert_eq!(forgotten.status, StatusCode::NO_CONTENT, "{forgotten:?}");
    assert!(!app.is_signed_in(&ada["access_token"]).await);
    app.end().await;
}

#[tokio::test]
async fn another_password_leaves_only_the_device_known_that_chose_it() {
    let app = App::start().await;
    for shows_its_token in [true, false] {
        let email = format!("ada{shows_its_token}@example.org");
        let ada = app.register(&email).await;
        let other = app.sign_in(&email, PASSWORD).await.body;
        // Strangers have used up their guesses at the old one, which keep nobody from the new.
        app.sign_in(&email, "wrong horse").await;
        sqlx::query("update identity.guesses set guesses = 100")
            .execute(&app.database.superuser().await)
            .await
            .unwrap();
        let token = format!("Bearer {}", ada["access_token"].as_str().unwrap());
        let mut headers = vec![("authorization", token.as_str())];
        if shows_its_token {
            headers.push(("kinledger-device", ada["device_token"].as_str().unwrap()));
        }
        let body = json!({"new_password": NEW_PASSWORD});
        let changed = app
            .send(json_request("/api/v1/auth/change-password", &body, &headers))
            .await;
        assert_eq!(changed.status, StatusCode::NO_CONTENT, "{changed:?}");
        let devices = app.known_devices(&ada).await;
        assert_eq!(devices.len(), 1, "{devices:?}");
        assert_eq!(devices[0]["is_current"], true);
        let again = app.sign_in_on(&ada["device_token"], &email, NEW_PASSWORD).await.body;
        assert_eq!(again.get("device_token"), None);
        let other = app.sign_in_on(&other["device_token"], &email, NEW_PASSWORD).await.body;
        assert!(other["device_token"].is_string(), "a new device: {other}");
    }
    app.end().await;
}

#[tokio::test]
async fn a_browser_keeps_its_devices_token_where_no_script_reads_it() {
    let app = App::start().await;
    let body = json!({"email": "ada@example.org", "password": PASSWORD, "display_name": "Ada"});
    let request = json_request("/api/v1/auth/register", &body, &[]);
    let response = tower::ServiceExt::oneshot(app.router.clone(), request).await.unwrap();
    let cookie = response.headers()[header::SET_COOKIE].to_str().unwrap().to_owned();
    for part in [
        "__Secure-kinledger-device-",
        "=kld_",
        "HttpOnly",
        "Secure",
        "SameSite=Strict",
        "Path=/api/v1/auth",
    ] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let pair = cookie.split(';').next().unwrap();
    let body = json!({"email": "ada@example.org", "password": PASSWORD});
    let known = app
        .send(json_request("/api/v1/auth/login", &body, &[("cookie", pair)]))
        .await;
    assert_eq!(known.body.get("device_token"), None);
    app.end().await;
}

#[tokio::test]
async fn a_browser_that_two_people_share_is_a_known_device_of_both() {
    let app = App::start().await;
    let mut cookies: Vec<String> = Vec::new();
    let mut tokens = Vec::new();
    for email in ["ada@example.org", "bob@example.org"] {
        let body = json!({"email": email, "password": PASSWORD, "display_name": "Ada"});
        let shown = cookies.join("; ");
        let registered = app
            .send(json_request("/api/v1/auth/register", &body, &[("cookie", &shown)]))
            .await;
        let cookie = registered.cookie.unwrap();
        cookies.push(cookie.split(';').next().unwrap().to_owned());
        tokens.push(registered.body);
    }
    let name = |cookie: &str| cookie.split('=').next().unwrap().to_owned();
    assert_ne!(
        name(&cookies[0]),
        name(&cookies[1]),
        "one does not take the other's place"
    );
    let of_before = format!(
        "__Secure-kinledger-device={}",
        tokens[0]["device_token"].as_str().unwrap()
    );
    let both = cookies.join("; ");
    let one_of_before = format!("{of_before}; {}", cookies[1]);
    for shown in [both, one_of_before] {
        for (email, tokens) in ["ada@example.org", "bob@example.org"].iter().zip(&tokens) {
            let body = json!({"email": email, "password": PASSWORD});
            let known = app
                .send(json_request("/api/v1/auth/login", &body, &[("cookie", &shown)]))
                .await;
            assert_eq!((known.status, &known.cookie), (StatusCode::OK, &None), "{email}");
            assert_eq!(app.known_devices(tokens).await.len(), 1);
            // Two tabs, in the shared browser.
            let body = json!({"refresh_token": known.body["refresh_token"]});
            for _tab in 0..2 {
                let refreshed = app
                    .send(json_request("/api/v1/auth/refresh", &body, &[("cookie", &shown)]))
                    .await;
                assert_eq!(refreshed.status, StatusCode::OK, "{refreshed:?}");
            }
        }
    }
    app.end().await;
}

#[tokio::test]
async fn twenty_tabs_of_one_browser_that_refresh_at_once_get_one_successor() {
    let app = App::start().await;
    let ada = app.register("ada@example.org").await;
    let answers =
        join_all((0..20).map(|_| app.refresh_on(&ada["device_token"], &ada["refresh_token"], Some(Uuid::new_v4()))))
            .await;
    let successor = &answers[0].body["refresh_token"];
    for answer in &answers {
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        assert_eq!(&answer.body["refresh_token"], successor);
        assert!(app.is_signed_in(&answer.body["access_token"]).await);
    }
    assert_eq!(
        app.refresh_on(&ada["device_token"], successor, None).await.status,
        StatusCode::OK
    );
    app.end().await;
}

#[tokio::test]
async fn a_thief_without_the_device_ends_the_session_whoever_comes_first() {
    let app = App::start().await;
    let other_device = app.register("eve@example.org").await["device_token"].clone();
    for thief_device in [None, Some(other_device)] {
        for thief_is_first in [true, false] {
            let owner = app.sign_in_or_register().await;
            let steal = async || match &thief_device {
                None => app.refresh(&owner["refresh_token"], Some(Uuid::new_v4())).await,
                Some(device) => app.refresh_on(device, &owner["refresh_token"], None).await,
            };
            let use_it = async || {
                app.refresh_on(&owner["device_token"], &owner["refresh_token"], None)
                    .await
            };
            let (first, second) = if thief_is_first {
                (steal().await, use_it().await)
            } else {
                (use_it().await, steal().await)
            };
            assert_eq!(first.status, StatusCode::OK);
            assert_eq!(
                (second.status, second.problem()),
                (StatusCode::UNAUTHORIZED, "/problems/refresh-token-reused")
            );
            assert!(!app.is_signed_in(&first.body["access_token"]).await);
            assert_eq!(
                app.refresh_on(&owner["device_token"], &first.body["refresh_token"], None)
                    .await
                    .status,
                StatusCode::UNAUTHORIZED
            );
        }
    }
    app.end().await;
}

impl App {
    /// A fresh account with a fresh device.
    async fn sign_in_or_register(&self) -> Value {
        self.register(&format!("{}@example.org", Uuid::new_v4().simple())).await
    }
}

#[tokio::test]
async fn a_thief_with_token_and_device_is_found_out_by_the_next_late_use() {
    let app = App::start().await;
    let owner = app.register("ada@example.org").await;
    let stolen = app
        .refresh_on(&owner["device_token"], &owner["refresh_token"], None)
        .await
        .body;
    let shared = app
        .refresh_on(&owner["device_token"], &owner["refresh_token"], None)
        .await
        .body;
    assert_eq!(stolen["refresh_token"], shared["refresh_token"]);
    let owners_next = app
        .refresh_on(&owner["device_token"], &shared["refresh_token"], None)
        .await;
    assert_eq!(owners_next.status, StatusCode::OK);
    sqlx::query(
        "update identity.refresh_tokens set used_at = used_at - interval '11 seconds' where used_at is not null",
    )
    .execute(&app.database.superuser().await)
    .await
    .unwrap();
    let late = app
        .refresh_on(&owner["device_token"], &stolen["refresh_token"], None)
        .await;
    assert_eq!(late.problem(), "/problems/refresh-token-reused");
    assert!(!app.is_signed_in(&owners_next.body["access_token"]).await);
    app.end().await;
}

#[tokio::test]
async fn a_hundred_wrong_passwords_a_day_are_looked_at_across_restarts_and_processes_and_the_owner_still_gets_in() {
    let mut app = App::start().await;
    let ada = app.register("ada@example.org").await;
    let database = app.database.superuser().await;
    let wrong = app.sign_in("ada@example.org", "wrong horse").await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    // 97 more, spread over the day so far, without waiting for them here.
    sqlx::query("update identity.guesses set guesses = guesses + 97")
        .execute(&database)
        .await
        .unwrap();
    let (mut looked_at, mut turned_away) = (0, 0);
    for _restart in 0..10 {
        app = App::on(app.database, &quick(), [7; 32]).await;
        let answers = join_all((0..110).map(|number| {
            let app = &app;
            async move { app.sign_in("ada@example.org", &format!("wrong horse {number}")).await }
        }))
        .await;
        for answer in answers {
            match answer.status {
                StatusCode::UNAUTHORIZED => looked_at += 1,
                StatusCode::TOO_MANY_REQUESTS => turned_away += 1,
                other => panic!("{other} {answer:?}"),
            }
        }
    }
    assert_eq!((looked_at, turned_away), (2, 1_098));

    let stranger = app.sign_in("ada@example.org", PASSWORD).await;
    assert_eq!(
        stranger.status,
        StatusCode::TOO_MANY_REQUESTS,
        "even a right password, from a stranger"
    );
    let owner = app.sign_in_on(&ada["device_token"], "ada@example.org", PASSWORD).await;
    assert_eq!(owner.status, StatusCode::OK, "{owner:?}");
    let unaware = app.register("bob@example.org").await;
    assert!(unaware["access_token"].is_string(), "other accounts are not touched");
    app.end().await;
}

#[tokio::test]
async fn a_device_in_strange_hands_has_a_hundred_guesses_of_its_own_and_slows_no_other() {
    let app = App::start().await;
    let ada = app.register("ada@example.org").await;
    let second = app.sign_in("ada@example.org", PASSWORD).await.body;
    app.sign_in_on(&ada["device_token"], "ada@example.org", "wrong horse")
        .await;
    sqlx::query("update identity.guesses set guesses = 100 where guesses > 0")
        .execute(&app.database.superuser().await)
        .await
        .unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    let used_up = app.sign_in_on(&ada["device_token"], "ada@example.org", PASSWORD).await;
    assert_eq!(used_up.status, StatusCode::TOO_MANY_REQUESTS);
    let other = app
        .sign_in_on(&second["device_token"], "ada@example.org", PASSWORD)
        .await;
    assert_eq!(other.status, StatusCode::OK, "{other:?}");
    app.end().await;
}

#[tokio::test]
async fn an_address_without_an_account_is_counted_alike() {
    let app = App::start().await;
    app.register("ada@example.org").await;
    for email in ["ada@example.org", "eve@example.org"] {
        app.sign_in(email, "wrong horse").await;
    }
    sqlx::query("update identity.guesses set guesses = 100")
        .execute(&app.database.superuser().await)
        .await
        .unwrap();
    let app = App::on(app.database, &quick(), [7; 32]).await;
    let known = app.sign_in("ada@example.org", "wrong horse").await;
    let unknown = app.sign_in("eve@example.org", "wrong horse").await;
    assert_eq!(known.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!((known.status, known.body), (unknown.status, unknown.body));
    app.end().await;
}
