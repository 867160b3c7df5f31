//! Inviting somebody, and joining.

use std::time::{Duration, Instant};

use axum::http::StatusCode;
use domain::{
    actor::Role,
    id::{FamilyId, MemberId, UserId},
};
use futures::future::join_all;
use serde_json::{Value, json};
use uuid::Uuid;

use service_kit::testing::{TestDatabase, mailbox::Mailbox};

use super::{Answer, App, mailing};

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
    app.places.put(home.family_id, home.free_place, Role::Partner, None);
    let removed = join(&app, &partner, code).await;
    assert_eq!(
        (removed.status, removed.problem()),
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
    for number in 0..50 {
        people.push(person(&app, &format!("person{number}@example.org")).await);
    }
    let answers = join_all(people.iter().map(|person| join(&app, person, &invitation.body["code"]))).await;
    let joined: Vec<_> = answers
        .iter()
        .filter(|answer| answer.status == StatusCode::OK)
        .collect();
    assert_eq!(joined.len(), 1);
    assert_eq!(answers.len(), 50);
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
        Some(UserId::from_uuid(Uuid::new_v4())),
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

async fn invite_at(app: &App, home: &Household, place: MemberId, email: &str) -> Answer {
    let path = format!("/api/v1/families/{}/members/{place}/invitation", home.family_id);
    app.post_as(&home.parent.token, &path, json!({"email": email})).await
}

async fn listed(app: &App, home: &Household) -> Vec<Value> {
    let path = format!("/api/v1/families/{}/invitations", home.family_id);
    let answer = app.get_as(&home.parent.token, &path).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    answer.body["invitations"].as_array().unwrap().clone()
}

async fn states(app: &App, home: &Household) -> Vec<String> {
    let state = |one: &Value| one["state"].as_str().unwrap().to_owned();
    listed(app, home).await.iter().map(state).collect()
}

async fn revoke(app: &App, home: &Household, invitation: &Value) -> Answer {
    let id = invitation["invitation_id"].as_str().unwrap();
    let path = format!("/api/v1/families/{}/invitations/{id}", home.family_id);
    app.delete_as(&home.parent.token, &path).await
}

fn place(app: &App, home: &Household, role: Role) -> MemberId {
    let place = MemberId::from_uuid(Uuid::new_v4());
    app.places.put(home.family_id, place, role, None);
    place
}

async fn run(app: &App, statement: &str) {
    let pool = app.database.superuser().await;
    sqlx::query(statement).execute(&pool).await.unwrap();
    pool.close().await;
}

async fn with_mail() -> (App, Mailbox) {
    let mailbox = Mailbox::start();
    let app = App::on(TestDatabase::create().await, &mailing(&mailbox), [7; 32]).await;
    (app, mailbox)
}

/// The code of the newest invitation that was mailed there.
async fn mailed(mailbox: &Mailbox, to: &'static str, count: usize) -> Value {
    let mailbox = mailbox.clone();
    let mails = tokio::task::spawn_blocking(move || mailbox.wait_for(to, count))
        .await
        .unwrap();
    let invited: Vec<_> = mails
        .iter()
        .filter(|mail| mail.text.contains("/#/join?token="))
        .collect();
    json!(invited.last().unwrap().after("https://money.example.org/#/join?token="))
}

#[tokio::test]
async fn an_invitation_by_mail_is_for_whoever_verified_the_address_and_its_maker_never_sees_the_code() {
    let (app, mailbox) = with_mail().await;
    let home = household(&app).await;
    let invited = invite_at(&app, &home, home.free_place, " Gran@Example.org ").await;
    assert_eq!(invited.status, StatusCode::CREATED, "{invited:?}");
    assert_eq!(
        (&invited.body["code"], &invited.body["sent_to"]),
        (&json!(""), &json!("g…@example.org"))
    );
    let code = mailed(&mailbox, "gran@example.org", 1).await;
    let open = &listed(&app, &home).await[0];
    assert_eq!(
        (&open["sent_to"], &open["role"], &open["state"]),
        (&json!("g…@example.org"), &json!("partner"), &json!("open"))
    );
    assert!(!open.to_string().contains(code.as_str().unwrap()));

    // Whoever reads somebody else's mail has the code, and not the address.
    let thief = person(&app, "thief@example.org").await;
    run(
        &app,
        "update identity.users set email_verified_at = now() where email = 'thief@example.org'",
    )
    .await;
    let theirs = join(&app, &thief, &code).await;
    assert_eq!(
        (theirs.status, theirs.problem()),
        (StatusCode::NOT_FOUND, "/problems/unknown-invitation")
    );
    let gran = person(&app, "gran@example.org").await;
    let early = join(&app, &gran, &code).await;
    assert_eq!(
        (early.status, early.problem()),
        (StatusCode::FORBIDDEN, "/problems/email-not-verified")
    );
    run(
        &app,
        "update identity.users set email_verified_at = now() where email = 'gran@example.org'",
    )
    .await;
    assert_eq!(join(&app, &gran, &code).await.status, StatusCode::OK);
    assert_eq!(app.places.holder(home.family_id, home.free_place), Some(gran.user_id));
    assert_eq!(states(&app, &home).await, ["used"]);

    // Neither the address nor the code is in the database.
    let pool = app.database.superuser().await;
    let (dump,): (String,) = sqlx::query_as("select string_agg(row_to_json(t)::text, '') from identity.invitations t")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert!(
        !dump.contains("gran@") && !dump.contains(code.as_str().unwrap()),
        "{dump}"
    );
    pool.close().await;
    app.end().await;
}

#[tokio::test]
async fn without_mail_an_invitation_by_mail_says_so_and_a_code_works() {
    let app = App::start().await;
    let home = household(&app).await;
    let refused = invite_at(&app, &home, home.free_place, "gran@example.org").await;
    assert_eq!(
        (refused.status.as_u16(), refused.problem()),
        (422, "/problems/mail-not-configured")
    );
    let wrong = invite_at(&app, &home, home.free_place, "gran").await;
    assert_eq!(wrong.status.as_u16(), 422);
    assert!(states(&app, &home).await.is_empty());
    assert_eq!(
        invite(&app, &home.parent, home.family_id, home.free_place).await.status,
        StatusCode::CREATED
    );
    app.end().await;
}

#[tokio::test]
async fn parents_list_invitations_and_take_them_back() {
    let app = App::start().await;
    let home = household(&app).await;
    let partner = person(&app, "partner@example.org").await;
    app.places.put(
        home.family_id,
        MemberId::from_uuid(Uuid::new_v4()),
        Role::Partner,
        Some(partner.user_id),
    );
    let older = invite(&app, &home.parent, home.family_id, home.free_place).await;
    let newer = invite(&app, &home.parent, home.family_id, home.free_place).await;
    assert_eq!(states(&app, &home).await, ["open", "replaced"]);
    assert_eq!(revoke(&app, &home, &newer.body).await.status, StatusCode::NO_CONTENT);
    assert_eq!(revoke(&app, &home, &newer.body).await.status, StatusCode::NO_CONTENT);
    assert_eq!(revoke(&app, &home, &older.body).await.status, StatusCode::NO_CONTENT);
    assert_eq!(states(&app, &home).await, ["revoked", "replaced"]);
    let late = person(&app, "late@example.org").await;
    assert_eq!(
        join(&app, &late, &newer.body["code"]).await.status,
        StatusCode::NOT_FOUND
    );

    let path = format!("/api/v1/families/{}/invitations", home.family_id);
    assert_eq!(app.get_as(&partner.token, &path).await.status, StatusCode::FORBIDDEN);
    let stranger = person(&app, "stranger@example.org").await;
    assert_eq!(app.get_as(&stranger.token, &path).await.status, StatusCode::NOT_FOUND);
    let nothing = json!({"invitation_id": Uuid::new_v4()});
    assert_eq!(revoke(&app, &home, &nothing).await.status, StatusCode::NOT_FOUND);

    run(
        &app,
        "update identity.invitations set expires_at = clock_timestamp(), ended_at = null, end_reason = null",
    )
    .await;
    assert_eq!(states(&app, &home).await, ["expired", "expired"]);
    app.end().await;
}

#[tokio::test]
async fn who_takes_their_account_back_ends_the_invitations_and_pairings_that_were_made_in_it() {
    let app = App::start().await;
    let home = household(&app).await;
    let childs = MemberId::from_uuid(Uuid::new_v4());
    app.places.put(home.family_id, childs, Role::Child, None);
    let made = invite(&app, &home.parent, home.family_id, home.free_place).await;
    let path = format!("/api/v1/families/{}/members/{childs}/pairing", home.family_id);
    let pairing = app.post_as(&home.parent.token, &path, json!({})).await;
    assert_eq!(pairing.status, StatusCode::CREATED, "{pairing:?}");
    let everywhere = json!({"everywhere": true});
    let out = app.post_as(&home.parent.token, "/api/v1/auth/logout", everywhere).await;
    assert_eq!(out.status, StatusCode::NO_CONTENT, "{out:?}");

    let thief = person(&app, "thief@example.org").await;
    let joined = join(&app, &thief, &made.body["code"]).await;
    assert_eq!(
        (joined.status, joined.problem()),
        (StatusCode::NOT_FOUND, "/problems/unknown-invitation")
    );
    let pool = app.database.superuser().await;
    let (left,): (i64,) = sqlx::query_as("select count(*) from identity.pairings")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(left, 0);
    pool.close().await;
    let owner = app.sign_in("parent@example.org", super::PASSWORD).await.body;
    let home = Household {
        parent: Person {
            token: owner["access_token"].as_str().unwrap().to_owned(),
            ..home.parent
        },
        ..home
    };
    assert_eq!(states(&app, &home).await, ["revoked"]);
    app.end().await;
}

#[tokio::test]
async fn an_invitation_ends_for_good_with_what_its_maker_may_do() {
    let app = App::start().await;
    let home = household(&app).await;
    let maker = person(&app, "maker@example.org").await;
    let their_place = MemberId::from_uuid(Uuid::new_v4());
    let put = |role| app.places.put(home.family_id, their_place, role, Some(maker.user_id));
    put(Role::Parent);
    let for_an_adult = invite(&app, &maker, home.family_id, home.free_place).await;
    let child = place(&app, &home, Role::Child);
    let for_a_child = invite(&app, &maker, home.family_id, child).await;
    assert_eq!(states(&app, &home).await, ["open", "open"]);
    // A partner invites teens and children.
    put(Role::Partner);
    assert_eq!(states(&app, &home).await, ["open", "maker-gone"]);
    put(Role::Parent);
    let joiner = person(&app, "joiner@example.org").await;
    assert_eq!(
        join(&app, &joiner, &for_an_adult.body["code"]).await.status,
        StatusCode::NOT_FOUND
    );
    let another = person(&app, "another@example.org").await;
    // Who left and came back has another place.
    app.places.put(home.family_id, their_place, Role::Parent, None);
    app.places.put(
        home.family_id,
        MemberId::from_uuid(Uuid::new_v4()),
        Role::Parent,
        Some(maker.user_id),
    );
    assert_eq!(
        join(&app, &another, &for_a_child.body["code"]).await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(states(&app, &home).await, ["maker-gone", "maker-gone"]);
    app.end().await;
}

#[tokio::test]
async fn open_invitations_and_mails_have_an_end() {
    let (app, mailbox) = with_mail().await;
    let home = household(&app).await;
    for number in 0..20 {
        let place = place(&app, &home, Role::Partner);
        let email = format!("guest{}@example.org", number / 3);
        assert_eq!(
            invite_at(&app, &home, place, &email).await.status,
            StatusCode::CREATED,
            "{number}"
        );
    }
    let one_more = place(&app, &home, Role::Partner);
    let full = invite(&app, &home.parent, home.family_id, one_more).await;
    assert_eq!(
        (full.status.as_u16(), full.problem()),
        (422, "/problems/invitations-max")
    );
    // At once or one after the other.
    run(
        &app,
        "delete from identity.invitations where ctid in (select ctid from identity.invitations limit 3)",
    )
    .await;
    let places: Vec<_> = (0..12).map(|_| place(&app, &home, Role::Partner)).collect();
    let answers = join_all(
        places
            .iter()
            .map(|place| invite(&app, &home.parent, home.family_id, *place)),
    )
    .await;
    let made = answers
        .iter()
        .filter(|answer| answer.status == StatusCode::CREATED)
        .count();
    assert_eq!(made, 3);

    // Twenty mails a family and day.
    run(
        &app,
        "update identity.invitations set ended_at = now(), end_reason = 'revoked'",
    )
    .await;
    for _ in 0..3 {
        let place = place(&app, &home, Role::Partner);
        assert_eq!(
            invite_at(&app, &home, place, "aunt@example.org").await.status,
            StatusCode::CREATED
        );
    }
    let many = invite_at(&app, &home, one_more, "aunt@example.org").await;
    assert_eq!(many.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(many.retry_after_s.is_some());
    mailed(&mailbox, "aunt@example.org", 3).await;
    let sent_to = |to: &str| mailbox.mails().iter().filter(|mail| mail.to == to).count();
    assert_eq!((sent_to("guest0@example.org"), sent_to("guest6@example.org")), (3, 2));
    app.end().await;
}

#[tokio::test]
async fn of_using_a_code_and_taking_it_back_at_once_one_is_first() {
    let app = App::start().await;
    let home = household(&app).await;
    let mut outcomes = [0, 0];
    for round in 0..20 {
        let place = place(&app, &home, Role::Partner);
        let invited = invite(&app, &home.parent, home.family_id, place).await;
        let joiner = person(&app, &format!("joiner{round}@example.org")).await;
        let (joined, revoked) = tokio::join!(
            join(&app, &joiner, &invited.body["code"]),
            revoke(&app, &home, &invited.body)
        );
        match (joined.status.as_u16(), revoked.status.as_u16()) {
            (200, 409) => {
                assert_eq!(app.places.holder(home.family_id, place), Some(joiner.user_id));
                outcomes[0] += 1;
            }
            (404, 204) => {
                assert_eq!(app.places.holder(home.family_id, place), None);
                outcomes[1] += 1;
            }
            other => panic!("{other:?}: {joined:?} {revoked:?}"),
        }
    }
    println!("joined first {}, revoked first {}", outcomes[0], outcomes[1]);
    app.end().await;
}

#[tokio::test]
async fn of_invitations_to_one_place_made_at_once_one_is_left_open() {
    let app = App::start().await;
    let home = household(&app).await;
    let made = join_all((0..10).map(|_| invite(&app, &home.parent, home.family_id, home.free_place))).await;
    assert!(
        made.iter().all(|answer| answer.status == StatusCode::CREATED),
        "{made:?}"
    );
    let states = states(&app, &home).await;
    let open = states.iter().filter(|state| *state == "open").count();
    assert_eq!((open, states.len()), (1, 10), "{states:?}");
    app.end().await;
}

#[tokio::test]
async fn a_client_that_goes_away_does_not_break_a_join_off() {
    let app = App::start().await;
    let home = household(&app).await;
    let partner = person(&app, "partner@example.org").await;
    let invitation = invite(&app, &home.parent, home.family_id, home.free_place).await;
    let held = app.places.hold_joins().await;
    {
        let joining = join(&app, &partner, &invitation.body["code"]);
        tokio::pin!(joining);
        let pool = app.database.superuser().await;
        let taken = "select 1 from identity.invitations where used_at is not null";
        let deadline = Instant::now() + Duration::from_secs(20);
        while sqlx::query(taken).fetch_optional(&pool).await.unwrap().is_none() {
            assert!(Instant::now() < deadline, "nobody takes the code");
            let pause = tokio::time::sleep(Duration::from_millis(10));
            tokio::select! {
                answer = &mut joining => panic!("{answer:?}"),
                () = pause => {}
            }
        }
        pool.close().await;
        // What is dropped here is all that waits for an answer.
    }
    let using = revoke(&app, &home, &invitation.body).await;
    assert_eq!(
        (using.status, using.problem()),
        (StatusCode::CONFLICT, "/problems/invitation-used")
    );
    drop(held);
    let deadline = Instant::now() + Duration::from_secs(20);
    while app.places.holder(home.family_id, home.free_place) != Some(partner.user_id) {
        assert!(Instant::now() < deadline, "the join was broken off");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    app.end().await;
}

#[tokio::test]
async fn a_code_that_was_taken_by_somebody_who_never_came_can_be_taken_back_replaced_and_runs_out() {
    for way in ["revoked", "replaced", "expired"] {
        let app = App::start().await;
        let home = household(&app).await;
        let partner = person(&app, "partner@example.org").await;
        let invitation = invite(&app, &home.parent, home.family_id, home.free_place).await;
        app.places.stumble(1);
        let stumbled = join(&app, &partner, &invitation.body["code"]).await;
        assert_eq!(stumbled.status, StatusCode::SERVICE_UNAVAILABLE, "{stumbled:?}");
        let pool = app.database.superuser().await;
        let is_over = match way {
            "expired" => {
                "update identity.invitations set used_at = used_at - interval '8 days',
                          expires_at = expires_at - interval '8 days'"
            }
            _ => "update identity.invitations set used_at = used_at - interval '2 minutes'",
        };
        sqlx::query(is_over).execute(&pool).await.unwrap();
        pool.close().await;
        let expected = match way {
            "revoked" => {
                assert_eq!(states(&app, &home).await, ["open"]);
                assert_eq!(
                    revoke(&app, &home, &invitation.body).await.status,
                    StatusCode::NO_CONTENT
                );
                vec!["revoked"]
            }
            "replaced" => {
                invite(&app, &home.parent, home.family_id, home.free_place).await;
                vec!["open", "replaced"]
            }
            _ => vec!["expired"],
        };
        assert_eq!(states(&app, &home).await, expected);
        let late = join(&app, &partner, &invitation.body["code"]).await;
        assert_eq!(
            (late.status, late.problem()),
            (StatusCode::NOT_FOUND, "/problems/unknown-invitation"),
            "{way}"
        );
        assert_eq!(app.places.holder(home.family_id, home.free_place), None, "{way}");
        app.end().await;
    }
}

#[tokio::test]
async fn what_one_family_sends_to_an_address_leaves_another_theirs_and_who_may_send_no_more_is_told() {
    let (app, mailbox) = with_mail().await;
    let strangers = household(&app).await;
    let parent = person(&app, "other-parent@example.org").await;
    let real = Household {
        family_id: FamilyId::from_uuid(Uuid::new_v4()),
        free_place: MemberId::from_uuid(Uuid::new_v4()),
        parent,
    };
    app.places.put(
        real.family_id,
        MemberId::from_uuid(Uuid::new_v4()),
        Role::Parent,
        Some(real.parent.user_id),
    );
    app.places.put(real.family_id, real.free_place, Role::Partner, None);
    let mut answers = Vec::new();
    for _ in 0..5 {
        let place = place(&app, &strangers, Role::Partner);
        let invited = invite_at(&app, &strangers, place, "gran@example.org").await;
        answers.push(invited.status.as_u16());
    }
    assert_eq!(answers, [201, 201, 201, 429, 429]);
    let invited = invite_at(&app, &real, real.free_place, "gran@example.org").await;
    assert_eq!(invited.status, StatusCode::CREATED, "{invited:?}");
    mailed(&mailbox, "gran@example.org", 4).await;
    // Whoever asks: so many in a day.
    run(
        &app,
        "insert into identity.invitations
             (code_hash, family_id, member_id, created_by, expires_at, role, sent_to, sent_to_shown)
         select sha256(n::text::bytea), gen_random_uuid(), gen_random_uuid(), created_by, expires_at, role, sent_to, sent_to_shown
         from (select * from identity.invitations limit 1) as one, generate_series(1, 8) as n",
    )
    .await;
    let another = place(&app, &real, Role::Partner);
    let full = invite_at(&app, &real, another, "gran@example.org").await;
    assert_eq!(full.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(
        listed(&app, &real).await.len(),
        1,
        "what was not sent is not listed as open"
    );
    app.end().await;
}

#[tokio::test]
async fn who_names_the_role_they_expect_comes_into_no_other_place_and_is_told_which_it_is() {
    let (app, mailbox) = with_mail().await;
    let home = household(&app).await;
    let teen = place(&app, &home, Role::Teen);
    let grown_up = person(&app, "grown-up@example.org").await;
    let invitation = invite(&app, &home.parent, home.family_id, teen).await;
    let code = &invitation.body["code"];
    let as_role = async |role: &str| {
        let body = json!({"code": code, "role": role});
        app.post_as(&grown_up.token, "/api/v1/auth/join", body).await
    };
    let refused = as_role("partner").await;
    assert_eq!(
        (refused.status, refused.problem(), &refused.body["role"]),
        (StatusCode::CONFLICT, "/problems/another-role", &json!("teen"))
    );
    assert_eq!(app.places.holder(home.family_id, teen), None);
    assert_eq!(states(&app, &home).await, ["open"], "nothing was taken");
    assert_eq!(as_role("grandmother").await.status, StatusCode::BAD_REQUEST);
    let joined = as_role("teen").await;
    assert_eq!((joined.status, &joined.body["role"]), (StatusCode::OK, &json!("teen")));
    let parents = app.places.place_of(home.family_id, home.parent.user_id);
    assert_eq!(joined.body["invited_by"], parents.to_string());
    let again = join(&app, &grown_up, code).await;
    assert_eq!((again.status, again.body), (StatusCode::OK, joined.body));
    // By mail, too.
    let child = place(&app, &home, Role::Child);
    invite_at(&app, &home, child, "gran@example.org").await;
    mailed(&mailbox, "gran@example.org", 1).await;
    let mails = mailbox.mails();
    let mail = mails.iter().find(|mail| mail.to == "gran@example.org").unwrap();
    let said = mail.text.replace(['\r', '\n'], " ");
    assert!(
        said.contains("as its child") && said.contains("they alone end it"),
        "{said}"
    );
    app.end().await;
}
