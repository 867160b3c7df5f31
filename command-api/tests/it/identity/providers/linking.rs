//! Linking that nobody hijacks, from either side.

use std::time::{Duration, Instant};

use axum::http::StatusCode;
use command_api::identity::operators_reset_token;
use serde_json::{Value, json};
use service_kit::{database::DatabaseRole, testing::mailbox::Mailbox};

use super::{
    super::{PASSWORD, accounts::NEW_PASSWORD, mailing},
    App, app_waiting, app_with, begin, count,
    fake::{Fake, Manner},
    finish, finish_with, link_with, path, plain, token_of, trail,
};

const EMAIL: &str = "ada@example.org";

fn person(sub: &str, email: &str, is_verified: bool) -> Value {
    json!({"sub": sub, "email": email, "email_verified": is_verified, "name": "Ada"})
}

async fn sign_in(app: &App, fake: &Fake, claims: Value) -> super::Answer {
    let begun = begin(app, "fake", "start", None).await;
    let code = fake.visit(&begun, claims);
    finish(app, "fake", &begun, &code).await
}

async fn link(app: &App, fake: &Fake, token: &str, claims: Value) -> super::Answer {
    let begun = begin(app, "fake", "link", Some(token)).await;
    let code = fake.visit(&begun, claims);
    link_with(app, token, "fake", &begun, &code).await
}

async fn verify(app: &App, email: &str) {
    let pool = app.database.superuser().await;
    sqlx::query("update identity.users set email_verified_at = clock_timestamp() where email = $1")
        .bind(email)
        .execute(&pool)
        .await
        .unwrap();
    pool.close().await;
}

async fn change(app: &App, statement: &str) {
    let pool = app.database.superuser().await;
    sqlx::query(statement).execute(&pool).await.unwrap();
    pool.close().await;
}

#[tokio::test]
async fn an_account_with_the_same_address_is_opened_by_its_own_ways_only_verified_or_not() {
    let fake = Fake::start().await;
    let app = app_with(&fake.settings(), plain()).await;
    let ada = app.register(EMAIL).await;
    for is_verified_here in [false, true] {
        if is_verified_here {
            verify(&app, EMAIL).await;
        }
        let refused = sign_in(&app, &fake, person("1", "ADA@example.org", true)).await;
        assert_eq!(
            (refused.status, refused.problem()),
            (StatusCode::CONFLICT, "/problems/link-required")
        );
        assert!(refused.body.get("access_token").is_none());
    }
    assert_eq!(
        (count(&app, "users").await, count(&app, "linked_sign_ins").await),
        (1, 0)
    );
    // What she does is sign in, and link: from then on it is one account.
    let signed_in = app.sign_in(EMAIL, PASSWORD).await;
    let linked = link(&app, &fake, token_of(&signed_in), person("1", EMAIL, true)).await;
    assert_eq!(linked.status, StatusCode::NO_CONTENT, "{linked:?}");
    let by_provider = sign_in(&app, &fake, person("1", EMAIL, true)).await;
    assert_eq!(by_provider.body["user_id"], ada["user_id"]);
    // The key is the subject: another one with her address is still nobody, and she may change her address there.
    let other = sign_in(&app, &fake, person("2", EMAIL, true)).await;
    assert_eq!(other.problem(), "/problems/link-required");
    let moved = sign_in(&app, &fake, person("1", "moved@example.org", false)).await;
    assert_eq!(moved.body["user_id"], ada["user_id"]);
    assert_eq!(count(&app, "users").await, 1);
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_made_an_account_with_a_victims_address_captures_nothing_and_loses_it_to_a_reset_by_mail() {
    let (fake, mailbox) = (Fake::start().await, Mailbox::start());
    let app = app_with(&fake.settings(), mailing(&mailbox)).await;
    // Eve registers with Ada's address, and would link an account of her own for later.
    let eve = app.register(EMAIL).await;
    mailbox.wait_for(EMAIL, 1);
    let eves_token = eve["access_token"].as_str().unwrap();
    let refused = app.post_as(eves_token, &path("fake", "link"), json!({})).await;
    assert_eq!(
        (refused.status, refused.problem()),
        (StatusCode::FORBIDDEN, "/problems/email-not-verified")
    );
    // She did while this installation sent no mail yet.
    change(&app, "update identity.users set email_verified_at = clock_timestamp()").await;
    let trojan = link(&app, &fake, eves_token, person("eve", "eve@example.org", true)).await;
    assert_eq!(trojan.status, StatusCode::NO_CONTENT, "{trojan:?}");
    change(&app, "update identity.users set email_verified_at = null").await;
    // Ada comes by the provider: nothing of hers ends up in Eve's account.
    let ada = sign_in(&app, &fake, person("ada", EMAIL, true)).await;
    assert_eq!(ada.problem(), "/problems/link-required");
    assert_eq!(count(&app, "linked_sign_ins").await, 1);
    // She takes her address back by mail. What Eve had prepared opens nothing any more.
    app.post("/api/v1/auth/forgot-password", json!({"email": EMAIL})).await;
    let letters = mailbox.wait_for(EMAIL, 3);
    let token = letters
        .iter()
        .find_map(|letter| {
            letter
                .text
                .contains("reset-password?token=")
                .then(|| letter.after("token="))
        })
        .unwrap();
    let reset = json!({"token": token, "new_password": "a password of Ada's own"});
    let reset = app.post("/api/v1/auth/reset-password", reset).await;
    assert_eq!(reset.status, StatusCode::NO_CONTENT, "{reset:?}");
    assert!(!app.is_signed_in(&eve["access_token"]).await);
    assert_eq!(count(&app, "linked_sign_ins").await, 0);
    let eve_again = sign_in(&app, &fake, person("eve", "eve@example.org", true)).await;
    assert_ne!(eve_again.body["user_id"], eve["user_id"], "{eve_again:?}");
    let owner = app.sign_in(EMAIL, "a password of Ada's own").await;
    assert_eq!(owner.body["user_id"], eve["user_id"]);
    app.end().await;
}

#[tokio::test]
async fn a_provider_whose_word_for_addresses_is_no_proof_brings_none() {
    let fake = Fake::start().await;
    let mut settings = fake.settings();
    settings["fake"]["trusts_email"] = json!(false);
    let app = app_with(&settings, plain()).await;
    let ada = app.register(EMAIL).await;
    let stranger = sign_in(&app, &fake, person("1", EMAIL, true)).await;
    assert_eq!(stranger.status, StatusCode::OK, "{stranger:?}");
    assert_ne!(stranger.body["user_id"], ada["user_id"]);
    // It reads the same for an address that nobody has: the answer tells no one who has an account.
    let other = sign_in(&app, &fake, person("2", "free@example.org", true)).await;
    assert_eq!(other.status, StatusCode::OK);
    let emails = [&stranger, &other].map(|answer| token_of(answer).to_owned());
    for token in emails {
        let profile = app.get_as(&token, "/api/v1/auth/profile").await.body;
        assert_eq!(profile["email"], "");
    }
    app.end().await;
}

#[tokio::test]
async fn a_second_factor_is_asked_for_after_a_provider_too() {
    let fake = Fake::start().await;
    let app = app_with(&fake.settings(), plain()).await;
    let first = sign_in(&app, &fake, person("1", EMAIL, true)).await;
    let pool = app.database.superuser().await;
    // A confirmed authenticator app; how it is added is tested elsewhere.
    sqlx::query(
        "insert into identity.totp_factors (user_id, sealed_seed, confirmed_at)
         select user_id, decode(repeat('00', 60), 'hex'), clock_timestamp() from identity.users",
    )
    .execute(&pool)
    .await
    .unwrap();
    pool.close().await;
    let sessions = count(&app, "sessions").await;
    let second = sign_in(&app, &fake, person("1", EMAIL, true)).await;
    assert_eq!(
        (second.status, second.problem()),
        (StatusCode::UNAUTHORIZED, "/problems/factor-required")
    );
    assert!(second.body["challenge"].is_string());
    assert_eq!(second.body["factors"], json!(["totp"]));
    assert_eq!(count(&app, "sessions").await, sessions);
    assert!(app.is_signed_in(&first.body["access_token"]).await);
    app.end().await;
}

#[tokio::test]
async fn a_link_ends_in_the_session_it_began_in_and_takes_nobody_elses_sign_in() {
    let fake = Fake::start().await;
    let app = app_with(&fake.settings(), plain()).await;
    let ada = app.register(EMAIL).await;
    let eve = app.register("eve@example.org").await;
    let (ada, eve) = (
        ada["access_token"].as_str().unwrap(),
        eve["access_token"].as_str().unwrap(),
    );
    // Eve cannot finish what Ada began, nor make Ada finish what she began, nor finish a link as a sign-in or the other way round.
    let begun = begin(&app, "fake", "link", Some(ada)).await;
    let code = fake.visit(&begun, person("ada", EMAIL, true));
    let sign_in_begun = begin(&app, "fake", "start", None).await;
    let other_code = fake.visit(&sign_in_begun, person("eve", "eve@example.org", true));
    for refused in [
        link_with(&app, eve, "fake", &begun, &code).await,
        finish(&app, "fake", &begun, &code).await,
        link_with(&app, ada, "fake", &sign_in_begun, &other_code).await,
    ] {
        assert_eq!(
            (refused.status, refused.problem()),
            (StatusCode::UNAUTHORIZED, "/problems/unknown-sign-in")
        );
    }
    let another_session = app.sign_in(EMAIL, PASSWORD).await;
    let refused = link_with(&app, token_of(&another_session), "fake", &begun, &code).await;
    assert_eq!(refused.problem(), "/problems/unknown-sign-in");
    assert_eq!(count(&app, "linked_sign_ins").await, 0);
    let linked = link_with(&app, ada, "fake", &begun, &code).await;
    assert_eq!(linked.status, StatusCode::NO_CONTENT, "{linked:?}");
    // The same again is no news; another of hers, or hers for Eve, is refused.
    let same = link(&app, &fake, ada, person("ada", EMAIL, true)).await;
    assert_eq!(same.status, StatusCode::NO_CONTENT);
    let second = link(&app, &fake, ada, person("ada's other", EMAIL, true)).await;
    assert_eq!(
        (second.status, second.problem()),
        (StatusCode::CONFLICT, "/problems/provider-linked")
    );
    let stolen = link(&app, &fake, eve, person("ada", EMAIL, true)).await;
    assert_eq!(
        (stolen.status, stolen.problem()),
        (StatusCode::CONFLICT, "/problems/sign-in-taken")
    );
    assert_eq!(count(&app, "linked_sign_ins").await, 1);
    let kinds = trail(&app).await;
    assert_eq!(kinds.iter().filter(|kind| *kind == "sign-in-linked").count(), 1);
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_told_by_mail_taken_away_and_never_the_last_way_in() {
    let (fake, mailbox) = (Fake::start().await, Mailbox::start());
    let app = app_with(&fake.settings(), mailing(&mailbox)).await;
    let by_provider = sign_in(&app, &fake, person("1", EMAIL, true)).await;
    let token = token_of(&by_provider).to_owned();
    let last = app.delete_as(&token, &path("fake", "link")).await;
    assert_eq!(
        (last.status, last.problem()),
        (StatusCode::CONFLICT, "/problems/last-way-in")
    );
    // With a password beside it, it can go: a fresh proof does for who had none.
    let password = json!({"new_password": "a password of Ada's own"});
    let set = app.post_as(&token, "/api/v1/auth/change-password", password).await;
    assert_eq!(set.status, StatusCode::NO_CONTENT, "{set:?}");
    let unlinked = app.delete_as(&token, &path("fake", "link")).await;
    assert_eq!(unlinked.status, StatusCode::NO_CONTENT, "{unlinked:?}");
    let again = app.delete_as(&token, &path("fake", "link")).await;
    assert_eq!(again.status, StatusCode::NOT_FOUND);
    let refused = sign_in(&app, &fake, person("1", EMAIL, true)).await;
    assert_eq!(refused.problem(), "/problems/link-required");
    let linked = link(&app, &fake, &token, person("1", EMAIL, true)).await;
    assert_eq!(linked.status, StatusCode::NO_CONTENT, "{linked:?}");
    let subjects: Vec<String> = mailbox
        .wait_for(EMAIL, 3)
        .iter()
        .map(|letter| letter.header("subject"))
        .collect();
    for subject in ["A way to sign in was taken away", "Another way to sign in was added"] {
        assert_eq!(
            subjects.iter().filter(|told| *told == subject).count(),
            1,
            "{subjects:?}"
        );
    }
    let profile = app.get_as(&token, "/api/v1/auth/profile").await.body;
    assert_eq!(profile["linked"].as_array().unwrap().len(), 1);
    app.end().await;
}

#[tokio::test]
async fn fifty_tabs_of_somebody_new_make_one_account() {
    let fake = Fake::start().await;
    let app = app_with(&fake.settings(), plain()).await;
    let mut begun = Vec::new();
    for _ in 0..50 {
        let one = begin(&app, "fake", "start", None).await;
        let code = fake.visit(&one, person("1", EMAIL, true));
        begun.push((one, code));
    }
    let answers = futures::future::join_all(begun.iter().map(|(one, code)| finish(&app, "fake", one, code))).await;
    let mut owners = std::collections::BTreeSet::new();
    for answer in &answers {
        match answer.status {
            StatusCode::OK => owners.insert(answer.body["user_id"].to_string()),
            // Eight at once ask a provider; and who sees the address taken a moment before the link is told to sign in.
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::CONFLICT => continue,
            _ => panic!("{answer:?}"),
        };
    }
    assert_eq!(owners.len(), 1);
    assert_eq!(
        (count(&app, "users").await, count(&app, "linked_sign_ins").await),
        (1, 1)
    );
    app.end().await;
}

#[tokio::test]
async fn nothing_of_a_sign_in_elsewhere_is_stored_in_clear() {
    let fake = Fake::start().await;
    let app = app_with(&fake.settings(), plain()).await;
    let subject = "a-subject-nobody-else-has";
    let begun = begin(&app, "fake", "start", None).await;
    let pool = app.database.superuser().await;
    let dump = async |table: &str| {
        let rows: Vec<(String,)> = sqlx::query_as(&format!("select row_to_json(t)::text from identity.{table} as t"))
            .fetch_all(&pool)
            .await
            .unwrap();
        rows.into_iter().map(|(row,)| row).collect::<String>()
    };
    let flows = dump("provider_flows").await;
    assert!(!flows.is_empty());
    let code = fake.visit(&begun, person(subject, EMAIL, true));
    let finished = finish(&app, "fake", &begun, &code).await;
    assert_eq!(finished.status, StatusCode::OK);
    let links = dump("linked_sign_ins").await;
    assert!(!links.is_empty());
    let verifier = fake.lock().forms[0]["code_verifier"].clone();
    let binding = begun.binding.as_str().unwrap();
    for secret in [
        &begun.state(),
        binding,
        &begun.parameter("nonce"),
        &verifier,
        subject,
        &code,
    ] {
        for stored in [&flows, &links] {
            assert!(
                !stored.contains(secret) && !stored.contains(&hex::encode(secret)),
                "{stored}"
            );
        }
    }
    assert_eq!(dump("provider_flows").await, "");
    pool.close().await;
    app.end().await;
}

#[tokio::test]
async fn a_link_whose_provider_took_its_time_comes_too_late_for_an_account_taken_back_or_closed() {
    for way in ["reset-password", "logout", "close"] {
        let fake = Fake::start().await;
        let app = app_waiting(&fake.settings(), plain(), Duration::from_secs(60)).await;
        let owner = app.register(EMAIL).await;
        verify(&app, EMAIL).await;
        let thief = app.sign_in(EMAIL, PASSWORD).await;
        let thief = token_of(&thief);
        let begun = begin(&app, "fake", "link", Some(thief)).await;
        let code = fake.visit(&begun, person("eve", "eve@example.org", true));
        fake.lock().manner = Manner::Waiting;
        let taken_back = async {
            let deadline = Instant::now() + Duration::from_secs(20);
            while fake.lock().forms.is_empty() {
                assert!(Instant::now() < deadline, "nobody asks the provider");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let (body, token) = match way {
                "reset-password" => {
                    let identities = app.database.pool(DatabaseRole::Identity).await;
                    let token = operators_reset_token(&identities, EMAIL).await.unwrap().unwrap();
                    (json!({"token": token, "new_password": NEW_PASSWORD}), "")
                }
                "logout" => (json!({"everywhere": true}), owner["access_token"].as_str().unwrap()),
                _ => (json!({"password": PASSWORD}), owner["access_token"].as_str().unwrap()),
            };
            let done = app.post_as(token, &format!("/api/v1/auth/{way}"), body).await;
            assert_eq!(done.status, StatusCode::NO_CONTENT, "{way} {done:?}");
            fake.lock().manner = Manner::Sound;
        };
        let (late, ()) = tokio::join!(link_with(&app, thief, "fake", &begun, &code), taken_back);
        assert_eq!(
            (late.status, late.problem()),
            (StatusCode::UNAUTHORIZED, "/problems/not-signed-in"),
            "{way} {late:?}"
        );
        assert_eq!(count(&app, "linked_sign_ins").await, 0, "{way}");
        // Who comes by it is somebody new.
        let by_provider = sign_in(&app, &fake, person("eve", "eve@example.org", true)).await;
        assert_eq!(by_provider.status, StatusCode::OK, "{way} {by_provider:?}");
        assert_ne!(by_provider.body["user_id"], owner["user_id"], "{way}");
        app.end().await;
    }
}

#[tokio::test]
async fn a_sign_in_that_begins_in_another_tab_does_not_undo_the_first() {
    let fake = Fake::start().await;
    let app = app_with(&fake.settings(), plain()).await;
    let tabs = [
        begin(&app, "fake", "start", None).await,
        begin(&app, "fake", "start", None).await,
    ];
    let cookies = format!("{}; {}", tabs[0].cookie, tabs[1].cookie);
    assert_ne!(tabs[0].cookie.split('=').next(), tabs[1].cookie.split('=').next());
    for tab in &tabs {
        let code = fake.visit(tab, person("1", EMAIL, true));
        let body = json!({"state": tab.state(), "code": code});
        let signed_in = finish_with(&app, "fake", &body, &[("cookie", &cookies)]).await;
        assert_eq!(signed_in.status, StatusCode::OK, "{signed_in:?}");
    }
    app.end().await;
}
