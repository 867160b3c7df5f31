//! What is stored, who may read it, and what outlives a restart.

use std::sync::Arc;

use axum::{body::Body, http::Request};
use command_api::identity::{Identity, IdentityError, Secret};
use domain::{
    actor::Role,
    id::{FamilyId, MemberId},
};
use serde_json::json;
use service_kit::database::DatabaseRole;
use uuid::Uuid;

use super::{App, PASSWORD, families::Places, quick};

const TABLES: [&str; 6] = [
    "users",
    "sessions",
    "refresh_tokens",
    "signing_keys",
    "invitations",
    "security_events",
];

#[tokio::test]
async fn no_secret_is_stored_in_clear() {
    let app = App::start().await;
    let registered = app.register("ada@example.org").await;
    let refreshed = app
        .refresh(&registered["refresh_token"], Some(Uuid::new_v4()))
        .await
        .body;
    app.sign_in("ada@example.org", "wrong horse of another colour").await;
    let family_id = FamilyId::from_uuid(Uuid::new_v4());
    let place = MemberId::from_uuid(Uuid::new_v4());
    let user_id = registered["user_id"].as_str().unwrap().parse().unwrap();
    app.places.put(
        family_id,
        MemberId::from_uuid(Uuid::new_v4()),
        Role::Parent,
        Some(user_id),
    );
    app.places.put(family_id, place, Role::Child, None);
    let path = format!("/api/v1/families/{family_id}/members/{place}/invitation");
    let invitation = app
        .post_as(registered["access_token"].as_str().unwrap(), &path, json!({}))
        .await
        .body;

    let code = invitation["code"].as_str().unwrap().to_owned();
    let mut secrets = vec![
        PASSWORD.to_owned(),
        "wrong horse".to_owned(),
        code.replace('-', ""),
        code,
    ];
    for tokens in [&registered, &refreshed] {
        for name in ["access_token", "refresh_token"] {
            let token = tokens[name].as_str().unwrap();
            secrets.push(token.to_owned());
            secrets.push(token.trim_start_matches("klr_").to_owned());
        }
    }
    let database = app.database.superuser().await;
    let mut dump = String::new();
    for table in TABLES {
        let rows: Vec<(String,)> = sqlx::query_as(&format!("select row_to_json(t)::text from identity.{table} as t"))
            .fetch_all(&database)
            .await
            .unwrap();
        assert!(!rows.is_empty(), "{table}");
        dump.extend(rows.into_iter().map(|(row,)| row));
    }
    let hexadecimal: Vec<String> = secrets.iter().map(hex::encode).collect();
    for secret in secrets.iter().chain(&hexadecimal) {
        assert!(!dump.contains(secret.as_str()), "{secret}");
    }
    app.end().await;
}

#[tokio::test]
async fn only_identitys_role_reads_identities_and_others_only_what_verifies_tokens() {
    let app = App::start().await;
    app.register("ada@example.org").await;
    for role in [
        DatabaseRole::Writer,
        DatabaseRole::Reader,
        DatabaseRole::Projector,
        DatabaseRole::Relay,
    ] {
        let pool = app.database.pool(role).await;
        for table in TABLES {
            let read = sqlx::query(&format!("select * from identity.{table}"))
                .fetch_all(&pool)
                .await;
            assert!(read.is_err(), "{role:?} reads {table}");
        }
        let keys = sqlx::query("select kid, public_key from identity.public_keys")
            .fetch_all(&pool)
            .await;
        match role {
            DatabaseRole::Writer | DatabaseRole::Relay => assert!(keys.is_err()),
            _ => assert_eq!(keys.unwrap().len(), 1),
        }
    }
    let identities = app.database.pool(DatabaseRole::Identity).await;
    for statement in [
        "update identity.security_events set kind = 'x'",
        "delete from identity.security_events",
        "update identity.users set user_id = user_id",
        "delete from identity.users",
        "truncate identity.sessions",
    ] {
        assert!(
            sqlx::query(statement).execute(&identities).await.is_err(),
            "{statement}"
        );
    }
    app.end().await;
}

#[tokio::test]
async fn another_secret_does_not_open_the_database() {
    let app = App::start().await;
    let pool = app.database.pool(DatabaseRole::Identity).await;
    let opened = Identity::open(pool, &Secret::new([8; 32]), &quick(), Arc::new(Places::default())).await;
    assert!(matches!(opened, Err(IdentityError::OtherSecret)));
    app.end().await;
}

#[tokio::test]
async fn processes_that_start_together_agree_on_one_key() {
    let app = App::start().await;
    let database = app.database.superuser().await;
    sqlx::query("delete from identity.signing_keys")
        .execute(&database)
        .await
        .unwrap();
    let pool = app.database.pool(DatabaseRole::Identity).await;
    let (config, secret) = (quick(), Secret::new([7; 32]));
    let opened = futures::future::join_all(
        (0..4).map(|_| Identity::open(pool.clone(), &secret, &config, Arc::new(Places::default()))),
    )
    .await;
    assert!(opened.iter().all(Result::is_ok));
    let (keys,): (i64,) = sqlx::query_as("select count(*) from identity.signing_keys")
        .fetch_one(&database)
        .await
        .unwrap();
    assert_eq!(keys, 1);
    app.end().await;
}

#[tokio::test]
async fn a_key_that_served_its_month_is_followed_by_one_that_is_published_before_it_signs() {
    let app = App::start().await;
    let registered = app.register("ada@example.org").await;
    let database = app.database.superuser().await;
    sqlx::query("update identity.signing_keys set signs_from = signs_from - interval '31 days'")
        .execute(&database)
        .await
        .unwrap();

    let app = App::on(app.database, &quick(), [7; 32]).await;
    let keys = async || {
        let answer = app
            .send(Request::get("/.well-known/jwks.json").body(Body::empty()).unwrap())
            .await;
        answer.body["keys"].as_array().unwrap().len()
    };
    assert_eq!(keys().await, 2);
    assert!(app.is_signed_in(&registered["access_token"]).await);
    let (old_kid, new_kid) = (kid(&registered["access_token"]), newest_kid(&database).await);
    let still_old = app.sign_in("ada@example.org", PASSWORD).await.body;
    assert_eq!(kid(&still_old["access_token"]), old_kid);

    sqlx::query("update identity.signing_keys set signs_from = clock_timestamp() - interval '1 second' where kid = $1")
        .bind(&new_kid)
        .execute(&database)
        .await
        .unwrap();
    let app = App::on(app.database, &quick(), [7; 32]).await;
    let now_new = app.sign_in("ada@example.org", PASSWORD).await.body;
    assert_eq!(kid(&now_new["access_token"]), new_kid);
    assert!(app.is_signed_in(&registered["access_token"]).await);
    assert!(app.is_signed_in(&now_new["access_token"]).await);

    sqlx::query("update identity.signing_keys set retires_at = clock_timestamp() where kid = $1")
        .bind(&old_kid)
        .execute(&database)
        .await
        .unwrap();
    let app = App::on(app.database, &quick(), [7; 32]).await;
    assert!(!app.is_signed_in(&registered["access_token"]).await);
    assert!(app.is_signed_in(&now_new["access_token"]).await);
    app.end().await;
}

fn kid(access_token: &serde_json::Value) -> String {
    jsonwebtoken::decode_header(access_token.as_str().unwrap())
        .unwrap()
        .kid
        .unwrap()
}

async fn newest_kid(database: &sqlx::PgPool) -> String {
    let (kid,): (String,) = sqlx::query_as("select kid from identity.signing_keys order by signs_from desc limit 1")
        .fetch_one(database)
        .await
        .unwrap();
    kid
}
