//! Everything that is kept about a person, as a file for them: all of theirs, and nothing of anybody else's.

use serde_json::{Value, json};

use crate::support::{Household, Kinledger, PASSWORD, Person, Reply, payload, register, wait_until};

const NASTY: &str = "<script>alert('planted')</script>\"&";

fn export(person: &Person, path: &str, format: &str) -> Reply {
    let separator = if path.contains('?') { '&' } else { '?' };
    let reply = person.client.get(&format!("{path}{separator}format={format}"));
    assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    reply
}

/// What the page says of a text.
fn on_a_page(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

/// Both forms of a file hold each of these and none of those.
#[track_caller]
fn assert_holds(person: &Person, path: &str, planted: &[&str], hidden: &[&str]) {
    let text = export(person, path, "json").text();
    let read: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(read["complete"], true);
    let page = export(person, path, "html");
    assert_eq!(page.content_type, "text/html; charset=utf-8");
    let page = page.text();
    assert!(page.ends_with("</html>\n"), "{page}");
    for text_of_theirs in planted {
        let in_json = json!(text_of_theirs).to_string();
        assert!(text.contains(in_json.trim_matches('"')), "{text_of_theirs}: {text}");
        assert!(page.contains(&on_a_page(text_of_theirs)), "{text_of_theirs}: {page}");
    }
    for of_others in hidden {
        assert!(!text.contains(of_others), "{of_others}: {text}");
        assert!(!page.contains(of_others), "{of_others}: {page}");
    }
    for active in ["<script", "<img", "<iframe", "src=", "href=", "javascript:"] {
        assert!(!page.contains(active), "{active}: {page}");
    }
}

#[test]
fn who_closes_their_account_leaves_their_families_and_may_be_erased_there() {
    let kinledger = Kinledger::start();
    let family = Household::found(&kinledger, "The Closing", "EUR");
    let (parent, partner, teen) = (&family.parent, &family.partner, &family.teen);
    let close = |person: &Person, erase: bool| {
        let body = json!({"password": PASSWORD, "erase": erase});
        person.client.post("/api/v1/auth/close", &body)
    };
    assert_eq!(close(parent, false).refused(), (409, "last-parent".to_owned()));
    assert_eq!(close(teen, false).refused(), (409, "young-member".to_owned()));
    let category = json!({"name": "Kept by the family", "kind": "expense"});
    family.accepted(partner, "add-category", &category);
    let name = json!({"member_id": partner.member_id, "display_name": "Planted Partner"});
    family.accepted(partner, "rename-member", &name);
    assert_eq!(close(partner, true).status, 204);
    assert_eq!(partner.client.get(&format!("{}/members", family.path())).status, 401);
    let again = json!({"email": partner.email, "password": PASSWORD});
    assert_eq!(kinledger.client().post("/api/v1/auth/login", &again).status, 401);
    let is_gone = wait_until(std::time::Duration::from_secs(20), || {
        !family.view(parent, "members").to_string().contains("Planted Partner")
    });
    assert!(is_gone, "{}", family.view(parent, "members"));
    assert!(
        family
            .view(parent, "categories")
            .to_string()
            .contains("Kept by the family")
    );
    let told = parent
        .client
        .get(&format!("{}/security-events", family.path()))
        .accepted();
    let kinds: Vec<&str> = told["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["kind"].as_str().unwrap())
        .collect();
    assert!(kinds.contains(&"erased"), "{kinds:?}");
}

fn sign_in(kinledger: &Kinledger, person: &Person, device: &str) {
    let body = json!({"email": person.email, "password": PASSWORD}).to_string();
    let headers = [("content-type", "application/json"), ("user-agent", device)];
    let reply = kinledger
        .client()
        .send("POST", "/api/v1/auth/login", &headers, Some(body.as_bytes()));
    assert_eq!(reply.status, 200, "{}", reply.text());
}

#[test]
fn a_person_gets_everything_of_theirs_in_both_forms_and_nothing_of_anybody_elses() {
    let kinledger = Kinledger::start();
    let family = Household::found(&kinledger, "The Planted", "EUR");
    let (parent, partner, teen, child) = (&family.parent, &family.partner, &family.teen, &family.child);
    sign_in(&kinledger, teen, "Planted-Phone/1");
    let key = json!({"name": "planted key", "scopes": ["read"]});
    teen.client.post("/api/v1/auth/api-keys", &key).accepted();
    let profile = json!({"display_name": "Planted Teen", "locale": "pt-PT"});
    let renamed = teen.client.send(
        "PUT",
        "/api/v1/auth/profile",
        &[("content-type", "application/json")],
        Some(profile.to_string().as_bytes()),
    );
    assert_eq!(renamed.status, 200);

    // What the teen has and does.
    let food = family.category("Groceries");
    let wallet = json!({"name": "Planted Wallet", "kind": "wallet", "owner": teen.member_id, "opening_balance": family.money("40")});
    let wallet = family.open_account(&wallet);
    let bank = family
        .open_account(&json!({"name": "Hidden Bank", "kind": "bank", "opening_balance": family.money("31415.92")}));
    family.accepted(
        teen,
        "rename-member",
        &json!({"member_id": teen.member_id, "display_name": "Planted Name"}),
    );
    let spent = json!({"account_id": wallet, "money": family.money("1.25"), "category_id": food, "payee": NASTY, "note": "planted note"});
    family.accepted(teen, "add-expense", &spent);
    let pocket = json!({"from": bank, "to": wallet, "money": family.money("10"), "note": "planted pocket money"});
    family.accepted(parent, "transfer", &pocket);
    let chore = json!({"title": "planted chore", "offered_to": teen.member_id, "points": 3,
        "reward": {"money": family.money("2"), "pay_from": bank}});
    let chore = family.accepted(parent, "offer-chore", &chore);
    let chore = json!({"chore_id": chore["events"][0]["aggregate_id"]});
    family.accepted(teen, "claim-chore", &chore);
    family.accepted(teen, "complete-chore", &chore);
    family.accepted(parent, "approve-chore", &chore);
    let badge = json!({"member_id": teen.member_id, "badge": "planted badge", "reason": "planted reason", "points": 5});
    family.accepted(parent, "award-badge", &badge);

    // What is others'.
    let other = json!({"account_id": bank, "money": family.money("27182.81"), "category_id": food, "payee": "hidden payee", "note": "hidden note"});
    family.accepted(parent, "add-expense", &other);
    let pocket = json!({"name": "hidden wallet", "kind": "wallet", "owner": child.member_id, "opening_balance": family.money("7")});
    let childs = family.open_account(&pocket);
    let spent =
        json!({"account_id": childs, "money": family.money("0.75"), "category_id": food, "note": "hidden sibling"});
    family.accepted(child, "add-expense", &spent);
    let badge = json!({"member_id": child.member_id, "badge": "hidden badge"});
    family.accepted(parent, "award-badge", &badge);
    sign_in(&kinledger, parent, "hidden-phone/2");

    let planted = [
        teen.email.as_str(),
        "Planted Teen",
        "pt-PT",
        "Planted-Phone/1",
        "planted key",
        "Planted Wallet",
        "Planted Name",
        NASTY,
        "planted note",
        "planted pocket money",
        "planted chore",
        "planted badge",
        "planted reason",
        "The Planted",
    ];
    let of_parent = parent.email.as_str();
    let hidden = [
        of_parent,
        "hidden payee",
        "hidden note",
        "hidden wallet",
        "hidden sibling",
        "hidden badge",
        "hidden-phone",
        "Hidden Bank",
        "31415.92",
        "27182.81",
        &bank,
        &childs,
        PASSWORD,
        "argon2",
    ];
    assert_holds(teen, "/api/v1/auth/export", &planted, &hidden);
    let of_family = &planted[5..];
    let member = format!("{}/members/{}/export", family.path(), teen.member_id);
    assert_holds(teen, &member, of_family, &hidden);
    // A parent has what the family keeps about a teen, and not what the teen's account is.
    let of_the_account = [
        teen.email.as_str(),
        "Planted Teen",
        "Planted-Phone/1",
        "planted key",
        "hidden payee",
        "hidden sibling",
    ];
    assert_holds(parent, &member, of_family, &of_the_account);

    // Who may not, and with an old proof nobody.
    assert_eq!(partner.client.get(&member).refused().0, 403);
    assert_eq!(child.client.get(&member).refused().0, 403);
    let adults = format!("{}/members/{}/export", family.path(), partner.member_id);
    assert_eq!(parent.client.get(&adults).refused().0, 403);
    let stranger = register(&kinledger, "Stranger");
    assert_eq!(
        stranger.client.get(&member).refused(),
        (404, "unknown-family".to_owned())
    );
    let nobody = format!(
        "{}/members/mem_00000000-0000-4000-8000-000000000000/export",
        family.path()
    );
    assert_eq!(parent.client.get(&nobody).refused(), (404, "unknown-member".to_owned()));
    assert_eq!(teen.client.get("/api/v1/auth/export?format=pdf").refused().0, 400);

    // It is written down for who it is about.
    let own = teen.client.get("/api/v1/auth/security-events").accepted();
    let exported = own["events"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["kind"] == "exported");
    let by_another: Vec<bool> = exported
        .map(|event| event["is_by_another"].as_bool().unwrap())
        .collect();
    assert_eq!(by_another, [true, true, false, false, false, false], "{own}");
}

#[test]
fn what_an_account_hides_changes_no_event_of_the_export_and_who_has_left_gets_what_was_shown_until_then() {
    let kinledger = Kinledger::start();
    let family = Household::found(&kinledger, "The Hiders", "EUR");
    let (parent, partner) = (&family.parent, &family.partner);
    let food = family.category("Groceries");
    let shared =
        family.open_account(&json!({"name": "Shared", "kind": "bank", "opening_balance": family.money("100")}));
    let spend =
        |note: &str| json!({"account_id": shared, "money": family.money("3.50"), "category_id": food, "note": note});
    family.accepted(partner, "add-expense", &spend("seen while shared"));
    let events = |person: &Person| export(person, "/api/v1/auth/export", "json").json()["events"].clone();
    assert!(events(partner).to_string().contains("seen while shared"));
    let none = json!({"account_id": shared, "member_id": partner.member_id, "level": "none"});
    family.accepted(parent, "share-account", &none);
    let before = events(partner);
    assert!(!before.to_string().contains("seen while shared") && !before.to_string().contains(&shared));
    family.accepted(parent, "add-expense", &spend("hidden now"));
    family.accepted(parent, "transfer", &json!({"from": shared, "to": family.open_account(&json!({"name": "Hidden too", "kind": "bank", "owner": parent.member_id})), "money": family.money("1")}));
    let after = events(partner);
    let told = |events: &Value| -> Vec<Value> {
        events
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["details"].clone())
            .collect()
    };
    assert_eq!(told(&before), told(&after));

    let open = json!({"name": "Open", "kind": "bank", "opening_balance": family.money("100")});
    let open = family.open_account(&open);
    let spent = json!({"account_id": open, "money": family.money("1"), "category_id": food, "note": "seen to the end"});
    let spent = family.accepted(partner, "add-expense", &spent);
    let before = told(&events(partner));
    family.accepted(partner, "leave-family", &json!({}));
    let reversed = json!({"entry_id": spent["events"][0]["aggregate_id"], "reason": "after they left"});
    family.accepted(parent, "reverse-entry", &reversed);
    let left = export(partner, "/api/v1/auth/export", "json").json();
    let (place, events) = (&left["memberships"], &left["events"]);
    assert_eq!(place.as_array().unwrap().len(), 1, "{place}");
    assert_eq!(place[0]["family_name"], "The Hiders");
    assert!(place[0]["left_at"].is_string(), "{place}");
    let (last, others) = events.as_array().unwrap().split_last().unwrap();
    assert_eq!(last["event"], "MemberLeft");
    assert_eq!(told(&json!(others)), before);
    assert!(events.to_string().contains("seen to the end") && !events.to_string().contains("seen while shared"));
    assert_eq!(left["account"][0]["email"], partner.email);

    // Who comes again has both stays, and the second tells nothing of what happened between them.
    let again = json!({"display_name": "Again", "role": "partner"});
    let again = payload(&family.accepted(parent, "add-member", &again), "MemberAdded")["member_id"].clone();
    let invitation = format!("{}/members/{}/invitation", family.path(), again.as_str().unwrap());
    let code = parent.client.post(&invitation, &json!({})).accepted()["code"].clone();
    partner
        .client
        .post("/api/v1/auth/join", &json!({"code": code}))
        .accepted();
    let both = export(partner, "/api/v1/auth/export", "json").json();
    let places: Vec<(&Value, bool)> = both["memberships"]
        .as_array()
        .unwrap()
        .iter()
        .map(|place| (&place["member_id"], place["left_at"].is_null()))
        .collect();
    assert_eq!(places, [(&json!(partner.member_id), false), (&again, true)]);
    assert!(!both.to_string().contains("after they left"));

    // A place that was erased is told no more.
    let teen = &family.teen;
    let of_teen = |what: &str| {
        export(teen, "/api/v1/auth/export", "json").json()[what]
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!(of_teen("memberships"), 1);
    family.accepted(&parent.proven(), "erase-member", &json!({"member_id": teen.member_id}));
    assert_eq!((of_teen("memberships"), of_teen("events")), (0, 0));
}

#[test]
fn an_exchange_tells_what_was_received_and_not_what_a_hidden_account_paid() {
    let kinledger = Kinledger::start();
    let family = Household::found(&kinledger, "The Exchanging", "EUR");
    let (parent, partner, child) = (&family.parent, &family.partner, &family.child);
    let usd = |amount: &str| json!({"amount": amount, "currency": "USD"});
    let dollars = family.open_account(&json!({"name": "Dollars", "kind": "bank", "currency": "USD",
        "owner": parent.member_id, "opening_balance": usd("9000")}));
    let wallet = family.open_account(&json!({"name": "Pocket", "kind": "wallet", "owner": child.member_id}));
    let exchange = json!({"from": dollars, "to": wallet, "money": usd("217.83"), "received": family.money("201.37")});
    let exchanged = family.accepted(parent, "transfer", &exchange);
    let undone = json!({"entry_id": exchanged["events"][0]["aggregate_id"], "reason": "twice too much"});
    family.accepted(parent, "reverse-entry", &undone);
    let of_child = format!("{}/members/{}/export", family.path(), child.member_id);
    let (seen, hidden) = (["201.37", "twice too much"], ["217.83", "USD", "equity:", &dollars]);
    assert_holds(child, "/api/v1/auth/export", &seen, &hidden);
    assert_holds(child, &of_child, &seen, &hidden);
    assert_holds(parent, &of_child, &seen, &hidden);
    assert_holds(
        parent,
        "/api/v1/auth/export",
        &["217.83", "201.37", "equity:conversion"],
        &[],
    );

    // The partner made one themself, while they saw the account.
    let shared = family.open_account(&json!({"name": "Household", "kind": "bank"}));
    let exchange = json!({"from": dollars, "to": shared, "money": usd("88.44"), "received": family.money("80.08")});
    family.accepted(partner, "transfer", &exchange);
    assert_holds(
        partner,
        "/api/v1/auth/export",
        &["88.44", "80.08", "equity:conversion"],
        &[],
    );
    let none = json!({"account_id": dollars, "member_id": partner.member_id, "level": "none"});
    family.accepted(parent, "share-account", &none);
    assert_holds(
        partner,
        "/api/v1/auth/export",
        &["80.08"],
        &["88.44", "USD", "equity:", &dollars],
    );
}

#[test]
fn what_an_entry_was_called_later_is_in_the_export_of_whoever_has_the_entry() {
    let kinledger = Kinledger::start();
    let family = Household::found(&kinledger, "The Renaming", "EUR");
    let (parent, partner, teen) = (&family.parent, &family.partner, &family.teen);
    let (food, fun) = (family.category("Groceries"), family.category("Leisure"));
    let wallet =
        json!({"name": "Pocket", "kind": "wallet", "owner": teen.member_id, "opening_balance": family.money("20")});
    let wallet = family.open_account(&wallet);
    let shared = json!({"name": "Shared", "kind": "bank", "opening_balance": family.money("100")});
    let shared = family.open_account(&shared);
    let spend = |person: &Person, account: &str| {
        let body = json!({"account_id": account, "money": family.money("3.50"), "category_id": food});
        family.accepted(person, "add-expense", &body)["events"][0]["aggregate_id"].clone()
    };
    let (of_teen, of_partner) = (spend(teen, &wallet), spend(partner, &shared));
    for (person, entry) in [(parent, &of_teen), (partner, &of_partner)] {
        family.accepted(person, "recategorise-entry", &json!({"entry_id": entry, "to": fun}));
    }
    let recategorised = |person: &Person| -> Vec<Value> {
        let events = export(person, "/api/v1/auth/export", "json").json()["events"].clone();
        let events = events.as_array().unwrap().iter();
        let found = events.filter(|event| event["event"] == "EntryRecategorised");
        found.map(|event| event["details"].clone()).collect()
    };
    for (person, entry) in [(teen, &of_teen), (partner, &of_partner)] {
        let told = recategorised(person);
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!((&told[0]["entry_id"], &told[0]["to"]), (entry, &json!(fun)));
        assert_eq!(told[0]["postings"].as_array().unwrap().len(), 2, "{told:?}");
    }
    assert_eq!(recategorised(parent).len(), 1, "and of who did it");
    let none = json!({"account_id": shared, "member_id": partner.member_id, "level": "none"});
    family.accepted(parent, "share-account", &none);
    assert_eq!(recategorised(partner), Vec::<Value>::new());
}
