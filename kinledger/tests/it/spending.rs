//! Limits of what the young may spend by themselves, and the one decision about what is beyond them.

use rust_decimal::Decimal;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    races::{apart, at_once},
    support::{Household, Kinledger, Person, amount, dec, payload},
};

/// A family whose child has 200 in a wallet.
struct Home {
    family: Household,
    wallet: String,
    category: String,
}

impl Home {
    fn new(kinledger: &Kinledger, name: &str) -> Self {
        let family = Household::found(kinledger, name, "EUR");
        let wallet = json!({"name": "Pocket", "kind": "wallet", "owner": family.child.member_id, "opening_balance": family.money("200")});
        let wallet = family.open_account(&wallet);
        let category = family.category("Leisure");
        Self {
            family,
            wallet,
            category,
        }
    }

    fn limit(&self, period: &str, sum: &str) -> Value {
        json!({"member_id": self.family.child.member_id, period: self.family.money(sum)})
    }

    fn limited(kinledger: &Kinledger, name: &str) -> Self {
        let home = Self::new(kinledger, name);
        let limit = home.limit("per_day", "10");
        home.family.accepted(&home.family.parent, "set-spending-limit", &limit);
        home
    }

    fn spend(&self, sum: &str) -> Value {
        json!({"account_id": self.wallet, "money": self.family.money(sum), "category_id": self.category, "payee": "Bicycles"})
    }

    /// The child asks, and gives what an adult names to decide it.
    fn asks(&self, sum: &str) -> Value {
        let receipt = self
            .family
            .accepted(&self.family.child, "request-spending", &self.spend(sum));
        json!({
            "member_id": self.family.child.member_id,
            "request_id": payload(&receipt, "SpendingRequested")["request_id"],
        })
    }

    fn waiting(&self, person: &Person) -> Vec<Value> {
        let requests = self.family.view(person, "spending-requests");
        requests["requests"].as_array().unwrap().clone()
    }

    /// The kinds of somebody's notifications about spending, the newest first.
    fn told(&self, person: &Person) -> Vec<String> {
        let told = self.family.view(person, "notifications");
        let kinds = told["notifications"].as_array().unwrap().iter();
        let kinds = kinds.map(|one| one["kind"].as_str().unwrap().to_owned());
        kinds.filter(|kind| kind.starts_with("spending-")).collect()
    }
}

#[test]
fn a_hundred_at_once_spend_a_limit_to_the_cent_and_no_further() {
    let kinledger = Kinledger::start();
    let home = Home::limited(&kinledger, "The Limited");
    let family = &home.family;
    // One day for all, should it end meanwhile.
    let day = family.view(&family.child, "spending-limits")["limits"][0]["periods"][0]["first_on"].clone();
    let mut spend = home.spend("1");
    spend["effective_on"] = day.clone();
    let replies = at_once(100, |_| {
        apart(&family.child)
            .client
            .post(&family.command_path("add-expense"), &spend)
    });

    let accepted: Vec<_> = replies.iter().filter(|reply| reply.status == 200).collect();
    assert_eq!(accepted.len(), 10);
    for refused in replies.iter().filter(|reply| reply.status != 200) {
        assert_eq!(
            refused.refused(),
            (422, "spending-limit-exceeded".to_owned()),
            "{}",
            refused.text()
        );
    }
    accepted.iter().for_each(|reply| family.seen(&reply.json()));
    assert_eq!(family.balance(&home.wallet), dec("190.00"));
    let view = format!("spending-limits?effective_on={}", day.as_str().unwrap());
    for person in [&family.child, &family.parent, &family.partner] {
        let limits = family.view(person, &view);
        let today = &limits["limits"][0]["periods"][0];
        let shown = ["limit", "spent", "left"].map(|what| amount(&today[what]));
        assert_eq!(shown, [dec("10.00"), dec("10.00"), dec("0.00")], "{limits}");
    }

    // Undone, it may be spent once more.
    let entry = accepted[0].json()["events"][0]["aggregate_id"].clone();
    family.accepted(&family.parent, "reverse-entry", &json!({"entry_id": entry}));
    let replies = at_once(20, |_| {
        apart(&family.child)
            .client
            .post(&family.command_path("add-expense"), &spend)
    });
    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 1);
}

#[test]
fn of_fifty_approvals_at_once_one_books_what_was_asked_for() {
    let kinledger = Kinledger::start();
    let home = Home::limited(&kinledger, "The Approving");
    let family = &home.family;
    let request = home.asks("25.50");
    let replies = at_once(50, |number| {
        let person = [&family.parent, &family.partner][number % 2];
        apart(person)
            .client
            .post(&family.command_path("approve-spending"), &request)
    });

    let accepted: Vec<_> = replies.iter().filter(|reply| reply.status == 200).collect();
    assert_eq!(accepted.len(), 1);
    for refused in replies.iter().filter(|reply| reply.status != 200) {
        assert_eq!(
            refused.refused(),
            (422, "request-done".to_owned()),
            "{}",
            refused.text()
        );
    }
    let receipt = accepted[0].json();
    family.seen(&receipt);
    let added = payload(&receipt, "ExpenseAdded");
    assert_eq!(
        (added["payee"].as_str(), amount(&added["postings"][0]["money"])),
        (Some("Bicycles"), dec("-25.50"))
    );
    assert_eq!(family.balance(&home.wallet), dec("174.50"));
    let booked = family.events();
    let count = |kind: &str| {
        booked
            .iter()
            .filter(|event| event["type"] == kind || event["event_type"] == kind)
            .count()
    };
    assert_eq!((count("SpendingApproved"), count("ExpenseAdded")), (1, 1));

    // The approval was of that and of nothing more: the limit is as it was.
    assert_eq!(
        family.refused(&family.child, "add-expense", &home.spend("25.50")),
        (422, "spending-limit-exceeded".to_owned())
    );
    family.accepted(&family.child, "add-expense", &home.spend("10"));
    assert_eq!(home.waiting(&family.parent), Vec::<Value>::new());
    let all = family.view(&family.child, "spending-requests?status=all");
    assert_eq!(all["requests"][0]["status"], "approved", "{all}");
    assert_eq!(all["requests"][0]["entry_id"], added["entry_id"]);
}

#[test]
fn the_young_neither_lift_a_limit_nor_decide_and_are_told_how_to_ask() {
    let kinledger = Kinledger::start();
    let home = Home::limited(&kinledger, "The Young");
    let family = &home.family;
    let raised = home.limit("per_day", "1000");
    let of_member = json!({"member_id": family.child.member_id});
    let request = home.asks("25.50");
    for person in [&family.teen, &family.child, &family.partner] {
        for (name, body) in [("set-spending-limit", &raised), ("remove-spending-limit", &of_member)] {
            assert_eq!(family.refused(person, name, body), (403, "role-not-allowed".to_owned()));
        }
    }
    for person in [&family.teen, &family.child] {
        for name in ["approve-spending", "decline-spending"] {
            assert_eq!(
                family.refused(person, name, &request),
                (403, "role-not-allowed".to_owned())
            );
        }
    }
    family.accepted(&family.child, "add-expense", &home.spend("4"));
    let said = family.command(&family.child, "add-expense", &home.spend("6.01")).json();
    let detail = said["detail"].as_str().unwrap();
    assert!(
        detail.contains("6.00 EUR is left") && detail.contains("request-spending"),
        "{detail}"
    );

    // Not in another role either: the request is theirs in all of them.
    let promoted = |role: &str| json!({"member_id": family.child.member_id, "role": role});
    family.accepted(&family.parent, "change-role", &promoted("parent"));
    for name in ["approve-spending", "decline-spending"] {
        assert_eq!(
            family.refused(&family.child, name, &request),
            (403, "own-request".to_owned())
        );
    }
    // And it has ended: an adult needs nobody's approval.
    assert_eq!(
        family.refused(&family.parent, "approve-spending", &request),
        (422, "request-done".to_owned())
    );
    family.accepted(&family.child, "add-expense", &home.spend("100"));
}

#[test]
fn a_request_ends_with_its_asker_and_an_approver_only_decides_while_they_are_one() {
    let kinledger = Kinledger::start();
    let home = Home::limited(&kinledger, "The Leaving");
    let family = &home.family;
    let request = home.asks("25.50");
    let role = |role: &str| json!({"member_id": family.partner.member_id, "role": role});
    family.accepted(&family.parent, "change-role", &role("auditor"));
    assert_eq!(
        family.refused(&family.partner, "approve-spending", &request),
        (403, "role-not-allowed".to_owned())
    );
    family.accepted(&family.parent, "change-role", &role("partner"));
    family.accepted(
        &family.parent,
        "remove-member",
        &json!({"member_id": family.child.member_id}),
    );
    for person in [&family.partner, &family.parent] {
        assert_eq!(
            family.refused(person, "approve-spending", &request),
            (422, "request-done".to_owned())
        );
    }
    assert_eq!(
        family
            .refused(
                &family.child,
                "cancel-spending-request",
                &json!({"request_id": request["request_id"]})
            )
            .0,
        404
    );
    assert_eq!(family.balance(&home.wallet), dec("200.00"));
    let all = family.view(&family.parent, "spending-requests?status=all");
    let ended = ["status", "reason"].map(|what| all["requests"][0][what].as_str().unwrap());
    assert_eq!(ended, ["ended", "member-gone"]);
    assert_eq!(family.view(&family.parent, "spending-limits")["limits"], json!([]));
}

#[test]
fn without_consent_nothing_is_asked_for_limited_or_approved_and_what_waited_when_it_was_revoked_is_void() {
    const REQUIRED: &str = "consent-required";
    let kinledger = Kinledger::start();
    let home = Home::limited(&kinledger, "The Consenting");
    let family = &home.family;
    let child = &family.child;
    let before = home.asks("25.50");
    family.accepted(&family.parent, "change-notice", &json!({"notice_version": 2}));
    let batch = json!([{"name": "request-spending", "idempotency_key": Uuid::new_v4(), "body": home.spend("30")}]);
    let path = format!("{}/commands", family.path());
    let of_batch = child.client.post(&path, &batch).json()["results"][0]["problem"]["type"].clone();
    assert_eq!(of_batch, format!("/problems/{REQUIRED}"));
    for (person, name, body) in [
        (child, "request-spending", &home.spend("30")),
        (
            child,
            "cancel-spending-request",
            &json!({"request_id": before["request_id"]}),
        ),
        (&family.parent, "approve-spending", &before),
        (&family.partner, "decline-spending", &before),
        (&family.parent, "set-spending-limit", &home.limit("per_day", "20")),
        (
            &family.parent,
            "remove-spending-limit",
            &json!({"member_id": child.member_id}),
        ),
    ] {
        assert_eq!(family.refused(person, name, body), (403, REQUIRED.to_owned()), "{name}");
    }
    let consent = json!({"member_id": child.member_id, "method": "signed-form", "notice_version": 2});
    family.accepted(&family.parent, "give-consent", &consent);
    let revoked = home.asks("30");
    family.accepted(&family.parent, "revoke-consent", &json!({"member_id": child.member_id}));
    family.accepted(&family.parent, "give-consent", &consent);
    for request in [&before, &revoked] {
        assert_eq!(
            family.refused(&family.parent, "approve-spending", request),
            (422, "request-done".to_owned())
        );
    }
    assert_eq!(family.balance(&home.wallet), dec("200.00"));
    let again = home.asks("30");
    family.accepted(&family.parent, "approve-spending", &again);
    assert_eq!(family.balance(&home.wallet), dec("170.00"));
}

#[test]
fn whoever_may_decide_is_told_and_who_may_not_see_the_account_learns_nothing() {
    let kinledger = Kinledger::start();
    let home = Home::limited(&kinledger, "The Told");
    let family = &home.family;
    let hide = json!({"account_id": home.wallet, "member_id": family.partner.member_id, "level": "none"});
    family.accepted(&family.parent, "share-account", &hide);
    family.accepted(&family.child, "add-expense", &home.spend("3"));
    let first = home.asks("25.50");

    for person in [&family.parent, &family.child] {
        let waiting = home.waiting(person);
        assert_eq!(waiting.len(), 1);
        assert_eq!(waiting[0]["request_id"], first["request_id"]);
        let limits = family.view(person, "spending-limits");
        assert_eq!(
            amount(&limits["limits"][0]["periods"][0]["left"]),
            dec("7.00"),
            "{limits}"
        );
    }
    for (person, limits) in [(&family.partner, 1), (&family.teen, 0)] {
        assert_eq!(home.waiting(person), Vec::<Value>::new());
        assert_eq!(home.told(person), Vec::<String>::new());
        let view = family.view(person, "spending-limits");
        assert_eq!(view["limits"].as_array().unwrap().len(), limits, "{view}");
        assert!(
            limits == 0 || view["limits"][0]["periods"][0]["spent"].is_null(),
            "{view}"
        );
    }
    assert_eq!(
        family.refused(&family.partner, "approve-spending", &first),
        (404, "unknown-request".to_owned())
    );
    assert_eq!(home.told(&family.parent), ["spending-requested"]);
    assert_eq!(home.told(&family.child), ["spending-limit-set"]);
    let told = family.view(&family.parent, "notifications?limit=1");
    assert_eq!(told["notifications"][0]["request_id"], first["request_id"], "{told}");
    assert_eq!(
        told["notifications"][0]["text"],
        "Child asks to spend 25.50 EUR; please approve or decline it (Bicycles)"
    );

    let mut declined = first.clone();
    declined["reason"] = json!("you have one");
    family.accepted(&family.parent, "decline-spending", &declined);
    let second = home.asks("30");
    family.accepted(&family.parent, "approve-spending", &second);
    assert_eq!(
        home.told(&family.child),
        ["spending-approved", "spending-declined", "spending-limit-set"]
    );
}

#[test]
fn requests_come_page_by_page_and_as_they_were() {
    let kinledger = Kinledger::start();
    let home = Home::limited(&kinledger, "The Asking");
    let family = &home.family;
    let requests: Vec<Value> = ["11", "12", "13", "14"].map(|sum| home.asks(sum)).into();
    let then = family.view(&family.parent, "spending-requests");
    family.accepted(
        &family.child,
        "cancel-spending-request",
        &json!({"request_id": requests[3]["request_id"]}),
    );
    family.accepted(&family.parent, "approve-spending", &requests[2]);

    let mut sums: Vec<Decimal> = Vec::new();
    let mut after = String::new();
    for pages in 1.. {
        let page = family.view(&family.parent, &format!("spending-requests?status=all&limit=3{after}"));
        sums.extend(
            page["requests"]
                .as_array()
                .unwrap()
                .iter()
                .map(|request| amount(&request["amount"])),
        );
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => {
                assert_eq!(pages, 2);
                break;
            }
        }
    }
    assert_eq!(sums, ["14.00", "13.00", "12.00", "11.00"].map(dec));
    let waiting: Vec<Decimal> = home
        .waiting(&family.child)
        .iter()
        .map(|request| amount(&request["amount"]))
        .collect();
    assert_eq!(waiting, ["12.00", "11.00"].map(dec));
    let seq = &then["family_seq"];
    for person in [&family.parent, &family.child] {
        let path = format!("{}/as-of/spending-requests?family_seq={seq}", family.path());
        assert_eq!(person.client.get(&path).accepted()["requests"], then["requests"]);
    }
}
