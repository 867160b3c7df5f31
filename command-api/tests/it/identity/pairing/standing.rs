//! What a paired device opens when roles change, when its challenges are asked for by others, and while the server is busy.

use axum::http::{Method, StatusCode};
use command_api::identity::IdentityConfig;
use domain::{
    actor::Role,
    id::{MemberId, UserId},
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    super::{App, PASSWORD, json_request, quick},
    Answer, CLAIM, DEVICES, Device, Home, PIN, UNLOCK, text,
};

impl Home {
    /// One more adult, by their access token.
    async fn adult(&self, email: &str, role: Role) -> (MemberId, UserId, String) {
        let registered = self.app.register(email).await;
        let (member_id, user_id) = (
            MemberId::from_uuid(Uuid::new_v4()),
            text(&registered["user_id"]).parse().unwrap(),
        );
        self.app.places.put(self.family_id, member_id, role, Some(user_id));
        (member_id, user_id, text(&registered["access_token"]))
    }

    async fn refresh_by(&self, device: &Device, tokens: &Value) -> Answer {
        let token = text(&tokens["refresh_token"]);
        let body = json!({"refresh_token": token, "device_signature": device.sign("refresh", &token)});
        self.app.post("/api/v1/auth/refresh", body).await
    }

    async fn parents_member_id(&self) -> (MemberId, UserId) {
        let profile = self.app.get_as(&self.parent, "/api/v1/auth/profile").await;
        let user_id: UserId = text(&profile.body["user_id"]).parse().unwrap();
        (self.app.places.place_of(self.family_id, user_id), user_id)
    }
}

#[tokio::test]
async fn a_device_whose_parent_was_removed_or_demoted_opens_nothing_until_another_parent_answers_for_it() {
    let home = Home::with(Role::Child).await;
    let (_, _, other) = home.adult("bob@example.org", Role::Parent).await;
    let device = Device::new();
    let paired = home.paired(&device, PIN).await;
    let device_id = &paired["device_id"];
    let (parent, parents_user) = home.parents_member_id().await;

    for (role, holder) in [(Role::Parent, None), (Role::Auditor, Some(parents_user))] {
        home.app.places.put(home.family_id, parent, role, holder);
        let refused = home.unlock(&device, device_id, PIN).await;
        assert_eq!(
            (refused.status, refused.problem()),
            (StatusCode::FORBIDDEN, "/problems/device-locked"),
            "{role:?}"
        );
        let refreshed = home.refresh_by(&device, &paired["tokens"]).await;
        assert_eq!(refreshed.problem(), "/problems/invalid-refresh-token", "{role:?}");
    }
    let listed = home
        .app
        .get_as(&other, &format!("{DEVICES}/of/{}", home.family_id))
        .await;
    assert_eq!(listed.body["devices"][0]["is_locked"], true);

    let path = format!("{DEVICES}/{}/unlock", text(device_id));
    let answered_for = home.app.post_as(&other, &path, json!({})).await;
    assert_eq!(answered_for.status, StatusCode::NO_CONTENT, "{answered_for:?}");
    let told = "select count(*) from identity.security_events where kind = 'device-unlocked' and actor_id is not null";
    assert_eq!(
        home.count(told).await,
        1,
        "the other parents read who answers for it now"
    );
    let unlocked = home.unlock(&device, device_id, PIN).await;
    assert_eq!(unlocked.status, StatusCode::OK, "{unlocked:?}");
    let refreshed = home.refresh_by(&device, &unlocked.body).await;
    assert_eq!(refreshed.status, StatusCode::OK, "{refreshed:?}");
    home.app.end().await;
}

#[tokio::test]
async fn a_pairing_whose_parent_was_removed_is_not_finished() {
    let home = Home::with(Role::Child).await;
    let device = Device::new();
    let pairing = home.start().await;
    let claimed = home.app.post(CLAIM, device.claim(&text(&pairing["secret"]))).await;
    let confirmed = home.confirm(&pairing, &claimed.body["match_code"]).await;
    assert_eq!(confirmed.status, StatusCode::NO_CONTENT);
    let (parent, _) = home.parents_member_id().await;
    home.app.places.put(home.family_id, parent, Role::Parent, None);
    let finished = home.finish(&device, &claimed.body["claim"], PIN).await;
    assert_eq!(
        (finished.status, finished.problem()),
        (StatusCode::FORBIDDEN, "/problems/device-locked")
    );
    assert_eq!(
        home.count("select count(*) from identity.sessions where paired_device_id is not null")
            .await,
        0
    );
    home.app.end().await;
}

#[tokio::test]
async fn a_pin_is_no_adults_sign_in() {
    let home = Home::with(Role::Child).await;
    let device = Device::new();
    let paired = home.paired(&device, PIN).await;
    let child = home.app.places.holder(home.family_id, home.child);
    for role in [Role::Parent, Role::Partner, Role::Auditor] {
        home.app.places.put(home.family_id, home.child, role, child);
        let refused = home.unlock(&device, &paired["device_id"], PIN).await;
        assert_eq!(
            (refused.status, refused.problem()),
            (StatusCode::FORBIDDEN, "/problems/not-young"),
            "{role:?}"
        );
        let refreshed = home.refresh_by(&device, &paired["tokens"]).await;
        assert_eq!(refreshed.problem(), "/problems/invalid-refresh-token", "{role:?}");
    }
    home.app.places.put(home.family_id, home.child, Role::Teen, child);
    let refreshed = home.refresh_by(&device, &paired["tokens"]).await;
    assert_eq!(refreshed.status, StatusCode::OK, "nothing has happened to the session");

    let second = Device::new();
    let pairing = home.start().await;
    let claimed = home.app.post(CLAIM, second.claim(&text(&pairing["secret"]))).await;
    home.confirm(&pairing, &claimed.body["match_code"]).await;
    home.app.places.put(home.family_id, home.child, Role::Parent, child);
    let finished = home.finish(&second, &claimed.body["claim"], "27491308").await;
    assert_eq!(
        (finished.status, finished.problem()),
        (StatusCode::FORBIDDEN, "/problems/not-young")
    );
    home.app.end().await;
}

#[tokio::test]
async fn an_account_of_paired_devices_gets_no_other_way_in() {
    let home = Home::with(Role::Child).await;
    let paired = home.paired(&Device::new(), PIN).await;
    let token = text(&paired["tokens"]["access_token"]);
    for (path, body) in [
        ("/api/v1/auth/api-keys", json!({"name": "mine", "scopes": ["read"]})),
        ("/api/v1/auth/factors/passkeys/options", json!({})),
        ("/api/v1/auth/factors/totp", json!({})),
    ] {
        let refused = home.app.post_as(&token, path, body).await;
        assert_eq!(
            (refused.status, refused.problem()),
            (StatusCode::FORBIDDEN, "/problems/not-allowed"),
            "{path}"
        );
    }
    for table in ["api_keys", "totp_factors", "passkey_challenges"] {
        assert_eq!(home.count(&format!("select count(*) from identity.{table}")).await, 0);
    }
    home.app.end().await;
}

#[tokio::test]
async fn an_account_of_paired_devices_takes_a_language_and_no_name_of_its_own() {
    let home = Home::with(Role::Child).await;
    let paired = home.paired(&Device::new(), PIN).await;
    let authorization = format!("Bearer {}", text(&paired["tokens"]["access_token"]));
    let put = async |display_name: &str| {
        let body = json!({"display_name": display_name, "locale": "de"});
        let mut request = json_request("/api/v1/auth/profile", &body, &[("authorization", &authorization)]);
        *request.method_mut() = axum::http::Method::PUT;
        home.app.send(request).await
    };
    let refused = put("Zebulon of the Moon").await;
    assert_eq!(
        (refused.status, refused.problem()),
        (StatusCode::FORBIDDEN, "/problems/not-allowed")
    );
    let spoken = put("Family member").await;
    assert_eq!((spoken.status, &spoken.body["locale"]), (StatusCode::OK, &json!("de")));
    let named = "select count(*) from identity.users where display_name like 'Zeb%'";
    assert_eq!(home.count(named).await, 0);
    home.app.end().await;
}

#[tokio::test]
async fn a_stranger_who_asks_for_challenges_keeps_no_child_from_unlocking() {
    let home = Home::with(Role::Child).await;
    let device = Device::new();
    let paired = home.paired(&device, PIN).await;
    let device_id = &paired["device_id"];
    let mine = home.unlocking(&device, device_id, PIN).await;
    for _ in 0..50 {
        let asked = home
            .app
            .post("/api/v1/auth/device/challenge", json!({"device_id": device_id}))
            .await;
        assert_eq!(asked.status, StatusCode::OK);
    }
    assert_eq!(home.app.post(UNLOCK, mine).await.status, StatusCode::OK);
    assert_eq!(home.unlock(&device, device_id, PIN).await.status, StatusCode::OK);
    let kept = "select count(*) from identity.device_challenges";
    assert_eq!(home.count(kept).await, 2, "only what was answered is kept");
    home.app.end().await;
}

#[tokio::test]
async fn a_right_pin_counts_as_no_wrong_one_while_the_server_is_busy() {
    let home = Home::with(Role::Child).await;
    let device = Device::new();
    let paired = home.paired(&device, PIN).await;
    let one_hash_at_a_time = IdentityConfig {
        password_hashes_at_once: Some(1),
        password_queue_max: 0,
        ..quick()
    };
    let Home {
        app,
        parent,
        family_id,
        child,
    } = home;
    let user_id = app.places.holder(family_id, child);
    let parents_user = text(&app.get_as(&parent, "/api/v1/auth/profile").await.body["user_id"]);
    let app = App::on(app.database, &one_hash_at_a_time, [7; 32]).await;
    app.places.put(family_id, child, Role::Child, user_id);
    let parents_place = MemberId::from_uuid(Uuid::new_v4());
    app.places.put(
        family_id,
        parents_place,
        Role::Parent,
        Some(parents_user.parse().unwrap()),
    );
    let home = Home {
        app,
        parent,
        family_id,
        child,
    };
    let mut turned_away = 0;
    for number in 0..200 {
        let body = home.unlocking(&device, &paired["device_id"], PIN).await;
        let nobody = format!("nobody{number}@example.org");
        let (_, answer) = tokio::join!(home.app.sign_in(&nobody, PASSWORD), home.app.post(UNLOCK, body));
        if answer.status == StatusCode::OK {
            continue;
        }
        assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{answer:?}");
        let counted = home
            .count("select pin_failures::bigint from identity.paired_devices")
            .await;
        assert_eq!(counted, 0);
        turned_away += 1;
        if turned_away == 3 {
            break;
        }
    }
    assert_eq!(turned_away, 3);
    home.app.end().await;
}

#[tokio::test]
async fn a_paired_device_adds_no_way_in_to_an_account_that_has_another_and_none_is_paired_with_one() {
    let home = Home::with(Role::Child).await;
    let device = Device::new();
    let paired = home.paired(&device, PIN).await;
    // As an account that somebody made at a provider, which gave no address.
    let user: UserId = text(&paired["tokens"]["user_id"]).parse().unwrap();
    home.change(&format!(
        "insert into identity.linked_sign_ins (identity_hash, user_id, provider)
         values (decode(repeat('07', 32), 'hex'), '{}', 'x')",
        user.uuid()
    ))
    .await;
    let token = text(&paired["tokens"]["access_token"]);
    let authorization = format!("Bearer {token}");
    for (method, path, body) in [
        (
            Method::POST,
            "/api/v1/auth/api-keys",
            json!({"name": "script", "scopes": ["read"]}),
        ),
        (Method::POST, "/api/v1/auth/factors/totp", json!({})),
        (Method::POST, "/api/v1/auth/factors/passkeys/options", json!({})),
        (
            Method::PUT,
            "/api/v1/auth/profile/phone",
            json!({"number": "+491701234567"}),
        ),
    ] {
        let mut request = json_request(path, &body, &[("authorization", &authorization)]);
        *request.method_mut() = method;
        let refused = home.app.send(request).await;
        assert_eq!(
            (refused.status, refused.problem()),
            (StatusCode::FORBIDDEN, "/problems/paired-account"),
            "{path}"
        );
    }
    let path = format!("/api/v1/families/{}/members/{}/pairing", home.family_id, home.child);
    let again = home.app.post_as(&home.parent, &path, json!({})).await;
    assert_eq!(
        (again.status, again.problem()),
        (StatusCode::CONFLICT, "/problems/has-own-account")
    );
    home.app.end().await;
}

#[tokio::test]
async fn a_paired_device_neither_lists_nor_forgets_the_known_devices_of_its_account() {
    let home = Home::with(Role::Child).await;
    let paired = home.paired(&Device::new(), PIN).await;
    let token = text(&paired["tokens"]["access_token"]);
    let listed = home.app.get_as(&token, "/api/v1/auth/devices").await;
    let path = format!("/api/v1/auth/devices/{}", Uuid::new_v4());
    let forgotten = home.app.delete_as(&token, &path).await;
    for refused in [listed, forgotten] {
        assert_eq!(
            (refused.status, refused.problem()),
            (StatusCode::FORBIDDEN, "/problems/paired-account")
        );
    }
    assert_eq!(
        home.count("select count(*) from identity.devices").await,
        2,
        "the parent's and the child's"
    );
    home.app.end().await;
}
