//! Proof: an auditor takes a pack home and verifies it without us; and what becomes of it when somebody had a hand in it.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
};

use serde_json::{Value, json};

use crate::support::{Household, Kinledger};

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn verdict(kinledger: &Kinledger, pack: &Path, key: &str, more: &[&str]) -> (Option<i32>, Value) {
    let pack = pack.to_str().unwrap();
    let mut arguments = vec!["audit", "verify", "--pack", pack, "--key", key, "--json"];
    arguments.extend(more);
    let output = kinledger.run(&arguments);
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)));
    (output.status.code(), report)
}

/// The data folder's database, asked as its owner.
fn psql(kinledger: &Kinledger, statements: &str) {
    let running: Value = serde_json::from_slice(&fs::read(kinledger.data_dir().join("running.json")).unwrap()).unwrap();
    let output = Command::new("psql")
        .args(["--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--dbname"])
        .arg(running["database_url"].as_str().unwrap())
        .args(["--command", statements])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn an_auditor_verifies_a_pack_with_nothing_but_the_public_key() {
    let mut kinledger = Kinledger::start();
    let family = Household::found(&kinledger, "The Proofs", "EUR");
    let cash = family.open_account(
        &json!({"name": "Cash", "kind": "cash", "opening_balance": family.money("30"), "effective_on": "2024-01-01"}),
    );
    let leisure = family.category("Leisure");
    for sum in ["1.00", "2.50", "4.00"] {
        let body = json!({"account_id": cash, "money": family.money(sum), "category_id": leisure, "effective_on": "2024-02-01"});
        family.accepted(&family.parent, "add-expense", &body);
    }
    let events = family.events().len();
    let folder = kinledger.folder().to_owned();
    let packs = ["one.zip", "two"].map(|name| folder.join(name));
    for pack in &packs {
        let output = kinledger.run(&[
            "audit",
            "export",
            "--pack",
            "--family",
            &family.id,
            "-o",
            pack.to_str().unwrap(),
        ]);
        assert!(output.status.success(), "{}", said(&output));
    }
    let key = kinledger.run(&["audit", "key", "show"]);
    let key = String::from_utf8(key.stdout).unwrap().trim().to_owned();
    let mode = fs::metadata(kinledger.data_dir().join("sealing-key"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);

    // Over HTTP the same: the pack, the key, the proofs.
    let over_http = family.parent.client.get(&format!("{}/audit/pack", family.path()));
    assert_eq!(
        (over_http.status, over_http.content_type.as_str()),
        (200, "application/zip")
    );
    let downloaded = folder.join("downloaded.zip");
    fs::write(&downloaded, &over_http.body).unwrap();
    let keys = kinledger.client().get("/.well-known/kinledger-log-keys").json();
    assert_eq!(keys["keys"][0]["verifier_key"], key.as_str());
    the_proofs_of_the_api_hold(&family, &key);
    for role in [&family.teen, &family.child] {
        for what in [
            "checkpoint",
            "proof/inclusion",
            "proof/consistency",
            "proof/head",
            "pack",
        ] {
            assert_eq!(
                role.client.get(&format!("{}/audit/{what}", family.path())).status,
                403,
                "{what}"
            );
        }
    }

    let kept = kinledger.data_dir().join("checkpoints");
    let kept = kept.to_str().unwrap().to_owned();
    assert!(kinledger.interrupt().success());
    for pack in [&packs[0], &packs[1], &downloaded] {
        let (code, report) = verdict(&kinledger, pack, &key, &["--family", &family.id, "--checkpoint", &kept]);
        assert_eq!(code, Some(0), "{report}");
        assert_eq!(
            (report["events"].as_u64(), report["journals"].as_u64()),
            (Some(events as u64), Some(2))
        );
        assert_eq!(report["kept_events"].as_u64(), Some(events as u64));
    }
    let alone = kinledger.run(&["audit", "verify", "--checkpoints", &kept]);
    assert!(alone.status.success(), "{}", said(&alone));
    assert!(said(&alone).contains("checkpoints verified"));

    // Somebody with a text editor.
    let lines = fs::read_to_string(packs[1].join("events.ndjson")).unwrap();
    let altered = lines
        .replacen("\\\"2.50\\\"", "\\\"2.51\\\"", 1)
        .replacen("-2.50", "-2.51", 1);
    assert_ne!(lines, altered);
    fs::write(packs[1].join("events.ndjson"), altered).unwrap();
    let (code, report) = verdict(&kinledger, &packs[1], &key, &[]);
    assert_eq!(code, Some(2));
    let line = lines.lines().position(|line| line.contains("-2.50")).unwrap();
    assert_eq!(report["first_bad_family_seq"], json!(line + 1), "{report}");
    let strange = verdict(
        &kinledger,
        &packs[0],
        &key,
        &["--family", "fam_00000000-0000-4000-8000-000000000000"],
    );
    assert_eq!(strange.0, Some(2));
}

fn the_proofs_of_the_api_hold(family: &Household, key: &str) {
    let key = verifier::VerifierKey::parse(key).unwrap();
    let hashes = |value: &Value| -> Vec<verifier::Hash> {
        let texts = value.as_array().unwrap().iter();
        texts
            .map(|text| verifier::unhex(text.as_str().unwrap().as_bytes()).unwrap())
            .collect()
    };
    let opened = |value: &Value| {
        let note = value.as_str().unwrap().as_bytes().to_vec();
        let text = verifier::open_note(&note, std::slice::from_ref(&key))
            .unwrap()
            .to_owned();
        verifier::Checkpoint::parse(&text).unwrap()
    };
    let proof = family.audit("proof/inclusion?family_seq=3");
    let checkpoint = opened(&proof["checkpoint"]);
    let leaf = verifier::unhex(proof["tree_leaf"].as_str().unwrap().as_bytes()).unwrap();
    let position = proof["position"].as_u64().unwrap();
    assert!(verifier::is_included(
        &leaf,
        position - 1,
        checkpoint.size,
        &hashes(&proof["hashes"]),
        &checkpoint.root
    ));
    let proof = family.audit("proof/consistency");
    let (from, to) = (opened(&proof["from_checkpoint"]), opened(&proof["to_checkpoint"]));
    assert!(verifier::is_consistent(
        (from.size, &from.root),
        (to.size, &to.root),
        &hashes(&proof["hashes"])
    ));
    let proof = family.audit("proof/head");
    let head = verifier::Head {
        family_seq: proof["family_seq"].as_u64().unwrap(),
        position: proof["position"].as_u64().unwrap(),
        chain_hash: verifier::unhex(proof["chain_hash"].as_str().unwrap().as_bytes()).unwrap(),
    };
    let id = verifier::uuid(family.id.trim_start_matches("fam_").as_bytes()).unwrap();
    assert!(verifier::is_head(
        &id,
        &head,
        &hashes(&proof["siblings"]),
        &opened(&proof["checkpoint"]).heads
    ));
    let beyond = family
        .parent
        .client
        .get(&format!("{}/audit/proof/inclusion?family_seq=99999", family.path()));
    assert_eq!(beyond.status, 400);
}

#[test]
fn a_changed_key_is_followed_and_a_changed_database_is_told() {
    let mut kinledger = Kinledger::start();
    let family = Household::found(&kinledger, "The Turners", "EUR");
    let old = String::from_utf8(kinledger.run(&["audit", "key", "show"]).stdout)
        .unwrap()
        .trim()
        .to_owned();
    let rotated = kinledger.run(&["audit", "key", "rotate"]);
    assert!(rotated.status.success(), "{}", said(&rotated));
    assert_ne!(String::from_utf8(rotated.stdout).unwrap().trim(), old);
    family.open_account(&json!({"name": "Giro", "kind": "bank"}));
    let pack = kinledger.folder().join("pack.zip");
    let export = [
        "audit",
        "export",
        "--pack",
        "--family",
        &family.id,
        "-o",
        pack.to_str().unwrap(),
    ];
    let exported = kinledger.run(&export);
    assert!(exported.status.success(), "{}", said(&exported));
    let (code, report) = verdict(&kinledger, &pack, &old, &[]);
    assert_eq!(code, Some(0), "who has the old key only: {report}");

    let opened = family
        .events()
        .iter()
        .position(|event| event["event_type"] == "AccountOpened" && event["payload"]["kind"] == "bank");
    // Its name is sealed; what sort of account it is, is not.
    psql(
        &kinledger,
        "set session_replication_role = replica; \
         update log.events set payload = replace(payload::text, '\"kind\":\"bank\"', '\"kind\":\"card\"')::json",
    );
    let exported = kinledger.run(&export);
    assert!(
        exported.status.success(),
        "what is there is packed: {}",
        said(&exported)
    );
    let (code, report) = verdict(&kinledger, &pack, &old, &[]);
    assert_eq!(
        (code, &report["first_bad_family_seq"]),
        (Some(2), &json!(opened.unwrap() + 1)),
        "{report}"
    );
    psql(
        &kinledger,
        "set session_replication_role = replica; update log.events set chain_hash = leaf_hash where family_seq = 2",
    );
    let verified = kinledger.run(&["audit", "verify"]);
    assert_eq!(verified.status.code(), Some(2));
    assert!(
        said(&verified).contains("the event is not what was sealed"),
        "{}",
        said(&verified)
    );
    assert!(kinledger.interrupt().success());
}
