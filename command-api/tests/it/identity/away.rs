//! While the database is away, identity says so: not now (503), and never that something is wrong with it (500).

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use command_api::identity::openapi_paths;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::{App, PASSWORD};

const EMAIL: &str = "ada@example.org";

/// Nobody is connected any more, and nobody connects again.
async fn cut_off(app: &App) {
    let url = app.database.url();
    let (server, name) = url.rsplit_once('/').unwrap();
    let mut admin = PgConnection::connect(&format!("{server}/postgres")).await.unwrap();
    for statement in [
        format!("alter database {name} with allow_connections false"),
        format!("select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'"),
    ] {
        sqlx::query(&statement).execute(&mut admin).await.unwrap();
    }
    admin.close().await.unwrap();
}

fn request(method: &str, path: &str, token: &str, body: &Value) -> Request<Body> {
    Request::builder()
        .method(method.to_uppercase().as_str())
        .uri(path)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .body(Body::from(body.to_string()))
        .unwrap()
}

#[tokio::test]
async fn while_the_database_is_away_people_are_asked_to_come_again() {
    let app = App::start().await;
    let ada = app.register(EMAIL).await;
    let token = ada["access_token"].as_str().unwrap();
    cut_off(&app).await;
    let registering = json!({"email": "bob@example.org", "password": PASSWORD, "display_name": "Bob"});
    let name = json!({"display_name": "Ada L.", "locale": "de-AT"});
    let answers = [
        ("register", app.post("/api/v1/auth/register", registering).await),
        ("login", app.sign_in(EMAIL, PASSWORD).await),
        ("refresh", app.refresh(&ada["refresh_token"], None).await),
        ("profile", app.get_as(token, "/api/v1/auth/profile").await),
        (
            "change-profile",
            app.send(request("put", "/api/v1/auth/profile", token, &name)).await,
        ),
        ("sessions", app.get_as(token, "/api/v1/auth/sessions").await),
        (
            "step-up",
            app.post_as(token, "/api/v1/auth/step-up", json!({"password": PASSWORD}))
                .await,
        ),
        ("logout", app.post_as(token, "/api/v1/auth/logout", json!({})).await),
    ];
    for (operation, answer) in answers {
        assert_eq!(
            (answer.status, answer.problem()),
            (StatusCode::SERVICE_UNAVAILABLE, "/problems/unavailable"),
            "{operation} {answer:?}"
        );
        assert!(answer.retry_after_s.is_some(), "{operation}");
    }
    app.end().await;
}

#[tokio::test]
async fn while_the_database_is_away_no_operation_says_that_it_is_our_fault() {
    let app = App::start().await;
    let ada = app.register(EMAIL).await;
    let token = ada["access_token"].as_str().unwrap();
    cut_off(&app).await;
    let (mut asked, mut not_now) = (0, 0);
    for (path, operations) in openapi_paths().as_object().unwrap() {
        let path: String = path
            .split('/')
            .map(|part| match part.strip_prefix('{') {
                Some(_) => Uuid::nil().to_string(),
                None => part.to_owned(),
            })
            .collect::<Vec<_>>()
            .join("/");
        for (method, _) in operations.as_object().unwrap() {
            let answer = app.send(request(method, &path, token, &json!({}))).await;
            assert_ne!(
                answer.status,
                StatusCode::INTERNAL_SERVER_ERROR,
                "{method} {path} {answer:?}"
            );
            asked += 1;
            not_now += usize::from(answer.status == StatusCode::SERVICE_UNAVAILABLE);
        }
    }
    assert!(asked > 40 && not_now > 10, "{not_now} of {asked}");
    app.end().await;
}
