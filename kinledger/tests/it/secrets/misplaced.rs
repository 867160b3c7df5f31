//! Secrets where none belongs: in every field of every command and operation, in addresses, parameters and headers. Whoever reads
//! what is not theirs to understand says so without repeating it.

use domain::commands::COMMANDS;
use query_api::views::VIEWS;
use serde_json::{Value, json};

use super::{SHOWN, planted::Planted, world::World};
use crate::support::{Client, Reply};

/// What somebody might paste into the wrong field, beside all that they are asked for: what they were told, and only to pass on.
const TOLD: [&str; 3] = ["TOTP seed", "challenge of a device", "challenge of a phone"];

/// One of every kind that people and programs hold. The two digits by which a parent tells one device from another are no secret, and
/// nobody could find them again; what a passkey signs counts once, for the challenge that was signed.
pub fn kinds() -> Vec<&'static str> {
    [&SHOWN[..], &TOLD].concat()
}

/// Sends them everywhere; says in how many requests.
pub fn everywhere(world: &mut World) -> usize {
    let secrets = world.planted.one_of_each(&kinds());
    let parent = world.parent().proven().client;
    world.people.push(parent.clone());
    world.planted.secret("access token", parent.token());
    let family = world.family.path();
    let account = world
        .family
        .open_account(&json!({"name": "Unconnected", "kind": "bank"}));
    let mut sender = Sender {
        client: &parent,
        planted: &mut world.planted,
        asked: 0,
    };
    commands(&mut sender, &family, &secrets);
    names(&mut sender, &family, &account, &secrets);
    operations(&mut sender, &secrets);
    for secret in &secrets {
        addresses(&mut sender, &family, secret);
        headers(&mut sender, &family, secret);
    }
    let asked = sender.asked;
    assert!(asked > 10_000, "{asked}");
    asked
}

struct Sender<'a> {
    client: &'a Client,
    planted: &'a mut Planted,
    asked: usize,
}

impl Sender<'_> {
    /// Sends it; it has to be refused, as the sender's mistake.
    fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&Value>) {
        let reply = self.ask(method, path, headers, body);
        assert!(
            (400..500).contains(&reply.status),
            "{method} {path} {body:?}: {}",
            reply.text()
        );
    }

    fn ask(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&Value>) -> Reply {
        let body = body.map(Value::to_string);
        let reply = self
            .client
            .send(method, path, headers, body.as_deref().map(str::as_bytes));
        self.asked += 1;
        if reply.status >= 400 {
            self.planted.refusal(&format!("{method} {path}"), reply.body.clone());
        }
        reply
    }

    /// A body, under a fresh key.
    fn post(&mut self, path: &str, body: &Value) {
        let key = uuid::Uuid::new_v4().to_string();
        let headers = [("content-type", "application/json"), ("idempotency-key", key.as_str())];
        self.send("POST", path, &headers, Some(body));
    }
}

/// Secrets in the forms that a field may expect: each as a text and as a name, and in turn one of them deeper down. No request is
/// whole, for its last field is none: nothing of it can be recorded.
fn shapes(field: &str, secrets: &[String], turn: usize) -> Vec<Value> {
    let mut values = Vec::new();
    for secret in secrets {
        values.extend([json!(secret), json!({secret: secret})]);
        values.extend(secret.parse::<u64>().map(|number| json!(number)));
    }
    let secret = &secrets[turn % secrets.len()];
    values.extend([
        json!([secret]),
        json!({"amount": secret, "currency": "EUR"}),
        json!({"amount": "1.00", "currency": secret}),
        json!([{"category_id": secret, "money": {"amount": "1.00", "currency": secret}}]),
    ]);
    values
        .into_iter()
        .map(|value| json!({field: value, "zz_no_such_field": 1}))
        .collect()
}

/// Fields that a schema names.
fn fields(schema: &Value) -> Vec<String> {
    let named = schema["properties"].as_object();
    named
        .map(|properties| properties.keys().cloned().collect())
        .unwrap_or_default()
}

fn commands(sender: &mut Sender<'_>, family: &str, secrets: &[String]) {
    for (turn, kind) in COMMANDS.iter().enumerate() {
        let path = format!("{family}/commands/{}", kind.name);
        let schema = serde_json::to_value((kind.schema)()).unwrap();
        for field in fields(&schema) {
            for body in shapes(&field, secrets, turn + field.len()) {
                sender.post(&path, &body);
            }
        }
        for secret in secrets {
            sender.post(&path, &json!({secret: 1}));
            sender.post(&path, &json!(secret));
        }
    }
    for secret in secrets {
        let item = |name: &str, body: Value| json!({"name": name, "idempotency_key": secret, "body": body});
        for batch in [
            json!({"commands": [item(secret, json!({}))]}),
            json!([item("add-category", json!({"name": secret}))]),
            json!({"commands": secret}),
            json!({secret: []}),
            json!([secret]),
        ] {
            sender.post(&format!("{family}/commands"), &batch);
        }
    }
}

/// In requests that are whole but for a name that is none of ours.
fn names(sender: &mut Sender<'_>, family: &str, account: &str, secrets: &[String]) {
    let nobodys = format!(
        "/api/v1/families/{}",
        domain::id::FamilyId::from_uuid(uuid::Uuid::new_v4())
    );
    for secret in secrets {
        for (family, name, body) in [
            (
                nobodys.as_str(),
                "create-family",
                json!({"name": "N", "currency": "EUR", "zone": secret}),
            ),
            (
                &nobodys,
                "create-family",
                json!({"name": "N", "currency": "EUR", "country": secret}),
            ),
            (
                family,
                "connect-bank",
                json!({"account_id": account, "provider": secret}),
            ),
            (family, "set-country", json!({"country": secret})),
        ] {
            sender.post(&format!("{family}/commands/{name}"), &body);
        }
    }
}

/// Everything about people.
fn operations(sender: &mut Sender<'_>, secrets: &[String]) {
    let paths = command_api::identity::openapi_paths();
    for (turn, (path, operations)) in paths.as_object().unwrap().iter().enumerate() {
        // Whoever signs out with a token that is none is signed out.
        if path.ends_with("/logout") {
            continue;
        }
        for (method, operation) in operations.as_object().unwrap() {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            for field in fields(schema) {
                for (which, body) in shapes(&field, secrets, turn).iter().enumerate() {
                    let named = &secrets[(turn + which) % secrets.len()];
                    let names = path.split('{').skip(1).filter_map(|rest| rest.split_once('}'));
                    let path = names.fold(path.clone(), |path, (name, _)| {
                        path.replace(&format!("{{{name}}}"), &encoded(named))
                    });
                    let headers = [("content-type", "application/json")];
                    sender.send(&method.to_uppercase(), &path, &headers, Some(body));
                }
            }
        }
    }
}

fn addresses(sender: &mut Sender<'_>, family: &str, secret: &str) {
    let secret = &encoded(secret);
    let mut ways = vec![
        format!("/api/v1/families/{secret}/accounts"),
        format!("/api/v1/families/{secret}/security-events"),
        format!("/api/v1/{secret}"),
        format!("/api/v1/auth/{secret}"),
        format!("/{secret}"),
        format!("{family}/{secret}"),
        format!("{family}/as-of/{secret}"),
        format!("{family}/commands/{secret}"),
        format!("{family}/as-of/accounts?family_seq={secret}"),
        format!("{family}/as-of/accounts?recorded_at={secret}"),
        format!("{family}/as-of/accounts?effective_on={secret}"),
        format!("{family}/as-of/accounts?{secret}={secret}"),
        format!("{family}/audit/events?after_family_seq={secret}"),
        format!("{family}/audit/events?{secret}={secret}"),
        format!("{family}/audit/export?format={secret}"),
        format!("{family}/audit/as-of?recorded_at={secret}"),
        format!("{family}/audit/proof/inclusion?family_seq={secret}"),
        format!("{family}/security-events?cursor={secret}"),
        format!("{family}/security-events?{secret}={secret}"),
        format!("/api/v1/auth/security-events?limit={secret}"),
        format!("/api/v1/auth/export?format={secret}"),
        format!("/api/v1/auth/export?{secret}=1"),
    ];
    for view in VIEWS {
        ways.push(format!("{family}/{}?{secret}={secret}", view.name));
        ways.push(format!("{family}/{}?min_family_seq={secret}", view.name));
        ways.push(format!("{family}/{}?effective_on={secret}", view.name));
    }
    ways.extend(
        [
            "status",
            "period",
            "limit",
            "from",
            "after",
            "member_id",
            "account_id",
            "category_id",
        ]
        .iter()
        .flat_map(|name| {
            VIEWS
                .iter()
                .map(move |view| format!("{family}/{}?{name}={secret}", view.name))
        }),
    );
    // A number is what some of them ask for: then it is one of an event, and waited for.
    let is_number = secret.bytes().all(|byte| byte.is_ascii_digit());
    for way in ways.iter().filter(|way| !(is_number && way.contains("family_seq="))) {
        let reply = sender.ask("GET", way, &[], None);
        let is_refused = (400..500).contains(&reply.status);
        assert!(
            is_refused || is_number && reply.status == 200,
            "{way}: {} {}",
            reply.status,
            reply.text()
        );
    }
    sender.post(&format!("{family}/commands/{secret}"), &json!({}));
    sender.post(&format!("{family}/imports?account_id={secret}"), &json!({}));
    sender.post(&format!("{family}/imports?{secret}={secret}"), &json!({}));
}

/// In headers it is ignored, or refused.
fn headers(sender: &mut Sender<'_>, family: &str, secret: &str) {
    let members = format!("{family}/members");
    for name in [
        "accept",
        "cookie",
        "if-match",
        "if-none-match",
        "kinledger-device",
        "origin",
        "traceparent",
        "user-agent",
        "x-forwarded-for",
        "x-request-id",
    ] {
        let reply = sender.ask("GET", &members, &[(name, secret)], None);
        assert!(reply.status < 500, "{name}: {}", reply.text());
    }
    let path = format!("{family}/commands/add-category");
    let body = json!({"name": "Toys", "kind": "expense"});
    sender.send(
        "POST",
        &path,
        &[("content-type", "application/json"), ("idempotency-key", secret)],
        Some(&body),
    );
    sender.send("POST", "/api/v1/auth/login", &[("content-type", secret)], Some(&body));
    let anybody = sender.client.with_token(&format!("{secret} {secret}"));
    let reply = anybody.get(&members);
    assert_eq!(reply.status, 401, "{}", reply.text());
    sender.planted.refusal("a header", reply.body);
}

/// As it stands in an address.
fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}
