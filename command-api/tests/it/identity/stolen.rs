//! A stolen session: it goes on, but its last proof is eleven minutes old.

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use command_api::{
    identity::{Identity, Secret, openapi_paths as identity_paths},
    person::{self, PersonState, openapi_paths as person_paths},
};
use domain::{
    actor::Role,
    id::{FamilyId, MemberId},
};
use event_store::Log;
use serde_json::{Value, json};
use service_kit::database::DatabaseRole;
use tower::ServiceExt;
use uuid::Uuid;

use super::{Answer, App, quick};

/// What a signed-in person does about accounts without a fresh proof. A new operation is in this list, or refuses an old proof.
const WITHOUT_PROOF: &[&str] = &[
    // By the password or factor in its body, or by what a mail, a message, a provider or another person handed out.
    "confirm-email-change",
    "confirm-phone",
    "finish-provider-link",
    "join",
    "step-up",
    "step-up-options",
    "verify-email",
    // It looks, names, sends a mail to the owner, or ends something.
    "change-profile",
    "end-paired-device",
    "end-session",
    "invitations",
    "known-devices",
    "list-api-keys",
    "list-factors",
    "list-paired-devices",
    "logout",
    "name-device",
    "own-security-events",
    "pairing",
    "profile",
    "request-email-verification",
    "revoke-invitation",
    "security-events",
    "sessions",
    // It opens the place of somebody else, which its code alone does not.
    "invite",
];

/// What asks for a fresh proof only once the code in its body is known to be good: another test holds it.
const ONCE_ITS_CODE_IS_KNOWN: &[&str] = &["own-account"];

/// A body each operation would take, so that nothing but the old proof is wrong with the request.
fn body_for(operation: &str) -> Option<Value> {
    Some(match operation {
        "change-email" => json!({"email": "eve@example.org"}),
        "change-password" => json!({"new_password": super::accounts::NEW_PASSWORD}),
        "close-account-of-person" => json!({"password": super::PASSWORD}),
        "confirm-totp" => json!({"code": "123456"}),
        "add-passkey" => json!({
            "name": "phone",
            "credential": {"response": {"clientDataJSON": "", "attestationObject": ""}},
        }),
        "rename-passkey" => json!({"name": "phone"}),
        "add-device-passkey" => json!({"credential": {"response": {"clientDataJSON": "", "attestationObject": ""}}}),
        "confirm-pairing" => json!({"match_code": "42"}),
        "own-account" => json!({
            "code": "NO-SUCH-CODE",
            "email": "eve@example.org",
            "password": super::accounts::NEW_PASSWORD,
            "display_name": "Eve",
        }),
        "change-phone" => json!({"number": "+491701234567"}),
        "make-api-key" => json!({"name": "script", "scopes": ["read"]}),
        _ => return None,
    })
}

/// The whole installation's paths; `kinledger contracts --check` holds that they are those of its parts.
fn document() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../schemas/openapi.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Every operation about an account: those of the two modules as they are now, and whatever else the document has below
/// `/api/v1/auth`, whoever serves it.
fn about_accounts() -> Vec<(String, String, Value)> {
    let mut found: Vec<(String, String, Value)> = Vec::new();
    let document = document();
    let (identity, person) = (identity_paths(), person_paths());
    for (paths, is_all) in [(&identity, true), (&person, true), (&document["paths"], false)] {
        for (path, operations) in paths.as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                let is_known = found.iter().any(|known| (&known.0, &known.1) == (path, method));
                if !is_known && (is_all || path.starts_with("/api/v1/auth/")) {
                    found.push((path.clone(), method.clone(), operation.clone()));
                }
            }
        }
    }
    found
}

/// Everything about people, but the sessions' own use.
async fn everything(app: &App) -> String {
    let pool = app.database.superuser().await;
    let mut dump = String::new();
    for table in [
        "users",
        "totp_factors",
        "recovery_codes",
        "passkeys",
        "passkey_challenges",
        "api_keys",
        "linked_sign_ins",
        "phones",
        "phone_codes",
        "provider_flows",
        "pairings",
        "paired_devices",
        "paired_device_passkeys",
        "invitations",
        "devices",
        "sessions",
    ] {
        let rows: Vec<(String,)> = sqlx::query_as(&format!(
            "select row_to_json(t)::text from identity.{table} as t order by 1"
        ))
        .fetch_all(&pool)
        .await
        .unwrap();
        dump.extend(rows.into_iter().map(|(row,)| row));
    }
    pool.close().await;
    dump
}

/// The routes of exports, of another process on the same database.
async fn exports(app: &App) -> axum::Router {
    let pool = app.database.pool(DatabaseRole::Identity).await;
    let identity = Identity::open(pool, &Secret::new([7; 32]), &quick(), app.places.clone())
        .await
        .unwrap();
    let log = Log::new(app.database.pool(DatabaseRole::Writer).await, [9; 32]);
    person::router(PersonState::new(identity, log))
}

#[tokio::test]
async fn with_an_old_proof_every_dangerous_operation_is_refused_and_changes_nothing() {
    let app = App::start().await;
    let registered = app.register("ada@example.org").await;
    let family_id = FamilyId::from_uuid(Uuid::new_v4());
    let user_id = registered["user_id"].as_str().unwrap().parse().unwrap();
    let member_id = MemberId::from_uuid(Uuid::new_v4());
    app.places.put(
        family_id,
        MemberId::from_uuid(Uuid::new_v4()),
        Role::Parent,
        Some(user_id),
    );
    app.places.put(family_id, member_id, Role::Child, None);
    let token = registered["access_token"].as_str().unwrap();
    app.post_as(
        token,
        "/api/v1/auth/api-keys",
        json!({"name": "script", "scopes": ["read"]}),
    )
    .await;
    let pool = app.database.superuser().await;
    sqlx::query("update identity.sessions set proven_at = proven_at - interval '11 minutes'")
        .execute(&pool)
        .await
        .unwrap();
    let stolen = app.refresh(&registered["refresh_token"], None).await.body;
    let stolen = stolen["access_token"].as_str().unwrap();
    let routes = app.router.clone().merge(exports(&app).await);
    let before = everything(&app).await;

    let (mut refused, mut free) = (Vec::new(), Vec::new());
    for (path, method, operation) in about_accounts() {
        let name = operation["operationId"].as_str().unwrap();
        let is_for_the_signed_in = operation["security"].as_array().is_some_and(|ways| !ways.is_empty());
        if !is_for_the_signed_in {
            continue;
        }
        let answer = operation["responses"]["403"]["description"].as_str();
        if !answer.unwrap_or_default().contains("step-up-required") {
            assert!(
                WITHOUT_PROOF.contains(&name),
                "{name} goes without a fresh proof: ask for one and document it, or say here why not"
            );
            free.push(name.to_owned());
            continue;
        }
        let unknown_code = ONCE_ITS_CODE_IS_KNOWN.contains(&name);
        let needs_body = operation["requestBody"]["required"] == true;
        let body = body_for(name);
        assert_eq!(
            needs_body,
            body.is_some(),
            "give {name} the body it takes, in this test"
        );
        let path = path
            .replace("{family_id}", &family_id.to_string())
            .replace("{member_id}", &member_id.to_string())
            .replace("{passkey_id}", &Uuid::new_v4().to_string())
            .replace("{pairing_id}", &Uuid::new_v4().to_string())
            .replace("{device_id}", &Uuid::new_v4().to_string())
            .replace("{api_key_id}", &Uuid::new_v4().to_string())
            .replace("{provider}", "google");
        let request = Request::builder()
            .method(method.to_uppercase().as_str())
            .uri(&path)
            .header(header::AUTHORIZATION, format!("Bearer {stolen}"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.map(|body| body.to_string()).unwrap_or_default()))
            .unwrap();
        let answer = Answer::read(routes.clone().oneshot(request).await.unwrap()).await;
        let expected = if unknown_code {
            (StatusCode::NOT_FOUND, "/problems/unknown-invitation")
        } else {
            (StatusCode::FORBIDDEN, "/problems/step-up-required")
        };
        assert_eq!((answer.status, answer.problem()), expected, "{method} {path}");
        refused.push(name.to_owned());
    }
    for name in WITHOUT_PROOF {
        assert!(
            free.iter().any(|free| free == name),
            "{name} is no operation without a proof"
        );
    }
    // The list may grow; it does not shrink.
    for name in [
        "change-email",
        "change-password",
        "add-totp",
        "confirm-totp",
        "remove-totp",
        "renew-recovery-codes",
        "passkey-options",
        "add-passkey",
        "rename-passkey",
        "remove-passkey",
        "device-passkey-options",
        "add-device-passkey",
        "remove-device-passkey",
        "make-api-key",
        "end-api-key",
        "pair",
        "confirm-pairing",
        "unlock-paired-device",
        "link-provider",
        "unlink-provider",
        "change-phone",
        "remove-phone",
        "forget-device",
        "close-account-of-person",
        "own-export",
        "member-export",
    ] {
        assert!(refused.iter().any(|refused| refused == name), "{name}: {refused:?}");
    }
    assert_eq!(everything(&app).await, before);
    app.end().await;
}
