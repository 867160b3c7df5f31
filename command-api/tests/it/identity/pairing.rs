//! Children and teens on devices that a parent has paired.

mod attending;
mod own_account;
mod passkey;
mod standing;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair},
};
use axum::http::StatusCode;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::{
    actor::Role,
    id::{FamilyId, MemberId, UserId},
};
use futures::future::join_all;
use serde_json::{Value, json};
use service_kit::{auth::TokenVerifier, database::DatabaseRole};
use uuid::Uuid;

use super::{Answer, App, json_request};

const CLAIM: &str = "/api/v1/auth/pairing/claim";
const FINISH: &str = "/api/v1/auth/pairing/finish";
const UNLOCK: &str = "/api/v1/auth/device/unlock";
const DEVICES: &str = "/api/v1/auth/paired-devices";
const PIN: &str = "274913";

/// A child's telephone.
enum Device {
    Edwards(Ed25519KeyPair),
    P256(EcdsaKeyPair),
}

impl Device {
    fn new() -> Self {
        Self::Edwards(Ed25519KeyPair::generate().unwrap())
    }

    fn public(&self) -> (&str, String) {
        match self {
            Self::Edwards(pair) => ("ed25519", URL_SAFE_NO_PAD.encode(pair.public_key())),
            Self::P256(pair) => ("p256", URL_SAFE_NO_PAD.encode(pair.public_key())),
        }
    }

    fn sign(&self, purpose: &str, text: &str) -> String {
        let message = format!("kinledger/{purpose}/1\n{text}");
        match self {
            Self::Edwards(pair) => URL_SAFE_NO_PAD.encode(pair.sign(message.as_bytes())),
            Self::P256(pair) => URL_SAFE_NO_PAD.encode(pair.sign(&SystemRandom::new(), message.as_bytes()).unwrap()),
        }
    }

    fn claim(&self, code: &str) -> Value {
        let (algorithm, public_key) = self.public();
        json!({
            "code": code,
            "device_name": "Byron's tablet",
            "algorithm": algorithm,
            "public_key": public_key,
            "signature": self.sign("claim", code),
        })
    }
}

/// A parent and a child whose place nobody has taken.
struct Home {
    app: App,
    parent: String,
    family_id: FamilyId,
    child: MemberId,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

impl Home {
    async fn with(role: Role) -> Self {
        let app = App::start().await;
        let registered = app.register("ada@example.org").await;
        let family_id = FamilyId::from_uuid(Uuid::new_v4());
        let child = MemberId::from_uuid(Uuid::new_v4());
        let parent = text(&registered["user_id"]).parse().unwrap();
        app.places.put(
            family_id,
            MemberId::from_uuid(Uuid::new_v4()),
            Role::Parent,
            Some(parent),
        );
        app.places.put(family_id, child, role, None);
        Self {
            app,
            parent: text(&registered["access_token"]),
            family_id,
            child,
        }
    }

    fn path(&self) -> String {
        format!("/api/v1/families/{}/members/{}/pairing", self.family_id, self.child)
    }

    async fn start(&self) -> Value {
        let started = self.app.post_as(&self.parent, &self.path(), json!({})).await;
        assert_eq!(started.status, StatusCode::CREATED, "{started:?}");
        started.body
    }

    async fn confirm(&self, pairing: &Value, match_code: &Value) -> Answer {
        let path = format!("/api/v1/auth/pairings/{}/confirm", text(&pairing["pairing_id"]));
        self.app
            .post_as(&self.parent, &path, json!({"match_code": match_code}))
            .await
    }

    async fn finish(&self, device: &Device, claim: &Value, pin: &str) -> Answer {
        let claim = text(claim);
        let signature = device.sign("finish", &claim);
        self.app
            .post(FINISH, json!({"claim": claim, "pin": pin, "signature": signature}))
            .await
    }

    async fn paired(&self, device: &Device, pin: &str) -> Value {
        let pairing = self.start().await;
        let claimed = self.app.post(CLAIM, device.claim(&text(&pairing["secret"]))).await;
        assert_eq!(claimed.status, StatusCode::OK, "{claimed:?}");
        let confirmed = self.confirm(&pairing, &claimed.body["match_code"]).await;
        assert_eq!(confirmed.status, StatusCode::NO_CONTENT, "{confirmed:?}");
        let finished = self.finish(device, &claimed.body["claim"], pin).await;
        assert_eq!(finished.status, StatusCode::OK, "{finished:?}");
        finished.body
    }

    /// What unlocking takes, with a fresh challenge.
    async fn unlocking(&self, device: &Device, device_id: &Value, pin: &str) -> Value {
        let asked = self
            .app
            .post("/api/v1/auth/device/challenge", json!({"device_id": device_id}))
            .await;
        let challenge = text(&asked.body["challenge"]);
        let signature = device.sign("unlock", &challenge);
        json!({"device_id": device_id, "challenge": challenge, "signature": signature, "pin": pin})
    }

    async fn unlock(&self, device: &Device, device_id: &Value, pin: &str) -> Answer {
        let body = self.unlocking(device, device_id, pin).await;
        self.app.post(UNLOCK, body).await
    }

    async fn change(&self, statement: &str) {
        let pool = self.app.database.superuser().await;
        sqlx::query(statement).execute(&pool).await.unwrap();
        pool.close().await;
    }

    async fn count(&self, statement: &str) -> i64 {
        let pool = self.app.database.superuser().await;
        let (count,): (i64,) = sqlx::query_as(statement).fetch_one(&pool).await.unwrap();
        pool.close().await;
        count
    }
}

#[tokio::test]
async fn a_child_without_e_mail_gets_a_place_by_a_parent_s_pairing() {
    let home = Home::with(Role::Child).await;
    let device = Device::new();
    let pairing = home.start().await;
    assert!(text(&pairing["qr"]).ends_with(&format!("/pair#{}", text(&pairing["secret"]))));
    let look = format!("/api/v1/auth/pairings/{}", text(&pairing["pairing_id"]));
    let looked = home.app.get_as(&home.parent, &look).await;
    assert_eq!(looked.body["state"], "waiting");

    let claimed = home.app.post(CLAIM, device.claim(&text(&pairing["secret"]))).await;
    assert_eq!(claimed.status, StatusCode::OK, "{claimed:?}");
    let pending = home.finish(&device, &claimed.body["claim"], PIN).await;
    assert_eq!(
        (pending.status, pending.problem()),
        (StatusCode::CONFLICT, "/problems/pairing-pending")
    );
    assert_eq!(pending.retry_after_s, Some(2));
    let looked = home.app.get_as(&home.parent, &look).await;
    assert_eq!(
        looked.body,
        json!({"state": "claimed", "device_name": "Byron's tablet"})
    );
    assert_eq!(home.count("select count(*) from identity.users").await, 1);

    let confirmed = home.confirm(&pairing, &claimed.body["match_code"]).await;
    assert_eq!(confirmed.status, StatusCode::NO_CONTENT, "{confirmed:?}");
    let again = home.confirm(&pairing, &claimed.body["match_code"]).await;
    assert_eq!(again.status, StatusCode::NO_CONTENT);
    let weak = home.finish(&device, &claimed.body["claim"], "123456").await;
    assert_eq!(weak.problem(), "/problems/weak-pin");
    let finished = home.finish(&device, &claimed.body["claim"], PIN).await;
    assert_eq!(finished.status, StatusCode::OK, "{finished:?}");
    assert_eq!(finished.caching.as_deref(), Some("no-store"));
    let cookie = finished.cookie.as_deref().unwrap_or_default();
    assert!(
        cookie.starts_with("__Secure-kinledger-device-") && cookie.contains("=kld_") && cookie.contains("HttpOnly"),
        "{cookie}"
    );
    let twice = home.finish(&device, &claimed.body["claim"], PIN).await;
    assert_eq!(twice.problem(), "/problems/unknown-pairing");

    let user_id: UserId = text(&finished.body["tokens"]["user_id"]).parse().unwrap();
    assert_eq!(home.app.places.holder(home.family_id, home.child), Some(user_id));
    let token = text(&finished.body["tokens"]["access_token"]);
    let profile = home.app.get_as(&token, "/api/v1/auth/profile").await;
    assert_eq!(profile.status, StatusCode::OK, "{profile:?}");
    assert_eq!(profile.body["email"], "");
    let too_long = "select count(*) from identity.sessions
        where paired_device_id is not null and expires_at > clock_timestamp() + interval '12 hours'";
    assert_eq!(home.count(too_long).await, 0);
    let without_password = home
        .app
        .post_as(&token, "/api/v1/auth/step-up", json!({"password": "no such thing"}))
        .await;
    assert_eq!(without_password.problem(), "/problems/wrong-credentials");
    home.app.end().await;
}

#[tokio::test]
async fn a_join_that_fails_leaves_no_account_and_asked_again_makes_one() {
    let home = Home::with(Role::Child).await;
    let device = Device::new();
    let pairing = home.start().await;
    let claimed = home.app.post(CLAIM, device.claim(&text(&pairing["secret"]))).await;
    home.app.places.stumble(1);
    let failed = home.confirm(&pairing, &claimed.body["match_code"]).await;
    assert_eq!(failed.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(home.count("select count(*) from identity.users").await, 1);
    let confirmed = home.confirm(&pairing, &claimed.body["match_code"]).await;
    assert_eq!(confirmed.status, StatusCode::NO_CONTENT, "{confirmed:?}");
    let finished = home.finish(&device, &claimed.body["claim"], PIN).await;
    assert_eq!(finished.status, StatusCode::OK, "{finished:?}");
    assert_eq!(home.count("select count(*) from identity.users").await, 2);
    home.app.end().await;
}

/// As when a process ends after the family let the child in and before the account was there.
#[tokio::test]
async fn a_member_whose_account_was_not_made_gets_it_with_the_next_pairing() {
    let home = Home::with(Role::Child).await;
    let nobody = UserId::from_uuid(Uuid::new_v4());
    home.app
        .places
        .put(home.family_id, home.child, Role::Child, Some(nobody));
    let finished = home.paired(&Device::new(), PIN).await;
    assert_eq!(finished["tokens"]["user_id"], nobody.to_string());
    home.app.end().await;
}

#[tokio::test]
async fn a_second_device_of_a_child_is_the_same_person() {
    let home = Home::with(Role::Teen).await;
    let pin = "27491308";
    let tablet = home.paired(&Device::new(), pin).await;
    let generated = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let phone = home.paired(&Device::P256(generated), pin).await;
    assert_eq!(tablet["tokens"]["user_id"], phone["tokens"]["user_id"]);
    assert_ne!(tablet["device_id"], phone["device_id"]);
    home.app.end().await;
}

#[tokio::test]
async fn other_digits_end_the_pairing_and_a_code_is_claimed_once_in_its_time() {
    let home = Home::with(Role::Child).await;
    let (device, thief) = (Device::new(), Device::new());
    let pairing = home.start().await;
    // Typed as people type it.
    let typed = text(&pairing["code"]).to_lowercase().replace('-', " ");
    let claimed = home.app.post(CLAIM, thief.claim(&typed)).await;
    assert_eq!(claimed.status, StatusCode::OK, "{claimed:?}");
    let late = home.app.post(CLAIM, device.claim(&text(&pairing["secret"]))).await;
    assert_eq!(late.problem(), "/problems/unknown-pairing");
    let shown = text(&claimed.body["match_code"]);
    let other = if shown == "00" { "01" } else { "00" };
    let refused = home.confirm(&pairing, &json!(other)).await;
    assert_eq!(refused.problem(), "/problems/wrong-match-code");
    let again = home.confirm(&pairing, &json!(other)).await;
    assert_eq!(again.problem(), "/problems/unknown-pairing");
    // The parents read of it, once, in which place it was and whose mistake.
    let told = home
        .app
        .get_as(
            &home.parent,
            &format!("/api/v1/families/{}/security-events", home.family_id),
        )
        .await;
    let failed: Vec<&Value> = told.body["events"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["kind"] == "factor-failed")
        .collect();
    assert_eq!(failed.len(), 1, "{told:?}");
    assert_eq!(failed[0]["what"], json!(["match-code"]));
    assert_eq!(failed[0]["member_id"], home.child.to_string());
    assert!(failed[0]["by"].is_string(), "{told:?}");
    let too_late = home.confirm(&pairing, &json!(shown)).await;
    assert_eq!(too_late.problem(), "/problems/unknown-pairing");
    let finished = home.finish(&thief, &claimed.body["claim"], PIN).await;
    assert_eq!(finished.problem(), "/problems/unknown-pairing");
    assert_eq!(home.count("select count(*) from identity.users").await, 1);

    // A process of its own each, so that no wait of a wrong guess is in the way.
    let claim = async |body: Value| {
        use tower::ServiceExt;
        let process = home.app.another_process().await;
        Answer::read(process.oneshot(json_request(CLAIM, &body, &[])).await.unwrap()).await
    };
    let first = home.start().await;
    let second = home.start().await;
    let old = claim(device.claim(&text(&first["secret"]))).await;
    assert_eq!(old.problem(), "/problems/unknown-pairing");
    let mut unsigned = device.claim(&text(&second["secret"]));
    unsigned["signature"] = json!(thief.sign("claim", &text(&second["secret"])));
    assert_eq!(claim(unsigned).await.problem(), "/problems/unknown-pairing");
    home.change("update identity.pairings set expires_at = expires_at - interval '5 minutes'")
        .await;
    let over = claim(device.claim(&text(&second["secret"]))).await;
    assert_eq!(over.problem(), "/problems/unknown-pairing");
    home.app.end().await;
}

#[tokio::test]
async fn of_many_that_claim_one_pairing_at_once_one_does() {
    let home = Home::with(Role::Child).await;
    let pairing = home.start().await;
    let secret = text(&pairing["secret"]);
    let mut processes = Vec::new();
    for _ in 0..10 {
        processes.push(home.app.another_process().await);
    }
    let claims = (0..40).map(|number| {
        use tower::ServiceExt;
        let body = Device::new().claim(&secret);
        processes[number % 10].clone().oneshot(json_request(CLAIM, &body, &[]))
    });
    let answers = join_all(claims).await;
    let claimed = answers
        .iter()
        .filter(|answer| answer.as_ref().unwrap().status() == StatusCode::OK)
        .count();
    assert_eq!(claimed, 1);
    home.app.end().await;
}

#[tokio::test]
async fn only_a_parent_pairs_and_only_teens_and_children_without_an_account_of_their_own() {
    let home = Home::with(Role::Child).await;
    let eve = home.app.register("eve@example.org").await;
    let (eve_id, eve) = (text(&eve["user_id"]).parse().unwrap(), text(&eve["access_token"]));
    let stranger = home.app.post_as(&eve, &home.path(), json!({})).await;
    assert_eq!(stranger.problem(), "/problems/unknown-family");
    let teen = MemberId::from_uuid(Uuid::new_v4());
    home.app.places.put(home.family_id, teen, Role::Teen, Some(eve_id));
    let teen_asks = home.app.post_as(&eve, &home.path(), json!({})).await;
    assert_eq!(teen_asks.status, StatusCode::FORBIDDEN);
    // Somebody with an account of their own is not handed to a parent.
    let path = format!("/api/v1/families/{}/members/{teen}/pairing", home.family_id);
    let own = home.app.post_as(&home.parent, &path, json!({})).await;
    assert_eq!(
        (own.status, own.problem()),
        (StatusCode::CONFLICT, "/problems/has-own-account")
    );
    for role in [Role::Parent, Role::Partner, Role::Auditor] {
        home.app.places.put(home.family_id, teen, role, None);
        let adult = home.app.post_as(&home.parent, &path, json!({})).await;
        assert_eq!(adult.problem(), "/problems/not-young", "{role:?}");
    }
    let unknown = format!(
        "/api/v1/families/{}/members/{}/pairing",
        home.family_id,
        MemberId::from_uuid(Uuid::new_v4())
    );
    let unknown = home.app.post_as(&home.parent, &unknown, json!({})).await;
    assert_eq!(unknown.problem(), "/problems/unknown-member");

    // Who has become an adult meanwhile is not paired either.
    let pairing = home.start().await;
    let device = Device::new();
    let claimed = home.app.post(CLAIM, device.claim(&text(&pairing["secret"]))).await;
    home.app.places.put(home.family_id, home.child, Role::Parent, None);
    let raised = home.confirm(&pairing, &claimed.body["match_code"]).await;
    assert_eq!(raised.problem(), "/problems/not-young");
    assert_eq!(home.count("select count(*) from identity.users").await, 2);
    home.app.end().await;
}

#[tokio::test]
async fn the_pin_opens_only_together_with_the_device_and_a_refresh_takes_its_signature() {
    let home = Home::with(Role::Child).await;
    let (device, thief) = (Device::new(), Device::new());
    let paired = home.paired(&device, PIN).await;
    let device_id = &paired["device_id"];
    let unlocked = home.unlock(&device, device_id, PIN).await;
    assert_eq!(unlocked.status, StatusCode::OK, "{unlocked:?}");
    // The right PIN without the device, and a challenge of before, open nothing and use up no try.
    assert_eq!(
        home.unlock(&thief, device_id, PIN).await.status,
        StatusCode::UNAUTHORIZED
    );
    let body = home.unlocking(&device, device_id, PIN).await;
    assert_eq!(home.app.post(UNLOCK, body.clone()).await.status, StatusCode::OK);
    assert_eq!(home.app.post(UNLOCK, body).await.status, StatusCode::UNAUTHORIZED);
    let nobody = home.unlock(&device, &json!(Uuid::new_v4()), PIN).await;
    assert_eq!(nobody.status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        home.count("select pin_failures::bigint from identity.paired_devices")
            .await,
        0
    );

    let token = text(&unlocked.body["refresh_token"]);
    for signature in [
        None,
        Some(thief.sign("refresh", &token)),
        Some(device.sign("unlock", &token)),
    ] {
        let body = json!({"refresh_token": token, "device_signature": signature});
        let refused = home.app.post("/api/v1/auth/refresh", body).await;
        assert_eq!(refused.problem(), "/problems/invalid-refresh-token");
    }
    let body = json!({"refresh_token": token, "device_signature": device.sign("refresh", &token)});
    let refreshed = home.app.post("/api/v1/auth/refresh", body).await;
    assert_eq!(refreshed.status, StatusCode::OK, "{refreshed:?}");
    assert!(home.app.is_signed_in(&refreshed.body["access_token"]).await);

    // Whoever was removed from the family unlocks nothing.
    home.app.places.put(home.family_id, home.child, Role::Child, None);
    assert_eq!(
        home.unlock(&device, device_id, PIN).await.status,
        StatusCode::UNAUTHORIZED
    );
    home.app.end().await;
}

#[tokio::test]
async fn five_wrong_pins_wait_and_ten_are_for_a_parent() {
    let home = Home::with(Role::Child).await;
    let device = Device::new();
    let paired = home.paired(&device, PIN).await;
    let device_id = &paired["device_id"];
    // Many at once are no more than many after another.
    let mut bodies = Vec::new();
    for _ in 0..20 {
        bodies.push(home.unlocking(&device, device_id, "111222").await);
    }
    let answers = join_all(bodies.into_iter().map(|body| home.app.post(UNLOCK, body))).await;
    let with = |status| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!(
        (with(StatusCode::UNAUTHORIZED), with(StatusCode::TOO_MANY_REQUESTS)),
        (5, 15)
    );
    let waits = home.unlock(&device, device_id, PIN).await;
    assert_eq!(waits.status, StatusCode::TOO_MANY_REQUESTS);
    assert!((1..=60).contains(&waits.retry_after_s.unwrap()), "{waits:?}");
    for _ in 0..5 {
        home.change("update identity.paired_devices set pin_waits_until = clock_timestamp()")
            .await;
        let wrong = home.unlock(&device, device_id, "111222").await;
        assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    }
    home.change("update identity.paired_devices set pin_waits_until = null")
        .await;
    let locked = home.unlock(&device, device_id, PIN).await;
    assert_eq!(
        (locked.status, locked.problem()),
        (StatusCode::FORBIDDEN, "/problems/device-locked")
    );
    let written = "select count(*) from identity.security_events
        where kind = 'factor-failed' and detail ->> 'factor' = 'pin' and family_id is not null";
    assert_eq!(home.count(written).await, 10);

    let listed = format!("{DEVICES}/of/{}", home.family_id);
    let listed = home.app.get_as(&home.parent, &listed).await;
    assert_eq!(listed.body["devices"][0]["is_locked"], true);
    let path = format!("{DEVICES}/{}/unlock", text(device_id));
    let unlocked = home.app.post_as(&home.parent, &path, json!({})).await;
    assert_eq!(unlocked.status, StatusCode::NO_CONTENT, "{unlocked:?}");
    assert_eq!(home.unlock(&device, device_id, PIN).await.status, StatusCode::OK);
    home.app.end().await;
}

#[tokio::test]
async fn a_parent_ends_a_device_and_it_is_refused_here_at_once_and_elsewhere_within_five_seconds() {
    let home = Home::with(Role::Child).await;
    let device = Device::new();
    let paired = home.paired(&device, PIN).await;
    let device_id = &paired["device_id"];
    let tokens = home.unlock(&device, device_id, PIN).await.body;
    let access = text(&tokens["access_token"]);
    let pool = home.app.database.pool(DatabaseRole::Reader).await;
    let elsewhere = TokenVerifier::load(&pool).await.unwrap();
    let (stop, shutdown) = service_kit::shutdown::channel();
    let watching = tokio::spawn(Arc::clone(&elsewhere).watch_revocations(pool, shutdown));
    assert!(elsewhere.verify(&access).is_ok());

    let eve = home.app.register("eve@example.org").await;
    let eve = text(&eve["access_token"]);
    let path = format!("{DEVICES}/{}", text(device_id));
    let unknown = home.app.delete_as(&eve, &format!("{DEVICES}/{}", Uuid::new_v4())).await;
    assert_eq!(home.app.delete_as(&eve, &path).await.body, unknown.body);
    let of_family = format!("{DEVICES}/of/{}", home.family_id);
    assert_eq!(
        home.app.get_as(&eve, &of_family).await.problem(),
        "/problems/unknown-family"
    );
    assert_eq!(home.app.get_as(&access, &of_family).await.status, StatusCode::FORBIDDEN);
    assert_eq!(home.app.delete_as(&access, &path).await.status, StatusCode::FORBIDDEN);
    let listed = home.app.get_as(&home.parent, &of_family).await;
    assert_eq!(listed.body["devices"][0]["name"], "Byron's tablet");
    assert_eq!(listed.body["devices"][0]["sessions"], 2);

    let ended = home.app.delete_as(&home.parent, &path).await;
    assert_eq!(ended.status, StatusCode::NO_CONTENT, "{ended:?}");
    assert!(!home.app.is_signed_in(&tokens["access_token"]).await);
    let began = Instant::now();
    while elsewhere.verify(&access).is_ok() {
        assert!(began.elapsed() < Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let token = text(&tokens["refresh_token"]);
    let body = json!({"refresh_token": token, "device_signature": device.sign("refresh", &token)});
    let refreshed = home.app.post("/api/v1/auth/refresh", body).await;
    assert_eq!(refreshed.status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        home.unlock(&device, device_id, PIN).await.status,
        StatusCode::UNAUTHORIZED
    );
    stop.send_replace(true);
    watching.await.unwrap();
    home.app.end().await;
}

#[tokio::test]
async fn no_code_claim_or_pin_is_stored_in_clear() {
    let home = Home::with(Role::Child).await;
    let device = Device::new();
    let paired = home.paired(&device, PIN).await;
    let pairing = home.start().await;
    let claimed = home
        .app
        .post(CLAIM, Device::new().claim(&text(&pairing["secret"])))
        .await;
    let unlocking = home.unlocking(&device, &paired["device_id"], PIN).await;
    assert_eq!(home.app.post(UNLOCK, unlocking.clone()).await.status, StatusCode::OK);
    let pool = home.app.database.superuser().await;
    let mut dump = String::new();
    for table in [
        "pairings",
        "paired_devices",
        "device_challenges",
        "security_events",
        "sessions",
    ] {
        let rows: Vec<(String,)> = sqlx::query_as(&format!("select row_to_json(t)::text from identity.{table} as t"))
            .fetch_all(&pool)
            .await
            .unwrap();
        assert!(!rows.is_empty(), "{table}");
        dump.extend(rows.into_iter().map(|(row,)| row));
    }
    let code = text(&pairing["code"]);
    let mut secrets = vec![code.replace('-', ""), code];
    secrets.extend([&pairing["secret"], &claimed.body["claim"], &unlocking["challenge"]].map(text));
    for secret in &secrets {
        assert!(
            !dump.contains(secret.as_str()) && !dump.contains(&hex::encode(secret)),
            "{secret}"
        );
    }
    // Six digits occur by chance; the PIN as a value of its own does not.
    assert!(!dump.contains(&format!("\"{PIN}\"")));
    let (hash,): (String,) = sqlx::query_as("select pin_hash from identity.paired_devices")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert!(hash.starts_with("$argon2id$"));
    home.app.end().await;
}

#[tokio::test]
async fn a_parent_reads_of_a_childs_pairing_sign_ins_and_wrong_pins_with_the_device() {
    let home = Home::with(Role::Child).await;
    let device = Device::new();
    let tokens = home.paired(&device, PIN).await;
    let wrong = home.unlock(&device, &tokens["device_id"], "111222").await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED, "{wrong:?}");
    let path = format!("/api/v1/families/{}/security-events", home.family_id);
    let told = home.app.get_as(&home.parent, &path).await;
    let of_child: Vec<&Value> = told.body["events"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["member_id"] == home.child.to_string())
        .collect();
    let kinds: Vec<&str> = of_child.iter().map(|event| event["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["factor-failed", "signed-in", "device-paired"], "{told:?}");
    assert_eq!(of_child[0]["what"], json!(["pin"]));
    assert_eq!(of_child[1]["what"], json!(["pin", "pop"]));
    assert_eq!(of_child[2]["device"], "Byron's tablet");
    assert!(of_child[2]["by"].is_string() && of_child[1]["by"].is_null(), "{told:?}");
    let own = home
        .app
        .get_as(&text(&tokens["tokens"]["access_token"]), "/api/v1/auth/security-events")
        .await;
    let paired = own.body["events"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&paired["kind"], &paired["is_by_another"]),
        (&json!("device-paired"), &json!(true))
    );
    home.app.end().await;
}

#[tokio::test]
async fn unlocking_hands_the_token_of_a_new_device_over_as_a_cookie_too_and_once() {
    let home = Home::with(Role::Child).await;
    let device = Device::new();
    let paired = home.paired(&device, PIN).await;
    let elsewhere = home.unlock(&device, &paired["device_id"], PIN).await;
    assert_eq!(elsewhere.status, StatusCode::OK, "{elsewhere:?}");
    assert!(
        elsewhere
            .cookie
            .unwrap()
            .contains(elsewhere.body["device_token"].as_str().unwrap())
    );
    let body = home.unlocking(&device, &paired["device_id"], PIN).await;
    let known = [("kinledger-device", paired["tokens"]["device_token"].as_str().unwrap())];
    let here = home.app.send(json_request(UNLOCK, &body, &known)).await;
    assert_eq!((here.status, here.cookie), (StatusCode::OK, None));
    home.app.end().await;
}
