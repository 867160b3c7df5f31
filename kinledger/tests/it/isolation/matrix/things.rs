//! For every operation, a request that would be a good one: about what is the asking member's own, and about what is another's.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    super::{
        bodies::body,
        world::{CANARIES, Ids, Route},
    },
    elsewhere,
    families::{Asking, Family},
};
use crate::support::{Person, Reply, consent, payload};

/// Whose the thing is that a request is about. For an operation whose cell says `part`, what is another's is outside of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    Own,
    Anothers,
}

impl Whose {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Anothers => "another's",
        }
    }
}

/// A request, ready to be sent, and what its answer may not show to whom it may not show all.
pub struct Prepared {
    method: String,
    address: String,
    content_type: &'static str,
    body: Option<Vec<u8>>,
    hidden: Vec<String>,
    shown: Vec<String>,
    shows_less: bool,
    batch: Option<u16>,
}

impl Prepared {
    fn post(address: String, body: &Value) -> Self {
        Self {
            method: "POST".to_owned(),
            address,
            content_type: "application/json",
            body: Some(body.to_string().into_bytes()),
            hidden: Vec::new(),
            shown: Vec::new(),
            shows_less: false,
            batch: None,
        }
    }

    fn get(address: String) -> Self {
        Self {
            method: "GET".to_owned(),
            body: None,
            ..Self::post(address, &Value::Null)
        }
    }

    pub fn sent(&self, asking: &Asking) -> Reply {
        let key = Uuid::new_v4().to_string();
        let headers = [("content-type", self.content_type), ("idempotency-key", key.as_str())];
        let headers = if self.body.is_some() { &headers[..] } else { &[] };
        asking
            .person
            .client
            .send(&self.method, &self.address, headers, self.body.as_deref())
    }

    /// Is it answered to everybody who may ask, and shows to some less than to others?
    pub fn shows_less(&self) -> bool {
        self.shows_less
    }

    pub fn check_what_it_shows(&self, reply: &Reply, said: &str, shows_all: bool) {
        let text = reply.text();
        for own in &self.shown {
            assert!(text.contains(own.as_str()), "{said} shows {own}: {text}");
        }
        if !shows_all {
            for hidden in self.hidden.iter().map(String::as_str).chain(CANARIES.iter().copied()) {
                assert!(!text.contains(hidden), "{said} hides {hidden}: {text}");
            }
        }
        if let Some(status) = self.batch {
            assert_eq!(reply.json()["results"][0]["status"], status, "{said}: {text}");
        }
    }
}

/// The request; none where there is no such thing, as another's notifications, which nothing can name.
pub fn prepared(family: &Family, route: &Route, asking: &Asking, whose: Whose) -> Option<Prepared> {
    if let Some(name) = route.command() {
        let (id, body) = match elsewhere::made(family, name, asking, whose) {
            Some(made) => made,
            None => (family.ids.family.clone(), of_command(family, name, asking, whose)?),
        };
        return Some(Prepared::post(route.path.replace("{family_id}", &id), &body));
    }
    let below = route.path.strip_prefix("/api/v1/families/{family_id}").unwrap();
    let at = |rest: &str| format!("{}{rest}", family.path());
    match (below, whose) {
        ("/commands", Whose::Own) => {
            let ours = || family.ids.family.clone();
            let (id, name, body) = match asking.role {
                "teen" | "child" => {
                    let chore = offered(family, Some(&asking.person.member_id));
                    (ours(), "claim-chore", json!({"chore_id": chore}))
                }
                "auditor" => (elsewhere::of_a_guest(family, asking), "leave-family", json!({})),
                _ => (
                    ours(),
                    "add-category",
                    json!({"name": fresh("Batch"), "kind": "expense"}),
                ),
            };
            Some(Prepared {
                batch: Some(200),
                ..Prepared::post(route.path.replace("{family_id}", &id), &batch(name, &body))
            })
        }
        // To the batch itself nobody is refused: each command in it is.
        ("/commands", Whose::Anothers) => {
            let is_adult = ["parent", "partner"].contains(&asking.role);
            let (name, body) = match is_adult {
                true => (
                    "request-spending",
                    json!({"account_id": family.account_of(asking.role), "money": family.household.money("0.20"), "category_id": family.ids.category}),
                ),
                false => ("add-category", json!({"name": fresh("Batch"), "kind": "expense"})),
            };
            Some(Prepared {
                batch: Some(403),
                shows_less: true,
                ..Prepared::post(at(below), &batch(name, &body))
            })
        }
        ("/commands/{command_id}", _) => {
            let by = match whose {
                Whose::Own if asking.role != "auditor" => &asking.person,
                _ => family.other_than(asking.role),
            };
            Some(Prepared::get(at(&format!("/commands/{}", command_of(family, by)))))
        }
        ("/members/{member_id}/invitation", _) => {
            let role = if whose == Whose::Own { "child" } else { "partner" };
            let member = add_member(family, role);
            Some(Prepared::post(at(&format!("/members/{member}/invitation")), &json!({})))
        }
        // Their own, and one that a partner made.
        ("/invitations/{invitation_id}", _) => {
            let house = &family.household;
            let (role, by) = match whose {
                Whose::Own => ("partner", &house.parent),
                Whose::Anothers => ("child", &house.partner),
            };
            let member = add_member(family, role);
            let invite = at(&format!("/members/{member}/invitation"));
            let invited = by.client.post(&invite, &json!({})).accepted();
            let invitation = invited["invitation_id"].as_str().unwrap();
            Some(Prepared {
                method: "DELETE".to_owned(),
                ..Prepared::get(at(&format!("/invitations/{invitation}")))
            })
        }
        ("/members/{member_id}/pairing", _) => {
            let member = add_member(family, "child");
            Some(Prepared::post(at(&format!("/members/{member}/pairing")), &json!({})))
        }
        ("/members/{member_id}/export", Whose::Own) => Some(Prepared::get(at(&format!(
            "/members/{}/export",
            asking.person.member_id
        )))),
        ("/members/{member_id}/export", Whose::Anothers) => {
            let adult = if asking.role == "partner" {
                &family.household.parent
            } else {
                &family.household.partner
            };
            Some(Prepared::get(at(&format!("/members/{}/export", adult.member_id))))
        }
        ("/imports", Whose::Own) if route.method == "POST" => {
            let account = family
                .household
                .open_account(&json!({"name": fresh("Imported"), "kind": "bank"}));
            let mut request = Prepared::post(at(&format!("/imports?account_id={account}")), &Value::Null);
            (request.content_type, request.body) = ("text/csv", Some(b"Date,Amount\n2025-02-01,1.00\n".to_vec()));
            Some(request)
        }
        ("/audit/export", Whose::Own) => Some(Prepared::get(at("/audit/export?format=ndjson"))),
        (_, Whose::Own) if below.starts_with("/audit/") => Some(Prepared::get(at(below))),
        (_, Whose::Own) if route.method == "GET" => Some(of_view(family, at(below), below, asking)),
        // What is another's is in the same view; into whose account is imported, the walk by levels asks.
        (_, Whose::Anothers) if route.method == "GET" || below == "/imports" => None,
        _ => panic!(
            "say here what {} {} is asked with: {}",
            route.method,
            route.path,
            String::from_utf8_lossy(&body(route, &family.ids).1)
        ),
    }
}

/// A view shows what is one's own; what is another's stands in what it must hide.
fn of_view(family: &Family, address: String, below: &str, asking: &Asking) -> Prepared {
    let Ids {
        account,
        other_account,
        entry,
        import,
        connection,
        ..
    } = &family.ids;
    let siblings = family.account_of(if asking.role == "teen" { "child" } else { "teen" });
    let mut hidden = vec![
        account.clone(),
        other_account.clone(),
        entry.clone(),
        import.clone(),
        connection.clone(),
    ];
    let own = family.account_of(asking.role);
    let name = below.rsplit('/').next().unwrap();
    // A transfer names the other side's account neither; the parent's own pocket money to the child is the child's to see.
    if name != "dashboard" && name != "entries" {
        hidden.push(siblings);
    }
    let shown = match name {
        "accounts" | "dashboard" => vec![own],
        "members" => vec![asking.person.member_id.clone(), family.spare.clone()],
        _ => Vec::new(),
    };
    Prepared {
        hidden,
        shown,
        shows_less: true,
        ..Prepared::get(address)
    }
}

/// A body that is accepted of a member who may.
fn of_command(family: &Family, name: &str, asking: &Asking, whose: Whose) -> Option<Value> {
    let (house, ids) = (&family.household, &family.ids);
    let is_own = whose == Whose::Own;
    let money = house.money("0.10");
    let account = if is_own {
        family.account_of(asking.role)
    } else {
        family.account_of(if asking.role == "child" { "teen" } else { "child" })
    };
    let other = family.other_than(asking.role);
    Some(match name {
        "add-category" => json!({"name": fresh("Category"), "kind": "expense"}),
        "add-expense" => json!({"account_id": account, "money": money, "category_id": ids.category}),
        "add-income" => json!({"account_id": account, "money": money, "category_id": house.category("Salary")}),
        "add-member" => json!({"display_name": "Another", "role": if is_own { "child" } else { "partner" }}),
        "approve-spending" | "decline-spending" => {
            let by = if is_own { &house.teen } else { &house.child };
            json!({"member_id": by.member_id, "request_id": asked(family, by)})
        }
        "cancel-spending-request" => {
            let is_young = ["teen", "child"].contains(&asking.role);
            let by = if is_own && is_young { &asking.person } else { other };
            json!({"request_id": asked(family, by)})
        }
        "remove-spending-limit" => {
            let member = add_member(family, "teen");
            limit(family, &member);
            json!({"member_id": member})
        }
        "request-spending" => {
            for young in [&house.teen, &house.child] {
                limit(family, &young.member_id);
            }
            json!({"account_id": account, "money": house.money("0.20"), "category_id": ids.category})
        }
        "set-spending-limit" => json!({"member_id": add_member(family, "child"), "per_week": money}),
        "approve-chore" | "reject-chore" => {
            let chore = offered(family, None);
            let by = if is_own { &house.teen } else { &house.child };
            for step in ["claim-chore", "complete-chore"] {
                house.accepted(by, step, &json!({"chore_id": chore}));
            }
            json!({"chore_id": chore})
        }
        "award-badge" => json!({"member_id": other.member_id, "badge": fresh("Badge")}),
        "change-role" => json!({"member_id": add_member(family, "teen"), "role": "child"}),
        "choose-leaderboard" => json!({"member_id": add_member(family, "teen"), "on_leaderboard": true}),
        "claim-chore" => {
            let only = if is_own {
                &asking.person.member_id
            } else {
                &other.member_id
            };
            json!({"chore_id": offered(family, Some(only))})
        }
        "close-account" | "connect-bank" => {
            json!({"account_id": house.open_account(&json!({"name": fresh("Account"), "kind": "bank"}))})
        }
        "complete-chore" => {
            let by = if is_own { &asking.person } else { other };
            let chore = offered(family, Some(&by.member_id));
            house.accepted(by, "claim-chore", &json!({"chore_id": chore}));
            json!({"chore_id": chore})
        }
        // Another adult has themself erased.
        "erase-member" if !is_own && asking.role == "parent" => json!({"member_id": house.partner.member_id}),
        "erase-member" => json!({"member_id": add_member(family, "teen")}),
        // Of these nothing is another's; `elsewhere.rs` has one's own.
        "change-notice" | "create-family" | "give-consent" | "leave-family" | "revoke-consent" | "set-country" => {
            return None;
        }
        "set-age-band" => json!({"member_id": add_member(family, "teen"), "band": "13"}),
        "hand-over-family" => json!({"to": house.partner.member_id}),
        "withdraw-handover" => {
            let to = json!({"to": house.partner.member_id});
            house.accepted(&house.parent, "hand-over-family", &to);
            json!({})
        }
        "rename-member" => {
            let anothers = if is_young(asking.role) { other } else { &house.partner };
            let anothers = if asking.role == "partner" {
                &house.parent
            } else {
                anothers
            };
            let named = if is_own { &asking.person } else { anothers };
            json!({"member_id": named.member_id, "display_name": fresh("Renamed")})
        }
        "remove-member" => json!({"member_id": add_member(family, "teen")}),
        "set-audit-term" => {
            json!({"member_id": add_member(family, "auditor"), "until_on": crate::support::today(30)})
        }
        "mark-notifications-read" if is_own => {
            let head = house.view(&house.parent, "members")["family_seq"].clone();
            json!({"up_to_family_seq": head})
        }
        // Nothing can name another's.
        "mark-notifications-read" => return None,
        "offer-chore" => json!({"title": fresh("Chore"), "offered_to": other.member_id}),
        "open-account" => json!({"name": fresh("Account"), "kind": "cash"}),
        "recategorise-entry" | "reverse-entry" => {
            let by = if is_own { &asking.person } else { other };
            let entry = spent(family, by, if is_own { asking.role } else { role_of(family, other) });
            match name {
                "reverse-entry" => json!({"entry_id": entry}),
                _ => json!({"entry_id": entry, "to": ids.other_category}),
            }
        }
        "set-budget" => {
            json!({"category_id": ids.category, "amount": house.money(&format!("{}.00", 1 + Uuid::new_v4().as_u128() % 9_000))})
        }
        "share-account" => {
            let adults = [&house.parent, &house.partner];
            let mine = adults
                .iter()
                .position(|adult| adult.member_id == asking.person.member_id)
                .unwrap_or(0);
            let (owner, with) = if is_own { (mine, 1 - mine) } else { (1 - mine, mine) };
            let body = json!({"name": fresh("Own"), "kind": "bank", "owner": adults[owner].member_id});
            json!({"account_id": house.open_account(&body), "member_id": adults[with].member_id, "level": "view"})
        }
        "sync-bank" => {
            let account = house.open_account(&json!({"name": fresh("Synced"), "kind": "bank"}));
            let connected = house.accepted(&house.parent, "connect-bank", &json!({"account_id": account}));
            let rows = json!({"currency": "EUR", "rows": [{"booked_on": "2025-02-01", "amount": money}]});
            json!({"connection_id": connected["events"][0]["aggregate_id"], "statement": rows})
        }
        "transfer" => {
            let to = house.open_account(&json!({"name": fresh("Paid into"), "kind": "cash"}));
            if ["teen", "child"].contains(&asking.role) {
                let share = json!({"account_id": to, "member_id": asking.person.member_id, "level": "full"});
                house.accepted(&house.parent, "share-account", &share);
            }
            json!({"from": account, "to": to, "money": money})
        }
        "undo-import" => {
            let account = house.open_account(&json!({"name": fresh("Undone"), "kind": "bank"}));
            json!({"import_id": house.import(&account, b"Date,Amount\n2025-02-01,1.00\n").accepted()["import_id"]})
        }
        other => panic!(
            "say here what the body of {other} looks like when it is about what is one's own, and about another's"
        ),
    })
}

/// One command in a batch.
fn batch(name: &str, body: &Value) -> Value {
    json!([{"name": name, "idempotency_key": Uuid::new_v4(), "body": body}])
}

pub fn fresh(name: &str) -> String {
    format!("{name} {}", &Uuid::new_v4().simple().to_string()[..8])
}

fn is_young(role: &str) -> bool {
    ["teen", "child"].contains(&role)
}

fn role_of(family: &Family, person: &Person) -> &'static str {
    if person.member_id == family.household.teen.member_id {
        "teen"
    } else {
        "child"
    }
}

fn add_member(family: &Family, role: &str) -> String {
    let mut body = json!({"display_name": "Invited", "role": role});
    if ["teen", "child"].contains(&role) {
        body["consent"] = consent();
    }
    let added = family.household.accepted(&family.household.parent, "add-member", &body);
    payload(&added, "MemberAdded")["member_id"].as_str().unwrap().to_owned()
}

fn offered(family: &Family, to: Option<&str>) -> String {
    let body = json!({"title": fresh("Chore"), "offered_to": to});
    let receipt = family
        .household
        .accepted(&family.household.parent, "offer-chore", &body);
    receipt["events"][0]["aggregate_id"].as_str().unwrap().to_owned()
}

/// A limit that lets through what everybody spends here, and no more.
pub fn limit(family: &Family, member_id: &str) {
    let house = &family.household;
    let body = json!({"member_id": member_id, "per_entry": house.money("0.15")});
    let reply = house.command(&house.parent, "set-spending-limit", &body);
    assert!(
        reply.status == 200 || reply.problem() == "same-spending-limit",
        "{}",
        reply.text()
    );
}

/// A teen or child asks for more than they may spend by themselves. What they asked for before is declined, so that there is room.
fn asked(family: &Family, by: &Person) -> String {
    let house = &family.household;
    limit(family, &by.member_id);
    let waiting = house.view(by, "spending-requests");
    for request in waiting["requests"].as_array().unwrap() {
        let body = json!({"member_id": by.member_id, "request_id": request["request_id"]});
        house.accepted(&house.parent, "decline-spending", &body);
    }
    let account = family.account_of(role_of(family, by));
    let body = json!({"account_id": account, "money": house.money("0.20"), "category_id": family.ids.category});
    let receipt = house.accepted(by, "request-spending", &body);
    payload(&receipt, "SpendingRequested")["request_id"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// An expense of somebody's, from an account of theirs.
fn spent(family: &Family, by: &Person, role: &str) -> String {
    let body = json!({"account_id": family.account_of(role), "money": family.household.money("0.10"), "category_id": family.ids.category});
    let receipt = family.household.accepted(by, "add-expense", &body);
    receipt["events"][0]["aggregate_id"].as_str().unwrap().to_owned()
}

/// The key of a command that somebody posted.
fn command_of(family: &Family, by: &Person) -> Uuid {
    let key = Uuid::new_v4();
    let chore = offered(family, Some(&by.member_id));
    family
        .household
        .command_as(by, "claim-chore", key, &json!({"chore_id": chore}))
        .accepted();
    key
}
