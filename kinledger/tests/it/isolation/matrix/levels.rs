//! The matrix by accounts: every operation that names or shows one, also in the past, asked by every role, at each level of sharing
//! that it can have, of an account of the family and of another family's. What comes back follows from the row: the role's word, and
//! the level it needs. A stranger has no level of anything: to them the family is not there.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Walk, fresh, said, things::limit, word};
use crate::{
    isolation::{matrix::families::Asking, world::Route},
    support::{Person, Reply, payload},
};

/// From nothing upwards.
const LEVELS: [&str; 4] = ["none", "view", "annotate", "full"];
/// Names under which an operation names an account, or what is in one.
const NAMES: [&str; 5] = ["account_id", "connection_id", "entry_id", "import_id", "pay_from"];

/// An account at a level, with something of everything in it.
struct Account {
    account: String,
    entry: String,
    /// An entry that the asking member entered, where they may.
    own_entry: String,
    import: String,
    connection: String,
    payee: String,
    /// One at the same level that no bank feeds yet; none where the operation names nothing like it.
    unfed: Option<String>,
    /// Who shares it; none of another family's.
    by: Option<Person>,
}

/// An auditor sees or does not see; to a stranger there is nothing at any level.
fn levels_of(asking: &Asking) -> &'static [&'static str] {
    match asking.role {
        "stranger" => &[],
        "auditor" => &LEVELS[..2],
        _ => &LEVELS,
    }
}

impl Walk {
    /// Whatever names an account says what it needs of it.
    pub(super) fn every_account_that_is_named_has_a_level_that_is_needed(&self, routes: &[Route]) {
        for route in routes {
            let schema = &route.operation["requestBody"]["content"]["application/json"]["schema"];
            let mut text = schema.to_string();
            text.push_str(&route.operation["parameters"].to_string());
            let has =
                |name: &str| text.contains(&format!("\"{name}\":")) || text.contains(&format!("\"name\":\"{name}\""));
            // A transfer says from where and to where; days of a view are called so as well.
            let names_one = NAMES.iter().any(|name| has(name)) || (has("from") && has("to"));
            let is_told = route.operation["x-account"].is_string();
            assert!(
                !names_one || is_told || route.method == "GET",
                "{} {} names an account: say in domain/src/access/matrix.rs what it needs of it",
                route.method,
                route.path
            );
        }
    }

    pub(super) fn every_level_of_every_account_is_what_the_row_says(&mut self, routes: &[Route]) {
        let touching = routes.iter().filter(|route| route.operation["x-account"].is_string());
        let (reading, changing): (Vec<&Route>, Vec<&Route>) = touching.partition(|route| route.method == "GET");
        let past = reading.iter().filter(|route| route.path.contains("/as-of/")).count();
        let counted = (changing.len(), reading.len(), past);
        assert!(changing.len() >= 15 && reading.len() >= 25 && past >= 9, "{counted:?}");
        // The walk before left limits, which would refuse what their shares let the young do.
        self.unlimited();
        for who in 0..self.ours.everybody().len() {
            self.ours.prove_again();
            let asking = self.ours.everybody().swap_remove(who);
            for level in levels_of(&asking) {
                // What only looks leaves an account as it is.
                let account = self.account(None, &asking, level);
                for route in &reading {
                    self.asked(route, &asking, level, &account);
                }
                self.restored(&asking, level, &account);
                for route in &changing {
                    let account = self.account(route.command(), &asking, level);
                    self.asked(route, &asking, level, &account);
                    self.restored(&asking, level, &account);
                }
            }
        }
    }

    /// For one of these commands. The adults' is another adult's own, which its owner may hide from them and from auditors; the
    /// young's is the family's.
    fn account(&self, command: Option<&str>, asking: &Asking, level: &str) -> Account {
        let house = &self.ours.household;
        let owner = match asking.role {
            "parent" => Some(&house.partner),
            "partner" | "auditor" => Some(&house.parent),
            _ => None,
        };
        let by = owner.unwrap_or(&house.parent);
        let open = || {
            let body = json!({
                "name": fresh("Levelled"), "kind": "bank", "owner": owner.map(|owner| &owner.member_id),
                "opening_balance": house.money("90"),
            });
            house.accepted(by, "open-account", &body)["events"][0]["aggregate_id"]
                .as_str()
                .unwrap()
                .to_owned()
        };
        let account = open();
        let unfed = (command == Some("connect-bank")).then(open);
        if let Some(unfed) = &unfed {
            self.shared(asking, level, unfed);
        }
        let spend = |person: &Person, payee: &str| {
            let body = json!({"account_id": account, "money": house.money("1"), "category_id": self.ours.ids.category, "payee": payee});
            house.accepted(person, "add-expense", &body)["events"][0]["aggregate_id"]
                .as_str()
                .unwrap()
                .to_owned()
        };
        let payee = fresh("Levelled shop");
        let entry = spend(by, &payee);
        // An auditor enters nothing.
        let own_entry = if asking.role == "auditor" {
            entry.clone()
        } else {
            self.shared(asking, "full", &account);
            spend(&asking.person, &payee)
        };
        let statement = format!("Date,Amount\n2025-02-01,{}.00\n", 1 + Uuid::new_v4().as_u128() % 900);
        let path = format!("{}/imports?account_id={account}", house.path());
        let import = by.client.post_file(&path, statement.as_bytes()).accepted();
        house.seen(&import);
        self.shared(asking, level, &account);
        let account_id: domain::id::AccountId = account.parse().unwrap();
        Account {
            connection: domain::id::ConnectionId::of_account(account_id).to_string(),
            import: import["import_id"].as_str().unwrap().to_owned(),
            account,
            entry,
            own_entry,
            payee,
            unfed,
            by: Some(by.clone()),
        }
    }

    /// What is so already is refused as such.
    fn shared(&self, asking: &Asking, level: &str, account: &str) {
        let house = &self.ours.household;
        let by = if asking.role == "parent" {
            &house.partner
        } else {
            &house.parent
        };
        let body = json!({"account_id": account, "member_id": asking.person.member_id, "level": level});
        let reply = house.command(by, "share-account", &body);
        assert!(
            reply.status == 200 || reply.problem() == "same-share",
            "{}",
            reply.text()
        );
    }

    /// What is hidden from an adult refuses them whole histories; the next account begins anew.
    fn restored(&self, asking: &Asking, level: &str, account: &Account) {
        let open = match asking.role {
            "parent" | "partner" => "full",
            "auditor" => "view",
            _ => return,
        };
        if level == "none" {
            for hidden in [Some(&account.account), account.unfed.as_ref()].into_iter().flatten() {
                self.shared(asking, open, hidden);
            }
        }
    }

    /// A chore that the account pays for, done by the teen.
    fn done_chore(&self, account: &Account) -> Option<Value> {
        let house = &self.ours.household;
        let reward = json!({"money": house.money("1"), "pay_from": account.account});
        let body = json!({"title": fresh("Chore"), "reward": reward, "offered_to": house.teen.member_id});
        let offered = house.accepted(account.by.as_ref()?, "offer-chore", &body);
        let chore = offered["events"][0]["aggregate_id"].clone();
        for step in ["claim-chore", "complete-chore"] {
            house.accepted(&house.teen, step, &json!({"chore_id": chore}));
        }
        Some(chore)
    }

    /// What the teen asks to spend from the account; nothing of an adult's own, which is not theirs at any level.
    fn asked_for(&self, account: &Account) -> Option<Value> {
        let house = &self.ours.household;
        let share = json!({"account_id": account.account, "member_id": house.teen.member_id, "level": "full"});
        let shared = house.command(account.by.as_ref()?, "share-account", &share);
        if shared.problem() == "share-is-fixed" {
            return None;
        }
        assert!(
            shared.status == 200 || shared.problem() == "same-share",
            "{}",
            shared.text()
        );
        limit(&self.ours, &house.teen.member_id);
        let body =
            json!({"account_id": account.account, "money": house.money("1"), "category_id": self.ours.ids.category});
        let receipt = house.accepted(&house.teen, "request-spending", &body);
        Some(payload(&receipt, "SpendingRequested")["request_id"].clone())
    }

    /// Nobody waits for an approval any more, and nobody has a limit.
    fn unlimited(&self) {
        let house = &self.ours.household;
        for young in [&house.teen, &house.child] {
            for request in house.view(young, "spending-requests")["requests"].as_array().unwrap() {
                let body = json!({"request_id": request["request_id"]});
                house.accepted(young, "cancel-spending-request", &body);
            }
            let reply = house.command(
                &house.parent,
                "remove-spending-limit",
                &json!({"member_id": young.member_id}),
            );
            assert!([200, 422].contains(&reply.status), "{}", reply.text());
        }
    }

    fn asked(&mut self, route: &Route, asking: &Asking, level: &str, account: &Account) {
        let needed = route.operation["x-account"].as_str().unwrap();
        let place = |level: &str| LEVELS.iter().position(|one| *one == level);
        let said = format!("{} with {level}, which needs {needed}", said(route, asking));
        let may = word(route, asking) != "no";
        let reply = match self.request(route, asking, account) {
            Some(reply) => reply,
            None => return,
        };
        self.count(&format!("account {level}, needs {needed}"));
        if !may {
            assert_eq!(reply.refused().0, 403, "{said}: {}", reply.text());
            return;
        }
        match (needed, place(needed)) {
            ("everything", _) if level == "none" => {
                assert_eq!(reply.refused(), (403, "accounts-hidden".to_owned()), "{said}");
            }
            ("everything", _) => assert_eq!(reply.status, 200, "{said}: {}", reply.text()),
            (_, Some(_)) if route.method == "GET" => {
                assert_eq!(reply.status, 200, "{said}: {}", reply.text());
                let is_shown = [
                    &account.account,
                    &account.entry,
                    &account.payee,
                    &account.import,
                    &account.connection,
                ]
                .into_iter()
                .any(|id| reply.text().contains(id.as_str()));
                let shows = ["accounts", "dashboard", "entries", "imports", "bank-connections"];
                if shows.iter().any(|view| route.path.ends_with(&format!("/{view}"))) || level == "none" {
                    assert_eq!(is_shown, level != "none", "{said}: {}", reply.text());
                }
            }
            (_, Some(_)) if level == "none" => {
                assert_eq!(reply.refused().0, 404, "{said}: {}", reply.text());
            }
            (_, Some(least)) if place(level) < Some(least) => {
                assert_eq!(reply.refused(), (403, "share-too-small".to_owned()), "{said}");
            }
            (_, Some(_)) => assert_eq!(reply.status, 200, "{said}: {}", reply.text()),
            // Whose it is decides, at no level it is theirs.
            ("managing", _) if route.method == "GET" => assert!(!reply.text().contains(&account.account), "{said}"),
            ("managing", _) => assert!([403, 404].contains(&reply.refused().0), "{said}: {}", reply.text()),
            (other, _) => panic!("{said}: what is {other}?"),
        }
        if !route.path.contains("/commands/") || may && level != "none" {
            return;
        }
        // Another family's account reads as one that is hidden.
        let foreign = Account {
            account: self.theirs.ids.account.clone(),
            entry: self.theirs.ids.entry.clone(),
            own_entry: self.theirs.ids.entry.clone(),
            import: self.theirs.ids.import.clone(),
            connection: self.theirs.ids.connection.clone(),
            payee: String::new(),
            unfed: Some(self.theirs.ids.account.clone()),
            by: None,
        };
        let Some(elsewhere) = self.request(route, asking, &foreign) else {
            return;
        };
        assert_eq!(elsewhere.refused(), reply.refused(), "{said}: as another family's");
        self.count("account of another family");
    }

    fn request(&self, route: &Route, asking: &Asking, account: &Account) -> Option<Reply> {
        let house = &self.ours.household;
        let client = &asking.person.client;
        let money = house.money("1");
        let Some(name) = route.command() else {
            let path = route.path.replace("{family_id}", &house.id);
            if route.method == "POST" && path.ends_with("/imports") {
                let statement = format!("Date,Amount\n2025-03-01,{}.00\n", 1 + Uuid::new_v4().as_u128() % 900);
                return Some(client.post_file(&format!("{path}?account_id={}", account.account), statement.as_bytes()));
            }
            if path.contains('{') {
                return None;
            }
            if path.contains("/audit/") {
                let query = if path.ends_with("/export") {
                    "?format=ndjson"
                } else {
                    ""
                };
                return Some(client.get(&format!("{path}{query}")));
            }
            let view = path.rsplit('/').next().unwrap();
            let page = if ["entries", "imports"].contains(&view) {
                "?limit=200"
            } else {
                ""
            };
            // The past is told from the log itself, which waits for nothing.
            if path.contains("/as-of/") {
                return Some(client.get(&format!("{path}{page}")));
            }
            let seq = house.view(&house.parent, "members")["family_seq"].clone();
            let separator = if page.is_empty() { '?' } else { '&' };
            return Some(client.get(&format!("{path}{page}{separator}min_family_seq={seq}")));
        };
        let category = &self.ours.ids.category;
        let body: Value = match name {
            "add-expense" => json!({"account_id": account.account, "money": money, "category_id": category}),
            "add-income" => {
                json!({"account_id": account.account, "money": money, "category_id": house.category("Salary")})
            }
            "close-account" => json!({"account_id": account.account}),
            "offer-chore" => json!({"title": fresh("Chore"), "reward": {"money": money, "pay_from": account.account}}),
            "recategorise-entry" => json!({"entry_id": account.entry, "to": self.ours.ids.other_category}),
            "reverse-entry" => json!({"entry_id": account.own_entry}),
            "share-account" => {
                json!({"account_id": account.account, "member_id": house.teen.member_id, "level": "view"})
            }
            "sync-bank" => {
                let rows = json!({"currency": "EUR", "rows": [{"booked_on": "2025-02-02", "amount": money}]});
                json!({"connection_id": account.connection, "statement": rows})
            }
            "transfer" => json!({"from": account.account, "to": self.ours.account_of(asking.role), "money": money}),
            "undo-import" => json!({"import_id": account.import}),
            "connect-bank" => json!({"account_id": account.unfed}),
            // These name what was asked for or done, and no account: of another family it reads as what does not exist.
            "approve-chore" => json!({"chore_id": self.done_chore(account)?}),
            "approve-spending" | "decline-spending" => {
                json!({"member_id": house.teen.member_id, "request_id": self.asked_for(account)?})
            }
            "request-spending" => {
                for young in [&house.teen, &house.child] {
                    limit(&self.ours, &young.member_id);
                }
                json!({"account_id": account.account, "money": money, "category_id": category})
            }
            other => panic!("say here what {other} does with an account"),
        };
        let reply = house.command(&asking.person, name, &body);
        if name.ends_with("-spending") {
            self.unlimited();
        }
        Some(reply)
    }
}
