//! Who is erased is forgotten everywhere: two hundred strings are planted, found, and never found again; and a backup from before brings
//! nothing back. What was counted stays as it was.

mod apart;
pub mod installation;
mod outside;
mod planting;
pub mod searching;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use service_kit::testing::{mailbox::Mailbox, telephones::Telephones};
use uuid::Uuid;

use self::{
    installation::Installation,
    planting::{Planted, assert_every_declared_text_was_planted, plant},
    searching::{Place, everything, found, views},
};
use crate::support::{Household, Kinledger, Person, wait_until};

/// How long after the answer anything may still be readable.
const OVER_WITHIN: Duration = Duration::from_secs(60);

/// Balances of all accounts, as the views have them, by id: names are another order once they are erased.
fn balances(family: &Household) -> BTreeMap<String, String> {
    let accounts = family.view(&family.parent, "accounts");
    let accounts = accounts["accounts"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned();
    accounts
        .iter()
        .map(|account| (text(&account["account_id"]), text(&account["balance"]["amount"])))
        .collect()
}

fn erase(family: &Household, by: &Person, member: &str) -> Value {
    family.accepted(by, "erase-member", &json!({"member_id": member}))
}

/// What carries an installation's messages.
struct Gateways {
    mailbox: Mailbox,
    telephones: Telephones,
}

impl Gateways {
    fn start() -> Self {
        Self {
            mailbox: Mailbox::start(),
            telephones: Telephones::start(),
        }
    }

    /// Settings of an installation that sends by them, and logs as much as operators let it.
    fn settings(&self) -> [(&'static str, String); 6] {
        [
            ("KINLEDGER_SMTP_URL", self.mailbox.url()),
            ("KINLEDGER_MAIL_FROM", "Kinledger <kinledger@example.org>".to_owned()),
            ("KINLEDGER_SMS_URL", self.telephones.url()),
            ("KINLEDGER_SMS_FROM", "+15005550006".to_owned()),
            ("KINLEDGER_PUBLIC_URL", "https://money.example.org".to_owned()),
            ("RUST_LOG", "info".to_owned()),
        ]
    }
}

/// Each text is somewhere before, or nothing would be proved by its absence.
#[track_caller]
fn assert_planted(installation: &impl Installation, family: &Household, planted: &Planted) {
    assert!(planted.texts.len() >= 200, "{}", planted.texts.len());
    let mut places = everything(installation, family, planted);
    assert_nothing_secret(planted, &places);
    assert_of_family(planted, &places);
    // What the adult has of their own account.
    if let Some(leaver) = &planted.leaver {
        let export = leaver.client.get("/api/v1/auth/export");
        assert_eq!(export.status, 200, "{}", export.text());
        places.push(("the leaver's own export".to_owned(), export.body));
    }
    let seen = found(&planted.texts, &places);
    let lacking: Vec<&String> = planted.texts.iter().filter(|text| !seen.contains_key(*text)).collect();
    assert!(lacking.is_empty(), "planted and nowhere to be seen: {lacking:?}");
    println!(
        "each of {} strings was found before, in {} places",
        seen.len(),
        places.len()
    );
}

#[track_caller]
fn assert_nothing_secret(planted: &Planted, places: &[Place]) {
    let seen = found(&planted.secret, places);
    assert!(seen.is_empty(), "{seen:?}");
}

/// What is the family's is there as long as it is.
#[track_caller]
fn assert_of_family(planted: &Planted, places: &[Place]) {
    let seen = found(&planted.of_family, places);
    assert_eq!(seen.len(), planted.of_family.len(), "{:?}", seen.keys());
}

/// Waits until nothing that was planted is in any view and the register has everybody; then nothing is anywhere.
#[track_caller]
fn assert_forgotten(installation: &impl Installation, family: &Household, planted: &Planted) {
    let began = Instant::now();
    let is_over = wait_until(OVER_WITHIN, || {
        found(&planted.texts, &views(family, &family.parent)).is_empty()
    });
    assert!(is_over, "{:?}", found(&planted.texts, &views(family, &family.parent)));
    let register = installation.register();
    let is_registered = || fs::read_to_string(&register).is_ok_and(|text| text.lines().count() == planted.registered());
    assert!(
        wait_until(OVER_WITHIN, is_registered),
        "{:?}",
        fs::read_to_string(&register)
    );
    let after = began.elapsed();
    let places = everything(installation, family, planted);
    let left = found(&planted.texts, &places);
    assert!(left.is_empty(), "{} of {}: {left:?}", left.len(), planted.texts.len());
    assert_nothing_secret(planted, &places);
    assert_of_family(planted, &places);
    println!(
        "none of {} strings in {} places of {} bytes, after {:.1} s",
        planted.texts.len(),
        places.len(),
        places.iter().map(|(_, bytes)| bytes.len()).sum::<usize>(),
        after.as_secs_f64()
    );
}

/// Events as they are stored, one a line.
fn stored(family: &Household) -> Vec<String> {
    let export = String::from_utf8(family.export()).unwrap();
    let events = export.lines().filter(|line| line.contains("\"payload\""));
    events.map(str::to_owned).collect()
}

/// Every stored byte of before is there, and the erasures are recorded after it.
#[track_caller]
fn assert_history_goes_on(before: &[String], after: &[String], planted: &Planted) {
    assert_eq!(after[..before.len()], before[..]);
    let erased = after[before.len()..]
        .iter()
        .filter(|line| line.contains("MemberErased"));
    assert_eq!(erased.count(), planted.erasures());
}

/// A client that holds the answer of before is not told that it is still so.
#[track_caller]
fn assert_held_answers_are_over(family: &Household, way: &str, tag: &str) {
    let fresh = family.parent.proven().client;
    let again = fresh.send("GET", way, &[("if-none-match", tag)], None);
    assert_eq!(again.status, 200);
    assert!(again.text().contains("erased member"), "{}", again.text());
}

/// The database's folder, copied while nothing runs.
struct Backup {
    home: PathBuf,
    copy: PathBuf,
    checkpoints: PathBuf,
}

impl Backup {
    fn of(kinledger: &Kinledger) -> Self {
        let home = fs::canonicalize(kinledger.data_dir().join("postgres")).unwrap();
        let backup = Self {
            copy: kinledger.folder().join("backup"),
            checkpoints: kinledger.data_dir().join("checkpoints"),
            home,
        };
        copy(&backup.home, &backup.copy.join("postgres"));
        copy(&backup.checkpoints, &backup.copy.join("checkpoints"));
        backup
    }

    fn restore(&self) {
        for (name, place) in [("postgres", &self.home), ("checkpoints", &self.checkpoints)] {
            fs::remove_dir_all(place).unwrap();
            copy(&self.copy.join(name), place);
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    let done = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(done.success(), "{} to {}", from.display(), to.display());
}

#[test]
fn two_hundred_planted_strings_are_found_before_an_erasure_and_none_after_it_nor_in_a_restored_backup() {
    let gateways = Gateways::start();
    let mut kinledger = Kinledger::start_with(&gateways.settings());
    let (family, planted) = plant(&kinledger, &gateways);
    assert_every_declared_text_was_planted(&family, &planted);
    assert_planted(&kinledger, &family, &planted);

    let sums = balances(&family);
    let before = stored(&family);
    let members = format!("{}/members", family.path());
    let tag = family.parent.client.get(&members).etag;
    assert!(kinledger.interrupt().success());
    let backup = Backup::of(&kinledger);
    kinledger.start_again();

    // The power fails right after the last answer: what it has left to do is done by the next start.
    planted.erase(&family);
    kinledger.kill_with_its_database();
    kinledger.start_again();
    assert_forgotten(&kinledger, &family, &planted);

    // Amounts, chain and history are what they were; so is every stored byte of before.
    assert_eq!(balances(&family), sums);
    let after = stored(&family);
    assert_history_goes_on(&before, &after, &planted);
    let verified = kinledger.run(&["audit", "verify", "--json"]);
    assert!(
        verified.status.success(),
        "{}",
        String::from_utf8_lossy(&verified.stdout)
    );
    assert_held_answers_are_over(&family, &members, &tag);

    // Yesterday's backup has keys and rows; the register, which is no part of it, has the last word.
    assert!(kinledger.interrupt().success());
    backup.restore();
    kinledger.start_again();
    let restored = Household::again(&family);
    assert_forgotten(&kinledger, &restored, &planted);
    assert_eq!(balances(&restored), sums);
    let again = planted.as_each(&restored);
    assert!(again.iter().all(|status| *status == 404 || *status == 401), "{again:?}");
    assert!(kinledger.interrupt().success());
    kinledger.start_again();
    assert_forgotten(&kinledger, &restored, &planted);
}

#[test]
fn a_restored_backup_brings_back_neither_a_closed_account_nor_its_place() {
    let mut kinledger = Kinledger::start();
    let family = Household::found(&kinledger, "The Closed", "EUR");
    let auditor = family.invite(&kinledger, "Zq88auditor", "auditor");
    assert!(kinledger.interrupt().success());
    let backup = Backup::of(&kinledger);
    kinledger.start_again();
    let close = json!({"password": crate::support::PASSWORD});
    let closed = auditor.proven().client.post("/api/v1/auth/close", &close);
    assert_eq!(closed.status, 204, "{}", closed.text());
    let register = kinledger.data_dir().join("erasures");
    let is_registered = || fs::read_to_string(&register).is_ok_and(|text| text.lines().count() == 1);
    assert!(wait_until(OVER_WITHIN, is_registered));

    assert!(kinledger.interrupt().success());
    backup.restore();
    kinledger.start_again();
    let restored = Household::again(&family);
    let has_left = || {
        let members = restored.view(&restored.parent, "members");
        let members = members["members"].as_array().unwrap();
        let theirs = members.iter().find(|member| member["member_id"] == auditor.member_id);
        theirs.unwrap()["has_left"] == true
    };
    assert!(wait_until(OVER_WITHIN, has_left), "they are a member again");
    let login = json!({"email": auditor.email, "password": crate::support::PASSWORD});
    let again = kinledger.client().post("/api/v1/auth/login", &login);
    assert_eq!(again.status, 401, "{}", again.text());
    let address = [(String::new(), searching::dump(&kinledger.database_url()))];
    assert!(found(&[auditor.email], &address).is_empty());
}

#[test]
fn an_erased_member_has_nothing_left_open_and_the_others_go_on() {
    let kinledger = Kinledger::start();
    let family = Household::found(&kinledger, "The Leavers", "EUR");
    let key = Uuid::new_v4();
    let category = json!({"name": "Partner's", "kind": "expense"});
    family
        .command_as(&family.partner, "add-category", key, &category)
        .accepted();
    assert_eq!(
        family
            .refused(
                &family.teen,
                "erase-member",
                &json!({"member_id": family.teen.member_id})
            )
            .0,
        403
    );
    assert_eq!(
        family.refused(
            &family.partner,
            "erase-member",
            &json!({"member_id": family.child.member_id})
        ),
        (403, "role-not-allowed".to_owned())
    );
    assert_eq!(
        family
            .refused(
                &family.parent,
                "erase-member",
                &json!({"member_id": family.parent.member_id})
            )
            .1,
        "last-parent"
    );
    // By themselves.
    erase(&family, &family.partner, &family.partner.member_id);
    for way in [
        "members",
        "accounts",
        "dashboard",
        "as-of/accounts",
        "audit/events",
        "audit/verify",
    ] {
        let way = format!("{}/{way}", family.path());
        assert!(
            wait_until(OVER_WITHIN, || family.partner.client.get(&way).status == 404),
            "{way}"
        );
    }
    assert_eq!(
        family.refused(&family.partner, "add-category", &category),
        (404, "unknown-family".to_owned())
    );
    assert_eq!(
        family
            .refused(
                &family.parent,
                "erase-member",
                &json!({"member_id": family.partner.member_id})
            )
            .1,
        "already-erased"
    );
    let members = family.view(&family.parent, "members");
    let erased = members["members"].as_array().unwrap().iter();
    let erased = erased
        .into_iter()
        .find(|member| member["member_id"] == family.partner.member_id)
        .unwrap();
    assert_eq!(
        (&erased["display_name"], &erased["has_left"]),
        (&json!("erased member"), &json!(true))
    );
    let told = family.view(&family.parent, "notifications").to_string();
    assert!(told.contains("A member was erased"), "{told}");
    // A repeat of what they asked for once is still told from a new request.
    let receipt = family
        .parent
        .client
        .get(&format!("{}/commands/{key}", family.path()))
        .accepted();
    assert_eq!(receipt["events"][0]["type"], "CategoryAdded");
}

#[test]
fn a_deleted_family_is_nowhere_and_its_chain_verifies() {
    let kinledger = Kinledger::start();
    let (family, other) = (
        Household::found(&kinledger, "The Deleted Zq77planted", "EUR"),
        Household::found(&kinledger, "The Others", "EUR"),
    );
    let expense = json!({"name": "Zq77planted things", "kind": "expense"});
    family.accepted(&family.parent, "add-category", &expense);
    let delete = json!({"name": "The Deleted Zq77planted"});
    assert_eq!(
        family.refused(&family.parent, "delete-family", &delete).1,
        "others-first"
    );
    assert_eq!(family.refused(&family.partner, "delete-family", &delete).0, 403);
    family.accepted(&family.partner, "leave-family", &json!({}));
    let wrong = json!({"name": "The Deleted"});
    assert_eq!(family.refused(&family.parent, "delete-family", &wrong).1, "other-name");
    family.accepted(&family.parent, "delete-family", &delete);
    for person in [&family.parent, &family.teen, &family.child] {
        for way in ["members", "accounts", "as-of/accounts", "audit/events", "audit/verify"] {
            let way = format!("{}/{way}", family.path());
            assert!(
                wait_until(OVER_WITHIN, || person.client.get(&way).status == 404),
                "{way}"
            );
        }
        assert_eq!(
            family.refused(person, "add-category", &expense),
            (404, "unknown-family".to_owned())
        );
        let families = person.client.get("/api/v1/families").accepted();
        assert!(!families.to_string().contains(&family.id), "{families}");
    }
    let again = json!({"name": "Again", "currency": "EUR"});
    let again = family
        .parent
        .client
        .post(&format!("{}/commands/create-family", family.path()), &again);
    assert_eq!(again.refused(), (404, "unknown-family".to_owned()));
    let dump = searching::dump(&kinledger.database_url());
    assert_eq!(
        found(&["Zq77planted".to_owned()], &[("dump".to_owned(), dump)]).len(),
        0
    );
    let verified = kinledger.run(&["audit", "verify", "--json"]);
    let said = String::from_utf8_lossy(&verified.stdout).into_owned();
    assert!(verified.status.success(), "{said}");
    other.view(&other.parent, "members");
}
