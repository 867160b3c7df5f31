//! Eleven years of one household's statements, with the answers that come with them.
//!
//! The files are not part of the repository. They are looked for in `KINLEDGER_SAMPLES`, then in `shared/samples` beside the
//! clone; without them there is nothing to hold against.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::support::{Household, Kinledger, amount, dec};

#[test]
fn the_sample_household_has_the_documented_answers() {
    let Some(samples) = samples() else {
        eprintln!("no sample statements here: set KINLEDGER_SAMPLES to their folder");
        return;
    };
    let read = |name: &str| fs::read(samples.join("household").join(name)).unwrap();
    let expected: Value = serde_json::from_slice(&read("expected.json")).unwrap();
    let kinledger = Kinledger::start();
    the_bank_s_own_format_gives_the_balances(&kinledger, &expected, read);
    the_spreadsheet_gives_spending_too(&kinledger, &expected, read);
}

fn samples() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/samples");
    let folder = std::env::var_os("KINLEDGER_SAMPLES").map_or_else(beside, PathBuf::from);
    folder.join("household/expected.json").exists().then_some(folder)
}

fn the_bank_s_own_format_gives_the_balances(kinledger: &Kinledger, expected: &Value, read: impl Fn(&str) -> Vec<u8>) {
    let family = Household::found(kinledger, "The Samples", "USD");
    for (name, kind) in [("checking", "bank"), ("card", "card")] {
        let account = family.open_account(&json!({"name": name, "kind": kind}));
        let wanted = &expected["accounts"][name];
        let closing = dec(wanted["closing_balance"].as_str().unwrap());
        let first = family.import(&account, &read(&format!("{name}.ofx"))).accepted();
        assert_eq!(first["rows_booked"], wanted["rows"]);
        assert_eq!(family.balance(&account), closing);
        for format in ["ofx", "csv"] {
            let again = family.import(&account, &read(&format!("{name}.{format}"))).accepted();
            assert_eq!(
                (&again["rows_booked"], &again["rows_known"]),
                (&json!(0), &wanted["rows"]),
                "{name}.{format}"
            );
            assert_eq!(family.balance(&account), closing);
        }
    }
    assert_spending(&family, expected, "once the spreadsheet has named the categories");
    assert_eq!(family.audit("verify")["verified"], true);
}

fn the_spreadsheet_gives_spending_too(kinledger: &Kinledger, expected: &Value, read: impl Fn(&str) -> Vec<u8>) {
    let family = Household::found(kinledger, "The Spreadsheets", "USD");
    for (name, kind) in [("checking", "bank"), ("card", "card")] {
        let account = family.open_account(&json!({"name": name, "kind": kind}));
        let wanted = &expected["accounts"][name];
        let report = family.import(&account, &read(&format!("{name}.csv"))).accepted();
        assert_eq!(report["rows_booked"], wanted["rows"]);
        assert_eq!(
            family.balance(&account),
            dec(wanted["closing_balance"].as_str().unwrap())
        );
    }
    assert_spending(&family, expected, "from the spreadsheet");
}

fn assert_spending(family: &Household, expected: &Value, when: &str) {
    let spending = family.view(&family.parent, "spending?from=2014-01-01&to=2024-12-31");
    let lines = spending["categories"].as_array().unwrap();
    let by_category: BTreeMap<String, String> = lines
        .iter()
        .map(|line| {
            (
                line["category"].as_str().unwrap().to_owned(),
                line["spent"]["amount"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    assert_eq!(json!(by_category), expected["spending_by_category"], "{when}");

    let mut by_month = BTreeMap::new();
    for to in ["2014-12-31", "2024-12-31"] {
        let trend = family.view(&family.parent, &format!("trend?months=120&to={to}"));
        for month in trend["months"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|month| !amount(&month["spending"]).is_zero())
        {
            by_month.insert(
                month["month"].as_str().unwrap()[..7].to_owned(),
                month["spending"]["amount"].clone(),
            );
        }
    }
    assert_eq!(json!(by_month), expected["spending_by_month"], "{when}");
}
