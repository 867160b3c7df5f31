//! What a paired device has opened already, when what it stands on is gone; and what it opens nowhere else.

use axum::http::StatusCode;
use command_api::identity::{Identity, Secret, router};
use domain::{
    actor::Role,
    id::{FamilyId, MemberId, UserId},
};
use serde_json::{Value, json};
use service_kit::{database::DatabaseRole, shutdown};
use tokio::{sync::watch::Sender, task::JoinHandle};
use uuid::Uuid;

use super::{
    super::{App, quick},
    Device, Home, PIN, text,
};

/// The process goes on looking, as a real one does, until told to stop.
async fn looking(home: &mut Home) -> (Sender<bool>, JoinHandle<()>) {
    let pool = home.app.database.pool(DatabaseRole::Identity).await;
    let identity = Identity::open(pool, &Secret::new([7; 32]), &quick(), home.app.places.clone())
        .await
        .unwrap();
    home.app.router = router(identity.clone());
    let (stop, requested) = shutdown::channel();
    (stop, tokio::spawn(identity.run_upkeep(requested)))
}

/// Ends within five seconds, as any session of a device that was ended.
async fn ends(app: &App, tokens: &Value) -> bool {
    for _ in 0..50 {
        if !app.is_signed_in(&tokens["access_token"]).await {
            return true;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    false
}

async fn ended_because(home: &Home) -> i64 {
    home.count(
        "select count(*) from identity.sessions where revoke_reason = 'device-unattended' and paired_device_id is not null",
    )
    .await
}

#[tokio::test]
async fn a_session_ends_with_the_parent_who_answers_for_its_device_and_others_go_on() {
    for (role, is_removed) in [(Role::Parent, true), (Role::Auditor, false), (Role::Teen, false)] {
        let mut home = Home::with(Role::Child).await;
        let (stop, upkeep) = looking(&mut home).await;
        let (_, sibling) = home.sibling().await;
        let device = Device::new();
        let paired = home.paired(&device, PIN).await;
        let (parent, user) = home.parents_place().await;
        // Somebody joins: the family has changed, and the device stands as it did.
        let newcomer = MemberId::from_uuid(Uuid::new_v4());
        home.app.places.put(home.family_id, newcomer, Role::Partner, None);
        tokio::time::sleep(std::time::Duration::from_millis(2_500)).await;
        assert!(home.app.is_signed_in(&paired["tokens"]["access_token"]).await);
        assert_eq!(ended_because(&home).await, 0);

        let holder = (!is_removed).then_some(user);
        home.app.places.put(home.family_id, parent, role, holder);
        assert!(ends(&home.app, &paired["tokens"]).await, "{role:?}");
        assert_eq!(ended_because(&home).await, 1, "{role:?}");
        assert!(home.app.is_signed_in(&sibling["access_token"]).await, "{role:?}");
        let told = "select count(*) from identity.security_events
                    where kind = 'session-ended' and family_id is not null and detail ->> 'reason' = 'device-unattended'";
        assert_eq!(home.count(told).await, 1, "{role:?}");
        stop.send_replace(true);
        upkeep.await.unwrap();
        home.app.end().await;
    }
}

/// Who unlocks a device answers for it from then on, and may have been let do so just before they no longer might.
#[tokio::test]
async fn a_session_is_looked_at_again_when_somebody_else_answers_for_its_device() {
    let mut home = Home::with(Role::Child).await;
    let (stop, upkeep) = looking(&mut home).await;
    let paired = home.paired(&Device::new(), PIN).await;
    let first_look = home.paired(&Device::new(), PIN).await;
    let (_, sibling) = home.sibling().await;
    let answers = |device: &Value, user: &Value| {
        format!(
            "update identity.paired_devices set paired_by = '{}' where device_id = '{}'",
            text(user).trim_start_matches("usr_"),
            text(device)
        )
    };
    // A teen's sibling may not look after devices. When this one has ended, both were looked at.
    home.change(&answers(&first_look["device_id"], &sibling["user_id"]))
        .await;
    assert!(ends(&home.app, &first_look["tokens"]).await);
    assert!(home.app.is_signed_in(&paired["tokens"]["access_token"]).await);
    home.change(&answers(&paired["device_id"], &sibling["user_id"])).await;
    assert!(ends(&home.app, &paired["tokens"]).await);
    assert_eq!(ended_because(&home).await, 2);
    stop.send_replace(true);
    upkeep.await.unwrap();
    home.app.end().await;
}

#[tokio::test]
async fn a_session_by_pin_ends_when_its_member_is_made_an_adult_or_is_gone() {
    for role in [Some(Role::Parent), Some(Role::Partner), None] {
        let mut home = Home::with(Role::Teen).await;
        let (stop, upkeep) = looking(&mut home).await;
        let device = Device::new();
        let paired = home.paired(&device, "27491308").await;
        let teen = home.app.places.holder(home.family_id, home.child);
        match role {
            Some(role) => home.app.places.put(home.family_id, home.child, role, teen),
            None => home.app.places.put(home.family_id, home.child, Role::Teen, None),
        }
        assert!(ends(&home.app, &paired["tokens"]).await, "{role:?}");
        stop.send_replace(true);
        upkeep.await.unwrap();
        home.app.end().await;
    }
}

#[tokio::test]
async fn a_pin_opens_the_place_that_its_device_was_paired_for_and_no_other() {
    let home = Home::with(Role::Child).await;
    let device = Device::new();
    let paired = home.paired(&device, PIN).await;
    let child = text(&paired["tokens"]["access_token"]);
    // A family of strangers, with an open place for an adult.
    let (elsewhere, place) = (FamilyId::from_uuid(Uuid::new_v4()), MemberId::from_uuid(Uuid::new_v4()));
    let (eve, eves_place) = (
        home.app.register("eve@example.org").await,
        MemberId::from_uuid(Uuid::new_v4()),
    );
    let eves_user: UserId = text(&eve["user_id"]).parse().unwrap();
    home.app
        .places
        .put(elsewhere, eves_place, Role::Parent, Some(eves_user));
    home.app.places.put(elsewhere, place, Role::Parent, None);
    let path = format!("/api/v1/families/{elsewhere}/members/{place}/invitation");
    let invited = home.app.post_as(&text(&eve["access_token"]), &path, json!({})).await;
    assert_eq!(invited.status, StatusCode::CREATED, "{invited:?}");
    let body = json!({"code": invited.body["code"]});
    let refused = home.app.post_as(&child, "/api/v1/auth/join", body).await;
    assert_eq!(
        (refused.status, refused.problem()),
        (StatusCode::FORBIDDEN, "/problems/paired-account")
    );
    assert_eq!(home.app.places.holder(elsewhere, place), None);
    home.app.end().await;
}

#[tokio::test]
async fn signing_out_everywhere_by_a_refresh_token_takes_the_devices_signature() {
    let home = Home::with(Role::Child).await;
    let (device, second) = (Device::new(), Device::new());
    let thief = home.paired(&device, PIN).await;
    let other = home.paired(&second, PIN).await;
    let token = text(&thief["tokens"]["refresh_token"]);
    for signature in [
        None,
        Some(second.sign("refresh", &token)),
        Some(device.sign("unlock", &token)),
    ] {
        let again = home.unlock(&device, &thief["device_id"], PIN).await;
        let token = text(&again.body["refresh_token"]);
        let body = json!({"refresh_token": token, "device_signature": signature, "everywhere": true});
        let out = home.app.post("/api/v1/auth/logout", body).await;
        assert_eq!(out.status, StatusCode::NO_CONTENT);
        assert!(
            !home.app.is_signed_in(&again.body["access_token"]).await,
            "its own session"
        );
        assert!(
            home.app.is_signed_in(&other["tokens"]["access_token"]).await,
            "and no other"
        );
    }
    let signature = device.sign("refresh", &token);
    let body = json!({"refresh_token": token, "device_signature": signature, "everywhere": true});
    let out = home.app.post("/api/v1/auth/logout", body).await;
    assert_eq!(out.status, StatusCode::NO_CONTENT);
    for tokens in [&thief["tokens"], &other["tokens"]] {
        assert!(!home.app.is_signed_in(&tokens["access_token"]).await);
    }
    home.app.end().await;
}

impl Home {
    async fn parents_place(&self) -> (MemberId, UserId) {
        let profile = self.app.get_as(&self.parent, "/api/v1/auth/profile").await;
        let user_id: UserId = text(&profile.body["user_id"]).parse().unwrap();
        (self.app.places.place_of(self.family_id, user_id), user_id)
    }

    /// A teen of the same family with an account of their own: nobody answers for it.
    async fn sibling(&self) -> (MemberId, Value) {
        let registered = self.app.register("bea@example.org").await;
        let (member_id, user_id) = (
            MemberId::from_uuid(Uuid::new_v4()),
            text(&registered["user_id"]).parse().unwrap(),
        );
        self.app
            .places
            .put(self.family_id, member_id, Role::Teen, Some(user_id));
        (member_id, registered)
    }
}
