//! A child whose parent has not consented, not any more, or not to the notice of today: on every channel the same refusal, and
//! nothing kept. With consent, everything is as usual.

use std::{thread, time::Duration};

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Household, Kinledger, Reply, consent, payload, register, wait_until};

const COUNTRY: &str = "no-country";
const REQUIRED: &str = "consent-required";

struct Home {
    family: Household,
    wallet: String,
    bank: String,
    unconnected: String,
    category: String,
}

impl Home {
    fn new(kinledger: &Kinledger) -> Self {
        let family = Household::found(kinledger, "The Consenting", "EUR");
        let wallet = json!({"name": "Pocket", "kind": "wallet", "owner": family.child.member_id, "opening_balance": family.money("9")});
        let wallet = family.open_account(&wallet);
        let bank = json!({"name": "Child's bank", "kind": "bank", "owner": family.child.member_id});
        let bank = family.open_account(&bank);
        let unconnected = json!({"name": "Child's card", "kind": "card", "owner": family.child.member_id});
        let unconnected = family.open_account(&unconnected);
        let category = family.category("Leisure");
        Self {
            family,
            wallet,
            bank,
            unconnected,
            category,
        }
    }

    fn give(&self, notice_version: u32) -> Value {
        json!({"member_id": self.family.child.member_id, "method": "signed-form", "notice_version": notice_version})
    }

    fn notice(&self, notice_version: u32) {
        let changed = json!({"notice_version": notice_version});
        self.family.accepted(&self.family.parent, "change-notice", &changed);
    }

    fn connect(&self) -> Reply {
        let connect = json!({"account_id": self.unconnected});
        self.family.command(&self.family.parent, "connect-bank", &connect)
    }

    fn spend(&self) -> Value {
        json!({"account_id": self.wallet, "money": self.family.money("0.10"), "category_id": self.category})
    }

    /// The same, or another thing about the child, on every channel there is: status and code of each.
    fn channels(&self) -> Vec<(&'static str, u16, String)> {
        let (family, child) = (&self.family, &self.family.child);
        let path = family.path();
        let key = Uuid::new_v4();
        let batch = json!([{"name": "add-expense", "idempotency_key": key, "body": self.spend()}]);
        let batch = child.client.post(&format!("{path}/commands"), &batch).json();
        let verdict = &batch["results"][0];
        let code = verdict["problem"]["type"]
            .as_str()
            .unwrap_or_default()
            .trim_start_matches("/problems/")
            .to_owned();
        let import = format!("{path}/imports?account_id={}", self.bank);
        let statement = format!("Date,Amount\n2025-02-01,{}.00\n", 1 + Uuid::new_v4().as_u128() % 9_000);
        let badge = json!({"member_id": child.member_id, "badge": format!("Badge {key}")});
        let replies = [
            ("command", family.command(child, "add-expense", &self.spend())),
            ("about the child", family.command(&family.parent, "award-badge", &badge)),
            ("import", family.parent.client.post_file(&import, statement.as_bytes())),
            ("view", child.client.get(&format!("{path}/accounts"))),
            ("past view", child.client.get(&format!("{path}/as-of/accounts"))),
        ];
        let answered = |(channel, reply): (&'static str, Reply)| match reply.status {
            200..300 => (channel, 200, String::new()),
            _ => (channel, reply.refused().0, reply.refused().1),
        };
        let mut answers: Vec<_> = replies.into_iter().map(answered).collect();
        let status = u16::try_from(verdict["status"].as_u64().unwrap()).unwrap();
        answers.push(("batch", status, code));
        answers
    }

    #[track_caller]
    fn everything_is(&self, is_open: bool) {
        let way = format!("{}/accounts", self.family.path());
        let status = if is_open { 200 } else { 403 };
        assert!(wait_until(Duration::from_secs(5), || self
            .family
            .child
            .client
            .get(&way)
            .status
            == status));
        for (channel, status, code) in self.channels() {
            let wanted = if is_open { (200, "") } else { (403, REQUIRED) };
            assert_eq!((status, code.as_str()), wanted, "{channel}");
        }
        let shown = self
            .family
            .view(&self.family.parent, "leaderboard?period=all")
            .to_string();
        assert_eq!(shown.contains(&self.family.child.member_id), is_open, "{shown}");
    }
}

#[test]
fn a_child_without_consent_is_refused_with_one_code_on_every_channel() {
    let kinledger = Kinledger::start();
    let home = Home::new(&kinledger);
    let family = &home.family;
    home.everything_is(true);

    home.notice(2);
    let log = family.export();
    home.everything_is(false);
    assert_eq!(home.connect().refused(), (403, REQUIRED.to_owned()));
    assert_eq!(family.export(), log, "nothing was kept");
    // What was kept before is theirs to take along.
    let theirs = format!("{}/members/{}/export", family.path(), family.child.member_id);
    assert_eq!(family.parent.client.get(&theirs).status, 200);

    family.accepted(&family.parent, "give-consent", &home.give(2));
    home.everything_is(true);
    home.notice(3);
    home.everything_is(false);
    assert_eq!(
        family.refused(&family.parent, "give-consent", &home.give(2)).1,
        "old-notice"
    );
    family.accepted(&family.parent, "give-consent", &home.give(3));
    home.everything_is(true);
    family.accepted(
        &family.parent,
        "revoke-consent",
        &json!({"member_id": family.child.member_id}),
    );
    home.everything_is(false);

    // From the country's age on nobody has to consent.
    family.accepted(
        &family.parent,
        "set-age-band",
        &json!({"member_id": family.child.member_id, "band": "13"}),
    );
    home.everything_is(true);
    assert_eq!(home.connect().status, 200);
}

#[test]
fn no_teen_or_child_comes_into_a_family_that_has_not_said_its_country() {
    let kinledger = Kinledger::start();
    let parent = register(&kinledger, "Parent").client;
    let founded = |country: Value| {
        let mut body = json!({"name": "The Unsaid", "currency": "EUR"});
        body["country"] = country;
        parent.post("/api/v1/families", &body)
    };
    assert_eq!(
        founded(json!("Portugal")).refused(),
        (422, "unknown-country".to_owned())
    );
    let unsaid = founded(Value::Null).accepted();
    let path = format!("/api/v1/families/{}", unsaid["family_id"].as_str().unwrap());
    let command = |name: &str, body: &Value| parent.post(&format!("{path}/commands/{name}"), body);
    let partner = command("add-member", &json!({"display_name": "P", "role": "partner"})).accepted();
    let partner = payload(&partner, "MemberAdded")["member_id"].clone();
    let young = ["teen", "child"].map(|role| {
        [
            (
                "add-member",
                json!({"display_name": "C", "role": role, "age_band": "16-or-over"}),
            ),
            (
                "add-member",
                json!({"display_name": "C", "role": role, "consent": consent()}),
            ),
            ("change-role", json!({"member_id": partner, "role": role})),
        ]
    });
    let before = parent.get(&format!("{path}/audit/verify")).accepted();
    for (name, body) in young.concat() {
        assert_eq!(
            command(name, &body).refused(),
            (422, COUNTRY.to_owned()),
            "{name} {body}"
        );
        let batch = json!([{"name": name, "idempotency_key": Uuid::new_v4(), "body": body}]);
        let results = parent.post(&format!("{path}/commands"), &batch).json();
        assert_eq!(results["results"][0]["problem"]["type"], format!("/problems/{COUNTRY}"));
    }
    assert_eq!(
        command("change-notice", &json!({"notice_version": 2})).refused().1,
        COUNTRY
    );
    assert_eq!(
        parent.get(&format!("{path}/audit/verify")).accepted(),
        before,
        "nothing was kept"
    );
    command("set-country", &json!({"country": "PT"})).accepted();
    for (name, body) in &young[1] {
        assert_eq!(command(name, body).status, 200, "{name} {body}");
    }

    // One request founds a family that may have children.
    let said = founded(json!("PT")).accepted();
    let path = format!(
        "/api/v1/families/{}/commands/add-member",
        said["family_id"].as_str().unwrap()
    );
    let child = json!({"display_name": "C", "role": "child", "consent": consent()});
    let added = parent.post(&path, &child).accepted();
    assert_eq!(payload(&added, "ConsentGiven")["method"], "signed-form");
}

#[test]
fn an_invitation_for_a_child_waits_for_consent() {
    let kinledger = Kinledger::start();
    let family = Household::found(&kinledger, "The Waiting", "EUR");
    let added = json!({"display_name": "Newcomer", "role": "child", "age_band": "under-13"});
    let added = family.accepted(&family.parent, "add-member", &added);
    let member_id = payload(&added, "MemberAdded")["member_id"].as_str().unwrap().to_owned();
    let path = format!("{}/members/{member_id}/invitation", family.path());
    let pairing = format!("{}/members/{member_id}/pairing", family.path());
    for path in [&path, &pairing] {
        assert_eq!(
            family.parent.client.post(path, &json!({})).refused(),
            (403, REQUIRED.to_owned())
        );
    }
    let consent = json!({"member_id": member_id, "method": "government-id", "notice_version": 1});
    family.accepted(&family.parent, "give-consent", &consent);
    assert_eq!(family.parent.client.post(&path, &json!({})).status, 201);
}

#[test]
fn of_parents_who_race_giving_and_revoking_the_log_has_the_last_word() {
    let kinledger = Kinledger::start();
    let home = Home::new(&kinledger);
    let family = &home.family;
    let other = family.invite(&kinledger, "Other", "parent");
    family.accepted(&family.parent, "set-country", &json!({"country": "FR"}));
    let revoke = json!({"member_id": family.child.member_id});
    thread::scope(|scope| {
        for (person, name, body) in [
            (&family.parent, "give-consent", home.give(1)),
            (&other, "revoke-consent", revoke),
        ] {
            scope.spawn(move || {
                for _ in 0..20 {
                    let reply = family.command(person, name, &body);
                    assert!(
                        reply.status == 200 || reply.refused().1 == "same-consent",
                        "{}",
                        reply.text()
                    );
                }
            });
        }
    });
    let events = family.events();
    let last = events
        .iter()
        .rev()
        .find_map(|event| match event["event_type"].as_str().unwrap() {
            "ConsentGiven" => Some(true),
            "ConsentRevoked" => Some(false),
            _ => None,
        });
    home.everything_is(last.expect("somebody was first"));
}
