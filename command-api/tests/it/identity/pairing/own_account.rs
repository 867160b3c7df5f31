//! Who signed in by a paired device gets an address and a password of their own, and stays who they are.

use axum::http::{Method, StatusCode};
use command_api::identity::{EmailVerification, IdentityConfig};
use domain::{actor::Role, id::UserId};
use futures::future::join_all;
use serde_json::{Value, json};
use service_kit::testing::mailbox::Mailbox;

use super::{
    super::{
        Answer, App, PASSWORD,
        accounts::{mails, waited},
        json_request, mailing,
    },
    DEVICES, Device, Home, text,
};

const OWN: &str = "/api/v1/auth/join/own-account";
const PHONE: &str = "/api/v1/auth/profile/phone";
const EMAIL: &str = "tilda@example.org";
const TEENS_PIN: &str = "27491308";

impl Home {
    async fn invited(&self, body: Value) -> Answer {
        let path = format!("/api/v1/families/{}/members/{}/invitation", self.family_id, self.child);
        self.app.post_as(&self.parent, &path, body).await
    }

    /// Whoever has the code and nothing else.
    async fn takes(&self, code: &Value, email: &str) -> Answer {
        waited(async || self.app.post(OWN, taking(code, email)).await).await
    }

    /// With an access token.
    async fn takes_as(&self, token: &Value, code: &Value, email: &str) -> Answer {
        waited(async || self.app.post_as(&text(token), OWN, taking(code, email)).await).await
    }
}

fn taking(code: &Value, email: &str) -> Value {
    json!({"code": code, "email": email, "password": PASSWORD, "display_name": "Tilda"})
}

fn said(answer: &Answer) -> (u16, &str) {
    (answer.status.as_u16(), answer.problem())
}

#[tokio::test]
async fn who_is_an_adult_now_takes_a_password_instead_of_a_pin_and_keeps_account_and_place() {
    let home = Home::with(Role::Teen).await;
    let (device, second) = (Device::new(), Device::new());
    let paired = home.paired(&device, TEENS_PIN).await;
    let other = home.paired(&second, TEENS_PIN).await;
    let user: UserId = text(&paired["tokens"]["user_id"]).parse().unwrap();
    home.app
        .places
        .put(home.family_id, home.child, Role::Partner, Some(user));
    let refused = home.unlock(&device, &paired["device_id"], TEENS_PIN).await;
    assert_eq!(said(&refused), (403, "/problems/not-young"));

    let invited = home.invited(json!({})).await;
    assert_eq!(invited.status, StatusCode::CREATED, "{invited:?}");
    let code = &invited.body["code"];
    // The code is for that account, and opens the place to nobody else.
    let stranger = home.app.register("eve@example.org").await;
    let joined = home
        .app
        .post_as(
            &text(&stranger["access_token"]),
            "/api/v1/auth/join",
            json!({"code": code}),
        )
        .await;
    assert_eq!(said(&joined), (404, "/problems/unknown-invitation"));
    assert_eq!(
        said(&home.takes(&json!("no such code"), EMAIL).await),
        (404, "/problems/unknown-invitation")
    );
    let taken = home.takes(code, "eve@example.org").await;
    assert_eq!(said(&taken), (409, "/problems/email-taken"));

    let own = home.takes(code, EMAIL).await;
    assert_eq!(own.status, StatusCode::CREATED, "{own:?}");
    assert_eq!(own.body["user_id"], paired["tokens"]["user_id"]);
    assert_eq!(home.app.places.holder(home.family_id, home.child), Some(user));
    let token = text(&own.body["access_token"]);
    let profile = home.app.get_as(&token, "/api/v1/auth/profile").await.body;
    assert_eq!(
        (&profile["email"], &profile["display_name"]),
        (&json!(EMAIL), &json!("Tilda"))
    );
    let known = home.app.get_as(&token, "/api/v1/auth/devices").await.body;
    assert_eq!(known["devices"].as_array().unwrap().len(), 1, "{known}");
    assert_eq!(home.app.sign_in(EMAIL, PASSWORD).await.status, StatusCode::OK);

    // What the parent paired is over, and cannot be paired again.
    for tokens in [&paired["tokens"], &other["tokens"]] {
        assert!(!home.app.is_signed_in(&tokens["access_token"]).await);
    }
    for (device, paired) in [(&device, &paired), (&second, &other)] {
        let unlocked = home.unlock(device, &paired["device_id"], TEENS_PIN).await;
        assert_eq!(said(&unlocked), (401, "/problems/wrong-credentials"));
    }
    assert_eq!(
        said(&home.takes(code, "again@example.org").await),
        (404, "/problems/unknown-invitation")
    );
    assert_eq!(said(&home.invited(json!({})).await), (409, "/problems/already-joined"));
    // From here on the account is one like others.
    let body = json!({"name": "script", "scopes": ["read"]});
    let key = home.app.post_as(&token, "/api/v1/auth/api-keys", body).await;
    assert_eq!(key.status, StatusCode::CREATED, "{key:?}");
    let authorization = format!("Bearer {token}");
    let mut phone = json_request(
        PHONE,
        &json!({"number": "+491701234567"}),
        &[("authorization", &authorization)],
    );
    *phone.method_mut() = Method::PUT;
    assert_eq!(said(&home.app.send(phone).await), (422, "/problems/sms-not-configured"));
    // Its trail goes on from where it was.
    let trail = home.app.get_as(&token, "/api/v1/auth/security-events").await.body;
    let kinds: Vec<&str> = trail["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["kind"].as_str().unwrap())
        .collect();
    assert!(
        kinds.contains(&"device-paired") && kinds.contains(&"registered"),
        "{kinds:?}"
    );
    home.app.end().await;
}

/// Otherwise an adult who makes the code could take the place by it, and keep it when they are removed.
#[tokio::test]
async fn the_code_of_a_teen_or_child_opens_nothing_but_on_a_device_of_theirs() {
    for (role, pin) in [(Role::Teen, TEENS_PIN), (Role::Child, super::PIN)] {
        let home = Home::with(role).await;
        let (device, ended) = (Device::new(), Device::new());
        let paired = home.paired(&device, pin).await;
        let gone = home.paired(&ended, pin).await;
        let path = format!("{DEVICES}/{}", text(&gone["device_id"]));
        assert_eq!(
            home.app.delete_as(&home.parent, &path).await.status,
            StatusCode::NO_CONTENT
        );
        let code = home.invited(json!({})).await.body["code"].clone();
        let elsewhere = "/problems/paired-device-required";
        let by_code = home.takes(&code, EMAIL).await;
        assert_eq!(said(&by_code), (403, elsewhere), "{role:?}: {by_code:?}");
        let by_maker = home.takes_as(&json!(home.parent), &code, EMAIL).await;
        assert_eq!(said(&by_maker), (403, elsewhere), "{role:?}: {by_maker:?}");
        for token in [&json!("none.of.ours"), &gone["tokens"]["access_token"]] {
            let refused = home.takes_as(token, &code, EMAIL).await;
            assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{role:?}: {refused:?}");
        }
        assert_eq!(home.app.sign_in(EMAIL, PASSWORD).await.status, StatusCode::UNAUTHORIZED);
        assert!(home.app.is_signed_in(&paired["tokens"]["access_token"]).await);

        // The session that goes on from an old unlocking is somebody's who found the device open.
        let pool = home.app.database.superuser().await;
        sqlx::query("update identity.sessions set proven_at = proven_at - interval '11 minutes'")
            .execute(&pool)
            .await
            .unwrap();
        pool.close().await;
        let token = text(&paired["tokens"]["refresh_token"]);
        let body = json!({"refresh_token": token, "device_signature": device.sign("refresh", &token)});
        let old = home.app.post("/api/v1/auth/refresh", body).await;
        let by_old = home.takes_as(&old.body["access_token"], &code, EMAIL).await;
        assert_eq!(
            said(&by_old),
            (403, "/problems/step-up-required"),
            "{role:?}: {by_old:?}"
        );
        let detail = by_old.body["detail"].as_str().unwrap();
        assert!(detail.contains("/api/v1/auth/device/unlock"), "{detail}");

        let unlocked = home.unlock(&device, &paired["device_id"], pin).await;
        assert_eq!(unlocked.status, StatusCode::OK, "{unlocked:?}");
        let own = home.takes_as(&unlocked.body["access_token"], &code, EMAIL).await;
        assert_eq!(own.status, StatusCode::CREATED, "{role:?}: {own:?}");
        assert_eq!(own.body["user_id"], paired["tokens"]["user_id"]);
        home.app.end().await;
    }
}

#[tokio::test]
async fn a_teen_takes_an_account_of_their_own_once_however_often_the_code_is_used_at_once() {
    let home = Home::with(Role::Teen).await;
    let token = home.paired(&Device::new(), TEENS_PIN).await["tokens"]["access_token"].clone();
    let code = home.invited(json!({})).await.body["code"].clone();
    let answers = join_all((0..6).map(|number| {
        let (home, token, code) = (&home, &token, &code);
        async move { home.takes_as(token, code, &format!("tilda{number}@example.org")).await }
    }))
    .await;
    let took = answers
        .iter()
        .filter(|answer| answer.status == StatusCode::CREATED)
        .count();
    // The code is used, or the session has ended with the device's.
    let refused = answers
        .iter()
        .filter(|answer| [StatusCode::NOT_FOUND, StatusCode::UNAUTHORIZED].contains(&answer.status))
        .count();
    assert_eq!((took, refused), (1, 5), "{answers:?}");
    assert_eq!(
        home.count("select count(*) from identity.users where email like 'tilda%'")
            .await,
        1
    );
    home.app.end().await;
}

#[tokio::test]
async fn an_offer_ends_with_who_made_it() {
    let home = Home::with(Role::Teen).await;
    home.paired(&Device::new(), TEENS_PIN).await;
    let code = home.invited(json!({})).await.body["code"].clone();
    let profile = home.app.get_as(&home.parent, "/api/v1/auth/profile").await;
    let parent: UserId = text(&profile.body["user_id"]).parse().unwrap();
    let place = home.app.places.place_of(home.family_id, parent);
    home.app.places.put(home.family_id, place, Role::Parent, None);
    assert_eq!(
        said(&home.takes(&code, EMAIL).await),
        (404, "/problems/unknown-invitation")
    );
    assert_eq!(
        home.count("select count(*) from identity.users where email is null")
            .await,
        1
    );
    home.app.end().await;
}

#[tokio::test]
async fn where_addresses_must_be_verified_the_invitation_goes_to_the_address() {
    let home = Home::with(Role::Teen).await;
    let token = home.paired(&Device::new(), TEENS_PIN).await["tokens"]["access_token"].clone();
    let shown = home.invited(json!({})).await.body["code"].clone();
    let mailbox = Mailbox::start();
    let config = IdentityConfig {
        email_verification: EmailVerification::Required,
        ..mailing(&mailbox)
    };
    let (user, users) = (
        home.app.places.holder(home.family_id, home.child),
        home.app.get_as(&home.parent, "/api/v1/auth/profile").await.body["user_id"].clone(),
    );
    let place = home.app.places.place_of(home.family_id, text(&users).parse().unwrap());
    let app = App::on(home.app.database, &config, [7; 32]).await;
    app.places.put(home.family_id, home.child, Role::Teen, user);
    app.places
        .put(home.family_id, place, Role::Parent, Some(text(&users).parse().unwrap()));
    let home = Home { app, ..home };

    let unproven = home.takes(&shown, EMAIL).await;
    assert_eq!(said(&unproven), (403, "/problems/email-not-verified"));
    let sent = home.invited(json!({"email": EMAIL})).await;
    assert_eq!((sent.status, &sent.body["code"]), (StatusCode::CREATED, &json!("")));
    let mail = mails(&mailbox, EMAIL, 1).await.remove(0);
    let code = json!(mail.after("own-account?token="));
    let elsewhere = home.takes(&code, "else@example.org").await;
    assert_eq!(said(&elsewhere), (404, "/problems/unknown-invitation"));
    let own = home.takes_as(&token, &code, EMAIL).await;
    assert_eq!(own.status, StatusCode::CREATED, "{own:?}");
    let signed_in = home.app.sign_in(EMAIL, PASSWORD).await;
    assert_eq!(signed_in.status, StatusCode::OK, "its mail was read: {signed_in:?}");
    home.app.end().await;
}
