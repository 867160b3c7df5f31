//! A family's day: people, money by hand, a budget, chores, badges, notifications.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Household, Kinledger, amount, dec, payload};

#[test]
fn a_family_lives_with_its_ledger() {
    let kinledger = Kinledger::start();
    let family = Household::found(&kinledger, "The Pereiras", "EUR");
    members_have_their_roles(&family);
    let (cash, wallet) = open_accounts(&family);
    money_is_spent_earned_and_moved(&family, &cash);
    an_entry_is_recategorised_and_reversed(&family, &cash);
    a_budget_shows_its_progress(&family, &cash);
    a_chore_pays_into_the_wallet(&family, &cash, &wallet);
    points_make_the_leaderboard(&family);
    notifications_are_read(&family);
    the_child_spends_and_never_more_than_there_is(&family, &wallet);
    the_dashboard_says_the_same_as_the_views(&family);
    the_log_is_whole(&family);
}

fn members_have_their_roles(family: &Household) {
    let members = family.view(&family.parent, "members");
    let mut roles: Vec<String> = members["members"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| text(&m["role"]))
        .collect();
    roles.sort_unstable();
    assert_eq!(roles, ["child", "parent", "partner", "teen"]);
    let families = family.child.client.get("/api/v1/families").accepted();
    assert_eq!(families["families"][0]["family_id"], family.id.as_str());
    assert_eq!(families["families"][0]["role"], "child");
}

fn open_accounts(family: &Household) -> (String, String) {
    let cash = family.open_account(&json!({"name": "Cash", "kind": "cash", "opening_balance": family.money("100")}));
    let wallet = family.open_account(&json!({"name": "Pocket", "kind": "wallet", "owner": family.child.member_id}));
    assert_eq!(family.balance(&cash), dec("100.00"));
    assert_eq!(family.balance(&wallet), dec("0.00"));
    let taken = json!({"name": " cash ", "kind": "bank"});
    assert_eq!(family.refused(&family.parent, "open-account", &taken).0, 422);
    (cash, wallet)
}

fn money_is_spent_earned_and_moved(family: &Household, cash: &str) {
    let (groceries, salary) = (family.category("Groceries"), family.category("Salary"));
    let leisure = family.category("Leisure");
    let spent = json!({
        "account_id": cash, "money": family.money("12.30"), "payee": "Corner shop",
        "splits": [{"category_id": groceries, "money": family.money("10.00")}, {"category_id": leisure, "money": family.money("2.30")}],
    });
    family.accepted(&family.partner, "add-expense", &spent);
    let earned =
        json!({"account_id": cash, "money": family.money("50"), "category_id": salary, "payee": "A neighbour"});
    family.accepted(&family.parent, "add-income", &earned);
    let dollars = family.open_account(&json!({"name": "Dollars", "kind": "cash", "currency": "USD"}));
    let exchange = json!({"from": cash, "to": dollars, "money": family.money("20"), "received": {"amount": "21.50", "currency": "USD"}});
    family.accepted(&family.parent, "transfer", &exchange);
    assert_eq!(family.balance(cash), dec("117.70"));
    assert_eq!(family.balance(&dollars), dec("21.50"));
    family.accepted(&family.parent, "close-account", &json!({"account_id": dollars}));
    assert_eq!(family.refused(&family.parent, "transfer", &exchange).0, 422);
}

fn an_entry_is_recategorised_and_reversed(family: &Household, cash: &str) {
    let (leisure, health) = (family.category("Leisure"), family.category("Health"));
    let body =
        json!({"account_id": cash, "money": family.money("7.00"), "category_id": leisure, "payee": "Swimming pool"});
    let receipt = family.accepted(&family.parent, "add-expense", &body);
    let entry = payload(&receipt, "ExpenseAdded")["entry_id"].clone();
    family.accepted(
        &family.partner,
        "recategorise-entry",
        &json!({"entry_id": entry, "to": health}),
    );
    assert_eq!(spent_in(family, "Health"), "7.00");
    assert_eq!(spent_in(family, "Leisure"), "2.30");
    family.accepted(
        &family.parent,
        "reverse-entry",
        &json!({"entry_id": entry, "reason": "it was a gift"}),
    );
    assert_eq!(spent_in(family, "Health"), "none");
    assert_eq!(family.balance(cash), dec("117.70"));
    assert_eq!(
        family
            .refused(&family.parent, "reverse-entry", &json!({"entry_id": entry}))
            .0,
        422
    );
    let pool = family.view(&family.parent, "entries?text=swimming");
    assert_eq!(pool["entries"][0]["is_reversed"], true);
}

fn a_budget_shows_its_progress(family: &Household, cash: &str) {
    let groceries = family.category("Groceries");
    family.accepted(
        &family.parent,
        "set-budget",
        &json!({"category_id": groceries, "amount": family.money("40")}),
    );
    let body = json!({"account_id": cash, "money": family.money("20"), "category_id": groceries});
    family.accepted(&family.parent, "add-expense", &body);
    let budgets = family.view(&family.partner, "budgets");
    let budget = &budgets["budgets"][0];
    assert_eq!(amount(&budget["amount"]), dec("40"));
    assert_eq!(amount(&budget["spent"]), dec("30"));
    assert_eq!(amount(&budget["left"]), dec("10"));
    assert_eq!(budget["percent"], 75);
}

fn a_chore_pays_into_the_wallet(family: &Household, cash: &str, wallet: &str) {
    let offer =
        json!({"title": "Wash the car", "points": 10, "reward": {"money": family.money("2.50"), "pay_from": cash}});
    let offered = family.accepted(&family.parent, "offer-chore", &offer);
    let chore = json!({"chore_id": offered["events"][0]["aggregate_id"]});
    family.accepted(&family.child, "claim-chore", &chore);
    assert_eq!(family.refused(&family.teen, "claim-chore", &chore).0, 422);
    family.accepted(&family.child, "complete-chore", &chore);
    assert_eq!(family.refused(&family.child, "approve-chore", &chore).0, 403);
    let back = json!({"chore_id": chore["chore_id"], "reason": "the wheels too, please"});
    family.accepted(&family.partner, "reject-chore", &back);
    family.accepted(&family.child, "complete-chore", &chore);
    let before = family.balance(cash);
    let approved = family.accepted(&family.partner, "approve-chore", &chore);
    let kinds: Vec<String> = approved["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| text(&event["type"]))
        .collect();
    assert_eq!(kinds, ["ChoreApproved", "TransferMade", "WalletBalanceChanged"]);
    assert_eq!(family.balance(wallet), dec("2.50"));
    assert_eq!(family.balance(cash), before - dec("2.50"));
    let chores = family.view(&family.child, "chores?status=approved");
    assert_eq!(chores["chores"][0]["title"], "Wash the car");
}

fn points_make_the_leaderboard(family: &Household) {
    let badge = json!({"member_id": family.child.member_id, "badge": "Early bird", "points": 5});
    family.accepted(&family.parent, "award-badge", &badge);
    assert_eq!(family.refused(&family.parent, "award-badge", &badge).0, 422);
    for period in ["week", "month", "all"] {
        let board = family.view(&family.teen, &format!("leaderboard?period={period}"));
        assert_eq!(board["places"][0]["display_name"], "Child", "{board}");
        assert_eq!(board["places"][0]["points"], 15);
        assert_eq!(board["places"][0]["rank"], 1);
    }
    let badges = family.view(&family.child, "badges");
    assert_eq!(badges["badges"][0]["badge"], "Early bird");
    family.accepted(
        &family.parent,
        "choose-leaderboard",
        &json!({"member_id": family.teen.member_id, "on_leaderboard": false}),
    );
    let board = family.view(&family.parent, "leaderboard");
    assert_eq!(board["not_shown"], 1);
    assert!(!board.to_string().contains(&family.teen.member_id));
}

fn notifications_are_read(family: &Household) {
    let inbox = family.view(&family.child, "notifications?unread=true");
    let told = inbox["notifications"].as_array().unwrap().clone();
    assert!(told.iter().any(|one| one["kind"] == "badge-awarded"), "{inbox}");
    assert!(told.iter().any(|one| one["kind"] == "chore-approved"), "{inbox}");
    assert_eq!(inbox["unread"].as_u64().unwrap(), told.len() as u64);
    let newest = told[0]["family_seq"].as_u64().unwrap();
    family.accepted(
        &family.child,
        "mark-notifications-read",
        &json!({"up_to_family_seq": newest - 1}),
    );
    let inbox = family.view(&family.child, "notifications?unread=true");
    assert_eq!(inbox["unread"], 1);
    family.accepted(
        &family.child,
        "mark-notifications-read",
        &json!({"up_to_family_seq": newest}),
    );
    let inbox = family.view(&family.child, "notifications");
    assert_eq!(inbox["unread"], 0);
    assert!(
        inbox["notifications"]
            .as_array()
            .unwrap()
            .iter()
            .all(|one| one["is_read"] == true)
    );
    assert!(
        family.view(&family.partner, "notifications")["unread"]
            .as_u64()
            .unwrap()
            > 0,
        "the partner has read nothing"
    );
}

fn the_child_spends_and_never_more_than_there_is(family: &Household, wallet: &str) {
    let leisure = family.category("Leisure");
    let sweets = |sum: &str| json!({"account_id": wallet, "money": family.money(sum), "category_id": leisure, "payee": "Sweets"});
    assert_eq!(
        family.refused(&family.child, "add-expense", &sweets("2.51")),
        (422, "wallet-too-low".to_owned())
    );
    let key = Uuid::new_v4();
    let spent = family.command_as(&family.child, "add-expense", key, &sweets("2.50"));
    assert_eq!(spent.status, 200, "{}", spent.text());
    let outcome = family.command_path(&key.to_string());
    assert_eq!(
        family.child.client.get(&outcome).text(),
        spent.text(),
        "one's own command, asked for again"
    );
    assert_eq!(family.partner.client.get(&outcome).text(), spent.text());
    assert_eq!(
        family.teen.client.get(&outcome).refused(),
        (404, "unknown-command".to_owned()),
        "a brother's is not a teen's"
    );
    assert_eq!(
        family.refused(&family.child, "add-expense", &sweets("0.01")),
        (422, "wallet-too-low".to_owned())
    );
    assert_eq!(family.balance(wallet), dec("0.00"));
}

fn the_dashboard_says_the_same_as_the_views(family: &Household) {
    let dashboard = family.view(&family.parent, "dashboard");
    let accounts = family.view(&family.parent, "accounts");
    assert_eq!(dashboard["totals"], accounts["totals"]);
    assert_eq!(dashboard["budgets"], family.view(&family.parent, "budgets")["budgets"]);
    let recent = family.view(&family.parent, "entries?limit=10");
    assert_eq!(dashboard["recent_entries"], recent["entries"]);
    let mine = family.view(&family.child, "dashboard");
    assert_eq!(mine["role"], "child");
    assert_eq!(mine["accounts"].as_array().unwrap().len(), 1);
    assert!(mine.get("budgets").is_none());
}

fn the_log_is_whole(family: &Household) {
    let verdict = family.audit("verify");
    assert_eq!(verdict["verified"], true);
    assert_eq!(verdict["events"].as_u64().unwrap(), family.events().len() as u64);
}

fn spent_in(family: &Household, category: &str) -> String {
    let spending = family.view(&family.parent, "spending");
    let categories = spending["categories"].as_array().unwrap();
    let found = categories.iter().find(|line| line["category"] == category);
    found.map_or_else(|| "none".to_owned(), |line| text(&line["spent"]["amount"]))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}
