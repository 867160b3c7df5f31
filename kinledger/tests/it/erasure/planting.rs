//! Two hundred strings, in every text that is written by a member, or of one.

mod adult;
mod catalogue;
mod devices;

use serde_json::json;
use uuid::Uuid;

use super::Gateways;
use crate::support::{Entrance, Household, PASSWORD, Person, consent, payload, register};

pub use catalogue::assert_every_declared_text_was_planted;

/// What was planted, and of whom.
pub struct Planted {
    /// What is theirs and has to go.
    pub texts: Vec<String>,
    /// What is the family's and stays as long as it does.
    pub of_family: Vec<String>,
    /// What nobody may read anywhere, before an erasure neither.
    pub secret: Vec<String>,
    /// Who are erased: somebody with an account, somebody with a paired device, and somebody who was only invited.
    pub members: Vec<String>,
    /// Who closes their account and has themself erased.
    pub leaver: Option<Person>,
    /// The key of a command of theirs.
    pub key: Uuid,
    people: Vec<Person>,
}

impl Planted {
    fn text(&mut self) -> String {
        let text = self.another();
        self.texts.push(text.clone());
        text
    }

    fn of_family(&mut self) -> String {
        let text = self.another();
        self.of_family.push(text.clone());
        text
    }

    fn another(&self) -> String {
        let random = Uuid::new_v4().simple().to_string();
        format!("zq{:03}{}", self.texts.len() + self.of_family.len(), &random[..10])
    }

    /// What each of them is answered when they ask.
    pub fn as_each(&self, family: &Household) -> Vec<u16> {
        let ask = |person: &Person| person.client.get(&format!("{}/members", family.path())).status;
        self.people.iter().chain(&self.leaver).map(ask).collect()
    }

    /// Erases every one of them, each in their way.
    pub fn erase(&self, family: &Household) {
        for member in &self.members {
            family.accepted(&family.parent.proven(), "erase-member", &json!({"member_id": member}));
        }
        if let Some(leaver) = &self.leaver {
            let body = json!({"password": PASSWORD, "erase": true});
            let closed = leaver.client.post("/api/v1/auth/close", &body);
            assert_eq!(closed.status, 204, "{}", closed.text());
        }
    }

    /// How many lines of the register tell of them. An account that was closed has one of its own: the leaver's, and that of who had a
    /// paired device alone.
    pub fn registered(&self) -> usize {
        self.erasures() + usize::from(self.leaver.is_some()) + 1
    }

    /// How many are erased.
    pub fn erasures(&self) -> usize {
        self.members.len() + usize::from(self.leaver.is_some())
    }
}

/// Plants them in a family of its own.
pub(super) fn plant(kinledger: &impl Entrance, gateways: &Gateways) -> (Household, Planted) {
    let mut planted = Planted {
        texts: Vec::new(),
        of_family: Vec::new(),
        secret: vec![PASSWORD.to_owned(), devices::PIN.to_owned()],
        members: Vec::new(),
        leaver: None,
        key: Uuid::new_v4(),
        people: Vec::new(),
    };
    let family = Household::found(kinledger, &planted.of_family(), "EUR");
    let teen = teen(kinledger, &family, &mut planted);
    let wallet = money(&family, &teen, &mut planted);
    chores_and_badges(&family, &teen, &mut planted);
    statements(&family, &teen, &mut planted);
    devices::plant(kinledger, &family, &mut planted);
    invited_by_mail(&family, &mut planted);
    let adult = adult::plant(kinledger, &family, &mut planted, &(teen, wallet));
    adult::ways_in(&adult, &mut planted, gateways);
    planted.leaver = Some(adult);
    (family, planted)
}

/// A teen who is added, and nothing more.
fn place(family: &Household, planted: &mut Planted) -> String {
    let body = json!({"display_name": planted.text(), "role": "teen", "on_leaderboard": true, "consent": consent()});
    let added = family.accepted(&family.parent, "add-member", &body);
    let member_id = payload(&added, "MemberAdded")["member_id"].as_str().unwrap().to_owned();
    planted.members.push(member_id.clone());
    member_id
}

/// The host of the address is shown to parents; the rest is a hash.
fn invited_by_mail(family: &Household, planted: &mut Planted) {
    let member_id = place(family, planted);
    let name = planted.another();
    let email = format!("{name}@{}.example.org", planted.text());
    planted.secret.push(name);
    let path = format!("{}/members/{member_id}/invitation", family.path());
    family.parent.client.post(&path, &json!({"email": email})).accepted();
}

/// A teen with an account of their own, who was called something else before.
fn teen(kinledger: &impl Entrance, family: &Household, planted: &mut Planted) -> Person {
    let member_id = place(family, planted);
    let path = format!("{}/members/{member_id}/invitation", family.path());
    let invitation = family.parent.client.post(&path, &json!({})).accepted();
    let person = register(kinledger, "Guest");
    let joined = person
        .client
        .post("/api/v1/auth/join", &json!({"code": invitation["code"]}))
        .accepted();
    family.seen(&joined);
    let renamed = json!({"member_id": member_id, "display_name": planted.text()});
    let teen = Person { member_id, ..person };
    family.accepted(&teen, "rename-member", &renamed);
    planted.people.push(teen.clone());
    teen
}

/// What the teen does with money; gives their wallet.
fn money(family: &Household, teen: &Person, planted: &mut Planted) -> String {
    let opened = |kind: &str, name: String| {
        family.open_account(&json!({
            "name": name, "kind": kind, "owner": teen.member_id, "opening_balance": family.money("1000"),
        }))
    };
    let (wallet, savings) = (opened("wallet", planted.text()), opened("cash", planted.text()));
    let category = json!({"name": planted.of_family(), "kind": "expense"});
    let category = family.accepted(&family.parent, "add-category", &category)["events"][0]["aggregate_id"].clone();
    for number in 0..40 {
        let (payee, note) = (planted.text(), planted.text());
        let body = json!({
            "account_id": wallet, "money": family.money("1.25"), "category_id": category, "payee": payee, "note": note,
        });
        let key = if number == 0 { planted.key } else { Uuid::new_v4() };
        let spent = family.command_as(teen, "add-expense", key, &body).accepted();
        if number < 10 {
            let body = json!({"entry_id": spent["events"][0]["aggregate_id"], "reason": planted.text()});
            family.accepted(teen, "reverse-entry", &body);
        }
    }
    for _ in 0..10 {
        let body = json!({"from": wallet, "to": savings, "money": family.money("2"), "note": planted.text()});
        family.accepted(teen, "transfer", &body);
    }
    wallet
}

fn chores_and_badges(family: &Household, teen: &Person, planted: &mut Planted) {
    for number in 0..12 {
        let body = json!({"title": planted.text(), "points": 2, "offered_to": teen.member_id});
        let offered = family.accepted(&family.parent, "offer-chore", &body);
        let chore = json!({"chore_id": offered["events"][0]["aggregate_id"]});
        family.accepted(teen, "claim-chore", &chore);
        family.accepted(teen, "complete-chore", &chore);
        if number % 2 == 0 {
            family.accepted(&family.parent, "approve-chore", &chore);
        } else {
            let body = json!({"chore_id": chore["chore_id"], "reason": planted.text()});
            family.accepted(&family.parent, "reject-chore", &body);
        }
    }
    for _ in 0..10 {
        let (badge, reason) = (planted.text(), planted.text());
        let body = json!({"member_id": teen.member_id, "badge": badge, "reason": reason, "points": 1});
        family.accepted(&family.parent, "award-badge", &body);
    }
}

/// What banks write of the teen.
fn statements(family: &Household, teen: &Person, planted: &mut Planted) {
    let mut account = || {
        let body = json!({"name": planted.text(), "kind": "bank", "owner": teen.member_id});
        family.open_account(&body)
    };
    let (plain, with_references) = (account(), account());
    let mut file = "Date,Payee,Memo,Amount\n".to_owned();
    for day in 1..=15 {
        let (payee, memo) = (planted.text(), planted.text());
        file.push_str(&format!("2025-03-{day:02},{payee},{memo},{day}.50\n"));
    }
    family.import(&plain, file.as_bytes()).accepted();
    let institution = json!({"account_id": with_references, "institution": planted.of_family()});
    family.accepted(&family.parent, "connect-bank", &institution);
    family.import(&with_references, ofx(planted).as_bytes()).accepted();
}

/// A file that names every row.
fn ofx(planted: &mut Planted) -> String {
    let mut rows = String::new();
    for day in 1..=3 {
        let [reference, name, memo] = [planted.text(), planted.text(), planted.text()];
        rows.push_str(&format!(
            "<STMTTRN><TRNTYPE>CREDIT<DTPOSTED>202504{day:02}<TRNAMT>{day}.00<FITID>{reference}<NAME>{name}<MEMO>{memo}</STMTTRN>\n"
        ));
    }
    format!(
        "OFXHEADER:100\nDATA:OFXSGML\nVERSION:102\nSECURITY:NONE\nENCODING:UTF-8\nCHARSET:NONE\nCOMPRESSION:NONE\n\
         OLDFILEUID:NONE\nNEWFILEUID:NONE\n\n<OFX><BANKMSGSRSV1><STMTTRNRS><STMTRS><CURDEF>EUR\n<BANKTRANLIST>\n\
         <DTSTART>20250401<DTEND>20250430\n{rows}</BANKTRANLIST></STMTRS></STMTTRNRS></BANKMSGSRSV1></OFX>\n"
    )
}
