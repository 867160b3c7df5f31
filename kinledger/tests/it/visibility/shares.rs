//! Accounts shared in part: what commands and views make of it, one story after another.

use axum::http::StatusCode;
use domain::actor::Role;
use serde_json::{Value, json};
use uuid::Uuid;

use super::world::{Answer, Home, Person, World};

const ROLES: [Role; 6] = [
    Role::Parent,
    Role::Parent,
    Role::Partner,
    Role::Teen,
    Role::Child,
    Role::Auditor,
];

/// A family with an account of the family's, one of the partner's, a wallet of the child's, and money in them.
pub(super) struct Story {
    pub world: World,
    pub home: Home,
    pub family_account: String,
    pub own: String,
    pub wallet: String,
    pub groceries: String,
    salary: String,
}

impl Story {
    pub(super) async fn begin(name: &str) -> Self {
        let mut world = World::start().await;
        let mut home = world
            .found(Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()), &ROLES)
            .await;
        let (parent, partner, child) = (
            home.first(Role::Parent),
            home.first(Role::Partner),
            home.first(Role::Child),
        );
        world.project().await;
        let categories = world.get(parent.user, &home.path("categories")).await.json();
        let category = |name: &str| -> String {
            let all = categories["categories"].as_array().unwrap();
            let found = all.iter().find(|category| category["name"] == name).unwrap();
            found["category_id"].as_str().unwrap().to_owned()
        };
        let (groceries, salary) = (category("Groceries"), category("Salary"));
        let mut opened = Vec::new();
        for (by, name, kind, owner) in [
            (parent, "Household", "bank", None),
            (partner, "Mine", "bank", Some(partner.member)),
            (parent, "Pocket", "wallet", Some(child.member)),
        ] {
            let body = json!({"name": name, "kind": kind, "owner": owner, "opening_balance": eur("100"), "effective_on": "2026-11-01"});
            let receipt = world.accepted(&mut home, by.user, "open-account", &body).await;
            opened.push(receipt["events"][0]["aggregate_id"].as_str().unwrap().to_owned());
        }
        let [family_account, own, wallet] = opened.try_into().unwrap();
        let earned = json!({"account_id": own, "money": eur("2500"), "category_id": salary, "payee": "Employer", "effective_on": "2026-11-02"});
        world.accepted(&mut home, partner.user, "add-income", &earned).await;
        let spent = json!({"account_id": own, "money": eur("7.25"), "category_id": groceries, "payee": "Surprise", "note": "for the birthday", "effective_on": "2026-11-03"});
        world.accepted(&mut home, partner.user, "add-expense", &spent).await;
        let moved = json!({"from": own, "to": family_account, "money": eur("40"), "note": "for the rent", "effective_on": "2026-11-04"});
        world.accepted(&mut home, partner.user, "transfer", &moved).await;
        let budget = json!({"category_id": groceries, "amount": eur("50")});
        world.accepted(&mut home, parent.user, "set-budget", &budget).await;
        world.project().await;
        Self {
            world,
            home,
            family_account,
            own,
            wallet,
            groceries,
            salary,
        }
    }

    pub(super) fn person(&self, role: Role) -> Person {
        self.home.first(role)
    }

    pub(super) async fn share(&mut self, by: Person, account: &str, with: Person, level: &str) -> Answer {
        let body = json!({"account_id": account, "member_id": with.member, "level": level});
        let answer = self
            .world
            .command(&mut self.home, by.user, "share-account", &body)
            .await;
        self.world.project().await;
        answer
    }

    pub(super) async fn view(&self, person: Person, view: &str) -> Value {
        let answer = self.world.get(person.user, &self.home.path(view)).await;
        assert_eq!(answer.status, StatusCode::OK, "{view}: {answer}");
        answer.json()
    }

    async fn command(&mut self, person: Person, name: &str, body: &Value) -> Answer {
        self.world.command(&mut self.home, person.user, name, body).await
    }
}

pub(super) fn eur(amount: &str) -> Value {
    let amount: rust_decimal::Decimal = amount.parse().unwrap();
    json!({"amount": format!("{amount:.2}"), "currency": "EUR"})
}

pub(super) fn names(answer: &Value) -> Vec<&str> {
    let accounts = answer["accounts"].as_array().unwrap();
    accounts
        .iter()
        .map(|account| account["name"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn what_an_owner_hides_is_in_no_answer_of_another_and_in_all_of_their_own() {
    let mut story = Story::begin("hides").await;
    let (parent, partner) = (story.person(Role::Parent), story.person(Role::Partner));
    let before = story.view(parent, "accounts").await;
    assert_eq!(names(&before), ["Household", "Mine", "Pocket"]);
    assert_eq!(before["totals"][0]["amount"], "2792.75");

    let own = story.own.clone();
    assert_eq!(story.share(partner, &own, parent, "none").await.status, StatusCode::OK);

    let accounts = story.view(parent, "accounts").await;
    assert_eq!(names(&accounts), ["Household", "Pocket"]);
    assert_eq!(accounts["totals"][0]["amount"], "240.00");
    let entries = story.view(parent, "entries").await;
    let shown: Vec<&str> = entries["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["kind"].as_str().unwrap())
        .collect();
    assert_eq!(
        shown,
        ["transfer", "opening", "opening"],
        "the side that moved the household stays"
    );
    let transfer = &entries["entries"][0];
    assert_eq!(transfer["amount"]["amount"], "40.00");
    assert_eq!(transfer["postings"].as_array().unwrap().len(), 1);
    for filter in ["text=birthday", "min_amount=2000", "max_amount=7.25&min_amount=7.25"] {
        let found = story.view(parent, &format!("entries?{filter}")).await;
        assert_eq!(found["entries"], json!([]), "{filter}");
    }
    for path in [
        format!("entries?account_id={own}"),
        format!("entries?category_id={}", story.salary),
        format!("entries?member_id={}&kind=", partner.member).replace("&kind=", "&from=2026-11-02&to=2026-11-03"),
    ] {
        assert_eq!(story.view(parent, &path).await["entries"], json!([]), "{path}");
    }
    assert_eq!(
        story.view(parent, "spending?from=2026-11-01&to=2026-11-30").await["categories"],
        json!([])
    );
    let trend = story.view(parent, "trend?months=1&to=2026-11-30").await;
    assert_eq!(trend["months"][0]["income"]["amount"], "0.00");
    let budget = &story.view(parent, "budgets?on=2026-11-03").await["budgets"][0];
    assert_eq!(
        (budget["spent"]["amount"].as_str(), budget["percent"].as_i64()),
        (Some("0.00"), Some(0))
    );
    let dashboard = story.view(parent, "dashboard?effective_on=2026-11-30").await;
    assert_eq!(dashboard["month"]["income"], json!([]));
    assert_eq!(
        dashboard["budgets"][0]["spent"]["amount"], "0.00",
        "budgets are still an adult's"
    );
    let text = [
        story.view(parent, "dashboard").await,
        story.view(parent, "entries").await,
        story.view(parent, "notifications").await,
    ];
    for secret in ["Surprise", "birthday", "Employer", "2500", "Mine", own.as_str()] {
        assert!(
            !text.iter().any(|answer| answer.to_string().contains(secret)),
            "{secret}"
        );
    }

    // The owner and the other parent go on as before.
    for person in [partner, story.home.people[1]] {
        assert_eq!(
            names(&story.view(person, "accounts").await),
            ["Household", "Mine", "Pocket"]
        );
        assert_eq!(
            story.view(person, "budgets?on=2026-11-03").await["budgets"][0]["spent"]["amount"],
            "7.25"
        );
    }
    story.world.stop().await;
}

#[tokio::test]
async fn a_hidden_account_is_refused_as_an_unknown_one_is() {
    let mut story = Story::begin("unknown").await;
    let (parent, partner) = (story.person(Role::Parent), story.person(Role::Partner));
    let own = story.own.clone();
    story.share(partner, &own, parent, "none").await;
    let (family_account, groceries) = (story.family_account.clone(), story.groceries.clone());
    let nobodys = format!("acc_{}", Uuid::nil());
    let bodies = |account: &str| {
        vec![
            (
                "add-expense",
                json!({"account_id": account, "money": eur("1"), "category_id": groceries}),
            ),
            (
                "transfer",
                json!({"from": account, "to": family_account, "money": eur("1")}),
            ),
            (
                "transfer",
                json!({"from": family_account, "to": account, "money": eur("1")}),
            ),
            ("close-account", json!({"account_id": account})),
            ("connect-bank", json!({"account_id": account})),
            (
                "share-account",
                json!({"account_id": account, "member_id": partner.member, "level": "view"}),
            ),
            (
                "offer-chore",
                json!({"title": "Tidy", "reward": {"money": eur("1"), "pay_from": account}}),
            ),
        ]
    };
    for ((name, hidden), (_, unknown)) in bodies(&own).into_iter().zip(bodies(&nobodys)) {
        let (hidden, unknown) = (
            story.command(parent, name, &hidden).await,
            story.command(parent, name, &unknown).await,
        );
        assert_eq!(hidden.status, StatusCode::NOT_FOUND, "{name}: {hidden}");
        assert_eq!(hidden, unknown, "{name}");
    }
    let same_name = json!({"name": "Mine", "kind": "bank"});
    assert_eq!(
        story.command(parent, "open-account", &same_name).await.status,
        StatusCode::OK
    );
    story.world.stop().await;
}

#[tokio::test]
async fn a_share_gives_the_young_what_it_says_and_no_more() {
    let mut story = Story::begin("young").await;
    let (parent, teen) = (story.person(Role::Parent), story.person(Role::Teen));
    assert_eq!(names(&story.view(teen, "accounts").await), Vec::<&str>::new());
    let (account, own, wallet) = (story.family_account.clone(), story.own.clone(), story.wallet.clone());
    story.share(parent, &account, teen, "view").await;
    let accounts = story.view(teen, "accounts").await;
    assert_eq!(names(&accounts), ["Household"]);
    assert_eq!(accounts["accounts"][0]["share"], "view");
    let spend = json!({"account_id": account, "money": eur("1"), "category_id": story.groceries});
    let refused = story.command(teen, "add-expense", &spend).await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (StatusCode::FORBIDDEN, "share-too-small")
    );
    story.share(parent, &account, teen, "full").await;
    assert_eq!(story.command(teen, "add-expense", &spend).await.status, StatusCode::OK);
    // A sibling's wallet and a grown-up's account are the role's no, which no share loosens.
    let partner = story.person(Role::Partner);
    for (by, closed) in [(parent, wallet), (partner, own)] {
        let refused = story.share(by, &closed, teen, "view").await;
        assert_eq!(
            (refused.status, refused.code().as_str()),
            (StatusCode::UNPROCESSABLE_ENTITY, "share-is-fixed")
        );
    }
    let shares = story.view(parent, "account-shares").await;
    assert_eq!(
        names(&shares),
        ["Household", "Pocket"],
        "the partner's own is not a parent's to share"
    );
    let of_teen = shares["accounts"][0]["shares"]
        .as_array()
        .unwrap()
        .iter()
        .find(|s| s["member_id"] == json!(teen.member));
    assert_eq!(of_teen.unwrap()["level"], "full");
    let refused = story.world.get(teen.user, &story.home.path("account-shares")).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    story.world.stop().await;
}

#[tokio::test]
async fn the_past_is_shown_as_far_as_it_was_shared_then_and_is_now() {
    let mut story = Story::begin("past").await;
    let (parent, partner, teen) = (
        story.person(Role::Parent),
        story.person(Role::Partner),
        story.person(Role::Teen),
    );
    let (account, own) = (story.family_account.clone(), story.own.clone());
    let then = story.view(parent, "accounts").await["family_seq"].as_i64().unwrap();
    story.share(partner, &own, parent, "none").await;
    let opened = story.share(parent, &account, teen, "view").await.json()["family_seq"]
        .as_i64()
        .unwrap();
    let past = async |person: Person, seq: i64| {
        story
            .world
            .get(
                person.user,
                &story.home.path(&format!("as-of/accounts?family_seq={seq}")),
            )
            .await
    };
    let before = past(parent, then).await;
    assert_eq!(
        names(&before.json()),
        ["Household", "Pocket"],
        "hidden now, so hidden of the past too"
    );
    assert!(
        !before.headers.contains_key("kinledger-chain-hash"),
        "a hash of everything tells of what is hidden"
    );
    assert!(past(partner, then).await.headers.contains_key("kinledger-chain-hash"));
    assert_eq!(
        names(&past(teen, then).await.json()),
        Vec::<&str>::new(),
        "it was not shared then"
    );
    assert_eq!(names(&past(teen, opened).await.json()), ["Household"]);
    story.world.stop().await;
}

#[tokio::test]
async fn whole_histories_are_refused_to_whom_an_account_is_hidden_from() {
    let mut story = Story::begin("whole").await;
    let (parent, partner) = (story.person(Role::Parent), story.person(Role::Partner));
    let asked = [
        "audit/events",
        "audit/as-of",
        "audit/export?format=ndjson",
        "audit/export?format=hledger",
        "audit/pack",
        "audit/checkpoint",
        "audit/proof/inclusion",
        "audit/proof/consistency?from=1",
        "audit/proof/head",
    ];
    let own = story.own.clone();
    let receipt = story
        .home
        .path(&format!("commands/{}", story.home.key_of(story.home.keys() - 3)));
    assert_eq!(story.world.get(parent.user, &receipt).await.status, StatusCode::OK);
    story.share(partner, &own, parent, "none").await;
    for path in asked {
        let answer = story.world.get(parent.user, &story.home.path(path)).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (StatusCode::FORBIDDEN, "accounts-hidden"),
            "{path}"
        );
    }
    assert_eq!(
        story.world.get(parent.user, &receipt).await.status,
        StatusCode::NOT_FOUND
    );
    for (person, has_hash) in [(parent, false), (partner, true), (story.person(Role::Auditor), false)] {
        let verdict = story.view(person, "audit/verify").await;
        assert_eq!(verdict["verified"], true);
        assert_eq!(verdict.get("chain_hash").is_some(), has_hash);
    }
    for person in [partner, story.home.people[1]] {
        let answer = story
            .world
            .get(person.user, &story.home.path("audit/export?format=ndjson"))
            .await;
        assert_eq!(answer.status, StatusCode::OK);
    }
    story.world.stop().await;
}
