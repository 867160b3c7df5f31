//! A stolen session: it goes on, but its last proof is eleven minutes old.

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use domain::{
    actor::Role,
    id::{FamilyId, MemberId},
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::App;

/// A body each operation would take, so that nothing but the old proof is wrong with the request.
fn body_for(operation: &str) -> Option<Value> {
    Some(match operation {
        "change-email" => json!({"email": "eve@example.org"}),
        "close-account-of-person" => json!({"password": super::PASSWORD}),
        "confirm-totp" => json!({"code": "123456"}),
        "add-passkey" => json!({
            "name": "phone",
            "credential": {"response": {"clientDataJSON": "", "attestationObject": ""}},
        }),
        "rename-passkey" => json!({"name": "phone"}),
        "add-device-passkey" => json!({"credential": {"response": {"clientDataJSON": "", "attestationObject": ""}}}),
        "confirm-pairing" => json!({"match_code": "42"}),
        "change-phone" => json!({"number": "+491701234567"}),
        "make-api-key" => json!({"name": "script", "scopes": ["read"]}),
        _ => return None,
    })
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
    let before = everything(&app).await;

    let mut refused = Vec::new();
    for (path, operations) in command_api::identity::openapi_paths().as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let answer = operation["responses"]["403"]["description"]
                .as_str()
                .unwrap_or_default();
            if !answer.contains("step-up-required") {
                continue;
            }
            let name = operation["operationId"].as_str().unwrap();
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
            let answer = app.send(request).await;
            assert_eq!(
                (answer.status, answer.problem()),
                (StatusCode::FORBIDDEN, "/problems/step-up-required"),
                "{method} {path}"
            );
            refused.push(name.to_owned());
        }
    }
    // The list may grow; it does not shrink.
    for name in [
        "change-email",
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
    ] {
        assert!(refused.iter().any(|refused| refused == name), "{name}: {refused:?}");
    }
    assert_eq!(everything(&app).await, before);
    app.end().await;
}
