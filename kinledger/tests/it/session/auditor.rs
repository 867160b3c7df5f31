//! The auditor: what stood in the books as of any moment, over HTTP and from the command line.

use std::{fs, process::Output};

use serde_json::{Value, json};

use super::statements::MARCH;
use crate::support::{Household, Kinledger, today};

#[test]
fn the_auditor_replays_any_moment() {
    let kinledger = Kinledger::start();
    let family = Household::found(&kinledger, "The Silvas", "EUR");
    let cash = family.open_account(
        &json!({"name": "Cash", "kind": "cash", "opening_balance": family.money("30"), "effective_on": "2024-01-01"}),
    );
    let leisure = family.category("Leisure");
    let mut heads = Vec::new();
    for (day, sum) in [("2024-02-01", "1.00"), ("2024-01-15", "2.00"), ("2024-03-01", "4.00")] {
        let body = json!({"account_id": cash, "money": family.money(sum), "category_id": leisure, "effective_on": day});
        heads.push(
            family.accepted(&family.parent, "add-expense", &body)["family_seq"]
                .as_i64()
                .unwrap(),
        );
    }

    let by_seq = |seq: i64| balance(&family.audit(&format!("as-of?family_seq={seq}")), &cash);
    assert_eq!(
        heads.iter().map(|seq| by_seq(*seq)).collect::<Vec<_>>(),
        ["29.00", "27.00", "23.00"]
    );
    let by_day = |day: &str| balance(&family.audit(&format!("as-of?effective_on={day}")), &cash);
    assert_eq!(
        ["2023-12-31", "2024-01-31", "2024-02-29", "2024-03-01"].map(by_day),
        ["0.00", "28.00", "27.00", "23.00"]
    );
    let events = family.events();
    for (seq, wanted) in heads.iter().zip(["29.00", "27.00", "23.00"]) {
        let recorded_at = events.iter().find(|event| event["family_seq"] == *seq).unwrap()["recorded_at"]
            .as_str()
            .unwrap();
        let statement = family.audit(&format!("as-of?recorded_at={recorded_at}"));
        assert_eq!(balance(&statement, &cash), wanted);
        assert!(
            statement["trial_balance"]
                .as_array()
                .unwrap()
                .iter()
                .all(|sum| sum["amount"] == "0.00")
        );
    }
    let both = family.audit(&format!("as-of?family_seq={}&effective_on=2024-01-31", heads[0]));
    assert_eq!(balance(&both, &cash), "30.00");
    assert_eq!(family.audit("as-of?family_seq=0")["events"], 0);
    let beyond = family
        .parent
        .client
        .get(&format!("{}/audit/as-of?family_seq=999999", family.path()));
    assert_eq!(beyond.refused().0, 400);

    let statement = family.audit("as-of");
    let again = family.audit(&format!("as-of?family_seq={}", heads[2]));
    assert_eq!(statement["chain_hash"], again["chain_hash"]);
    assert_eq!(statement["chain_hash"], family.audit("verify")["chain_hash"]);
}

#[test]
fn the_command_line_audits_a_running_and_a_stopped_ledger_alike() {
    let mut kinledger = Kinledger::start();
    let family = Household::found(&kinledger, "The Costas", "EUR");
    let account = family.open_account(&json!({"name": "Giro", "kind": "bank"}));
    let file = kinledger.folder().join("march.ofx");
    fs::write(&file, MARCH).unwrap();
    the_command_line_imports_by_account_name(&kinledger, &family, file.to_str().unwrap());

    let statement = family.audit("as-of");
    let running = audits(&kinledger, &family.id);
    assert_eq!(balance(&running.replay, &account), "1730.45");
    assert_eq!(running.replay["balances"], statement["balances"]);
    assert_eq!(running.replay["chain_hash"], statement["chain_hash"]);
    assert_eq!(
        running.ndjson,
        family.export(),
        "the file is the same over HTTP and from the command line"
    );
    for format in ["hledger", "beancount"] {
        let path = format!("{}/audit/export?format={format}", family.path());
        let (over_http, file) = (family.parent.client.get(&path), export(&kinledger, &family.id, format));
        assert_eq!(String::from_utf8_lossy(&file), over_http.text());
    }

    assert!(kinledger.interrupt().success());
    let stopped = audits(&kinledger, &family.id);
    assert_eq!(stopped.replay, running.replay);
    assert_eq!(stopped.ndjson, running.ndjson);
    assert_eq!(stopped.verdict, running.verdict);
    let unknown = kinledger.run(&[
        "audit",
        "replay",
        "--family",
        "fam_00000000-0000-4000-8000-000000000000",
    ]);
    assert_eq!(unknown.status.code(), Some(1), "{}", said(&unknown));
}

fn the_command_line_imports_by_account_name(kinledger: &Kinledger, family: &Household, file: &str) {
    let token = [("KINLEDGER_TOKEN", family.parent.client.token())];
    let imported = kinledger.run_with(&["import", file, "--account", "giro", "--json"], &token);
    assert!(imported.status.success(), "{}", said(&imported));
    let report: Value = serde_json::from_slice(&imported.stdout).unwrap();
    assert_eq!(report["rows_booked"], 4);
    let again = kinledger.run_with(&["import", file, "--account", "Giro"], &token);
    assert!(again.status.success(), "{}", said(&again));
    assert!(said(&again).contains("booked  0"), "{}", said(&again));
    let nowhere = kinledger.run_with(&["import", file, "--account", "Savings"], &token);
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(
        said(&nowhere).contains("Giro"),
        "it names the accounts there are: {}",
        said(&nowhere)
    );
    let child = [("KINLEDGER_TOKEN", family.child.client.token())];
    let refused = kinledger.run_with(&["import", file, "--account", "giro"], &child);
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
}

struct Audits {
    replay: Value,
    ndjson: Vec<u8>,
    verdict: Vec<u8>,
}

fn audits(kinledger: &Kinledger, family_id: &str) -> Audits {
    let verified = kinledger.run(&["audit", "verify"]);
    assert!(verified.status.success(), "{}", said(&verified));
    let one = kinledger.run(&["audit", "verify", "--family", family_id, "--json"]);
    assert_eq!(serde_json::from_slice::<Value>(&one.stdout).unwrap()["verified"], true);
    let replayed = kinledger.run(&[
        "audit",
        "replay",
        "--family",
        family_id,
        "--json",
        "--entries",
        "--as-of-effective",
        &today(1),
    ]);
    assert!(replayed.status.success(), "{}", said(&replayed));
    Audits {
        replay: serde_json::from_slice(&replayed.stdout).unwrap(),
        ndjson: export(kinledger, family_id, "ndjson"),
        verdict: verified.stdout,
    }
}

fn export(kinledger: &Kinledger, family_id: &str, format: &str) -> Vec<u8> {
    let file = kinledger.folder().join(format!("export.{format}"));
    let exported = kinledger.run(&[
        "audit",
        "export",
        "--family",
        family_id,
        "--format",
        format,
        "--output",
        file.to_str().unwrap(),
    ]);
    assert!(exported.status.success(), "{}", said(&exported));
    fs::read(file).unwrap()
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn balance(statement: &Value, ledger_account: &str) -> String {
    let rows = statement["balances"].as_array().unwrap();
    let row = rows.iter().find(|row| row["ledger_account"] == ledger_account);
    row.map_or_else(
        || "none".to_owned(),
        |row| row["balance"]["amount"].as_str().unwrap().to_owned(),
    )
}
