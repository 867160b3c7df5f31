//! Requests that would be good ones in the family whose ids they hold.

use serde_json::{Value, json};
use uuid::Uuid;

use super::world::{Ids, Route};
use crate::support::{Client, Reply};

/// Every command by name, with a body that an adult of the family could send.
pub fn of_command(name: &str, ids: &Ids) -> Value {
    let money = json!({"amount": "0.10", "currency": "EUR"});
    match name {
        "accept-handover" | "leave-family" | "withdraw-handover" => json!({}),
        "hand-over-family" => json!({"to": ids.member}),
        "rename-member" => json!({"member_id": ids.member, "display_name": "Intruder"}),
        "erase-member" | "remove-member" => json!({"member_id": ids.member}),
        "delete-family" => json!({"name": "Intruders"}),
        "change-notice" => json!({"notice_version": 2}),
        "give-consent" => json!({"member_id": ids.member, "method": "signed-form", "notice_version": 1}),
        "revoke-consent" => json!({"member_id": ids.member}),
        "set-age-band" => json!({"member_id": ids.member, "band": "13"}),
        "set-country" => json!({"country": "PT"}),
        "set-audit-term" => json!({"member_id": ids.member, "until_on": crate::support::today(30)}),
        "add-category" => json!({"name": "Intruders", "kind": "expense"}),
        "add-expense" => json!({"account_id": ids.account, "money": money, "category_id": ids.category}),
        "add-income" => json!({"account_id": ids.account, "money": money, "category_id": ids.category}),
        "add-member" => json!({"display_name": "Intruder", "role": "child"}),
        "approve-chore" | "claim-chore" | "complete-chore" | "reject-chore" => json!({"chore_id": ids.chore}),
        "approve-spending" | "decline-spending" => json!({"member_id": ids.member, "request_id": request(ids)}),
        "cancel-spending-request" => json!({"request_id": request(ids)}),
        "remove-spending-limit" => json!({"member_id": ids.member}),
        "request-spending" => json!({"account_id": ids.wallet, "money": money, "category_id": ids.category}),
        "set-spending-limit" => json!({"member_id": ids.member, "per_day": money}),
        "award-badge" => json!({"member_id": ids.member, "badge": "Intruder"}),
        "change-role" => json!({"member_id": ids.member, "role": "parent"}),
        "choose-leaderboard" => json!({"member_id": ids.member, "on_leaderboard": false}),
        "close-account" => json!({"account_id": ids.account}),
        "connect-bank" => json!({"account_id": ids.other_account}),
        "create-family" => json!({"name": "Intruders", "currency": "EUR"}),
        "mark-notifications-read" => json!({"up_to_family_seq": 1}),
        "offer-chore" => {
            json!({"title": "Intrude", "reward": {"money": money, "pay_from": ids.account}, "offered_to": ids.member})
        }
        "open-account" => json!({"name": "Intruder", "kind": "wallet", "owner": ids.member, "currency": "GBP"}),
        "recategorise-entry" => json!({"entry_id": ids.entry, "to": ids.other_category}),
        "reverse-entry" => json!({"entry_id": ids.entry}),
        "set-budget" => json!({"category_id": ids.category, "amount": money}),
        "share-account" => json!({"account_id": ids.account, "member_id": ids.member, "level": "view"}),
        "sync-bank" => json!({
            "connection_id": ids.connection,
            "statement": {"currency": "EUR", "rows": [{"booked_on": "2025-02-01", "amount": money}]},
        }),
        "transfer" => json!({"from": ids.wallet, "to": ids.account, "money": money}),
        "undo-import" => json!({"import_id": ids.import}),
        other => panic!("say here what the body of {other} looks like"),
    }
}

/// A request that is nowhere; its name is made of one that the family has.
fn request(ids: &Ids) -> String {
    ids.entry.replacen("ent_", "req_", 1)
}

/// Sends a request to a route: `path` fills its places, `ids` its query and body.
pub fn send(client: &Client, route: &Route, path: &Ids, ids: &Ids, extra: &[(&str, &str)]) -> Reply {
    let mut address = route.path.replace("{family_id}", &path.family);
    address = address
        .replace("{member_id}", &path.member)
        .replace("{command_id}", &path.command)
        .replace("{invitation_id}", &path.invitation);
    let query = query(route, ids);
    if !query.is_empty() {
        address = format!("{address}?{query}");
    }
    if route.method == "GET" {
        return client.send("GET", &address, extra, None);
    }
    let (content_type, body) = body(route, ids);
    let key = Uuid::new_v4().to_string();
    let mut headers = vec![("content-type", content_type), ("idempotency-key", key.as_str())];
    // A header given takes the place of ours.
    headers.retain(|(name, _)| !extra.iter().any(|(given, _)| given == name));
    headers.extend(extra);
    client.send(&route.method, &address, &headers, Some(&body))
}

/// A query for every parameter that could name a thing.
fn query(route: &Route, ids: &Ids) -> String {
    let mut pairs = Vec::new();
    for parameter in route.operation["parameters"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|parameter| parameter["in"] == "query")
    {
        let name = parameter["name"].as_str().unwrap();
        let value = match name {
            "account_id" => &ids.account,
            "category_id" => &ids.category,
            "member_id" => &ids.member,
            "format" => "ndjson",
            _ => continue,
        };
        pairs.push(format!("{name}={value}"));
    }
    pairs.join("&")
}

/// A sound body of a route, and its type.
pub fn body(route: &Route, ids: &Ids) -> (&'static str, Vec<u8>) {
    let json = |value: Value| ("application/json", value.to_string().into_bytes());
    if let Some(name) = route.command() {
        return json(of_command(name, ids));
    }
    match route.path.as_str() {
        "/api/v1/families" => json(of_command("create-family", ids)),
        "/api/v1/families/{family_id}/commands" => {
            let item = |name: &str| json!({"name": name, "idempotency_key": Uuid::from_u128(7), "body": of_command(name, ids)});
            json(json!(
                ["add-expense", "close-account", "approve-chore", "undo-import"].map(item)
            ))
        }
        "/api/v1/families/{family_id}/imports" => ("text/csv", b"Date,Amount\n2025-02-01,1.00\n".to_vec()),
        _ => json(json!({})),
    }
}
