//! Rows that are not those of the log: named, built again, and families that are parked taken up.

use std::fs;

use serde_json::Value;
use sqlx::{Connection, PgConnection};

use super::{Lived, rebuild, rows_are_those_of_the_log};
use crate::support::{Household, Kinledger, dec};

/// Does something to the database of a running process, as somebody who holds its password could.
fn tamper(kinledger: &Kinledger, statements: &[String]) {
    let running: Value = serde_json::from_slice(&fs::read(kinledger.data_dir().join("running.json")).unwrap()).unwrap();
    let url = running["database_url"].as_str().unwrap().to_owned();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut database = PgConnection::connect(&url).await.unwrap();
        for statement in statements {
            let done = sqlx::query(statement).execute(&mut database).await;
            let done = done.unwrap_or_else(|error| panic!("{statement}: {error}"));
            assert_eq!(done.rows_affected(), 1, "{statement}");
        }
        database.close().await.unwrap();
    });
}

/// A family's id as rows hold it.
fn bare(family: &Household) -> String {
    let bare: domain::id::FamilyId = family.id.parse().unwrap();
    bare.uuid().to_string()
}

fn lines(bytes: &[u8]) -> Vec<Value> {
    let text = String::from_utf8_lossy(bytes);
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn altered_rows_leave_the_log_whole_are_named_and_are_built_again() {
    let kinledger = Kinledger::start();
    let (lived, other) = (
        Lived::found(&kinledger, "The Silvas", 500),
        Lived::found(&kinledger, "The Tanakas", 500),
    );
    let family = &lived.family;
    assert_eq!(family.balance(&lived.cash), dec("995.00"));
    assert_eq!(other.family.balance(&other.cash), dec("995.00"));
    rows_are_those_of_the_log(&kinledger);
    let id = bare(family);
    tamper(
        &kinledger,
        &[format!(
            "update views.accounts set balance = balance + 100 where family_id = '{id}' and kind = 'cash'"
        )],
    );

    assert_eq!(
        kinledger.run(&["audit", "verify"]).status.code(),
        Some(0),
        "the log was not touched"
    );
    let verify = kinledger.run(&["audit", "verify", "--views", "--json"]);
    assert_eq!(
        verify.status.code(),
        Some(3),
        "{}",
        String::from_utf8_lossy(&verify.stderr)
    );
    let said = lines(&verify.stdout);
    let whole = said.iter().filter(|line| line["verified"] == true).count();
    let differ: Vec<_> = said.iter().filter(|line| line["same"] == false).collect();
    assert_eq!((whole, differ.len()), (2, 1), "{said:?}");
    assert_eq!(
        (&differ[0]["view"], &differ[0]["family_id"]),
        (&"accounts".into(), &family.id.clone().into())
    );
    let alone = kinledger.run(&["audit", "verify", "--views", "--family", &other.family.id]);
    assert_eq!(
        alone.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&alone.stderr)
    );

    let (code, report, _) = rebuild(&kinledger, &[]);
    assert_eq!(
        (code, &report["switched"], &report["same"]),
        (Some(3), &false.into(), &false.into())
    );
    let differing: Vec<_> = report["tables"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|table| table["families_differing"] != 0)
        .collect();
    assert_eq!(differing.len(), 1, "{report}");
    assert_eq!(differing[0]["first_family_differing"], family.id.as_str());
    // Asked by a day, for the answer without one is of before the rows were altered, and was kept.
    let altered = family.view(&family.parent, "accounts?effective_on=9999-12-31");
    let stands = altered["accounts"]
        .as_array()
        .unwrap()
        .iter()
        .any(|account| account["balance"]["amount"] == "1095.00");
    assert!(stands, "the old rows stay: {altered}");
    let (code, report, _) = rebuild(&kinledger, &["accounts", "--replace-different"]);
    assert_eq!((code, &report["switched"]), (Some(0), &true.into()));
    assert_eq!(family.balance(&lived.cash), dec("995.00"));
    rows_are_those_of_the_log(&kinledger);
}

#[test]
fn a_parked_family_is_listed_without_what_its_event_says_and_taken_up_again() {
    let kinledger = Kinledger::start();
    let lived = Lived::found(&kinledger, "The Moreaus", 500);
    let family = &lived.family;
    let seq = family.view(&family.parent, "accounts")["family_seq"].as_i64().unwrap();
    let id = bare(family);
    // As a release would leave it that did not know the next event.
    let parked = format!(
        "insert into views.parked_families (family_id, lane, family_seq, event_type, event_version, error, payload)
        select family_id, lane, family_seq + 1, 'FromTheFuture', '7', 'no such event', '{{\"note\": \"secret\"}}'
        from views.family_heads where family_id = '{id}'"
    );
    tamper(&kinledger, &[parked]);
    let listed = kinledger.run(&["parked", "list", "--json"]);
    let rows = lines(&listed.stdout);
    assert_eq!((listed.status.code(), rows.len()), (Some(0), 1));
    let row = &rows[0];
    assert_eq!(
        (&row["family_id"], &row["event_type"]),
        (&family.id.clone().into(), &"FromTheFuture".into())
    );
    assert_eq!(
        (&row["family_seq"], &row["event_version"], &row["error"]),
        (&(seq + 1).into(), &"7".into(), &"no such event".into())
    );
    assert!(!String::from_utf8_lossy(&listed.stdout).contains("secret"));

    // Commands are accepted, rows wait.
    let last = (0..3).map(|_| lived.spend(&family.parent)).last().unwrap();
    let reply = family
        .parent
        .client
        .get(&format!("{}/accounts?min_family_seq={last}", family.path()));
    assert_eq!(reply.status, 202, "{}", reply.text());
    let nobody = "fam_00000000000000000000000000000001";
    let refused = kinledger.run(&["parked", "retry", nobody]);
    assert_eq!(
        refused.status.code(),
        Some(1),
        "{}",
        String::from_utf8_lossy(&refused.stderr)
    );
    let retried = kinledger.run(&["parked", "retry", "--all", "--json"]);
    let done = lines(&retried.stdout);
    assert_eq!(
        (retried.status.code(), done.len()),
        (Some(0), 1),
        "{}",
        String::from_utf8_lossy(&retried.stderr)
    );
    assert_eq!(
        (&done[0]["freed"], &done[0]["family_seq"]),
        (&true.into(), &last.into())
    );
    assert_eq!(done[0]["events"], last - seq);
    assert_eq!(family.balance(&lived.cash), dec("994.97"));
    assert!(kinledger.run(&["parked", "list", "--json"]).stdout.is_empty());
    rows_are_those_of_the_log(&kinledger);
}
