//! The trail of security events, as people read it: what was really done stands in it, nobody is followed through it, and its
//! pages hold everything once while more is written.

use std::{collections::BTreeSet, path::Path, process::Command, thread};

use serde_json::{Value, json};

use crate::{
    erasure::installation::Installation,
    support::{Household, Kinledger, PASSWORD, Person, payload, register},
};

/// Words of devices, which must be told of the young and of nobody else.
const TEENS_PHONE: &str = "Teen's phone/7";
const PARTNERS_PHONE: &str = "Partner's phone/9";

fn sign_in(kinledger: &Kinledger, person: &Person, password: &str, device: &str) -> u16 {
    let body = json!({"email": person.email, "password": password}).to_string();
    let headers = [("content-type", "application/json"), ("user-agent", device)];
    let reply = kinledger
        .client()
        .send("POST", "/api/v1/auth/login", &headers, Some(body.as_bytes()));
    reply.status
}

/// A file with a key-encryption key.
fn private_key(kinledger: &Kinledger) -> String {
    use std::os::unix::fs::PermissionsExt;

    let file = kinledger.folder().join("key");
    std::fs::write(
        &file,
        "3f9a61c2d0e84b75a1968c2f7e5d03b4c7a2918e6f50d3b1249c8e7a6d5f4b30",
    )
    .unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    file.display().to_string()
}

/// Every event, by pages of so many, the newest first.
fn walk(person: &Person, path: &str, limit: usize) -> Vec<Value> {
    let (mut events, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = person.client.get(&format!("{path}?limit={limit}{cursor}")).accepted();
        let listed = page["events"].as_array().unwrap();
        assert!(listed.len() <= limit, "{page}");
        events.extend(listed.iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return events,
        }
        assert!(events.len() < 5_000, "it does not end");
    }
}

/// The words of the events of one kind that are about one member.
#[track_caller]
fn about<'a>(events: &'a [Value], kind: &str, member_id: &str) -> Vec<&'a Value> {
    let found: Vec<&Value> = events
        .iter()
        .filter(|event| event["kind"] == kind && event["member_id"] == member_id)
        .collect();
    assert!(!found.is_empty(), "no {kind} of {member_id} in {events:#?}");
    found
}

#[test]
fn a_parent_reads_what_happened_to_the_young_and_to_the_family_and_follows_no_adult() {
    let kinledger = Kinledger::start();
    let family = Household::found(&kinledger, "The Watchful", "EUR");
    let (parent, partner, teen, child) = (&family.parent, &family.partner, &family.teen, &family.child);
    let path = format!("{}/security-events", family.path());

    // What happens to a teen's and to an adult's access.
    let wrong = json!({"old_password": "nor this one", "new_password": "another long sentence of words"});
    for person in [teen, partner] {
        let refused = person.client.post("/api/v1/auth/change-password", &wrong).refused();
        assert_eq!(refused, (403, "wrong-credentials".to_owned()));
    }
    // After a wrong password the next one waits for a second.
    crate::support::pause(std::time::Duration::from_millis(1_100));
    assert_eq!(sign_in(&kinledger, teen, "not the password", TEENS_PHONE), 401);
    assert_eq!(sign_in(&kinledger, partner, "not the password", PARTNERS_PHONE), 401);
    crate::support::pause(std::time::Duration::from_millis(1_100));
    assert_eq!(sign_in(&kinledger, teen, PASSWORD, TEENS_PHONE), 200);
    assert_eq!(sign_in(&kinledger, partner, PASSWORD, PARTNERS_PHONE), 200);
    // What is done to the family.
    family.accepted(
        parent,
        "change-role",
        &json!({"member_id": child.member_id, "role": "teen"}),
    );
    let export = format!("{}/audit/export?format=beancount", family.path());
    assert_eq!(partner.client.get(&export).status, 200);
    let key = json!({"name": "Partner's secret plan", "scopes": ["read"], "family_id": family.id});
    partner.client.post("/api/v1/auth/api-keys", &key).accepted();
    let own_key = json!({"name": "For all my families", "scopes": ["read"]});
    partner.client.post("/api/v1/auth/api-keys", &own_key).accepted();
    let auditor = family.invite(&kinledger, "Auditor", "auditor");
    let term = json!({"member_id": auditor.member_id, "until_on": crate::support::today(30)});
    family.accepted(parent, "set-audit-term", &term);
    family.accepted(parent, "hand-over-family", &json!({"to": partner.member_id}));
    let spare = family.accepted(parent, "add-member", &json!({"display_name": "Spare", "role": "child"}));
    let spare = payload(&spare, "MemberAdded")["member_id"].as_str().unwrap().to_owned();
    family.accepted(parent, "remove-member", &json!({"member_id": spare}));
    let rotated = kinledger.run(&["keys", "rotate-signing"]);
    assert!(rotated.status.success(), "{rotated:?}");
    let resealed = kinledger.run(&["audit", "key", "rotate"]);
    assert!(resealed.status.success(), "{resealed:?}");
    // To a key of a file, and back to the one that the process knows.
    let key = private_key(&kinledger);
    for which in ["--key-file", "--old-key-file"] {
        let rotated = kinledger.run(&["keys", "rotate", which, &key]);
        assert!(rotated.status.success(), "{rotated:?}");
    }

    let events = walk(parent, &path, 200);
    for kind in ["sign-in-failed", "factor-failed", "signed-in", "new-device", "joined"] {
        about(&events, kind, &teen.member_id);
    }
    assert!(
        about(&events, "new-device", &teen.member_id)
            .iter()
            .all(|event| event["device"] == TEENS_PHONE)
    );
    assert_eq!(
        about(&events, "factor-failed", &teen.member_id)[0]["what"],
        json!(["password"])
    );
    assert_eq!(about(&events, "signed-in", &teen.member_id)[0]["what"], json!(["pwd"]));
    let role = about(&events, "role-changed", &child.member_id)[0];
    assert_eq!(
        (&role["what"], &role["by"]),
        (&json!(["child", "teen"]), &json!(parent.member_id))
    );
    let of_the_family = |kind: &str| events.iter().filter(|event| event["kind"] == kind).collect::<Vec<_>>();
    let exported = of_the_family("exported");
    assert_eq!(exported.len(), 1, "{events:#?}");
    assert_eq!(
        (&exported[0]["by"], &exported[0]["what"]),
        (&json!(partner.member_id), &json!(["beancount"]))
    );
    let keys: Vec<&Value> = of_the_family("key-rotated")
        .iter()
        .map(|event| &event["what"][0])
        .collect();
    assert_eq!(keys, ["key-encryption", "key-encryption", "sealing", "signing"]);
    assert_eq!(
        of_the_family("api-key-made").len(),
        1,
        "the key for the family, and no other"
    );
    about(&events, "audit-term-set", &auditor.member_id);
    about(&events, "handover-offered", &partner.member_id);
    about(&events, "member-removed", &spare);
    let invited = about(&events, "invited", &teen.member_id);
    assert_eq!(invited[0]["by"], parent.member_id);

    // Another adult's comings and goings are theirs, and so are the words they chose.
    let text = serde_json::to_string(&events).unwrap();
    for hidden in [
        PARTNERS_PHONE,
        "Partner's secret plan",
        &partner.email,
        "127.0.0.1",
        "For all my families",
    ] {
        assert!(!text.contains(hidden), "{hidden}: {text}");
    }
    let of_partner: BTreeSet<&str> = events
        .iter()
        .filter(|event| event["member_id"] == partner.member_id)
        .map(|event| event["kind"].as_str().unwrap())
        .collect();
    let concerns_the_family = ["api-key-made", "handover-offered", "invited", "joined", "member-added"];
    assert_eq!(of_partner, BTreeSet::from(concerns_the_family));

    // In their own trail they have it all.
    let own = walk(partner, "/api/v1/auth/security-events", 3);
    for kind in [
        "registered",
        "sign-in-failed",
        "factor-failed",
        "signed-in",
        "new-device",
        "api-key-made",
        "exported",
        "key-rotated",
    ] {
        assert!(own.iter().any(|event| event["kind"] == kind), "{kind}: {own:#?}");
    }
    assert!(own.iter().any(|event| event["device"] == PARTNERS_PHONE));
    assert!(!serde_json::to_string(&own).unwrap().contains(TEENS_PHONE));

    // Nobody else reads the family's.
    for person in [partner, teen, child, &auditor] {
        assert_eq!(person.client.get(&path).refused().0, 403);
    }
    let stranger = register(&kinledger, "Stranger");
    assert_eq!(stranger.client.get(&path).refused(), (404, "unknown-family".to_owned()));
    for query in ["limit=0", "limit=201", "limit=x", "cursor=x", "cursor=1-", "other=1"] {
        assert_eq!(
            parent.client.get(&format!("{path}?{query}")).refused().0,
            400,
            "{query}"
        );
        let own = format!("/api/v1/auth/security-events?{query}");
        assert_eq!(parent.client.get(&own).refused().0, 400, "{query}");
    }
}

#[test]
fn shares_are_told_of_accounts_that_a_parent_looks_after_and_of_no_hidden_one() {
    let kinledger = Kinledger::start();
    let family = Household::found(&kinledger, "The Sharers", "EUR");
    let (parent, partner) = (&family.parent, &family.partner);
    let ours = family.open_account(&json!({"name": "Ours", "kind": "bank"}));
    let theirs = family.open_account(&json!({"name": "Theirs", "kind": "bank", "owner": partner.member_id}));
    let share =
        |account: &str, member: &str, level: &str| json!({"account_id": account, "member_id": member, "level": level});
    family.accepted(parent, "share-account", &share(&ours, &family.teen.member_id, "view"));
    let path = format!("{}/security-events", family.path());
    family.accepted(partner, "share-account", &share(&theirs, &parent.member_id, "view"));
    let events = walk(parent, &path, 200);
    let told = about(&events, "account-shared", &family.teen.member_id);
    assert_eq!(
        (&told[0]["account_id"], &told[0]["what"]),
        (&json!(ours), &json!(["view"]))
    );
    assert_eq!(
        about(&events, "account-shared", &parent.member_id)[0]["account_id"],
        theirs
    );

    let before = walk(parent, &path, 200);
    family.accepted(partner, "share-account", &share(&theirs, &parent.member_id, "none"));
    let after = walk(parent, &path, 200);
    let without: Vec<&Value> = before.iter().filter(|event| event["account_id"] != theirs).collect();
    assert_eq!(
        after.iter().collect::<Vec<_>>(),
        without,
        "a hidden account was never there"
    );
}

#[test]
fn pages_hold_every_event_once_and_in_order_while_more_are_written() {
    let kinledger = Kinledger::start();
    let family = Household::found(&kinledger, "The Busy", "EUR");
    let parent = &family.parent;
    let path = format!("{}/security-events", family.path());
    let write = |rounds: usize| {
        for round in 0..rounds {
            let member = json!({"display_name": format!("Place {round}"), "role": "child"});
            family.accepted(parent, "add-member", &member);
            let key = json!({"name": "Key", "scopes": ["read"], "family_id": family.id});
            let made = parent.client.post("/api/v1/auth/api-keys", &key).accepted();
            let key = format!("/api/v1/auth/api-keys/{}", made["api_key_id"].as_str().unwrap());
            assert_eq!(parent.client.send("DELETE", &key, &[], None).status, 204);
        }
    };
    write(12);
    let before = walk(parent, &path, 200);
    assert!(before.len() >= 12 * 3, "{}", before.len());
    for limit in [1, 4, 7] {
        let during = thread::scope(|scope| {
            let writing = scope.spawn(|| write(5));
            let during = walk(parent, &path, limit);
            writing.join().unwrap();
            during
        });
        let names: BTreeSet<&str> = during.iter().map(|event| event["event_id"].as_str().unwrap()).collect();
        assert_eq!(names.len(), during.len(), "no event twice, by {limit}");
        let old: Vec<&Value> = during.iter().filter(|event| before.contains(event)).collect();
        assert_eq!(
            old,
            before.iter().collect::<Vec<_>>(),
            "none is missing and the order stays, by {limit}"
        );
        assert!(during.is_sorted_by(|a, b| a["at"].as_str() >= b["at"].as_str()));
    }
}

/// What an operator's command says and writes.
fn operators(kinledger: &Kinledger, arguments: &[&str]) -> (i32, String, String) {
    let output = kinledger.run(arguments);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// Changes the database as whoever owns it.
fn change(kinledger: &Kinledger, statement: &str) {
    let url = kinledger.database_url();
    // Each in a transaction of its own.
    let each = statement.split("; ").flat_map(|one| ["-c", one]);
    let changed = Command::new("psql")
        .args([url.as_str(), "-q"])
        .args(each)
        .output()
        .unwrap();
    assert!(changed.status.success(), "{}", String::from_utf8_lossy(&changed.stderr));
}

#[test]
fn parents_are_told_what_an_operator_reads_and_an_operator_who_cannot_tell_them_reads_nothing() {
    let kinledger = Kinledger::start();
    let family = Household::found(&kinledger, "The Readable", "EUR");
    let other = Household::found(&kinledger, "The Others", "EUR");
    let id = family.id.as_str();
    let path = |family: &Household| format!("{}/security-events", family.path());
    let exported = || {
        let events = walk(&family.parent, &path(&family), 200);
        let exported = events.into_iter().filter(|event| event["kind"] == "exported");
        exported.collect::<Vec<_>>()
    };
    let file = |name: &str| kinledger.folder().join(name).display().to_string();
    let [journal, folder, refused] = ["journal", "pack", "refused"].map(file);
    let reads: [(&str, &[&str]); 7] = [
        ("ndjson", &["audit", "export", "--family", id, "--format", "ndjson"]),
        (
            "hledger",
            &["audit", "export", "--family", id, "--format", "hledger", "-o", &journal],
        ),
        ("pack", &["audit", "export", "--family", id, "--pack", "-o", &folder]),
        ("replay", &["audit", "replay", "--family", id]),
        ("replay", &["audit", "replay", "--family", id, "--entries", "--json"]),
        ("replay", &["audit", "replay", "--family", id, "--view", "members"]),
        ("replay", &["audit", "replay", "--family", id, "--dump"]),
    ];
    for (form, arguments) in reads {
        let before = exported().len();
        let (code, said, error) = operators(&kinledger, arguments);
        assert_eq!(code, 0, "{arguments:?}: {error}");
        let is_file = arguments.contains(&"-o");
        assert_eq!(said.is_empty(), is_file, "{arguments:?}");
        let events = exported();
        assert_eq!(events.len(), before + 1, "{arguments:?}");
        let event = &events[0];
        assert_eq!(event["what"], json!(["operator", form]), "{arguments:?}");
        assert!(event["by"].is_null() && event["member_id"].is_null(), "{event}");
    }
    // Who tells nothing of what the books say, leaves nothing; and nobody else is told.
    let silent: [&[&str]; 3] = [
        &["audit", "verify"],
        &["audit", "verify", "--family", id, "--views"],
        &["audit", "key", "show"],
    ];
    for arguments in silent {
        assert_eq!(operators(&kinledger, arguments).0, 0, "{arguments:?}");
    }
    let unknown = format!("fam_{}", uuid::Uuid::new_v4());
    let (code, _, error) = operators(&kinledger, &["audit", "replay", "--family", &unknown]);
    assert!(code == 1 && error.contains("no family"), "{error}");
    assert_eq!(exported().len(), reads.len());
    let others = walk(&other.parent, &path(&other), 200);
    assert!(others.iter().all(|event| event["kind"] != "exported"), "{others:#?}");

    // A login without identity's rights, and a database that takes no writes.
    let name = kinledger.database_url();
    let name = name.rsplit('/').next().unwrap().split('?').next().unwrap();
    for (takes, gives) in [
        (
            "revoke insert on identity.security_events from kinledger_identity".to_owned(),
            "grant insert on identity.security_events to kinledger_identity".to_owned(),
        ),
        (
            format!("alter database \"{name}\" set default_transaction_read_only = on"),
            format!(
                "set default_transaction_read_only = off; alter database \"{name}\" reset default_transaction_read_only"
            ),
        ),
    ] {
        change(&kinledger, &takes);
        for (form, arguments) in reads {
            let arguments = arguments.iter().map(|word| match *word {
                word if word == journal || word == folder => refused.as_str(),
                word => word,
            });
            let arguments: Vec<&str> = arguments.collect();
            let (code, said, error) = operators(&kinledger, &arguments);
            assert_eq!((code, said.as_str()), (1, ""), "{form}: {error}");
            // Past views need tables of their own, which a database that takes no writes has no room for.
            let is_said = ["nothing is given out", "read-only"]
                .iter()
                .any(|said| error.contains(said));
            assert!(is_said, "{form}: {error}");
            assert!(!Path::new(&refused).exists(), "{form}");
        }
        assert_eq!(operators(&kinledger, &["audit", "verify"]).0, 0);
        change(&kinledger, &gives);
    }
    assert_eq!(exported().len(), reads.len());
}
