//! Ways around what is hidden: changing somebody's role, sending them away, calling an auditor, taking a second place, repeating
//! another's request.

use axum::http::StatusCode;
use domain::actor::Role;
use serde_json::json;
use uuid::Uuid;

use super::{
    shares::{Story, eur, names},
    world::Person,
};

#[tokio::test]
async fn an_owner_s_word_outlives_what_others_do_to_their_place() {
    let mut story = Story::begin("outlives").await;
    let (parent, partner) = (story.person(Role::Parent), story.person(Role::Partner));
    let own = story.own.clone();
    story.share(partner, &own, parent, "none").await;
    let demote = json!({"member_id": partner.member, "role": "teen"});
    let refused = story
        .world
        .command(&mut story.home, parent.user, "change-role", &demote)
        .await;
    assert_eq!(refused.code(), "remains-grown-up");
    let remove = json!({"member_id": partner.member});
    story
        .world
        .accepted(&mut story.home, parent.user, "remove-member", &remove)
        .await;
    story.world.project().await;
    assert_eq!(names(&story.view(parent, "accounts").await), ["Household", "Pocket"]);
    let shares = story.view(parent, "account-shares").await;
    assert_eq!(names(&shares), ["Household", "Pocket"]);
    let with = shares["accounts"][0]["shares"].as_array().unwrap();
    assert!(
        with.iter().all(|share| share["member_id"] != json!(partner.member)),
        "{shares}"
    );
    story.world.stop().await;
}

#[tokio::test]
async fn an_auditor_sees_what_a_grown_up_hides_only_if_they_say_so() {
    let mut story = Story::begin("auditors").await;
    let (parent, partner, auditor) = (
        story.person(Role::Parent),
        story.person(Role::Partner),
        story.person(Role::Auditor),
    );
    let (own, export) = (story.own.clone(), story.home.path("audit/export?format=ndjson"));
    assert_eq!(
        names(&story.view(auditor, "accounts").await),
        ["Household", "Mine", "Pocket"]
    );
    story.share(partner, &own, parent, "none").await;
    assert_eq!(names(&story.view(auditor, "accounts").await), ["Household", "Pocket"]);
    assert_eq!(story.world.get(auditor.user, &export).await.code(), "accounts-hidden");
    let too_much = story.share(partner, &own, auditor, "full").await;
    assert_eq!(too_much.code(), "share-is-fixed");
    let opened = story.share(partner, &own, auditor, "view").await;
    assert_eq!(opened.status, StatusCode::OK, "{opened}");
    assert_eq!(
        names(&story.view(auditor, "accounts").await),
        ["Household", "Mine", "Pocket"]
    );
    assert_eq!(story.world.get(auditor.user, &export).await.status, StatusCode::OK);
    story.world.stop().await;
}

#[tokio::test]
async fn a_second_place_sees_nothing_of_what_was_hidden_from_the_first() {
    let mut story = Story::begin("second place").await;
    let (parent, partner) = (story.person(Role::Parent), story.person(Role::Partner));
    let there = story.world.joins(&mut story.home, Role::Parent).await;
    story.world.project().await;
    let before = story.view(there, "accounts").await["family_seq"].as_i64().unwrap();
    let own = story.own.clone();
    story.share(partner, &own, parent, "none").await;
    let (all, rest) = (vec!["Household", "Mine", "Pocket"], vec!["Household", "Pocket"]);
    assert_eq!(names(&story.view(there, "accounts").await), all, "who was there stays");
    let export = story.home.path("audit/export?format=ndjson");
    for role in [Role::Parent, Role::Partner] {
        let second = story.world.joins(&mut story.home, role).await;
        story.world.project().await;
        assert_eq!(names(&story.view(second, "accounts").await), rest);
        let head = story.view(second, "accounts").await["family_seq"].as_i64().unwrap();
        assert!(head > before);
        let past = story.view(second, &format!("as-of/accounts?family_seq={head}")).await;
        assert_eq!(names(&past), rest);
        let entries = story.view(second, "entries?limit=200").await;
        assert!(!entries.to_string().contains("Surprise"), "{entries}");
        assert_eq!(story.world.get(second.user, &export).await.code(), "accounts-hidden");
        let opened = story.share(partner, &own, second, "view").await;
        assert_eq!(opened.status, StatusCode::OK, "{opened}");
        assert_eq!(names(&story.view(second, "accounts").await), all);
    }
    story.world.stop().await;
}

#[tokio::test]
async fn who_is_made_an_auditor_keeps_sight_of_their_own_and_takes_it_along() {
    let mut story = Story::begin("made an auditor").await;
    let (parent, partner) = (story.person(Role::Parent), story.person(Role::Partner));
    let own = story.own.clone();
    story.share(partner, &own, parent, "none").await;
    let exported = async |story: &Story| story.world.get(partner.user, "/api/v1/auth/export").await.to_string();
    assert!(exported(&story).await.contains("for the birthday"));
    let audits = json!({"member_id": partner.member, "role": "auditor"});
    story
        .world
        .accepted(&mut story.home, parent.user, "change-role", &audits)
        .await;
    story.world.project().await;
    let accounts = story.view(partner, "accounts").await;
    assert_eq!(names(&accounts), ["Household", "Mine", "Pocket"]);
    assert_eq!(accounts["accounts"][1]["share"], "view");
    assert_eq!(names(&story.view(parent, "accounts").await), ["Household", "Pocket"]);
    assert_eq!(
        names(&story.view(story.person(Role::Auditor), "accounts").await),
        ["Household", "Pocket"]
    );
    assert!(exported(&story).await.contains("for the birthday"));
    let remove = json!({"member_id": partner.member});
    story
        .world
        .accepted(&mut story.home, parent.user, "remove-member", &remove)
        .await;
    assert!(
        exported(&story).await.contains("for the birthday"),
        "of the time until then"
    );
    story.world.stop().await;
}

#[tokio::test]
async fn what_a_parent_hid_of_a_childs_is_hidden_from_nobody_else_once_the_child_is_grown_up() {
    let mut story = Story::begin("grown up").await;
    let (parent, partner, child) = (
        story.person(Role::Parent),
        story.person(Role::Partner),
        story.person(Role::Child),
    );
    let (other, auditor) = (story.home.people[1], story.person(Role::Auditor));
    let (pocket, own) = (story.wallet.clone(), story.own.clone());
    let hidden = story.share(parent, &pocket, partner, "none").await;
    assert_eq!(hidden.status, StatusCode::OK, "{hidden}");
    let then = hidden.json()["family_seq"].as_i64().unwrap();
    let grow_up = json!({"member_id": child.member, "role": "partner"});
    let grown = story
        .world
        .accepted(&mut story.home, parent.user, "change-role", &grow_up)
        .await;
    story.world.project().await;
    let (all, rest) = (vec!["Household", "Mine", "Pocket"], vec!["Household", "Mine"]);
    let export = story.home.path("audit/export?format=ndjson");
    for (person, seen) in [
        (parent, &all),
        (other, &all),
        (auditor, &all),
        (partner, &rest),
        (child, &all),
    ] {
        assert_eq!(&names(&story.view(person, "accounts").await), seen, "{person:?}");
        let seq = grown["family_seq"].as_i64().unwrap();
        let past = story.view(person, &format!("as-of/accounts?family_seq={seq}")).await;
        assert_eq!(&names(&past), seen, "{person:?}");
        let whole = story.world.get(person.user, &export).await.status;
        assert_eq!(whole == StatusCode::OK, seen.len() == 3, "{person:?}: {whole}");
    }
    let past = story.view(partner, &format!("as-of/accounts?family_seq={then}")).await;
    assert_eq!(names(&past), rest);
    let late = story.world.joins(&mut story.home, Role::Partner).await;
    story.world.project().await;
    assert_eq!(
        names(&story.view(late, "accounts").await),
        all,
        "it was hidden from one"
    );

    // Their word is another matter: from whoever comes after it, it is hidden.
    let shares = story.view(child, "account-shares").await;
    let with = shares["accounts"][0]["shares"].as_array().unwrap();
    let of = |person: Person| {
        with.iter()
            .find(|share| share["member_id"] == json!(person.member))
            .unwrap()
    };
    assert_eq!(
        (&of(partner)["level"], &of(other)["level"]),
        (&json!("none"), &json!("full"))
    );
    let hidden = story.share(child, &pocket, other, "none").await;
    assert_eq!(hidden.status, StatusCode::OK, "{hidden}");
    let later = story.world.joins(&mut story.home, Role::Partner).await;
    story.world.project().await;
    for (person, sees) in [
        (parent, true),
        (late, true),
        (other, false),
        (auditor, false),
        (later, false),
    ] {
        let accounts = story.view(person, "accounts").await;
        assert_eq!(names(&accounts).contains(&"Pocket"), sees, "{person:?}");
    }
    assert_eq!(
        story.share(child, &own, other, "none").await.code(),
        "not-yours-to-share"
    );
    story.world.stop().await;
}

#[tokio::test]
async fn a_key_tells_nobody_but_who_used_it() {
    let mut story = Story::begin("keys").await;
    let (parent, partner, teen) = (
        story.person(Role::Parent),
        story.person(Role::Partner),
        story.person(Role::Teen),
    );
    let own = story.own.clone();
    story.share(partner, &own, parent, "none").await;
    let path = story.home.path("commands/add-expense");
    let key = Uuid::new_v4();
    let present = json!({"account_id": own, "money": eur("3"), "payee": "Jeweller", "category_id": story.groceries});
    let first = story.world.post(partner.user, &path, key, &present).await;
    assert_eq!(first.status, StatusCode::OK, "{first}");
    assert_eq!(
        story.world.post(partner.user, &path, key, &present).await.body,
        first.body
    );
    // To those it is hidden from the account is unknown, whatever key they hold.
    for other in [parent, teen] {
        for key in [key, Uuid::new_v4()] {
            let answer = story.world.post(other.user, &path, key, &present).await;
            assert_eq!(answer.code(), "unknown-account", "{answer}");
        }
    }
    // Nor does a key change what a role may not; who may, and did not ask for it, used another's key.
    let path = story.home.path("commands/set-budget");
    let (key, budget) = (
        Uuid::new_v4(),
        json!({"category_id": story.groceries, "amount": eur("60")}),
    );
    assert_eq!(
        story.world.post(parent.user, &path, key, &budget).await.status,
        StatusCode::OK
    );
    assert_eq!(
        story.world.post(teen.user, &path, key, &budget).await.code(),
        "role-not-allowed"
    );
    let path = story.home.path("commands/add-expense");
    let bread = json!({"account_id": story.family_account, "money": eur("3"), "category_id": story.groceries});
    let key = Uuid::new_v4();
    let first = story.world.post(parent.user, &path, key, &bread).await;
    assert_eq!(first.status, StatusCode::OK, "{first}");
    let other = story.world.post(partner.user, &path, key, &bread).await;
    assert_eq!(other.code(), "idempotency-key-reused");
    story.world.stop().await;
}

#[tokio::test]
async fn the_past_shows_a_teen_no_hash_and_nobody_who_is_on_no_leaderboard_now() {
    let mut story = Story::begin("board").await;
    let (parent, teen, child) = (
        story.person(Role::Parent),
        story.person(Role::Teen),
        story.person(Role::Child),
    );
    for person in [teen, child] {
        let shown = json!({"member_id": person.member, "on_leaderboard": true});
        let _ = story
            .world
            .command(&mut story.home, parent.user, "choose-leaderboard", &shown)
            .await;
    }
    let badge = json!({"member_id": child.member, "badge": "Reader", "points": 7});
    let receipt = story
        .world
        .accepted(&mut story.home, parent.user, "award-badge", &badge)
        .await;
    let then = receipt["family_seq"].as_i64().unwrap();
    let path = story
        .home
        .path(&format!("as-of/leaderboard?period=all&family_seq={then}"));
    let ranked = async |story: &Story| {
        let answer = story.world.get(teen.user, &path).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer}");
        assert!(!answer.headers.contains_key("kinledger-chain-hash"));
        let places = answer.json()["places"].as_array().unwrap().clone();
        places.iter().any(|place| place["member_id"] == json!(child.member))
    };
    assert!(ranked(&story).await);
    let taken_off = json!({"member_id": child.member, "on_leaderboard": false});
    story
        .world
        .accepted(&mut story.home, parent.user, "choose-leaderboard", &taken_off)
        .await;
    assert!(!ranked(&story).await);
    story.world.stop().await;
}
