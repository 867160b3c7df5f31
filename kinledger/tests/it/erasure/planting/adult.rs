//! An adult who keeps books, decides what the teen asks for, and in the end closes their account.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{super::Gateways, Planted};
use crate::support::{Entrance, Household, PASSWORD, Person, payload};

pub fn plant(
    kinledger: &impl Entrance,
    family: &Household,
    planted: &mut Planted,
    (teen, wallet): &(Person, String),
) -> Person {
    let adult = joined(kinledger, family, planted);
    let renamed = json!({"member_id": adult.member_id, "display_name": planted.text()});
    family.accepted(&adult, "rename-member", &renamed);
    books(family, &adult, planted);
    requests(family, &adult, planted, (teen, wallet));
    adult
}

/// What else they sign in by: a phone, and a key for programs.
pub fn ways_in(adult: &Person, planted: &mut Planted, gateways: &Gateways) {
    let mail = gateways.mailbox.wait_for(&adult.email, 1).remove(0);
    let token = json!({"token": mail.after("verify-email?token=")});
    let verified = adult.client.post("/api/v1/auth/verify-email", &token);
    assert_eq!(verified.status, 204, "{}", verified.text());
    let number = format!("+4917{:09}", Uuid::new_v4().as_u128() % 1_000_000_000);
    let body = json!({"number": number}).to_string();
    let headers = [("content-type", "application/json")];
    let asked = adult
        .client
        .send("PUT", "/api/v1/auth/profile/phone", &headers, Some(body.as_bytes()));
    let message = gateways.telephones.wait_for(1);
    assert_eq!(message.to, number);
    let answer = json!({"challenge": asked.json()["challenge"], "code": message.code()});
    let confirmed = adult.client.post("/api/v1/auth/profile/phone/confirm", &answer);
    assert_eq!(confirmed.status, 204, "{}", confirmed.text());
    planted.texts.push(number);
    let key = json!({"name": planted.text(), "scopes": ["read"]});
    adult.client.post("/api/v1/auth/api-keys", &key).accepted();
}

/// With an address, a name and a device of their own.
fn joined(kinledger: &impl Entrance, family: &Household, planted: &mut Planted) -> Person {
    let body = json!({"display_name": planted.text(), "role": "partner"});
    let added = family.accepted(&family.parent, "add-member", &body);
    let member_id = payload(&added, "MemberAdded")["member_id"].as_str().unwrap().to_owned();
    let path = format!("{}/members/{member_id}/invitation", family.path());
    let code = family.parent.client.post(&path, &json!({})).accepted()["code"].clone();
    let email = format!("{}@example.org", planted.text());
    let body = json!({"email": email, "password": PASSWORD, "display_name": planted.text()});
    let device = planted.text();
    let headers = [("content-type", "application/json"), ("user-agent", device.as_str())];
    let client = kinledger.client();
    let registered = client.send(
        "POST",
        "/api/v1/auth/register",
        &headers,
        Some(body.to_string().as_bytes()),
    );
    let tokens = registered.accepted();
    let client = client.with_token(tokens["access_token"].as_str().unwrap());
    let joined = client.post("/api/v1/auth/join", &json!({"code": code})).accepted();
    family.seen(&joined);
    Person {
        member_id,
        email,
        client,
        refresh_token: tokens["refresh_token"].as_str().unwrap().to_owned(),
    }
}

fn books(family: &Household, adult: &Person, planted: &mut Planted) {
    let account = family.open_account(&json!({
        "name": planted.text(), "kind": "cash", "owner": adult.member_id, "opening_balance": family.money("500"),
    }));
    let [salary, leisure] = ["Salary", "Leisure"].map(|name| family.category(name));
    for number in 0..4 {
        let mut body = json!({
            "account_id": account, "money": family.money("3"), "category_id": salary,
            "payee": planted.text(), "note": planted.text(),
        });
        family.accepted(adult, "add-income", &body);
        body["category_id"] = leisure.as_str().into();
        for text in ["payee", "note"] {
            body[text] = planted.text().into();
        }
        let spent = family.accepted(adult, "add-expense", &body);
        if number == 0 {
            let body = json!({"entry_id": spent["events"][0]["aggregate_id"], "reason": planted.text()});
            family.accepted(adult, "reverse-entry", &body);
        }
    }
}

/// What the teen asks to spend: approved, taken back, waiting, and declined: by the adult, and by the parent, who stays in the family.
fn requests(family: &Household, adult: &Person, planted: &mut Planted, (teen, wallet): (&Person, &String)) {
    let limit = json!({"member_id": teen.member_id, "per_entry": family.money("5")});
    family.accepted(&family.parent, "set-spending-limit", &limit);
    let category = family.category("Leisure");
    let mut asks = || {
        let body = json!({
            "account_id": wallet, "money": family.money("20"), "category_id": category,
            "payee": planted.text(), "note": planted.text(),
        });
        let asked = family.accepted(teen, "request-spending", &body);
        json!({"member_id": teen.member_id, "request_id": payload(&asked, "SpendingRequested")["request_id"]})
    };
    let [approved, cancelled, _waiting, mut by_adult, mut by_parent]: [Value; 5] =
        [asks(), asks(), asks(), asks(), asks()];
    family.accepted(&family.parent, "approve-spending", &approved);
    for (declined, by) in [(&mut by_adult, adult), (&mut by_parent, &family.parent)] {
        declined["reason"] = planted.text().into();
        family.accepted(by, "decline-spending", declined);
    }
    family.accepted(
        teen,
        "cancel-spending-request",
        &json!({"request_id": cancelled["request_id"]}),
    );
}
