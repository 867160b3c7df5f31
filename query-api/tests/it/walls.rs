//! Who gets in: nobody from outside, and each role no further than its views.

use axum::http::StatusCode;
use query_api::views::VIEWS;
use service_kit::database::DatabaseRole;

use crate::home::*;

#[tokio::test]
async fn a_stranger_cannot_tell_a_family_from_none() {
    let home = Home::new().await;
    home.entry(1, spent("2026-11-01", "-1.00", BANK, GROCERIES)).await;
    for view in VIEWS {
        let mut answers = Vec::new();
        for family in [
            uuid(FAMILY).to_string(),
            uuid(0xDEAD).to_string(),
            "nonsense".to_owned(),
            format!("acc_{}", uuid(FAMILY)),
        ] {
            let (status, headers, body) = home
                .ask(STRANGER, &format!("/api/v1/families/{family}/{}", view.name), None)
                .await;
            assert_eq!(status, StatusCode::NOT_FOUND, "{}", view.name);
            assert!(headers.get("etag").is_none());
            answers.push(body);
        }
        assert!(
            answers.windows(2).all(|pair| pair[0] == pair[1]),
            "{}: {answers:?}",
            view.name
        );
    }
    home.database.drop().await;
}

#[tokio::test]
async fn each_role_gets_the_views_it_may_and_403_for_the_others() {
    let home = Home::new().await;
    for (user, role) in [
        (PARENT, "parent"),
        (PARTNER, "partner"),
        (TEEN, "teen"),
        (CHILD, "child"),
        (AUDITOR, "auditor"),
    ] {
        for view in VIEWS {
            let may = view.access.allows(role.parse().expect("a role"));
            let (status, body) = home.try_view(user, view.name).await;
            let expected = if may { StatusCode::OK } else { StatusCode::FORBIDDEN };
            assert_eq!(status, expected, "{role} {}: {body}", view.name);
        }
    }
    home.database.drop().await;
}

#[tokio::test]
async fn without_a_token_there_is_nothing() {
    let home = Home::new().await;
    let router = query_api::router(home.state.clone());
    for path in [
        "/api/v1/families".to_owned(),
        format!("/api/v1/families/{}/dashboard", uuid(FAMILY)),
    ] {
        let request = axum::http::Request::get(&path)
            .body(axum::body::Body::empty())
            .expect("a request");
        let response = tower::ServiceExt::oneshot(router.clone(), request)
            .await
            .expect("an answer");
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{path}");
    }
    home.database.drop().await;
}

#[tokio::test]
async fn a_person_lists_their_own_families_only() {
    let home = Home::new().await;
    let (status, _, body) = home.ask(STRANGER, "/api/v1/families", None).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(pick(&body["families"], "name"), ["Babbage"]);
    let (_, headers, body) = home.ask(CHILD, "/api/v1/families", None).await;
    assert_eq!(
        (pick(&body["families"], "name"), pick(&body["families"], "role")),
        (vec!["Lovelace".to_owned()], vec!["child".to_owned()])
    );
    let etag = headers["etag"].to_str().expect("text").to_owned();
    assert_eq!(
        home.ask(CHILD, "/api/v1/families", Some(&etag)).await.0,
        StatusCode::NOT_MODIFIED
    );
    let (_, _, nobody) = home.ask(77, "/api/v1/families", None).await;
    assert_eq!(nobody["families"].as_array().map(Vec::len), Some(0));
    assert_eq!(
        home.ask(CHILD, "/api/v1/families?x=1", None).await.0,
        StatusCode::BAD_REQUEST
    );
    home.database.drop().await;
}

/// The second wall: even a statement that forgets its family sees one only.
#[tokio::test]
async fn the_database_shows_a_reader_one_family_at_a_time() {
    let home = Home::new().await;
    let reader = home.database.pool(DatabaseRole::Reader).await;
    let tables: Vec<String> = sqlx::query_scalar(
        "select c.relname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = 'views' and c.relkind in ('r', 'p') and has_table_privilege('kinledger_reader', c.oid, 'select')",
    ).fetch_all(&home.rows).await.expect("tables");
    assert!(tables.len() > 15, "{tables:?}");
    for table in &tables {
        let (is_on, is_forced): (bool, bool) =
            sqlx::query_as("select relrowsecurity, relforcerowsecurity from pg_class where oid = $1::regclass")
                .bind(format!("views.{table}"))
                .fetch_one(&home.rows)
                .await
                .expect("a table");
        assert!(is_on && is_forced, "{table}");
        let seen: i64 = sqlx::query_scalar(&format!("select count(*) from views.{table}"))
            .fetch_one(&reader)
            .await
            .expect("a count");
        assert_eq!(seen, 0, "{table} without a family");
    }
    let mut tx = reader.begin().await.expect("a transaction");
    sqlx::query("select set_config('kinledger.family_id', $1, true)")
        .bind(uuid(OTHER).to_string())
        .execute(&mut *tx)
        .await
        .expect("a setting");
    let members: i64 = sqlx::query_scalar("select count(*) from views.members")
        .fetch_one(&mut *tx)
        .await
        .expect("a count");
    let accounts: i64 = sqlx::query_scalar("select count(*) from views.accounts")
        .fetch_one(&mut *tx)
        .await
        .expect("a count");
    assert_eq!((members, accounts), (1, 0));
    assert!(
        sqlx::query("delete from views.members")
            .execute(&mut *tx)
            .await
            .is_err()
    );
    drop(tx);
    home.database.drop().await;
}

/// The look for several askers at once goes past that wall, so it has one of its own: a place is told to whoever has it.
#[tokio::test]
async fn a_shared_look_tells_each_asker_their_own_place_and_nothing_else() {
    let home = Home::new().await;
    let reader = home.database.pool(DatabaseRole::Reader).await;
    let pairs = [
        (FAMILY, PARENT, Some("parent")),
        (FAMILY, STRANGER, None),
        (OTHER, STRANGER, Some("parent")),
        (OTHER, CHILD, None),
        (0xDEAD, PARENT, None),
        (FAMILY, CHILD, Some("child")),
    ];
    let families: Vec<_> = pairs.iter().map(|(family, ..)| uuid(*family)).collect();
    let users: Vec<_> = pairs.iter().map(|(_, user, _)| uuid(*user)).collect();
    let mut told: Vec<(i32, String, String)> =
        sqlx::query_as("select place, role, name from generations.places($1, $2)")
            .bind(&families)
            .bind(&users)
            .fetch_all(&reader)
            .await
            .expect("places");
    told.sort();
    let wanted: Vec<_> = (1..)
        .zip(pairs)
        .filter_map(|(place, (family, _, role))| {
            let name = if family == FAMILY { "Lovelace" } else { "Babbage" };
            Some((place, role?.to_owned(), name.to_owned()))
        })
        .collect();
    assert_eq!(told, wanted);
    // Without a person there is no place, whatever the family.
    let nobody: i64 =
        sqlx::query_scalar("select count(*) from generations.places($1, array_fill(null::uuid, array[6]))")
            .bind(&families)
            .fetch_one(&reader)
            .await
            .expect("a count");
    assert_eq!(nobody, 0);
    for role in [
        DatabaseRole::Writer,
        DatabaseRole::Identity,
        DatabaseRole::Relay,
        DatabaseRole::Sealer,
        DatabaseRole::Replayer,
    ] {
        let asked = sqlx::query("select generations.places('{}', '{}')")
            .execute(&home.database.pool(role).await)
            .await;
        assert!(asked.is_err(), "{role:?} may not ask");
    }
    home.database.drop().await;
}
