//! A paired device that opens by a passkey in place of the PIN. The authenticator is not ours.

use axum::http::StatusCode;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::{
    actor::Role,
    id::{FamilyId, MemberId, UserId},
};
use serde_json::{Value, json};
use service_kit::database::DatabaseRole;
use uuid::Uuid;

use super::{
    super::authenticators::{Asked, Authenticators},
    Answer, DEVICES, Device, Home, PIN, UNLOCK, text,
};

const OPTIONS: &str = "/api/v1/auth/device/passkey/options";
const PASSKEY: &str = "/api/v1/auth/device/passkey";

/// A child's tablet with a passkey.
struct Tablet {
    home: Home,
    keys: Authenticators,
    device: Device,
    device_id: Value,
    /// Of the session in which the passkey was added.
    tokens: Value,
}

fn by(device: &str) -> Asked<'_> {
    Asked {
        device,
        ..Asked::default()
    }
}

fn said(answer: &Answer) -> (u16, &str) {
    (answer.status.as_u16(), answer.problem())
}

fn claims(access_token: &Value) -> Value {
    let payload = text(access_token).split('.').nth(1).unwrap().to_owned();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

impl Home {
    async fn adds(&self, keys: &mut Authenticators, token: &str, asked: &Asked<'_>) -> Answer {
        let options = self.app.post_as(token, OPTIONS, json!({})).await;
        assert_eq!(options.status, StatusCode::OK, "{options:?}");
        let credential = keys.ask("create", &options.body, asked);
        self.app
            .post_as(token, PASSKEY, json!({"credential": credential}))
            .await
    }
}

impl Tablet {
    async fn with(role: Role) -> Self {
        let home = Home::with(role).await;
        let device = Device::new();
        let paired = home.paired(&device, Self::pin(role)).await;
        let mut keys = Authenticators::start();
        let token = text(&paired["tokens"]["access_token"]);
        let added = home.adds(&mut keys, &token, &by("tablet")).await;
        assert_eq!(added.status, StatusCode::NO_CONTENT, "{added:?}");
        Self {
            home,
            keys,
            device,
            device_id: paired["device_id"].clone(),
            tokens: paired["tokens"].clone(),
        }
    }

    fn pin(role: Role) -> &'static str {
        if role == Role::Child { PIN } else { "27491308" }
    }

    /// What unlocking takes: a fresh challenge that the device has signed, and what this authenticator made of it.
    async fn unlocking(&mut self, asked: &Asked<'_>) -> Value {
        let mut body = self.home.unlocking(&self.device, &self.device_id, PIN).await;
        let credential = self.asserts(&body["challenge"], asked);
        let body_of = body.as_object_mut().unwrap();
        body_of.remove("pin");
        body_of.insert("passkey".to_owned(), credential);
        body
    }

    fn asserts(&mut self, challenge: &Value, asked: &Asked<'_>) -> Value {
        let options =
            json!({"publicKey": {"challenge": challenge, "rpId": "localhost", "userVerification": "required"}});
        self.keys.ask("get", &options, asked)
    }

    async fn unlock(&mut self, asked: &Asked<'_>) -> Answer {
        let body = self.unlocking(asked).await;
        self.home.app.post(UNLOCK, body).await
    }

    async fn opens(&mut self) -> bool {
        let answer = self.unlock(&by("tablet")).await;
        assert!(
            answer.status == StatusCode::OK || said(&answer) == (401, "/problems/wrong-credentials"),
            "{answer:?}"
        );
        answer.status == StatusCode::OK
    }

    async fn passkeys(&self) -> i64 {
        self.home
            .count("select count(*) from identity.paired_device_passkeys")
            .await
    }

    async fn failures(&self) -> i64 {
        self.home
            .count("select max(pin_failures)::bigint from identity.paired_devices")
            .await
    }

    async fn forgive(&self) {
        self.home
            .change("update identity.paired_devices set pin_failures = 0, pin_waits_until = null")
            .await;
    }
}

#[tokio::test]
async fn a_passkey_opens_its_device_in_place_of_the_pin() {
    let mut tablet = Tablet::with(Role::Child).await;
    let of_family = format!("{DEVICES}/of/{}", tablet.home.family_id);
    let listed = tablet.home.app.get_as(&tablet.home.parent, &of_family).await;
    assert_eq!(listed.body["devices"][0]["has_passkey"], true, "{listed:?}");

    let unlocked = tablet.unlock(&by("tablet")).await;
    assert_eq!(unlocked.status, StatusCode::OK, "{unlocked:?}");
    assert_eq!(unlocked.caching.as_deref(), Some("no-store"));
    assert_eq!(unlocked.body["user_id"], tablet.tokens["user_id"]);
    let told = claims(&unlocked.body["access_token"]);
    assert_eq!((&told["amr"], &told["paired"]), (&json!(["pop"]), &json!(true)));
    let home = &tablet.home;
    let too_long = "select count(*) from identity.sessions
        where paired_device_id is null and user_id in (select user_id from identity.paired_devices)
            or paired_device_id is not null and expires_at > clock_timestamp() + interval '12 hours'";
    assert_eq!(home.count(too_long).await, 0);

    // A refresh takes the device's signature, and what follows is of a paired device too.
    let token = text(&unlocked.body["refresh_token"]);
    let unsigned = json!({"refresh_token": token});
    let refused = home.app.post("/api/v1/auth/refresh", unsigned).await;
    assert_eq!(said(&refused), (401, "/problems/invalid-refresh-token"));
    let signed = json!({"refresh_token": token, "device_signature": tablet.device.sign("refresh", &token)});
    let refreshed = home.app.post("/api/v1/auth/refresh", signed).await;
    assert_eq!(refreshed.status, StatusCode::OK, "{refreshed:?}");
    assert_eq!(claims(&refreshed.body["access_token"])["paired"], true);
    let by_pin = home.unlock(&tablet.device, &tablet.device_id, PIN).await;
    assert_eq!(by_pin.status, StatusCode::OK, "the PIN stays: {by_pin:?}");

    // The place the device was paired for, and no other.
    let (elsewhere, place) = (FamilyId::from_uuid(Uuid::new_v4()), MemberId::from_uuid(Uuid::new_v4()));
    let eve = home.app.register("eve@example.org").await;
    let eves_place = MemberId::from_uuid(Uuid::new_v4());
    let eves_user: UserId = text(&eve["user_id"]).parse().unwrap();
    home.app
        .places
        .put(elsewhere, eves_place, Role::Parent, Some(eves_user));
    home.app.places.put(elsewhere, place, Role::Parent, None);
    let path = format!("/api/v1/families/{elsewhere}/members/{place}/invitation");
    let invited = home.app.post_as(&text(&eve["access_token"]), &path, json!({})).await;
    assert_eq!(invited.status, StatusCode::CREATED, "{invited:?}");
    for answer in [&unlocked, &refreshed] {
        let child = text(&answer.body["access_token"]);
        let body = json!({"code": invited.body["code"]});
        let refused = home.app.post_as(&child, "/api/v1/auth/join", body).await;
        assert_eq!(said(&refused), (403, "/problems/paired-account"));
    }
    tablet.home.app.end().await;
}

#[tokio::test]
async fn only_the_devices_own_passkey_opens_it_by_a_fresh_assertion_of_a_verified_person() {
    let mut tablet = Tablet::with(Role::Child).await;
    // The same child's other device, and its passkey.
    let second = Device::new();
    let other = tablet.home.paired(&second, PIN).await;
    let token = text(&other["tokens"]["access_token"]);
    let added = tablet.home.adds(&mut tablet.keys, &token, &by("telephone")).await;
    assert_eq!(added.status, StatusCode::NO_CONTENT, "{added:?}");
    // An adult's, by which they sign in themselves.
    let parent = tablet.home.parent.clone();
    let factors = "/api/v1/auth/factors/passkeys";
    let options = tablet
        .home
        .app
        .post_as(&parent, &format!("{factors}/options"), json!({}))
        .await;
    let credential = tablet.keys.ask("create", &options.body, &by("parent's"));
    let body = json!({"name": "mine", "credential": credential});
    let added = tablet.home.app.post_as(&parent, factors, body).await;
    assert_eq!(added.status, StatusCode::CREATED, "{added:?}");

    let wrong = [
        by("telephone"),
        by("parent's"),
        Asked {
            verified: false,
            ..by("tablet")
        },
        Asked {
            origin: "http://evil.localhost:8080",
            ..by("tablet")
        },
    ];
    for (before, asked) in wrong.iter().enumerate() {
        let refused = tablet.unlock(asked).await;
        assert_eq!(said(&refused), (401, "/problems/wrong-credentials"), "{}", asked.device);
        assert_eq!(tablet.failures().await, before as i64 + 1, "a try was used up");
    }
    tablet.forgive().await;

    // Somebody else's assertion under the name of ours; one that was altered; one over another challenge; none, and both.
    let mut posing = tablet.unlocking(&by("telephone")).await;
    let ours = tablet.unlocking(&by("tablet")).await;
    posing["passkey"]["id"] = ours["passkey"]["id"].clone();
    let mut altered = tablet.unlocking(&by("tablet")).await;
    let mut signature = URL_SAFE_NO_PAD
        .decode(text(&altered["passkey"]["response"]["signature"]))
        .unwrap();
    signature[12] ^= 1;
    altered["passkey"]["response"]["signature"] = json!(URL_SAFE_NO_PAD.encode(signature));
    let mut earlier = tablet.unlocking(&by("tablet")).await;
    earlier["passkey"] = ours["passkey"].clone();
    for body in [posing, altered, earlier] {
        let refused = tablet.home.app.post(UNLOCK, body).await;
        assert_eq!(said(&refused), (401, "/problems/wrong-credentials"));
    }
    assert_eq!(tablet.failures().await, 3);
    let mut both = ours.clone();
    both["pin"] = json!(PIN);
    let mut none = ours;
    none.as_object_mut().unwrap().remove("passkey");
    for body in [both, none] {
        assert_eq!(tablet.home.app.post(UNLOCK, body).await.status, StatusCode::BAD_REQUEST);
    }

    // A right one counts once, and only with the device's key; without it no try is used up.
    let right = tablet.unlocking(&by("tablet")).await;
    let mut unsigned = right.clone();
    unsigned["signature"] = json!(second.sign("unlock", &text(&right["challenge"])));
    assert_eq!(
        said(&tablet.home.app.post(UNLOCK, unsigned).await),
        (401, "/problems/wrong-credentials")
    );
    let mut elsewhere = right.clone();
    elsewhere["device_id"] = other["device_id"].clone();
    elsewhere["signature"] = json!(second.sign("unlock", &text(&right["challenge"])));
    assert_eq!(
        said(&tablet.home.app.post(UNLOCK, elsewhere).await),
        (401, "/problems/wrong-credentials")
    );
    assert_eq!(tablet.failures().await, 3);
    let opened = tablet.home.app.post(UNLOCK, right.clone()).await;
    assert_eq!(opened.status, StatusCode::OK, "{opened:?}");
    let replayed = tablet.home.app.post(UNLOCK, right).await;
    assert_eq!(said(&replayed), (401, "/problems/wrong-credentials"));
    assert_eq!(tablet.failures().await, 0, "a challenge of before is no try");
    tablet.home.app.end().await;
}

#[tokio::test]
async fn wrong_assertions_wait_and_lock_as_wrong_pins_do_and_with_them() {
    let mut tablet = Tablet::with(Role::Child).await;
    for _ in 0..3 {
        let wrong = tablet
            .unlock(&Asked {
                verified: false,
                ..by("tablet")
            })
            .await;
        assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    }
    for _ in 0..2 {
        let wrong = tablet.home.unlock(&tablet.device, &tablet.device_id, "111222").await;
        assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    }
    let waits = tablet.unlock(&by("tablet")).await;
    assert_eq!(waits.status, StatusCode::TOO_MANY_REQUESTS);
    assert!((1..=60).contains(&waits.retry_after_s.unwrap()), "{waits:?}");
    for _ in 0..5 {
        tablet
            .home
            .change("update identity.paired_devices set pin_waits_until = clock_timestamp()")
            .await;
        let wrong = tablet
            .unlock(&Asked {
                verified: false,
                ..by("tablet")
            })
            .await;
        assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    }
    tablet
        .home
        .change("update identity.paired_devices set pin_waits_until = null")
        .await;
    let locked = tablet.unlock(&by("tablet")).await;
    assert_eq!(said(&locked), (403, "/problems/device-locked"));
    let locked = tablet.home.unlock(&tablet.device, &tablet.device_id, PIN).await;
    assert_eq!(said(&locked), (403, "/problems/device-locked"));
    let written = "select count(*) from identity.security_events
        where kind = 'factor-failed' and detail ->> 'factor' = 'passkey' and family_id is not null";
    assert_eq!(tablet.home.count(written).await, 8);

    let path = format!("{DEVICES}/{}/unlock", text(&tablet.device_id));
    let unlocked = tablet.home.app.post_as(&tablet.home.parent, &path, json!({})).await;
    assert_eq!(unlocked.status, StatusCode::NO_CONTENT, "{unlocked:?}");
    assert!(tablet.opens().await);
    tablet.home.app.end().await;
}

#[tokio::test]
async fn a_passkey_opens_for_the_young_only_and_while_somebody_answers_for_the_device() {
    let mut tablet = Tablet::with(Role::Child).await;
    let child = tablet.home.app.places.holder(tablet.home.family_id, tablet.home.child);
    for role in [Role::Parent, Role::Partner, Role::Auditor] {
        tablet
            .home
            .app
            .places
            .put(tablet.home.family_id, tablet.home.child, role, child);
        let refused = tablet.unlock(&by("tablet")).await;
        assert_eq!(said(&refused), (403, "/problems/not-young"), "{role:?}");
    }
    tablet
        .home
        .app
        .places
        .put(tablet.home.family_id, tablet.home.child, Role::Child, child);
    let profile = tablet
        .home
        .app
        .get_as(&tablet.home.parent, "/api/v1/auth/profile")
        .await;
    let user_id: UserId = text(&profile.body["user_id"]).parse().unwrap();
    let parent = tablet.home.app.places.place_of(tablet.home.family_id, user_id);
    tablet
        .home
        .app
        .places
        .put(tablet.home.family_id, parent, Role::Parent, None);
    let refused = tablet.unlock(&by("tablet")).await;
    assert_eq!(said(&refused), (403, "/problems/device-locked"));
    tablet
        .home
        .app
        .places
        .put(tablet.home.family_id, parent, Role::Parent, Some(user_id));
    assert!(tablet.opens().await);
    // Whoever was removed from the family unlocks nothing.
    tablet
        .home
        .app
        .places
        .put(tablet.home.family_id, tablet.home.child, Role::Child, None);
    assert!(!tablet.opens().await);
    tablet.home.app.end().await;
}

#[tokio::test]
async fn a_devices_passkey_signs_in_nowhere_else_and_is_no_second_factor() {
    let mut tablet = Tablet::with(Role::Child).await;
    let token = text(&tablet.tokens["access_token"]);
    let login = "/api/v1/auth/login/passkey";
    let options = tablet.home.app.post(&format!("{login}/options"), json!({})).await;
    for handle in [true, false] {
        let mut credential = tablet.keys.ask("get", &options.body, &by("tablet"));
        if handle {
            // As if it had been made for the account.
            let user_id: UserId = text(&tablet.tokens["user_id"]).parse().unwrap();
            credential["response"]["userHandle"] = json!(URL_SAFE_NO_PAD.encode(user_id.uuid().as_bytes()));
        }
        let refused = tablet.home.app.post(login, json!({"credential": credential})).await;
        assert_eq!(said(&refused), (401, "/problems/wrong-passkey"));
    }
    let options = tablet
        .home
        .app
        .post_as(&token, "/api/v1/auth/step-up/options", json!({}))
        .await;
    assert_eq!(options.body["publicKey"]["allowCredentials"], json!([]));
    let credential = tablet.keys.ask("get", &options.body, &by("tablet"));
    let body = json!({"factor": {"passkey": credential}});
    let refused = tablet.home.app.post_as(&token, "/api/v1/auth/step-up", body).await;
    assert_eq!(said(&refused), (403, "/problems/wrong-credentials"));
    let listed = tablet.home.app.get_as(&token, "/api/v1/auth/factors").await;
    assert_eq!(listed.body["passkeys"], json!([]));
    // Nor does it make the account one that has ways in of its own.
    let refused = tablet
        .home
        .app
        .post_as(&token, "/api/v1/auth/factors/passkeys/options", json!({}))
        .await;
    assert_eq!(said(&refused), (403, "/problems/not-allowed"));
    tablet.home.app.end().await;
}

#[tokio::test]
async fn a_devices_passkey_is_added_and_removed_on_the_device_with_a_fresh_proof() {
    let mut tablet = Tablet::with(Role::Child).await;
    let token = text(&tablet.tokens["access_token"]);
    let empty = json!({"credential": {"response": {"clientDataJSON": "", "attestationObject": ""}}});
    // One a device.
    let second = tablet.home.app.post_as(&token, OPTIONS, json!({})).await;
    assert_eq!(said(&second), (409, "/problems/passkey-known"));
    // Who signs in by themselves has no paired device.
    let parent = tablet.home.parent.clone();
    for answer in [
        tablet.home.app.post_as(&parent, OPTIONS, json!({})).await,
        tablet.home.app.post_as(&parent, PASSKEY, empty.clone()).await,
        tablet.home.app.delete_as(&parent, PASSKEY).await,
    ] {
        assert_eq!(said(&answer), (403, "/problems/not-allowed"));
    }
    // What was made for this device is not stored for another, nor what nobody was verified for.
    let other = Device::new();
    let paired = tablet.home.paired(&other, PIN).await;
    let others = text(&paired["tokens"]["access_token"]);
    let unverified = Asked {
        verified: false,
        ..by("other")
    };
    let refused = tablet.home.adds(&mut tablet.keys, &others, &unverified).await;
    assert_eq!(said(&refused), (422, "/problems/wrong-passkey"));
    let mut options = tablet.home.app.post_as(&others, OPTIONS, json!({})).await.body;
    let selection = options["publicKey"]["authenticatorSelection"].clone();
    assert_eq!(
        selection,
        json!({"authenticatorAttachment": "platform", "residentKey": "discouraged", "userVerification": "required"})
    );
    let asking = json!({"device_id": tablet.device_id});
    let asked = tablet.home.app.post("/api/v1/auth/device/challenge", asking).await;
    options["publicKey"]["challenge"] = asked.body["challenge"].clone();
    let credential = tablet.keys.ask("create", &options, &by("other"));
    let body = json!({"credential": credential});
    let refused = tablet.home.app.post_as(&others, PASSKEY, body).await;
    assert_eq!(said(&refused), (422, "/problems/wrong-passkey"));
    assert_eq!(tablet.passkeys().await, 1);

    tablet
        .home
        .change("update identity.sessions set proven_at = proven_at - interval '11 minutes'")
        .await;
    let refresh = text(&tablet.tokens["refresh_token"]);
    let body = json!({"refresh_token": refresh, "device_signature": tablet.device.sign("refresh", &refresh)});
    let stale = text(&tablet.home.app.post("/api/v1/auth/refresh", body).await.body["access_token"]);
    for answer in [
        tablet.home.app.post_as(&stale, OPTIONS, json!({})).await,
        tablet.home.app.post_as(&stale, PASSKEY, empty).await,
        tablet.home.app.delete_as(&stale, PASSKEY).await,
    ] {
        assert_eq!(said(&answer), (403, "/problems/step-up-required"));
    }
    assert_eq!(tablet.passkeys().await, 1);

    // Unlocking is such a proof, by the passkey too.
    let fresh = text(&tablet.unlock(&by("tablet")).await.body["access_token"]);
    let removed = tablet.home.app.delete_as(&fresh, PASSKEY).await;
    assert_eq!(removed.status, StatusCode::NO_CONTENT, "{removed:?}");
    assert_eq!(
        said(&tablet.home.app.delete_as(&fresh, PASSKEY).await),
        (404, "/problems/unknown-passkey")
    );
    assert!(!tablet.opens().await);
    let by_pin = tablet.home.unlock(&tablet.device, &tablet.device_id, PIN).await;
    assert_eq!(by_pin.status, StatusCode::OK, "{by_pin:?}");

    // The parents read of it, with the device's name.
    let path = format!("/api/v1/families/{}/security-events", tablet.home.family_id);
    let told = tablet.home.app.get_as(&parent, &path).await;
    let told: Vec<_> = told.body["events"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["what"].as_array().unwrap().contains(&json!("passkey")))
        .map(|event| (text(&event["kind"]), event["what"].clone(), event["device"].clone()))
        .collect();
    let name = json!("Byron's tablet");
    let of = |kind: &str| told.iter().find(|(told, ..)| told == kind).unwrap().clone();
    assert_eq!(told.len(), 4, "{told:?}");
    assert_eq!(
        of("factor-removed"),
        ("factor-removed".to_owned(), json!(["passkey"]), name.clone())
    );
    assert_eq!(
        of("factor-added"),
        ("factor-added".to_owned(), json!(["passkey"]), name)
    );
    assert_eq!(of("signed-in").1, json!(["passkey", "pop"]));
    assert_eq!(of("factor-failed").1, json!(["passkey"]));
    tablet.home.app.end().await;
}

#[tokio::test]
async fn a_copy_of_a_devices_passkey_whose_count_goes_back_is_refused_and_written_down() {
    let mut tablet = Tablet::with(Role::Child).await;
    for _ in 0..3 {
        assert!(tablet.opens().await);
    }
    let copy = Asked {
        more: json!({"sign_count": 1}),
        ..by("tablet")
    };
    let refused = tablet.unlock(&copy).await;
    assert_eq!(said(&refused), (401, "/problems/wrong-credentials"));
    let written = "select count(*) from identity.security_events
        where kind = 'factor-failed' and detail ->> 'reason' = 'counter-went-back' and family_id is not null";
    assert_eq!(tablet.home.count(written).await, 1);
    let ahead = Asked {
        more: json!({"sign_count": 9}),
        ..by("tablet")
    };
    assert_eq!(tablet.unlock(&ahead).await.status, StatusCode::OK);
    tablet.home.app.end().await;
}

#[tokio::test]
async fn a_devices_passkey_ends_with_its_device() {
    // A parent ends the device.
    let mut tablet = Tablet::with(Role::Child).await;
    let path = format!("{DEVICES}/{}", text(&tablet.device_id));
    let ended = tablet.home.app.delete_as(&tablet.home.parent, &path).await;
    assert_eq!(ended.status, StatusCode::NO_CONTENT, "{ended:?}");
    assert_eq!(tablet.passkeys().await, 0);
    assert!(!tablet.opens().await);
    let token = text(&tablet.tokens["access_token"]);
    let refused = tablet.home.app.post_as(&token, OPTIONS, json!({})).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{refused:?}");
    tablet.home.app.end().await;

    // Its person takes an account of their own.
    let mut tablet = Tablet::with(Role::Teen).await;
    assert!(tablet.opens().await);
    let path = format!(
        "/api/v1/families/{}/members/{}/invitation",
        tablet.home.family_id, tablet.home.child
    );
    let invited = tablet.home.app.post_as(&tablet.home.parent, &path, json!({})).await;
    assert_eq!(
        invited.status,
        StatusCode::CREATED,
        "the account has no other way in: {invited:?}"
    );
    let body = json!({
        "code": invited.body["code"], "email": "tilda@example.org", "password": super::super::PASSWORD, "display_name": "Tilda",
    });
    let token = text(&tablet.tokens["access_token"]);
    let own = tablet
        .home
        .app
        .post_as(&token, "/api/v1/auth/join/own-account", body)
        .await;
    assert_eq!(own.status, StatusCode::CREATED, "{own:?}");
    assert_eq!(tablet.passkeys().await, 0);
    assert!(!tablet.opens().await);
    tablet.home.app.end().await;

    // The device is forgotten, as by an erasure or after its term.
    let mut tablet = Tablet::with(Role::Child).await;
    let identity = tablet.home.app.database.pool(DatabaseRole::Identity).await;
    let forgotten = sqlx::query("delete from identity.paired_devices")
        .execute(&identity)
        .await
        .unwrap();
    assert_eq!(forgotten.rows_affected(), 1);
    identity.close().await;
    assert_eq!(tablet.passkeys().await, 0);
    assert!(!tablet.opens().await);
    tablet.home.app.end().await;
}
