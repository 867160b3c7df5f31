//! Passwords, the tokens of sessions, and what mails carry.

use serde_json::json;
use uuid::Uuid;

use super::world::{Account, World, altered};
use crate::support::Client;

const PROFILE: &str = "/api/v1/auth/profile";
const REFRESH: &str = "/api/v1/auth/refresh";

pub fn use_all(world: &mut World) {
    passwords(world);
    refresh_tokens(world);
    access_tokens(world);
    devices(world);
    addresses(world);
    resets(world);
}

fn passwords(world: &mut World) {
    let ada = world.register("ada");
    let guess = world.password();
    let reply = world.sign_in(&ada.email, &guess);
    world.planted.wrong("password", &reply, 401);
    // Nobody has this address.
    let reply = world.sign_in("nobody@example.org", &guess);
    world.planted.wrong("password", &reply, 401);
    let long = guess.repeat(10);
    let reply = world.sign_in(&ada.email, &long);
    world.planted.wrong("password", &reply, 400);
    let reply = world.sign_in(&ada.email, &ada.password);
    let tokens = world.planted.right("password", &reply);
    let (client, ..) = world.signed_in(&tokens);

    let change = "/api/v1/auth/change-password";
    let next = world.password();
    let reply = world.post(&client, change, &json!({"old_password": guess, "new_password": next}));
    world.planted.wrong("password", &reply, 403);
    let short = world.planted.secret("password", "q7+Zx!k");
    let reply = world.post(
        &client,
        change,
        &json!({"old_password": ada.password, "new_password": short}),
    );
    world.planted.wrong("password", &reply, 422);
    let reply = world.post(
        &client,
        change,
        &json!({"old_password": ada.password, "new_password": next}),
    );
    world.planted.right("password", &reply);

    for path in ["/api/v1/auth/step-up", "/api/v1/auth/close"] {
        let reply = world.post(&client, path, &json!({"password": guess}));
        world.planted.wrong("password", &reply, 403);
    }
    let reply = world.post(&client, "/api/v1/auth/step-up", &json!({"password": next}));
    let tokens = world.planted.right("password", &reply);
    world
        .planted
        .secret("access token", tokens["access_token"].as_str().unwrap());
    // Registering with an address that is taken.
    let again = json!({"email": ada.email, "password": guess, "display_name": "Eve"});
    let reply = world.post(&world.anybody(), "/api/v1/auth/register", &again);
    world.planted.wrong("password", &reply, 409);
}

fn refresh(client: &Client, token: &str) -> crate::support::Reply {
    client.post_as(REFRESH, Uuid::new_v4(), &json!({"refresh_token": token}))
}

/// Of a stolen token both die, and whatever followed.
fn refresh_tokens(world: &mut World) {
    let bob = world.register("bob");
    let anybody = world.anybody();
    let first = refresh(&anybody, &bob.refresh_token);
    let tokens = world.planted.right("refresh token", &first);
    let (_, second, _) = world.signed_in(&tokens);
    let reused = refresh(&anybody, &bob.refresh_token);
    assert_eq!(reused.problem(), "refresh-token-reused");
    world.planted.wrong("refresh token", &reused, 401);
    let dead = refresh(&anybody, &second);
    world.planted.wrong("refresh token", &dead, 401);
    for malformed in [
        altered(&second),
        second[..20].to_owned(),
        format!("{second}=="),
        second.repeat(20),
    ] {
        let malformed = world.planted.secret("refresh token", &malformed);
        let reply = refresh(&anybody, &malformed);
        assert!([400, 401].contains(&reply.status), "{}", reply.text());
        world.planted.wrong("refresh token", &reply, reply.status);
    }
    // In a field of another name, and where an access token belongs.
    let reply = anybody.post(REFRESH, &json!({"token": second}));
    world.planted.wrong("refresh token", &reply, 400);
    let reply = anybody.with_token(&second).get(PROFILE);
    world.planted.wrong("refresh token", &reply, 401);
}

fn access_tokens(world: &mut World) {
    let cleo = world.register("cleo");
    let token = cleo.client.token().to_owned();
    let reply = cleo.client.get(PROFILE);
    world.planted.right("access token", &reply);
    let (head, end) = token.rsplit_once('.').unwrap();
    let forged = format!("{head}.{}", altered(end));
    for wrong in [
        forged,
        token[..token.len() - 7].to_owned(),
        format!("{token}x"),
        format!("Bearer {token}"),
    ] {
        let wrong = world.planted.secret("access token", &wrong);
        let reply = world.anybody().with_token(&wrong).get(PROFILE);
        world.planted.wrong("access token", &reply, 401);
    }
    let bare = [("authorization", token.as_str())];
    let reply = world.anybody().send("GET", PROFILE, &bare, None);
    world.planted.wrong("access token", &reply, 401);
    let out = cleo.client.post("/api/v1/auth/logout", &json!({}));
    assert_eq!(out.status, 204, "{}", out.text());
    let reply = cleo.client.get(PROFILE);
    world.planted.wrong("access token", &reply, 401);
}

/// A known device gets no new token, and one that nobody knows gets another.
fn devices(world: &mut World) {
    let dora = world.register("dora");
    let body = json!({"email": dora.email, "password": dora.password}).to_string();
    let sign_in = |world: &World, token: &str| {
        let headers = [("content-type", "application/json"), ("kinledger-device", token)];
        world
            .anybody()
            .send("POST", "/api/v1/auth/login", &headers, Some(body.as_bytes()))
    };
    let reply = sign_in(world, &dora.device_token);
    let tokens = world.planted.right("device token", &reply);
    assert!(tokens["device_token"].is_null(), "the device was not known");
    world.signed_in(&tokens);
    for wrong in [
        altered(&dora.device_token),
        dora.device_token[..20].to_owned(),
        "kld_".repeat(300),
    ] {
        let wrong = world.planted.secret("device token", &wrong);
        let reply = sign_in(world, &wrong);
        world.planted.wrong("device token", &reply, 200);
        let (.., device_token) = world.signed_in(&reply.json());
        assert!(!device_token.is_empty(), "a device nobody knows was known");
    }
}

/// Mails that confirm an address: the first, and another.
fn addresses(world: &mut World) {
    let eve = world.register("eve");
    let token = world.mailed("mail token", &eve.email, "verify-email?token=");
    confirm(world, &eve, "/api/v1/auth/verify-email", &token);
    let other = format!("other-{}", eve.email);
    let asked = world.post(&eve.client, "/api/v1/auth/change-email", &json!({"email": other}));
    assert_eq!(asked.status, 202, "{}", asked.text());
    let token = world.mailed("mail token", &other, "change-email?token=");
    confirm(world, &eve, "/api/v1/auth/change-email/confirm", &token);
}

fn confirm(world: &mut World, account: &Account, path: &str, token: &str) {
    let anybody = world.anybody();
    for wrong in [altered(token), token[..12].to_owned(), token.repeat(30)] {
        let wrong = world.planted.secret("mail token", &wrong);
        let reply = world.post(&account.client, path, &json!({"token": wrong}));
        assert!([400, 422].contains(&reply.status), "{}", reply.text());
        world.planted.wrong("mail token", &reply, reply.status);
    }
    let reply = world.post(&anybody, path, &json!({"token": token}));
    world.planted.wrong("mail token", &reply, 403);
    let guess = world.password();
    let reply = world.post(&anybody, path, &json!({"token": token, "password": guess}));
    world.planted.wrong("password", &reply, 403);
    let reply = world.post(&account.client, path, &json!({"token": token}));
    world.planted.right("mail token", &reply);
    let reply = world.post(&account.client, path, &json!({"token": token}));
    world.planted.wrong("mail token", &reply, 422);
}

/// Codes that let somebody choose another password: by mail, and by the operator.
fn resets(world: &mut World) {
    let finn = world.register("finn");
    world.forgot(&finn.email);
    let token = world.mailed("mail token", &finn.email, "reset-password?token=");
    reset(world, "mail token", &token);
    let made = world.kinledger.run(&["accounts", "reset-password", &finn.email]);
    let printed = String::from_utf8(made.stdout).unwrap();
    let code = world
        .planted
        .secret("code of an operator", printed.lines().next().unwrap());
    reset(world, "code of an operator", &code);
}

fn reset(world: &mut World, kind: &'static str, token: &str) {
    let (anybody, path, next) = (world.anybody(), "/api/v1/auth/reset-password", world.password());
    let wrong = world.planted.secret(kind, &altered(token));
    for (token, password) in [(wrong.as_str(), next.as_str()), (token, "q7+Zx!k")] {
        let reply = world.post(&anybody, path, &json!({"token": token, "new_password": password}));
        world.planted.wrong(kind, &reply, 422);
    }
    let body = json!({"token": token, "new_password": next});
    let reply = world.post(&anybody, path, &body);
    world.planted.right(kind, &reply);
    let reply = world.post(&anybody, path, &body);
    world.planted.wrong(kind, &reply, 422);
}
