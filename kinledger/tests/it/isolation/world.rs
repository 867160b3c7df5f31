//! A family with something of everything, whose amounts and words are found again wherever they leak.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Household, Kinledger, payload};

/// Words and amounts that only adults may see.
pub const CANARIES: &[&str] = &["Canary", "canary", "31415.92", "27182.81", "16180.33", "14142.13"];

/// A route and its method, as the document says.
#[derive(Clone, Debug)]
pub struct Route {
    pub method: String,
    pub path: String,
    pub operation: Value,
}

impl Route {
    pub fn is_public(&self) -> bool {
        self.operation["security"]
            .as_array()
            .is_some_and(|security| security.iter().all(|one| one == &json!({})))
    }

    /// Does it ask everybody for a token? Some take one or do without.
    pub fn asks_for_a_token(&self) -> bool {
        self.operation["security"]
            .as_array()
            .is_none_or(|security| !security.is_empty() && !security.contains(&json!({})))
    }

    /// The command it posts, if it does.
    pub fn command(&self) -> Option<&str> {
        let (_, name) = self.path.split_once("/commands/")?;
        (self.method == "POST").then_some(name)
    }
}

/// Every route of the document.
pub fn routes(kinledger: &Kinledger) -> Vec<Route> {
    let document = kinledger.client().get("/api/v1/openapi.json").accepted();
    let mut routes = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            routes.push(Route {
                method: method.to_uppercase(),
                path: path.clone(),
                operation: operation.clone(),
            });
        }
    }
    assert!(routes.len() > 40, "the document has {} routes", routes.len());
    routes
}

/// The ids of a family's things.
#[derive(Clone, Debug)]
pub struct Ids {
    pub family: String,
    pub account: String,
    pub other_account: String,
    pub wallet: String,
    pub category: String,
    pub other_category: String,
    pub entry: String,
    pub chore: String,
    pub member: String,
    pub import: String,
    pub connection: String,
    pub command: String,
    pub invitation: String,
}

impl Ids {
    /// Ids of things that are nowhere.
    pub fn of_nothing() -> Self {
        let fresh = |prefix: &str| format!("{prefix}_{}", Uuid::new_v4());
        Self {
            family: fresh("fam"),
            account: fresh("acc"),
            other_account: fresh("acc"),
            wallet: fresh("acc"),
            category: fresh("cat"),
            other_category: fresh("cat"),
            entry: fresh("ent"),
            chore: fresh("cho"),
            member: fresh("mem"),
            import: fresh("imp"),
            connection: fresh("con"),
            command: Uuid::new_v4().to_string(),
            invitation: Uuid::new_v4().to_string(),
        }
    }

    /// Ids that name things, as texts to look for.
    pub fn all(&self) -> [&String; 13] {
        [
            &self.family,
            &self.account,
            &self.other_account,
            &self.wallet,
            &self.category,
            &self.other_category,
            &self.entry,
            &self.chore,
            &self.member,
            &self.import,
            &self.connection,
            &self.command,
            &self.invitation,
        ]
    }
}

/// A statement whose words and amounts are canaries.
const STATEMENT: &str = "Date,Payee,Memo,Amount,Balance\n2025-01-02,Canary Wages,canary memo,31415.92,31415.92\n\
                         2025-01-03,Canary Bank,canary memo,-27182.81,4233.11\n";

/// Fills a family with something of every kind.
pub fn furnish(family: &Household) -> Ids {
    let account = family.open_account(&json!({"name": "Canary Bank", "kind": "bank"}));
    let import = family.import(&account, STATEMENT.as_bytes()).accepted();
    let opening = json!({"name": "Canary Cash", "kind": "cash", "opening_balance": family.money("16180.33")});
    let other_account = family.open_account(&opening);
    let wallet = family.open_account(&json!({"name": "Pocket", "kind": "wallet", "owner": family.child.member_id, "opening_balance": family.money("5")}));
    let (category, other_category) = (family.category("Gifts"), family.category("Leisure"));
    let command = Uuid::new_v4();
    let expense = json!({
        "account_id": other_account, "money": family.money("14142.13"), "category_id": category,
        "payee": "Canary Jewellers", "note": "canary: for the anniversary",
    });
    let spent = family
        .command_as(&family.parent, "add-expense", command, &expense)
        .accepted();
    family.accepted(
        &family.parent,
        "set-budget",
        &json!({"category_id": category, "amount": family.money("27182.81")}),
    );
    let offer = json!({"title": "Feed the cat", "points": 3, "reward": {"money": family.money("1"), "pay_from": other_account}});
    let chore = family.accepted(&family.parent, "offer-chore", &offer);
    family.accepted(
        &family.child,
        "claim-chore",
        &json!({"chore_id": chore["events"][0]["aggregate_id"]}),
    );
    family.accepted(
        &family.child,
        "complete-chore",
        &json!({"chore_id": chore["events"][0]["aggregate_id"]}),
    );
    family.accepted(
        &family.parent,
        "award-badge",
        &json!({"member_id": family.teen.member_id, "badge": "Patient", "points": 1}),
    );
    let place = json!({"display_name": "Guest", "role": "auditor"});
    let place = payload(&family.accepted(&family.parent, "add-member", &place), "MemberAdded")["member_id"].clone();
    let invite = format!("{}/members/{}/invitation", family.path(), text(&place));
    let invited = family.parent.client.post(&invite, &json!({})).accepted();
    let connections = family.view(&family.parent, "bank-connections");
    Ids {
        family: family.id.clone(),
        account,
        other_account,
        wallet,
        category,
        other_category,
        entry: text(&spent["events"][0]["aggregate_id"]),
        chore: text(&chore["events"][0]["aggregate_id"]),
        member: family.child.member_id.clone(),
        import: text(&import["import_id"]),
        connection: text(&connections["bank_connections"][0]["connection_id"]),
        command: command.to_string(),
        invitation: text(&invited["invitation_id"]),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}
