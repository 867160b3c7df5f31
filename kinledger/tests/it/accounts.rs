//! What an operator does for somebody who cannot sign in.

use std::process::{Command, Output};

use service_kit::testing::TestDatabase;

fn reset(database: &TestDatabase, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kinledger"))
        .args(["accounts", "reset-password"])
        .args(arguments)
        .env("DATABASE_URL", database.url())
        .env_remove("KINLEDGER_PUBLIC_URL")
        .output()
        .unwrap()
}

#[tokio::test]
async fn an_operator_without_mail_hands_out_a_code_of_which_only_the_hash_is_kept() {
    let database = TestDatabase::create().await;
    let pool = database.superuser().await;
    sqlx::query(
        "insert into identity.users (user_id, email, display_name, password_hash)
         values (gen_random_uuid(), 'ada@example.org', 'Ada', '$argon2id$x')",
    )
    .execute(&pool)
    .await
    .unwrap();

    let done = reset(
        &database,
        &["Ada@example.org", "--public-url", "https://money.example.org/"],
    );
    let printed = String::from_utf8(done.stdout).unwrap();
    assert!(
        done.status.success(),
        "{printed} {}",
        String::from_utf8_lossy(&done.stderr)
    );
    let mut lines = printed.lines();
    let code = lines.next().unwrap();
    assert!(code.starts_with("klm_") && code.len() == 47, "{code}");
    assert_eq!(
        lines.next().unwrap(),
        format!("https://money.example.org/#/reset-password?token={code}")
    );
    let (rows,): (String,) = sqlx::query_as("select json_agg(t)::text from identity.mail_tokens as t")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert!(rows.contains("reset-password") && !rows.contains(code), "{rows}");

    let unknown = reset(&database, &["eve@example.org"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(unknown.stdout.is_empty());
    database.drop().await;
}
