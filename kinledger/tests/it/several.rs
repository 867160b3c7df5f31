//! One person in several families: a parent in one, a teen in a second, an auditor in a third. What they may do is what they are
//! there; nothing of one is in the answers of another; and a place that ends takes no other along.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Household, Kinledger, Person, consent, payload, register, wait_until};

/// How long after its end a place may still be answered.
const OVER_WITHIN: Duration = Duration::from_secs(5);
/// Views that every role is answered.
const VIEWS: &[&str] = &[
    "members",
    "accounts",
    "entries",
    "dashboard",
    "categories",
    "notifications",
    "as-of/accounts",
];

/// A family with words and things of its own, and the person's place in it.
struct Home {
    family: Household,
    word: &'static str,
    account: String,
    place: Person,
}

impl Home {
    fn of(kinledger: &Kinledger, word: &'static str, person: &Person, role: &str) -> Self {
        let family = Household::found(kinledger, word, "EUR");
        let mut added =
            json!({"display_name": format!("{word} Ada"), "role": role, "on_leaderboard": role != "auditor"});
        if role == "teen" {
            added["consent"] = consent();
        }
        let added = family.accepted(&family.parent, "add-member", &added);
        let member_id = payload(&added, "MemberAdded")["member_id"].as_str().unwrap().to_owned();
        let invite = format!("{}/members/{member_id}/invitation", family.path());
        let code = family.parent.client.post(&invite, &json!({})).accepted()["code"].clone();
        family.seen(
            &person
                .client
                .post("/api/v1/auth/join", &json!({"code": code}))
                .accepted(),
        );
        let place = Person {
            member_id,
            ..person.clone()
        };
        let mut account =
            json!({"name": format!("{word} money"), "kind": "cash", "opening_balance": family.money("40")});
        if role == "teen" {
            account = json!({"name": format!("{word} money"), "kind": "wallet", "owner": place.member_id, "opening_balance": family.money("40")});
        }
        let account = family.open_account(&account);
        family.accepted(
            &family.parent,
            "add-category",
            &json!({"name": format!("{word} things"), "kind": "expense"}),
        );
        let chore = json!({"title": format!("{word} chore"), "points": 1, "offered_to": place.member_id});
        if role != "auditor" {
            family.accepted(&family.parent, "offer-chore", &chore);
        }
        Self {
            family,
            word,
            account,
            place,
        }
    }

    /// Status of a view as the person has it.
    fn status(&self, what: &str) -> u16 {
        self.place.client.get(&format!("{}/{what}", self.family.path())).status
    }

    fn spend(&self, key: Uuid) -> Value {
        let body = json!({
            "account_id": self.account, "money": self.family.money("1"), "category_id": self.family.category("Leisure"),
            "payee": format!("{} shop", self.word),
        });
        self.family
            .command_as(&self.place, "add-expense", key, &body)
            .accepted()
    }
}

#[test]
fn a_parent_here_a_teen_there_and_an_auditor_elsewhere_is_each_in_its_own_family_only() {
    let kinledger = Kinledger::start();
    let ada = register(&kinledger, "Ada");
    let homes = [("Amber", "parent"), ("Birch", "teen"), ("Cedar", "auditor")]
        .map(|(word, role)| Home::of(&kinledger, word, &ada, role));
    let [amber, birch, cedar] = &homes;

    rights_are_those_of_the_role_in_each(amber, birch, cedar);
    nothing_of_one_is_shown_in_another(&homes);

    // One key in two families is two commands; what is read in one is not read in the other.
    let key = Uuid::new_v4();
    let (here, there) = (amber.spend(key), birch.spend(key));
    assert_ne!(here["family_id"], there["family_id"]);
    assert_eq!(birch.family.balance(&birch.account), crate::support::dec("39"));
    let unread = |home: &Home| {
        home.family.view(&home.place, "notifications")["unread"]
            .as_i64()
            .unwrap()
    };
    let before = unread(birch);
    assert!(before > 0 && unread(amber) > 0);
    let all = json!({"up_to_family_seq": here["family_seq"]});
    amber.family.accepted(&amber.place, "mark-notifications-read", &all);
    assert_eq!((unread(amber), unread(birch)), (0, before));

    // A role that changes in one changes there.
    let demoted = json!({"member_id": amber.place.member_id, "role": "partner"});
    amber.family.accepted(&amber.family.parent, "change-role", &demoted);
    let budget = json!({"country": "PT"});
    assert_eq!(amber.family.refused(&amber.place, "set-country", &budget).0, 403);
    assert_eq!((birch.status("audit/events"), cedar.status("audit/events")), (403, 200));

    ends_there_only(&ada, cedar, &[amber, birch], || {
        cedar.family.accepted(&cedar.place, "leave-family", &json!({}));
    });
    ends_there_only(&ada, birch, &[amber], || {
        let remove = json!({"member_id": birch.place.member_id});
        birch.family.accepted(&birch.family.parent, "remove-member", &remove);
    });
    amber.spend(Uuid::new_v4());
}

fn rights_are_those_of_the_role_in_each(amber: &Home, birch: &Home, cedar: &Home) {
    // The list is a view, which holds what each of these holds.
    for home in [amber, birch, cedar] {
        home.family.view(&home.place, "members");
    }
    let families = amber.place.client.get("/api/v1/families").accepted();
    let mut roles: Vec<_> = families["families"]
        .as_array()
        .unwrap()
        .iter()
        .map(|family| (family["name"].as_str().unwrap(), family["role"].as_str().unwrap()))
        .collect();
    roles.sort_unstable();
    assert_eq!(roles, [("Amber", "parent"), ("Birch", "teen"), ("Cedar", "auditor")]);
    let budget =
        |home: &Home| json!({"category_id": home.family.category("Leisure"), "amount": home.family.money("5")});
    let set = |home: &Home| home.family.command(&home.place, "set-budget", &budget(home)).status;
    assert_eq!((set(amber), set(birch), set(cedar)), (200, 403, 403));
    let audited = |home: &Home| home.status("audit/events");
    assert_eq!((audited(amber), audited(birch), audited(cedar)), (200, 403, 200));
    let invitations = |home: &Home| home.status("invitations");
    assert_eq!(
        (invitations(amber), invitations(birch), invitations(cedar)),
        (200, 403, 403)
    );
}

/// Every word of a family is in its own answers and in no other's; and its things cannot be named from elsewhere.
fn nothing_of_one_is_shown_in_another(homes: &[Home; 3]) {
    let mut seen = 0;
    for home in homes {
        for view in VIEWS {
            home.family.view(&home.family.parent, "members");
            let shown = match *view {
                "as-of/accounts" => home.place.client.get(&format!("{}/{view}", home.family.path())).text(),
                view => home.family.view(&home.place, view).to_string(),
            };
            for other in homes {
                let is_own = other.word == home.word;
                assert!(
                    is_own || !shown.contains(other.word),
                    "{view} of {}: {shown}",
                    home.word
                );
                assert!(
                    is_own || !shown.contains(&other.account),
                    "{view} of {}: {shown}",
                    home.word
                );
                seen += usize::from(is_own && shown.contains(other.word));
            }
        }
        for other in homes.iter().filter(|other| other.word != home.word) {
            let elsewhere = format!("{}/entries?account_id={}", home.family.path(), other.account);
            let nowhere = format!("{}/entries?account_id=acc_{}", home.family.path(), Uuid::new_v4());
            let (elsewhere, nowhere) = (home.place.client.get(&elsewhere), home.place.client.get(&nowhere));
            assert_eq!((elsewhere.status, elsewhere.text()), (nowhere.status, nowhere.text()));
            let transfer = json!({"from": home.account, "to": other.account, "money": home.family.money("1")});
            assert!(home.family.command(&home.place, "transfer", &transfer).refused().0 >= 403);
        }
    }
    assert!(seen >= 12, "the words are where they belong: {seen}");
    for (home, other) in [(0, 2), (2, 0)].map(|(home, other)| (&homes[home], &homes[other])) {
        let path = format!("{}/audit/export?format=ndjson", home.family.path());
        let export = home.place.proven().client.get(&path).text();
        // Words are sealed in it; the ids are not.
        let holds = |id: &str| export.contains(id.split_once('_').unwrap().1);
        assert!(holds(&home.account) && holds(&home.family.id), "{export}");
        assert!(!holds(&other.account) && !holds(&other.family.id), "{export}");
    }
}

/// The place ends within seconds, and in that time, and after it, the others answer as before.
fn ends_there_only(ada: &Person, ended: &Home, others: &[&Home], end: impl FnOnce()) {
    assert_eq!(ended.status("members"), 200);
    end();
    let began = Instant::now();
    let is_over = wait_until(OVER_WITHIN, || {
        for other in others {
            assert_eq!(other.status("members"), 200, "{}", other.word);
        }
        VIEWS.iter().all(|view| ended.status(view) == 404)
    });
    assert!(is_over, "{} is still open after {:?}", ended.word, began.elapsed());
    let families = ada.client.get("/api/v1/families").text();
    assert!(!families.contains(&ended.family.id), "{families}");
    for other in others {
        assert!(families.contains(&other.family.id), "{families}");
    }
    // The sign-in itself is of the person, not of a family.
    let refreshed = ada.client.get("/api/v1/auth/profile");
    assert_eq!(refreshed.status, 200);
}
