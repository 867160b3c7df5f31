//! Streams that break off: the database goes away in the middle, and neither the reader nor the command line takes what has come
//! for the whole.

use std::{
    io::{BufRead, BufReader, Read},
    process::Stdio,
    time::Duration,
};

use axum::body::Body;
use chrono::{Days, NaiveDate};
use command_api::identity::Families;
use domain::id::{CommandId, FamilyId, UserId};
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
    let (family, parent, _, connection) = connected(stack).await;
    for number in 0..STATEMENTS {
        statement(stack, (family, parent), &connection, number).await;
    }
    (family, parent)
}

/// A family, its founder, an account of the family's and the connection of that to a bank.
async fn connected(stack: &Stack) -> (FamilyId, UserId, String, String) {
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
    (family, parent, account, connection)
}

/// Brings [`ROWS`] entries of a month of their own.
async fn statement(stack: &Stack, (family, by): (FamilyId, UserId), connection: &str, number: u64) {
    let first = NaiveDate::from_ymd_opt(2020, 1, 1).unwrap() + Days::new(number * 40);
    let row = |number: u64| {
        let amount = rust_decimal::Decimal::new(-1 - i64::try_from(number).unwrap(), 2);
        let money = json!({"amount": amount.to_string(), "currency": "EUR"});
        json!({"booked_on": first + Days::new(number % 40), "amount": money, "remittance": "x".repeat(200)})
    };
    let rows: Vec<Value> = (0..ROWS).map(row).collect();
    let body = json!({"connection_id": connection, "source": "csv", "statement": {"currency": "EUR", "rows": rows}});
    stack.command(family, by, "sync-bank", &body).await.unwrap();
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

#[tokio::test(flavor = "multi_thread")]
async fn a_persons_export_ends_where_an_account_in_it_was_hidden_meanwhile() {
    let stack = Stack::start().await;
    let (family, parent, account, connection) = connected(&stack).await;
    let partner = UserId::from_uuid(Uuid::new_v4());
    let place = json!({"display_name": "Partner", "role": "partner"});
    stack.command(family, parent, "add-member", &place).await.unwrap();
    let member = last_id(&stack, family, "MemberAdded", "member_id").await;
    let key = CommandId::from_uuid(Uuid::new_v4());
    let joined = stack.api.join(family, member.parse().unwrap(), partner, key).await;
    joined.unwrap();
    for number in 0..2 {
        statement(&stack, (family, partner), &connection, number).await;
    }
    for path in [
        "/api/v1/auth/export".to_owned(),
        format!("/api/v1/families/{family}/members/{member}/export"),
    ] {
        let whole = axum::body::to_bytes(stack.open(partner, &path).await, 1 << 26)
            .await
            .unwrap();
        let read: Value = serde_json::from_slice(&whole).unwrap();
        let booked = read["events"].as_array().unwrap().iter();
        let booked = booked.filter(|event| event["event"] == "BankTransactionBooked").count();
        assert_eq!((booked as u64, &read["complete"]), (2 * ROWS, &json!(true)));

        let share = |level: &str| json!({"account_id": account, "member_id": member, "level": level});
        let body = stack.open(partner, &path).await;
        let came = read_slowly(body, async || {
            let hidden = share("none");
            stack.command(family, parent, "share-account", &hidden).await.unwrap();
        });
        let came = came.await;
        assert!(came.failed && came.bytes < whole.len(), "{path}: {came:?}");
        stack
            .command(family, parent, "share-account", &share("full"))
            .await
            .unwrap();
    }
    stack.database.drop().await;
}

/// What came of a body, and whether it broke off.
#[derive(Debug)]
struct Came {
    bytes: usize,
    failed: bool,
}

/// Reads on after something has happened, and so slowly that the rest is still being sent when leave is asked for again.
async fn read_slowly(body: Body, meanwhile: impl AsyncFnOnce()) -> Came {
    let mut body = body.into_data_stream();
    let mut came = Came {
        bytes: body.next().await.unwrap().unwrap().len(),
        failed: false,
    };
    meanwhile().await;
    while let Some(chunk) = body.next().await {
        match chunk {
            Ok(bytes) => came.bytes += bytes.len(),
            Err(_) => came.failed = true,
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    came
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_ends_with_the_session_the_key_and_the_account_it_was_asked_for_by() {
    let stack = Stack::start().await;
    let (family, parent) = long_history(&stack).await;
    let pool = stack.database.superuser().await;
    let account = "insert into identity.users (user_id, display_name) values ($1, 'Ada')";
    sqlx::query(account).bind(parent.uuid()).execute(&pool).await.unwrap();
    // Whoever asks here is signed in by the nil session, or by a key of that id.
    let session = "insert into identity.sessions (session_id, user_id, device, expires_at)
        values ('00000000-0000-0000-0000-000000000000', $1, 'here', now() + interval '1 day')";
    let key = "insert into identity.api_keys (api_key_id, key_hash, user_id, name, scopes, expires_at)
        values ('00000000-0000-0000-0000-000000000000', sha256('key'), $1, 'script', '{export}', now() + interval '1 day')";
    let ends = [
        (
            session,
            "update identity.sessions set revoked_at = now(), revoke_reason = 'logout'",
        ),
        (key, "update identity.api_keys set ended_at = now()"),
        ("", "update identity.users set closed_at = now()"),
    ];
    for path in [
        "/api/v1/auth/export".to_owned(),
        format!("/api/v1/families/{family}/audit/export?format=ndjson"),
    ] {
        let (_, whole) = stack.get(parent, &path).await;
        for (begin, end) in ends {
            if !begin.is_empty() {
                sqlx::query(begin).bind(parent.uuid()).execute(&pool).await.unwrap();
            }
            let came = read_slowly(stack.open(parent, &path).await, async || {
                sqlx::query(end).execute(&pool).await.unwrap();
            });
            let came = came.await;
            assert!(came.failed && came.bytes < whole.len(), "{path}: {end}: {came:?}");
            for again in [
                "delete from identity.sessions",
                "delete from identity.api_keys",
                "update identity.users set closed_at = null",
            ] {
                sqlx::query(again).execute(&pool).await.unwrap();
            }
        }
    }
    pool.close().await;
    stack.database.drop().await;
}
