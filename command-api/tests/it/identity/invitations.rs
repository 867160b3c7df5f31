//! Inviting somebody, and joining.

use axum::http::StatusCode;
use domain::{
    actor::Role,
    id::{FamilyId, MemberId, UserId},
};
use futures::future::join_all;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Answer, App};

/// A parent's family with one free place.
struct Household {
    family_id: FamilyId,
    free_place: MemberId,
    parent: Person,
}

struct Person {
    user_id: UserId,
    token: String,
}

async fn person(app: &App, email: &str) -> Person {
    let registered = app.register(email).await;
    Person {
        user_id: registered["user_id"].as_str().unwrap().parse().unwrap(),
        token: registered["access_token"].as_str().unwrap().to_owned(),
    }
}

async fn household(app: &App) -> Household {
    let parent = person(app, "parent@example.org").await;
    let family_id = FamilyId::from_uuid(Uuid::new_v4());
    let free_place = MemberId::from_uuid(Uuid::new_v4());
    app.places.put(
        family_id,
        MemberId::from_uuid(Uuid::new_v4()),
        Role::Parent,
        Some(parent.user_id),
    );
    app.places.put(family_id, free_place, Role::Partner, None);
    Household {
        family_id,
        free_place,
        parent,
    }
}

async fn invite(app: &App, by: &Person, family_id: FamilyId, member_id: MemberId) -> Answer {
    let path = format!("/api/v1/families/{family_id}/members/{member_id}/invitation");
    app.post_as(&by.token, &path, json!({})).await
}

async fn join(app: &App, by: &Person, code: &Value) -> Answer {
    app.post_as(&by.token, "/api/v1/auth/join", json!({"code": code})).await
}

#[tokio::test]
async fn an_invited_person_joins_once_and_may_ask_again() {
    let app = App::start().await;
    let home = household(&app).await;
    let partner = person(&app, "partner@example.org").await;
    let stranger = person(&app, "stranger@example.org").await;
    let invitation = invite(&app, &home.parent, home.family_id, home.free_place).await;
    assert_eq!(invitation.status, StatusCode::CREATED);
    let code = &invitation.body["code"];

    let typed = json!(code.as_str().unwrap().to_lowercase().replace('-', " "));
    let joined = join(&app, &partner, &typed).await;
    assert_eq!(joined.status, StatusCode::OK);
    assert_eq!(
        app.places.holder(home.family_id, home.free_place),
        Some(partner.user_id)
    );
    let again = join(&app, &partner, code).await;
    assert_eq!((again.status, again.body), (StatusCode::OK, joined.body));
    let late = join(&app, &stranger, code).await;
    assert_eq!(
        (late.status, late.problem()),
        (StatusCode::NOT_FOUND, "/problems/unknown-invitation")
    );
    app.end().await;
}

#[tokio::test]
async fn of_people_racing_with_one_code_one_joins() {
    let app = App::start().await;
    let home = household(&app).await;
    let invitation = invite(&app, &home.parent, home.family_id, home.free_place).await;
    let mut people = Vec::new();
    for number in 0..8 {
        people.push(person(&app, &format!("person{number}@example.org")).await);
    }
    let answers = join_all(people.iter().map(|person| join(&app, person, &invitation.body["code"]))).await;
    let joined: Vec<_> = answers
        .iter()
        .filter(|answer| answer.status == StatusCode::OK)
        .collect();
    assert_eq!(joined.len(), 1);
    assert!(
        answers
            .iter()
            .all(|answer| [200, 404].contains(&answer.status.as_u16())),
        "{answers:?}"
    );
    app.end().await;
}

#[tokio::test]
async fn only_a_parent_or_partner_of_the_family_invites() {
    let app = App::start().await;
    let home = household(&app).await;
    let teen = person(&app, "teen@example.org").await;
    let stranger = person(&app, "stranger@example.org").await;
    app.places.put(
        home.family_id,
        MemberId::from_uuid(Uuid::new_v4()),
        Role::Teen,
        Some(teen.user_id),
    );

    assert_eq!(
        invite(&app, &teen, home.family_id, home.free_place).await.status,
        StatusCode::FORBIDDEN
    );
    let outside = invite(&app, &stranger, home.family_id, home.free_place).await;
    let nowhere = invite(&app, &stranger, FamilyId::from_uuid(Uuid::new_v4()), home.free_place).await;
    assert_eq!(outside.status, StatusCode::NOT_FOUND);
    assert_eq!((outside.status, outside.body), (nowhere.status, nowhere.body));
    let nobody = invite(&app, &home.parent, home.family_id, MemberId::from_uuid(Uuid::new_v4())).await;
    assert_eq!(nobody.status, StatusCode::NOT_FOUND);
    app.end().await;
}

#[tokio::test]
async fn a_code_ends_with_a_newer_one_with_its_week_and_with_its_maker() {
    let app = App::start().await;
    let home = household(&app).await;
    let partner = person(&app, "partner@example.org").await;
    let older = invite(&app, &home.parent, home.family_id, home.free_place).await;
    let newer = invite(&app, &home.parent, home.family_id, home.free_place).await;
    assert_eq!(
        join(&app, &partner, &older.body["code"]).await.status,
        StatusCode::NOT_FOUND
    );

    let left = Household {
        parent: person(&app, "leaving@example.org").await,
        ..household_of(&home)
    };
    let place = MemberId::from_uuid(Uuid::new_v4());
    let left_place = MemberId::from_uuid(Uuid::new_v4());
    app.places
        .put(left.family_id, left_place, Role::Parent, Some(left.parent.user_id));
    app.places.put(left.family_id, place, Role::Child, None);
    let orphaned = invite(&app, &left.parent, left.family_id, place).await;
    app.places.put(left.family_id, left_place, Role::Parent, None);
    let joiner = person(&app, "joiner@example.org").await;
    assert_eq!(
        join(&app, &joiner, &orphaned.body["code"]).await.status,
        StatusCode::NOT_FOUND
    );

    sqlx::query("update identity.invitations set expires_at = clock_timestamp()")
        .execute(&app.database.superuser().await)
        .await
        .unwrap();
    let late = person(&app, "late@example.org").await;
    assert_eq!(
        join(&app, &late, &newer.body["code"]).await.status,
        StatusCode::NOT_FOUND
    );
    app.end().await;
}

fn household_of(home: &Household) -> Household {
    let parent = Person {
        user_id: home.parent.user_id,
        token: home.parent.token.clone(),
    };
    Household {
        family_id: home.family_id,
        free_place: home.free_place,
        parent,
    }
}

#[tokio::test]
async fn a_join_that_failed_on_our_side_can_be_repeated_by_the_same_person_only() {
    let app = App::start().await;
    let home = household(&app).await;
    let partner = person(&app, "partner@example.org").await;
    let stranger = person(&app, "stranger@example.org").await;
    let invitation = invite(&app, &home.parent, home.family_id, home.free_place).await;
    app.places.stumble(1);
    assert_eq!(
        join(&app, &partner, &invitation.body["code"]).await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(
        join(&app, &stranger, &invitation.body["code"]).await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        join(&app, &partner, &invitation.body["code"]).await.status,
        StatusCode::OK
    );
    app.end().await;
}

#[tokio::test]
async fn a_join_that_the_family_refuses_gives_the_code_back() {
    let app = App::start().await;
    let home = household(&app).await;
    let partner = person(&app, "partner@example.org").await;
    let other = person(&app, "other@example.org").await;
    let invitation = invite(&app, &home.parent, home.family_id, home.free_place).await;
    app.places.put(
        home.family_id,
        home.free_place,
        Role::Partner,
        Some(home.parent.user_id),
    );
    assert_eq!(
        join(&app, &partner, &invitation.body["code"]).await.status,
        StatusCode::CONFLICT
    );
    app.places.put(home.family_id, home.free_place, Role::Partner, None);
    assert_eq!(
        join(&app, &other, &invitation.body["code"]).await.status,
        StatusCode::OK
    );
    app.end().await;
}

#[tokio::test]
async fn guessing_codes_waits() {
    let app = App::start().await;
    let stranger = person(&app, "stranger@example.org").await;
    let first = join(&app, &stranger, &json!("0000-0000-0000-0000-0000-0000-0000")).await;
    assert_eq!(first.status, StatusCode::NOT_FOUND);
    let second = join(&app, &stranger, &json!("0000-0000-0000-0000-0000-0000-0001")).await;
    assert_eq!(second.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(second.retry_after_s.is_some());
    app.end().await;
}
