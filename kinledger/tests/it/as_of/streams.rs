//! Streams that break off: the database goes away in the middle, and neither the reader nor the command line takes what has come
//! for the whole.

use std::{
    io::{BufRead, BufReader, Read},
    process::Stdio,
};

use chrono::{Days, NaiveDate};
use domain::id::{FamilyId, UserId};
use event_store::export::whole::{NotWhole, check};
use futures::StreamExt;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::stack::{KEY, Stack};
use crate::support::program;

/// Rows of each statement, and so entries it brings.
const ROWS: u64 = 2_000;
/// Statements.
const STATEMENTS: u64 = 4;

/// A family whose history takes several pages to read.
pub(super) async fn long_history(stack: &Stack) -> (FamilyId, UserId) {
    let (family, parent) = (FamilyId::from_uuid(Uuid::new_v4()), UserId::from_uuid(Uuid::new_v4()));
    let created = json!({"name": "Long", "currency": "EUR"});
    stack.command(family, parent, "create-family", &created).await.unwrap();
    stack
        .command(family, parent, "open-account", &json!({"name": "Giro", "kind": "bank"}))
        .await
        .unwrap();
    let account = last_id(stack, family, "AccountOpened", "account_id").await;
    stack
        .command(family, parent, "connect-bank", &json!({"account_id": account}))
        .await
        .unwrap();
    let connection = last_id(stack, family, "BankConnected", "connection_id").await;
    let first = NaiveDate::from_ymd_opt(2020, 1, 1).unwrap();
    for statement in 0..STATEMENTS {
        let row = |number: u64| {
            let amount = rust_decimal::Decimal::new(-1 - i64::try_from(number).unwrap(), 2);
            let money = json!({"amount": amount.to_string(), "currency": "EUR"});
            json!({"booked_on": first + Days::new(statement * 40 + number % 40), "amount": money, "remittance": "x".repeat(200)})
        };
        let rows: Vec<Value> = (0..ROWS).map(row).collect();
        let body =
            json!({"connection_id": connection, "source": "csv", "statement": {"currency": "EUR", "rows": rows}});
        stack.command(family, parent, "sync-bank", &body).await.unwrap();
    }
    (family, parent)
}

async fn last_id(stack: &Stack, family: FamilyId, event_type: &str, name: &str) -> String {
    let lane = stack.api.lane_of(family).await.unwrap().unwrap();
    let records = stack.api.log().read_family(lane, family, 0, 1_000).await.unwrap();
    let record = records.iter().rfind(|record| record.event_type == event_type).unwrap();
    let payload: Value = serde_json::from_str(&record.payload).unwrap();
    payload[name].as_str().unwrap().to_owned()
}

/// Ends every connection to a database, and lets nobody in again.
async fn cut_off(stack: &Stack) {
    let url = stack.database.url();
    let (server, name) = url.rsplit_once('/').unwrap();
    let mut admin = PgConnection::connect(&format!("{server}/postgres")).await.unwrap();
    let statements = [
        format!("alter database {name} with allow_connections false"),
        format!("select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'"),
    ];
    for statement in statements {
        sqlx::query(&statement).execute(&mut admin).await.unwrap();
    }
    admin.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_says_that_an_export_broke_off() {
    let stack = Stack::start().await;
    let (family, _) = long_history(&stack).await;
    let url = stack.database.url();
    let export = |output: Option<&str>| {
        let mut command = program();
        command.args([
            "audit",
            "export",
            "--format",
            "ndjson",
            "--family",
            &family.to_string(),
            "--database-url",
            &url,
        ]);
        command.env("KINLEDGER_KEY", hex::encode(KEY));
        command.args(output.map(|file| ["--output", file]).into_iter().flatten());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let whole = export(None).wait_with_output().unwrap();
    assert_eq!(
        whole.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&whole.stderr)
    );
    let mark = check(whole.stdout.as_slice()).unwrap();
    assert!(mark.events > i64::try_from(ROWS * STATEMENTS).unwrap(), "{mark:?}");

    // Nobody reads on, so the export waits with most of the history still in the database.
    let mut broken = export(None);
    let mut out = BufReader::new(broken.stdout.take().unwrap());
    let mut came = Vec::new();
    out.read_until(b'\n', &mut came).unwrap();
    cut_off(&stack).await;
    out.read_to_end(&mut came).unwrap();
    let ended = broken.wait_with_output().unwrap();
    assert_eq!(
        ended.status.code(),
        Some(1),
        "{}",
        String::from_utf8_lossy(&ended.stderr)
    );
    assert!(!ended.stderr.is_empty(), "it says why");
    assert!(came.len() < whole.stdout.len(), "{} bytes came", came.len());
    assert!(whole.stdout.starts_with(&came), "what came is a part of the whole");
    assert!(matches!(check(came.as_slice()), Err(NotWhole::BreaksOff { .. })));
    stack.database.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_over_http_that_breaks_off_ends_in_an_error_and_without_the_mark() {
    let stack = Stack::start().await;
    let (family, parent) = long_history(&stack).await;
    let path = format!("/api/v1/families/{family}/audit/export?format=ndjson");
    let mut came = Vec::new();
    let mut body = stack.open(parent, &path).await.into_data_stream();
    came.extend(body.next().await.unwrap().unwrap());
    cut_off(&stack).await;
    let mut failed = false;
    while let Some(chunk) = body.next().await {
        match chunk {
            Ok(bytes) => came.extend(bytes),
            Err(_) => failed = true,
        }
    }
    assert!(failed, "a server that sees this breaks the connection off");
    assert!(matches!(check(came.as_slice()), Err(NotWhole::BreaksOff { .. })));
    stack.database.drop().await;
}
