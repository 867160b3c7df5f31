//! Keys for programs, codes of invitations, and signing in by a provider.

use serde_json::json;
use uuid::Uuid;

use super::world::{World, altered};

pub fn use_all(world: &mut World) {
    keys(world);
    invitations(world);
    providers(world);
}

fn keys(world: &mut World) {
    let ines = world.verified("ines");
    let body = json!({"name": "Script", "scopes": ["read"]});
    let made = ines.client.post("/api/v1/auth/api-keys", &body).accepted();
    let key = world.planted.secret("API key", made["key"].as_str().unwrap());
    let families = "/api/v1/families";
    let reply = world.anybody().with_token(&key).get(families);
    world.planted.right("API key", &reply);
    let reply = world.anybody().with_token(&key).get("/api/v1/auth/profile");
    assert!([401, 403].contains(&reply.status), "{}", reply.text());
    world.planted.wrong("API key", &reply, reply.status);
    for wrong in [altered(&key), key[..15].to_owned(), key.repeat(4)] {
        let wrong = world.planted.secret("API key", &wrong);
        let reply = world.anybody().with_token(&wrong).get(families);
        world.planted.wrong("API key", &reply, 401);
    }
    let path = format!("/api/v1/auth/api-keys/{}", made["api_key_id"].as_str().unwrap());
    assert_eq!(ines.client.send("DELETE", &path, &[], None).status, 204);
    let reply = world.anybody().with_token(&key).get(families);
    world.planted.wrong("API key", &reply, 401);
}

/// By hand and by mail.
fn invitations(world: &mut World) {
    let (jona, join) = (world.register("jona"), "/api/v1/auth/join");
    let place = world.place("partner");
    let path = format!("{}/members/{place}/invitation", world.family.path());
    let invited = world.parent().client.post(&path, &json!({})).accepted();
    let code = world
        .planted
        .secret("invitation code", invited["code"].as_str().unwrap());
    for wrong in [altered(&code), code[..9].to_owned(), code.repeat(9)] {
        let wrong = world.planted.secret("invitation code", &wrong);
        let reply = world.post(&jona.client, join, &json!({"code": wrong}));
        world.planted.wrong("invitation code", &reply, 404);
    }
    // Another role than is expected, and a code where none belongs.
    let reply = world.post(&jona.client, join, &json!({"code": code, "role": "child"}));
    world.planted.wrong("invitation code", &reply, 409);
    let reply = world.post(&jona.client, join, &json!({"code": code, "role": code}));
    world.planted.wrong("invitation code", &reply, 400);
    let reply = world.post(&jona.client, join, &json!({"code": code}));
    let joined = world.planted.right("invitation code", &reply);
    world.family.seen(&joined);
    let late = world.register("late");
    let reply = world.post(&late.client, join, &json!({"code": code}));
    world.planted.wrong("invitation code", &reply, 404);

    let kira = world.verified("kira");
    let place = world.place("partner");
    let path = format!("{}/members/{place}/invitation", world.family.path());
    let sent = world
        .parent()
        .client
        .post(&path, &json!({"email": kira.email}))
        .accepted();
    assert_eq!(sent["code"], "", "{sent}");
    let code = world.mailed("invitation code", &kira.email, "join?token=");
    // Whoever else has it has nothing.
    let reply = world.post(&late.client, join, &json!({"code": code}));
    world.planted.wrong("invitation code", &reply, 404);
    let reply = world.post(&kira.client, join, &json!({"code": code}));
    let joined = world.planted.right("invitation code", &reply);
    world.family.seen(&joined);
}

fn providers(world: &mut World) {
    let finish = "/api/v1/auth/providers/x/finish";
    let reply = world.sign_in_by_provider("good");
    let tokens = world.planted.right("code of a provider", &reply);
    world.planted.right("state of a sign-in", &reply);
    world.signed_in(&tokens);
    let reply = world.sign_in_by_provider("bad");
    world.planted.wrong("code of a provider", &reply, 401);
    // Another browser's, somebody's who has not begun, and too long for any.
    let (state, binding) = world.begin_by_provider();
    let code = world
        .planted
        .secret("code of a provider", &format!("good-{}", Uuid::new_v4().simple()));
    let other = world.planted.secret("state of a sign-in", &altered(&binding));
    let body = json!({"state": state, "code": code, "binding": other});
    let reply = world.post(&world.anybody(), finish, &body);
    world.planted.wrong("state of a sign-in", &reply, 401);
    let unknown = world.planted.secret("state of a sign-in", &altered(&state));
    let body = json!({"state": unknown, "code": code, "binding": binding});
    let reply = world.post(&world.anybody(), finish, &body);
    world.planted.wrong("state of a sign-in", &reply, 401);
    let long = code.repeat(60);
    let callback = format!("/api/v1/auth/providers/x/callback?state={state}&code={long}");
    let reply = world.anybody().get(&callback);
    world.planted.wrong("code of a provider", &reply, 400);
    let reply = world
        .anybody()
        .get(&format!("/api/v1/auth/providers/{code}/callback?state={state}"));
    world.planted.wrong("code of a provider", &reply, 404);
}
